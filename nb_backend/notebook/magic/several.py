"""A question asked of several models at once, and the list of what they answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ...chat.answer import Answer
from ...chat.stream import AnswerStream
from ...errors import BackendError
from ..cell.answers import Answers
from ..cell.formats import FormatError, value_of
from ..cell.view import View, show_stream
from ..errors import MagicError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .options import Options
    from .question import Question


class MultiModelRun:
    """A question to several models, whose answers come at once; one of them goes on in the conversation."""

    def __init__(self, question: Question) -> None:
        models = question.options.models
        self.question = question
        self.streams = [question.stream(model) for model in models]  # before any of them has answered
        self.answers = Answers(models, [stream.answer for stream in self.streams])

    async def show(self, view: View, names: dict[str, Any]) -> Answers:
        """Show all answers as they come. Raise what the one that goes on failed with, if all have failed."""
        try:
            asking = (self._ask(at, stream, view, names) for at, stream in enumerate(self.streams))
            for unforeseen in filter(None, await asyncio.gather(*asking, return_exceptions=True)):
                raise unforeseen
        finally:
            for at, stream in enumerate(self.streams):  # an interrupt may have come before they were asked
                await stream.aclose()
                view.finish(stream.answer, False, at)
            self._settle(names)
        if not any(isinstance(one, Answer) for one in self.answers):
            raise self.answers[_kept(self.question.options)]
        return self.answers

    async def _ask(self, at: int, stream: AnswerStream, view: View, names: dict[str, Any]) -> None:
        try:
            await show_stream(stream, view, at)
        except BackendError as error:
            self.answers[at] = error.with_traceback(None)  # whose frames would keep the whole cell
        except (TypeError, ValueError) as error:
            self.answers[at] = MagicError(error)
        finally:
            if stream.kept:
                self.question.record_answer(self.answers, names)

    def _settle(self, names: dict[str, Any]) -> None:
        """Keep what was said, also of an interrupted cell."""
        if any(isinstance(one, Answer) and one.text for one in self.answers):
            self.question.kept = True
            if self.question.options.out:
                names[self.question.options.out] = self.answers


def value_of_cell(answer: Answer | Answers, options: Options, shell: InteractiveShell) -> Any:
    """Give what a cell is worth in the format it asks for; ``FormatError`` if the answer is none.

    Of several: for JSON the list of the objects, with errors in their places; the code is that of the model which goes
    on in the conversation.
    """
    if isinstance(answer, Answer):
        return value_of(answer, options.format, shell)
    if options.format != "json":
        if isinstance(kept := answer[_kept(options)], Answer):
            value_of(kept, options.format, shell)
        return answer
    values = [_value_or_error(one, shell) for one in answer]
    if all(isinstance(value, Exception) for value in values):
        raise next(value for value in values if isinstance(value, FormatError))
    return values


def _value_or_error(answer: Answer | Exception, shell: InteractiveShell) -> Any:
    try:
        return value_of(answer, "json", shell) if isinstance(answer, Answer) else answer
    except FormatError as error:
        return error


def _kept(options: Options) -> int:
    """Give which of the models goes on in the conversation."""
    return options.models.index(options.model or "")
