"""A step of an answer, as an object."""

from __future__ import annotations

import pytest

from nb_backend import ToolCall, ToolStep


@pytest.mark.parametrize(
    ("step", "shown"),
    [
        (ToolStep(ToolCall("a", "clock"), "12:00"), "<ToolStep clock(): '12:00'>"),
        (
            ToolStep(ToolCall("a", "population", {"city": "Rome", "year": 2026}), error="refused"),
            "<ToolStep population(city='Rome', year=2026): error='refused'>",
        ),
    ],
)
def test_a_step_shows_its_call_and_what_came_of_it(step, shown):
    assert repr(step) == shown


def test_a_step_is_short_and_controls_no_terminal():
    shown = repr(ToolStep(ToolCall("a", "run\x1b[2J\u202e", {"code": "x" * 9_000}), "y" * 9_000))
    assert len(shown) < 200
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_no_key_is_in_the_repr_of_a_call_or_a_step(monkeypatch):
    key = "own-key-0123456789"
    monkeypatch.setenv("NB_BACKEND_API_KEY", key)
    call = ToolCall("a", "get", {"url": f"{'x' * 45}{key}"}, unparsed=key)
    for shown in (call, ToolStep(call, key), ToolStep(call, error=f"{'x' * 50}{key}")):
        assert "own-key" not in repr(shown)
        assert "***" in repr(shown)
