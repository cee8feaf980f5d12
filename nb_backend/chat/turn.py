"""A turn in progress, as observers of a chat see it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakMethod

from ..events import RawResponse
from .answer import Answer

if TYPE_CHECKING:
    from .request import Request


class Turn:
    """A prompt that was sent and its answer so far, for observers of the chat.

    When ``ended`` is true, nothing more comes. Then ``kept`` says whether the exchange is part of the history, and
    ``error`` is what it failed with. ``progress`` is the latest ``progress`` event, until text or reasoning
    follows.
    """

    def __init__(self, request: Request, answer: Answer, stop: Callable[[], None]) -> None:
        self.request = request
        self.answer = answer
        self.ended = False
        self.kept = False
        self.error: BaseException | None = None
        self.progress: RawResponse | None = None
        self.heard_at = time.monotonic()  # when the latest event arrived; at first, when the turn began
        # weak, so that a stream that nobody iterates any more is collected, which commits its answer
        self._stop = WeakMethod(stop)

    @property
    def seconds_silent(self) -> float:
        """The seconds since the latest event arrived."""
        return time.monotonic() - self.heard_at

    def stop(self) -> None:
        """Stop the answer, from any thread. Iterating its stream ends normally, and the text so far is kept."""
        if (stop := self._stop()) is not None:
            stop()
