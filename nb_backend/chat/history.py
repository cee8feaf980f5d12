"""Messages of a chat: which ones a request follows, what a re-run takes back, and how they are sent.

A *turn* is a user message with all that answers it. A message may carry these local keys, which are never sent:

``stopped``  ``True``: the answer was stopped before its end
``trimmed``  how many of the oldest turns were left out of the request
``cell``     the id of the cell that asked
``system``   the system prompt from this message on
``media``    the attachments, a list of ``Attachment``
``images``   what the image addresses in an answer stand for, as ``safe_markdown`` takes it
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from .. import background
from ..media.message_parts import text_of, text_parts
from ..text import counted
from ..typing import Messages
from .cell_run import CellRun
from .merge import merge

LOCAL_KEYS = frozenset({"stopped", "trimmed", "cell", "system", "media", "images"})
_TITLE_LENGTH = 58  # characters, without the ellipsis
_NEVER_TRIMMED = frozenset({"system", "developer"})  # roles

_lock = threading.RLock()
"""Held while a history is read or changed: cells, threads and the background loop use the same chat. It is reentrant
because a stream that is garbage-collected commits its answer at any point, and global because chats are copied and
pickled."""


class Message(dict[str, Any]):
    """Message with ``metadata`` beside its fields: time, model, provider, usage, seconds, reasoning. Never sent.

    The ``id`` in the metadata of a prompt identifies its turn, also in files and in another process.
    """

    __slots__ = ("metadata",)

    def __init__(self, message: Mapping[str, Any], metadata: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.metadata = metadata or {}


class History:
    """The messages of a chat, the earlier ones that ``new=True`` put aside, and the state that providers want back.

    A cell's new run takes back what its earlier runs asked, and everything after that, in all of these messages.
    """

    def __init__(self) -> None:
        self.messages: Messages = []
        self._previous: list[Messages] = []  # one list for each time that the chat was started over
        self._last_run_of_cell: dict[str, CellRun] = {}  # only runs that have an answer here
        self._known_turns: set[str] = set()  # ids of all turns that are or were here
        self._cells: set[str] = set()  # all that have run in this process
        self._server_states: dict[str, Any] = {}  # by name of the provider
        self._last_provider = ""  # the one that answered
        self._last_requested: str | None = None  # the one that the request named

    def before(
        self,
        run: CellRun | None = None,
        *,
        replaced: Mapping[str, Any] | None = None,
        new: bool = False,
        provider: str | None = None,
    ) -> tuple[Messages, Any]:
        """Return a copy of the messages that the next request follows, and the server state to send back, or ``None``.

        ``run`` is the cell run that asks, ``replaced`` the message that is asked again, ``provider`` the one that the
        request names. Raises ``ValueError`` if ``replaced`` is no longer in the chat.
        """
        with _lock:
            if new:
                return [], None
            messages = self._histories_for(run)[-1] if replaced is None else self.messages[: self._turn_of(replaced)[0]]
            state = None
            if messages is self.messages:
                name = self._last_provider if provider == self._last_requested else str(provider)
                state = self._server_states.get(name)
            return [*messages], state

    def commit(
        self,
        question: dict[str, Any],
        reply: dict[str, Any],
        sent: Messages,
        run: CellRun | None = None,
        *,
        replaced: Mapping[str, Any] | None = None,
        new: bool = False,
        states: dict[str, Any],
        provider: str,
        requested: str | None,
    ) -> None:
        """Add a turn. It takes the place of what an earlier run of the cell asked, or of the message ``replaced``.

        ``sent`` are the messages that the request followed, ``states`` the server states that came with the answer.
        A turn of a run that a later one has already taken back is dropped.
        """
        with _lock:
            if run is not None and self._is_superseded(run):
                return
            histories = self._histories_for(run)
            if replaced is not None and (turn := find_turn(self.messages, replaced)):
                histories = [*self._previous, self.messages[: turn[0]]]
            if cell := run.cell if run is not None else (replaced or {}).get("cell"):
                question["cell"] = cell
            if new and histories[-1]:
                histories = [*histories, []]
            self._replace(histories)
            if self.messages != sent:  # turns that the server has not seen were added meanwhile
                self._server_states, states = {}, {}
            if reply.get("trimmed", 0) > trimmed_turns(self.messages):
                self._server_states = {}
            self._server_states |= states
            self._last_provider, self._last_requested = provider, requested
            if run is not None:
                self._last_run_of_cell[run.cell] = run
            self.messages += [question, reply]
            self._note([question])
            if run is not None:
                self._cells = {*self._cells, run.cell}

    def rewind(self, cell: str | CellRun) -> None:
        """Undo the turns of a cell, and all turns after them. Given a run: only those of earlier runs."""
        run = cell if isinstance(cell, CellRun) else CellRun(cell)
        with _lock:
            self._replace(self._histories_for(run))
            if run is cell and not self._is_superseded(run):
                self._last_run_of_cell[run.cell] = run
            self._cells = {*self._cells, run.cell}

    def remove(self, cell: str) -> None:
        """Remove the turns of one cell, and keep all others."""
        with _lock:
            *self._previous, left = remove_cell([*self._previous, self.messages], cell)
            if left != self.messages:
                self._note(self.messages)
                self.messages, self._server_states = left, {}

    def restore(self, saved: Messages) -> Messages:
        """Put in the turns of a record that are not known here, and return their prompts (see ``merge``)."""
        with _lock:
            earlier = [message for messages in self._previous for message in messages]
            known = self._known_turns | {str(metadata(message).get("id")) for message in earlier}
            merged = merge(saved, self.messages, known=known, cells=self._cells)
            here = {id(message) for message in self.messages}
            added = [one for one in merged if id(one) not in here]
            if added:
                self.messages, self._server_states = merged, {}
                self._note(added)
            return [one for one in added if one.get("role") == "user"]

    def delete(self, question: Mapping[str, Any]) -> None:
        """Remove the turn of one message, found by identity. Raises ``ValueError`` if it is not in the chat."""
        with _lock:
            start, end = self._turn_of(question)
            self._note(self.messages[start:end])
            self.messages, self._server_states = [*self.messages[:start], *self.messages[end:]], {}

    def clear(self) -> None:
        """Remove all messages, and with them what is known about cells and servers."""
        with _lock:
            self._note(self.messages)
            self.messages, self._previous, self._server_states, self._last_run_of_cell = [], [], {}, {}

    def clear_system_prompts(self) -> None:
        """Remove the system prompts that messages have set."""
        with _lock:
            for messages in (*self._previous, self.messages):
                for message in messages:
                    message.pop("system", None)

    def _histories_for(self, run: CellRun | None) -> list[Messages]:
        """Return the previous messages and the current ones, as a cell's run finds them."""
        histories = [*self._previous, self.messages]
        if run is None or self._last_run_of_cell.get(run.cell) is run or self._is_superseded(run):
            return histories
        return history_before_cell(histories, run.cell)

    def _is_superseded(self, run: CellRun) -> bool:
        """Whether a later run of the cell has an answer here: what this run asks is then already taken back."""
        last = self._last_run_of_cell.get(run.cell)
        return last is not None and last.number > run.number

    def _replace(self, histories: list[Messages]) -> None:
        if histories[-1] is not self.messages:
            self._server_states = {}  # servers remember other messages
            self._note(self.messages)
        *self._previous, self.messages = histories

    def _note(self, messages: Messages) -> None:
        """Remember the turns of these messages, so that a record does not bring them back once they are removed."""
        known = {id for one in messages if isinstance(id := metadata(one).get("id"), str)}
        self._known_turns = self._known_turns | known  # a copied chat has its own

    def _turn_of(self, question: Mapping[str, Any]) -> tuple[int, int]:
        turn = find_turn(self.messages, question)
        if turn is None:
            raise ValueError("this prompt is no longer in the chat")
        return turn


