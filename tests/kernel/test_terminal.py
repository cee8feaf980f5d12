"""``%%backend`` in terminal IPython and under nbconvert, papermill's way of running a notebook."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from types import SimpleNamespace

import nbformat
import pytest
from scripted_calls import results, tool_call

from nb_backend.chat.answer import Answer
from nb_backend.notebook.cell.notebook_view import CellView

pexpect = pytest.importorskip("pexpect", reason="no pseudo-terminals here")


@pytest.fixture
def encoding():
    return "utf-8"


@pytest.fixture
def terminal(server, engine, tmp_path, encoding):
    env = {**os.environ, **server.env, "IPYTHONDIR": str(tmp_path), "TERM": "dumb", "PYTHONIOENCODING": encoding}
    arguments = ["-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor", "--no-confirm-exit"]
    child = pexpect.spawn(sys.executable, arguments, env=env, encoding="utf-8", timeout=60)
    child.expect_exact("In [1]: ")
    child.sendline("%load_ext nb_backend")
    child.expect_exact("In [2]: ")
    yield child
    child.close(force=True)


def ask(terminal, *lines):
    for line in lines:
        terminal.sendline(line)
    terminal.sendline("")
    terminal.sendline("")  # IPython takes a cell magic for complete at the second


def test_the_answer_is_printed_as_it_comes(terminal, engine):
    engine.enqueue("What \x1b[31mcolour", " is it", ...)
    ask(terminal, "%%backend a-model", "Why is the sky {blue}?")
    terminal.expect_exact("colour is it")
    assert "\x1b[31mcolour" not in terminal.before
    terminal.sendintr()
    terminal.expect_exact("[stopped")
    terminal.expect_exact("In [3]: ")
    assert "KeyboardInterrupt" not in terminal.before  # the status line is enough
    assert engine.history[0]["messages"][0]["content"].strip() == "Why is the sky {blue}?"


def test_the_answer_is_the_value_and_not_shown_twice(terminal, engine):
    engine.enqueue("forty-two")
    ask(terminal, "%%backend", "hi")
    terminal.expect_exact("In [3]: ")
    assert terminal.before.count("forty-two") == 1
    assert "scripted, on this machine" in terminal.before
    assert "Out[" not in terminal.before
    terminal.sendline("_")
    terminal.expect_exact("Out[3]: forty-two")
    terminal.sendline("Out[2].tokens")
    terminal.expect_exact("Out[4]: 1")


def test_a_call_is_printed_and_asked_about(terminal, engine):
    terminal.sendline("from nb_backend.tools import Tool")
    terminal.sendline("t = Tool('drop', '', {'type': 'object'}, lambda **a: f'dropped {a}', approve=True)")
    terminal.expect_exact("In [4]: ")
    engine.enqueue("I will drop it.", tool_call("drop", row="\x1b[2K3\u202e"))
    engine.enqueue("Dropped.")
    ask(terminal, "%%backend -T t", "Drop row 3.")
    terminal.expect_exact("I will drop it.")
    terminal.expect_exact(
        "Let the model call drop (3 lines)? [y]es, [n]o, [a]lways in this session, or write why not: "
    )
    assert '\r\n      "row": "\\u001b[2K3[U+202E]"\r\n' in terminal.before  # indented: it looks like no line of ours
    terminal.sendline("y")
    terminal.expect_exact("Dropped.")
    terminal.expect_exact("In [5]: ")
    assert results(engine.history[-1]) == ["dropped {'row': '\\x1b[2K3\\u202e'}"]

    engine.enqueue("Again.", tool_call("drop", row=4))
    ask(terminal, "%%backend -T t", "Drop row 4.")
    terminal.expect_exact("write why not: ")
    terminal.sendintr()
    terminal.expect_exact("[stopped")
    terminal.expect_exact("In [6]: ")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_attachments_are_named(terminal, engine, encoding):
    engine.enqueue("dots")
    terminal.sendline("dots = __import__('numpy').eye(9, dtype=bool)")
    terminal.expect_exact("In [3]: ")
    ask(terminal, "%%backend -i dots", "What is it?")
    terminal.expect_exact("In [4]: ")
    assert f"[with dots.png (image/png, 9{'×' if encoding == 'utf-8' else '?'}9, 0.1 kB)]" in terminal.before
    assert "data:image" not in terminal.before
    ((uri, name),) = engine.history[0]["media"]
    assert (uri[:22], name) == ("data:image/png;base64,", "dots.png")


STEERING = (
    "\x1b[31mred \x1b]8;;https://evil.test\x07link\x1b]52;c;cHdu\x07 \x9b2J \x9d0;title\x9c "
    "\u202eevil \u200bhidden\x08\r"
)
STEERS = re.compile("[\x00-\x06\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u200b\u202e]|\x1b[^\\[]|\x1b\\[(?:31m|8m)|red \x1b")


def test_no_text_of_a_server_controls_the_terminal(terminal, engine):
    engine.enqueue(
        {"type": "provider", "provider": {"name": STEERING, "model": STEERING}},
        {"type": "reasoning", "token": STEERING},
        *STEERING,
        {"type": "finish", "finish": {"reason": STEERING}},
    )
    ask(terminal, "%%backend", "hi")
    terminal.expect_exact("In [3]: ")
    answered = terminal.before
    assert "[U+001B][31mred [U+001B]]8;;https://evil.test[U+0007]link" in answered
    terminal.sendline("_")
    terminal.expect_exact("In [4]: ")
    assert STEERS.findall(answered + terminal.before) == []


@pytest.mark.parametrize("format", ["markdown", "text", "json"])
def test_the_text_of_a_notebooks_output_does_not_control_a_console(format):
    published = []
    shell = SimpleNamespace(display_pub=SimpleNamespace(publish=lambda data, **_: published.append(data)))
    CellView(shell, format).finish(Answer(text=STEERING, provider={"label": STEERING}), failed=False)
    printed = published[-1]["text/plain"]
    assert printed.startswith("[U+001B][31mred [U+001B]]8;;https://evil.test[U+0007]link")
    assert "\x1b" not in printed
    assert STEERS.findall(printed) == []


def test_no_text_of_an_error_controls_the_terminal(terminal, engine):
    engine.enqueue("Half", {"type": "error", "error": STEERING, "message": STEERING})
    ask(terminal, "%%backend", "hi")
    terminal.expect_exact("In [3]: ")
    assert "[U+001B][31mred" in terminal.before
    assert STEERS.findall(terminal.before) == []


@pytest.mark.parametrize("encoding", ["ascii"])
def test_what_the_terminal_cannot_write_is_replaced(terminal, engine):
    engine.enqueue("caf\u00e9 ", "\U0001f600 au lait")
    ask(terminal, "%%backend", "hi")
    terminal.expect_exact("In [3]: ")
    assert "caf? ? au lait" in terminal.before
    assert "scripted, on this machine" in terminal.before


def test_a_name_of_several_lines_stays_in_its_line(terminal, engine):
    engine.enqueue({"type": "provider", "provider": {"name": "evil\n\nIn [9]: "}}, "fine")
    ask(terminal, "%%backend", "hi")
    terminal.expect_exact("In [3]: ")
    assert "[evil In [9]: " in terminal.before


def convert(tmp_path, server, *cells, timeout=None):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    path = tmp_path / "asked.ipynb"
    nbformat.write(notebook, path)
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace", str(path)]
    command += [] if timeout is None else [f"--ExecutePreprocessor.timeout={timeout}"]
    ended = subprocess.run(command, env={**os.environ, **server.env}, capture_output=True, text=True, check=False)
    return ended, nbformat.read(path, as_version=4)


def test_nbconvert_saves_the_answer(tmp_path, server, engine):
    engine.enqueue("An ", 0.2, "answer")
    ended, notebook = convert(tmp_path, server, "%load_ext nb_backend", "%%backend gpt-4o\nhi", "print(_.text)")
    assert ended.returncode == 0, ended.stderr
    (output,) = notebook.cells[1].outputs
    assert output.data["text/markdown"].startswith("An answer")
    assert output.metadata["nb_backend"]["provider"]["name"] == "scripted"
    assert notebook.cells[2].outputs[0].text == "An answer\n"


def test_nbconvert_saves_the_answer_in_an_output_widget(tmp_path, server, engine):
    """Voilà runs a notebook in the same way, and shows what an ``Output`` holds then."""
    ask = "get_ipython().run_cell_magic('backend', '', 'hi')"
    with_output = f"import ipywidgets\nout = ipywidgets.Output()\nwith out:\n    {ask}\nout"
    interact = f"@ipywidgets.interact(n=3)\ndef f(n):\n    return {ask}"
    for _ in range(6):
        engine.enqueue("An ", 0.2, "answer")
    for _ in range(3):  # nbclient may miss the reply of a cell while it reports an output of a widget, whoever shows it
        ended, notebook = convert(tmp_path, server, "%load_ext nb_backend", with_output, interact, timeout=20)
        if "CellTimeoutError" not in ended.stderr:
            break
    assert ended.returncode == 0, ended.stderr
    widgets = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"].state.values()
    outputs = [widget.state.outputs for widget in widgets if widget.model_name == "OutputModel"]
    assert [[one.data["text/markdown"].partition(",")[0] for one in shown] for shown in outputs] == [
        ["An answer\n\n<small>scripted"],
        ["An answer\n\n<small>scripted"],
    ]


def test_nbconvert_stops_at_a_failure(tmp_path, server, engine):
    engine.enqueue("Half", {"type": "error", "error": "Broken", "message": "the engine broke"})
    ended, _ = convert(tmp_path, server, "%load_ext nb_backend", "%%backend\nhi", "print('after')")
    assert ended.returncode != 0
    assert "the engine broke" in ended.stderr


def test_code_that_a_model_runs_changes_nothing_but_its_variables(terminal, engine):
    terminal.sendline("from nb_backend import chats; chats['main'].approve = 'always'")
    terminal.expect_exact("In [3]: ")
    code = "print('prin' + 'ted')\nfound_by_run = 6 * 7\ninput('who? ')"
    engine.enqueue(tool_call("run", code=code))
    engine.enqueue(tool_call("run", code="exit()"))
    engine.enqueue("It is known.")
    ask(terminal, "%%backend -T run", "Find it.")
    terminal.expect_exact("It is known.")
    terminal.expect_exact("In [4]: ")
    terminal.sendline("found_by_run")
    terminal.expect_exact("Out[4]: 42")
    found = results(engine.history[-1])
    assert found[0].startswith("printed\nEOFError: code that a model runs cannot ask for input")
    assert found[1].startswith("SystemExit: code that a model runs cannot end the kernel")
