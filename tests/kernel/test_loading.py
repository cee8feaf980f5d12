"""``%load_ext nb_backend`` is quick and quiet: nothing heavy is loaded, no connection is made, until first use."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("aiohttp", "ipywidgets", "anywidget", "xllamacpp", "markdown_it", "orjson", "tqdm", "platformdirs", "keyring")
HEAVY += ("huggingface_hub", "filelock", "json_repair", "difflib")

SCRIPT = f"""
import sys, socket
def refuse(*args): raise AssertionError("a connection was made")
socket.socket.connect = socket.create_connection = refuse
from IPython.core.interactiveshell import InteractiveShell
before = set(sys.modules)
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "nb_backend")
loaded = sorted(name for name in {HEAVY!r} if name in sys.modules and name not in before)
assert "nb_backend.notebook.magic.magics" in sys.modules
assert not loaded, loaded
assert not shell.find_cell_magic("backend") is None
"""


def test_loading_the_extension_loads_nothing_heavy():
    subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT], check=True)
