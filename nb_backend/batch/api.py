"""Many questions at once: ``map`` over a list or a table, and ``compare`` over several models."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from ..chat.chat import Chat
from .awaitable import BatchCall, caller_can_await
from .progress import progress as progress_of
from .runner import BatchRunner, Item, Result
from .schema import Schema
from .tables import Rows, read_rows


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
    """Ask many questions, each in a conversation of its own, and give the answers in order.

    >>> answers = nb_backend.map(["Why is the sky blue?", "And the sea?"], concurrency=20)
    >>> table["mood"] = await nb_backend.map(table, template="Is this angry or kind? {{ review }}")

    ``prompts`` is a list of texts, or a Series or DataFrame of pandas, for which a Series with the same index is given.
    In ``template`` each ``{{ name }}`` is a column's value (a key's, of a list of dicts; ``{{ prompt }}`` where there
    are texts). ``images`` are what goes along with each, or the names of a DataFrame's columns. ``concurrency`` is how
    many are asked at the same time. A question that failed has its error in the place of its answer; ``ValueError`` or
    ``TypeError`` is raised for what cannot be asked, before anything is.

    ``schema``, a class of pydantic's or a JSON schema, asks for JSON: an answer that does not fit is asked for once
    more. Then objects are given, and for a DataFrame one with the schema's columns (and ``error``, if any failed).

    Inside a coroutine, or a cell with an ``await``, what is given can be awaited, and has begun. An interrupt ends it
    all; the same call again asks only for what is missing, and so it does for what failed. The other options are those
    of a ``Chat``.
    """
    rows = read_rows(prompts, template, images)
    wanted = None if schema is None else Schema(schema)
    chat = {"system": system, "url": url, "api_key": api_key, "provider": provider, "cache": cache, **params}
    items = (Item(made, along, model) for made, along in rows.prompts())
    call = _call(items, rows.count, model, concurrency, wanted, chat, progress, partial(_answers, rows, wanted))
    return call.start() if caller_can_await(sys._getframe(1)) else call.wait()


def compare(
    prompts: Any,
    models: Iterable[str],
    *,
    template: str | None = None,
    images: Any = None,
    concurrency: int = 8,
    schema: Any = None,
    progress: bool = True,
    **chat: Any,
) -> Any:
    """Ask several models the same, and give a DataFrame with a row for each prompt and model.

    >>> nb_backend.compare("Why is the sky blue?", ["llama", "gpt-4o"])

    Its columns are ``prompt``, ``model``, ``answer`` (the text, as far as it came), ``tokens``, ``seconds`` and
    ``error`` (why it failed, else ``None``). ``prompts`` may be one text; all else is as for ``map``.
    """
    try:
        import pandas  # type: ignore[import-untyped]
    except ImportError:
        raise ValueError("compare gives a DataFrame, and pandas is missing: pip install pandas") from None
    if "model" in chat:
        raise TypeError("compare takes models, a list of names, and no model")
    names = [models] if isinstance(models, str) else [*models]
    if not names:
        raise ValueError("there is no model to ask: give a list of names")
    rows = read_rows([prompts] if isinstance(prompts, str) else prompts, template, images)
    asked = [(made(), along) for made, along in rows.prompts()]
    items = (Item(partial(str, prompt), along, name) for prompt, along in asked for name in names)
    which = [(prompt, name) for prompt, _ in asked for name in names]
    wanted = None if schema is None else Schema(schema)
    call = _call(items, len(which), names[0], concurrency, wanted, chat, progress, partial(_compared, pandas, which))
    return call.start() if caller_can_await(sys._getframe(1)) else call.wait()


def _call(
    items: Iterable[Item],
    total: int,
    model: str | None,
    concurrency: int,
    schema: Schema | None,
    chat: dict[str, Any],
    progress: bool,
    shape: Callable[[list[Result]], Any],
) -> BatchCall:
    if not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1:
        raise ValueError(f"concurrency is {concurrency!r}: it has to be a whole number from 1 up")
    if not isinstance(url := chat.get("url"), str | None):
        chat = {**chat, "url": [*url]}  # each question reads them
    if schema is not None:
        chat = {**chat, "system": schema.instructions(chat.get("system"))}
    request = Chat(model, **chat).request("")  # which raises what would stand against each
    batch = BatchRunner(items, total, concurrency=concurrency, schema=schema, chat=chat)
    recorded = request.store is not None
    return BatchCall(batch, shape, partial(progress_of, progress, plain=recorded), timed=not recorded)


def _answers(rows: Rows, schema: Schema | None, results: list[Result]) -> Any:
    if schema is not None and rows.is_table:
        errors = [None if result.error is None else str(result.error) for result in results]
        return rows.table(schema.columns, [result.value for result in results], errors)
    return rows.series([result.value if result.error is None else result.error for result in results])


def _compared(pandas: Any, which: list[tuple[str, str]], results: list[Result]) -> Any:
    answers = [result.answer for result in results]
    table = pandas.DataFrame(which, columns=["prompt", "model"])
    table["answer"] = ["" if answer is None else answer.text for answer in answers]
    table["tokens"] = pandas.array([answer and answer.tokens for answer in answers], dtype="Int64")
    table["seconds"] = [None if answer is None else answer.seconds for answer in answers]
    table["seconds"] = table["seconds"].astype(float)
    errors = [None if result.error is None else str(result.error) for result in results]
    table["error"] = pandas.Series(errors, dtype=object)
    return table
