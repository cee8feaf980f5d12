"""Ask several models at once, and return the list of their answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ... import settings
from ...chat.answer import Answer
from ...chat.request import Request
from ...chat.stream import AnswerStream
from ...errors import BackendError
from ...providers.catalog import names_listed
from ...providers.key_errors import asked_service, missing_key
from ...providers.unknown_model import is_listed
from ...services import split_model
from ..cell.answers import Answers
from ..cell.formats import FormatError, value_of
from ..cell.taken_back import mark_if_taken_back
from ..cell.view import View, show_stream
from ..errors import MagicError
from .mistakes import not_listed, refuse_like_service, refuse_unsure

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from ...chat.schema import Schema
    from .options import Options
    from .question import Question


async def check_models(question: Question) -> None:
    """Raise ``ValueError`` if a server does not list each of several models, before any of them is asked.

    Aliases are not checked. If there is no list, those whose names may be words of a text are refused.
    Answers in the cache are replayed without a check, as nothing is sent for them.
    """
    names = question.options.models or [*filter(None, (question.options.model,))]
    requests = [question.request(name) for name in names]
    if settings.cache_only():
        return
    by_server: dict[tuple[str | None, str], list[Request]] = {}
    for request in requests:
        if request.recorded() is None:
            server = settings.url(request.provider.url), request.provider.dialect
            by_server.setdefault(server, []).append(request)
    await asyncio.gather(*(_check_server(question, names, asked) for asked in by_server.values()))


async def _check_server(question: Question, names: Sequence[str], requests: Sequence[Request]) -> None:
    """Check the models that one server is asked for; ``names`` are those of all servers."""
    api, provider, key = requests[0].provider, requests[0].params.get("provider"), requests[0].api_key
    aliased = {split_model(settings.model(name))[1] for name in settings.current.aliases}
    named = [request.model for request in requests if request.model not in aliased]
    service = asked_service(api)
    if (service is not None and not service.lists_its_models) or missing_key(api, api.key(key)):
        return  # the answers say what is wrong
    unsure = [name for name in named if name in question.options.unsure]
    like_service = [name for name in named if name in question.options.like_service]
    listed: list[str] = []
    if requests[0].url is not None:
        listed = await names_listed(api, provider, api_key=key.value) if named else []
        if not all(is_listed(name, listed) for name in (named if listed else unsure)):
            listed = await names_listed(api, provider, api_key=key.value, fresh=True)  # a model may have been added
    refuse_like_service(like_service, listed, are_all=len(like_service) == len(named))
    if requests[0].url is None and len(requests) > 1:
        raise ValueError(
            "the embedded backend has one model, which would answer under each of these names: name one, or choose a "
            "server with %backend url; a prompt goes into the lines below"
        )
    if question.options.doubt and not all(is_listed(name, listed) for name in unsure):
        raise ValueError(question.options.doubt)
    if not listed:
        refuse_unsure(names, unsure)
    elif missing := [name for name in named if not is_listed(name, listed)]:
        raise not_listed(names, missing, listed, service)


class MultiModelRun:
    """A prompt that several models answer at the same time; one of the answers continues the chat."""

    def __init__(
        self, question: Question, retries: Mapping[int, Question] | None = None, answers: Answers | None = None
    ) -> None:
        """``retries`` are questions for some of the models, by index, and ``answers`` what all have answered before."""
        models = question.options.models
        self.question = question
        self._asked = retries or dict.fromkeys(range(len(models)), question)
        self._places = [*self._asked]  # of these models in ``answers``
        self.models = [models[place] for place in self._places]
        # all requests are built before the first answer
        self.streams = [self._asked[place].stream(models[place]) for place in self._places]
        self.answers = Answers(models, [stream.answer for stream in self.streams]) if answers is None else answers

    def retry(self) -> MultiModelRun | None:
        """Return the run that asks those once more whose answers do not fit the schema, ``None`` if all do."""
        retries = {
            place: retry
            for place, stream in zip(self._places, self.streams, strict=True)
            if isinstance(self.answers[place], Answer) and (retry := self._asked[place].retry(stream)) is not None
        }
        return MultiModelRun(self.question, retries, self.answers) if retries else None

    async def show(self, view: View, names: dict[str, Any]) -> Answers:
        """Show all answers while they stream; if all fail, raise the error of the one that would continue the chat."""
        try:
            asking = (self._ask(at, stream, view, names) for at, stream in enumerate(self.streams))
            for unexpected in filter(None, await asyncio.gather(*asking, return_exceptions=True)):
                raise unexpected
        finally:
            for at, stream in enumerate(self.streams):  # an interrupt may have come before a stream was started
                await stream.aclose()
                view.finish(stream.answer, False, at)
            self._keep_texts(names)
        if not any(isinstance(one, Answer) for one in self.answers):
            raise self.answers[_kept_index(self.question.options)]
        return self.answers

    async def _ask(self, at: int, stream: AnswerStream, view: View, names: dict[str, Any]) -> None:
        place = self._places[at]
        try:
            self.answers[place] = await show_stream(stream, view, at, self._asked[place].check, self.models[at])
        except BackendError as error:
            self.answers[place] = error.with_traceback(None)  # whose frames would keep all objects of the cell alive
        except (TypeError, ValueError) as error:
            self.answers[place] = MagicError(error)
        finally:
            if stream.kept:
                self.question.record_answer(self.answers, names)
                mark_if_taken_back(self.question.chat, stream.turn, view, at)

    def _keep_texts(self, names: dict[str, Any]) -> None:
        """Keep the list if any answer has text, also after an interrupt."""
        if any(isinstance(one, Answer) and one.text for one in self.answers):
            self.question.kept = True
            if self.question.options.out:
                names[self.question.options.out] = self.answers


def value_of_cell(answer: Answer | Answers, question: Question, shell: InteractiveShell) -> Any:
    """Return the value of a cell in the format it asks for; ``FormatError`` if the answer is not in that format.

    For several answers: with ``-f json`` the list of values, with an error in place of each that is missing; with
    ``-f code`` the code comes from the answer that continues the chat.
    """
    options, schema = question.options, question.schema
    if isinstance(answer, Answer):
        return value_of(answer, options.format, shell, schema)
    if options.format != "json":
        if isinstance(kept := answer[_kept_index(options)], Answer):
            value_of(kept, options.format, shell)
        return answer
    values = [_value_or_error(one, shell, schema) for one in answer]
    if all(isinstance(value, Exception) for value in values):
        raise next(value for value in values if isinstance(value, FormatError))
    return values


def _value_or_error(answer: Answer | Exception, shell: InteractiveShell, schema: Schema | None) -> Any:
    try:
        return value_of(answer, "json", shell, schema) if isinstance(answer, Answer) else answer
    except FormatError as error:
        return error


def _kept_index(options: Options) -> int:
    """Return the index of the model whose answer continues the chat."""
    return options.models.index(options.model or "")
