"""The README, the other texts and the notebooks: their links lead to files of the repository."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
TEXTS = [*ROOT.glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]

_link = re.compile(r"\]\(([^)#\s]+)")
_test_file = re.compile(r"`((?:\w+/)?test_[\w*]+\.py)`")


def markdown(path: Path) -> str:
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_relative_links_lead_to_files(path: Path) -> None:
    links = [link for link in _link.findall(markdown(path)) if not re.match(r"https?:|data:|mailto:", link)]
    assert [link for link in links if not (path.parent / link).is_file()] == []


def test_the_readme_is_short() -> None:
    assert len(markdown(ROOT / "README.md").splitlines()) <= 240


def test_the_tests_of_each_guarantee_exist() -> None:
    guarantees = markdown(ROOT / "README.md").partition("## What you can rely on")[2].partition("\n## ")[0]
    for sentence in re.findall(r"^- .+(?:\n  .+)*", guarantees, re.MULTILINE):
        folder, named = "", _test_file.findall(sentence)
        assert named, sentence
        for name in named:
            folder, _, file = name.rpartition("/") if "/" in name else (folder, "", name)
            assert [*(ROOT / "tests" / folder).glob(file)] or [*(ROOT / "tests").glob(file)], name


def test_every_picture_is_shown_somewhere() -> None:
    shown = {Path(link).name for path in TEXTS for link in _link.findall(markdown(path))}
    assert {path.name for path in (ROOT / "notebooks" / "images").iterdir()} <= shown
