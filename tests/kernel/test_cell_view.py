"""The live cell without a kernel: when it repaints."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from nb_backend.chat import Answer
from nb_backend.notebook import cell
from nb_backend.providers.response import RawResponse

WORD = RawResponse(type="content", content="word ")


@pytest.fixture
async def waits(monkeypatch):
    """The seconds that the view waits for its next repaint; the time only passes where a test says so."""
    monkeypatch.setattr(cell, "time", SimpleNamespace(monotonic=lambda: clock.now))
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

    view = cell.CellView(SimpleNamespace(display_pub=SimpleNamespace(publish=publish)))
    answer = Answer()
    for _ in range(3):
        view.update(WORD, answer)
    waits.paint()
    view.update(WORD, answer)
    assert waits.waits == pytest.approx([0.0, pause])  # the first word does not wait