def history_before_cell(histories: list[Messages], cell: str) -> list[Messages]:
    """Return the histories as they were before the first message of a cell.

    ``histories`` follow each other; the last one returned is the one that goes on. One that the cell itself started is
    left out. If the cell has no message, the same lists are returned.
    """
    for number, messages in enumerate(histories):
        for at, message in enumerate(messages):
            if message.get("cell") == cell:
                return [*histories[:number], *([messages[:at]] if at or not number else [])]
    return histories


def remove_cell(histories: list[Messages], cell: str) -> list[Messages]:
    """Return the histories without the turns of one cell.

    What is left of a history that the cell itself started continues the one before it.
    """
    left: list[Messages] = []
    for messages in histories:
        kept, is_of_cell = [], False
        for message in messages:
            if message.get("role") == "user":
                is_of_cell = message.get("cell") == cell
            if not is_of_cell:
                kept.append(message)
        if left and (kept[:1] != messages[:1] or not left[-1]):
            left[-1] += kept
        else:
            left.append(kept)
    return left


def system_prompt(messages: Messages) -> str | None:
    """Return the system prompt that the last message with one has set, or ``None``."""
    return next((message["system"] for message in reversed(messages) if "system" in message), None)


def new_turn_id() -> str:
    """Return an id for a turn: 12 random hex digits."""
    return secrets.token_hex(6)


