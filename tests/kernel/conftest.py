"""A kernel with the extension loaded, whose server is the scripted backend."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from driver import APART, Kernel, aside
from jupyter_client.manager import start_new_kernel
from serving import Backend, serving

from nb_backend.local.scripted import ScriptedEngine


@pytest.fixture(scope="module", params=["", "/v1"], ids=["BackendApi", "OpenAIApi"])
def either_server(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """A scripted server of each kind, for a module whose ``server`` it is."""
    with serving(ScriptedEngine(), request.param) as running:
        yield running


@pytest.fixture(scope="module")
def kernel(server: Backend) -> Iterator[Kernel]:
    env = {**os.environ, **server.env}
    manager, client = start_new_kernel(kernel_name="python3", env=env)
    kernel = Kernel(manager, client)
    assert kernel.run(f"%load_ext nb_backend\n{aside(APART)}").error is None
    yield kernel
    client.stop_channels()
    manager.shutdown_kernel(now=True)
