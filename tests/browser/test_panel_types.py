"""The panel's JavaScript: its JSDoc types are valid, and the minified module is small and complete."""

from __future__ import annotations

import json
import re
from pathlib import Path

import npm

import nb_backend

LIMIT = 80_000  # bytes, sent to every page without compression
# an import or export-from statement after another statement or block, or a call of import()
IMPORT = re.compile(r"(?m)(?:^|[;}])\s*(?:import\b(?!\.)|export\s*(?:\*|\{[^}]*\})\s*from\b)|\bimport\s*\(")
EXPORTED = "const {{default: d}} = await import({0}); console.log(typeof d.initialize, typeof d.render)"


def minified() -> str:
    """Return the module as a page gets it."""
    return str(nb_backend.ChatPanel._esm)


def test_the_types_are_valid() -> None:
    ended = npm.node(npm.folder() / "typescript/bin/tsc", "-p", npm.HERE / "tsconfig.json", "--pretty", "false")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_module_is_small() -> None:
    size = len(minified().encode())
    assert size < LIMIT


def test_the_module_imports_nothing() -> None:
    assert IMPORT.findall(minified()) == []


def test_the_module_can_be_imported(tmp_path: Path) -> None:
    module = tmp_path / "sent.mjs"
    module.write_text(minified(), encoding="utf-8")
    ended = npm.node("--input-type=module", "--eval", EXPORTED.format(json.dumps(module.as_uri())))
    assert ended.stdout.split() == ["function", "function"], ended.stderr
