"""The rounds of tool calls of an answer: what is kept of calls that had not ended, and of the texts between."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nb_backend import Answer, Chat, RawResponse
from nb_backend.chat.tool_rounds import BREAK, ToolRound, split_text, step_event
from nb_backend.providers.tool_calls import ToolCall
from nb_backend.tools import Tool
from nb_backend.tools.step import ToolStep

KEYS = st.sampled_from(["text", "steps", "id", "name", "arguments", "images", "error", "result"])
DAMAGED = st.recursive(
    st.none() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner)
)
TEXTS = st.text(st.sampled_from("ab \n"), max_size=6)


def calls_event(*ids: str) -> RawResponse:
    return RawResponse(
        type="tool_calls",
        tool_calls=[{"id": one, "type": "function", "function": {"name": "f", "arguments": "{}"}} for one in ids],
    )


def answer_of(*texts: str) -> Answer:
    """Return an answer whose texts have a call between them."""
    answer = Answer()
    for at, text in enumerate(texts):
        if at:
            answer.add(calls_event(f"c{at}"))
            answer.add(RawResponse(type="finish", finish={"reason": "tool_calls"}))
            answer.add(step_event(at - 1, 0, ToolStep(ToolCall(f"c{at}", "f"), "r")))
            text = f"{BREAK}{text}" if text.strip() and answer.text else text
        answer.add(RawResponse(type="content", content=text))
    answer.end()
    return answer


class TestCallsThatHadNotEnded:
    """A call that ran, or that had not begun, when the answer ended says so, and stays in the history."""

    @pytest.mark.parametrize("way", ["stop", "ended"])
    def test_running_and_waiting_ones_get_an_error(self, way):
        answer = Answer()
        answer.add(calls_event("a", "b", ""))
        answer.add(step_event(0, 0, ToolStep(ToolCall("a", "f"), status="running", approved=True)))
        (found,) = answer.tool_rounds
        if way == "stop":
            answer.end(stopped=True)
            why = "stopped by the user"
        else:
            found, before, why = found.ended("lost"), found, "lost"
            assert [step.status for step in before.steps] == ["running"]
        assert [(step.call.id, step.error, step.approved, step.status) for step in found.steps] == [
            ("a", why, True, "done"),
            ("b", why, None, "done"),
            ("call_3", why, None, "done"),
        ]

    def test_one_that_had_ended_stays(self):
        answer = Answer()
        answer.add(calls_event("a"))
        answer.add(step_event(0, 0, ToolStep(ToolCall("a", "f"), "done")))
        answer.end(stopped=True)
        assert [(step.result, step.error) for step in answer.steps] == [("done", None)]


class TestDamagedSteps:
    """A step event of a cache that somebody has changed is left out, and ends nothing."""

    @pytest.mark.parametrize(
        "damage",
        [{"round": "0"}, {"at": []}, {"at": -1}, {"at": 10**9}, {"step": None}, {"round": None, "at": None}],
    )
    async def test_in_a_replay_and_in_one_that_acts(self, backend, tmp_path, damage):
        called = []
        tool = Tool("f", "", {"type": "object"}, lambda: called.append(1))
        backend.engine.enqueue(calls_event("a").get_dict(), {"type": "finish", "finish": {"reason": "tool_calls"}})
        backend.engine.enqueue("Done.")
        await Chat(tools=[tool], cache=tmp_path).ask("Hi")
        (stored,) = tmp_path.glob("*.json")
        data = json.loads(stored.read_text())
        (step,) = (one for one in data["events"] if one["type"] == "step")
        step.update(damage)
        stored.write_text(json.dumps(data))
        for act in (False, True):
            answer = await Chat(tools=[tool], cache=tmp_path).ask("Hi", act=act)
            assert (answer.text.strip(), answer.steps) == ("Done.", [])
        assert called == [1]


class TestReasoning:
    """Reasoning that ends with ``</think>`` and has no start belongs to its round."""

    def test_the_text_of_earlier_rounds_stays_text(self):
        answer = answer_of("First.", "Hm.</think>Second.")
        assert (answer.text, answer.reasoning) == (f"First.{BREAK}Second.", "Hm.")
        assert [text for text, _ in answer.rounds] == ["First.", "Second."]

    def test_each_round_may_have_some(self):
        answer = answer_of("Hm.</think>First.", "Oh.</think>Second.")
        assert (answer.text, answer.reasoning) == (f"First.{BREAK}Second.", "Hm.\n\nOh.")


class TestTexts:
    """The text of an answer is that of its rounds, and can be split again."""

    @given(st.lists(TEXTS, min_size=1, max_size=5))
    def test_each_round_has_its_text(self, texts):
        answer = answer_of(*texts)
        assert [text.strip() for text, _ in answer.rounds] == [text.strip() for text in texts]
        assert "".join(answer.text.split()) == "".join("".join(texts).split())

    @given(st.lists(TEXTS, max_size=5), TEXTS)
    def test_nothing_is_lost_of_a_text_that_was_edited(self, texts, edited):
        parts = split_text(edited, [ToolRound(text) for text in texts])
        assert len(parts) == len(texts) + 1
        assert "".join("".join(parts).split()) == "".join(edited.split())

    @given(
        st.recursive(
            st.none() | st.integers() | st.text(max_size=3),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(st.sampled_from(["text", "steps", "id", "name", "arguments", "images"]), inner)
            ),
        )
    )
    def test_damaged_rounds_of_a_saved_chat_are_left_out(self, data: Any):
        found = ToolRound.of(data)
        assert isinstance(found.text, str)
        json.dumps(found.to_json("owner"), default=str)
