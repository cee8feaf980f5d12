"""Rules for the package as a whole: which module imports which, what an import costs, which names are public."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import nb_backend

PACKAGE = Path(nb_backend.__file__).parent


def name_of(path: Path) -> str:
    """Return the module's name without ``nb_backend.``."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path) for path in PACKAGE.rglob("*.py")}

# Packages from top to bottom: a module imports only from its own package and from rows below. The modules at the root
# are below all of them.
ORDER = [
    {"__init__"},
    {"batch", "notebook"},
    {"chat"},
    {"tools"},
    {"providers"},
    {"local", "markdown"},
    {"transport", "media"},
]


def package_of(module: str) -> str:
    head, dot, _ = module.partition(".")
    return head if dot or any(head in row for row in ORDER) else "root"


def row_of(module: str) -> int:
    return next((i for i, row in enumerate(ORDER) if package_of(module) in row), len(ORDER))


def imports_of(path: Path) -> set[str]:
    """Return the modules of this package that a file imports, also in functions and under TYPE_CHECKING."""
    here = path.relative_to(PACKAGE).with_suffix("").parts
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join([*here[: len(here) - node.level], *(node.module.split(".") if node.module else [])])
            names = {f"{base}.{alias.name}".lstrip(".") for alias in node.names}
            found |= {name if name in MODULES else base for name in names}
    return found


IMPORTS = {name_of(path): imports_of(path) for path in PACKAGE.rglob("*.py")}


def test_imports_point_down():
    wrong = []
    for module, imported in IMPORTS.items():
        for other in imported:
            down = package_of(other) == package_of(module) or row_of(other) > row_of(module)
            needs_http = other.startswith(("local.app", "local.engine")) and not module.startswith("local.")
            if not down or needs_http:
                wrong.append(f"{module} imports {other}")
    assert wrong == []


def test_no_circle_between_modules():
    left = {module: imported & IMPORTS.keys() - {module} for module, imported in IMPORTS.items()}
    while free := {module for module, imported in left.items() if not imported & left.keys()}:
        left = {module: imported for module, imported in left.items() if module not in free}
    assert left == {}, "these modules import each other in a circle, or import one that does"


def test_no_file_is_long():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    assert [str(path.relative_to(PACKAGE)) for path, lines in lengths.items() if lines > 400] == []


def test_docstrings_start_with_what_a_function_does():
    """``Return`` and ``Raise`` say it; ``Give`` and ``Tell`` do not, and ``Let`` and ``Have`` hide the verb."""
    unclear = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                words = (ast.get_docstring(node) or "").split()
                if words and words[0] in ("Give", "Tell", "Let", "Have"):
                    unclear.append(f"{name_of(path)}: {' '.join(words[:8])}")
    assert unclear == []


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


MODULES_OF_USERS = {
    "errors": ["BackendError"],
    "typing": ["AsyncResult", "MediaListType", "Messages"],
    "settings": ["current"],
    "debug": ["log"],
    "media": ["attach", "to_data_uri"],
    "chat": ["Answer", "Chat"],
    "providers.base": ["AsyncGeneratorProvider", "ProviderModelMixin"],
    "providers.backend_api": ["BackendApi"],
    "providers.openai_api": ["OpenAIApi"],
}


def test_modules_that_users_import_stay_where_they_are():
    for module, names in MODULES_OF_USERS.items():
        loaded = importlib.import_module(f"nb_backend.{module}")
        assert [name for name in names if not hasattr(loaded, name)] == []


def test_the_public_names():
    assert nb_backend.__all__ == [
        *("Answer", "Attachment", "AuthError", "BackendApi", "BackendError", "Chat", "ChatPanel", "ConnectionFailed"),
        *("OpenAIApi", "ProtocolError", "RateLimitError", "RawResponse", "ServerError", "TimedOut"),
        *("ToolCall", "ToolStep", "attach", "chats", "compare", "to_data_uri", "tool"),
        *("__version__", "load_ipython_extension", "unload_ipython_extension"),
    ]
    for name in nb_backend.__all__:
        value = getattr(nb_backend, name)
        assert name in ("__version__", "chats") or value.__name__ == name
