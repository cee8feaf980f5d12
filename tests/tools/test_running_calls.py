"""How calls run: at the same time, on threads or on the loop; whatever a tool does, it is a step in one line."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from nb_backend.providers.tool_calls import ToolCall
from nb_backend.tools import calls as running
from nb_backend.tools.calls import MAX_AT_A_TIME, MAX_CALLS, carry_out, describe_failure
from nb_backend.tools.consent import Consents
from nb_backend.tools.step import ToolStep
from nb_backend.tools.tool import Tool, tool


def plain(function: Callable[..., Any], name: str = "t") -> Tool:
    return Tool(name, "", {"type": "object", "properties": {}}, function)


async def steps_of(*functions: Callable[..., Any], **arguments: Any) -> list[ToolStep]:
    """Call each function once, all in one round, and return the last step of each."""
    tools = {f"t{at}": plain(function, f"t{at}") for at, function in enumerate(functions)}
    calls = [ToolCall(name, name, dict(arguments)) for name in tools]
    last = {at: step async for at, step in carry_out(calls, tools, Consents())}
    assert all(step.status == "done" for step in last.values())
    return [last[at] for at in range(len(calls))]


async def failure_of(function: Callable[..., Any]) -> str | None:
    (step,) = await steps_of(function)
    return step.error


class TestPlaces:
    async def test_functions_run_on_threads_and_coroutines_on_the_loop(self):
        here = threading.get_ident()

        async def on_loop() -> bool:
            return threading.get_ident() == here

        def on_thread() -> bool:
            return threading.get_ident() == here

        class OnLoop:
            async def __call__(self) -> bool:
                return await on_loop()

        found = await steps_of(on_loop, on_thread, lambda: on_loop(), OnLoop())
        assert [step.result for step in found] == ["True", "False", "True", "True"]

    async def test_results_are_in_the_order_of_the_calls_whoever_ends_first(self):
        last_has_begun = threading.Event()
        loop_goes_on = asyncio.Event()

        def first() -> str:
            last_has_begun.wait(10)
            return "first"

        async def second() -> str:
            await loop_goes_on.wait()
            return "second"

        async def third() -> str:
            loop_goes_on.set()
            last_has_begun.set()
            return "third"

        assert [step.result for step in await steps_of(first, second, third)] == ["first", "second", "third"]

    async def test_few_of_many_calls_run_at_the_same_time(self):
        lock = threading.Lock()
        now, most, all_run = 0, 0, threading.Event()

        def count() -> str:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
                if now == MAX_AT_A_TIME:
                    all_run.set()
            all_run.wait(10)
            with lock:
                now -= 1
            return "done"

        found = await steps_of(*[count] * (MAX_CALLS + 1))
        assert most == MAX_AT_A_TIME
        assert [step.result for step in found[:-1]] == ["done"] * MAX_CALLS
        assert found[-1].error == f"only {MAX_CALLS} calls are carried out at a time: call again"

    async def test_a_tool_sees_the_context_of_the_question(self):
        variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
        variable.set("seen")

        async def on_loop() -> str:
            return variable.get()

        assert [step.result for step in await steps_of(variable.get, on_loop)] == ["seen", "seen"]

    async def test_a_value_is_written_away_from_the_loop(self):
        here = threading.get_ident()

        class Value:
            def __str__(self) -> str:
                return f"{threading.get_ident() == here}"

        async def on_loop() -> Value:
            return Value()

        assert [step.result for step in await steps_of(Value, on_loop)] == ["False", "False"]

    async def test_what_is_awaited_may_be_a_generator(self):
        async def numbers() -> AsyncIterator[int]:
            n = 0
            while True:
                yield (n := n + 1)

        (step,) = await steps_of(numbers)
        assert step.result.startswith("[1, 2, 3, ")
        assert step.result.endswith("999, 1000]")

    async def test_a_megabyte_of_arguments(self):
        (step,) = await steps_of(lambda text: len(text), text="x" * 2**20)
        assert step.result == "1048576"


class TestFailures:
    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration])
    async def test_what_a_tool_raises_is_a_line(self, error):
        def on_thread() -> None:
            raise error("bad")

        async def on_loop() -> None:
            raise error("bad")

        assert await failure_of(on_thread) == f"{error.__name__}: bad"
        line = "RuntimeError: coroutine raised StopIteration" if error is StopIteration else f"{error.__name__}: bad"
        assert await failure_of(on_loop) == line

    async def test_a_cancellation_by_the_tool_itself_is_a_line(self):
        async def on_loop() -> None:
            raise asyncio.CancelledError

        async def cancels() -> None:
            asyncio.current_task().cancel()  # type: ignore[union-attr]
            await asyncio.sleep(10)

        assert await failure_of(on_loop) == "it was cancelled"
        assert await failure_of(cancels) == "it was cancelled"

        def on_thread() -> None:
            raise asyncio.CancelledError

        assert await failure_of(on_thread) == "CancelledError"

    async def test_a_failing_tool_leaves_the_others_alone(self):
        def fails() -> None:
            raise SystemExit(3)

        found = await steps_of(fails, lambda: "fine", lambda x: x)
        assert [step.error for step in found[:2]] == ["SystemExit: 3", None]
        assert "missing 1 required positional argument" in str(found[2].error)
        assert found[1].result == "fine"

    async def test_wrong_arguments_are_reported_and_nothing_runs(self):
        ran = []

        def weather(days: int) -> None:
            ran.append(days)

        calls = [ToolCall("a", "weather", {"days": "many"}), ToolCall("b", "nope"), ToolCall("c", "weather", {})]
        found = [step async for _, step in carry_out(calls, {"weather": tool(weather)}, Consents())]
        assert sorted(str(step.error) for step in found) == [
            "there is no tool 'nope'; the tools are weather",
            "wrong arguments: days is missing",
            "wrong arguments: days: it should be a valid integer, unable to parse string as an integer",
        ]
        assert ran == []

    async def test_a_failing_iterator_and_a_failing_repr(self):
        def rows() -> Any:
            yield 1
            raise ValueError("no more")

        class Broken:
            def __repr__(self) -> str:
                raise KeyError("no repr")

        assert await failure_of(rows) == "ValueError: no more"
        (step,) = await steps_of(Broken)
        assert step.result == "<Broken: it cannot be shown: KeyError: 'no repr'>"


class Mute(Exception):
    def __str__(self) -> str:
        raise SystemExit


REMOTE = 'pool failed\n"""\nTraceback (most recent call last):\n  File "x.py", line 1\n    f(secret)\nValueError: bad\n'


