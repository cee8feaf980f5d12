"""A thousand prompts for a server that fails now and then: all are answered in order, and memory stays flat."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter

import psutil
import pytest
import serving as serving_
from aiohttp import web
from serving import Backend, put_before

import nb_backend
from nb_backend import ServerError
from nb_backend.local.scripted import ScriptedEngine

PROMPTS = [f"Question number {number}, of a thousand that are asked?" for number in range(1000)]
GROWTH = 20 * 2**20  # bytes of resident memory


def kind_of(question: str) -> str:
    """Return how a prompt fails, as one in twenty does: an HTTP status, ``reset``, or ``""`` if it does not."""
    if question in ("Never", "Often"):
        return {"Never": "400", "Often": "500"}[question]
    number = int(question.split()[2].rstrip(","))
    return ("429", "500", "reset")[number // 20 % 3] if number % 20 == 7 else ""


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """A server that fails those prompts once or twice before the first event; counts the failures of each."""
    seen: Counter[str] = Counter()

    @web.middleware
    async def failing(request: web.Request, handler) -> web.StreamResponse:
        question = (await request.json())["messages"][-1]["content"]
        kind = kind_of(question)
        most = {"Never": 100, "Often": 4}.get(question, 1 + len(question) % 2)
        if not kind or seen[question] == most:
            return await handler(request)
        seen[question] += 1
        if kind == "reset":
            request.transport.abort()
            return web.Response()
        headers = {"Retry-After": "0.1"} if kind == "429" else {}
        return web.json_response({"error": {"message": "not now"}}, status=int(kind), headers=headers)

    put_before(failing, monkeypatch)
    return seen


@pytest.fixture
def server(failures, backend) -> Backend:
    return backend


def test_all_are_answered_in_order_although_one_in_twenty_fails(server, failures):
    answers = nb_backend.map(PROMPTS, concurrency=50)
    assert [str(answer) for answer in answers] == PROMPTS
    assert len(server.engine.history) == 1000
    assert Counter(map(kind_of, failures)) == {"429": 17, "500": 17, "reset": 16}


def test_a_prompt_that_always_fails_fails_alone(server):
    answers = nb_backend.map([*PROMPTS[:100], "Never", *PROMPTS[100:200]], concurrency=20)
    assert [number for number, answer in enumerate(answers) if isinstance(answer, ServerError)] == [100]
    assert "answered 400 (not now)" in str(answers[100])


def test_a_prompt_of_map_is_retried_more_often_than_a_single_one(server, failures, delays):
    with pytest.raises(ServerError):
        nb_backend.Chat()("Often")
    failures.clear()
    assert str(nb_backend.map(["Often"])[0]) == "Often"
    assert failures["Often"] == 4


def test_the_memory_stays_flat(server):
    process = psutil.Process()

    def resident() -> int:
        server.engine.history.clear()
        gc.collect()
        return process.memory_info().rss

    nb_backend.map(PROMPTS[:300], concurrency=50)
    before = resident()
    answers = nb_backend.map([f"{prompt} {number}" for number, prompt in enumerate(PROMPTS * 2)], concurrency=50)
    assert resident() - before < GROWTH
    assert len(answers) == 2000


def test_waiting_prompts_do_not_have_a_task_each(backend):
    tasks = []

    class Engine(ScriptedEngine):
        async def stream(self, body):
            tasks.append(sum("Batch" in str(task.get_coro()) for task in asyncio.all_tasks()))
            async for event in super().stream(body):
                yield event

    with serving_.serving(Engine()) as running:
        nb_backend.map(map(str, range(300)), concurrency=9, url=running.url, api_key=serving_.TOKEN)
    assert max(tasks) <= 10
