"""A conversation with a model."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import aclosing
from functools import partial
from typing import Any, Self

from .. import background, settings
from ..media.convert import attachments
from ..providers.registry import provider_for
from ..typing import Messages
from . import history as memory
from .answer import Answer
from .cache import AnswerCache
from .cell_run import CellRun, cell_run
from .cell_run import from_cell as from_cell
from .observers import Observers
from .request import Request
from .stream import AnswerStream
from .transcript import Transcript
from .turn import Turn

_changing = threading.RLock()
"""Held where a conversation changes: cells, threads and the background loop ask the same one. (Reentrant, for a stream
that nobody holds any more may keep its answer at any place; one for all, for a conversation is copied and pickled.)"""


class Chat:
    """One conversation with a model.

    >>> chat = Chat("gpt-4o", system="Answer in one sentence.")
    >>> answer = await chat.ask("Why is the sky blue?")
    >>> chat("And at sunset?").text  # the same without await

    ``url`` (several are tried in turn) and ``api_key`` come from the settings if they are not given; ``provider`` is a
    name that a server with several knows, as g4f has them; ``params`` are fields of every request
    (``temperature=0.2``); ``cache`` is the folder where answers are kept, and from which the same question is answered
    the next time (``True``: the one that is set, see ``settings.cache``). ``messages`` is the conversation so far: an
    exchange that failed is not in it, the answer of one that was stopped has ``"stopped": True`` (and see ``memory``).

    What a cell asks inside ``with from_cell(id)`` takes the place of what it had asked in an earlier run, and of
    everything after that, once there is an answer. A conversation that the model's context has no room for is sent
    without its oldest turns; ``messages`` keeps them.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        url: str | Iterable[str] | None = None,
        api_key: str | None = None,
        provider: str | None = None,
        system: str | None = None,
        cache: bool | str | os.PathLike[str] | None = None,
        **params: Any,
    ) -> None:
        self.model = model
        self.url = url if url is None or isinstance(url, str) else " ".join(url)
        self.provider = provider
        self.cache = cache
        self.params = params
        self.messages: Messages = []
        self._system = system
        self._api_key = settings.Secret(api_key)
        self._previous_chats: list[Messages] = []  # the conversations before each that was started over
        self._server_states: dict[str, Any] = {}  # what providers want back with the next question
        self._last_provider = ""  # who answered last, and who was asked to
        self._last_asked: str | None = None
        self._last_run_of_cell: dict[str, CellRun] = {}  # the last run of each cell that has said something

    @property
    def system(self) -> str | None:
        """The system prompt of the next question: what a question of the conversation has set, else what was given."""
        said = memory.system_prompt(self.messages)
        return self._system if said is None else said

    @system.setter
    def system(self, prompt: str | None) -> None:
        with _changing:
            self._system = prompt
            for messages in (*self._previous_chats, self.messages):
                for message in messages:
                    message.pop("system", None)

    def stream(
        self, prompt: str, images: Any = (), *, new: bool = False, keep: bool = True, **options: Any
    ) -> AnswerStream:
        """Ask, and give the events of the answer as they come; leaving early stops the answer and keeps its text.

        The options are those of ``request``; ``new`` starts the conversation over, once there is an answer; with
        ``keep=False`` the conversation stays as it was.
        """
        request = self.request(prompt, images, new=new, **options)
        if not keep:
            request.state = None  # what the server remembers goes on elsewhere
            return AnswerStream(request)
        return AnswerStream(request, partial(self._commit_turn, request, new), Observers.of(self).notify)

    def request(
        self,
        prompt: str,
        images: Any = (),
        *,
        model: str | None = None,
        system: str | None = None,
        new: bool = False,
        instead: dict[str, Any] | None = None,
        cache: bool | str | os.PathLike[str] | None = None,
        refresh: bool = False,
        **params: Any,
    ) -> Request:
        """Give what ``stream`` would send, and send nothing.

        ``images`` are whatever ``to_data_uri`` takes, alone or as ``(image, file name)``; they are converted here, on
        the caller's thread. ``model`` and ``params`` (fields of the body) are for this question, ``system`` is the
        system prompt from here on. ``instead``, a question of ``messages``, is asked anew: it goes, and all after it,
        once there is an answer; ``ValueError`` if it is gone already. ``cache`` is as for a ``Chat``; with ``refresh``,
        or asked anew, a kept answer is not replayed: the new one takes its place.
        """
        params = {**({"provider": self.provider} if self.provider else {}), **self.params, **params}
        asked = params.get("provider")
        run = cell_run.get()
        with _changing:
            goes_on = (
                [] if new else self._history_for_run(run)[-1] if instead is None else self._messages_before(instead)
            )
            before = [*goes_on]  # others may ask before this is answered
            state = None
            if goes_on is self.messages:
                state = self._server_states.get(self._last_provider if asked == self._last_asked else str(asked))
        system = instead.get("system") if instead is not None and system is None else system
        said = memory.system_prompt(before) if system is None else system
        kept_in = settings.cache(self.cache if cache is None else cache)
        api = provider_for(*settings.urls(self.url))
        if not api.has_server_state:
            state = None
        question = {"role": "user", "content": prompt, **({} if system is None else {"system": system})}
        return Request(
            provider=api,
            model=settings.model(model or self.model),
            question=memory.Message(question, {"time": time.time()}),
            history=before,
            system=self._system if said is None else said,
            media=attachments(images),
            params=params,
            state=state,
            api_key=self._api_key,
            cell_run=run,
            instead=instead,
            store=None if kept_in is None else AnswerCache(kept_in),
            refresh=refresh or instead is not None,
        )

    async def ask(self, prompt: str, images: Any = (), **options: Any) -> Answer:
        """Ask, and give the whole answer; the options are those of ``stream``."""
        return await _drain(self.stream(prompt, images, **options))

    def __call__(self, prompt: str, images: Any = (), *, nested: bool = False, **options: Any) -> Answer:
        """Ask and wait for the whole answer, without ``await``; the options are those of ``stream``.

        The calling thread blocks meanwhile, its event loop too. Inside a coroutine whose other tasks must go on,
        ``nested=True`` runs the request in the running loop and keeps that loop turning (nest-asyncio2).
        """
        return background.run(_drain(self.stream(prompt, images, **options)), nested=nested)

    @property
    def live(self) -> list[Turn]:
        """The turns whose answers are under way, the oldest first."""
        return [*Observers.of(self).live]

    def watch(self, changed: Callable[[Turn | None], None]) -> Callable[[], None]:
        """Have a function called when a turn begins, goes on or ends, and with ``None`` when other messages changed.

        It is called where that happens, on any thread, and must be quick. What is given back ends the watching.
        """
        return Observers.of(self).watch(changed)

    def reset(self) -> None:
        """Start over: forget what was said, not how to ask."""
        with _changing:
            self.messages = []
            self._previous_chats = []
            self._server_states = {}
            self._last_run_of_cell = {}
        Observers.of(self).notify(None)

    def delete(self, question: dict[str, Any]) -> None:
        """Forget a question of ``messages``, that very one, and what was said to it. ``ValueError`` if it is gone."""
        with _changing:
            turn = memory.find_turn(self.messages, question)
            if turn is None:
                raise _gone()
            self.messages, self._server_states = [*self.messages[: turn[0]], *self.messages[turn[1] :]], {}
        Observers.of(self).notify(None)

    def take_back(self, cell: str | CellRun) -> None:
        """Forget what a cell had said, and everything after it; given a run of it, only what earlier runs had said."""
        run = cell if isinstance(cell, CellRun) else CellRun(cell)
        with _changing:
            *self._previous_chats, self.messages = self._drop_stale_states(self._history_for_run(run))
            if run is cell and not self._is_over(run):
                self._last_run_of_cell[run.cell] = run
        Observers.of(self).notify(None)

    def forget(self, cell: str) -> None:
        """Forget what a cell had said and nothing else, for it is gone from the notebook."""
        with _changing:
            *self._previous_chats, kept = memory.remove_cell([*self._previous_chats, self.messages], cell)
            if kept != self.messages:
                self.messages, self._server_states = kept, {}
        Observers.of(self).notify(None)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the conversation to a file that only its owner may read: no key in it, nor where it was asked."""
        self._transcript().save(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, url: str | None = None, api_key: str | None = None) -> Self:
        """Give the conversation that was saved; ``ValueError`` if the file is damaged, or another kind of file.

        Where to ask is never read from a file: a stranger's could have your key sent to another server.
        """
        saved = Transcript.load(path)
        chat = cls(saved.model, url=url, api_key=api_key, provider=saved.provider, system=saved.system)
        about = saved.about or [{} for _ in saved.messages]
        chat.params, chat.messages = saved.params, [*map(memory.Message, saved.messages, about)]
        return chat

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write the conversation for people: as Markdown (``.md``), or as a notebook to run again (``.ipynb``)."""
        from . import export

        export.write(self._transcript(), path)

    def __repr__(self) -> str:
        model = settings.model(self.model)
        return f"<Chat{f' with {model}' if model else ''}: {memory.describe_length(self.messages)}>"

    def _repr_markdown_(self) -> str:
        from .export import to_markdown

        return to_markdown(self._transcript(), level=4)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        from ..markdown.data_uris import shorten_data_uris
        from ..text import safe_terminal

        printer.text(safe_terminal(shorten_data_uris(self._repr_markdown_())))

    def _transcript(self) -> Transcript:
        key = settings.api_key(self._api_key.value)
        messages = [*self.messages]
        about = [memory.metadata(message) for message in messages]
        return Transcript(self.model, self.provider, self._system, self.params, messages, about).without(key)

    def _history_for_run(self, run: CellRun | None) -> list[Messages]:
        """Give the conversations that were started over, and the one that goes on, as they stand for a cell's run."""
        all_ = [*self._previous_chats, self.messages]
        if run is None or self._last_run_of_cell.get(run.cell) is run or self._is_over(run):
            return all_
        return memory.history_before_cell(all_, run.cell)

    def _is_over(self, run: CellRun) -> bool:
        """Whether the cell has run again since, and said something: what this run still says is taken back already."""
        last = self._last_run_of_cell.get(run.cell)
        return last is not None and last.number > run.number

    def _drop_stale_states(self, conversations: list[Messages]) -> list[Messages]:
        """Note that these are the conversations from here on: what servers remember of another is of no use."""
        if conversations[-1] is not self.messages:
            self._server_states = {}
        return conversations

    def _messages_before(self, question: dict[str, Any]) -> Messages:
        turn = memory.find_turn(self.messages, question)
        if turn is None:
            raise _gone()
        return self.messages[: turn[0]]

    def _commit_turn(self, request: Request, new: bool, answer: Answer, states: dict[str, Any]) -> None:
        question, run = request.question, request.cell_run
        if request.media:
            question["media"] = request.media
        about = {"time": time.time(), **answer.metadata()}
        about |= {"reasoning": answer.reasoning} if answer.reasoning else {}
        reply = memory.Message({"role": "assistant", "content": answer.text}, about)
        if answer.stopped:
            reply["stopped"] = True
        if answer.trimmed:
            reply["trimmed"] = answer.trimmed
        if images := answer.stored_images():
            reply["images"] = images
        with _changing:
            if run is not None and self._is_over(run):
                return
            conversations = self._history_for_run(run)
            if request.instead is not None and (turn := memory.find_turn(self.messages, request.instead)):
                conversations = [*self._previous_chats, self.messages[: turn[0]]]
            if cell := run.cell if run is not None else (request.instead or {}).get("cell"):
                question["cell"] = cell
            if new and conversations[-1]:
                conversations = [*conversations, []]
            *self._previous_chats, self.messages = self._drop_stale_states(conversations)
            if self.messages != request.history:  # others have said something meanwhile, which the server has not heard
                self._server_states, states = {}, {}
            if answer.trimmed > memory.trimmed_turns(self.messages):
                self._server_states = {}
            self._server_states |= states
            self._last_provider = str(answer.provider.get("name") or "")
            self._last_asked = request.params.get("provider")
            if run is not None:
                self._last_run_of_cell[run.cell] = run
            self.messages += [question, reply]


def _forget() -> None:
    """A fork may have the lock held by a thread that it has not."""
    global _changing
    _changing = threading.RLock()


background.on_fork(_forget)


def _gone() -> ValueError:
    return ValueError("this question is no longer in the conversation")


async def _drain(stream: AnswerStream) -> Answer:
    async with aclosing(stream):
        async for _ in stream:
            pass
    return stream.answer
