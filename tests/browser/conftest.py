"""Fixtures for tests in a real JupyterLab in a real browser.

``nb`` is what a test asks for::

    def test_answer(nb):
        nb.open("1 + 1")
        nb.run(0)
        assert "2" in nb.out(0)

A module that wants variables in the kernels' environment overrides ``lab_env``. Playwright's
synchronous API keeps an event loop running, so no ``async`` test may stand in a module that uses these fixtures.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import chromium
import pytest
from jupyter_page import Lab, Notebook
from playwright.sync_api import Page, sync_playwright

NO_BROWSER = "NO BROWSER: no Chromium, Chrome or Edge was found; `python tests/browser/chromium.py` installs one"


@pytest.fixture(scope="session")
def browser_path() -> str:
    """The path of the browser. If there is none, skip the test with a message, or fail under CI."""
    path = chromium.find()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(NO_BROWSER)
        pytest.skip(NO_BROWSER)
    return path


@pytest.fixture(scope="module")
def lab_env() -> dict[str, str]:
    """More variables for the kernels' environment; override it in a module."""
    return {}


@pytest.fixture(scope="session")
def running_lab(browser_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The JupyterLab server of all modules, because starting one takes seconds of both cores."""
    with Lab(tmp_path_factory.mktemp("lab"), {}) as running:
        yield running


@pytest.fixture(scope="module")
def lab(running_lab: Lab, lab_env: dict[str, str]) -> Lab:
    """A JupyterLab server with the settings of a new one, whose kernels have the module's environment."""
    running_lab.reset(lab_env)
    return running_lab


@pytest.fixture(scope="module")
def page(browser_path: str) -> Iterator[Page]:
    """A page in a browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=list(chromium.FLAGS))
        yield browser.new_page(viewport={"width": 1200, "height": 900})
        browser.close()


@pytest.fixture
def nb(lab: Lab, page: Page) -> Iterator[Notebook]:
    """A notebook in the page; its kernel ends with the test."""
    notebook = Notebook(lab, page)
    yield notebook
    notebook.close()
