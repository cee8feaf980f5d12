"""A kernel with the extension loaded, that talks to the scripted backend."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from driver import Kernel
from jupyter_client.manager import start_new_kernel
from serving import Backend


@pytest.fixture(scope="module")
def kernel(server: Backend) -> Iterator[Kernel]:
    env = {**os.environ, **server.env}
    manager, client = start_new_kernel(kernel_name="python3", env=env)
    kernel = Kernel(manager, client)
    assert kernel.run("%load_ext nb_backend").error is None
    yield kernel
    client.stop_channels()
    manager.shutdown_kernel(now=True)
