"""The background loop: one thread for all jobs, interrupts, forks, and calls from inside other loops."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from nb_backend import background
from nb_backend.background import Job, NobodyWaits, on_user_thread, run


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def fail(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


def test_run_returns_the_result_and_raises_the_failure():
    assert run(double(21)) == 42
    for error in (ValueError("x"), KeyError("x"), asyncio.CancelledError()):
        with pytest.raises(type(error)):
            run(fail(error))


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_the_loop_survives_a_job_that_raises_a_base_exception(error):
    with pytest.raises(type(error)):
        run(fail(error))
    assert run(double(21)) == 42


def test_all_jobs_share_one_thread():
    run(double(1))
    before = threading.active_count()
    threads = {run(asyncio.to_thread(threading.current_thread)) for _ in range(1)}
    loops = set()

    async def where() -> None:
        loops.add((threading.current_thread().name, asyncio.get_running_loop()))

    for _ in range(20):
        run(where())
    assert loops == {("nb_backend", background.loop())}
    assert threading.active_count() - before <= len(threads)


def test_a_job_sees_the_context_variables_of_its_caller():
    variable = contextvars.ContextVar("variable", default=0)
    variable.set(7)

    async def look() -> int:
        return variable.get()

    assert run(look()) == 7


@pytest.mark.parametrize("started", [True, False])
def test_a_job_can_be_cancelled(started):
    running = threading.Event()

    async def work() -> None:
        running.set()
        await asyncio.Event().wait()

    job = Job(work())
    if started:
        running.wait(10)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        job.wait()


def test_an_interrupt_cancels_the_job_and_waits_until_it_has_ended():
    done = []

    async def work() -> None:
        try:
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            done.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        run(work())
    assert done == ["cleaned up"]
    assert run(double(21)) == 42


def test_an_interrupt_that_the_running_loop_handles_cancels_the_job_too():
    """``asyncio.run`` and ipykernel turn an interrupt into a cancellation, which could act only after the wait."""
    done = []

    async def work() -> None:
        try:
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
            await asyncio.wait_for(asyncio.Event().wait(), 30)
        finally:
            done.append("cleaned up")

    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            run(work())
        await asyncio.sleep(30)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert done == ["cleaned up"]
    assert signal.getsignal(signal.SIGINT) is before


async def test_a_call_inside_a_running_loop_runs_on_the_background_loop():
    async def where() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    assert run(where()) is background.loop()


def test_a_synchronous_call_on_the_background_loop_is_refused():
    async def call() -> int:
        return run(double(1))

    with pytest.raises(RuntimeError, match="await it instead"):
        run(call())


NESTED = """
import asyncio, sys
sys.path.insert(0, {tests!r})
from nb_backend import Chat, background

async def main(url):
    ticks = []

    async def tick():
        while True:
            ticks.append(0)
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    loop = asyncio.get_running_loop()

    async def where():
        await asyncio.sleep(0.01)
        return asyncio.get_running_loop()

    assert background.run(where(), nested=True) is loop
    assert ticks
    before = len(ticks)
    answer = Chat(url=url)("Hi there?", nested=True)
    assert len(ticks) > before
    ticking.cancel()
    return answer

assert background.run(asyncio.sleep(0, 7), nested=True) == 7
assert Chat(url={url!r})("Hi?", nested=True).text == "Hi?"
print(asyncio.run(main({url!r})))
"""

FORKED = """
import asyncio, os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from nb_backend import Chat, background
chat = Chat(url={url!r})
assert chat("Parent").text == "Parent"
if (child := os.fork()) == 0:
    print(chat("Child"), flush=True)
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print(chat("Parent again"))
"""

FORKED_DURING_ANSWER = """
import os, sys, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from nb_backend import Chat, background
chat = Chat(url={url!r})
job = background.Job(chat.ask("Parent"))
while not (chat.live and chat.live[0].answer.text):
    time.sleep(0.01)
if (child := os.fork()) == 0:
    print(Chat(url={url!r})("Child"))
    sys.exit(7)  # a normal exit: cleaning up must not print anything about the parent's loop
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
turn = chat.live[0]
length = len(turn.answer.text)
while len(turn.answer.text) == length:
    time.sleep(0.01)
turn.stop()
print(job.wait().text[:8])
print(chat("Parent again"))
"""

FORKED_WHILE_LOCKED = """
import os, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from nb_backend import Chat, background
from nb_backend.chat import history, observers, text_buffer
locked = threading.Event()

def hold(lock):
    with lock:
        locked.set()
        threading.Event().wait()

for name in ("background._lock", "observers._lock", "history._lock", "text_buffer._joining"):
    module, _, lock = name.partition(".")
    locked.clear()
    threading.Thread(target=hold, args=[getattr(globals()[module], lock)], daemon=True).start()
    locked.wait()
