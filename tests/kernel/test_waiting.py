"""A cell whose server asks it to wait, or pauses: the cell shows why, and an interrupt ends the wait."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from driver import Kernel, one_line
from wire_server import WireServer, content, status, stream

CELL = "%%backend --once\nhi"


def busy(seconds: float) -> bytes:
    return status("503 Busy", {"error": {"message": "loading the model"}}, retry_after=str(seconds))


@pytest.fixture
def asked(kernel: Kernel, wire_server: WireServer) -> Iterator[WireServer]:
    """A raw server that the kernel asks."""
    assert kernel.run(f"%backend url {wire_server.url}").error is None
    yield wire_server
    kernel.run("%backend url default")


@pytest.mark.parametrize("prefix", ["", "%%time\n"], ids=["awaited", "waited for"])
def test_the_cell_says_that_it_waits_and_why_until_there_is_an_answer(kernel, asked, prefix):
    asked.answer(busy(0.5))
    asked.answer(stream(content("Here I am.")))
    run = kernel.run(prefix + CELL)
    assert run.error is None
    assert any("answered 503" in text and "asking again in 0.5 s" in text for text in run.markdown), run.markdown
    assert run.markdown[-1].startswith("Here I am.")
    assert "503" not in run.markdown[-1]


@pytest.mark.parametrize("prefix", ["", "%%time\n"], ids=["awaited", "waited for"])
def test_an_interrupt_ends_the_wait(kernel, asked, prefix):
    asked.answer(busy(59))
    run = kernel.run_and_interrupt(prefix + CELL, lambda message: "asking again" in str(message["content"]))
    assert run.stop == ("KeyboardInterrupt", "KeyboardInterrupt: stopped before the answer began")
    assert len(asked.requests) == 1
    assert kernel.run("1 + 1").result == "2"


def test_a_wait_that_is_too_long_is_an_error_that_says_when(kernel, asked):
    asked.answer(busy(3000))
    one_line(kernel.run(CELL), "503 (loading the model): ask again in 50 minutes")
    assert len(asked.requests) == 1


def test_an_answer_that_the_server_pauses_is_one_answer(kernel, asked):
    assert kernel.run(f"%backend url {asked.url}/v1/messages").error is None
    page = {"type": "web_search_result", "url": "https://example.org/news", "title": "News"}
    for text, reason in (("Let me look. ", "pause_turn"), ("All is well.", "end_turn")):
        blocks = [
            {"type": "text", "text": text},
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": [page]},
        ]
        starts = [{"type": "content_block_start", "index": at, "content_block": one} for at, one in enumerate(blocks)]
        end = {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 21}}
        asked.answer(stream(*starts, end))
    run = kernel.run(CELL)
    assert run.error is None
    shown = run.markdown[-1]
    assert shown.startswith("Let me look. All is well.")
    assert shown.count("https://example.org/news") == 1
    assert "42 tokens" in shown
    assert [len(request.json["messages"]) for request in asked.requests] == [1, 2]
    assert kernel.run("_.complete, _.finish_reason").result == "(True, 'end_turn')"
