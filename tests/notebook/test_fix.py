"""The prompt of ``%backend fix``: what it contains, and what it never contains."""

from __future__ import annotations

import asyncio
import re
import string
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell

from nb_backend import settings
from nb_backend.errors import TimedOut
from nb_backend.notebook.magic.fix import LONGEST_TRACEBACK, LastFailure
from nb_backend.tools.type_summary import type_summary

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*sqlite:ResourceWarning")
secrets = st.text(string.ascii_letters + string.digits + "-_'\"\\/+", min_size=12, max_size=40)


class Notebook:
    """A shell whose failures are recorded."""

    def __init__(self) -> None:
        self.shell = InteractiveShell()
        self.shell.showtraceback = self.shell.showsyntaxerror = lambda *_, **__: None
        self.failure = LastFailure()

    def run(self, *cells: str) -> None:
        for cell in cells:
            self.failure.note(self.shell.run_cell(cell))

    def ask(self, *cells: str) -> str:
        self.run(*cells)
        return self.failure.prompt(self.shell)


@pytest.fixture(scope="module")
def notebook():
    made = Notebook()
    yield made
    made.shell.history_manager.end_session()


def test_the_prompt(notebook):
    question = notebook.ask("def half(x, by=[1]):\n    rows = [1, 'hidden']\n    return rows[0] / x", "n = 0\nhalf(n)")
    assert "```python\nn = 0\nhalf(n)\n```" in question
    assert "-->    3     return rows[0] / x\nZeroDivisionError: division by zero\n```" in question
    assert "half: function half(x, by=…)\nn: int" in question
    assert "x: int\nby: list of 1 item: int\nrows: list of 2 items: int, str" in question
    assert "IPython" not in question


def test_syntax_errors_have_a_caret(notebook):
    question = notebook.ask("known = 1", "y = known\nx y")
    assert re.search(r"line 2\n +x y\n +\^", question)
    assert "known: int" in question
    assert "ipython-input" not in question


def test_the_body_of_a_timed_cell(notebook):
    question = notebook.ask("b = 1", "%%time\n\nc = 2\nb / 0")
    assert "```python\n%%time\n\nc = 2\nb / 0\n```" in question
    assert "-->    2 b / 0\nZeroDivisionError" in question
    assert "\nb: int" in question


def test_causes_notes_and_groups(notebook):
    question = notebook.ask(
        "try:\n    {}['a']\nexcept KeyError as e:\n    new = ValueError('b')\n"
        "    new.add_note('c')\n    raise new from e"
    )
    assert re.search(r"KeyError: 'a'\n\nThe above .* direct cause [\s\S]*ValueError: b\nc\n", question)
    question = notebook.ask("raise ExceptionGroup('g', [ValueError('a'), TypeError('b')])")
    assert "2 of the 2 in this group:\n    TypeError: b" in question


def test_it_is_bounded_and_keeps_the_end(notebook):
    question = notebook.ask("def r(n):\n    return r(n + 1)\nr(1)")
    assert len(question) < 3000
    assert "frames left out" in question
    assert "RecursionError" in question
    long = "\n".join(f"    x{n} = 1 # {'-' * 250}" for n in range(900))
    question = notebook.ask(f"def f():\n{long}\n    raise ValueError('m' * 10**6 + 'end')\nf()")
    assert "characters left out]" in question
    assert "mend" in question
    chain = "error = None\nfor n in range(9):\n    try:\n        raise ValueError('m' * 1500 + f'end {n}') from error\n"
    question = notebook.ask(f"{chain}    except ValueError as e:\n        error = e\nraise error")
    assert "mend 8" in question
    assert "mend 1" not in question
    assert "the beginning is left out" in question
    assert len(question) < LONGEST_TRACEBACK + 20_000


def test_fences_are_longer_than_those_inside(notebook):
    assert "````python\nx = '```'\n1 / 0\n````\n" in notebook.ask("x = '```'\n1 / 0")


def test_a_library_shows_its_innermost_frames(notebook):
    pytest.importorskip("pandas")
    question = notebook.ask(
        "import pandas as pd\ndf = pd.DataFrame({'price': [987654], 'name': ['hidden']})", "df['pirce'] + pd.NA"
    )
    assert "get_loc" in question
    assert "KeyError: 'pirce'" in question
    assert "df: pandas.DataFrame, 1 row × 2 columns, index RangeIndex: 'price' int64, 'name' " in question
    assert "pd: module pandas" in question
    assert not re.search("hidden|987654", question)


