"""Several models, asked for code or JSON, from code, from a script, in a terminal, and where a notebook is executed."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from types import SimpleNamespace

import nbformat
import pytest
from by_model import ByModel, columns
from driver import at_display, one_line
from nbclient import NotebookClient
from serving import serving
from wait import eventually
from wire_server import status

from nb_backend import AuthError, Chat, ConnectionFailed, ServerError
from nb_backend.chat.answer import Answer
from nb_backend.events import RawResponse
from nb_backend.notebook.cell.notebook_view import CellView
from nb_backend.notebook.cell.terminal_view import TerminalView
from nb_backend.notebook.magic.options import parse
from nb_backend.notebook.magic.several import MultiModelRun, check_models

CELL = "%%backend llama gpt-4o\nWhy is the sky blue?"
BROKEN = {"type": "error", "error": "Broken", "message": "the engine broke"}


@pytest.fixture(scope="module")
def server():
    with serving(ByModel()) as running:
        yield running


def test_the_format_text(kernel, engine):
    engine.says(a=("*One* <b>", BROKEN), b=("Two",))
    last = kernel.run("%%backend a b -f text\nhi").displays[-1]["data"]["text/html"]
    assert last.startswith("<pre>a\n=\n\n*One* &lt;b&gt;\n\n[ServerError: the engine broke]\n\n[broke off · ")
    assert "b\n=\n\nTwo\n\n[" in last


def test_code_is_that_of_the_kept_one(kernel, engine):
    engine.says(a=("```python\nx = 1\n```",), b=("```python\nx = 2\n```",), c=("no code",))
    run = kernel.run("%%backend a b c --keep b -f code\nhi")
    (payload,) = run.reply["payload"]
    assert payload["text"] == "x = 2"
    assert kernel.run("len(_)").result == "3"
    one_line(kernel.run("%%backend c a -f code\nhi"), "no code block")


def test_json_is_the_list_of_the_objects(kernel, engine):
    engine.says(a=('{"n": 1}',), b=("one",), c=("```json\n[2]\n```",), d=(BROKEN,))
    run = kernel.run("%%backend a b c d -f json -o found\nhi")
    assert run.error is None
    first, second, third, fourth = columns(run.markdown[-1])
    assert "```json" in first
    assert "the answer is not JSON" in second
    assert "the answer is not JSON" not in first + third + fourth
    assert kernel.run("found[0], found[2], [type(one).__name__ for one in found]").result == (
        "({'n': 1}, [2], ['dict', 'FormatError', 'list', 'ServerError'])"
    )
    one_line(kernel.run("%%backend b d -f json\nhi"), "the answer is not JSON")


SCHEMA = "{'type': 'object', 'properties': {'n': {'type': 'integer'}}, 'required': ['n']}"


def test_those_whose_answers_do_not_fit_a_schema_are_asked_once_more(kernel, engine):
    kernel.run(f"import nb_backend\nschema = {SCHEMA}")
    engine.says(a=('{"n": 1}',), b=("one",), c=('{"n": "many"}',), d=(BROKEN,))
    run = kernel.run("%%backend a b c d --keep b -c fits --schema schema -o found\nhi")
    assert run.error is None
    assert kernel.run("found[0], [type(one).__name__ for one in found]").result == (
        "({'n': 1}, ['dict', 'FormatError', 'FormatError', 'ServerError'])"
    )
    retries = [body for body in engine.history if len(body["messages"]) > 2]
    assert sorted(body["model"] for body in retries) == ["b", "c"]
    for body in retries:
        texts = [message["content"] for message in body["messages"][1:]]
        assert texts[:2] == ["hi", {"b": "one", "c": '{"n": "many"}'}[body["model"]]]
        assert texts[2].startswith("That does not fit the schema: ")
    first, second = [one["data"]["text/markdown"] for one in run.displays if "nb_backend" in one["metadata"]][-2:]
    assert [one.split("\n\n")[0] for one in columns(second)] == ["b**", "c**"]
    assert "does not fit: it is not JSON" in columns(first)[1]
    assert "the answer does not fit the schema" not in first
    assert all("the answer does not fit the schema" in one for one in columns(second))
    assert kernel.run("len(nb_backend.chats['fits'].messages)").result == "4"


def test_a_dry_run_says_everything_once(kernel, engine):
    shown = kernel.run("%%backend a b --keep b --dry-run -s 'Be brief'\nOnly once").markdown[-1]
    assert shown.count("Only once") == 1
    assert "models: a, b (continues the chat)" in shown
    assert kernel.run("_.body['model']").result == "'b'"
    assert engine.history == []


def test_only_the_last_update_is_captured(kernel, engine):
    engine.says(llama=("It is ", 0.3, "light."))
    kernel.run(f"%%capture shown\n{CELL}")
    asked = "len(shown.outputs), [name in shown.outputs[0].data['text/markdown'] for name in ('light.', 'I am gpt')]"
    assert kernel.run(asked).result == "(1, [True, True])"


@pytest.mark.parametrize(
    "code",
    [
        "get_ipython().run_cell_magic('backend', 'a b', 'hi')",
        "async def ask():\n    return get_ipython().run_cell_magic('backend', 'a b', 'hi')\nawait ask()",
        "%%time\n%%backend a b\nhi",
    ],
    ids=["expression", "coroutine", "%%time"],
)
def test_called_from_code_it_is_shown_once(kernel, engine, code):
    run = kernel.run(code)
    assert run.error is None
    assert run.of("execute_result") == []
    assert columns(run.markdown[-1])[1].startswith("b**\n\nI am b.")
    assert kernel.run("len(_)").result == "2"


def test_a_notebook_that_is_executed_and_saved(server, engine):
    cells = ["%load_ext nb_backend", CELL, "print(*_)"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute(env={**os.environ, **server.env})
    (output,) = notebook.cells[1].outputs
    assert [one.split("\n\n")[1] for one in columns(output.data["text/markdown"])] == ["I am llama.", "I am gpt-4o."]
    assert len(output.metadata["nb_backend"]["answers"]) == 2
    assert notebook.cells[2].outputs[0].text == "I am llama. I am gpt-4o.\n"


def test_run_again_with_a_cache_it_asks_nobody_and_is_the_same(server, engine, tmp_path):
    engine.says(a=("**One**", 0.2, " answer"), b=("Another",))
    cells = ["%load_ext nb_backend\n%backend cache on answers", "%%backend a b\nhi", "%%backend c\nAnd?", "str(_)"]
    runs = []
    for _ in range(2):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        client = NotebookClient(notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
        client.execute(env={**os.environ, **server.env})
        runs.append([cell.outputs for cell in notebook.cells])
    assert runs[0] == runs[1]
    assert runs[0][1][0].data["text/markdown"].count("asked 20") == 2
    assert len(engine.history) == 3


def test_a_script_prints_one_after_the_other(server, engine, tmp_path):
    engine.says(a=("Slow ", 0.4, "words."), b=("Quick", BROKEN), c=({"type": "reasoning", "token": "Hm."}, "Last."))
    script = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "shell.run_line_magic('load_ext', 'nb_backend')\n"
        "answers = shell.run_cell_magic('backend', 'a b c', 'hi')\n"
        "print(len(answers), repr(answers[1]))\n"
    )
    env = {**os.environ, **server.env, "IPYTHONDIR": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    at = [
        ran.stdout.index(text) for text in ("a\n=", "Slow words.", "b\n=", "Quick", "the engine broke", "c\n=", "Last.")
    ]
    assert at == sorted(at)
    assert ran.stdout.count("\n[") == 5  # who answered, the failure, and the reasoning
    assert ran.stdout.rstrip().endswith("3 ServerError('the engine broke')")


def test_in_a_terminal_the_first_that_has_not_ended_is_live(capsys):
    view = TerminalView(["a", "b", "c"])
    events = {text: RawResponse(type="content", content=text) for text in ("one ", "two ", "three ", "four ", "five ")}
    printed = []

    def told(text, at):
        view.update(events[text], Answer(), at)
        printed.append(capsys.readouterr().out)

    told("two ", 1)
    told("one ", 0)
    view.finish(Answer(text="five"), False, 2)
    view.finish(Answer(text="one"), False, 0)
    printed.append(capsys.readouterr().out)
    told("three ", 1)
    view.finish(Answer(text="two three"), True, 1, ServerError("it broke"))
    printed.append(capsys.readouterr().out)
    assert printed[:2] == ["a\n=\n\n", "one "]
    assert printed[2].startswith("\n\n[0.0 s]\n\nb\n=\n\ntwo ")
    assert printed[3] == "three "
    assert printed[4].startswith("\n\n[ServerError: it broke]\n\n[broke off · 0.0 s]\n\nc\n=\n\n")
    assert printed[4].endswith("[0.0 s]\n")


def test_ten_interrupts_at_random_moments(kernel, engine):
    for number in range(10):
        moment = random.Random(number)
        words = [step for _ in range(400) for step in (f"{moment.random():.3f} ", 0.01)]
        engine.says(a=(*words, ...), b=(0.1, *words, ...), c=(0.2, *words, ...))
        run = kernel.run_and_interrupt("%%backend a b c\nhi", at_display(moment.randrange(1, 9)))
        assert run.stop is not None, f"interrupt {number} was lost"
        assert run.stop[0] == "KeyboardInterrupt"
        assert ["stopped" in one for one in columns(run.markdown[-1])] == [True] * 3
        assert kernel.run("1 + 1").result == "2"
    eventually(lambda: engine.stopped == len(engine.history))


async def test_an_interrupt_before_any_is_asked_ends_all():
    published = []
    shell = SimpleNamespace(display_pub=SimpleNamespace(publish=lambda data, **_: published.append(data)))
    options = parse("a b")
    several = MultiModelRun(
        SimpleNamespace(options=options, stream=lambda model: Chat(model, url="http://x.test").stream("hi"))
    )
    asking = asyncio.create_task(several.show(CellView(shell, "markdown", options.models), {}))
    await asyncio.sleep(0)  # it has begun, and none of those that it asks
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert ["stopped" in one for one in columns(published[-1]["text/markdown"])] == [True, True]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("o3 gpt-4o", r"the embedded backend has one model.*%backend url"),
        ("please", r"please may be a word of a text.*in quotes"),
        ("-p stop=the end", r'in quotes: -p "stop=the end"'),
    ],
)
async def test_the_embedded_backend_has_one_model_and_is_not_asked_for_words(line, reason):
    options = parse(line, trust_one=False)
    asked = SimpleNamespace(options=options, request=lambda model: Chat().request("hi", model=model))
    with pytest.raises(ValueError, match=reason):
        await check_models(asked)


@pytest.mark.parametrize("line", ["llama phi", "-p user=bob llama", "llama 'My Model'"])
async def test_a_server_that_is_not_reached_is_not_one_that_lists_no_models(wire_server, line):
    options = parse(line)
    wire_server.answer(status("401 Unauthorized", {"error": {"message": "wrong key"}}))
    for url, failure in ((wire_server.url, AuthError), ("http://127.0.0.1:9", ConnectionFailed)):
        chat = Chat(url=url)
        asked = SimpleNamespace(options=options, request=lambda name, chat=chat: chat.request("hi", model=name))
        with pytest.raises(failure):
            await check_models(asked)


@pytest.mark.parametrize(("line", "path"), [("a-1 b-1 --provider P", "/models/P"), ("a-1 b-1", "/models")])
async def test_the_list_is_that_of_the_service_that_is_named(wire_server, line, path):
    wire_server.answer(
        status("200 OK", [{"id": "a-1"}, {"id": "b-1"}] if "P" in line else {"Q": ["a-1"], "R": ["b-1"]})
    )
    options = parse(line)
    chat = Chat(url=wire_server.url)
    asked = SimpleNamespace(options=options, request=lambda name: chat.request("hi", model=name, **options.params))
    await check_models(asked)
    assert [request.path.removeprefix("/backend-api/v2") for request in wire_server.requests] == [path]
