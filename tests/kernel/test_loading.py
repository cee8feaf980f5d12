"""``%load_ext nb_backend`` is quick and quiet: nothing heavy is loaded, no connection is made, until first use."""

from __future__ import annotations

import os
import subprocess
import sys

HEAVY = ("aiohttp", "ipywidgets", "anywidget", "xllamacpp", "markdown_it", "orjson", "tqdm", "platformdirs", "keyring")
HEAVY += ("huggingface_hub", "filelock", "json_repair", "difflib", "pydantic", "mcp")
OF_TOOLS = ("pydantic", "mcp", "nb_backend.tools.asking", "nb_backend.tools.calls", "nb_backend.tools.results")
OF_TOOLS += ("nb_backend.tools.schema", "nb_backend.tools.mcp", "nb_backend.chat.shown_steps")

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

QUESTION = f"""
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "nb_backend")
shell.run_cell_magic("backend", "", "Hi")
from nb_backend import Chat, chats
assert chats["main"].messages[-1]["content"] == "Hi" == Chat()("Hi").to_markdown().strip()
loaded = [name for name in {OF_TOOLS!r} if name in sys.modules]
assert not loaded, loaded
"""


def test_loading_the_extension_loads_nothing_heavy():
    subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT], check=True)


def test_a_question_without_tools_loads_nothing_that_carries_them_out(backend):
    subprocess.run([sys.executable, "-W", "error", "-c", QUESTION], check=True, env={**os.environ, **backend.env})
