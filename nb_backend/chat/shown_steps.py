"""Tool calls of an answer as people read them: a folded block of safe Markdown, and one line of text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from .. import settings
from ..markdown.elements import code_block, code_span, escape_line, join_blocks
from ..markdown.images import piece_markdown
from ..providers.tool_calls import ToolCall
from ..redaction import mask
from ..text import counted, duration, entities, safe_terminal, truncate, unicode_text, visible
from ..tools.asking import asked_arguments, indented
from ..tools.step import STOPPED, UNREACHED, ToolStep

MAX_ARGUMENTS = 10_000  # characters that are shown of a call that has ended; all of them while consent is asked for
MAX_RESULT = 4_000  # characters that are shown
_MAX_CALL = 60  # characters of the arguments in one line
_MAX_OUTCOME = 80
_MAX_PICTURES = 12
_MAX_ON_ONE_LINE = 70  # characters of arguments
_CODE_TOOL = "run"  # its argument ``code`` is Python source

_MAX_TEXT = 40  # characters of an argument in one line
_MIN_SECONDS = 0.05  # that are shown
_PICTURE = re.compile(r"\[image: [^\[\]\n]*\]")  # stands in a result in place of a picture
_NOT_KEPT = re.compile(r"\n?\[\d+ pictures?, not kept\]$")  # stands in a saved result
_NOTE = "margin:0.4em 0"
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
        body += [*_result(step), *map(_note, _consent(step))]
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
    text, _ = asked_arguments(step.call, is_code=step.call.name == _CODE_TOOL)
    return safe_terminal(f"⚙ {_name(step.call)} asks for your consent:\n\n{indented(text)}".rstrip())


def describe_call(call: ToolCall) -> str:
    """Return a call as Python would write it, shortened: ``weather(city='Rome')``, ``run(x = 1 …)``."""
    return f"{_name(call)}({describe_arguments(call)})"


def describe_arguments(call: ToolCall) -> str:
    """Return the arguments of a call in one line, shortened; of ``run``, the first line of its code."""
    if call.unparsed:
        return one_line(call.unparsed, _MAX_TEXT)
    code = call.arguments.get("code")
    if call.name == _CODE_TOOL and isinstance(code, str) and len(call.arguments) == 1:
        return _first_line(code)
    given = ", ".join(f"{one_line(name, 30)}={_value(value)}" for name, value in [*call.arguments.items()][:5])
    return truncate(f"{given}, …" if len(call.arguments) > 5 else given, _MAX_CALL)


def one_line(text: str, limit: int) -> str:
    """Return a text of a model or a tool in one line, cut at its end."""
    return truncate(" ".join(visible(_plain(text)).split()), limit)


def _first_line(code: str) -> str:
    """Return the first line of code that is not a comment, and ``…`` if there is more."""
    lines = [line for line in code.splitlines() if line.strip()]
    first = next((line for line in lines if not line.lstrip().startswith("#")), "".join(lines[:1]))
    shown = one_line(first, _MAX_CALL)
    return f"{shown} …" if len(lines) > 1 and not shown.endswith("…") else shown


def _name(call: ToolCall) -> str:
    return one_line(call.name, _MAX_CALL) or "?"


def _value(value: object) -> str:
    if not isinstance(value, str):
        return one_line(_json(value, indent=None), _MAX_TEXT)
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
        return "✗", one_line(step.error, _MAX_OUTCOME) + took
    result = _NOT_KEPT.sub("", step.result) or step.result
    words = one_line(_PICTURE.sub("[picture]", result), _MAX_OUTCOME)
    return "→", (words or (counted(len(step.images), "picture") if step.images else "nothing")) + took


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


def _json(value: object, indent: int | None = 2) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= _MAX_ON_ONE_LINE else json.dumps(value, ensure_ascii=False, indent=indent)
    except RecursionError:
        return "… (nested too deeply to be shown)"


def _arguments(call: ToolCall) -> Iterator[str]:
    for text, language in argument_texts(call):
        yield "\n".join(code_block(_cut(text, MAX_ARGUMENTS), language, nested=False))


def _result(step: ToolStep) -> Iterator[str]:
    if step.error is not None:
        yield f'<div style="{_NOTE}">✗ {escape_line(_plain(step.error), 1000)}</div>'
    elif step.result.strip():
        text = _plain(step.result)
        yield _note("→ result")
        yield "\n".join(code_block(_cut(text, MAX_RESULT), "json" if _is_json(text) else "", nested=False))
    for picture in step.images[:_MAX_PICTURES]:
        yield picture._repr_markdown_()


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def _consent(step: ToolStep) -> Iterator[str]:
    if step.approved is None and step.error in (STOPPED, UNREACHED):  # it may have been asked for
        return
    consent = {True: "consent: yes", False: "consent: no", None: "consent: not asked for"}[step.approved]
    ran = step.error is None or step.seconds > 0
    yield f"{consent} · under 0.1 s" if ran and step.seconds < _MIN_SECONDS else consent


def _note(text: str) -> str:
    """Return a small line of our own words, with some space around it."""
    return f'<div style="{_NOTE}"><small>{text}</small></div>'


def _cut(text: str, limit: int) -> str:
    """Return a text with its middle left out, if it has more than ``limit`` characters."""
    if len(text) <= limit:
        return text
    head, tail = text[: limit * 3 // 4], text[-limit // 4 :]
    return f"{head}\n… {counted(len(text) - len(head) - len(tail), 'character')} left out …\n{tail}"
