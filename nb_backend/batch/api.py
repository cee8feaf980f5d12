"""``map`` sends many prompts, from a list or a table; ``compare`` sends the same prompts to several models."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from inspect import signature
from typing import Any

from .. import settings
from ..chat.answer import Answer
from ..chat.chat import Chat
from ..chat.schema import Schema
from ..providers.keywords import refuse_unknown
from ..services import split_model
from ..tools.tool import as_tools
from .awaitable import BatchCall, caller_can_await
from .progress import choose_view
from .runner import BatchRunner, Item, Result
from .tables import Rows, read_rows

_OF_CHAT = frozenset(name for name, one in signature(Chat).parameters.items() if one.kind is one.KEYWORD_ONLY)


def map(
    prompts: Any,
    *,
    model: str | None = None,
    template: str | None = None,
    images: Any = None,
    concurrency: int = 8,
    cache: bool | str | os.PathLike[str] | None = None,
    schema: Any = None,
    system: str | None = None,
    url: str | Iterable[str] | None = None,
    api_key: str | None = None,
    provider: str | None = None,
    progress: bool = True,
    **params: Any,
) -> Any:
    """Send many prompts, each in a chat of its own, and return the answers in order.

    >>> answers = nb_backend.map(["Why is the sky blue?", "And the sea?"], concurrency=20)
    >>> table["mood"] = await nb_backend.map(table, template="Is this angry or kind? {{ review }}")

    ``prompts`` is a list of texts, or a column or a table of pandas, polars, pyarrow, duckdb or another library that
    narwhals reads. pandas gets a Series with the same index, polars a Series of objects (named "answer" for a table),
    the others a list. In ``template``, each ``{{ name }}`` stands for the value of a column, or of a key if the prompts
    are dicts, or for the text itself: ``{{ prompt }}``. ``images`` has one entry for each prompt (anything that
    ``attach`` accepts, a list of such, or ``None``), or names columns of the table. ``concurrency`` is the number of
    requests at a time, ``progress=False`` shows no bar. The other options are those of ``Chat``.

    A prompt that fails has its exception in place of the answer. ``complete`` of an answer says whether it is whole;
    the progress line counts those that are not, and says why prompts failed and what it waits for. ``ValueError`` or
    ``TypeError`` is raised, before anything is sent, if the arguments cannot be used.

    ``schema``, a pydantic class or a JSON schema, asks for JSON and returns objects instead of ``Answer``; for a
    table, it returns a table with the schema's columns, a column ``error`` if any prompt failed, and a boolean
    column ``complete`` if any answer is incomplete. A list of objects has the attribute ``complete``, a Series has
    ``attrs["complete"]``: a bool for each prompt. The model is asked once more if its answer does not fit the schema.

    ``tools`` are functions that the model may call, as for ``Chat``. Nobody is asked here: a call that needs consent is
    refused, unless ``approve`` decides about it.

    In a coroutine, or in a cell with an ``await``, the requests start at once and the call returns what can be awaited;
    if it is used without ``await``, it waits by itself. An interrupt ends all requests. The same call again sends only
    the prompts that are not answered yet, with those that failed or have an incomplete answer.
    """
    refuse_unknown(params, "map", _OF_CHAT)
    rows = read_rows(prompts, template, images)
    parsed_schema = None if schema is None else Schema(schema)
    chat = {"system": system, "url": url, "api_key": api_key, "provider": provider, "cache": cache, **params}
    items = (Item(make_prompt, row_images, model) for make_prompt, row_images in rows.prompts())
    make_value = partial(_answers, rows, parsed_schema)
    call = _make_call(items, rows.count, model, concurrency, parsed_schema, chat, progress, make_value)
    return call.start() if caller_can_await(sys._getframe(1)) else call.wait()


def compare(
    prompts: Any,
    models: str | Iterable[str],
    *,
    template: str | None = None,
    images: Any = None,
    concurrency: int = 8,
    schema: Any = None,
    progress: bool = True,
    **chat: Any,
) -> Any:
    """Send the same prompts to several models, and return a DataFrame with a row for each prompt and model.

    >>> nb_backend.compare("Why is the sky blue?", ["llama", "gpt-4o"])

    The columns are ``prompt``, ``model``, ``answer`` (the text, as much as arrived), ``tokens``, ``seconds`` and
    ``error`` (the message of a failure, else ``None``); if any answer is incomplete, there is a boolean column
    ``complete``. ``prompts`` may be a single text, and ``models`` a text with commas between the names, also of several
    services, each of which gets its own key. The other arguments, and ``await``, are as for ``map``.
    """
    try:
        import pandas  # type: ignore[import-untyped]
    except ImportError:
        raise ValueError("compare returns a DataFrame and needs pandas: pip install pandas") from None
    if "model" in chat:
        raise TypeError("compare takes models (a list of names) instead of model")
    refuse_unknown(chat, "compare", _OF_CHAT)
    names = [name for one in models.split(",") if (name := one.strip())] if isinstance(models, str) else [*models]
    if not names:
        raise ValueError("models is empty: name at least one model")
    _refuse_one_key_for_several(names, chat)
    rows = read_rows([prompts] if isinstance(prompts, str | Answer) else prompts, template, images)
    filled = [(make_prompt(), row_images) for make_prompt, row_images in rows.prompts()]
    items = (Item(partial(str, prompt), row_images, name) for prompt, row_images in filled for name in names)
    pairs = [(prompt, name) for prompt, _ in filled for name in names]
    parsed_schema = None if schema is None else Schema(schema)
    make_value = partial(_comparison, pandas, pairs)
    call = _make_call(items, len(pairs), names[0], concurrency, parsed_schema, chat, progress, make_value)
    return call.start() if caller_can_await(sys._getframe(1)) else call.wait()


def _refuse_one_key_for_several(names: list[str], chat: dict[str, Any]) -> None:
    """Raise ``ValueError`` if ``api_key`` would be sent to several servers."""
    if not chat.get("api_key") or chat.get("url"):
        return
    has_url = settings.url() is not None
    services = [split_model(settings.model(name), has_url=has_url)[0] for name in names]
    if len({*services}) < 2:
        return
    chat.clear()  # a traceback must not show the key
    how = [f"{one.key_variable}, or %backend key {one.name}" for one in dict.fromkeys(services) if one is not None]
    raise ValueError(f"compare asks several servers, and api_key is for one: leave it out, and set {'; '.join(how)}")


def _make_call(
    items: Iterable[Item],
    total: int,
    model: str | None,
    concurrency: int,
    schema: Schema | None,
    chat: dict[str, Any],
    progress: bool,
    make_value: Callable[[list[Result]], Any],
) -> BatchCall:
    if not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1:
        raise ValueError(f"concurrency is {concurrency!r}: it has to be a whole number of at least 1")
    if not isinstance(url := chat.get("url"), str | None):
        chat = {**chat, "url": [*url]}  # an iterator could be read only once, and each chat reads it
    if chat.get("tools") is not None:
        chat = {**chat, "tools": as_tools(chat["tools"])}  # a schema is made once, not for each prompt
    request = Chat(model, **chat).request("")  # raises now what would fail for every item
    batch = BatchRunner(items, total, concurrency=concurrency, schema=schema, chat=chat)
    has_cache = request.store is not None
    return BatchCall(batch, make_value, partial(choose_view, progress, plain=has_cache), timed=not has_cache)


class Values(list[Any]):
    """The objects of a schema in the order of the prompts; ``complete`` says for each whether its answer is whole."""

    complete: list[bool]


def _answers(rows: Rows, schema: Schema | None, results: list[Result]) -> Any:
    if schema is not None and rows.is_table:
        errors = [None if result.error is None else str(result.error) for result in results]
        return rows.table(schema.columns, [result.value for result in results], errors, _completeness(results))
    values = Values(result.value if result.error is None else result.error for result in results)
    if schema is None:
        return rows.series([*values])
    values.complete = [result.is_complete for result in results]
    found = rows.series(values)
    if hasattr(found, "attrs"):
        found.attrs["complete"] = values.complete
    return found


def _completeness(results: list[Result]) -> list[bool] | None:
    """Return whether each answer is complete; ``None`` if no column has to say it, as all are that did not fail."""
    complete = [result.is_complete for result in results]
    return None if all(complete[at] or result.error is not None for at, result in enumerate(results)) else complete


def _comparison(pandas: Any, pairs: list[tuple[str, str]], results: list[Result]) -> Any:
    answers = [result.answer for result in results]
    table = pandas.DataFrame(pairs, columns=["prompt", "model"])
    table["answer"] = ["" if answer is None else answer.text for answer in answers]
    table["tokens"] = pandas.array([answer and answer.tokens for answer in answers], dtype="Int64")
    table["seconds"] = [None if answer is None else answer.seconds for answer in answers]
    table["seconds"] = table["seconds"].astype(float)
    errors = [None if result.error is None else str(result.error) for result in results]
    table["error"] = pandas.Series(errors, dtype=object)
    if (complete := _completeness(results)) is not None:
        table["complete"] = complete
    return table
