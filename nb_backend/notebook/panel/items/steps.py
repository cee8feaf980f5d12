"""The steps of an answer as HTML: a folded block for each call, and the question whether a call may run.

What a model or a tool says is text here, with invisible characters shown. All HTML is written here, with every
character escaped, and passes ``sanitize.clean``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from html import escape
from typing import Any

from ....chat.shown_steps import MAX_ARGUMENTS, MAX_RESULT, argument_texts, describe_arguments, one_line
from ....markdown.html.block import ImageKey, image_html
from ....markdown.html.code import code_html
from ....markdown.html.sanitize import clean
from ....providers.tool_calls import ToolCall
from ....text import duration, unicode_text, visible
from ....tools.asking import shown_name
from ....tools.step import ToolStep

Mask = Callable[[str], str]
_CAPTIONS = {"json": "arguments", "": "arguments"}


def step_html(step: ToolStep, mask: Mask, image_key: ImageKey | None, asked: str = "") -> str:
    """Return a step as a folded block. ``asked`` says where the user is asked, while the step waits for that."""
    step = masked_step(step, mask)
    name = shown_name(step.call.name)
    arguments = describe_arguments(step.call)
    parts = [
        f'<summary><span class="nbb-tool">{_text(name)}</span> <span class="nbb-preview">{_text(arguments)}</span>'
        f' <span class="nbb-how">{_text(state_of(step, asked))}</span></summary>'
    ]
    parts += [_code(caption, language, code, MAX_ARGUMENTS) for caption, language, code in _arguments(step.call)]
    if step.error is not None:
        parts.append(f'<p class="nbb-failure">{_text(step.error)}</p>')
    elif step.result:
        parts.append(_code("result", "", step.result, MAX_RESULT))
    elif step.status == "done" and not step.images:
        parts.append("<p>It returned nothing.</p>")
    parts += [f"<p>{image_html(one.uri, unicode_text(one.name), image_key)}</p>" for one in step.images]
    return _safe(f'<details class="nbb-step">{"".join(parts)}</details>')


def question_html(call: ToolCall, mask: Mask) -> list[str]:
    """Return all arguments of a call as blocks, for the question whether it may run."""
    call = masked_step(ToolStep(call), mask).call
    return [_safe(_code(caption, language, code)) for caption, language, code in _arguments(call)]


def masked_step(step: ToolStep, mask: Mask) -> ToolStep:
    """Return a step without the keys that ``mask`` knows."""
    call = step.call
    call = replace(call, name=mask(call.name), arguments=_masked(call.arguments, mask), unparsed=mask(call.unparsed))
    error = None if step.error is None else mask(step.error)
    return replace(step, call=call, result=mask(step.result), error=error)


def state_of(step: ToolStep, asked: str = "") -> str:
    """Return in a few words how far a step is: whether it was allowed, its seconds, or why it failed."""
    if step.status == "asking":
        return asked or "waits for consent"
    if step.status == "running":
        return "running …"
    parts = ["allowed"] if step.approved else []
    parts += [one_line(step.error, 80)] if step.error is not None else []
    parts += [duration(step.seconds)] if step.seconds >= 0.05 else []
    return " · ".join(parts)


def _arguments(call: ToolCall) -> list[tuple[str, str, str]]:
    """Return the arguments of a call as caption, language and text of each block."""
    return [(_CAPTIONS.get(language, language), language, text) for text, language in argument_texts(call)]


def _masked(value: Any, mask: Mask) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {mask(str(name)): _masked(one, mask) for name, one in value.items()}
    return [_masked(one, mask) for one in value] if isinstance(value, list) else value


def _code(caption: str, language: str, code: str, limit: int | None = None) -> str:
    code = unicode_text(code)
    more = len(code) - limit if limit is not None else 0
    shown = code_html(code[:limit], language)
    cut = f"<p>… {more:,} more characters</p>" if more > 0 else ""
    return (
        f'<figure class="nbb-code"><figcaption>{escape(caption)}</figcaption>'
        f'<pre tabindex="0"><code>{shown}</code></pre></figure>{cut}'
    )


def _text(text: str) -> str:
    return escape(visible(unicode_text(text)))


def _safe(html: str) -> str:
    return clean(visible(html))
