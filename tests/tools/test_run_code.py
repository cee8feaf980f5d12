"""``run``: code runs in the user's shell and leaves nothing but its variables."""

from __future__ import annotations

import asyncio
import builtins
import getpass
import io
import os
import signal
import sys
import threading
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell

from nb_backend import tools
from nb_backend.text import counted
from nb_backend.tools.captured import MAX_IMAGES, MAX_TEXT, CutText
from nb_backend.tools.tool import ToolFailed

PNG = "bytes.fromhex('{}')".format(
    "89504e470d0a1a0a0000000d49484452000000010000000108020000009077"
    "53de0000000c4944415408d763f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def shell():
    shell = InteractiveShell.instance()
    yield shell
    InteractiveShell.clear_instance()


@pytest.fixture
def run(shell):
    return lambda code: asyncio.run(tools.run(code))


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("print('hello'); x_of_run = 3\nx_of_run + 1", "hello\nOut: 4"),
        ("import sys\nprint('late', file=sys.stderr)", "late"),
        ("x_of_run", "Out: 3"),
        ("x_of_run;", "(it ran without an error and shows nothing)"),
        ("", "(it ran without an error and shows nothing)"),
        ("y = 1\n1 / 0", "ZeroDivisionError: division by zero (line 2)"),
        ("def f():\n    raise ValueError('no')\nprint(1)\nf()", "1\nValueError: no (line 2)"),
        ("x = )", "SyntaxError: unmatched ')' (line 1)"),
        ("import sys\nsys.exit(3)", "SystemExit: 3 (line 2)"),
        ("from IPython.display import display\ndisplay({'a': 1})", "{'a': 1}"),
        ("from IPython.display import *\ndisplay(HTML('<b>5</b>'), Markdown('# Hi'))", "5\n# Hi"),
        ("%%capture out\nprint(1)", "(it ran without an error and shows nothing)"),
        ("import asyncio\nawait asyncio.sleep(0)\nprint(1)\nawait asyncio.sleep(0, 'x')", "1\nOut: 'x'"),
        ("import sys\nsys.displayhook(7)", "Out: 7"),
        ("%no_such_magic", "UsageError: Line magic function `%no_such_magic` not found. (line 1)"),
    ],
)
def test_it_returns_what_a_cell_would_show(run, code, shown):
    assert run(code) == shown


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("input('name? ')", "EOFError: code that a model runs cannot ask for input: write the value into the code"),
        ("import getpass\ngetpass.getpass()", "EOFError: code that a model runs cannot ask for input"),
        ("import sys\nprint(repr(sys.stdin.read()))", "''"),
        ("import sys\nsys.stdout.close()\nprint('on')", "on"),
        ("import os\nos.close(1)\nprint('on')", "on"),
        ("import sys, io\nsys.stdout = io.StringIO()\nprint('lost')", "(it ran"),
        ("import sys\nsys.stdout = None\nsys.displayhook = None\nget_ipython().display_pub = None", "(it ran"),
        ("import builtins, getpass\nbuiltins.input = getpass.getpass = lambda *_: 'always'", "(it ran"),
        ("class E(Exception):\n    def __str__(self): raise SystemExit\nraise E", "E (line 3)"),
        ("raise BaseException('x' * 10**7)", "BaseException: xxx"),
        ("import threading\nt = threading.Thread(target=print, args=['from a thread'])\nt.start(); t.join()", "from a"),
        ("import logging\nlog = logging.StreamHandler()\nlog.stream.write('logged')\n1", "loggedOut: 1"),
        ("import nb_backend\nnb_backend.Chat('x')('hi')", "RuntimeError: code that a model runs cannot ask a model"),
        ("import nb_backend\nawait nb_backend.Chat('x').stream('hi').drain()", "RuntimeError: code that a model runs"),
        ("get_ipython().run_cell('raise KeyError(1)')\n2", "KeyError: 1\nOut: 2"),
        ("%time 1 / 0", "CPU times: "),
        ("exit()", "SystemExit: code that a model runs cannot end the kernel"),
    ],
)
def test_hostile_code_changes_nothing(run, shell, capfd, code, shown):
    def state():
        hooks = (sys.stdout, sys.stderr, sys.stdin, sys.displayhook, builtins.input, getpass.getpass)
        now = (shell.execution_count, len(shell.user_ns["In"]), shell.user_ns["Out"], shell.user_ns["_"])
        return hooks, now, vars(shell).keys(), vars(shell.display_pub).keys(), shell.display_pub

    before = state()
    found = run(code)
    assert found.replace("\n\n", "\n").startswith(shown), found
    assert len(found) < 1_000
    assert [now is one or now == one for now, one in zip(state(), before, strict=True)] == [True] * 5
    assert capfd.readouterr() == ("", "")
    os.fstat(1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_ends_with_the_code(run):
    assert run("import os\nchild = os.fork()\nif child: print(os.waitpid(child, 0)[1])") == "0"
    assert "division" not in run("import os\nchild = os.fork()\nif not child: 1 / 0\nos.waitpid(child, 0);")


def test_an_interrupt_ends_it(run, shell):
    stdout = sys.stdout
    for code in ("interrupt(); wait()", "import asyncio\ninterrupt(soon=True)\nawait asyncio.sleep(99)"):
        shell.user_ns["wait"] = threading.Event().wait

        def interrupt(soon: bool = False) -> None:
            me = threading.main_thread().ident
            act = threading.Timer(0.05, signal.pthread_kill, (me, signal.SIGINT)) if soon else None
            act.start() if act else signal.raise_signal(signal.SIGINT)

        shell.user_ns["interrupt"] = interrupt
        with pytest.raises((KeyboardInterrupt, asyncio.CancelledError)):
            run(code)
        assert sys.stdout is stdout
    assert run("1") == "Out: 1"


def test_much_output_is_cut_in_its_middle_while_it_runs(run):
    found = run("print('begin')\nfor number in range(100_000): print(number)\nprint('end')")
    assert found.startswith("begin\n0\n1\n")
    assert found.endswith("\n99999\nend")
    assert "characters left out" in found
    assert len(found) < MAX_TEXT + 100


def test_pictures_are_attached_up_to_a_limit(run):
    text, *images = run(f"from IPython.display import Image, display\ndisplay(Image({PNG}))\ndisplay(Image({PNG}))\n1")
    assert text == "Out: 1"
    assert [one.media_type for one in images] == ["image/png"]
    code = "\n".join(
        [
            "from IPython.display import Image, display",
            f"for number in range(1000): display(Image({PNG} + number.to_bytes(4, 'big')))",
        ]
    )
    text, *images = run(code)
    assert len(images) == MAX_IMAGES
    assert "992 more pictures left out" in text


def test_what_goes_on_afterwards_shows_where_it_always_shows(run, shell, monkeypatch):
    monkeypatch.setattr(sys, "stdout", shown := io.StringIO())
    assert run("import sys\nheld = sys.stdout").startswith("(it ran")
    print("later", file=shell.user_ns["held"])
    assert shown.getvalue() == "later\n"


def test_keys_are_masked(run, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "zq8-very-secret-value")
    assert run("import os\nprint(os.environ['SOME_API_KEY'])") == "***"


def test_a_call_waits_for_the_thread_of_the_user(run, shell):
    from nb_backend import background

    shell.user_ns["threading"] = threading
    assert background.run(tools.run("threading.current_thread() is threading.main_thread()")) == "Out: True"


def test_in_the_panel_it_runs_once_no_cell_runs(run, shell):
    """The panel sets ``background.user_thread``; here a loop of its own stands for the kernel's."""
    from nb_backend import background
    from nb_backend.notebook.panel.between_cells import BetweenCells

    ran: list[str] = []

    async def main() -> str:
        here = asyncio.get_running_loop()
        asked = threading.Event()

        def add_callback(callback):
            here.call_soon_threadsafe(callback)
            asked.set()

        kernel = SimpleNamespace(io_loop=SimpleNamespace(add_callback=add_callback))
        events = SimpleNamespace(register=lambda *_: None)
        cells = BetweenCells(SimpleNamespace(kernel=kernel, events=events))
        cell = SimpleNamespace(info=object())
        cells._begin(cell.info)

        async def work() -> str:
            background.user_thread.set(cells.run)
            return await tools.run("note('ran')\nimport threading; threading.current_thread().name")

        answer = asyncio.wrap_future(background.Job(work()).future)
        await asyncio.to_thread(asked.wait, 10)
        ran.append("cell ends")
        cells._end(cell)
        return await answer

    shell.user_ns["note"] = ran.append
    assert asyncio.run(main()) == "Out: 'MainThread'"
    assert ran == ["cell ends", "ran"]


def test_where_no_thread_waits_it_says_so(shell):
    from nb_backend import background

    for work in (tools.run("1"), tools.cells()):
        with pytest.raises(ToolFailed, match="only while a cell"):
            background.Job(work).future.result(10)


def test_without_ipython_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", None)
    with pytest.raises(ToolFailed, match="need IPython"):
        asyncio.run(tools.run("1"))


@given(st.lists(st.text("ab", max_size=40)), st.integers(2, 30))
def test_a_cut_text_has_the_beginning_and_the_end(parts, limit):
    text, whole, half = CutText(limit), "".join(parts), limit // 2
    for part in parts:
        text.add(part)
    left_out = len(whole) - 2 * half
    note = f"\n[… {counted(left_out, 'character')} left out]\n"
    assert str(text) == (f"{whole[:half]}{note}{whole[-half:]}" if left_out > 0 else whole)
