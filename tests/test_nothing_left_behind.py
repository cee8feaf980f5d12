"""No leaks: after a thousand streams in a row, and two hundred at once, the process holds what it held before."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from itertools import count
from typing import Any

import psutil
import pytest
from fault_network import SHORT, Process, breaks_off, texts

from nb_backend import BackendApi, BackendError, Chat, ConnectionFailed, OpenAIApi, TimedOut, background

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

FAULTS = ("whole", "busy", "reset", "truncate") * 25 + ("stall",)
WAYS = ("await", "wait", "thread", "leave", "cancel")
WARM_UP = 300  # streams before the first look at the memory
GROWTH = 5 * 700  # blocks of memory that 700 streams may leave (the test itself keeps one each; a Chat has dozens)
RESIDENT_GROWTH = 16 * 2**20  # bytes of resident memory


@pytest.fixture(scope="module")
def process() -> Iterator[Process]:
    running = Process("server")
    yield running
    running.kill()


_short = [number for number in range(150) if not breaks_off(number) and SHORT < len(texts(number)) < 10]
_serials = count(1)


class Question:
    """One stream; its number decides how it fails and how it is read. ``chat`` tells whether its chat is freed."""

    def __init__(self, process: Process, at: int) -> None:
        self.number = _short[at % len(_short)]
        self.fault = FAULTS[at % len(FAULTS)]
        self.way = WAYS[at % len(WAYS)]
        self.prompt = f"fault-{self.number}-{self.fault}-{next(_serials)}"
        self._url = f"http://127.0.0.1:{process.port}{'/v1' if at % 2 else ''}"
        self.chat: weakref.ref[Any] | None = None

    async def ask(self, pool: ThreadPoolExecutor) -> None:
        chat = Chat(url=self._url, api_key="a-key")
        self.chat = weakref.ref(chat)
        kind: str | None = None
        text = ""
        try:
            if self.way in ("leave", "cancel"):
                text = await self._leave(chat)
            elif self.way == "wait":
                text = chat(self.prompt).text
            elif self.way == "thread":
                text = (await asyncio.get_running_loop().run_in_executor(pool, chat, self.prompt)).text
            else:
                text = (await chat.ask(self.prompt)).text
        except BackendError as error:
            kind, text = type(error).__name__, error.partial
        full = "".join(texts(self.number))
        assert full.startswith(text)
        if self.way in ("leave", "cancel"):
            assert kind is None
        elif self.fault in ("whole", "busy"):
            assert (kind, text) == (None, full)
        else:
            assert kind == (TimedOut if self.fault == "stall" else ConnectionFailed).__name__
            assert text == "".join(texts(self.number)[:SHORT])

    async def _leave(self, chat: Chat) -> str:
        stream = chat.stream(self.prompt)

        async def read() -> None:
            async with aclosing(stream):
                async for event in stream:
                    if str(event) and self.way == "leave":
                        break
                    if str(event):
                        asyncio.current_task().cancel()

        with suppress(asyncio.CancelledError):
            await asyncio.create_task(read())
        return stream.answer.text


def held() -> dict[str, int]:
    """Count what the process holds: threads, files, children, tasks, loops."""
    gc.collect()
    return {
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),
        "children": len(psutil.Process().children()),
        "tasks": len(asyncio.all_tasks()) + len(asyncio.all_tasks(background.loop())),
        "loops": sum(isinstance(one, asyncio.AbstractEventLoop) and not one.is_closed() for one in gc.get_objects()),
    }


def alive(questions: list[Question]) -> list[str]:
    """Return the prompts whose chats are not freed."""
    gc.collect()
    return [question.prompt for question in questions if question.chat() is not None]


async def assert_held_again(before: dict[str, int]) -> None:
    """Wait up to 5 s until the process holds what it held before: what was just closed may take a moment to go."""
    for _ in range(500):
        if held() == before:
            return
        await asyncio.sleep(0.01)
    assert held() == before


async def test_a_thousand_streams_in_a_row_leave_nothing(process, monkeypatch):
    for api in (BackendApi, OpenAIApi):
        monkeypatch.setattr(api, "idle_timeout", 0.3)
    questions = [Question(process, at) for at in range(1000)]
    memory: list[tuple[int, int]] = []
    with ThreadPoolExecutor(1) as pool:
        await asyncio.get_running_loop().run_in_executor(pool, Chat)
        background.loop()
        before = held()
        for at, question in enumerate(questions, 1):
            await question.ask(pool)
            if at in (WARM_UP, len(questions)):
                await assert_held_again(before)
                process.received.clear()
                memory.append((sys.getallocatedblocks(), psutil.Process().memory_info().rss))
    assert memory[1][0] - memory[0][0] < GROWTH
    assert memory[1][1] - memory[0][1] < RESIDENT_GROWTH
    assert alive(questions[:-1]) == []  # asyncio keeps a reference to what it ran last


async def test_two_hundred_streams_at_once_leave_nothing(process, monkeypatch):
    for api in (BackendApi, OpenAIApi):
        monkeypatch.setattr(api, "idle_timeout", 4)
    background.loop()
    before = held()
    for _ in range(2):
        with ThreadPoolExecutor(40) as pool:
            questions = [Question(process, at) for at in range(200)]
            for question in questions:
                question.way = "await" if question.way == "wait" else question.way
            await asyncio.gather(*(question.ask(pool) for question in questions))
        assert len(alive(questions)) <= 1
        await assert_held_again(before)