class TestDescribingAFailure:
    @pytest.mark.parametrize(
        ("error", "line"),
        [
            (ValueError("a\n  b"), "ValueError: a b"),
            (ValueError(), "ValueError"),
            (Mute(), "Mute"),
            (RuntimeError(REMOTE), 'RuntimeError: pool failed """ ValueError: bad'),
            (ExceptionGroup("many", [ValueError("a"), KeyError("b")]), "ValueError: a (and 1 more exception)"),
            (ExceptionGroup("x", [ExceptionGroup("y", [OSError(2, "gone")])]), "FileNotFoundError: [Errno 2] gone"),
            (
                OSError("GET https://me:password1@host/?api_key=abcdefgh"),
                "OSError: GET https://me:***@host/?api_key=***",
            ),
            (ValueError("\x1b[31mred\u202e"), "ValueError: \ufffd[31mred\ufffd"),
        ],
    )
    def test_it_is_one_line(self, error, line):
        assert describe_failure(error) == line

    def test_secrets_are_masked_and_it_is_short(self, monkeypatch):
        monkeypatch.setenv("MY_DATABASE_PASSWORD", "correct horse battery")
        monkeypatch.setenv("OPENAI_API_KEY", "a key of mine")
        line = describe_failure(ValueError("correct horse battery, a key of mine" + "x" * 10**7))
        assert line.startswith("ValueError: ***, ***xxx")
        assert len(line) <= 500
        for before in (19_990, 19_995):  # which the limit of what is read cuts
            assert "correct" not in describe_failure(ValueError("x" * before + "correct horse battery" + "y" * 10**5))


class TestStopping:
    async def leave_when_running(self, *functions: Callable[..., Any]) -> None:
        """Start the calls, and stop as soon as all run."""
        tools = {f"t{at}": plain(function, "late") for at, function in enumerate(functions)}
        left = len(functions)
        async with aclosing(carry_out([ToolCall(name, name) for name in tools], tools, Consents())) as steps:
            async for _, step in steps:
                left -= step.status == "running"
                if not left:
                    break

    async def test_nothing_waits_for_a_thread_that_goes_on(self):
        goes_on, has_ended = threading.Event(), threading.Event()

        def hangs() -> None:
            goes_on.wait(10)
            has_ended.set()

        await self.leave_when_running(hangs, hangs)
        goes_on.set()
        assert await asyncio.to_thread(has_ended.wait, 10)
        await asyncio.sleep(0)  # the late result is dropped

    async def test_a_coroutine_is_cancelled_and_may_clean_up(self):
        cleaned = []

        async def waits() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                cleaned.append(True)

        await self.leave_when_running(waits)
        assert cleaned == [True]

    async def test_a_coroutine_that_does_not_end_is_left_behind(self, monkeypatch):
        monkeypatch.setattr(running, "_GRACE", 0.01)
        end = asyncio.Event()

        async def stubborn() -> None:
            while not end.is_set():
                try:
                    await end.wait()
                except asyncio.CancelledError:
                    continue

        await self.leave_when_running(stubborn)
        end.set()
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    async def test_a_late_coroutine_is_closed(self):
        returns = threading.Event()

        async def late() -> None: ...

        coroutine = late()

        def hangs() -> Any:
            returns.wait(10)
            return coroutine

        await self.leave_when_running(hangs)
        (thread,) = [one for one in threading.enumerate() if one.name == "nb_backend tool late"]
        returns.set()
        await asyncio.to_thread(thread.join, 10)
        await asyncio.sleep(0)
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED

    def test_a_thread_may_end_after_its_loop(self):
        returns, has_ended = threading.Event(), threading.Event()

        async def late() -> None: ...

        def hangs() -> Any:
            returns.wait(10)
            has_ended.set()
            return late()

        asyncio.run(self.leave_when_running(hangs))
        (thread,) = [one for one in threading.enumerate() if one.name == "nb_backend tool late"]
        returns.set()
        thread.join(10)
        assert has_ended.is_set()
        gc.collect()  # a coroutine that was never awaited would warn
