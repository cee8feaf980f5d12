"""The real server of llama.cpp with the embedded model, which speaks three dialects; one for each worker of a run."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from local_support import real_weights
from tool_template import TEMPLATE

CONTEXT = 2048  # tokens


@pytest.fixture(scope="session")
def llama_server() -> Iterator[str]:
    """The server's address, without a path: it answers below ``/v1``. Its model takes no images."""
    xllamacpp = pytest.importorskip("xllamacpp", exc_type=ImportError)
    try:
        weights = real_weights()
    except subprocess.CalledProcessError:
        pytest.skip("the model's file cannot be fetched")
    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.n_ctx = CONTEXT
    params.chat_template = TEMPLATE
    params.n_parallel = 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1  # several wait for each other on a busy machine
    params.warmup = False
    params.verbosity = -1
    server: Any = xllamacpp.Server(params)
    yield server.listening_address
    del server
