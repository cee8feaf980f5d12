"""A turn in progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakMethod

from ..events import RawResponse
from .answer import Answer

if TYPE_CHECKING:
    from .request import Request


class Turn:
    """A question that was asked and what has come back so far, for those who watch a conversation.

    ``ended`` says that nothing more comes; then ``kept`` whether the exchange is in the conversation, and ``error``
    what it failed with. ``progress`` is the last event of that type before the first text.
    """

    def __init__(self, request: Request, answer: Answer, stop: Callable[[], None]) -> None:
        self.request = request
        self.answer = answer
        self.ended = False
        self.kept = False
        self.error: BaseException | None = None
        self.progress: RawResponse | None = None
        self._stop = WeakMethod(stop)  # a stream that nobody iterates any more keeps its answer when it is collected

    def stop(self) -> None:
        """End the answer, from any thread: who iterates the stream sees its end, the text that had come is kept."""
        if (stop := self._stop()) is not None:
            stop()