if (child := os.fork()) == 0:
    print(Chat(url={url!r})("Child"), flush=True)
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
"""

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")


@pytest.mark.parametrize(
    ("script", "printed"),
    [
        (NESTED, ["Hi there?"]),
        pytest.param(FORKED, ["Child", "Parent again"], marks=forks),
        pytest.param(FORKED_DURING_ANSWER, ["Child", "one more", "Parent again"], marks=forks),
        pytest.param(FORKED_WHILE_LOCKED, ["Child"], marks=forks),
    ],
    ids=["nested", "forked", "forked during an answer", "forked while locked"],
)
def test_in_a_process_of_its_own(backend, script, printed):
    if script is FORKED_DURING_ANSWER:
        backend.engine.enqueue("one ", *["more ", 0.02] * 2000)
    code = script.format(url=backend.url, tests=os.path.join(os.path.dirname(__file__), "support"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=os.environ,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == printed


class TestOnUserThread:
    def test_a_function_runs_on_the_thread_that_waits(self):
        assert run(on_user_thread(threading.current_thread)) is threading.current_thread()

    def test_an_interrupt_of_the_function_cancels_the_job(self):
        ended: list[str] = []

        async def work() -> None:
            try:
                await on_user_thread(interrupt)
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        def interrupt() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(work())
        assert ended == ["cancelled"]

    async def test_an_interrupt_in_the_loop_of_the_user_is_a_cancellation(self):
        def interrupt() -> None:
            raise KeyboardInterrupt

        with pytest.raises(asyncio.CancelledError):
            await on_user_thread(interrupt)

    def test_a_job_for_which_nobody_waits_says_so(self):
        with pytest.raises(NobodyWaits):
            Job(on_user_thread(threading.current_thread)).future.result(10)

    def test_what_outlives_its_job_is_not_left_waiting(self):
        async def work() -> asyncio.Task[threading.Thread]:
            await asyncio.sleep(0)
            return asyncio.create_task(on_user_thread(threading.current_thread))

        async def outcome(task: asyncio.Task[threading.Thread]) -> BaseException | None:
            await asyncio.wait([task])
            return None if task.cancelled() else task.exception()

        assert isinstance(run(outcome(run(work()))), NobodyWaits | None)

    """A job runs a function on the thread that waits for it."""

    def both_waits(self, work):
        """Return what a job returns to a thread that blocks, and to a loop that awaits it."""

        async def awaited() -> object:
            return await Job(work(), start=False).wait_async()

        return run(work()), asyncio.run(awaited())

    def test_the_function_runs_where_the_job_is_awaited_as_soon_as_it_is_asked_for(self, monkeypatch):
        monkeypatch.setattr(background, "POLL_SECONDS", 1_000)

        async def work() -> list[int]:
            return [await background.on_user_thread(threading.get_ident) for _ in range(3)]

        assert self.both_waits(work) == ([threading.get_ident()] * 3,) * 2

    def test_what_the_function_raises_belongs_to_the_job(self):
        async def work() -> list[str]:
            found = []
            for error in (ValueError("x"), StopIteration(1), asyncio.CancelledError()):

                def fail(error: BaseException = error) -> None:
                    raise error

                with pytest.raises(BaseException) as raised:  # noqa: PT011  each of them is compared
                    await background.on_user_thread(fail)
                found.append(repr(raised.value))
            return found

        expected = ["ValueError('x')", "RuntimeError('StopIteration: 1')", "CancelledError()"]
        assert self.both_waits(work) == (expected, expected)

    @pytest.mark.parametrize("wait", ["block", "await"])
    def test_an_interrupt_ends_the_function_the_functions_that_wait_and_the_job(self, wait):
        ran, ended = [], threading.Event()

        def endless() -> None:
            ran.append("endless")
            signal.raise_signal(signal.SIGINT)
            threading.Event().wait(30)

        async def work() -> None:
            try:
                await asyncio.gather(*(background.on_user_thread(one) for one in (endless, lambda: ran.append("next"))))
            except RuntimeError:
                await asyncio.Event().wait()
            finally:
                ended.set()

        async def main() -> None:
            await Job(work(), start=False).wait_async()

        before = signal.getsignal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            run(work()) if wait == "block" else asyncio.run(main())
        assert ended.is_set()
        assert ran == ["endless"]
        assert signal.getsignal(signal.SIGINT) is before

    def test_a_function_that_waits_is_dropped_when_nobody_wants_it_any_more(self):
        ran: list[str] = []

        async def work() -> None:
            begun, go_on = threading.Event(), threading.Event()

            def busy() -> None:
                begun.set()
                go_on.wait(10)

            first = asyncio.ensure_future(background.on_user_thread(busy))
            await asyncio.to_thread(begun.wait, 10)
            second = asyncio.ensure_future(background.on_user_thread(lambda: ran.append("late")))
            await asyncio.sleep(0)
            second.cancel()
            await asyncio.wait([second])
            go_on.set()
            await first

        self.both_waits(work)
        assert ran == []

    def test_without_a_waiting_thread_it_is_refused_and_on_the_users_own_loop_it_runs_there(self):
        async def here() -> int:
            return await background.on_user_thread(threading.get_ident)

        assert asyncio.run(here()) == threading.get_ident()
        with pytest.raises(RuntimeError, match="no thread of the user"):
            asyncio.run_coroutine_threadsafe(here(), background.loop()).result(10)

    def test_the_panel_runs_it_in_its_own_way(self):
        async def elsewhere(function):
            return "elsewhere", function()

        async def work() -> object:
            background.user_thread.set(elsewhere)
            return await background.on_user_thread(lambda: 1)

        assert run(work()) == ("elsewhere", 1)

    def test_a_function_cannot_ask_a_model(self):
        from nb_backend import Chat

        def ask() -> None:
            Chat("x")("hi")

        async def work() -> None:
            with pytest.raises(RuntimeError, match="cannot ask a model"):
                await background.on_user_thread(ask)
            with pytest.raises(RuntimeError, match="cannot ask a model"):
                await background.on_user_thread(lambda: Chat("x").stream("hi"))

        self.both_waits(work)
        assert run(double(21)) == 42


def test_an_interrupt_that_code_catches_is_raised_at_its_end():
    reached = []

    def interrupted() -> None:
        with background.raised_interrupts():
            with suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            reached.append("the end")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert reached
