"""Answers that call tools, as their events arrive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from nb_backend.chat.answer import Answer
from nb_backend.chat.tool_rounds import BREAK, step_event
from nb_backend.events import RawResponse
from nb_backend.providers.tool_calls import ToolCall
from nb_backend.tools.step import Status, ToolStep


def step(name: str = "weather", result: str = "rain", error: str | None = None, **about: Any) -> ToolStep:
    """Return a step of a call; ``arguments`` are in ``about``."""
    call = ToolCall(about.pop("id", "call_1"), name, about.pop("arguments", {"city": "Rome"}))
    return ToolStep(call, "" if error else result, error, **about)


def tool_events(*parts: str | Sequence[ToolStep] | RawResponse) -> Iterator[RawResponse]:
    """Yield the events of an answer: texts, other events, and lists of steps, each of which asks, runs and ends."""
    number, said, is_after_steps = 0, "", False
    for part in parts:
        if isinstance(part, RawResponse):
            yield part
        elif isinstance(part, str):
            if is_after_steps and said:
                yield RawResponse(type="content", content=BREAK)
            yield RawResponse(type="content", content=part)
            said, is_after_steps = said + part, False
        else:
            for at, one in enumerate(part):
                before: list[Status] = [*(["asking"] if one.approved is not None else [])]
                before += ["running"] if one.error is None else []
                for status in before:
                    yield step_event(number, at, ToolStep(one.call, approved=one.approved, status=status))
                yield step_event(number, at, one)
            number, is_after_steps = number + 1, True


def tool_answer(*parts: str | Sequence[ToolStep] | RawResponse) -> Answer:
    """Return an answer of these parts that has ended."""
    answer = Answer(model="m", provider={"label": "tests", "model": "m"})
    for event in tool_events(*parts):
        answer.add(event)
    answer.add(RawResponse(type="finish", finish={"reason": "stop"}))
    answer.end()
    answer.seconds = 1.0
    return answer
