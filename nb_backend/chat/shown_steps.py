"""Tool calls of an answer as people read them: a folded block of safe Markdown, and one line of text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from .. import settings
from ..markdown.elements import code_block, code_span, escape_line, join_blocks
from ..markdown.images import piece_markdown
from ..providers.tool_calls import ToolCall
from ..redaction import mask
from ..text import counted, duration, entities, safe_terminal, shorten, truncate, unicode_text, visible
from ..tools.asking import asked_arguments
from ..tools.step import ToolStep

MAX_ARGUMENTS = 10_000  # characters that are shown of a call that has ended; all of them while consent is asked for
MAX_RESULT = 4_000  # characters that are shown
_MAX_CALL = 80  # characters of a call in one line
_MAX_OUTCOME = 80
_MAX_PICTURES = 12
_MAX_ON_ONE_LINE = 70  # characters of arguments
_CODE_TOOL = "run"  # its argument ``code`` is Python source

_MAX_TEXT = 40  # characters of an argument in one line
_MIN_SECONDS = 0.05  # that are shown
_FOLD = '<details style="margin-bottom:0.4em">'  # a viewer that strips the style leaves no space below


def step_markdown(step: ToolStep) -> str:
    """Return a step as safe Markdown: a folded block, or the whole call, not folded, while consent is asked for.

    The text of a model or a tool in it does nothing, and no text ends the block.
    """
    call = step.call
    if step.status == "asking":
        text, language = asked_arguments(call, is_code=call.name == _CODE_TOOL)
        block = "\n".join(code_block(text, language, nested=False))  # the asker looks for it on the page
        return join_blocks(f"⚙ {code_span(_name(call))} **asks for your consent:**", block)
    outcome = _outcome(step)
    shown = f"{escape_line(outcome[0])} {escape_line(outcome[1], len(outcome[1]))}".strip()
    summary = f"⚙ <code>{entities(describe_call(call))}</code> {shown}"
    body = [*_arguments(call)]
    if step.status == "done":
        body += [*_result(step), f"<small>{escape_line(_consent(step))}</small>"]
    return f"{_FOLD}<summary>{summary}</summary>\n\n{join_blocks(*body)}\n\n</details>"


def rounds_markdown(
    rounds: Sequence[tuple[str, Sequence[ToolStep]]],
    addresses: Mapping[str, str],
    alts: Mapping[str, str],
    max_image_bytes: int | None = None,
    *,
    growing: bool = False,
) -> list[tuple[str, str]]:
    """Return for each round of an answer its text as safe Markdown, and the steps that follow it.

    The other arguments are those of ``answer_markdown``.
    """
    texts = piece_markdown([text for text, _ in rounds], addresses, alts, max_image_bytes, growing=growing)
    return [(text, steps_markdown(steps)) for text, (_, steps) in zip(texts, rounds, strict=True)]


def steps_markdown(steps: Sequence[ToolStep]) -> str:
    """Return the steps of a round as safe Markdown."""
    return join_blocks(*map(step_markdown, steps))


def rounds_text(rounds: Sequence[tuple[str, Sequence[ToolStep]]]) -> str:
    """Return the text of an answer with a line for each step at its place."""
    return "\n\n".join(part for text, steps in rounds for part in (text, steps_text(steps)) if part.strip())


def steps_text(steps: Sequence[ToolStep]) -> str:
    """Return the steps of a round as text: a line each, and all that consent is asked for."""
    return "\n\n".join(question_text(step) if step.status == "asking" else step_line(step) for step in steps)


def step_line(step: ToolStep) -> str:
    """Return a step in one line of text: ``⚙ weather(city='Rome') → rain in Rome · 0.2 s``."""
    return safe_terminal(" ".join(filter(None, [f"⚙ {describe_call(step.call)}", *_outcome(step)])))


def question_text(step: ToolStep) -> str:
    """Return what consent is asked for as text: the tool, and all of its arguments, indented."""
    lines, _ = asked_arguments(step.call, is_code=step.call.name == _CODE_TOOL)
    shown = "\n".join(f"    {visible(line)}" for line in lines.split("\n"))
    return safe_terminal(f"⚙ {_name(step.call)} asks for your consent:\n\n{shown}".rstrip())


def describe_call(call: ToolCall) -> str:
    """Return a call as Python would write it, shortened: ``weather(city='Rome')``."""
    if call.unparsed:
        return f"{_name(call)}({shorten(_plain(call.unparsed), 40)})"
    given = ", ".join(f"{shorten(name, 30)}={_value(value)}" for name, value in [*call.arguments.items()][:5])
    return f"{_name(call)}({truncate(given, _MAX_CALL)})"


def _name(call: ToolCall) -> str:
    return shorten(_plain(call.name), 60) or "?"


def _value(value: object) -> str:
    if not isinstance(value, str):
        return shorten(_plain(_json(value)), _MAX_TEXT)
    text = _plain(value)
    return repr(text) if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT].rstrip()!r}…"


def _plain(text: str) -> str:
    """Return text of a model or a tool that can be encoded, with the keys masked."""
    return unicode_text(mask(text, settings.known_keys()))


def _outcome(step: ToolStep) -> tuple[str, str]:
    """Return the sign for what became of a call, and the words."""
    if step.status == "asking":
        return "", "asks for your consent"
    if step.status == "running":
        return "", "· running …"
    took = f" · {duration(step.seconds)}" if step.seconds >= _MIN_SECONDS else ""
    if step.error is not None:
        return "✗", shorten(_plain(step.error), _MAX_OUTCOME) + took
    words = shorten(_plain(step.result), _MAX_OUTCOME) or counted(len(step.images), "picture")
    return "→", ("nothing" if not step.result.strip() and not step.images else words) + took


def argument_texts(call: ToolCall) -> Iterator[tuple[str, str]]:
    """Yield all arguments as texts, each with the language it is in."""
    if call.unparsed:
        yield _plain(call.unparsed), ""
        return
    arguments = {**call.arguments}
    if call.name == _CODE_TOOL and isinstance(arguments.get("code"), str):
        yield _plain(arguments.pop("code")), "python"
    if arguments:
        yield _plain(_json(arguments)), "json"


def _json(value: object) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= _MAX_ON_ONE_LINE else json.dumps(value, ensure_ascii=False, indent=2)
    except RecursionError:
        return "… (nested too deeply to be shown)"


def _arguments(call: ToolCall) -> Iterator[str]:
    if not (call.arguments or call.unparsed):
        yield "<small>without arguments</small>"
    for text, language in argument_texts(call):
        yield "\n".join(code_block(_cut(text, MAX_ARGUMENTS), language, nested=False))


def _result(step: ToolStep) -> Iterator[str]:
    if step.error is not None:
        yield f"✗ {escape_line(_plain(step.error), 1000)}"
    elif step.result.strip():
        text = _plain(step.result)
        is_json = text.lstrip().startswith(("{", "[")) and text.rstrip().endswith(("}", "]"))
        yield "→ result:"
        yield "\n".join(code_block(_cut(text, MAX_RESULT), "json" if is_json else "", nested=False))
    for picture in step.images[:_MAX_PICTURES]:
        yield picture._repr_markdown_()


def _consent(step: ToolStep) -> str:
    asked = {True: "consent: yes", False: "consent: no", None: "consent: not asked for"}[step.approved]
    return " · ".join([asked, *([duration(step.seconds)] if step.seconds >= _MIN_SECONDS else [])])


def _cut(text: str, limit: int) -> str:
    """Return a text with its middle left out, if it has more than ``limit`` characters."""
    if len(text) <= limit:
        return text
    head, tail = text[: limit * 3 // 4], text[-limit // 4 :]
    return f"{head}\n… {counted(len(text) - len(head) - len(tail), 'character')} left out …\n{tail}"
