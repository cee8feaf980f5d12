"""``map`` in a kernel: awaited and not, what its output shows meanwhile and in the end, and interrupts."""

from __future__ import annotations

import re

import pytest
from wait import eventually

FORMS = pytest.mark.parametrize("form", ["", "await "], ids=["waited for", "awaited"])
PROMPTS = "[str(number) for number in range(100)]"


@pytest.fixture(autouse=True)
def _imported(kernel):
    kernel.run("import nb_backend")


def ids(run) -> set[str]:
    """The ids of the displays of a cell."""
    return {display["transient"]["display_id"] for display in run.displays}


@FORMS
def test_it_gives_the_answers_and_one_line_stays(kernel, engine, form):
    engine.enqueue({"type": "error", "error": "Boom", "message": "it went wrong"})
    run = kernel.run(
        f"found = {form}nb_backend.map(['one', 'two words'], concurrency=1)\nprint(type(found).__name__, *found)"
    )
    assert run.error is None
    assert run.printed == "list it went wrong two words\n"
    assert re.fullmatch(r"1 answered · 1 failed: server error · 2 tokens · \d+\.\d s", run.markdown[-1])
    assert len(ids(run)) == 1


@FORMS
def test_while_it_runs_there_is_a_bar(kernel, engine, form):
    engine.enqueue("a")
    engine.enqueue("b", 0.5)
    run = kernel.run(f"found = {form}nb_backend.map(['one', 'two'], concurrency=1)")
    shown = [display for display in run.displays if "application/vnd.jupyter.widget-view+json" in display["data"]]
    assert len(shown) == 1
    values = [message["data"].get("state", {}).get("value") for message in run.of("comm_msg")]
    assert 1.0 in values or 1 in values
    texts = " ".join(str(message["data"].get("state", {}).get("value")) for message in run.of("comm_msg"))
    assert re.search(r"1/2\s\[\d\d:\d\d&lt;\d\d:\d\d.*tokens/s", texts)
    assert len(run.of("comm_close")) == len(run.of("comm_open"))
    assert len(ids(run)) == 1
    assert run.markdown[-1].startswith("2 answered")


def test_the_bar_is_updated_about_ten_times_a_second(kernel, engine):
    for number in range(100):
        engine.enqueue(0.01, str(number))
    run = kernel.run(f"found = nb_backend.map({PROMPTS}, concurrency=1)")
    seconds = float(re.search(r"(\S+) s$", run.markdown[-1])[1])
    assert len(run.of("comm_msg")) < 4 * (10 * seconds + 10)


@FORMS
def test_without_widgets_it_is_markdown_throughout(kernel, engine, form):
    engine.enqueue("a")
    engine.enqueue("b", 0.5)
    kernel.run("import sys; sys.modules['tqdm.notebook'] = None")
    run = kernel.run(f"found = {form}nb_backend.map(['one', 'two'], concurrency=1)")
    kernel.run("del sys.modules['tqdm.notebook']")
    assert run.error is None
    assert any(re.match(r"1 of 2 · .* tokens/s · \d\d:\d\d left$", text) for text in run.markdown)
    assert run.markdown[-1].startswith("2 answered")
    assert run.of("comm_open") == []


def test_a_widget_that_fails_breaks_nothing(kernel, engine):
    engine.enqueue("a")
    engine.enqueue("b", 0.5)
    kernel.run("import tqdm.notebook as t; real = t.tqdm_notebook.display")
    kernel.run("def broken(*args, **options):\n    raise OSError('no front end')\nt.tqdm_notebook.display = broken")
    run = kernel.run("print(*nb_backend.map(['one', 'two'], concurrency=1))")
    assert kernel.run("import gc\nfor each in range(3): gc.collect()").of("stream") == []
    kernel.run("t.tqdm_notebook.display = real")
    assert run.printed == "a b\n"
    assert run.markdown[-1].startswith("2 answered")


@FORMS
def test_no_progress_no_output(kernel, engine, form):
    run = kernel.run(f"found = {form}nb_backend.map(['one'], progress=False)")
    assert run.messages == [message for message in run.messages if message["msg_type"] in ("status", "execute_input")]


def test_captured_there_is_one_output(kernel, engine):
    engine.enqueue("a", 0.5)
    kernel.run("%%capture seen\nfound = nb_backend.map(['one'])")
    assert kernel.run("[out.data['text/markdown'][:10] for out in seen.outputs]").result == "['1 answered']"


@FORMS
def test_with_a_cache_the_output_is_the_same_every_time(kernel, engine, tmp_path, form):
    call = f"{form}nb_backend.map(['one', 'two'], cache={str(tmp_path)!r}, concurrency=1)"
    cell = f"found = {call}\n[str(one) for one in found]"
    engine.enqueue("a", 0.5)
    engine.enqueue("b", 0.5)
    first, second = kernel.run(cell), kernel.run(cell)
    assert len(engine.history) == 2
    assert first.markdown[-1] == second.markdown[-1] == "2 answered · 2 tokens"
    assert first.result == second.result == "['a', 'b']"
    assert first.of("comm_open") == []  # a notebook keeps the state of its widgets, under random names


@FORMS
def test_an_interrupt_ends_it_and_the_same_cell_asks_for_the_rest(kernel, engine, form):
    for number in range(30):
        engine.enqueue(str(number))
    engine.enqueue(...)
    cell = f"found = {form}nb_backend.map({PROMPTS}, concurrency=1)"
    run = kernel.run_and_interrupt(cell, lambda message: "30/100" in str(message["content"].get("data", "")))
    name = "CancelledError" if form else "KeyboardInterrupt"
    line = "stopped: 30 of 100 are kept; the same call asks for the rest"
    assert run.stop == (name, f"{name}: {line}")
    assert run.markdown[-1] == line
    eventually(lambda: engine.stopped == 1)
    assert kernel.run("1 + 1").result == "2"
    before = len(engine.history)
    assert kernel.run(f"{cell}\nlen(found), str(found[0]), str(found[99])").result == "(100, '0', '99')"
    assert len(engine.history) - before == 70


def test_it_waits_in_a_cell_that_awaits_something_else(kernel, engine):
    run = kernel.run(
        "import asyncio\nawait asyncio.sleep(0)\nfound = nb_backend.map(['one'])\n[str(one) for one in found]"
    )
    assert run.result == "['one']"
    run = kernel.run("await asyncio.sleep(0)\nnb_backend.map(['one'])")
    assert run.result == "[one]"


def test_two_at_the_same_time(kernel, engine):
    cell = "a, b = await asyncio.gather(nb_backend.map(['one']), nb_backend.map(['two']))\nstr(a[0]), str(b[0])"
    run = kernel.run(f"import asyncio\n{cell}")
    assert run.result == "('one', 'two')"
    assert len(ids(run)) == 2
