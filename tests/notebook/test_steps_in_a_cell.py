"""Steps in the outputs of a cell and in a terminal, without a kernel: where they are, and what is painted again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from png import png
from tool_answers import step, tool_events

from nb_backend import to_data_uri
from nb_backend.chat.answer import Answer
from nb_backend.chat.tool_rounds import step_event
from nb_backend.chat.wire import wire_messages
from nb_backend.events import RawResponse
from nb_backend.media.attachment import Attachment
from nb_backend.notebook.cell.notebook_view import CellView
from nb_backend.notebook.cell.section import AnswerSection
from nb_backend.notebook.cell.terminal_view import TerminalView
from nb_backend.notebook.magic.restore import turns_in

KEY = "sk-a-key-of-the-tests-0123456789"


class Front:
    """A front end: its outputs in their order, and how often each was painted."""

    def __init__(self) -> None:
        self.outputs: dict[str, dict[str, Any]] = {}
        self.painted: dict[str, int] = {}

    def publish(self, data, metadata, transient, update):
        key = transient["display_id"]
        assert update == (key in self.outputs)
        self.outputs[key] = {"data": data, "metadata": metadata}
        self.painted[key] = self.painted.get(key, 0) + 1

    @property
    def seen(self) -> list[str]:
        return [
            one["data"].get("text/markdown", one["data"].get("text/html"))
            for one in self.outputs.values()
            if one["data"]
        ]

    @property
    def plain(self) -> str:
        return "\n\n".join(filter(None, (one["data"].get("text/plain") for one in self.outputs.values())))


def stream(*parts, every=1, format="markdown", names=(), stopped=False, finish=True) -> Front:
    """Show an answer, and repaint after every ``every`` events."""
    front = Front()
    view = CellView(SimpleNamespace(display_pub=front), format, names)
    view._paint_soon = lambda: None
    answers = [Answer() for _ in names or ("",)]
    for number, event in enumerate(tool_events(*parts)):
        for at, answer in enumerate(answers):
            answer.add(event)
            view.update(event, answer, at)
        if number % every == every - 1:
            view._paint()
    for at, answer in enumerate(answers if finish else ()):
        answer.add(RawResponse(type="finish", finish={"reason": "stop"}))
        answer.end(stopped=stopped)
        answer.seconds = 1.0
        view.finish(answer, False, at)
    return front


def words(count: int) -> list[str]:
    return ["word "] * count


def test_a_short_answer_with_steps_is_one_output_in_the_end():
    front = stream("Let me look.", [step(), step(result="sun")], "It rains.")
    (whole,) = front.seen
    assert whole.index("Let me look.") < whole.index("rain") < whole.index("sun") < whole.index("It rains.")
    assert whole.count("<details style") == whole.count("</details>") == 2
    assert "<small>2 tool calls · " in whole


def test_steps_are_not_painted_again_while_the_text_after_them_grows():
    front = stream("Let me look.", [step()], *words(100), finish=False)
    first, last = front.painted.values()
    assert first < 6  # its text, the call that runs and that ends, and once at its end
    assert last > 90
    assert "<details" in front.seen[0]
    assert "<details" not in front.seen[1]
    assert front.seen[1].startswith("word word")


def test_a_call_is_shown_while_it_runs_and_all_of_it_while_consent_is_asked_for():
    asked = step("run", arguments={"code": "x = 1\n" * 3000 + "the_end()"}, status="asking")
    front = stream("Look.", [asked], finish=False)
    (shown,) = front.seen
    assert "asks for your consent" in shown
    assert "the_end()" in shown
    assert "<details" not in shown
    front = stream("Look.", [step(status="running")], finish=False)
    assert "running …</summary>" in front.seen[0]
    assert "waiting" not in front.seen[0]
    front = stream("Look.", [step()], finish=False)
    assert front.seen[0].endswith("*waiting for the answer …*")  # for what the model says to the result


@pytest.mark.parametrize(("status", "ticks"), [("asking", False), ("running", False), ("done", True)])
def test_nothing_is_painted_for_the_time_that_a_tool_or_the_user_takes(monkeypatch, status, ticks):
    monkeypatch.setattr("nb_backend.notebook.cell.silence.SILENCE", -1)
    section, answer = AnswerSection(), Answer()
    event = step_event(0, 0, step(status=status))
    answer.add(event)
    section.add_event(event, answer)
    assert section.tick() is ticks


def test_reasoning_is_at_its_place():
    thought = [RawResponse(type="reasoning", token=f"thought {number}") for number in (1, 2)]
    (whole,) = stream(thought[0], "Look.", [step()], thought[1], "Rain.").seen
    places = [whole.index(part) for part in ("thought 1", "Look.", "rain", "thought 2", "Rain.")]
    assert places == sorted(places)
    live = stream(thought[0], "Look.", [step()], thought[1], finish=False)
    assert live.seen[1].startswith("<details open><summary>Reasoning</summary>\n\nthought 2")


parts = st.lists(
    st.integers(1, 300).map(lambda count: "A *sentence* of some words.\n\n" * count)
    | st.lists(st.integers(0, 9000).map(lambda size: step(result="x" * size)), min_size=1, max_size=3)
    | st.integers(1, 6000).map(lambda size: RawResponse(type="reasoning", token="t" * size)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=30, deadline=None)
@given(parts, st.integers(1, 7))
def test_the_final_outputs_do_not_depend_on_how_the_answer_arrived(parts, every):
    once, grown = stream(*parts, every=10_000), stream(*parts, every=every)
    assert grown.seen == once.seen
    assert grown.plain == once.plain


def test_a_long_answer_with_steps_keeps_its_outputs_at_the_end():
    parts = ["Text.\n\n", [step(result="x" * 9000)] * 2] * 4 + words(50)
    live, ended = stream(*parts, finish=False), stream(*parts)
    assert len(ended.seen) == 5
    assert ended.seen[:-1] == live.seen[:-1]
    assert [*ended.painted.values()][:-1] == [*live.painted.values()][:-1]  # the end does not paint them again
    assert [bool(one["metadata"]) for one in ended.outputs.values()] == [False] * 4 + [True]


def test_a_hundred_rounds_have_at_most_fifty_outputs():
    parts = ["Text.\n\n", [step(result="x" * 9000)]] * 100
    front = stream(*parts, "The end.", every=3)
    assert len(front.seen) <= 47
    assert "".join(front.seen).count("<details style") == 100
    assert len(stream(*parts, "The end.", finish=False).seen) <= 47


def test_the_metadata_has_the_rounds_without_pictures_and_keys(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    picture = Attachment(to_data_uri(png(20, 20)), "plot.png")
    front = stream("Look.", [step(result=f"a plot {KEY}", images=[picture])], "Nice.")
    output = next(iter(front.outputs.values()))
    assert "data:image/png" in output["data"]["text/markdown"]
    (kept,) = output["metadata"]["nb_backend"]["rounds"]
    assert kept["text"] == "Look."
    assert kept["steps"][0]["result"] == "a plot ***\n[1 picture, not kept]"
    assert "data:image" not in str(output["metadata"])
    assert KEY not in str(output)


@pytest.mark.parametrize("format", ["text", "code", "json"])
def test_every_format_shows_the_steps(format):
    front = stream("Look.", [step()], '{"rain": true}', format=format)
    assert "⚙" in front.seen[0]
    assert "⚙ weather(city='Rome') → rain" in front.plain
    assert ("```json" in front.seen[0]) == (format != "text")


def test_columns_show_the_steps_of_each_model():
    (whole,) = stream("Look.", [step()], "It rains.", names=("a", "b")).seen
    assert whole.count("<details style") == whole.count("</details>") == 2
    assert whole.index("**a**") < whole.index("<details") < whole.index("**b**")


@pytest.mark.parametrize("format", ["markdown", "text", "code"])
@pytest.mark.parametrize("size", [10, 9000])
def test_a_reopened_notebook_gives_the_steps_back(format, size):
    called = [step(result="x" * size, seconds=0.04, id=str(number)) for number in range(5)]
    called.append(step(error="refused: no", approved=False, id="5"))
    parts = ("Let me look.", called, "And now?", [step("f", id="6")], "It rains.\n\n⚙ All day.")
    front = stream(*parts, format=format)
    outputs = [{"output_type": "display_data", **one} for one in front.outputs.values() if one["data"]]
    assert len(outputs) == (3 if size > 10 and format != "text" else 1)
    cell = {"cell_type": "code", "source": f"%%backend m -f {format}\nHi?", "outputs": outputs}
    (messages,) = turns_in([cell]).values()
    again = Answer.of(messages[1])
    assert [text for text, _ in again.rounds] == ["Let me look.", "And now?", "It rains.\n\n⚙ All day."]
    assert again.steps == [*called, step("f", id="6")]
    assert [message["role"] for message in wire_messages(messages)].count("tool") == 7


def test_rounds_in_a_notebook_that_are_damaged_are_left_out():
    front = stream("Look.", [step()], "It rains.")
    output = next(iter(front.outputs.values()))
    for damaged in ("x", [5], [{"steps": [{"images": [["/etc/passwd", "x"]]}]}], [{"steps": [{"result": 5}]}]):
        output["metadata"]["nb_backend"]["rounds"] = damaged
        (messages,) = turns_in([{"cell_type": "code", "source": "%%backend\nHi?", "outputs": [output]}]).values()
        assert "rounds" not in messages[1]
        assert "It rains." in messages[1]["content"]


# --- a terminal


def in_a_terminal(capsys, *parts, names=()) -> str:
    view = TerminalView(names)
    answers = [Answer() for _ in names or ("",)]
    for event in tool_events(*parts):
        for at, answer in enumerate(answers):
            answer.add(event)
            view.update(event, answer, at)
    for at, answer in enumerate(answers):
        answer.end()
        answer.seconds = 1.0
        view.finish(answer, False, at)
    return capsys.readouterr().out


def test_a_terminal_prints_a_line_when_a_call_starts_and_when_it_ends(capsys):
    out = in_a_terminal(capsys, "Let me look.", [step(seconds=0.2)], "It rains.")
    assert out.startswith(
        "Let me look.\n⚙ weather(city='Rome') · running …\n⚙ weather(city='Rome') → rain · 0.2 s\n\nIt rains.\n"
    )
    assert "1 tool call" in out


def test_a_terminal_ends_the_line_before_the_user_is_asked(capsys):
    view, answer = TerminalView(), Answer()
    for event in [*tool_events("Let me look.", [step(approved=True)])][:2]:
        answer.add(event)
        view.update(event, answer)
    assert capsys.readouterr().out == "Let me look.\n"  # what is asked about is printed with the question


def test_no_tool_controls_a_terminal(capsys):
    hostile = "x\x1b[2K\u202e\r\x07"
    out = in_a_terminal(capsys, [step(hostile, hostile, arguments={hostile: hostile}), step(error=hostile)], "Done.")
    assert not set(out) & set("\x1b\u202e\r\x07")
