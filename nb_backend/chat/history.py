"""History of a chat: which messages a request follows, what a re-run takes back, and how that comes back."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from .. import background
from ..typing import Messages
from .cell_run import CellRun
from .merge import merge
from .messages import cell_of, find_turn, metadata, trimmed_turns, turns_of
from .removals import MAX_REMOVALS, Kind, Removal, history_before_cell, of_cells, places, remove_cell
from .versions import Fork, fork_at, forks_from_data, forks_to_data, reachable_forks, same_prompt, version_numbers

_lock = threading.RLock()
"""Held while a history is read or changed: cells, threads and the background loop use the same chat. It is reentrant
because a stream that is garbage-collected commits its answer at any point, and global because chats are copied and
pickled."""


_known_turns: set[str] = set()
"""The ids of all turns that this process has seen, so that a record does not bring back what was removed."""


class History:
    """The messages of a chat, the earlier ones that ``new=True`` put aside, and the state that providers want back.

    A cell's new run takes back what its earlier runs asked, and all that cells asked after it, in all of these
    messages. What no cell has asked stays, after the new turns. What was removed can come back (``undo``), and a turn
    that was edited or asked again has versions (``choose``).
    """

    def __init__(self) -> None:
        self.messages: Messages = []
        self._previous: list[Messages] = []  # one list for each time that the chat was started over
        self._forks: list[Fork] = []
        self._removals: list[Removal] = []  # newest last
        self._last_run_of_cell: dict[str, CellRun] = {}  # only runs that have an answer here
        self._cells: set[str] = set()  # all that have run in this process
        self._server_states: dict[str, Any] = {}  # by name of the provider
        self._last_provider = ""  # the one that answered
        self._last_requested: str | None = None  # the one that the request named

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_removals": []}  # what was deleted does not get into copies and files

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
            if replaced is not None:
                messages = self.messages[: self._turn_of(replaced)[0]]
            else:
                messages = self._place_of(run)[0][-1]
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
        """Add a turn. It takes the place of what an earlier run of the cell asked, or is a new version of ``replaced``.

        ``sent`` are the messages that the request followed, ``states`` the server states that came with the answer.
        A turn of a run that a later one has already taken back is dropped.
        """
        with _lock:
            if run is not None and self._is_superseded(run):
                return
            if cell := run.cell if run is not None else (replaced or {}).get("cell"):
                question["cell"] = cell
            turn = find_turn(self.messages, replaced) if replaced is not None else None
            made: list[Removal] = []
            after: Messages = []
            if turn is not None:
                histories = [*self._previous, self.messages[: turn[0]]]
                made.append(self._add_version(self.messages[turn[0] :], [question, reply]))
            else:
                histories, after, removed = self._place_of(run)
                made.append(self._removal("rerun", removed, run=run))
            if new and histories[-1]:
                made.append(self._removal("new", self._shown(histories[-1]), question=question, run=run))
                histories = [*histories, []]
            self._replace(histories)
            if self.messages != sent or after:  # turns that the server has not seen were added meanwhile
                self._server_states, states = {}, {}
            if reply.get("trimmed", 0) > trimmed_turns(self.messages):
                self._server_states = {}
            self._server_states |= states
            self._last_provider, self._last_requested = provider, requested
            if run is not None:
                self._last_run_of_cell[run.cell] = run
            self.messages += [question, reply, *after]
            self._remember(*made)
            self._note([question])
            if run is not None:
                self._cells = {*self._cells, run.cell}

    def rewind(self, cell: str | CellRun) -> None:
        """Take back the turns of a cell, and those of cells after them. Given a run: only those of earlier runs."""
        run = cell if isinstance(cell, CellRun) else CellRun(cell)
        with _lock:
            histories, after, removed = self._place_of(run)
            if removed:
                removal = self._removal("rerun", removed, run=run)
                self._replace([*histories[:-1], [*histories[-1], *after]])
                self._remember(removal)
            if run is cell and not self._is_superseded(run):
                self._last_run_of_cell[run.cell] = run
            self._cells = {*self._cells, run.cell}

    def remove(self, cell: str) -> None:
        """Remove the turns of one cell, and keep all others."""
        with _lock:
            histories = [*self._previous, self.messages]
            *previous, left = remove_cell(histories, cell)
            kept = {id(message) for messages in (*previous, left) for message in messages}
            removed = [message for messages in histories for message in messages if id(message) not in kept]
            removal = self._removal("deleted cell", removed)
            self._previous = previous
            if left != self.messages:
                self._note(self.messages)
                self.messages, self._server_states = left, {}
            self._remember(removal)

    def restore(self, saved: Messages, *, removed: bool = False) -> Messages:
        """Put in the turns of a record, and return their prompts (see ``merge``).

        Turns that were removed in this process, from any chat, stay away, unless ``removed`` is true.
        """
        with _lock:
            earlier = [message for messages in self._previous for message in messages]
            known = {str(metadata(message).get("id")) for message in earlier} | (set() if removed else _known_turns)
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
            removal = self._removal("delete", self.messages[start:end])
            self._note(self.messages[start:end])
            self.messages, self._server_states = [*self.messages[:start], *self.messages[end:]], {}
            self._remember(removal)

    def clear(self) -> None:
        """Remove all messages, and with them what is known about cells and servers."""
        with _lock:
            removal = self._removal("clear", [one for messages in (*self._previous, self.messages) for one in messages])
            if removal.removed:
                removal.earlier, self._removals = self._removals, []
            self._note(self.messages)
            self.messages, self._previous, self._server_states, self._last_run_of_cell = [], [], {}, {}
            self._remember(removal)

    def clear_system_prompts(self) -> None:
        """Remove the system prompts that messages have set."""
        with _lock:
            versions = (version for fork in self._forks for version in fork.versions)
            removed = (removal.before for removal in self._removals)
            for messages in (*self._previous, self.messages, *versions, *removed):
                for message in messages:
                    message.pop("system", None)

    # --- what was removed

    def removals(self) -> list[tuple[Removal, Messages]]:
        """Return the removals that can be undone, newest last, each with the messages that would come back.

        A turn whose cell has asked again does not come back: the cell's new turn stands in its place.
        """
        with _lock:
            here = [message for messages in (*self._previous, self.messages) for message in messages]
            present = {id(message) for message in here}
            cells = {cell_of(message) for message in here} - {""}
            heads = {id(fork.head) for fork in self._forks}
            found = []
            for one in self._removals:
                turns = [turn for turn in turns_of(one.removed) if id(turn[0]) not in present]
                if one.kind == "new":
                    is_first = bool(self._previous and self.messages) and self.messages[0] is one.question
                    turns = turns_of(one.removed) if is_first else []
                elif one.kind not in ("edit", "retry"):
                    turns = [turn for turn in turns if cell_of(turn[0]) not in cells or id(turn[0]) in heads]
                elif not any(one.question is message for message in self.messages):
                    continue
                if turns or one.kind in ("edit", "retry", "failed"):
                    found.append((one, [message for turn in turns for message in turn]))
            return found

    def undo(self, removal: Removal | None = None) -> Removal:
        """Undo this removal, by default the last one, and return it. Raises ``ValueError`` if there is none to undo."""
        with _lock:
            known = self.removals()
            found = [(one, messages) for one, messages in known if removal in (None, one)]
            if not found:
                raise ValueError("there is nothing to undo in this chat")
            removal, messages = found[-1]
            if removal.kind in ("edit", "retry"):
                self._switch_back(removal)
            elif removal.kind != "failed":
                self._replace(removal.put_back([*self._previous, self.messages], messages))
            removal.undone = True
            self._removals = [*removal.earlier, *(one for one, _ in known if one is not removal)]
            return removal

    def note_removal(self, kind: Kind) -> Removal:
        """Add a removal of something that is not in the messages, such as a failed turn, and return it."""
        with _lock:
            removal = self._removal(kind, [])
            self._removals = [*self._removals, removal][-MAX_REMOVALS:]
            return removal

    def _removal(self, kind: Kind, removed: Messages, **fields: Any) -> Removal:
        histories = [*self._previous, self.messages]
        before = [message for messages in histories for message in messages]
        starts = {id(messages[0]) for messages in histories[1:] if messages}
        return Removal(kind, before, removed, starts, **fields)

    def _remember(self, *made: Removal) -> None:
        """Remember removals, and forget those that cannot be undone any more."""
        self._removals = [*self._removals, *made]
        known = {one for one, _ in self.removals()}
        left = [[one] if one in known else one.earlier for one in self._removals]
        self._removals = [one for some in left for one in some][-MAX_REMOVALS:]

    def _shown(self, messages: Messages) -> Messages:
        """Return the messages that are in the chat and not put aside yet."""
        here = {id(message) for message in self.messages}
        return [message for message in messages if id(message) in here]

    # --- versions

    def versions(self) -> dict[int, tuple[int, int]]:
        """Return for the id() of each message that has versions which one it is, from 1, and how many there are."""
        with _lock:
            return version_numbers(self._forks, self.messages) if self._forks else {}

    def versions_to_data(self) -> list[dict[str, Any]]:
        """Return the versions that are not chosen as data for a file."""
        with _lock:
            return forks_to_data(self._forks, self.messages)

    def add_versions(self, data: Sequence[Mapping[str, Any]], messages: Messages) -> None:
        """Add the versions that ``versions_to_data`` returned for these messages, as far as they are in the chat."""
        with _lock:
            known = {id(fork.head) for fork in self._forks}
            forks = [fork for fork in forks_from_data(data, messages) if id(fork.head) not in known]
            self._forks = [*self._forks, *reachable_forks(forks, [self.messages])]

    def choose(self, message: Mapping[str, Any], number: int) -> None:
        """Choose another version of a prompt or an answer, counted from 1, with all that followed it.

        Raises ``ValueError`` if the message is not in the chat, or if it has no such version.
        """
        with _lock:
            at = next((at for at, one in enumerate(self.messages) if one is message), None)
            while at and self.messages[at].get("role") != "user":
                at -= 1
            if at is None:
                raise ValueError("this message is no longer in the chat")
            fork = fork_at(self._forks, self.messages[at])
            choices = fork.place(is_answer=message is not self.messages[at])[0] if fork is not None else []
            if fork is None or not 1 <= number <= len(choices):
                raise ValueError(f"this message has no version {number}")
            self._choose(fork, at, choices[number - 1])

    def _choose(self, fork: Fork, at: int, number: int) -> None:
        if number != fork.chosen:
            path = self.messages[at:]
            messages = [*self.messages[:at], *fork.versions[number]]
            self._forks = [one.choosing(number, path) if one is fork else one for one in self._forks]
            self._replace([*self._previous, messages])

    def _switch_back(self, removal: Removal) -> None:
        """Choose the version that an edit or a retry has left."""
        at = next(at for at, message in enumerate(self.messages) if message is removal.question)
        fork = fork_at(self._forks, self.messages[at])
        for number, version in enumerate(fork.versions if fork is not None else ()):
            if fork is not None and version[0] is removal.replaced:
                self._choose(fork, at, number)

    def _add_version(self, path: Messages, new: Messages) -> Removal:
        """Add a version beside the one with which ``path`` begins, and return how to go back to that one."""
        question, replaced = new[0], path[0]
        fork = fork_at(self._forks, replaced) or Fork(([replaced],), 0)
        forks = [*(one for one in self._forks if one is not fork), fork.with_version(new, path)]
        roots = (*self._previous, self.messages, new, *(removal.before for removal in self._removals))
        self._forks = reachable_forks(forks, roots)
        kind: Kind = "retry" if same_prompt(question, replaced) else "edit"
        return self._removal(kind, [], question=question, replaced=replaced)

    # --- where a prompt belongs

    def _place_of(self, run: CellRun | None) -> tuple[list[Messages], Messages, Messages]:
        """Return the histories that a prompt of this run continues, what stays after it, and what it takes back.

        The turns of one run stay together: each follows the one before it.
        """
        histories = [*self._previous, self.messages]
        if run is None or self._is_superseded(run):
            return histories, [], []
        own = [message for message in self.messages if cell_of(message) == run.cell]
        if self._last_run_of_cell.get(run.cell) is run and own:
            at = self._turn_of(own[-1])[1]
        elif (before := history_before_cell(histories, run.cell)) is not histories:
            whole = [message for messages in histories for message in messages]
            removed, after = of_cells(whole[sum(map(len, before)) :])
            return before, after, removed
        else:
            at = self._place_taken_back(run.cell)
        if at == len(self.messages):
            return histories, [], []
        return [*self._previous, self.messages[:at]], self.messages[at:], []

    def _place_taken_back(self, cell: str) -> int:
        """Return the index where the taken back turns of a cell were; the end if other cells asked after it.

        So all cells that run again send the same as before, whatever was asked in between in the panel.
        """
        for removal in reversed(self._removals):
            own = [message for message in removal.removed if cell_of(message) == cell]
            if removal.kind == "rerun" and own:
                at = next((at for at, _ in places(removal.before, self.messages, own)), len(self.messages))
                after = self.messages[at:]
                stood_there = bool(after) and any(one is after[0] for one in removal.before)
                return at if stood_there and not any(map(cell_of, after)) else len(self.messages)
        return len(self.messages)

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
        _known_turns.update(id for one in messages if isinstance(id := metadata(one).get("id"), str))

    def _turn_of(self, question: Mapping[str, Any]) -> tuple[int, int]:
        turn = find_turn(self.messages, question)
        if turn is None:
            raise ValueError("this prompt is no longer in the chat")
        return turn


def _renew_lock() -> None:
    """Replace the lock in a forked child, where a thread that does not exist may hold it."""
    global _lock
    _lock = threading.RLock()


background.on_fork(_renew_lock)
