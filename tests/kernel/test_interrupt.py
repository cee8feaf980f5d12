"""An interrupt ends the cell at once and keeps its text; the server sees the client leave; the kernel goes on."""

from __future__ import annotations

import random

import pytest
from driver import at_display
from wait import eventually

INTERRUPTS = 25


def shows(text):
    return lambda message: text in str(message["content"].get("data", ""))


@pytest.mark.parametrize("prefix", ["", "%%time\n"], ids=["awaited", "waited for"])
def test_an_interrupt_keeps_the_text_and_marks_it(kernel, engine, prefix):
    engine.enqueue("What was said so far", ...)
    run = kernel.run_and_interrupt(prefix + "%%backend\nhi", shows("said so far"))
    assert run.stop == ("KeyboardInterrupt", "KeyboardInterrupt: stopped; the text so far is kept")
    assert run.markdown[-1].startswith("What was said so far")
    assert "stopped" in run.markdown[-1]
    assert run.displays[-1]["metadata"]["nb_backend"]["stopped"] is True
    assert kernel.run("1 + 1").result == "2"
    eventually(lambda: engine.stopped == 1)


def test_an_interrupt_is_shown_once_and_still_stops_the_cells_after_it(kernel, engine):
    assert kernel.run("1 / 0").error[0] == "ZeroDivisionError"
    engine.enqueue("What was said so far", ...)
    first, second = kernel.start("%%backend\nhi"), kernel.start("'ran'")
    pressed = []

    def press(message):
        if shows("said so far")(message) and not pressed:
            pressed.append(kernel.manager.interrupt_kernel())

    stopped, after = kernel.finish(first, press), kernel.finish(second)
    assert stopped.stop == ("KeyboardInterrupt", "KeyboardInterrupt: stopped; the text so far is kept")
    assert stopped.markdown[-1].count("stopped") == 1
    assert after.reply["status"] == "aborted"
    assert kernel.run("1 / 0").error[0] == "ZeroDivisionError"  # other errors are shown as before
    eventually(lambda: engine.stopped == 1)


def test_a_stop_is_shown_as_an_error_if_the_status_line_is_captured(kernel, engine):
    engine.enqueue("What was said so far", ...)
    press = "import os, signal, threading\nthreading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()\n"
    run = kernel.run(f"%%capture seen\n{press}get_ipython().run_cell_magic('backend', '', 'hi')")
    assert run.error is not None
    assert run.error[1].startswith("KeyboardInterrupt: stopped")
    eventually(lambda: engine.stopped == 1)


def test_errors_that_the_user_handles_are_still_handled(kernel, engine):
    kernel.run("get_ipython().set_custom_exc((LookupError,), lambda self, kind, error, *more, **m: print('handled'))")
    engine.enqueue("What was said so far", ...)
    assert kernel.run_and_interrupt("%%backend\nhi", shows("said so far")).stop is not None
    assert kernel.run("{}['x']").printed == "handled\n"
    kernel.run("get_ipython().set_custom_exc((), None)")
    eventually(lambda: engine.stopped == 1)


@pytest.mark.parametrize("prefix", ["", "%%time\n"], ids=["awaited", "waited for"])
def test_an_interrupt_before_the_first_word_says_that_nothing_is_kept(kernel, engine, prefix):
    engine.enqueue({"type": "progress", "progress": {"label": "Loading", "done": 1, "total": 4}}, ...)
    run = kernel.run_and_interrupt(prefix + "%%backend -c none\nhi", shows("Loading"))
    assert run.stop == ("KeyboardInterrupt", "KeyboardInterrupt: stopped before the answer began")
    assert run.markdown[-1].startswith("<small>stopped")
    assert kernel.run("'none' in __import__('nb_backend').chats").result == "False"
    eventually(lambda: engine.stopped == 1)  # or the next test would count it


@pytest.mark.parametrize(
    "call", ["await ask()", "await asyncio.create_task(ask())"], ids=["in a coroutine", "in a task of the loop"]
)
def test_an_interrupt_ends_a_synchronous_call_in_a_coroutine(kernel, engine, call):
    """ipykernel turns the interrupt into a cancellation there, which the blocked loop would never deliver."""
    engine.enqueue("What was said so far", ...)
    ask = "import asyncio\nasync def ask():\n    get_ipython().run_cell_magic('backend', '', 'hi')\n"
    run = kernel.run_and_interrupt(ask + call, shows("said so far"))
    assert run.stop == ("CancelledError", "CancelledError: stopped; the text so far is kept")
    assert run.markdown[-1].startswith("What was said so far")
    assert kernel.run("1 + 1").result == "2"
    eventually(lambda: engine.stopped == 1)


def test_twenty_five_interrupts_in_a_row_at_random_moments(kernel, engine):
    for number in range(INTERRUPTS):
        moment = random.Random(number)
        engine.enqueue(*[step for _ in range(400) for step in (f"{moment.random():.3f} ", 0.01)], ...)
        run = kernel.run_and_interrupt("%%backend\nhi", at_display(moment.randrange(1, 9)))
        assert run.stop is not None, f"interrupt {number} was lost"
        assert run.stop[0] == "KeyboardInterrupt"
        assert kernel.run("1 + 1").result == "2"
    started = len(engine.history)
    assert started >= INTERRUPTS - 5  # one that comes before the request is sent leaves nothing to stop
    eventually(lambda: engine.stopped == started)
