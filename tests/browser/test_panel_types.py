"""The panel's module: its JSDoc types hold, and what a page is sent is small and whole."""

from __future__ import annotations

import json
import re
from pathlib import Path

import npm

import nb_backend

LIMIT = 40_000  # bytes: they go to every page, uncompressed
# a statement or a call of import, at the start of a line or right behind the statement or block before it
IMPORT = re.compile(r"(?m)(?:^|[;}])\s*(?:import\b(?!\.)|export\s*(?:\*|\{[^}]*\})\s*from\b)|\bimport\s*\(")
EXPORTED = "const {{default: d}} = await import({0}); console.log(typeof d.initialize, typeof d.render)"


def sent() -> str:
    """The module as a page gets it."""
    return str(nb_backend.ChatPanel._esm)


def test_the_types_hold() -> None:
    ended = npm.node(npm.folder() / "typescript/bin/tsc", "-p", npm.HERE / "tsconfig.json", "--pretty", "false")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_what_is_sent_is_small() -> None:
    size = len(sent().encode())
    assert size < LIMIT


def test_what_is_sent_stands_alone() -> None:
    assert IMPORT.findall(sent()) == []


def test_what_is_sent_is_whole(tmp_path: Path) -> None:
    module = tmp_path / "sent.mjs"
    module.write_text(sent(), encoding="utf-8")
    ended = npm.node("--input-type=module", "--eval", EXPORTED.format(json.dumps(module.as_uri())))
    assert ended.stdout.split() == ["function", "function"], ended.stderr
