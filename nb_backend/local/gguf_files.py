"""Which GGUF file of a repository on the Hugging Face hub is meant: a file, a quantization, or the default."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..text import shorten

DEFAULT = "Q4_K_M"
"""The quantization that is taken if none is named: a quarter of the size, and nearly as good."""
PREFIX = "hf:"
_FORM = "write hf:ORG/REPO, or hf:ORG/REPO:FILE with a GGUF file or a quantization such as Q8_0"
_REPO = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_FILE = re.compile(r"[^\\:?#%]+")
_SHARD = re.compile(r"(?P<name>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE | re.DOTALL)
_NOT_A_MODEL = ("mmproj", "imatrix")  # the part of a model that reads images, and statistics for quantizing
_UNSLOTH = re.compile(r"(?<![a-z0-9])ud-", re.IGNORECASE)  # its own kind of quantization, often beside the plain one
_MAX_LISTED = 20  # names in a message


class NoSuchFileError(ValueError):
    """The files of a repository do not have the one that is meant, or have several. The message lists them."""


@dataclass(frozen=True)
class HubModel:
    """A model on the hub; ``file`` is the path of a file, a quantization, or ``""`` for the default."""

    repo: str
    file: str = ""

    @classmethod
    def parse(cls, text: str) -> HubModel:
        """Read ``hf:ORG/REPO[:FILE]``; ``ValueError`` if it has another form."""
        repo, colon, file = text.removeprefix(PREFIX).partition(":")
        is_file = bool(_FILE.fullmatch(file)) and file.isprintable() and not {"", ".", ".."} & {*file.split("/")}
        if not _REPO.fullmatch(repo) or ".." in repo or is_file != bool(colon):
            raise ValueError(f"{shorten(text, 80)!r} does not name a model on the Hugging Face hub: {_FORM}")
        return cls(repo, file)

    def __str__(self) -> str:
        return f"{PREFIX}{self.repo}{f':{self.file}' if self.file else ''}"


def model_name(file: str) -> str:
    """Return the name of a model as people read it, from the name of its GGUF file."""
    shard = _SHARD.fullmatch(file)
    return shard["name"] if shard else re.sub(r"\.gguf\Z", "", file, flags=re.IGNORECASE)


def shards(file: str) -> list[str]:
    """Return the paths of all parts of a model of which this is one; llama.cpp loads the first one."""
    shard = _SHARD.fullmatch(file)
    if not shard:
        return [file]
    end = file[shard.end("count") :]
    return [f"{shard['name']}-{at + 1:05}-of-{shard['count']}{end}" for at in range(int(shard["count"]))]


def size_of(file: Path) -> int:
    """Return the size of a model in bytes: of all its parts that are there."""
    return sum(part.stat().st_size for part in map(Path, shards(str(file))) if part.is_file())


def choose(model: HubModel, paths: Iterable[str]) -> list[str]:
    """Return the paths of the file that is meant, all parts of it in order; ``NoSuchFileError`` if none or several are.

    If no file is named, and there is only one model, it is that one.
    """
    models = complete_models(paths)
    if not models:
        raise NoSuchFileError(f"{model.repo} has no GGUF files: choose a repository that has some")
    found = _matching(model.file or DEFAULT, models)
    if not (found or model.file) and len(models) == 1:
        found = [*models]
    if len(found) == 1:
        return models[found[0]]
    which = shorten(model.file or DEFAULT, 80)
    lacks = f"{model.repo} has {f'{len(found)} files for' if found else 'no file for'} {which}"
    raise NoSuchFileError(f"{lacks}: write {PREFIX}{model.repo}:FILE with one of {_listed(found or models)}")


def complete_models(paths: Iterable[str]) -> dict[str, list[str]]:
    """Return the complete models among the files: all parts of each, by the path of the first one."""
    known = {path for path in paths if is_model(path) and path.isprintable() and "\\" not in path}
    found: dict[str, list[str]] = {}
    for path in sorted(known):
        if known.issuperset(parts := shards(path)):
            found.setdefault(parts[0], parts)
    return found


def is_model(path: str) -> bool:
    """Whether a file is a model, or a part of one, by its name."""
    return path.lower().endswith(".gguf") and not any(word in path.lower() for word in _NOT_A_MODEL)


def _matching(wanted: str, models: Iterable[str]) -> list[str]:
    """Return the first parts of the models that are meant: by path, else by file name, else by quantization."""
    first = shards(wanted)[0].lower()
    names = {first, f"{first}.gguf"}
    if by_path := [path for path in models if path.lower() in names]:
        return by_path
    if by_name := [path for path in models if path.lower().rpartition("/")[2] in names]:
        return by_name
    quantization = re.compile(rf"(?<![a-z0-9]){re.escape(wanted.lower())}(?![a-z0-9_])")
    by_quantization = [path for path in models if quantization.search(path.lower())]
    return [path for path in by_quantization if not _UNSLOTH.search(path)] or by_quantization


def _listed(models: Iterable[str]) -> str:
    names = [*models]
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(shorten(name, 100) for name in names[:_MAX_LISTED]) + more
