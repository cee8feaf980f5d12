"""What a cell asks: its prompt with the values filled in, its attachments, and its chat."""

from __future__ import annotations

import builtins
import copy
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ... import redaction, settings
from ...chat.cell_run import cell_run
from ...chat.chat import Chat
from ...chat.continuation import continuation
from ...chat.named_chats import chats
from ...chat.reply import reply_message
from ...chat.request import Request
from ...chat.schema import Schema
from ...chat.stream import AnswerStream
from ...media.attachment import Attachment
from ...media.convert import attach
from ...media.files import path_of
from ...media.from_object import figure_of
from ...media.source import is_address
from ...services import split_model
from ...text import shorten
from ...tools.tool import Tool, listed
from ..cell.formats import FormatError, json_of
from ..prompt.expression import names_read
from ..prompt.interpolate import RAISED, Prompt, add_image, add_named_image, describe_error, evaluate, fill_in
from ..prompt.scope import prompt_names
from .named_tools import named_tools

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ...chat.answer import Answer
    from .options import Options


_MAX_FILLED_IN = 100_000  # characters
_MAX_IMAGES_OF_A_LIST = 20


@dataclass
class Question:
    """A prompt with its attachments and its chat, ready to send: nothing in it is evaluated any more.

    ``tools`` are those that the line names, besides those of the chat. ``remarks`` say which values were shortened.
    ``kept`` is true once any text of the answer is kept, ``shown`` once its status line is sure to be shown. ``schema``
    is what the answer must fit; ``is_retry`` is true for the prompt after an answer that did not.
    """

    options: Options
    chat: Chat
    text: str
    images: list[Attachment] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    kept: bool = False
    shown: bool = False
    typed: str = ""
    schema: Schema | None = None
    is_retry: bool = False

    @property
    def filled_in(self) -> str:
        """The text with its values, without keys; "" if it is the text of the cell, or too long for metadata."""
        is_long = len(self.text) > _MAX_FILLED_IN
        return "" if self.text == self.typed or is_long else redaction.mask(self.text, settings.known_keys())

    def stream(self, model: str | None = None) -> AnswerStream:
        """Ask the model, or one of several; only the answer of ``options.model`` continues the chat."""
        others = {"keep": False} if model not in (None, self.options.model) else {}
        options = {**self._request_options(model), **others}
        stream = self.chat.stream(self.text, self.images, remarks=self.remarks, **options)
        self._expect(stream.turn.request)
        return stream

    def request(self, model: str | None = None) -> Request:
        """Return the request that ``stream`` would send."""
        return self._expect(self.chat.request(self.text, self.images, **self._request_options(model)))

    def _request_options(self, model: str | None) -> dict[str, Any]:
        options = self.options.request_options(model)
        return {**options, "tools": [*listed(options.get("tools")), *self.tools]}

    def _expect(self, request: Request) -> Request:
        return request if self.schema is None else request.expect(self.schema)

    def check(self, answer: Answer) -> FormatError | None:
        """Return why an answer has no value; ``None`` if it has one, and if the model is asked once more.

        The status line says it of an answer after which the model is asked once more.
        """
        if (misfit := self._misfit(answer)) is None or self.schema is None or self.is_retry:
            return misfit
        answer.remarks.append(f"does not fit: {shorten(misfit.complaint, 100)}; asked once more")
        return None

    def retry(self, stream: AnswerStream) -> Question | None:
        """Return the question that asks once more after an answer that does not fit the schema, else ``None``."""
        if self.schema is None or self.is_retry or (misfit := self._misfit(stream.answer)) is None:
            return None
        chat = self.chat if stream.kept else _continued(self.chat, stream)
        options = replace(self.options, new=False, system=None)
        return replace(self, options=options, chat=chat, text=misfit.retry_prompt, images=[], remarks=[], is_retry=True)

    def _misfit(self, answer: Answer) -> FormatError | None:
        """Return why an answer has no value, if the cell wants one; nothing is expected of a stopped answer."""
        try:
            if self.options.format == "json" and not answer.stopped:
                json_of(answer, self.schema)
        except FormatError as misfit:
            return misfit
        return None

    def record_answer(self, answer: object, names: dict[str, Any]) -> None:
        """Store an answer of which text is kept: in the variable of ``--out``, and its chat under its name.

        The turns of earlier runs of the cell are taken back.
        """
        self.kept = True
        if self.options.out:
            names[self.options.out] = answer
        if not self.options.once and self.options.chat not in chats:
            chats[self.options.chat] = self.chat
        if run := cell_run.get():
            chats.take_back(run)


def question(options: Options, text: str, shell: InteractiveShell, names: dict[str, Any] | None = None) -> Question:
    """Evaluate the expressions of a cell's prompt and options with these names, by default the user's variables.

    This runs the user's code, so call it on the thread that runs cells. ``ValueError`` or ``TypeError`` in one line if
    something cannot be sent.
    """
    chat = Chat() if options.once else chats.unlisted(options.chat)
    _ask_keyring(options)
    names = prompt_names(shell, names)
    prompt = Prompt(text) if options.raw else fill_in(text, names)
    typed, text, images = text, prompt.text, prompt.images
    for named in options.image:
        _add_option_image(images, named, names, shell)
    if not text.strip():
        raise ValueError("there is nothing to ask: write the prompt below this line, or after %backend ask")
    schema = _schema_of(options.schema, names) if options.schema else None
    tools = named_tools(options.tool, names) if options.tool else []
    if options.act and settings.cache(options.cache or options.refresh or chat.cache) is None:
        raise ValueError("--act carries out the calls of a stored answer again, and no cache is on: add --cache")
    return Question(options, chat, text, [*images.values()], tools, prompt.remarks, typed=typed, schema=schema)


