"""Versions of a turn: what a prompt and its answer were before they were edited or asked again.

A ``Fork`` has all versions of one turn, each with the messages that follow it. One version is chosen: it is part of a
path of messages, by default of the chat's, and its entry in the fork only says with which prompt it begins. The others
are stored whole. A fork inside a version that is not chosen waits until that version is part of the path again, and a
fork whose prompt the user has removed from ``Chat.messages`` is ignored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..typing import Messages
from .messages import Message, metadata

MAX_VERSIONS = 30  # of one turn; of more, the oldest are dropped


@dataclass(frozen=True, eq=False)
class Fork:
    """The versions of a turn, oldest first. It is never changed, so that a copy of a chat may share it."""

    versions: tuple[Messages, ...]
    chosen: int

    @property
    def head(self) -> Mapping[str, Any]:
        """The prompt of the chosen version."""
        return self.versions[self.chosen][0]

    def choosing(self, number: int, path: Messages) -> Fork:
        """Return the fork with another version chosen; ``path`` begins with the version that was chosen."""
        versions = [*self.versions]
        versions[self.chosen] = path
        return Fork(tuple(versions), number)

    def with_version(self, new: Messages, path: Messages) -> Fork:
        """Return the fork with a new version, which is chosen; ``path`` begins with the version that was chosen."""
        versions = [*self.versions, new]
        versions[self.chosen] = path
        versions = versions[-MAX_VERSIONS:]
        return Fork(tuple(versions), len(versions) - 1)

    def place(self, *, is_answer: bool) -> tuple[list[int], int]:
        """Return which versions the choices at the prompt or the answer lead to, and which of them is chosen.

        Versions with the same prompt are choices of the answer; a choice of the prompt leads to its newest version.
        """
        by_prompt: list[list[int]] = []
        for number, version in enumerate(self.versions):
            same = next((one for one in by_prompt if same_prompt(self.versions[one[0]][0], version[0])), None)
            if same is None:
                by_prompt.append([number])
            else:
                same.append(number)
        at = next(at for at, numbers in enumerate(by_prompt) if self.chosen in numbers)
        if is_answer:
            return by_prompt[at], by_prompt[at].index(self.chosen)
        return [numbers[-1] for numbers in by_prompt], at


def same_prompt(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two prompts have the same text and attachments."""
    return one.get("content") == other.get("content") and [*one.get("media", ())] == [*other.get("media", ())]


def fork_at(forks: Iterable[Fork], head: Mapping[str, Any]) -> Fork | None:
    """Return the fork whose chosen version begins with this prompt, found by identity; ``None`` if there is none."""
    return next((fork for fork in forks if fork.head is head), None)


def version_numbers(forks: Sequence[Fork], messages: Messages) -> dict[int, tuple[int, int]]:
    """Return for the id() of each message with versions which of them it is, counted from 1, and how many there are."""
    heads = {id(fork.head): fork for fork in forks}
    numbers: dict[int, tuple[int, int]] = {}
    fork: Fork | None = None
    for message in messages if heads else ():
        if message.get("role") == "user":
            fork = heads.get(id(message))
        elif message.get("role") != "assistant":
            continue
        if fork is not None:
            is_answer = message.get("role") == "assistant"
            choices, at = fork.place(is_answer=is_answer)
            if len(choices) > 1:
                numbers[id(message)] = at + 1, len(choices)
            fork = None if is_answer else fork
    return numbers


def reachable_forks(forks: Sequence[Fork], roots: Iterable[Messages]) -> list[Fork]:
    """Return the forks that lie in these messages, or in a version of another one that does."""
    left = {id(fork.head): fork for fork in forks}
    reached: set[Fork] = set()
    paths = [*roots]
    while paths:
        for message in paths.pop():
            if (fork := left.pop(id(message), None)) is not None:
                reached.add(fork)
                paths += fork.versions
    return [fork for fork in forks if fork in reached]


# --- in a file


def forks_to_data(forks: Sequence[Fork], messages: Messages) -> list[dict[str, Any]]:
    """Return the forks as data for a file: where each lies, and its versions that are not chosen.

    A fork is ``path``, the number of the messages in which it lies, ``at``, the index of its prompt there, ``chosen``,
    and ``others``, a list of objects of ``messages`` and ``about``, their metadata. Path 0 are the messages of the
    chat; the others get the next numbers in the order in which they are written.
    """
    heads = {id(fork.head): fork for fork in forks}
    paths, data = [messages], []
    for number, path in enumerate(paths):  # which grows meanwhile
        for at, message in enumerate(path):
            if (fork := heads.pop(id(message), None)) is not None:
                others = [one for k, one in enumerate(fork.versions) if k != fork.chosen]
                paths += others
                told = [{"messages": one, "about": [*map(metadata, one)]} for one in others]
                data.append({"path": number, "at": at, "chosen": fork.chosen, "others": told})
    return data


def forks_from_data(data: Sequence[Mapping[str, Any]], messages: Messages) -> list[Fork]:
    """Return the forks that ``forks_to_data`` wrote, whose messages were checked; forks at no prompt are left out."""
    forks: dict[int, Fork] = {}  # by the id() of their prompt
    paths = [messages]
    for one in data:
        others: list[Messages] = [[*map(Message, other["messages"], other["about"])] for other in one["others"]]
        path = paths[one["path"]] if one["path"] < len(paths) else []
        paths += others
        chosen, at = one["chosen"], one["at"]
        is_prompt = at < len(path) and path[at].get("role") == "user" and id(path[at]) not in forks
        if is_prompt and others and chosen <= len(others):
            versions = (*others[:chosen], [path[at]], *others[chosen:])
            forks[id(path[at])] = Fork(versions, chosen)
    return [*forks.values()]
