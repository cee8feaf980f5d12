"""What the status line of the embedded backend's first answers mentions: better models that are at hand.

Servers on this machine are looked for once, beside the first answer, which does not wait for them. Each hint is
shown once in a kernel, and only a few keys are named in one line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

from ..services import SERVICES, services_with_key

if TYPE_CHECKING:
    from ..background import Job
    from ..chat.stream import AnswerStream

Hints: TypeAlias = Callable[[], list[str]]

SERVERS: Final = ("ollama", "lmstudio", "llamacpp")
_MOST_KEYS: Final = 2  # in one line; the table of services has the rest
_shown: set[str] = set()  # names of services
_look: Job[set[str]] | None = None


def no_hints() -> list[str]:
    """Return no hints."""
    return []


def hints_for(stream: AnswerStream) -> Hints:
    """Return what the end of an answer is asked for its hints: Markdown, each in one line.

    Only an answer of the embedded backend has any: its cell names no service, and no url is set.
    """
    if stream.turn.request.url is not None or stream.is_replay:
        return no_hints
    _start_looking()
    return _take_hints


def _start_looking() -> None:
    """Look for servers on this machine, unless that was done before."""
    global _look
    if _look is None:
        from ..background import Job
        from ..providers.probe import answering

        _look = Job(answering([one for name in SERVERS if (one := SERVICES[name]) and _is_here(one.base_url)]))


def _is_here(url: str) -> bool:
    """Whether a url is on this machine; OLLAMA_HOST may name another one."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def _servers_found() -> set[str]:
    """Return the names of the servers that have answered so far; an answer has to end whatever came of the look."""
    if _look is None or not _look.future.done() or _look.future.cancelled() or _look.future.exception():
        return set()
    return _look.future.result()


def _take_hints() -> list[str]:
    """Return the hints that were not shown yet."""
    found = _servers_found()
    local = [SERVICES[name] for name in SERVERS if name in found and name not in _shown]
    with_key = [service for service in services_with_key() if service.name not in _shown]
    _shown.update(service.name for service in (*local, *with_key))
    more = len(with_key) - _MOST_KEYS
    return [
        *(f"{one.title} runs on this machine: `%%backend {one.name}:MODEL` asks it" for one in local),
        *(f"{one.key_variable} is set: `%%backend {one.name}:MODEL` asks {one.title}" for one in with_key[:_MOST_KEYS]),
        *([f"{more} more with a key: `%backend services`"] if more > 0 else []),
    ]