@pytest.mark.parametrize(
    "error", [TimedOut("x"), UsageError("x"), KeyboardInterrupt(), asyncio.CancelledError(), None], ids=repr
)
def test_only_failures_of_the_users_code_are_recorded(notebook, error):
    notebook.run("user / 0")
    before = notebook.failure.error
    notebook.failure.note(SimpleNamespace(error_before_exec=None, error_in_exec=error, info=None))
    notebook.failure.note(None)
    notebook.run("1 + 1")
    assert notebook.failure.error is before
    assert "user / 0" in notebook.failure.prompt(notebook.shell)


def test_without_a_recorded_failure_the_last_exception_is_used(notebook, monkeypatch):
    notebook.run("late = 1\nlate / 0")
    monkeypatch.setattr(sys, "last_value", notebook.failure.error, raising=False)
    assert "```python\nlate = 1\nlate / 0\n```" in LastFailure().prompt(notebook.shell)
    for none in (None, TimedOut("x")):
        monkeypatch.setattr(sys, "last_value", none)
        with pytest.raises(ValueError, match="no exception to fix: first run the cell"):
            LastFailure().prompt(notebook.shell)


@hypothesis_settings(deadline=None, max_examples=40)
@given(secrets, st.sampled_from(["variable", "environment", "key", "local"]))
def test_a_known_secret_is_nowhere_in_the_prompt(notebook, secret, place):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "current", settings.Settings(api_key=secret if place == "key" else None))
        if place == "environment":
            patch.setenv("MY_API_KEY", secret)
        notebook.shell.user_ns.pop("api_key", None)
        if place == "variable":
            notebook.shell.user_ns["api_key"] = secret
        name = "password" if place == "local" else "text"
        cell = (
            f"given = {secret!r}\ndef f(password):\n    try:\n        {{}}[password]\n    except KeyError as e:\n"
            "        new = ValueError('bad ' + password)\n        new.add_note('for ' + password)\n"
            "        raise new from e\nf(given)"
        )
        question = notebook.ask(cell.replace("password", name))
    assert secret not in question
    assert repr(secret)[1:-1] not in question
    assert "***" in question


def test_a_secret_of_several_lines_is_not_in_the_lines_around(notebook):
    question = notebook.ask('def f():\n    password = """\n    abcd\n    efgh\n\n\n    """\n    return 1 / 0', "f()")
    assert not re.search("abcd|efgh", question)
    assert "-->    8     return 1 / 0" in question


class Hostile(list):
    def __len__(self):
        raise RuntimeError

    def __iter__(self):
        raise RuntimeError

    def __getattribute__(self, name):
        pytest.fail(name)

    __repr__ = __str__ = __len__


async def wait(a, *b, c=Hostile):
    """Nothing."""


@pytest.mark.parametrize(
    ("value", "summary"),
    [
        (None, "NoneType"),
        (7, "int"),
        ("hidden", "str of 6 characters"),
        ({"hidden": 1, 2: None}, "dict of 2 items: str, int → int, NoneType"),
        ({n: n for n in range(10**5)}, "dict of 100,000 items: int → int, …"),
        ((), "tuple of 0 items"),
        (sys, "module sys"),
        (len, "function len"),
        (wait, "async function wait(a, *b, c=…)"),
        (Hostile, "class test_fix.Hostile"),
        (range(3), "range"),
    ],
)
def test_type_summaries(value, summary):
    assert type_summary(value) == summary


def test_no_code_of_the_users_classes_runs():
    value = Hostile()
    list.append(value, 1)
    assert type_summary(value) == "test_fix.Hostile of 1 item: int"


def test_type_summaries_of_arrays():
    np = pytest.importorskip("numpy")
    assert type_summary(np.zeros((3, 4))) == "numpy.ndarray, shape (3, 4), float64"
    pd = pytest.importorskip("pandas")
    assert type_summary(pd.Series([1, 2])) == "pandas.Series, 2 values, int64, index RangeIndex"
    wide = type_summary(pd.DataFrame({f"c{n}": [1] for n in range(50)}))
    assert wide.endswith("'c29' int64, … 20 more")
