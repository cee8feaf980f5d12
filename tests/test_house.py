"""The house's own rules: who may import whom, what an import costs, what is public."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import nb_backend

HOUSE = Path(nb_backend.__file__).parent
MODULES = {
    ".".join(path.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__") for path in HOUSE.rglob("*.py")
}

# Packages, top to bottom: an import leads to the same package or to one below. Modules at the root are the last row.
ORDER = [
    {"__init__"},
    {"batch", "notebook"},
    {"chat"},
    {"tools"},
    {"providers"},
    {"local", "markdown"},
    {"transport", "media"},
]


def package(module: str) -> str:
    head, dot, _ = module.partition(".")
    return head if dot or any(head in row for row in ORDER) else "root"


def level(module: str) -> int:
    return next((i for i, row in enumerate(ORDER) if package(module) in row), len(ORDER))


def imports_of(path: Path) -> set[str]:
    """The modules of this package that a file imports, in functions and under TYPE_CHECKING too."""
    here = path.relative_to(HOUSE).with_suffix("").parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join([*here[: len(here) - node.level], *(node.module.split(".") if node.module else [])])
            names = {f"{base}.{alias.name}".lstrip(".") for alias in node.names}
            found |= {name if name in MODULES else base for name in names}
    return found


IMPORTS = {
    ".".join(path.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__"): imports_of(path)
    for path in HOUSE.rglob("*.py")
}


def test_imports_lead_down():
    wrong = []
    for module, imported in IMPORTS.items():
        for other in imported:
            down = package(other) == package(module) or level(other) > level(module)
            behind_http = other.startswith(("local.app", "local.engine")) and not module.startswith("local.")
            if not down or behind_http:
                wrong.append(f"{module} imports {other}")
    assert wrong == []


def test_no_circle_between_modules():
    left = {module: imported & IMPORTS.keys() - {module} for module, imported in IMPORTS.items()}
    while free := {module for module, imported in left.items() if not imported & left.keys()}:
        left = {module: imported for module, imported in left.items() if module not in free}
    assert left == {}, "these modules import each other in a circle, or one that does"


def test_no_file_is_long():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in HOUSE.rglob("*.py")}
    assert [str(path.relative_to(HOUSE)) for path, lines in lengths.items() if lines > 400] == []


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
