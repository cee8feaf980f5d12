"""The fixtures themselves: a cell runs, is saved, survives a reload, stops, and changes the theme."""

from __future__ import annotations

from pathlib import Path

import pytest
from jupyter_page import Notebook


@pytest.fixture(scope="module")
def lab_env() -> dict[str, str]:
    return {"NB_BACKEND_MODEL": "from-the-test"}


def test_run_save_reload(nb: Notebook, tmp_path: Path) -> None:
    nb.open("import os; os.environ['NB_BACKEND_MODEL']", "6 * 7")
    nb.run(0)
    nb.run(1)
    assert "from-the-test" in nb.out(0)
    assert nb.save().cells[1].outputs[0].data["text/plain"] == "42"
    nb.reload()
    assert "42" in nb.out(1)
    nb.theme(dark=True)
    nb.screenshot(tmp_path / "dark.png")
    assert (tmp_path / "dark.png").stat().st_size > 5_000
    nb.theme(dark=False)


def test_interrupt(nb: Notebook) -> None:
    nb.open("print('started', flush=True); import time; time.sleep(60)", "'next'")
    nb.run(0, wait=False)
    nb.output(0).get_by_text("started").wait_for()
    nb.interrupt()
    nb.done(0)
    assert "KeyboardInterrupt" in nb.out(0)
    nb.run_all()
    nb.output(0).get_by_text("started").wait_for()
    nb.interrupt()
