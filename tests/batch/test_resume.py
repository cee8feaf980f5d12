"""An interrupt ends ``map``, no answer is lost, and the same call again sends only the remaining prompts."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator

import pandas as pd
import pytest
from serving import TOKEN, Backend, serving

import nb_backend
from nb_backend import ServerError, background
from nb_backend.local.engine import last_prompt
from nb_backend.local.scripted import ScriptedEngine

PROMPTS = [f"Question {number}?" for number in range(1000)]
FAILURE = {"type": "error", "error": "Boom", "message": "it went wrong"}


class Engine(ScriptedEngine):
    """Engine that calls a function at a given request, and answers nothing more until ``at`` is called again."""

    due = 0
    call: Callable[[], None]
    stuck = False

    def at(self, due: int, call: Callable[[], None] = lambda: None) -> None:
        self.due, self.call, self.stuck = len(self.history) + due, call, False

    async def stream(self, body):
        if len(self.history) + 1 == self.due:
            self.stuck = True
            self.call()
        if self.stuck:
            self.enqueue(...)
        async for event in super().stream(body):
            yield event

    def asked(self, since: int = 0) -> list[str]:
        return [last_prompt(body) for body in self.history[since:]]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    with serving(Engine()) as running:
        running.is_set(monkeypatch)
        yield running


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def interrupted(server, due, *args, **options) -> int:
    """Interrupt a call at its request number ``due``, and return how many answers it says that it keeps."""
    server.engine.at(due, interrupt)
    with pytest.raises(KeyboardInterrupt) as raised:
        nb_backend.map(*args, **options)
    server.engine.at(0)
    line = re.fullmatch(r"stopped: ([\d,]+) of ([\d,]+) are kept; the same call asks for the rest", str(raised.value))
    assert line is not None, raised.value
    assert raised.value._render_traceback_() == [f"KeyboardInterrupt: {raised.value}"]
    return int(line[1].replace(",", ""))


def test_an_interrupt_in_the_middle_loses_nothing_and_the_same_call_asks_for_the_rest(server):
    engine = server.engine
    kept = interrupted(server, 500, PROMPTS, concurrency=50)
    first = len(engine.history)
    assert 450 <= kept <= 500 <= first < 550  # all answers except those still on their way
    answers = nb_backend.map(PROMPTS, concurrency=50)
    assert [str(answer) for answer in answers] == PROMPTS
    rest = Counter(engine.asked(first))
    assert (len(rest), set(rest.values())) == (1000 - kept, {1})
    again = len(engine.history)
    nb_backend.map(PROMPTS[:10])
    assert len(engine.history) == again + 10  # the call before has ended, so nothing is kept any more


def test_a_call_may_be_interrupted_again_and_again(server):
    kept = 0
    for _ in range(4):
        now = interrupted(server, 30, PROMPTS[:200], concurrency=10)
        assert now > kept
        kept = now
    before = len(server.engine.history)
    assert [str(answer) for answer in nb_backend.map(PROMPTS[:200])] == PROMPTS[:200]
    assert len(server.engine.history) - before == 200 - kept


def test_an_interrupt_before_kept_answers_are_used_keeps_them(server):
    kept = interrupted(server, 60, PROMPTS[:100], concurrency=5)
    interrupted(server, 1, PROMPTS[60:100] + PROMPTS[:60], concurrency=1)
    before = len(server.engine.history)
    nb_backend.map(PROMPTS[:100])
    assert len(server.engine.history) - before == 100 - kept


def test_an_interrupt_after_some_kept_answers_are_used_keeps_all(server):
    kept = interrupted(server, 6, PROMPTS[:10], concurrency=1)
    assert interrupted(server, 1, [PROMPTS[0], PROMPTS[9], *PROMPTS[1:9]], concurrency=1) == kept == 5
    before = len(server.engine.history)
    nb_backend.map(PROMPTS[:10])
    assert len(server.engine.history) - before == 5


def test_an_interrupt_when_all_is_answered_loses_nothing(server, monkeypatch):
    finish = [KeyboardInterrupt]

    def interrupted_once(self, line):
        if finish:
            raise finish.pop()

    monkeypatch.setattr("nb_backend.batch.progress.NoProgress.finish", interrupted_once)
    with pytest.raises(KeyboardInterrupt, match="stopped: 3 of 3 are kept"):
        nb_backend.map(PROMPTS[:3], progress=False)
    assert [str(answer) for answer in nb_backend.map(PROMPTS[:3], progress=False)] == PROMPTS[:3]
    assert len(server.engine.history) == 3


def test_equal_prompts_are_kept_as_often_as_they_were_answered(server):
    kept = interrupted(server, 7, ["same"] * 20, concurrency=1)
    assert kept == 6
    before = len(server.engine.history)
    assert len(nb_backend.map(["same"] * 20)) == 20
    assert len(server.engine.history) - before == 14


@pytest.mark.parametrize("other", [{"temperature": 1}, {"model": "m"}, {"system": "s"}, {"url": "/"}])
def test_a_prompt_with_other_options_is_sent(server, other):
    interrupted(server, 5, PROMPTS[:10], concurrency=1)
    if "url" in other:
        other = {"url": server.url.replace("127.0.0.1", "localhost"), "api_key": TOKEN}
    before = len(server.engine.history)
    nb_backend.map(PROMPTS[:10], **other)
    assert len(server.engine.history) - before == 10


def test_answers_of_a_later_interrupted_call_replace_those_of_an_earlier_one(server):
    interrupted(server, 5, PROMPTS[:10], concurrency=1)
    interrupted(server, 5, PROMPTS[10:20], concurrency=1)
    before = len(server.engine.history)
    nb_backend.map(PROMPTS[:10])
    assert len(server.engine.history) - before == 10


def test_only_the_prompts_that_failed_are_sent_again(server):
    server.engine.enqueue(FAILURE)
    server.engine.enqueue("one")
    server.engine.enqueue(FAILURE)
    table = pd.DataFrame({"q": ["a", "b", "c"]}, index=[7, 8, 9])
    first = nb_backend.map(table, concurrency=1)
    assert [type(one) for one in first] == [ServerError, nb_backend.Answer, ServerError]
    second = nb_backend.map(table, concurrency=1)
    assert [str(one) for one in second] == ["a", "one", "c"]
    assert server.engine.asked(3) == ["a", "c"]
    nb_backend.map(table)
    assert len(server.engine.history) == 8


async def test_a_cancellation_ends_the_work_before_it_is_raised(server):
    cancelled = asyncio.Event()
    loop = asyncio.get_running_loop()
    server.engine.at(300, lambda: loop.call_soon_threadsafe(cancelled.set))
    task = asyncio.ensure_future(nb_backend.map(PROMPTS, concurrency=50))
    await cancelled.wait()
    task.cancel()
    with pytest.raises(
        asyncio.CancelledError, match=r"stopped: \d+ of 1,000 are kept; the same call asks for the rest"
    ):
        await task
    server.engine.at(0)
    assert await asyncio.wrap_future(background.Job(running_tasks()).future) == []
    first = len(server.engine.history)
    assert [str(answer) for answer in await nb_backend.map(PROMPTS, concurrency=50)] == PROMPTS
    assert 700 <= len(server.engine.history) - first <= 750


async def running_tasks() -> list[str]:
    """Return the tasks of ``map`` that still run."""
    tasks = [str(task.get_coro()) for task in asyncio.all_tasks()]
    return [name for name in tasks if "Batch" in name]


async def test_a_timeout_ends_the_call_too(server):
    server.engine.enqueue(...)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(nb_backend.map(["a"]), 0.3)
    server.engine.enqueue(...)
    pending = nb_backend.map(["a"])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await pending
    assert [str(one) for one in await nb_backend.map(["a"])] == ["a"]


async def test_calls_that_are_cancelled_together_keep_the_answers_of_both(server):
    both_begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    server.engine.at(100, lambda: loop.call_soon_threadsafe(both_begun.set))
    maps = [asyncio.ensure_future(nb_backend.map(prompts, concurrency=5)) for prompts in (PROMPTS[:500], PROMPTS[500:])]
    await both_begun.wait()
    for task in maps:
        task.cancel()
    kept = 0
    for task in maps:
        with pytest.raises(asyncio.CancelledError) as raised:
            await task
        kept += int(str(raised.value).split()[1])
    server.engine.at(0)
    before = len(server.engine.history)
    await asyncio.gather(nb_backend.map(PROMPTS[:500]), nb_backend.map(PROMPTS[500:]))
    assert len(server.engine.history) - before == 1000 - kept


def test_with_a_cache_the_answers_are_in_the_cache_too(server, tmp_path):
    kept = interrupted(server, 50, PROMPTS[:100], concurrency=5, cache=tmp_path)
    assert len([*tmp_path.iterdir()]) == kept
    nb_backend.map(PROMPTS[:100], cache=tmp_path)
    before = len(server.engine.history)
    answers = nb_backend.map(PROMPTS[:100], cache=tmp_path)
    assert len(server.engine.history) == before
    assert [str(answer) for answer in answers] == PROMPTS[:100]
    assert all(answer.replayed for answer in answers)


def test_with_a_cache_equal_prompts_are_sent_once(server, tmp_path):
    answers = nb_backend.map(["same", "other"] * 50, concurrency=20, cache=tmp_path)
    assert [str(answer) for answer in answers] == ["same", "other"] * 50
    assert Counter(server.engine.asked()) == {"same": 1, "other": 1}


def test_with_a_cache_an_equal_prompt_is_sent_if_the_first_failed(server, tmp_path):
    server.engine.enqueue(FAILURE)
    first, *others = nb_backend.map(["same"] * 5, concurrency=5, cache=tmp_path)
    assert isinstance(first, ServerError)
    assert [str(answer) for answer in others] == ["same"] * 4
    assert len(server.engine.history) == 2
