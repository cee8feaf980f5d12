"""What a cell asks: its text with the values in it, the images that go along, and the conversation it is part of."""

from __future__ import annotations

import builtins
import os
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from ..chat import Answer, AnswerStream, Chat
from ..conversations import chats
from ..media import to_data_uri
from ..memory import cell_run
from ..request import Request
from .prompt import RAISED, attach, names_read, render, said_of
from .values import Formatter, picture

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .options import Options

_PICTURES = ("image/png", "image/jpeg")  # what the notebook is asked to show a value as


@dataclass
class Question:
    """A question as it is asked: nothing in it is evaluated any more. ``kept``: its answer is in the conversation."""

    options: Options
    chat: Chat
    text: str
    images: list[tuple[Any, str]] = field(default_factory=list)
    kept: bool = False

    def stream(self) -> AnswerStream:
        """Ask."""
        return self.chat.stream(self.text, self.images, **self._how())

    def request(self) -> Request:
        """Give what would be sent."""
        return self.chat.request(self.text, self.images, **self._how())

    def settle(self, answer: Answer, names: dict[str, Any]) -> None:
        """Take in an answer that is kept: it is the variable's, and what earlier runs of the cell had said is gone."""
        self.kept = True
        if self.options.out:
            names[self.options.out] = answer
        if not self.options.once and self.options.chat not in chats:
            chats[self.options.chat] = self.chat
        if run := cell_run.get():
            chats.take_back(run)

    def _how(self) -> dict[str, Any]:
        options = self.options
        return {**options.params, "model": options.model, "system": options.system, "new": options.new}


def question(options: Options, text: str, shell: InteractiveShell) -> Question:
    """Evaluate what a cell's text and options name in the notebook.

    This runs the user's code, so it belongs on the thread that runs cells. ``ValueError`` or ``TypeError`` in one line
    for what cannot be sent.
    """
    chat = Chat() if options.once else chats.begun(options.chat)
    # a copy: cells as they were typed, and what an expression binds (":=") is for the others of this question
    names = {**shell.user_ns, "In": shell.history_manager.input_hist_raw}  # type: ignore[union-attr]
    formatter = partial(_formatted, shell)
    images: dict[str, Any] = {}
    if not options.raw:
        prompt = render(text, partial(_value, names), names=names, formatter=formatter)
        text, images = prompt.text, {name: data for data, name in prompt.images}
    for named in options.image:
        _add_image(images, named, names, formatter)
    if not text.strip():
        raise ValueError("there is nothing to ask: write the question below this line, or behind %backend ask")
    return Question(options, chat, text, [(data, name) for name, data in images.items()])


def _add_image(images: dict[str, Any], named: str, names: dict[str, Any], formatter: Formatter) -> None:
    """Add what ``-i`` names: a variable, else a file, else what an expression gives."""
    reads = names_read(named) or ()
    missing = [name for name in reads if name not in names and not hasattr(builtins, name)]
    if named not in names and (not reads or os.path.exists(os.path.expanduser(named))):
        name = "image" if named[:5].lower() == "data:" else os.path.basename(named)
        images[_free(name, images)] = to_data_uri(named)
        return
    if missing:
        raise ValueError(f"there is no file {named} in {os.getcwd()}, and no variable {missing[0]}")
    try:
        value = _value(names, named)
        data = picture(value, formatter)
    except RAISED as error:
        raise ValueError(f"there is no file {named}, and as an expression it raised {said_of(error)}") from error
    if isinstance(value, str | os.PathLike):
        _add_file(images, value, named)
    elif isinstance(value, bytes | bytearray | memoryview):
        to_data_uri(value, named)
        attach(images, bytes(value), named)
    elif data:
        attach(images, data, named)
    else:
        kind = type(value).__name__
        raise TypeError(f"{named} is of type {kind}, which shows no picture: give a figure, a picture, bytes or a path")


def _add_file(images: dict[str, Any], path: str | os.PathLike[str], variable: str) -> None:
    """Add the file that a variable names, or its data URI; what it holds may be no path, and is not shown."""
    path = os.fspath(path)
    if path[:5].lower() == "data:":
        images[_free(variable, images)] = to_data_uri(path, variable)
    elif not os.path.exists(os.path.expanduser(path)):
        raise ValueError(f"{variable} is a text that names no file: give a figure, a picture, bytes or a path")
    else:
        images[_free(os.path.basename(path), images)] = to_data_uri(path)


def _free(name: str, taken: dict[str, Any]) -> str:
    """Give a file name that is not taken: plot.png, plot_2.png."""
    stem, suffix = os.path.splitext(name)
    return next(
        free for n in range(1, len(taken) + 2) if (free := f"{stem}_{n}{suffix}" if n > 1 else name) not in taken
    )


def _value(names: dict[str, Any], code: str) -> Any:
    return eval(code, names)  # noqa: S307  it is the user's own code


def _formatted(shell: InteractiveShell, value: Any) -> dict[str, Any]:
    """Give the pictures that the notebook shows for a value; what a formatter raises is the caller's to tell."""
    bundle = {}
    for kind in _PICTURES:
        try:
            shows = shell.display_formatter.formatters[kind].lookup(value)  # type: ignore[union-attr]
        except KeyError:
            continue
        shown = shows(value)
        bundle[kind] = shown[0] if isinstance(shown, tuple) else shown
    return bundle
