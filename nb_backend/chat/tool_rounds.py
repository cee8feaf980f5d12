"""The rounds of an answer that ended in tool calls: their text, the steps, and the messages they are sent as."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from ..events import RawResponse
from ..media.message_parts import content_part
from ..providers.tool_calls import MAX_CALLS, ToolCall
from ..providers.tool_results import IS_ERROR
from ..tools.step import OPEN, ToolStep
from ..tools.tool import wire_name
from ..transport.json_body import encode_json
from ..typing import Messages

BREAK = "\n\n"
"""What separates the texts of two rounds in the text of the answer."""


@dataclass
class ToolRound:
    """What the model said before its calls, the calls with their results, and the opaque state of the service.

    ``calls`` are those that the model asked for: one that was not begun before the answer ended has no step until then.
    ``thought`` is how many characters of the answer's reasoning came before the calls.
    """

    text: str = ""
    state: list[Any] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    thought: int = 0
    _steps: dict[int, ToolStep] = field(default_factory=dict)

    @property
    def steps(self) -> list[ToolStep]:
        """The steps in the order of the calls."""
        return [self._steps[at] for at in sorted(self._steps)]

    def set(self, at: int, step: ToolStep) -> None:
        """Set the step of the call with this index."""
        self._steps[at] = step

    def stop(self, why: str) -> None:
        """End the steps that still wait or run; ``why`` is their error."""
        begun = {at: step.call for at, step in self._steps.items() if step.status != "done"}
        waiting = {
            at: replace(call, id=call.id or f"call_{at + 1}")
            for at, call in enumerate(self.calls)
            if at not in self._steps
        }
        for at, call in (begun | waiting).items():
            self._steps[at] = ToolStep(call, error=why, approved=self._steps[at].approved if at in begun else None)

    def ended(self, why: str) -> Self:
        """Return a copy in which no step waits or runs; ``why`` is the error of those that do."""
        copy = replace(self, _steps={**self._steps})
        copy.stop(why)
        return copy

    def to_json(self, owner: str) -> dict[str, Any]:
        """Return the round as it is kept in a message; ``owner`` is whose the state is."""
        state = {"state": {"owner": owner, "items": self.state}} if self.state else {}
        thought = {"thought": self.thought} if self.thought else {}
        return {"text": self.text, "steps": [step.to_json() for step in self.steps], **thought, **state}

    @classmethod
    def of(cls, data: Any) -> Self:
        """Return the round that ``to_json`` wrote, without its state. What is damaged is left out."""
        known = data if isinstance(data, Mapping) else {}
        text, steps = known.get("text"), known.get("steps")
        found = [ToolStep.of(step) for step in steps if isinstance(step, Mapping)] if isinstance(steps, list) else []
        thought = known.get("thought")
        return cls(
            text if isinstance(text, str) else "",
            thought=thought if type(thought) is int and thought > 0 else 0,
            _steps=dict(enumerate(found)),
        )


def rounds_of(message: Mapping[str, Any]) -> list[ToolRound]:
    """Return the rounds of an answer in a history."""
    rounds = message.get("rounds")
    return [ToolRound.of(one) for one in rounds] if isinstance(rounds, list) else []


class StepEvent(RawResponse):
    """The event of a step of ours; what a server sends under this name is none."""

    __slots__ = ()


def step_event(number: int, at: int, step: ToolStep) -> StepEvent:
    """Return the event of a step: the ``number`` of its round from 0, and its place ``at`` there."""
    return StepEvent(type="step", round=number, at=at, step={**step.to_json(), "status": step.status})


def event_step(event: RawResponse) -> ToolStep | None:
    """Return the step that an event is about, ``None`` if it is damaged."""
    step = event.get("step")
    if not isinstance(step, Mapping):
        return None
    status = step.get("status")
    return replace(ToolStep.of(step), status=status if status in OPEN else "done")


def read_step(event: RawResponse) -> tuple[int, int, ToolStep] | None:
    """Return the number of the round, the place in it, and the step of an event; ``None`` if it is damaged."""
    number, at, step = event.get("round"), event.get("at"), event_step(event)
    if type(number) is not int or type(at) is not int or step is None or not 0 <= at < MAX_CALLS:
        return None
    return number, at, step


def split_text(text: str, rounds: Sequence[ToolRound]) -> list[str]:
    """Return the text of each round, and the text after the last one. A text that is not blank has ``BREAK`` before it.

    If the text was edited and does not begin with that of the rounds, all of it comes last.
    """
    rest = text
    for at, one in enumerate(rounds):
        rest = rest.removeprefix(BREAK) if one.text.strip() and any(before.text for before in rounds[:at]) else rest
        if not rest.startswith(one.text):
            return ["" for _ in rounds] + [text]
        rest = rest.removeprefix(one.text)
    if rest.strip() and any(one.text for one in rounds):
        rest = rest.removeprefix(BREAK)
    return [*(one.text for one in rounds), rest]


def expanded(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the messages that an answer stands for: each round with the results of its calls, then the last text."""
    data = message.get("rounds")
    if not isinstance(data, list) or message.get("role") != "assistant" or not isinstance(message.get("content"), str):
        yield message
        return
    rounds = rounds_of(message)
    *texts, last = split_text(message["content"], rounds)
    for number, (one, text) in enumerate(zip(rounds, texts, strict=True)):
        state = data[number].get("state") if isinstance(data[number], dict) else None
        yield from round_messages(one, text, state)
    rest = type(message)({**message, "content": last}, *([message.metadata] if hasattr(message, "metadata") else []))
    rest.pop("rounds")
    yield rest


def round_messages(one: ToolRound, text: str, state: Any = None) -> Messages:
    """Return the messages of a round: the calls, with the opaque state, and a result for each of them.

    Arguments that the model damaged are sent as ``{}``: servers of open models refuse what they cannot parse.
    """
    calls = []
    results: Messages = []
    for step in one.steps:
        name, arguments = wire_name(step.call.name), encode_json(step.call.arguments).decode()
        calls.append({"id": step.call.id, "type": "function", "function": {"name": name, "arguments": arguments}})
        failed = {IS_ERROR: True} if step.error is not None else {}
        results.append(
            {"role": "tool", "tool_call_id": step.call.id, "name": name, "content": _content(step), **failed}
        )
    asked: dict[str, Any] = {"role": "assistant", "content": text, "tool_calls": calls}
    return [{**asked, "state": state} if isinstance(state, dict) else asked, *results]


def _content(step: ToolStep) -> Any:
    if not step.images:
        return step.content
    text = [{"type": "text", "text": step.content}] if step.content else []
    return [*text, *(content_part(one.uri, one.name) for one in step.images)]