def _ask_keyring(options: Options) -> None:
    """Get the keys of the services from the system keyring, if it has to be asked: here an interrupt ends the wait."""
    for name in options.models or [options.model or ""]:
        if (service := split_model(settings.model(name))[0] or settings.service()) is not None:
            settings.ask_keyring(service)


def continuing(options: Options, shell: InteractiveShell) -> Question:
    """Return the question that continues the last answer of a chat; ``ValueError`` if that was not cut off."""
    chat = Chat() if options.once else chats.unlisted(options.chat)
    history = chat.request("", **options.request_options()).history  # without what earlier runs of this cell asked
    text, model = continuation(history)
    return question(replace(options, raw=True, model=options.model or model), text, shell)


def _continued(chat: Chat, stream: AnswerStream) -> Chat:
    """Return a copy of a chat to which the turn of a stream is added, which the chat itself does not keep."""
    chat, request = copy.copy(chat), stream.turn.request
    asked = {**request.question, "media": request.media}
    chat.messages = [*request.history, asked, reply_message(stream.answer, "")]
    return chat


def _schema_of(named: str, names: dict[str, Any]) -> Schema:
    """Return what ``--schema`` names: a variable, else a file, else the value of an expression."""
    if named not in names and os.path.isfile(path := path_of(named)):
        try:
            with open(path, encoding="utf-8") as file:
                return Schema(json.load(file))
        except (OSError, ValueError, RecursionError) as error:
            raise ValueError(f"the file {shorten(named)} is not a JSON schema: {describe_error(error)}") from None
    missing = [name for name in names_read(named) or () if name not in names and not hasattr(builtins, name)]
    if missing:
        raise ValueError(f"--schema {shorten(named)}: there is no variable {missing[0]}, and no file of this name")
    try:
        value = evaluate(names, named)
    except RAISED as error:
        raise ValueError(f"--schema {shorten(named)} raised {describe_error(error)}") from error
    return Schema(value)


def _add_option_image(
    images: dict[str, Attachment], named: str, names: dict[str, Any], shell: InteractiveShell
) -> None:
    """Add what ``-i`` names: @output or @clipboard, else a variable, else a file, else the value of an expression."""
    if named in _IMAGE_WORDS:
        for one in _IMAGE_WORDS[named](shell):
            add_named_image(images, found := attach(one), found.name)
        return
    reads = names_read(named) or ()
    missing = [name for name in reads if name not in names and not hasattr(builtins, name)]
    if named not in names and (not reads or os.path.exists(path_of(named))):
        add_named_image(images, found := attach(named), found.name)
        return
    if missing:
        raise ValueError(f"there is no file {shorten(named)} in {os.getcwd()}, and no variable {shorten(missing[0])}")
    try:
        value = evaluate(names, named)
    except RAISED as error:
        raise ValueError(
            f"there is no file {shorten(named)}, and as an expression it raised {describe_error(error)}"
        ) from error
    if type(value) in (list, tuple) and value and not _is_one_figure(value):
        if len(value) > _MAX_IMAGES_OF_A_LIST:
            raise ValueError(
                f"{shorten(named)} has {len(value)} items, but at most {_MAX_IMAGES_OF_A_LIST} can be sent: send fewer"
            )
        for number, part in enumerate(value):
            _add_value(images, part, f"{named}[{number}]")
    else:
        _add_value(images, value, named)


def _is_one_figure(values: Sequence[Any]) -> bool:
    """Whether these are artists of one figure, and not an image each."""
    try:
        return figure_of(values) is not None
    except ValueError:  # of several figures
        return False


def _add_value(images: dict[str, Attachment], value: Any, code: str) -> None:
    """Add the value of an expression; a text is a path, an address or a data URI."""
    if isinstance(value, str) and value[:5].lower() != "data:" and not is_address(value):
        path = path_of(value)
        if not os.path.exists(path):
            raise ValueError(
                f"{shorten(code)} is a text that does not name a file: give a figure, a picture, bytes or a path"
            )
        value = path
    has_name = isinstance(value, Attachment | os.PathLike) or (isinstance(value, str) and is_address(value))
    if has_name:
        add_named_image(images, found := attach(value), found.name)
    else:
        add_image(images, attach(value, code), code)


def _output(shell: InteractiveShell) -> tuple[bytes, ...]:
    from ..outputs import last_images

    images = last_images(shell)
    if not images:
        raise ValueError("no cell has shown an image yet: -i @output sends the images of the last cell that shows any")
    return images


def _clipboard(_: InteractiveShell) -> list[Any]:
    from ...media.clipboard import clipboard

    return clipboard()


_IMAGE_WORDS = {"@output": _output, "@clipboard": _clipboard}  # no variable can have these names
