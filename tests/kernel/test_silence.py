"""An answer that does not go on: the cell counts the seconds, and nothing of it stays. No kernel is needed."""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from nb_backend.chat.answer import Answer
from nb_backend.errors import ServerError
from nb_backend.events import RawResponse
from nb_backend.notebook.cell import silence
from nb_backend.notebook.cell.notebook_view import CellView
from nb_backend.notebook.cell.terminal_view import TerminalView
from nb_backend.notebook.cell.view import show_stream
from nb_backend.providers.retry import retry_event

AGAIN = retry_event(ServerError("the server answered 503: wait"), 3.5)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(silence, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


class Cell:
    """A live cell, whose time moves when the test says so."""

    def __init__(self, clock: SimpleNamespace, view: Any) -> None:
        self.clock = clock
        self.view = view
        self.answer = Answer()

    def hear(self, event: RawResponse) -> None:
        self.answer.add(event)
        self.view.update(event, self.answer)

    async def after(self, seconds: float) -> None:
        self.clock.now += seconds
        self.view.tick()
        await asyncio.sleep(0.11)  # the view repaints at most ten times a second


class TestInANotebook:
    @pytest.fixture
    def shown(self) -> list[str]:
        return []

    @pytest.fixture
    async def cell(self, clock: SimpleNamespace, shown: list[str]) -> Cell:
        def publish(data: dict[str, str], **_: Any) -> None:
            shown.append(data["text/markdown"])

        return Cell(clock, CellView(SimpleNamespace(display_pub=SimpleNamespace(publish=publish))))  # type: ignore[arg-type]

    async def test_the_seconds_count_after_five_and_go_with_the_next_word(self, cell: Cell, shown: list[str]) -> None:
        await cell.after(4.9)
        assert shown[-1] == "*waiting for the answer …*"
        await cell.after(0.2)
        assert shown[-1] == "*still waiting, 5 s*"
        cell.hear(RawResponse(type="content", content="It is"))
        await cell.after(2)
        assert shown[-1] == "It is"
        await cell.after(10)
        assert shown[-1] == "It is\n\n*still waiting, 12 s*"
        cell.view.finish(cell.answer, failed=False)
        assert shown[-1].startswith("It is")
        assert "waiting" not in shown[-1]
        await cell.after(10)
        assert "waiting" not in shown[-1]

    async def test_in_a_block_of_code_the_line_is_below_it(self, cell: Cell, shown: list[str]) -> None:
        cell.hear(RawResponse(type="content", content="```python\n1 + 1"))
        await cell.after(6)
        assert shown[-1].splitlines()[-3:] == ["```", "", "*still waiting, 6 s*"]

    async def test_a_request_that_is_sent_again_is_counted_down(self, cell: Cell, shown: list[str]) -> None:
        cell.hear(AGAIN)
        await cell.after(0.2)
        assert shown[-1] == "*the server answered 503; asking again in 3.5 s …*"
        await cell.after(1)
        assert shown[-1] == "*the server answered 503; asking again in 3 s*"
        await cell.after(2.4)
        assert shown[-1] == "*the server answered 503; asking again*"
        await cell.after(5)
        assert shown[-1] == "*the server answered 503; asking again* *still waiting, 5 s*"


class TestInATerminal:
    @pytest.mark.parametrize("is_terminal", [True, False])
    async def test_the_line_is_written_over_and_does_not_go_into_a_file(
        self, clock: SimpleNamespace, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, is_terminal: bool
    ) -> None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
        cell = Cell(clock, TerminalView())
        await cell.after(3)
        assert capsys.readouterr().out == ""
        await cell.after(3)
        line = "[still waiting, 6 s]" if is_terminal else ""
        assert capsys.readouterr().out == line
        cell.hear(RawResponse(type="content", content="It is"))
        assert capsys.readouterr().out == (f"\r{' ' * len(line)}\r" if is_terminal else "") + "It is"
        await cell.after(9)
        assert capsys.readouterr().out == ""  # not into a line of the answer


async def test_a_view_is_told_of_each_second_until_the_answer_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "_TICK", 0.001)
    ticked, calls = asyncio.Event(), []

    class Stream:
        answer = Answer()
        turn = SimpleNamespace(request=SimpleNamespace(consents=SimpleNamespace()))

        async def __aiter__(self) -> Any:
            yield RawResponse(type="content", content="one")
            await ticked.wait()

        async def aclose(self) -> None:
            pass

    def tick(at: int) -> None:
        calls.append(at)
        if len(calls) == 3:
            ticked.set()

    view: Any = SimpleNamespace(update=lambda *_: None, finish=lambda *_: None, tick=tick)
    await show_stream(Stream(), view, 2)  # type: ignore[arg-type]
    assert calls[:3] == [2, 2, 2]
    calls.clear()
    await asyncio.sleep(0.01)
    assert calls == []


@pytest.mark.parametrize("wait", [None, True, "3", float("nan"), float("inf")])
def test_a_strange_wait_is_none(wait: object) -> None:
    assert silence.read_wait(RawResponse(type="progress", progress={"label": "x"}, reason="x", wait=wait)) is None
