"""The house's own rules: who may import whom, what an import costs, what is public."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import nb_backend

HOUSE = Path(nb_backend.__file__).parent

# an import may only lead to the right of where it stands; what is not named here stands at the right end
ORDER = ["__init__", "notebook", "chat", "providers"]


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
            backwards = area(imported) < area(module) and (module, imported) != (
                "typing",
                "providers.response.RawResponse",
            )
            behind_http = imported.startswith(("local.app", "local.engine")) and not module.startswith("local.")
            if backwards or behind_http:
                wrong.append(f"{module} imports {imported}")
    assert wrong == []


IMPORT = {
    "notebook": {
        "notebook",
        "chat",
        "background",
        "debug",
        "errors",
        "markdown",
        "media",
        "settings",
        "typing",
        "providers.response",
        "local.process",
    },
    "local": {"local", "debug", "errors", ""},
    "providers.backend_api": {"providers", "debug", "errors", "media", "settings", "typing", "local.process", ""},
    "providers": {"providers", "debug", "errors", "media", "settings", "typing", ""},
    "chat": {"providers", "background", "debug", "errors", "markdown", "settings", "typing", ""},
    "": {"chat", "errors", "media", "notebook.magics", "providers", "debug", ""},
}


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def imports_of(file: Path) -> set[str]:
    """The modules of this package that a file names in its imports, as ``providers.wire``."""
    here = list(file.relative_to(HOUSE).with_suffix("").parts)
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*here[: len(here) - node.level], *(node.module.split(".") if node.module else [])]
            modules = [[*base, alias.name] for alias in node.names]
            found |= {".".join(name if HOUSE.joinpath(*name).with_suffix(".py").exists() else base) for name in modules}
    return found


def test_imports_point_one_way():
    wrong = []
    for file in HOUSE.rglob("*.py"):
        name = ".".join(file.relative_to(HOUSE).with_suffix("").parts)
        allowed = next(MAY_IMPORT[owner] for owner in MAY_IMPORT if not owner or within(name, owner))
        for imported in imports_of(file):
            if not any(imported == target or (target and within(imported, target)) for target in allowed):
                wrong.append(f"{name} imports {imported}")
    assert wrong == []


IMPORT = """
import socket, sys

def refuse(*args, **options):
    raise AssertionError("a socket")

socket.socket.__init__ = refuse
import nb_backend
heavy = {"aiohttp", "orjson", "IPython", "ipywidgets", "xllamacpp", "markdown_it", "asyncio", "nest_asyncio2"}
print(sorted(heavy & set(sys.modules)))
print(set(nb_backend.__all__) <= set(dir(nb_backend)))
"""


def test_an_import_loads_nothing_heavy_and_opens_no_socket():
    done = subprocess.run([sys.executable, "-W", "error", "-c", IMPORT], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "True"]


def test_the_public_names():
    assert nb_backend.__all__ == [
        *("Answer", "AuthError", "BackendApi", "BackendError", "Chat", "ConnectionFailed", "OpenAIApi"),
        *("ProtocolError", "RateLimitError", "RawResponse", "ServerError", "TimedOut", "to_data_uri"),
        *("__version__", "load_ipython_extension", "unload_ipython_extension"),
    ]
    for name in nb_backend.__all__:
        value = getattr(nb_backend, name)
        assert name == "__version__" or value.__name__ == name
