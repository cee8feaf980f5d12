"""Exceptions of a request to a model.

::

    BackendError            category
    ├── ConnectionFailed    connection    the server cannot be reached, or the connection broke
    ├── TimedOut            timeout       nothing arrived for too long
    ├── ProtocolError       protocol      the response is not an answer of a model
    ├── ServerError         backend       the server, or the model behind it, failed
    ├── AuthError           auth          the API key is missing or refused
    └── RateLimitError      rate_limit    the server wants fewer requests

A provider raises nothing else, except for cancellation, and ``ValueError`` or ``TypeError`` for the caller's own
mistakes before anything is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class BackendError(Exception):
    """Base class for every failed request; the message is one line and says what to do next.

    ``partial`` is the text of the answer that had arrived before the failure. ``retryable`` tells whether the same
    request may succeed a moment later, ``retry_after`` how many seconds the server asks to wait (``None`` if it does
    not say). ``code`` is the server's name for the error (like ``context_length_exceeded``, or ``""``) and ``status``
    the HTTP status, or the one that an error inside an answer stands for (0 if there is none). ``no_credit`` tells
    whether the account has no credit left, so that waiting does not help. ``param`` has the names of the request's
    fields that the server refuses, if it names them beside its message. ``close_models`` are the names that the server
    lists and that are close to the one it does not have, the best first.
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
        no_credit: bool = False,
        param: str = "",
        close_models: Sequence[str] = (),
    ) -> None:
        super().__init__(" ".join(message.split()))
        self.partial = partial
        self.retry_after = retry_after
        self.retryable = retryable
        self.code = code
        self.status = status
        self.no_credit = no_credit
        self.param = param
        self.close_models = close_models

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows in place of a traceback: one line. The cell still counts as failed."""
        return [f"{type(self).__name__}: {self}"]


class ConnectionFailed(BackendError):
    """The server cannot be reached, or the connection broke."""

    category = "connection"


class TimedOut(BackendError):
    """Nothing arrived within the timeout."""

    category = "timeout"


class ProtocolError(BackendError):
    """The response is not an answer of a model: another kind of server, or a damaged stream."""

    category = "protocol"


class ServerError(BackendError):
    """The server, or the model behind it, reports a failure."""

    category = "backend"


class AuthError(BackendError):
    """The server refuses the API key, or wants one."""

    category = "auth"


class RateLimitError(BackendError):
    """The server limits how many requests it takes: wait, then try again."""

    category = "rate_limit"
