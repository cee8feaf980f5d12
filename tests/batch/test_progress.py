"""The progress line says why no request is sent, and why prompts failed."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_server import content, status, stream

import nb_backend
from nb_backend import errors
from nb_backend.batch import progress
from nb_backend.batch.progress import Progress, reason_of
from nb_backend.chat import Answer
from nb_backend.chat.schema import SchemaError
from nb_backend.transport.pool import Pool

BUSY = errors.RateLimitError("slow down", status=429)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BUSY, "rate limit"),
        (errors.ServerError("loading", status=503), "server overloaded"),
        (errors.ServerError("pay", status=429, no_credit=True), "no credit"),
        (errors.ServerError("This model's maximum context length is 8 tokens", status=400), "prompt too long"),
        (errors.ServerError("it broke", status=500), "server error"),
        (errors.ConnectionFailed("x"), "no connection"),
        (errors.TimedOut("x"), "timeout"),
        (errors.AuthError("x", status=401), "key refused"),
        (errors.ProtocolError("x"), "damaged answer"),
        (SchemaError("x", Answer()), "wrong format"),
        (ValueError("the prompt is empty"), "not sent"),
        (KeyError("x"), "KeyError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_failure_has_a_reason_in_a_word_or_two(error, reason):
    assert reason_of(error) == reason


@pytest.mark.parametrize(
    ("failed", "line"),
    [
        ([], ""),
        ([errors.TimedOut("x")], "1 failed: timeout"),
        ([BUSY, BUSY], "2 failed: rate limit"),
        ([errors.TimedOut("x"), BUSY, BUSY], "3 failed: 2 rate limit, 1 timeout"),
        (
            [BUSY, BUSY, *(kind("x") for kind in (errors.TimedOut, errors.AuthError, KeyError))],
            "5 failed: 2 rate limit, 1 timeout, 1 key refused, 1 other",
        ),
    ],
)
def test_failures_are_counted_by_their_reasons(failed, line):
    counts = Progress(9)
    for error in failed:
        counts.add_failure(error)
    assert counts.failures == counts.rate == line
    assert counts.line(timed=False) == " · ".join(["0 answered", *filter(None, [line])])


@given(st.lists(st.sampled_from([BUSY, *map(errors.TimedOut, "ab"), KeyError(), IndexError(), TypeError()])))
def test_the_reasons_add_up(failed):
    counts = Progress(len(failed))
    for error in failed:
        counts.add_failure(error)
    numbers = [int(word) for word in counts.failures.partition(":")[2].split() if word.isdecimal()]
    assert not numbers or sum(numbers) == len(failed)


async def test_a_wait_of_all_calls_counts_down_with_its_reason():
    counts, pool = Progress(2), Pool()
    assert counts.waiting == ""
    counts.pool = pool
    await pool.acquire()
    assert counts.waiting == ""
    pool.note_wait(7.5, errors.ConnectionFailed("x"))
    assert counts.waiting == ""  # the other call is running
    pool.release(answered=False)
    assert counts.waiting == "waiting 8 s: no connection"
    pool.back_off(99.5, BUSY)
    assert counts.waiting == "waiting 1 min 40 s: rate limit (429)"
    pool._paused_until = 0
    pool.note_wait(0, BUSY)
    assert counts.waiting == "waiting 8 s: no connection"
    pool._waits = []
    assert counts.waiting == ""


def test_the_bar_says_that_it_waits(wire_server, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=terminal, modules=sys.modules))
    wire_server.answer(b"HTTP/1.1 429 Busy\r\nretry-after-ms: 400\r\nContent-Length: 0\r\n\r\n")
    wire_server.answer(stream(content("a")))
    wire_server.answer(status("401 No", {"error": {"message": "who are you"}}))
    found = nb_backend.map(["a", "b"], url=wire_server.url, concurrency=1)
    assert str(found[0]) == "a"
    assert "waiting 1 s: rate limit (429)" in terminal.getvalue()
    assert " · 1 failed: key refused · " in terminal.getvalue().splitlines()[-1]
