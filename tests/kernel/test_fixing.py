"""``%backend fix``: the last exception as a question, in a real kernel."""

from __future__ import annotations

import os

import pytest
from driver import Kernel, one_line
from jupyter_client.manager import start_new_kernel
from serving import TOKEN

FAILS = "total = 0\nfor city in {'Oslo': 1}:\n    total += city"


def asked(kernel, engine, line="%backend fix"):
    run = kernel.run(line)
    assert run.error is None, run.error
    return engine.history[-1]["messages"][-1]["content"]


def test_it_asks_about_the_last_exception(kernel, engine):
    assert kernel.run(FAILS).error is not None
    kernel.run("1 + 1")  # a cell that succeeds does not make it forgotten
    question = asked(kernel, engine)
    assert f"```python\n{FAILS}\n```" in question
    assert "line 3" in question
    assert "TypeError: unsupported operand type(s)" in question
    assert "total: int\ncity: str of 4 characters" in question


def test_its_own_failures_are_none(kernel, engine):
    kernel.run(FAILS)
    engine.enqueue({"type": "error", "error": "Broken", "message": "the engine broke"})
    assert kernel.run("%backend fix").error == ("ServerError", "ServerError: the engine broke")
    kernel.run("%%backend --nonsense\nhi")
    kernel.run("%no_such_magic")
    assert FAILS in asked(kernel, engine)


def test_the_options_are_those_of_a_cell(kernel, engine):
    kernel.run("text = '{{ 1 + 1 }}'\n1 / 0")
    engine.enqueue("Like this:\n\n```python\ntext = 1 / 1\n```")
    run = kernel.run("%backend fix gpt-9 -c fixes -t 0 -f code -o fixed")
    assert run.error is None
    assert run.result is None
    assert run.reply["payload"] == [{"source": "set_next_input", "text": "text = 1 / 1", "replace": False}]
    body = engine.history[-1]
    assert (body["model"], body["temperature"]) == ("gpt-9", 0)
    assert "text = '{{ 1 + 1 }}'" in body["messages"][-1]["content"]  # nothing in it is evaluated
    assert kernel.run("fixed.code, len(__import__('nb_backend').chats['fixes'].messages)").result == (
        "(['text = 1 / 1'], 2)"
    )
    engine.history.clear()
    assert "ZeroDivisionError" in kernel.run("%backend fix --dry-run").markdown[-1]
    assert engine.history == []
    one_line(kernel.run("%backend fix --nonsense"), "--nonsense")
    for words in ("please", "please?", "it", "this cell", "the error, please"):
        one_line(kernel.run(f"%backend fix {words}"), words.rstrip("?"))
    assert engine.history == []
    assert kernel.run("%backend fix scripted # which the server lists").error is None
    assert engine.history[-1]["model"] == "scripted"


@pytest.mark.parametrize(
    "cell",
    [
        "%%time\n1 / 0",
        "def f(x):\n    return 1 / x\nf(0)",
        "import asyncio\nawait asyncio.sleep(0)\n1 / 0",
    ],
)
def test_whatever_the_cell_is(kernel, engine, cell):
    kernel.run(cell)
    question = asked(kernel, engine)
    assert f"```python\n{cell}\n```" in question
    assert "ZeroDivisionError: division by zero" in question


def test_syntax_errors(kernel, engine):
    kernel.run("x = (1,\ny = 2")
    question = asked(kernel, engine)
    assert "x = (1,\ny = 2" in question
    assert "SyntaxError" in question


def test_an_error_while_a_value_is_shown(kernel, engine):
    kernel.run("1 / 0")
    cell = "class Odd:\n    def __repr__(self): raise LookupError('odd')\nOdd()"
    kernel.run(cell)
    question = asked(kernel, engine)
    assert cell in question
    assert "LookupError: odd" in question


def test_no_secret_goes_along(kernel, engine):
    kernel.run("import os\nservice_token = 'tok-0123456789'\npassword = 'hunter2hunter2'")
    kernel.run(
        "key = os.environ['NB_BACKEND_API_KEY']\n"
        "raise RuntimeError(f'no login with {key} {service_token} {password} at https://ada:s3cr3tword@example.org')"
    )
    question = asked(kernel, engine)
    assert "no login with *** *** *** at https://ada:***@example.org" in question
    for secret in (TOKEN, "tok-0123456789", "hunter2hunter2", "s3cr3tword"):
        assert secret not in question


def test_a_failure_before_the_extension_was_loaded(server, engine):
    manager, client = start_new_kernel(kernel_name="python3", env={**os.environ, **server.env})
    kernel = Kernel(manager, client)
    try:
        kernel.run("%load_ext nb_backend")
        one_line(kernel.run("%backend fix"), "no exception", "first run the cell that fails")
        kernel.run("%unload_ext nb_backend")
        kernel.run(FAILS)
        kernel.run("%load_ext nb_backend")
        question = asked(kernel, engine)
        assert FAILS in question
        assert "TypeError: unsupported operand type(s)" in question
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
