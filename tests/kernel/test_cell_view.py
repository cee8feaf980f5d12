"""The view of a live cell, without a kernel: when it repaints, and which outputs stay unchanged."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nb_backend.chat.answer import Answer
from nb_backend.events import RawResponse
from nb_backend.markdown.split import MAX_UNSPLIT_CHARS, MIN_PIECE_CHARS, split_text
from nb_backend.notebook.cell import notebook_view

WORD = RawResponse(type="content", content="word ")


@pytest.fixture
async def waits(monkeypatch):
    """A fake clock, and the seconds that the view waited for each repaint."""
    monkeypatch.setattr(notebook_view, "time", SimpleNamespace(monotonic=lambda: clock.now))
    clock = SimpleNamespace(now=1000.0, waits=[], paint=None)

    def call_later(seconds, paint):
        clock.waits.append(seconds)
        clock.paint = paint
        return SimpleNamespace(cancel=lambda: None)

    monkeypatch.setattr(asyncio, "get_running_loop", lambda: SimpleNamespace(call_later=call_later))
    return clock


@pytest.mark.parametrize(("cost", "pause"), [(0.0, 0.1), (0.04, 0.1), (0.2, 0.4), (1.5, 3.0)])
async def test_painting_takes_a_third_of_the_time_at_the_most(waits, cost, pause):
    def publish(**_):
        waits.now += cost

    view = notebook_view.CellView(SimpleNamespace(display_pub=SimpleNamespace(publish=publish)))
    answer = Answer()
    for _ in range(3):
        view.update(WORD, answer)
    waits.paint()
    view.update(WORD, answer)
    assert waits.waits == pytest.approx([0.0, pause])  # the first word does not wait


async def test_flush_shows_at_once_what_waits_for_a_repaint(waits):
    shown = []
    shell = SimpleNamespace(display_pub=SimpleNamespace(publish=lambda **sent: shown.append(sent["data"])))
    view = notebook_view.CellView(shell)
    view.flush()
    assert len(shown) == 1  # nothing waits
    answer = Answer()
    answer.add(WORD)
    view.update(WORD, answer)
    view.flush()
    assert "word" in shown[-1]["text/markdown"]


class Front:
    """A front end: its outputs in their order, how often each was painted, and how many characters were sent."""

    def __init__(self) -> None:
        self.outputs: dict[str, dict[str, Any]] = {}
        self.painted: dict[str, int] = {}
        self.sent = 0

    def publish(self, data, metadata, transient, update):
        key = transient["display_id"]
        assert update == (key in self.outputs)
        self.outputs[key] = {"data": data, "metadata": metadata}
        self.painted[key] = self.painted.get(key, 0) + 1
        self.sent += sum(map(len, data.values()))

    @property
    def seen(self) -> list[str]:
        """The Markdown of the outputs that are not empty."""
        return [one["data"]["text/markdown"] for one in self.outputs.values() if one["data"]]


def stream(pieces_of_text, *, reasoning="", every=1, **ending) -> Front:
    """Show an answer, and repaint after every ``every`` events."""
    front = Front()
    view = notebook_view.CellView(SimpleNamespace(display_pub=front))
    view._paint_soon = lambda: None
    answer = Answer()
    events = [RawResponse(type="reasoning", token=reasoning)] if reasoning else []
    for number, event in enumerate([*events, *(RawResponse(type="content", content=one) for one in pieces_of_text)]):
        answer.add(event)
        view.update(event, answer)
        if number % every == every - 1:
            view._paint()
    answer.seconds = 1.0
    view.finish(answer, ending.get("failed", False))
    return front


def prose(size: int) -> str:
    sentence = "It *scatters* the short waves more than the long ones, as `Rayleigh` found.\n"
    return (f"{sentence * 4}\n- {sentence}- {sentence}\n```python\nx = 1\n\ny = 2\n```\n\n" * (size // 400 + 1))[:size]


def tokens(text: str, size: int = 7) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def test_finished_pieces_are_not_painted_again():
    front = stream(tokens(prose(60_000), 20))
    *settled, last = front.painted.values()
    assert len(settled) > 10
    live = 60_000 / 20 / len(settled)
    assert all(times < 2 * live for times in settled)
    assert last < 2 * live
    # an output that is settled is painted only when a part is finished: about four times for a piece
    assert sum(front.painted.values()) < 60_000 / 20 + 5 * len(settled)


def test_a_repaint_is_short_however_long_the_piece_is():
    front = stream(tokens(prose(60_000), 20))
    assert front.sent / sum(front.painted.values()) < MIN_PIECE_CHARS / 4


def test_an_ordinary_answer_has_one_output_also_while_it_grows():
    assert len(stream(tokens(prose(1_900))).painted) == 1


def test_a_short_answer_is_one_output_in_the_end_and_reads_as_the_whole():
    text = prose(MAX_UNSPLIT_CHARS - 100)
    front = stream(tokens(text))
    (whole,) = front.seen
    assert whole.startswith(Answer(text=text).to_markdown())
    assert whole.endswith("</small>")
    first, *others = front.outputs.values()
    assert first["data"]["text/plain"] == text
    assert first["metadata"]["nb_backend"]["seconds"] >= 0
    assert len(others) > 1
    assert all(other == {"data": {}, "metadata": {}} for other in others)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 60_000),
    st.integers(0, 10_000),
    st.integers(1, 5000),
    st.integers(1, 40),
    st.booleans(),
)
def test_the_final_outputs_do_not_depend_on_how_the_answer_arrived(size, thought, token, every, failed):
    text, reasoning = prose(size), prose(thought)
    once = stream([text], reasoning=reasoning, every=10, failed=failed)  # never painted but at the end
    grown = stream(tokens(text, max(token, size // 500)), reasoning=reasoning, every=every, failed=failed)
    assert grown.seen[:-1] == once.seen[:-1]
    footer = "\n\n<small>"
    assert grown.seen[-1].partition(footer)[0] == once.seen[-1].partition(footer)[0]
    assert "".join(one["data"].get("text/plain", "") for one in grown.outputs.values()) == text


def test_a_long_answer_is_in_pieces_the_last_of_which_says_who():
    text = prose(50_000)
    front = stream(tokens(text, 50))
    assert len(front.seen) == len(split_text(text))
    assert [one["data"]["text/plain"] for one in front.outputs.values()] == split_text(text)
    *settled, last = front.outputs.values()
    assert "</small>" in last["data"]["text/markdown"]
    assert "nb_backend" in last["metadata"]
    assert all("</small>" not in one["data"]["text/markdown"] and not one["metadata"] for one in settled)


def test_long_reasoning_stands_by_itself_once_the_text_begins():
    front = stream(tokens(prose(30_000), 50), reasoning=prose(2 * MIN_PIECE_CHARS))
    first, second, *_ = front.seen
    assert first.startswith("<details><summary>Reasoning")
    assert "<details" not in second


def test_twice_the_text_takes_twice_the_bytes():
    short, long = (stream(tokens(prose(size), 10), every=10).sent for size in (40_000, 80_000))
    assert long < 2.2 * short


def test_a_link_definition_at_the_end_resolves_links_in_earlier_pieces():
    body = prose(30_000).rpartition("```python")[0]
    text = f"[The source][s]\n\n{body}\n\n[s]: https://example.org/x\n"
    front = stream(tokens(text, 40))
    assert front.seen[0].startswith("[The source](https://example.org/x)")


@pytest.mark.parametrize("format", ["text", "json"])
def test_an_answer_of_one_block_stays_one_output(format):
    front = Front()
    view = notebook_view.CellView(SimpleNamespace(display_pub=front), format)
    view._paint_soon = lambda: None
    answer = Answer()
    for piece in tokens('["' + "word " * 8000 + '"]', 400):
        event = RawResponse(type="content", content=piece)
        answer.add(event)
        view.update(event, answer)
        view._paint()
    view.finish(answer, False)
    assert len(front.outputs) == 1


async def test_a_long_block_is_painted_less_often(waits):
    front = Front()
    view = notebook_view.CellView(SimpleNamespace(display_pub=front))
    answer, event = Answer(), RawResponse(type="content", content="```\n" + "x = 1\n" * 20_000)
    answer.add(event)
    view.update(event, answer)
    waits.paint()
    view.update(event, answer)
    assert waits.waits[-1] > 2  # seconds, for 120 kB
