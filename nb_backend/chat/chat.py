"""The public class ``Chat``."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from .. import background, settings
from ..media.convert import attachments
from ..providers.common_fields import check_effort
from ..providers.keywords import refuse_unknown
from ..providers.registry import provider_named, resolve
from ..services import split_model
from ..text import truncate
from ..tools.consent import Approve, Asker, Consents, check_approve
from ..tools.tool import Tool, as_tools, joined, listed
from ..typing import Messages
from .answer import Answer
from .cache import AnswerCache
from .cell_run import CellRun, cell_run
from .cell_run import from_cell as from_cell
from .history import History
from .mcp_tools import McpTools
from .messages import Message, new_turn_id, opening_words, system_prompt
from .observers import Observers
from .prompt_text import prompt_text, system_text
from .removals import Kind, Removal
from .reply import reply_message
from .request import Request
from .rounds import MAX_STEPS
from .saved_chat import SavedChat
from .stream import AnswerStream
from .turn import Turn

MAX_TITLE = 100  # characters
_OPTIONS = frozenset(
    {"model", "system", "provider", "new", "keep", "instead", "cache", "refresh", "remarks", "tools", "act"}
)  # of a prompt


class Chat(McpTools, SavedChat):
    """Chat with a model.

    >>> chat = Chat("gpt-4o", system="Answer in one sentence.")
    >>> answer = await chat.ask("Why is the sky blue?")
    >>> chat("And at sunset?").text  # the same without await

    ``model`` may name a service of the table ``nb_backend.services.SERVICES`` before a colon
    (``anthropic:claude-sonnet-5``): that service is asked, with its own key. ``url``, ``api`` and ``api_key`` come from
    the settings if they are not given; several urls are tried in turn, and the name of a service stands for its url.
    ``api`` is the dialect of the url, if its looks do not tell: ``openai-chat``, ``openai-responses``, ``anthropic``,
    ``gemini`` or ``g4f``. ``api_key`` is sent to that url, or to the service of ``model``, and nowhere else.
    ``provider`` names a service that the server can route to, as g4f has them. ``params`` are fields of every request
    (``temperature=0.2``); a keyword that cannot be one, like ``base_url``, is a ``TypeError``. ``effort`` ("none",
    "low", "medium", "high") is how long the model reasons before it answers. ``cache`` is a folder:
    answers are stored there, and the same request is answered from it the next time; ``True`` means the folder of the
    settings (see ``settings.cache``). ``connect_timeout`` is the seconds until the connection is open, 10 by default,
    and ``idle_timeout`` the seconds without data after which an answer fails, 120 by default.

    ``tools`` are functions that the model may call, at most ``max_steps`` times in a row: functions with annotations
    and a docstring, ``tool(…)``, and those of ``nb_backend.tools``. Your own functions run when the model calls them;
    ``run`` and tools with ``approve=True`` ask first. ``approve`` decides instead: a function of the ``ToolCall`` that
    returns a bool, "always" or "never".

    ``messages`` is the history, a list of dicts of ``role`` and ``content``, which you may change. A failed exchange is
    not in it; a stopped answer has ``"stopped": True``. ``nb_backend.chat.messages`` lists the other keys.

    Inside ``with from_cell(id)``, a prompt replaces what an earlier run of that cell asked, and what cells asked after
    that, as soon as there is an answer. What no cell has asked stays, after the new turn. ``undo`` brings back what was
    removed, and a turn that was edited or asked again keeps its versions (``choose_version``).

    If the history exceeds the model's context, the oldest turns are not sent; they stay in ``messages``.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        url: str | Iterable[str] | None = None,
        api: str | None = None,
        api_key: str | None = None,
        provider: str | None = None,
        system: str | None = None,
        cache: bool | str | os.PathLike[str] | None = None,
        connect_timeout: float | None = None,
        idle_timeout: float | None = None,
        effort: str | None = None,
        tools: Any = None,
        max_steps: int = MAX_STEPS,
        approve: Approve = None,
        **params: Any,
    ) -> None:
        self._api_key, api_key = settings.Secret(api_key), None  # a traceback must not show the key
        self._history = History()
        self.model = self._key_model = model
        self.provider = provider
        self.cache = cache
        self.connect_timeout = connect_timeout
        self.idle_timeout = idle_timeout
        self.params = params
        refuse_unknown(params, "Chat")
        self.effort = effort
        settings.seconds("connect_timeout", connect_timeout)
        settings.seconds("idle_timeout", idle_timeout)
        self.url = url if url is None or isinstance(url, str) else " ".join(url)
        self.api = api
        if api is not None:
            provider_named(api)
        self._system = system_text(system)
        self._title: str | None = None
        self.tools = as_tools(tools)
        self.max_steps = max_steps
        self.approve = check_approve(approve)
        if type(max_steps) is not int or max_steps < 0:
            raise ValueError(f"max_steps must be a whole number from 0 on, not {max_steps!r}")

    @property
    def messages(self) -> Messages:
        """The history: dicts of ``role`` and ``content``, and local keys. You may change it, or assign another list."""
        return self._history.messages

    @messages.setter
    def messages(self, messages: Messages) -> None:
        self._history.messages = messages

    @property
    def system(self) -> str | None:
        """The system prompt of the next request: the last one that a message has set, else that of the chat."""
        latest = system_prompt(self.messages)
        return self._system if latest is None else latest

    @system.setter
    def system(self, prompt: str | None) -> None:
        self._system = system_text(prompt)
        self._history.clear_system_prompts()

    @property
    def effort(self) -> str | None:
        """How long the model reasons before it answers: "none", "low", "medium", "high"; ``None``: the server's choice.

        ``ValueError`` if you assign anything else. It is a field of ``params``.
        """
        return self.params.get("effort")

    @effort.setter
    def effort(self, effort: str | None) -> None:
        others = {name: value for name, value in self.params.items() if name != "effort"}
        self.params = others if check_effort(effort) is None else {**others, "effort": effort}

    @property
    def tools(self) -> list[Any]:
        """The functions that the model may call, a list that you may change; assign one, several or ``None``."""
        return self._tools

    @tools.setter
    def tools(self, tools: Any) -> None:
        self._tools = tools if isinstance(tools, list) else listed(tools)

    @property
    def title(self) -> str:
        """The title: what you assign, else the beginning of the first question, or ``""`` before there is one.

        The panel shows it. A chat in ``chats`` keeps its name. Assign ``None`` to have the first question again.
        """
        return self._title or opening_words(self.messages)

    @title.setter
    def title(self, title: str | None) -> None:
        words = "" if title is None else " ".join(prompt_text(title, "the title").split())
        self._title = truncate(words, MAX_TITLE) or None
        Observers.of(self).notify(None)

    def use_key(self, key: settings.Secret) -> None:
        """Send this key from now on, to the servers of this chat only."""
        self._api_key, self._key_model = key, self.model

    def stream(
        self, prompt: str | Answer, images: Any = None, *, new: bool = False, keep: bool = True, **options: Any
    ) -> AnswerStream:
        """Send a prompt and return the events of the answer; leaving early stops the answer and keeps its text.

        The options are those of ``request``. ``new=True`` starts the chat over as soon as there is an answer;
        ``keep=False`` leaves the history as it is.
        """
        background.check_may_ask()
        refuse_unknown(options, "a prompt", _OPTIONS)
        request = self.request(prompt, images, new=new, **options)
        if not keep:
            request.state = None  # the server's state goes with the history
            return AnswerStream(request)
        return AnswerStream(request, partial(self._commit, request, new), Observers.of(self).notify)

    def request(
        self,
        prompt: str | Answer,
        images: Any = None,
        *,
        model: str | None = None,
        system: str | None = None,
        new: bool = False,
        instead: dict[str, Any] | None = None,
        cache: bool | str | os.PathLike[str] | None = None,
        refresh: bool = False,
        remarks: Iterable[str] = (),
        tools: Any = None,
        act: bool = False,
        **params: Any,
    ) -> Request:
        """Build the request that ``stream`` would send, without sending it.

        ``prompt`` is a text, or an ``Answer``, which stands for its text; anything else is a ``TypeError``. ``images``
        are what ``to_data_uri`` accepts, each alone or as ``(image, file name)``, or ``None``. They are converted at
        once, on the caller's thread. ``model`` and ``params`` (fields of the body) apply to this request only;
        ``system`` is the system prompt from here on.

        ``instead`` is a message of ``messages`` to ask again: as soon as there is an answer, its turn has a new
        version, and the old one is kept with everything after it. Raises ``ValueError`` if it is no longer there.
        ``cache`` is as for ``Chat``. With ``refresh`` or ``instead``, a stored answer is not replayed, and the new one
        replaces it. ``tools`` are those of this prompt, beside those of the chat; with ``act``, the calls of a stored
        answer are carried out again. ``remarks`` say what was left out of the prompt ("df: 20 of 200 rows sent"); the
        answer repeats them.
        """
        refuse_unknown(params, "a prompt")
        refuse_unknown({**self.params}, "chat.params")
        params = {**({"provider": self.provider} if self.provider else {}), **self.params, **params}
        check_effort(params.get("effort"))
        tools, remarks = joined(params.pop("tools", None), self.tools, tools), [*remarks]
        if tools and (off := settings.tools_off()):
            tools, remarks = [], [*remarks, f"without tools: {off}"]
        params |= {"tools": [one.schema if isinstance(one, Tool) else one for one in tools]} if tools else {}
        prompt = prompt_text(prompt)
        system = system_text(system)
        run = cell_run.get()
        history, state = self._history.before(run, replaced=instead, new=new, provider=params.get("provider"))
        system = instead.get("system") if instead is not None and system is None else system
        latest = system_prompt(history) if system is None else system
        cache_folder = settings.cache(self.cache if cache is None else cache)
        timeouts = {name: settings.seconds(name, getattr(self, name)) for name in ("connect_timeout", "idle_timeout")}
        name = settings.model(model or self.model)
        is_own = self._is_own(name, self.model)
        url, dialect = (self.url, self.api) if is_own else (None, None)
        api, name_there = resolve(name, url, dialect, **timeouts)
        if not api.has_server_state:
            state = None
        question = {"role": "user", "content": prompt, **({} if system is None else {"system": system})}
        return Request(
            provider=api,
            model=name_there,
            question=Message(question, {"id": new_turn_id(), "time": time.time(), **({"model": name} if name else {})}),
            history=history,
            system=self._system if latest is None else latest,
            media=[] if images is None else attachments(images),
            params=params,
            state=state,
            api_key=self._api_key if is_own and self._is_own(name, self._key_model) else settings.Secret(),
            cell_run=run,
            instead=instead,
            store=None if cache_folder is None else AnswerCache(cache_folder),
            refresh=refresh or instead is not None,
            remarks=remarks,
            tools={one.wire_name: one for one in tools if isinstance(one, Tool)},
            max_steps=self.max_steps,
            consents=Consents(check_approve(self.approve), _asker() if tools else None, run),
            act=act,
        )

    def _is_own(self, model: str, own: str | None) -> bool:
        """Whether a model is asked where the chat's model ``own`` is: at the chat's url, or at its service."""
        service, other = (split_model(one, has_url=bool(self.url))[0] for one in (model, settings.model(own)))
        return service == other or (service is None and bool(self.url))

    async def ask(self, prompt: str | Answer, images: Any = None, **options: Any) -> Answer:
        """Send a prompt and return the complete answer; the options are those of ``stream``."""
        refuse_unknown(options, "a prompt", _OPTIONS)
        return await self.stream(prompt, images, **options).drain()

    def __call__(self, prompt: str | Answer, images: Any = None, *, nested: bool = False, **options: Any) -> Answer:
        """Send a prompt and wait for the complete answer, without ``await``; the options are those of ``stream``.

        The calling thread blocks meanwhile, its event loop too. Inside a coroutine whose other tasks must go on,
        ``nested=True`` runs the request in the running loop and keeps that loop turning (nest-asyncio2).
        """
        refuse_unknown(options, "a prompt", _OPTIONS)
        return background.run(self.stream(prompt, images, **options).drain(), nested=nested)

    @property
    def live(self) -> list[Turn]:
        """The turns in progress, oldest first."""
        return [*Observers.of(self).live]

    def watch(self, changed: Callable[[Turn | None], None]) -> Callable[[], None]:
        """Call a function when a turn begins, changes or ends, and with ``None`` when other messages have changed.

        It is called at once, on whatever thread makes the change, and must be quick. Returns a function that ends this.
        """
        return Observers.of(self).watch(changed)

    def reset(self) -> None:
        """Remove all messages; the settings of the chat stay."""
        self._history.clear()
        Observers.of(self).notify(None)

    def delete(self, question: dict[str, Any]) -> None:
        """Remove the turn of a message, found by identity. Raises ``ValueError`` if it is not in ``messages``."""
        self._history.delete(question)
        Observers.of(self).notify(None)

    def take_back(self, cell: str | CellRun) -> None:
        """Take back the turns of a cell, and those of cells after them. Given a run: only those of earlier runs."""
        self._history.rewind(cell)
        Observers.of(self).notify(None)

    def forget(self, cell: str) -> None:
        """Remove the turns of a cell that was deleted from the notebook, and keep all others."""
        self._history.remove(cell)
        Observers.of(self).notify(None)

    @property
    def removals(self) -> list[tuple[Removal, Messages]]:
        """What was removed and can come back, newest last: each removal with its messages.

        A turn whose cell has asked again does not come back: the cell's new turn stands in its place.
        """
        return self._history.removals()

    def undo(self, removal: Removal | None = None) -> None:
        """Undo the last removal, or this one: of a cell that ran again or was deleted, or of ``delete`` or ``reset``.

        The turns come back at their places; what was added since stays. After an edit or a retry, the earlier version
        is chosen again. Raises ``ValueError`` if there is nothing to undo.
        """
        self._history.undo(removal)
        Observers.of(self).notify(None)

    def note_removal(self, kind: Kind) -> Removal:
        """Note that something beside the messages was removed, such as a failed turn, and return it for ``undo``."""
        removal = self._history.note_removal(kind)
        Observers.of(self).notify(None)
        return removal

    @property
    def versions(self) -> dict[int, tuple[int, int]]:
        """For the ``id()`` of each message with several versions: which one it is, from 1, and how many there are."""
        return self._history.versions()

    def choose_version(self, message: dict[str, Any], number: int) -> None:
        """Choose another version of a prompt or an answer of ``messages``, counted from 1, with all that followed it.

        The version shown before is kept. Raises ``ValueError`` if there is no such message or version.
        """
        self._history.choose(message, number)
        Observers.of(self).notify(None)

    def restore(self, saved: Messages, *, removed: bool = False) -> Messages:
        """Add the turns of a saved history that are missing here, at their places, and return their prompts.

        A turn of a cell that has run since then is left out: the question that the cell asks now replaces it. Turns
        that were removed in this process are left out as well, unless ``removed`` is true.
        """
        added = self._history.restore(saved, removed=removed)
        if added:
            Observers.of(self).notify(None)
        return added

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_history": copy.copy(self._history)}  # also a shallow copy has a history of its own

    def _commit(self, request: Request, new: bool, answer: Answer, states: dict[str, Any]) -> None:
        """Add a prompt and its answer to the history."""
        question = request.question
        if request.media:
            question["media"] = request.media
        self._history.commit(
            question,
            reply_message(answer, request.provider.state_owner()),
            request.history,
            request.cell_run,
            replaced=request.instead,
            new=new,
            states=states,
            provider=str(answer.provider.get("name") or ""),
            requested=request.params.get("provider"),
        )


def _asker() -> Asker:
    from ..tools.asking import ask_in_cell  # with what shows a question; most chats have no tools

    return ask_in_cell
