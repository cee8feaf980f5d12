"""A kernel with the extension loaded, and the scripted backend that it talks to."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from driver import Kernel
from jupyter_client.manager import start_new_kernel
from serving import Backend, serving

from nb_backend.local.engine import ScriptedEngine


@pytest.fixture(scope="module")
def server() -> Iterator[Backend]:
    with serving(ScriptedEngine()) as backend:
        yield backend


@pytest.fixture
def engine(server: Backend) -> ScriptedEngine:
    """The engine behind the kernel's backend, with nothing left over from another test."""
    server.engine.__init__()  # type: ignore[misc]
    return server.engine


@pytest.fixture(scope="module")
def kernel(server: Backend) -> Iterator[Kernel]:
    env = {**os.environ, **server.env}
    manager, client = start_new_kernel(kernel_name="python3", env=env)
    kernel = Kernel(manager, client)
    assert kernel.run("%load_ext nb_backend").error is None
    yield kernel
    client.stop_channels()
    manager.shutdown_kernel(now=True)
