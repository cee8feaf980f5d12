"""A long run in which everything breaks: `python tests/bench/faults.py --seconds 600 --seed 1`.

Prompts are sent while the server is killed and restarted, and while the network stalls, breaks and cuts off. The
embedded backend of a kernel is killed while its cells run. Chats are saved to a full disk from processes that are
killed. Each answer is compared with what the server had sent and what this machine had received. The run prints counts;
it exits with 1 and prints the first failed checks, if there are any.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))
sys.path.insert(0, str(Path(__file__).parent.parent / "kernel"))

from disk_faults import disk
from fault_figures import KINDS, Figures
from fault_network import Process, texts, whole_texts
from kernel_faults import kernel

from nb_backend import BackendApi, BackendError, Chat, OpenAIApi, background

IDLE, CONNECT = 1.5, 2.0  # seconds: the timeouts of the run
LONGEST = 90.0  # seconds that a call may take: three attempts, two waits, and an answer
LATE = 0.5  # seconds: bytes that arrive so shortly before a timeout need not be in the text
WORKERS = 8


class Asker:
    """Sends one prompt after the other in one chat, and checks the answers."""

    def __init__(self, name: int, processes: list[Process], figures: Figures, folder: Path, seed: int) -> None:
        self._processes = processes
        self._figures = figures
        self._path = folder / f"chat-{name}.json"
        self._numbers = iter(range(name, 10**9, WORKERS))
        self._random = random.Random(seed * 1000 + name)
        self._chat = Chat()

    async def ask(self, pool: ThreadPoolExecutor) -> None:
        """Send one prompt in a randomly chosen way: awaited, from a thread, left early or cancelled."""
        number = next(self._numbers)
        random_, chat, figures = self._random, self._chat, self._figures
        if len(chat.messages) > 12:
            chat.reset()
        process = random_.choice(self._processes)
        openai = random_.random() < 0.5
        chat.url = f"http://127.0.0.1:{process.port}{'/v1' if openai else ''}"
        before, prompt = [*chat.messages], f"fault-{number}-"
        way = random_.choice(("await", "await", "sync", "leave", "cancel"))
        figures["questions"] += 1
        began = time.monotonic()
        text, whole, error = "", False, None
        stream = chat.stream(prompt)
        try:
            async with asyncio.timeout(LONGEST):
                if way == "sync":
                    text = (await asyncio.get_running_loop().run_in_executor(pool, chat, prompt)).text
                    whole = True
                elif way == "await":
                    text, whole = (await chat.ask(prompt)).text, True
                else:
                    whole = await self._leave(stream, way)
                    text = stream.answer.text
        except BackendError as failure:
            error, text = failure, failure.partial
        except TimeoutError:
            figures.check(False, f"question {number} hung ({way})")
        except asyncio.CancelledError:
            text = stream.answer.text
        except Exception as escaped:
            figures.check(False, f"question {number}: {escaped!r} escaped")
        ended = time.monotonic()
        figures.longest = max(figures.longest, ended - began)
        self._check_text(number, process, openai, text, whole, error, ended)
        self._check_history(before, prompt, text, whole, error)
        # in a thread, as a full disk is slow and the loop has other askers
        await asyncio.get_running_loop().run_in_executor(pool, self._save)

    async def _leave(self, stream: Any, way: str) -> bool:
        """Read a part of an answer, then leave or be cancelled; return whether the answer had ended before."""

        async def read() -> bool:
            async with aclosing(stream):
                async for _ in stream:
                    if way == "leave" and self._random.random() < 0.1:
                        return False
            return True

        task = asyncio.create_task(read())
        if way == "cancel":
            asyncio.get_running_loop().call_later(self._random.random() * 2, task.cancel)
        return await task

    def _check_text(
        self, number: int, process: Process, openai: bool, text: str, whole: bool, error: Any, ended: float
    ) -> None:
        """Check the text against what the server sends and against what had arrived."""
        figures, full = self._figures, "".join(texts(number))
        figures["texts checked"] += bool(text)
        figures["asked again"] += max(sum(not sent for sent, _ in process.received.get(number, ())) - 1, 0)
        figures.check(full.startswith(text), f"question {number}: the text is not what was sent")
        if error is not None:
            kind = type(error).__name__
            figures[f"failed: {kind}"] += 1
            figures.check(kind in KINDS, f"question {number}: {kind} is no kind of error")
            figures.check("\n" not in str(error), f"question {number}: {error} has several lines")
            until = ended - LATE if kind == "TimedOut" else ended
            arrived = [sent for sent, when in process.received.get(number, ()) if when < until]
            least = whole_texts(number, openai, max(arrived, default=0))
            figures["bytes that had arrived before a failure"] += len(least.encode())
            figures["bytes lost of them"] += max(len(least.encode()) - len(text.encode()), 0)
            figures.check(
                text.startswith(least), f"question {number}: {len(text)} of {len(least)} characters ({error!r})"
            )
        elif whole:
            figures["answered"] += 1
            figures.check(text == full, f"question {number}: half an answer passes for a whole one")
        else:
            figures["left or cancelled"] += 1

    def _check_history(self, before: list[Any], prompt: str, text: str, whole: bool, error: Any) -> None:
        """Check that the chat holds answers, stopped ones with their mark, and nothing of what failed."""
        messages, check = self._chat.messages, self._figures.check
        check(messages[: len(before)] == before, "earlier messages have changed")
        new = [(one["content"], one.get("stopped", False)) for one in messages[len(before) :]]
        if error is not None or not (whole or text):
            check(new == [], f"a failed question is in the conversation: {prompt}")
        else:
            allowed = ([(prompt, False), (text, mark)] for mark in ((False,) if whole else (True, False)))
            check(new in [*allowed], f"the conversation has something else: {prompt}")

    def _save(self) -> None:
        self._chat.save(self._path)
        self._figures["saves"] += 1
        self._figures.check(Chat.load(self._path).messages == self._chat.messages, "a saved chat is another one")


async def ask_all(seconds: float, seed: int, figures: Figures, folder: Path) -> None:
    """Send prompts through the faults of servers and networks, then check that nothing is left open."""
    for api in (BackendApi, OpenAIApi):
        api.idle_timeout, api.connect_timeout = IDLE, CONNECT
    server = Process("server")
    proxy = Process("proxy", server.port, seed)
    killer = random.Random(seed)
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: figures.check(False, f"the loop: {context.get('message')} {context.get('exception')!r}")
    )
    background.loop()
    await asyncio.sleep(0)
    before = held()
    deadline = time.monotonic() + seconds

    async def work(name: int) -> None:
        asker = Asker(name, [server, proxy], figures, folder, seed)
        while time.monotonic() < deadline:
            await asker.ask(pool)

    async def kill() -> None:
        while time.monotonic() < deadline:
            await asyncio.sleep(killer.random() * 4)
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(killer.random())
            await asyncio.to_thread(server.start)
            figures["servers killed"] += 1

    pool = ThreadPoolExecutor(WORKERS)
    asyncio.get_running_loop().set_default_executor(pool)
    await asyncio.gather(kill(), *(work(name) for name in range(WORKERS)))
    await asyncio.to_thread(proxy.kill)
    await asyncio.to_thread(server.kill)
    pool.shutdown()
    allowed = before[0] - 2, before[1] - 2, before[2]  # two threads that read from the processes have ended
    for _ in range(50):  # what was just closed takes a moment to go
        gc.collect()
        await asyncio.sleep(0.1)
        left = [now - most for now, most in zip(held(), allowed, strict=True)]
        if max(left) <= 0:
            break
    figures["threads left"], figures["files left"], figures["tasks left"] = left
    for what in ("threads left", "files left", "tasks left"):
        figures.check(figures[what] <= 0, f"{figures[what]} {what}")


def held() -> tuple[int, int, int]:
    """Count the threads, the open files and sockets, and the tasks of both loops."""
    tasks = len(asyncio.all_tasks()) + len(asyncio.all_tasks(background.loop()))
    return threading.active_count(), len(os.listdir("/proc/self/fd")), tasks


def network(seconds: float, seed: int, figures: Figures, folder: Path) -> None:
    """Run the part with the faults of servers and networks."""
    asyncio.run(ask_all(seconds, seed, figures, folder))


PARTS: dict[str, Callable[..., None]] = {"network": network, "kernel": kernel, "disk": disk}


def main() -> int:
    """Run all parts at once, each in a process of its own, and print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=600)
    options.add_argument("--seed", default="1")
    options.add_argument("--part", choices=PARTS)
    given = options.parse_args()
    if given.part:
        figures = Figures()
        with tempfile.TemporaryDirectory() as folder:
            PARTS[given.part](given.seconds, int(given.seed), figures, Path(folder))
        figures.report()
        return 0
    command = [sys.executable, __file__, "--seconds", str(given.seconds), "--seed", given.seed, "--part"]
    running = {part: subprocess.Popen([*command, part], stdout=subprocess.PIPE, text=True) for part in PARTS}
    failed = False
    for part, process in running.items():
        text = process.communicate()[0]
        found = json.loads(text.splitlines()[-1]) if process.returncode == 0 else {"figures": {}, "wrong": [text]}
        print(f"{part}: {given.seconds:g} s, seed {given.seed}")
        for name, value in {**found["figures"], "longest call, s": round(found.get("longest", 0), 1)}.items():
            print(f"  {name:40}{value:>12}")
        print(f"  {'wrong':40}{len(found['wrong']):>12}")
        for what in found["wrong"][:20]:
            print(f"    {what}")
        failed |= bool(found["wrong"]) or process.returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