def metadata(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a message; ``{}`` for a plain dict."""
    return message.metadata if isinstance(message, Message) else {}


def find_turn(messages: Messages, question: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the index of a user message, found by identity, and the index after its turn; ``None`` if it is gone."""
    start = next((at for at, message in enumerate(messages) if message is question), None)
    if start is None:
        return None
    after = (at for at in range(start + 1, len(messages)) if messages[at].get("role") == "user")
    return start, next(after, len(messages))


def count_turns(messages: Messages) -> int:
    """Return the number of turns, which is the number of user messages."""
    return sum(message.get("role") == "user" for message in messages)


def describe_length(messages: Messages) -> str:
    """Return the number of turns as text: ``1 turn``, ``3 turns``."""
    return counted(count_turns(messages), "turn")


def opening_words(messages: Iterable[Mapping[str, Any]]) -> str:
    """Return how the first question begins, in one line of at most 60 characters, or ""."""
    question = next((text for one in messages if one.get("role") == "user" and (text := text_of(one).strip())), "")
    words = " ".join(question[:1000].splitlines()[0].split()) if question else ""
    cut = words[:_TITLE_LENGTH]
    return words if cut == words else f"{cut.rpartition(' ')[0] or cut} …"


def trimmed_turns(messages: Messages) -> int:
    """Return how many of the oldest turns the next request trims: as many as the last request did."""
    trimmed = messages[-1].get("trimmed") if messages else None
    return min(trimmed, count_turns(messages)) if isinstance(trimmed, int) else 0


def wire_messages(messages: Messages, without: int = 0, *, pictures: bool = True) -> Messages:
    """Return the messages as they are sent: without local keys, and without the oldest ``without`` turns.

    System and developer messages are never trimmed. Attachments become content parts of their message again; with
    ``pictures=False`` images are left out.

    Empty answers and empty system prompts are left out, as servers refuse them. What the user says before and after
    an empty answer then becomes one message: nothing that the user wrote is lost, and the roles alternate, which many
    servers require.
    """
    sent: Messages = []
    turns, unanswered = 0, False
    for message in messages:
        turns += message.get("role") == "user"
        if without and turns <= without and message.get("role") not in _NEVER_TRIMMED:
            continue
        wire = _wire_message(message, pictures)
        if _is_empty(wire):
            unanswered = unanswered or wire["role"] == "assistant"
            continue
        if unanswered and sent and sent[-1].get("role") == wire.get("role") == "user":
            before = sent.pop()
            wire = {**before, **wire, "content": _joined(before.get("content"), wire.get("content"))}
        sent.append(wire)
        unanswered = False
    return sent


def _is_empty(message: dict[str, Any]) -> bool:
    """Whether this is an answer or a system prompt in which nothing is said and no tool is called."""
    if message.get("role") not in ("assistant", *_NEVER_TRIMMED):
        return False
    content = message.get("content")
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text", "…") if isinstance(part, dict) else part for part in parts]
    says = any(text.strip() if isinstance(text, str) else text for text in texts)
    return not says and not any(map(message.get, ("tool_calls", "function_call", "audio", "refusal")))


def _joined(first: Any, second: Any) -> Any:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [*text_parts(first), *text_parts(second)]


def _wire_message(message: dict[str, Any], pictures: bool) -> dict[str, Any]:
    sent = {key: value for key, value in message.items() if key not in LOCAL_KEYS}
    media = [one for one in message.get("media", ()) if pictures or not one.is_image]
    if message.get("role") == "assistant" and isinstance(text := sent.get("content"), str):
        from ..markdown.data_uris import shorten_data_uris

        sent["content"] = shorten_data_uris(text)  # a model cannot read base64 as an image
    if media:
        from ..media.message_parts import content_part

        sent["content"] = [*(content_part(one.uri, one.name) for one in media), *text_parts(message.get("content"))]
    return sent


def _renew_lock() -> None:
    """Replace the lock in a forked child, where a thread that does not exist may hold it."""
    global _lock
    _lock = threading.RLock()


background.on_fork(_renew_lock)
