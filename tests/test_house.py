"""The house's own rules: who may import whom, what an import costs, what is public."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import nb_backend

HOUSE = Path(nb_backend.__file__).parent

# an import may only lead to the right of where it stands; what is not named here stands at the right end
ORDER = ["__init__", "notebook", "batch", "chat", "providers"]


def area(module: str) -> int:
    head = module.partition(".")[0]
    return ORDER.index(head) if head in ORDER else len(ORDER)


def imports_of(file: Path) -> set[str]:
    """The modules of this package that a file names in its imports, as ``providers.wire``."""
    here = file.relative_to(HOUSE).with_suffix("").parts
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*here[: len(here) - node.level], *(node.module.split(".") if node.module else [])]
            found |= {".".join([*base, alias.name]) for alias in node.names}
    return found


def test_imports_point_one_way():
    wrong = []
    for file in HOUSE.rglob("*.py"):
        module = ".".join(file.relative_to(HOUSE).with_suffix("").parts)
        for imported in imports_of(file):
            backwards = area(imported) < area(module) and module != "typing"  # which only names what it describes
            behind_http = imported.startswith(("local.app", "local.engine")) and not module.startswith("local.")
            if backwards or behind_http:
                wrong.append(f"{module} imports {imported}")
    assert wrong == []


IMPORT = """
import socket, sys

def refuse(*args, **options):
    raise AssertionError("a socket")

socket.socket.__init__ = refuse
import nb_backend
heavy = {"aiohttp", "orjson", "IPython", "ipywidgets", "xllamacpp", "markdown_it", "asyncio", "nest_asyncio2"}
heavy |= {"anywidget", "nh3", "pygments", "latex2mathml"}
print(sorted(heavy & set(sys.modules)))
print(set(nb_backend.__all__) <= set(dir(nb_backend)))
"""


def test_an_import_loads_nothing_heavy_and_opens_no_socket():
    done = subprocess.run([sys.executable, "-W", "error", "-c", IMPORT], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "True"]


def test_the_public_names():
    assert nb_backend.__all__ == [
        *("Answer", "Attachment", "AuthError", "BackendApi", "BackendError", "Chat", "ChatPanel", "ConnectionFailed"),
        *("OpenAIApi", "ProtocolError", "RateLimitError", "RawResponse", "ServerError", "TimedOut"),
        *("attach", "chats", "compare", "to_data_uri"),
        *("__version__", "load_ipython_extension", "unload_ipython_extension"),
    ]
    for name in nb_backend.__all__:
        value = getattr(nb_backend, name)
        assert name in ("__version__", "chats") or value.__name__ == name
