"""What a cell asks: its text with the values in it, the images that go along, and the conversation it is part of."""

from __future__ import annotations

import builtins
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...chat.cell_run import cell_run
from ...chat.chat import Chat
from ...chat.named_chats import chats
from ...chat.request import Request
from ...chat.stream import AnswerStream
from ...media.attachment import Attachment
from ...media.convert import attach
from ...media.from_object import figure_of
from ...media.source import is_address
from ...text import shorten
from ..prompt.interpolate import RAISED, add, keep, names_read, render, said_of

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .options import Options


_MOST_OF_A_LIST = 20  # pictures that go along when a list of them is named


@dataclass
class Question:
    """A question as it is asked: nothing in it is evaluated any more. ``kept``: something of what was said stays."""

    options: Options
    chat: Chat
    text: str
    images: list[Attachment] = field(default_factory=list)
    kept: bool = False

    def stream(self, model: str | None = None) -> AnswerStream:
        """Ask; of several models this one, and only one of them goes on in the conversation."""
        others = {"keep": False} if model not in (None, self.options.model) else {}
        return self.chat.stream(self.text, self.images, **self.options.request_options(model), **others)

    def request(self, model: str | None = None) -> Request:
        """Give what would be sent."""
        return self.chat.request(self.text, self.images, **self.options.request_options(model))

    def record_answer(self, answer: object, names: dict[str, Any]) -> None:
        """Take in what is kept: it is the variable's, and what earlier runs of the cell had said is gone."""
        self.kept = True
        if self.options.out:
            names[self.options.out] = answer
        if not self.options.once and self.options.chat not in chats:
            chats[self.options.chat] = self.chat
        if run := cell_run.get():
            chats.take_back(run)


def question(options: Options, text: str, shell: InteractiveShell) -> Question:
    """Evaluate what a cell's text and options name in the notebook.

    This runs the user's code, so it belongs on the thread that runs cells. ``ValueError`` or ``TypeError`` in one line
    for what cannot be sent.
    """
    chat = Chat() if options.once else chats.unlisted(options.chat)
    # a copy: cells as they were typed, and what an expression binds (":=") is for the others of this question
    names = {**shell.user_ns, "In": shell.history_manager.input_hist_raw}  # type: ignore[union-attr]
    images: dict[str, Attachment] = {}
    if not options.raw:
        prompt = render(text, partial(_value, names), names=names)
        text, images = prompt.text, prompt.images
    for named in options.image:
        _add_image(images, named, names, shell)
    if not text.strip():
        raise ValueError("there is nothing to ask: write the question below this line, or behind %backend ask")
    return Question(options, chat, text, [*images.values()])


def _add_image(images: dict[str, Attachment], named: str, names: dict[str, Any], shell: InteractiveShell) -> None:
    """Add what ``-i`` names: a variable, else a file, else what an expression gives, or what one of two words means."""
    if named in _WORDS:
        for one in _WORDS[named](shell):
            keep(images, found := attach(one), found.name)
        return
    reads = names_read(named) or ()
    missing = [name for name in reads if name not in names and not hasattr(builtins, name)]
    if named not in names and (not reads or os.path.exists(os.path.expanduser(named))):
        keep(images, found := attach(named), found.name)
        return
    if missing:
        raise ValueError(f"there is no file {shorten(named)} in {os.getcwd()}, and no variable {shorten(missing[0])}")
    try:
        value = _value(names, named)
    except RAISED as error:
        raise ValueError(
            f"there is no file {shorten(named)}, and as an expression it raised {said_of(error)}"
        ) from error
    if type(value) in (list, tuple) and value and not _is_one_picture(value):
        if len(value) > _MOST_OF_A_LIST:
            raise ValueError(
                f"{shorten(named)} has {len(value)} things in it, and {_MOST_OF_A_LIST} is the most that go along"
            )
        for number, part in enumerate(value):
            _add_value(images, part, f"{named}[{number}]")
    else:
        _add_value(images, value, named)


def _is_one_picture(values: Sequence[Any]) -> bool:
    """Whether these are artists of one figure, and no pictures each."""
    try:
        return figure_of(values) is not None
    except ValueError:  # of several
        return False


def _add_value(images: dict[str, Attachment], value: Any, code: str) -> None:
    """Add what an expression gave; a text names a file or an address, or it is a data URI, and is not shown."""
    if isinstance(value, str) and value[:5].lower() != "data:" and not is_address(value):
        if not os.path.exists(os.path.expanduser(value)):
            raise ValueError(f"{shorten(code)} is a text that names no file: give a figure, a picture, bytes or a path")
        value = Path(value)
    has_name = isinstance(value, Attachment | os.PathLike) or (isinstance(value, str) and is_address(value))
    if has_name:
        keep(images, found := attach(value), found.name)
    else:
        add(images, attach(value, code), code)


def _value(names: dict[str, Any], code: str) -> Any:
    return eval(code, names)  # noqa: S307  it is the user's own code


def _output(shell: InteractiveShell) -> tuple[bytes, ...]:
    from ..outputs import last_images

    images = last_images(shell)
    if not images:
        raise ValueError("no cell has shown an image yet: -i @output takes those that the last one to do so has shown")
    return images


def _clipboard(_: InteractiveShell) -> list[Any]:
    from ...media.clipboard import clipboard

    return clipboard()


_WORDS = {"@output": _output, "@clipboard": _clipboard}  # no variable can have such a name
