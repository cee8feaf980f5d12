"""``%config BackendMagics``: the url and the model, set where IPython's own settings are; never the key."""

from __future__ import annotations

import os

import pytest
from driver import Kernel, one_line
from jupyter_client.manager import start_new_kernel
from serving import TOKEN


@pytest.fixture(autouse=True)
def unset(kernel):
    yield
    kernel.run("%config BackendMagics.url = None")
    kernel.run("%config BackendMagics.model = None")


def asked(kernel, engine, cell):
    assert kernel.run(cell).error is None
    return engine.history[-1].get("model", "")


def test_the_model_for_cells_that_name_none(kernel, engine):
    kernel.run("%config BackendMagics.model = 'from-config'")
    assert asked(kernel, engine, "%%backend\nhi") == "from-config"
    assert asked(kernel, engine, "%%backend named\nhi") == "named"
    kernel.run("names = ['from-a-variable']\n%config BackendMagics.model = names[0]")
    assert asked(kernel, engine, "%%backend\nhi") == "from-a-variable"
    kernel.run("%config BackendMagics.model = f\"{'from'}-config\"")
    kernel.run("%reload_ext nb_backend")
    assert kernel.run("%config BackendMagics.model").result == "'from-config'"
    assert asked(kernel, engine, "%%backend\nhi") == "from-config"
    kernel.run("%config BackendMagics.model = None")
    assert asked(kernel, engine, "%%backend\nhi") == ""
    kernel.run("import nb_backend.settings; nb_backend.settings.current.model = 'set elsewhere'")
    assert kernel.run("%config BackendMagics.model").result == "'set elsewhere'"


def test_the_url_goes_before_the_environment_and_is_checked(kernel, engine, server):
    kernel.run("import os; before = os.environ.pop('NB_BACKEND_URL')")
    try:
        kernel.run(f"%config BackendMagics.url = '{server.url}'")
        assert asked(kernel, engine, "%%backend\nhi") == ""
    finally:
        kernel.run("os.environ['NB_BACKEND_URL'] = before")
    assert "http://localhost:8080" in kernel.run("%config BackendMagics.url = 'localhost'").printed
    assert kernel.run("%config BackendMagics.url").result == f"'{server.url}'"


def test_the_aliases(kernel, engine):
    kernel.run("%config BackendMagics.aliases = {'small': 'llama3.2:1b'}")
    assert asked(kernel, engine, "%%backend small\nhi") == "llama3.2:1b"
    kernel.run("%backend alias big llama3.3")
    assert kernel.run("%config BackendMagics.aliases").result == "{'small': 'llama3.2:1b', 'big': 'llama3.3'}"
    assert "BackendMagics" in kernel.run("%config BackendMagics.aliases = 7").printed
    kernel.run("%config BackendMagics.aliases = {}")
    assert asked(kernel, engine, "%%backend small\nhi") == "small"


def test_the_idle_timeout_of_cells(kernel, engine):
    refused = kernel.run("%%backend -p idle_timeout=600\nhi")
    one_line(refused, "idle_timeout is not a parameter: use %config BackendMagics.idle_timeout = SECONDS")
    kernel.run("%config BackendMagics.idle_timeout = 600")
    assert asked(kernel, engine, "%%backend m\nhi") == "m"
    assert "timeout" not in str(engine.history[-1])
    kernel.run("import nb_backend; timeout = nb_backend.Chat().request('hi').provider.idle_timeout")
    assert kernel.run("timeout").result == "600.0"
    assert "above 0" in kernel.run("%config BackendMagics.idle_timeout = 0").printed
    kernel.run("%config BackendMagics.idle_timeout = None")


def test_the_key_is_not_shown(kernel):
    kernel.run(f"import nb_backend.settings; nb_backend.settings.current.api_key = '{TOKEN}'")
    shown = kernel.run("%config BackendMagics").printed
    kernel.run("nb_backend.settings.current.api_key = None")
    assert "BackendMagics.url" in shown
    assert "api_key" not in shown
    assert TOKEN not in shown


def test_a_configuration_file_loads_the_extension_and_sets_the_model(server, engine, tmp_path):
    (tmp_path / "profile_default").mkdir()
    (tmp_path / "profile_default" / "ipython_config.py").write_text(
        "c.InteractiveShellApp.extensions = ['nb_backend']\nc.BackendMagics.model = 'from-a-file'\n"
    )
    env = {**os.environ, **server.env, "IPYTHONDIR": str(tmp_path)}
    manager, client = start_new_kernel(kernel_name="python3", env=env)
    try:
        assert asked(Kernel(manager, client), engine, "%%backend\nhi") == "from-a-file"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
