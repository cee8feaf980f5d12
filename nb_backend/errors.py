"""What can go wrong between a question and its answer.

::

    BackendError                 category      what happened
    ├── ConnectionFailed         connection    nobody answered, or the connection broke
    ├── TimedOut                 timeout       nothing arrived for too long
    ├── ProtocolError            protocol      what arrived is not an answer
    ├── ServerError              backend       the server says that it failed
    ├── AuthError                auth          the server wants another key
    └── RateLimitError           rate_limit    the server wants to be asked later

Nothing else leaves a provider but cancellation, and ``ValueError`` or ``TypeError`` for the caller's own mistakes
before anything is sent.
"""

from __future__ import annotations

from typing import ClassVar


class BackendError(Exception):
    """A question that was not answered to its end. The message is one line and says what to do next.

    ``partial`` is all the text that had arrived, ``retry_after`` the seconds the server asks to wait, if it does, and
    ``retryable`` whether the same question may well be answered a moment later, ``code`` the server's own name for what
    went wrong (``context_length_exceeded``), if it has one, ``status`` the HTTP status that said so, 0 if none did.
    """

    category: ClassVar[str] = "backend"

    def __init__(
        self,
        message: str,
        *,
        partial: str = "",
        retry_after: float | None = None,
        retryable: bool = False,
        code: str = "",
        status: int = 0,
    ) -> None:
        super().__init__(" ".join(message.split()))
        self.partial = partial
        self.retry_after = retry_after
        self.retryable = retryable
        self.code = code
        self.status = status

    def _render_traceback_(self) -> list[str]:
        """Show as one line in a cell: IPython asks for this, and still records an error output."""
        return [f"{type(self).__name__}: {self}"]


class ConnectionFailed(BackendError):
    """Nobody answered at that address, or the connection broke."""

    category = "connection"


class TimedOut(BackendError):
    """Nothing arrived within the time-out."""

    category = "timeout"


class ProtocolError(BackendError):
    """What arrived is not an answer of a backend."""

    category = "protocol"


class ServerError(BackendError):
    """The server, or the model behind it, says that it failed."""

    category = "backend"


class AuthError(BackendError):
    """The server refuses the key, or wants one."""

    category = "auth"


class RateLimitError(BackendError):
    """The server wants to be asked again later."""

    category = "rate_limit"
