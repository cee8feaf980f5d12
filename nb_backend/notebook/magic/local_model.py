"""``%backend local``: which model the embedded backend of this kernel runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ... import settings
from ...local import process
from ...local.gguf_files import PREFIX, model_name, size_of
from ...media.files import path_of
from ...providers.catalog import forget_models
from ...text import shorten
from ..report import Report
from .line import Word
from .mistakes import refuse_variable

DEFAULT = "default"
_MAGIC = b"GGUF"  # the first bytes of such a file
_FORMS = "write hf:ORG/REPO[:FILE] for a model of the Hugging Face hub, or the path of a .gguf file, or default"


def local_model(given: Sequence[Word]) -> Report:
    """Switch the embedded backend to the model that the words name, if any do, and report which one it runs."""
    refuse_variable(given)
    name = " ".join(given)
    if not name:
        return Report(f"the embedded backend runs {_described(process.used())}", *_who_is_asked())
    file = None if name == DEFAULT else _fetched(name) if name.startswith(PREFIX) else _existing(name)
    if file != process.used():
        process.use(file)
        forget_models(None)
    return Report(f"the embedded backend runs {_described(file)} from the next answer on", *_who_is_asked())


def _fetched(name: str) -> Path:
    """Return the file of a model of the hub, after fetching it with a progress bar."""
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    with tqdm(desc=f"Fetching {name}", unit="B", unit_scale=True, leave=False) as bar:

        def report(done: int, total: int) -> None:
            if bar.total is None:
                bar.reset(total)
                bar.initial = done  # what an earlier fetch has left does not count for the speed
            bar.update(done - bar.n)

        return process.fetch(name, report)


def _existing(name: str) -> Path:
    path = Path(os.path.abspath(path_of(name)))
    if not path.is_file():
        raise ValueError(f"there is no file {shorten(name)} in {os.getcwd()}: {_FORMS}")
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError(f"{shorten(name)} is not a GGUF file: {_FORMS}")
    return path


def _described(file: Path | None) -> str:
    """Return the name and the size of a model."""
    if file is None:
        from ...local.weights import NAME

        return f"{NAME}, its default model"
    return f"{model_name(file.name)} ({size_of(file) / 1e9:.1f} GB)"


def _who_is_asked() -> list[str]:
    urls = settings.urls()
    return ["", f"cells ask {urls[0]} all the same: `%backend url default` asks the embedded backend"] if urls else []
