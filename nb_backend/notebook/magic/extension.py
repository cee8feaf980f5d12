"""Load and unload the extension."""

from __future__ import annotations

from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from .. import outputs
from . import completion
from .magics import BackendMagics, loaded_magics
from .transform import AskLineTransform

_SHOWN_ONCE = (  # classes of values that a cell shows itself, by name: their modules are not loaded yet
    "nb_backend.chat.Answer",
    "nb_backend.notebook.cell.answers.Answers",
    "nb_backend.notebook.magic.dry_run.DryRun",
)


def load(shell: InteractiveShell) -> None:
    """Register the magics, the transforms and the Tab completion; a second call replaces those of the first."""
    if loaded_magics(shell) is not None:
        unload(shell)
    magics = BackendMagics(shell)
    shell.register_magics(magics)
    shell.input_transformers_cleanup.insert(0, magics.transform)
    shell.input_transformer_manager.token_transformers.append(AskLineTransform)
    shell.events.register("pre_run_cell", magics.on_pre_run_cell)
    shell.events.register("post_run_cell", magics.on_post_run_cell)
    for shown in _SHOWN_ONCE:
        _display_formatter(shell).for_type(shown, magics.skip_if_shown)
    completion.register(shell)
    outputs.register(shell)


def unload(shell: InteractiveShell) -> None:
    """Remove everything that ``load`` added."""
    magics = loaded_magics(shell)
    if magics is None:
        return
    completion.unregister(shell)
    outputs.unregister(shell)
    shell.input_transformers_cleanup.remove(magics.transform)
    shell.input_transformer_manager.token_transformers.remove(AskLineTransform)
    shell.events.unregister("pre_run_cell", magics.on_pre_run_cell)
    shell.events.unregister("post_run_cell", magics.on_post_run_cell)
    for shown in _SHOWN_ONCE:
        _display_formatter(shell).pop(shown, None)
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("backend", None)
    shell.configurables.remove(magics)
    del shell.magics_manager.registry[BackendMagics.__name__]


def _display_formatter(shell: InteractiveShell) -> Any:
    return shell.display_formatter.ipython_display_formatter  # type: ignore[union-attr]
