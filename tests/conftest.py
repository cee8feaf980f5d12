"""What the tests share: a clean environment, a raw server, a scripted backend, aioresponses mended."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from itertools import zip_longest
from typing import Any
from unittest.mock import Mock

import aiohttp
import hypothesis
import local_support
import pytest
from aiohttp import ClientResponse
from aioresponses import aioresponses
from image_serving import ImageServer, serving_images
from llama_server import llama_server as llama_server
from serving import Backend, serving
from wire_server import WireServer

from nb_backend import BackendApi, settings
from nb_backend.local.scripted import ScriptedEngine
from nb_backend.providers import base
from nb_backend.providers import catalog as models
from nb_backend.services import SERVICES

# How long an example takes says nothing on a machine with much else to do.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

# A shell starts what runs in the background with SIGINT ignored, nohup with SIGHUP; child processes inherit that.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (getattr(signal, "SIGHUP", None), signal.SIG_DFL)):
    if number is not None and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.null.Keyring"  # of kernels

LONG = (
    "browser",
    "test_notebooks",
    "test_fuzz",
    "test_nothing_left_behind",
    "test_map_failing",
    "test_process",
    "test_html",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take long first, by turns with others: workers end together, and few browsers run at once."""
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    long = [name for name in files if any(part in name for part in LONG)]
    short = [name for name in files if name not in long]
    turns = [name for pair in zip_longest(long, short) for name in pair if name is not None]
    items[:] = [item for name in turns for item in files[name]]


def _is_a_setting(name: str) -> bool:
    """Whether an environment variable is ours, or has a key or a url of a service."""
    ours = ("NB_BACKEND_", "G4F_", "AZURE_OPENAI_", "OPENAI_API_")
    return name.startswith(ours) or any(name in (*one.keys, one.url_variable) for one in SERVICES.values())


@pytest.fixture(scope="session", autouse=True)
def _environment_of_the_developer() -> Iterator[None]:
    """Neither tests nor the kernels that a module starts see the developer's keys, urls and other settings."""
    with pytest.MonkeyPatch.context() as patch:
        for name in filter(_is_a_setting, list(os.environ)):
            patch.delenv(name)
        patch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")  # for the kernels, if it is installed
        yield


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees what another one has set, nor a proxy."""
    for name in list(os.environ):
        if _is_a_setting(name) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(settings, "current", settings.Settings())
    monkeypatch.setitem(sys.modules, "keyring", None)  # the developer's is not asked
    monkeypatch.setattr(models, "_lists", {})
    monkeypatch.setattr(models, "_pending", {})


@pytest.fixture
def wire_server() -> Iterator[WireServer]:
    server = WireServer()
    yield server
    server.stop()


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """A backend that answers what the test enqueues; the settings lead to it."""
    with serving(ScriptedEngine()) as server:
        server.is_set(monkeypatch)
        yield server


@pytest.fixture
def image_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ImageServer]:
    """A backend that keeps images; the settings lead to it."""
    with serving_images(ScriptedEngine()) as running:
        running.is_set(monkeypatch)
        yield running


@pytest.fixture(scope="module")
def server() -> Iterator[Backend]:
    """A scripted backend for a module's kernel or browser; ``env`` leads another process to it."""
    with serving(ScriptedEngine()) as running:
        yield running


@pytest.fixture
def engine(server: Backend) -> ScriptedEngine:
    """The engine behind the module's server, with nothing left over from another test."""
    vars(server.engine).clear()
    server.engine.__init__()  # type: ignore[misc]
    return server.engine


@pytest.fixture
async def client(engine: ScriptedEngine) -> AsyncIterator[aiohttp.ClientSession]:
    """Who asks the embedded backend's application, with the token; a module says with which ``engine``."""
    async with local_support.serving(engine) as url:
        headers = {"Authorization": f"Bearer {local_support.TOKEN}"}
        async with aiohttp.ClientSession(url, headers=headers) as session:
            yield session


@pytest.fixture
def _nothing_goes_wrong_unseen(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What a server would only log, fails the test."""
    yield
    assert [record for record in caplog.get_records("call") if record.levelno >= logging.WARNING] == []


@pytest.fixture
def mocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses]:
    """aioresponses, with the argument that aiohttp >= 3.14 asks for and 0.7.9 does not give (its issue 289)."""
    make = ClientResponse.__init__

    def init(self: ClientResponse, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **{"stream_writer": Mock(), **kwargs})

    monkeypatch.setattr(ClientResponse, "__init__", init)
    with aioresponses() as mock:
        yield mock


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits before retries, which then take no time."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(base.asyncio, "sleep", sleep)
    return waits


@pytest.fixture
def api(wire_server: WireServer, delays: list[float]) -> type[BackendApi]:
    """A provider that asks the raw server."""
    return type("Api", (BackendApi,), {"url": wire_server.url, "idle_timeout": 5})
