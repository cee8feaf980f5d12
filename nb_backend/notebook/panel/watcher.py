"""The chat that a panel shows, observed from any thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet, ref

from ... import background, redaction, settings
from ...chat.chat import Chat
from ...chat.merge import turn_id
from ...chat.messages import Message, opening_words
from ...chat.messages import metadata as metadata_of
from ...chat.named_chats import chats
from ...text import safe_terminal
from ...typing import Messages
from .error_text import error_line
from .items.arrange import FailedTurn, ItemSource, arrange_items
from .items.content import ItemContent, answer_content, message_content, question_content, removal_content
from .items.items import ItemList
from .panel_state import cell_label, failed_turns, known_failures

if TYPE_CHECKING:
    from ...chat.removals import Removal
    from ...chat.turn import Turn
    from .questions import Question


UNNAMED = "(not in chats)"  # shown as the name of a Chat without one; names in ``chats`` have no parentheses
NO_ANSWER = "no answer had arrived"
UNFINISHED = "the answer was not finished"
RECORD_INTERVAL = 10.0  # seconds between two records of a growing answer
_turns_on_loop: WeakSet[Turn] = WeakSet()  # turns whose events arrive on the background loop itself
_snapshots: WeakKeyDictionary[Turn, ItemContent] = WeakKeyDictionary()  # of the other turns, for all panels


class ConversationWatcher:
    """Observes a chat, from ``bind`` on.

    ``on_change`` is called at each change, on any thread, with whether the messages changed. ``asks`` returns whether
    this panel asks about the calls of a turn, and its open question.
    """

    def __init__(
        self,
        name: str,
        chat: Chat,
        on_change: Callable[[bool], None],
        asks: Callable[[Turn], tuple[bool, Question | None]] = lambda turn: (False, None),
    ) -> None:
        self.opened = name  # the chat that the panel was opened with
        self.name = name
        self.chat = chat
        self._own_keys = own_keys(chat)
        self._on_change = on_change
        self._asks = asks
        self.unnamed = chat if name == UNNAMED else None  # the chat that has no name, if the panel shows one
        self._lock = Lock()
        self._changed: set[Turn] = set()
        self._recorded: WeakKeyDictionary[Turn, float] = WeakKeyDictionary()  # when the record was due last
        self._shown: list[Chat] = []  # all chats that were shown
        self._unwatch: Callable[[], None] = lambda: None
        self.removals: list[tuple[Removal, Messages]] = []  # of the chat, when the items were last brought up to date

    def bind(self, name: str, chat: Chat) -> None:
        """Observe this chat instead of the one before."""
        self._unwatch()
        self.name, self.chat = name, chat
        self.note_shown([chat])
        self._unwatch = chat.watch(_weak_observer(self))

    def close(self) -> None:
        """Stop observing."""
        self._unwatch()

    def follow_name(self) -> bool:
        """Observe the chat that has the name now; return whether it is another one than before."""
        now = self.unnamed if self.unnamed is not None and self.name == UNNAMED else chats.unlisted(self.name)
        if now is self.chat:
            return False
        self.bind(self.name, now)
        return True

    def named(self, name: str) -> Chat:
        """Return a chat that the panel may show. ``ValueError`` if no chat has this name."""
        found = self.listed().get(name)
        if found is None:
            raise ValueError(f"there is no chat named {name[:80]!r}")
        return found

    def listed(self) -> dict[str, Chat]:
        """Return the chats that the panel may show, by name."""
        unnamed = {} if self.unnamed is None else {UNNAMED: self.unnamed}
        return {**unnamed, **dict(chats), self.name: self.chat}

    @property
    def title(self) -> str:
        """The title of the chat, also while its first answer is being written; its name if there is no question."""
        return self.title_of(self.name, self.chat)

    def title_of(self, name: str, chat: Chat) -> str:
        """Return the title of a chat as ``title`` does."""
        asked = opening_words([turn.request.question for turn in chat.live])
        return self.mask(safe_terminal(chat.title or asked)) or name

    def register_chat(self) -> None:
        """Add the chat to ``chats`` under its name, if it is not there yet."""
        if self.name != UNNAMED and self.name not in chats:
            chats[self.name] = self.chat

    def learn_keys(self) -> None:
        """Mask the key that the chat sends now as well."""
        self._own_keys = [*self._own_keys, *own_keys(self.chat)]

    @property
    def keys(self) -> list[str]:
        """The keys that no page may see."""
        return [*settings.known_keys(), *self._own_keys]

    def mask(self, text: str) -> str:
        """Return the text with ``***`` in place of the keys."""
        return redaction.mask(text, self.keys)

    def error_line(self, error: BaseException) -> str:
        """Return the message of an error in one line, without keys."""
        return error_line(error, self.keys)

    def on_turn_changed(self, turn: Turn | None) -> None:
        """Record that a turn, or with None the history, changed; runs on the thread that made the change."""
        if turn is not None:
            if background.is_on_loop():
                _turns_on_loop.add(turn)
            elif not turn.ended:  # the loop must not read the answer while this thread adds to it
                _snapshots[turn] = answer_content(turn, self.mask, self.error_line)
            if turn.ended and not turn.kept:
                self._keep_failed(turn)
            with self._lock:
                self._changed.add(turn)
        self._on_change(turn is None or turn.ended or self._is_record_due(turn))

    def _is_record_due(self, turn: Turn) -> bool:
        """Whether the record should have what a turn of the panel has said so far: at its start, and then at times."""
        now = time.monotonic()
        if turn not in _turns_on_loop or now - self._recorded.get(turn, -RECORD_INTERVAL) < RECORD_INTERVAL:
            return False
        self._recorded[turn] = now
        return True

    def live_turns(self) -> list[Turn]:
        """Return the live turns of the chats that were shown here, if a panel asked them."""
        chats = [self.chat, *(chat for chat in self._shown if chat is not self.chat)]
        return [turn for chat in chats for turn in chat.live if turn in _turns_on_loop and not turn.ended]

    def live_messages(self) -> dict[Turn, Messages]:
        """Return these turns, each as messages with the text so far. Only for code on the loop."""
        return {turn: self._as_messages(turn) for turn in self.live_turns()}

    def with_unfinished(
        self, shown: Mapping[str, tuple[Chat, Messages]], live: Mapping[Turn, Messages]
    ) -> dict[str, tuple[Chat, Messages]]:
        """Return the chats and their messages for the record: with live turns, and with questions without an answer."""
        found = {}
        for name, (chat, _) in shown.items():
            messages = _messages(chat, self._as_messages)
            there = {*map(turn_id, messages)}
            asked = (turn for turn in live if turn in chat.live)
            more = [turn for turn in asked if turn_id(turn.request.question) not in there]
            found[name] = chat, [*messages, *(message for turn in more for message in live[turn])]
        return found

    def update_items(self, items: ItemList) -> None:
        """Bring the items up to date with the chat, without rendering them."""
        live = self.chat.live
        failed = failed_turns(self.chat)
        running_cells = {run.cell for turn in live if (run := turn.request.cell_run) is not None}
        self.removals = self.chat.removals
        known = {removal for removal, _ in self.removals}
        for one in [*failed]:
            run = one.turn.request.cell_run if one.turn is not None else None
            if (run is not None and run.cell in running_cells) or not (one.is_shown or one.removal in known):
                failed.remove(one)  # one by one: another thread may add a turn that fails now
        shown = [one for one in failed if one.is_shown]
        with self._lock:
            changed, self._changed = self._changed, set()
        messages, versions = [*self.chat.messages], self.chat.versions
        items.update(arrange_items(messages, live, shown, self.removals, versions), changed)

    def content_of(self, source: ItemSource) -> ItemContent:
        """Return what an item shows now."""
        if source.removal is not None:
            return removal_content(source, self.mask, cell_label)
        if source.turn is None:
            content = message_content(source.message or {}, self.mask, cell_label)
            content.version = source.version
            return content
        if not source.is_answer:
            return question_content(source.turn, self.mask, cell_label)
        if source.turn.ended or source.turn in _turns_on_loop:
            return self._with_question(source.turn, answer_content(source.turn, self.mask, self.error_line))
        return _snapshots.get(source.turn) or ItemContent("assistant", status="waiting")

    def _with_question(self, turn: Turn, content: ItemContent) -> ItemContent:
        """Add what this panel asks about a call of a turn."""
        is_here, question = self._asks(turn)
        if is_here and not turn.ended:
            content.asked = "waits for your answer"
            content.ask = None if question is None else question.fields(self.mask)
        return content

    def shown_chats(self) -> dict[str, tuple[Chat, Messages]]:
        """Return the chats that were shown here and still exist, by name, each with its messages for the transcript.

        The one that is shown now comes first.
        """
        names = {id(chat): name for name, chat in chats.items()} | {id(self.unnamed): UNNAMED}
        self._shown = [chat for chat in self._shown if chat is self.chat or id(chat) in names]
        others = {names[id(chat)]: chat for chat in self._shown if chat is not self.chat}
        return {name: (chat, _messages(chat)) for name, chat in {self.name: self.chat, **others}.items()}

    def note_shown(self, shown: Sequence[Chat]) -> None:
        """Record that these chats belong to the panel as well: an earlier panel of its cell has shown them."""
        self._shown += [chat for chat in shown if not any(chat is one for one in self._shown)]
        self._own_keys += [key for chat in shown for key in own_keys(chat)]

    def drop_failed(self, *failed: FailedTurn | None) -> bool:
        """Remove failed turns from the panel; return whether any was given. It can be undone."""
        given = [one for one in failed if one is not None and one.is_shown]
        if given:
            removal = self.chat.note_removal("failed")
            for one in given:
                one.removal = removal
        return bool(given)

    def _keep_failed(self, turn: Turn) -> None:
        """Remember a turn that failed, or that was stopped in the panel before any text arrived."""
        is_from_panel = turn.request.cell_run is None and turn.request.instead is None
        failed = failed_turns(self.chat)
        if (turn.error is not None or is_from_panel) and not any(one.turn is turn for one in failed):
            messages = self.chat.messages
            known_failures(self.chat).add(turn_id(turn.request.question))
            partial = self._as_messages(turn, time.time()) if turn.answer.text or turn.answer.steps else []
            failed.append(FailedTurn(turn, messages[-1] if messages else None, partial))

    def _as_messages(self, turn: Turn, ended: float | None = None) -> Messages:
        """Return a turn that is not in the history as messages, with the text so far; it has the time of its end."""
        question, answer = turn.request.question, turn.answer
        seconds = metadata_of(question).get("time") if ended is None else ended
        metadata = {**answer.metadata(), "time": seconds, "reasoning": answer.reasoning}
        if turn.error is not None:
            metadata["failed"] = self.error_line(turn.error)
        elif not (answer.text or answer.steps):
            metadata["failed"] = NO_ANSWER
        elif not turn.ended:
            metadata["stopped"] = True
        prompt = Message({**question, "media": turn.request.media}, metadata_of(question))
        rounds = (
            {"rounds": [one.ended(UNFINISHED).to_json("") for one in answer.tool_rounds]} if answer.tool_rounds else {}
        )
        return [prompt, Message({"role": "assistant", "content": answer.text, **rounds}, metadata)]


def _messages(chat: Chat, describe: Callable[[Turn], Messages] | None = None) -> Messages:
    """Return the history, and between its turns the failed ones of which some text arrived.

    ``describe`` returns the messages of the others, if they are wanted.
    """
    messages = [*chat.messages]
    for one in failed_turns(chat):
        if not one.is_shown:
            continue
        at = next((at for at, message in enumerate(messages, 1) if message is one.after), len(messages))
        messages[at:at] = one.messages or (describe(one.turn) if describe and one.turn is not None else [])
    return messages


def own_key(chat: Chat) -> str | None:
    """Return the key that a chat sends, or None; ``ValueError`` if its settings are invalid."""
    return chat.request("").api_key.value


def own_keys(chat: Chat) -> list[str]:
    """Return the key that a chat sends, in a list that is empty if there is none or its settings are invalid."""
    with suppress(ValueError):
        return [key for key in (own_key(chat),) if key]
    return []


def _weak_observer(watcher: ConversationWatcher) -> Callable[[Turn | None], None]:
    """Return a callback for the chat, which must not keep the watcher of a lost panel alive."""
    reference = ref(watcher)

    def on_turn_changed(turn: Turn | None) -> None:
        if (alive := reference()) is not None:
            alive.on_turn_changed(turn)

    return on_turn_changed
