"""A JupyterLab server, and a notebook open in a page of it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import nbformat
from playwright.sync_api import Locator, Page

DIRECTORIES = (
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTER_RUNTIME_DIR",
    "IPYTHONDIR",
    "JUPYTERLAB_SETTINGS_DIR",
    "JUPYTERLAB_WORKSPACES_DIR",
)
SETTINGS: dict[str, dict[str, Any]] = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},  # no pop-up
    "notebook-extension/tracker": {"windowingMode": "none"},  # all cells are in the page, also those outside the view
}
KERNELSPEC = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
PANEL = "jupyterapp.shell.currentWidget"
READY = f"""() => {{
    const panel = window.jupyterapp && {PANEL}, kernel = panel?.context?.sessionContext?.session?.kernel;
    const idle = kernel?.status === 'idle' && kernel.connectionStatus === 'connected';
    return idle && document.querySelector('.jp-Notebook .jp-Cell');
}}"""
RUN = f"""i => {{
    const runs = (window.nbRuns ??= {{}}), notebook = {PANEL}.content;
    notebook.activeCellIndex = i; notebook.deselectAll(); runs[i] = 'running';
    jupyterapp.commands.execute('notebook:run-cell').finally(() => {{ runs[i] = 'done'; }});
}}"""
DONE = f"""i => {{
    const model = {PANEL}.content.widgets[i].model;
    return window.nbRuns?.[i] !== 'running' && model.executionCount !== null && model.executionState !== 'running';
}}"""
# A page that has loaded JupyterLab opens another notebook in a fifth of the CPU time that loading takes.
OPEN = """async path => {
    window.nbRuns = {};
    await jupyterapp.commands.execute('docmanager:open', { path, factory: 'Notebook' });
}"""
CLOSE = f"""async () => {{
    await {PANEL}?.context?.sessionContext.shutdown();
    for (const widget of [...jupyterapp.shell.widgets('main')]) widget.dispose();
    return !document.querySelector('.jp-Dialog');
}}"""
START_SECONDS = 60


class Lab:
    """A JupyterLab server on a free port, with its own directories and settings under ``home``."""

    def __init__(self, home: Path, env: dict[str, str]) -> None:
        self.root = home / "work"
        self.log = home / "lab.log"
        self.token = secrets.token_hex(8)
        self.env = {**os.environ, **{name: str(home / name) for name in DIRECTORIES}, **env}
        self.env["JUPYTER_PATH"] = self.env["JUPYTER_DATA_DIR"]  # searched before the virtual environment
        for path in (self.root, *(home / name for name in DIRECTORIES)):
            path.mkdir()
        self._home = home
        self.reset({})

    def reset(self, kernel_env: dict[str, str]) -> None:
        """Reset settings and workspaces to those of a new server, and set the environment of new kernels."""
        for folder in ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"):
            shutil.rmtree(self._home / folder)
            (self._home / folder).mkdir()
        for name, settings in SETTINGS.items():
            file = self._home / "JUPYTERLAB_SETTINGS_DIR/@jupyterlab" / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True)
            file.write_text(json.dumps(settings))
        # The specification of a kernel is read at each start.
        spec = {"argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], "env": kernel_env}
        spec |= {"display_name": "Python 3", "language": "python", "metadata": {"debugger": True}}
        file = self._home / "JUPYTER_DATA_DIR/kernels/python3/kernel.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(spec))

    def __enter__(self) -> Self:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
        command += [f"--port={self.url.rpartition(':')[2]}", "--ServerApp.port_retries=0"]
        command += [f"--IdentityProvider.token={self.token}", f"--ServerApp.root_dir={self.root}"]
        command += ["--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly"]
        command += ["--JupyterNotebookApp.expose_app_in_browser=True"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log)
        self._wait_until_it_answers()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/api?token={self.token}", timeout=1).close()
                return
            except OSError:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, f"JupyterLab is silent\n{self.log.read_text()}"
                time.sleep(0.1)

    def address(self, name: str) -> str:
        """Return the address of a page that shows only this notebook under ``root``."""
        return f"{self.url}/doc/tree/{name}?token={self.token}"

    def of_a_stranger(self, path: Path, cells: Iterable[int]) -> Path:
        """Write some cells of a notebook as another one, which is not trusted."""
        notebook = json.loads(path.read_text())
        notebook["cells"] = [notebook["cells"][i] for i in cells]
        copy = self.root / f"of-a-stranger-{path.name}"
        copy.write_text(json.dumps(notebook))
        return copy


class Notebook:
    """A notebook in a page. Cells are counted from 0; times are in milliseconds, as in Playwright."""

    names = count()

    def __init__(self, lab: Lab, page: Page) -> None:
        self.lab = lab
        self.page = page
        self.path: Path | None = None

    def open(self, *cells: str, name: str | None = None) -> None:
        """Write a notebook of these code cells and open it; returns when its kernel is idle."""
        self.close()
        self.path = self.lab.root / (name or f"notebook-{next(self.names)}.ipynb")
        code = [nbformat.v4.new_code_cell(cell) for cell in cells]
        nbformat.write(nbformat.v4.new_notebook(cells=code, metadata=KERNELSPEC), self.path)
        if self._is_loaded():
            self.page.evaluate(OPEN, self.path.name)
        else:
            self.page.goto(self.lab.address(self.path.name))
        self.page.wait_for_function(READY, timeout=60_000)

    def reload(self) -> None:
        """Load the page again; returns when the kernel, which stays the same, is idle."""
        self.page.reload()
        self.page.wait_for_function(READY, timeout=60_000)

    def close(self) -> None:
        """End the kernel without saving the notebook, and close what the page shows."""
        if self.path is not None:
            is_empty = self.page.evaluate(CLOSE)
            if not (is_empty and self._is_loaded()):
                self.page.goto("about:blank")
            self.path = None

    def _is_loaded(self) -> bool:
        """Whether the page is that of ``address``, in which another notebook can be opened."""
        return self.page.url.startswith(f"{self.lab.url}/doc")

    def run(self, i: int, *, wait: bool = True) -> None:
        """Run a cell as Shift+Enter does, and wait for its end unless ``wait`` is false."""
        self.page.evaluate(RUN, i)
        if wait:
            self.done(i)

    def run_all(self) -> None:
        """Start all cells, as the menu does, without waiting; ``done`` waits for one."""
        self.page.evaluate("() => { jupyterapp.commands.execute('notebook:run-all-cells'); }")

    def done(self, i: int, timeout: float = 30_000) -> None:
        """Wait until a cell that was started has ended."""
        self.page.wait_for_function(DONE, arg=i, timeout=timeout)

    def interrupt(self) -> None:
        """Press the ■ button of the toolbar."""
        self.page.evaluate("() => { jupyterapp.commands.execute('notebook:interrupt-kernel'); }")

    def cell(self, i: int) -> Locator:
        """Return a cell's element: prompt, source and output."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(i)

    def output(self, i: int) -> Locator:
        """Return the element of a cell's outputs."""
        return self.cell(i).locator(".jp-Cell-outputArea")

    def out(self, i: int) -> str:
        """Return the visible text of a cell's outputs."""
        return self.output(i).inner_text()

    def save(self) -> nbformat.NotebookNode:
        """Save the notebook and return it as read from disk."""
        assert self.path is not None, "open a notebook first"
        self.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
        self.page.wait_for_function(f"() => !{PANEL}.context.model.dirty")
        return nbformat.read(self.path, as_version=4)

    def theme(self, *, dark: bool) -> None:
        """Change to JupyterLab's dark or light theme."""
        name = "JupyterLab Dark" if dark else "JupyterLab Light"
        self.page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", name)
        light = "false" if dark else "true"
        self.page.wait_for_selector(f'body[data-jp-theme-light="{light}"]', state="attached")

    def screenshot(self, path: str | Path) -> None:
        """Write a PNG of the page."""
        self.page.screenshot(path=path)
