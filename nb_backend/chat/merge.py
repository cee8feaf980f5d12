"""Put the turns of a record back into a chat: which ones, and where."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

from ..typing import Messages
from .messages import cell_of, metadata, time_of, turns_of


def merge(saved: Messages, here: Messages, *, known: Collection[str], cells: Collection[str]) -> Messages:
    """Return the messages ``here`` with the turns of ``saved`` that are missing, each after the turn it followed.

    A turn is found by its id. Those that are ``known``, as they were here and were removed, stay away. A turn of one of
    ``cells``, which have run in this process, is represented by what that cell asked now, and so is a turn of a cell
    that has a newer one here, or one with the same text. The order of ``here`` stays.
    """
    turns = [*keyed_turns(here)]
    places = {key: at for at, (key, _) in enumerate(turns)}
    by_text = {_words(turn): at for at, (_, turn) in enumerate(turns) if _cell(turn)}
    of_cell = {cell: at for at, (_, turn) in enumerate(turns) if (cell := _cell(turn))}
    newest: dict[str, float] = {}
    for _, turn in turns:
        newest[_cell(turn)] = max(_time(turn), newest.get(_cell(turn), 0))
    inserted: list[list[Messages]] = [[] for _ in range(len(turns) + 1)]  # before the turn of this number
    end, put_in = 0, {*known}
    for key, turn in keyed_turns(saved):
        has_rerun = bool(cell := _cell(turn)) and (cell in cells or _time(turn) < newest.get(cell, 0))
        found = places.get(key, of_cell.get(cell) if has_rerun else None)
        if (found := by_text.get(_words(turn)) if found is None else found) is not None:
            end = max(end, found + 1)
        elif not has_rerun and key not in put_in:
            put_in.add(key)
            inserted[end].append(turn)
    order = [*(turn for at, (_, turn) in enumerate(turns) for turn in (*inserted[at], turn)), *inserted[-1]]
    return [message for turn in order for message in turn]


def keyed_turns(messages: Messages) -> Iterator[tuple[str, Messages]]:
    """Yield each turn with its id; of a turn without one, the text of its first message and a number stand for it.

    Messages before the first prompt are a turn as well.
    """
    times: dict[str, int] = {}
    for turn in turns_of(messages):
        if not (key := turn_id(turn[0])):
            text = json.dumps([turn[0].get("role"), turn[0].get("content"), _cell(turn)], default=str)
            times[text] = times.get(text, 0) + 1
            key = f"{text}{times[text]}"
        yield key, turn


def turn_id(message: dict[str, Any]) -> str:
    """Return the id of the turn that a prompt begins, or "" if it has none."""
    found = metadata(message).get("id")
    return found if isinstance(found, str) else ""


def _cell(turn: Messages) -> str:
    return cell_of(turn[0])


def _words(turn: Messages) -> tuple[str, str]:
    return _cell(turn), str(turn[0].get("content"))


def _time(turn: Messages) -> float:
    return time_of(turn[0]) or 0
