"""``%backend local``: which model the embedded backend of this kernel runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from IPython.core.getipython import get_ipython
from IPython.core.interactiveshell import InteractiveShell

from ... import settings
from ...local import process
from ...local.gguf_files import PREFIX, HubModel, model_name, size_of
from ...markdown.elements import escape_line
from ...media.files import path_of
from ...providers.catalog import forget_models
from ...text import shorten
from ..cell.notebook_view import Output
from ..progress import bar_markdown
from ..report import Report
from .line import Word
from .mistakes import refuse_variable

DEFAULT = "default"
_MAGIC = b"GGUF"  # the first bytes of such a file
_ARRIVED = "{n_fmt}B of {total_fmt}B"
_SPEED = " · {rate_fmt} · {remaining} left"
_FORMS = "write hf:ORG/REPO[:FILE] for a model of the Hugging Face hub, or the path of a .gguf file, or default"


def local_model(given: Sequence[Word]) -> Report:
    """Switch the embedded backend to the model that the words name, if any do, and report which one it runs."""
    refuse_variable(given)
    name = " ".join(given)
    if not name:
        return Report(f"the embedded backend runs {_described(process.used())}", *_stored(), *_who_is_asked())
    file = None if name == DEFAULT else _fetched(name) if name.startswith(PREFIX) else _existing(name)
    if file != process.used():
        process.use(file)
        forget_models(None)
    return Report(f"the embedded backend runs {_described(file)} from the next answer on", *_who_is_asked())


def _fetched(name: str) -> Path:
    """Return the file of a model of the hub, after fetching it with a progress bar."""
    from ...local.hub import stored

    model = HubModel.parse(name)
    if settings.cache_only():
        if (path := stored(model)) is None:
            raise ValueError(f"NB_BACKEND_CACHE_ONLY does not allow to fetch {name}: unset it and run this once")
        return path
    with _bar(name, get_ipython()) as report:
        return process.fetch(name, report)


@contextmanager
def _bar(name: str, shell: InteractiveShell | None) -> Iterator[Callable[[int, int], None]]:
    """Return a function that shows how many bytes of a model have arrived; the bar leaves at the end.

    A notebook shows Markdown: of a widget, a saved notebook would keep the empty bar of its beginning.
    """
    from tqdm import tqdm  # type: ignore[import-untyped]

    if shell is None or not hasattr(shell, "kernel"):
        with tqdm(desc=f"Fetching {name}", unit="B", unit_scale=True, leave=False) as bar:

            def draw(done: int, total: int) -> None:
                if bar.total is None:
                    bar.reset(total)
                    bar.n = bar.initial = done  # what an earlier fetch has left does not count for the speed
                bar.update(done - bar.n)

            yield draw
        return
    output, began, first = Output(shell), time.monotonic(), -1

    def show(done: int, total: int) -> None:
        nonlocal first
        first = done if first < 0 else first
        form = {"unit": "B", "unit_scale": True, "initial": first}
        form["bar_format"] = _ARRIVED + (_SPEED if done > first else "")
        meter = tqdm.format_meter(done, total, time.monotonic() - began, **form)
        bar = bar_markdown(f"Fetching {escape_line(name)}", done / total if total else 0)
        output.show({"text/markdown": f"{bar} · {meter}"})

    try:
        yield show
    finally:
        if output.is_shown:
            output.show({})


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

        return f"{NAME} (the default)"
    return f"{model_name(file.name)} ({size_of(file) / 1e9:.1f} GB)"


def _stored() -> list[str]:
    """Return lines about the models that were fetched before; none if there are none."""
    from ...local.hub import models_folder, stored_models

    if not (models := stored_models()):
        return []
    return ["", *(f"- fetched: `%backend local {model}`" for model in models), f"- they are in `{models_folder()}`"]


def names_of_models() -> list[str]:
    """Return what may follow ``%backend local``, for Tab: models that need no download, and the start of others."""
    from ...local.hub import stored_models

    return [DEFAULT, *map(str, stored_models()), PREFIX]


def _who_is_asked() -> list[str]:
    urls = settings.urls()
    return ["", f"cells ask {urls[0]} all the same: `%backend url default` asks the embedded backend"] if urls else []
