"""The steps of an answer as HTML: a folded block for each call, and the question whether a call may run.

What a model or a tool says is text here, with invisible characters shown. All HTML is written here, with every
character escaped, and passes ``sanitize.clean``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape
from typing import Any

import orjson

from ....markdown.html.block import ImageKey, image_html
from ....markdown.html.code import code_html
from ....markdown.html.sanitize import clean
from ....providers.tool_calls import ToolCall
from ....text import duration, shorten, unicode_text, visible
from ....tools.step import ToolStep

Mask = Callable[[str], str]
MAX_ARGUMENTS = 20_000  # characters of the arguments in a step; the question shows all of them
MAX_RESULT = 4_000  # characters of a result
_MAX_PREVIEW = 70  # characters of the arguments in the line of a folded step


def step_html(step: ToolStep, mask: Mask, image_key: ImageKey | None, asked: str = "") -> str:
    """Return a step as a folded block. ``asked`` says where the user is asked, while the step waits for that."""
    label = f'<span class="nbb-tool">{_text(mask(shown_name(step.call.name)))}</span>'
    preview = f'<span class="nbb-preview">{_text(mask(_preview(step.call)))}</span>'
    state = f'<span class="nbb-how">{_text(mask(state_of(step, asked)))}</span>'
    parts = [f"<summary>{label} {preview} {state}</summary>"]
    parts += [
        _code(caption, language, mask(code), MAX_ARGUMENTS) for caption, language, code in arguments_of(step.call)
    ]
    if step.error is not None:
        parts.append(f'<p class="nbb-failure">{_text(mask(step.error))}</p>')
    elif step.result:
        parts.append(_code("result", "", mask(step.result), MAX_RESULT))
    elif step.status == "done" and not step.images:
        parts.append("<p>It returned nothing.</p>")
    parts += [f"<p>{image_html(one.uri, unicode_text(mask(one.name)), image_key)}</p>" for one in step.images]
    return _safe(f'<details class="nbb-step">{"".join(parts)}</details>')


def question_html(call: ToolCall, mask: Mask) -> list[str]:
    """Return all arguments of a call as blocks, for the question whether it may run."""
    return [_safe(_code(caption, language, mask(code))) for caption, language, code in arguments_of(call)]


def arguments_of(call: ToolCall) -> list[tuple[str, str, str]]:
    """Return the arguments of a call as caption, language and text of each block; none if there are no arguments."""
    if call.unparsed:
        return [("arguments", "", call.unparsed)]
    arguments = {**call.arguments}
    code = arguments.pop("code", None)
    if not isinstance(code, str):
        arguments, code = call.arguments, None
    blocks = [("python", "python", code)] if code is not None else []
    return [*blocks, ("arguments", "json", _json(arguments))] if arguments else blocks


def state_of(step: ToolStep, asked: str = "") -> str:
    """Return in a few words how far a step is: whether it was allowed, its seconds, or why it failed."""
    if step.status == "asking":
        return asked or "waits for consent"
    if step.status == "running":
        return "running …"
    parts = ["allowed"] if step.approved else []
    parts += [shorten(step.error, 80)] if step.error is not None else []
    parts += [duration(step.seconds)] if step.seconds >= 0.05 else []
    return " · ".join(parts)


def _preview(call: ToolCall) -> str:
    if call.unparsed:
        return shorten(call.unparsed[:500], _MAX_PREVIEW)
    if isinstance(code := call.arguments.get("code"), str) and code.strip():
        return shorten(code.strip()[:500].splitlines()[0], _MAX_PREVIEW)
    return shorten(", ".join(f"{name}={_json(value, 0)[:200]}" for name, value in call.arguments.items()), _MAX_PREVIEW)


def _json(value: Any, option: int = orjson.OPT_INDENT_2) -> str:
    try:
        return orjson.dumps(value, default=repr, option=option).decode()
    except (TypeError, ValueError, RecursionError):
        return repr(value)


def _code(caption: str, language: str, code: str, limit: int | None = None) -> str:
    code = unicode_text(code)
    more = len(code) - limit if limit is not None else 0
    shown = code_html(code[:limit], language)
    cut = f"<p>… {more:,} more characters</p>" if more > 0 else ""
    return (
        f'<figure class="nbb-code"><figcaption>{escape(caption)}</figcaption>'
        f'<pre tabindex="0"><code>{shown}</code></pre></figure>{cut}'
    )


def shown_name(name: str) -> str:
    """Return the name of a tool in which nothing looks like our own words: without spaces and hidden characters."""
    return shorten(re.sub(r"[^\w.:/-]", "_", name), 60)


def _text(text: str) -> str:
    return escape(visible(unicode_text(text)))


def _safe(html: str) -> str:
    return clean(visible(html))
