"""Keep what code prints and displays, instead of showing it in the cell that runs.

Only what the code shows is kept: on its thread, on threads that it starts, and in tasks that inherit its context. What
other threads show meanwhile, an answer that streams above all, goes where it always goes. A stream that the code holds
on to, such as a handler of ``logging``, shows in the notebook once the code has ended.
"""

from __future__ import annotations

import builtins
import getpass
import io
import os
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from ..media.attachment import Attachment
from ..media.convert import attach
from ..media.sniff import DISPLAY_TYPES, media_type, shown_bytes
from ..text import counted
from .descriptors import take_descriptors
from .values import bundle_text

MAX_TEXT = 16_000  # characters: the first and the last ones
MAX_IMAGES = 8
_MAX_READ = 100_000  # characters of HTML, from which its text is taken
_MAX_IMAGE_BYTES = 20 * 2**20  # of all images
_NO_INPUT = "code that a model runs cannot ask for input: write the value into the code"
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\r(?=\n)")  # colors, and the line ends of a terminal
_MISSING = object()

_current: ContextVar[Captured | None] = ContextVar("nb_backend_captured", default=None)


class CutText:
    """A text that grows, of which the beginning and the end are kept: at most ``limit`` characters."""

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._head: list[str] = []
        self._room = self._half
        self._tail: deque[str] = deque()
        self._tail_length = 0
        self._left_out = 0
        self._lock = threading.Lock()

    def add(self, text: str) -> None:
        """Add a text, from any thread."""
        with self._lock:
            if self._room:
                self._head.append(text[: self._room])
                text, self._room = text[self._room :], self._room - min(self._room, len(text))
            self._left_out += max(0, len(text) - self._half)
            text = text[-self._half :] if text else ""
            if text:
                self._tail.append(text)
                self._tail_length += len(text)
            while self._tail_length - len(self._tail[0] if self._tail else "") >= self._half:
                dropped = self._tail.popleft()
                self._tail_length -= len(dropped)
                self._left_out += len(dropped)

    def __str__(self) -> str:
        with self._lock:
            tail = "".join(self._tail)
            cut, left_out = tail[-self._half :], self._left_out + max(0, len(tail) - self._half)
            note = f"\n[… {counted(left_out, 'character')} left out]\n" if left_out else ""
            return f"{''.join(self._head)}{note}{cut}"


class Captured:
    """What code shows while it runs: ``text`` and ``images``."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._text = CutText(MAX_TEXT)
        self._images: list[bytes] = []
        self._more_images = 0
        self._active = True
        self._threads_before = {thread.ident for thread in threading.enumerate()}

    @property
    def text(self) -> str:
        """What was printed, and the text of what was displayed."""
        more = f"\n[… {counted(self._more_images, 'more picture')} left out]" if self._more_images else ""
        return _CONTROL.sub("", f"{self._text}{more}")

    def images(self) -> list[Attachment]:
        """Return the pictures that were displayed, scaled down as attachments are."""
        found = []
        for data in self._images:
            with suppress(Exception):  # a damaged picture
                found.append(attach(data))
        return found

    def takes(self) -> bool:
        """Whether what is shown now, on this thread and in this context, is shown by the code."""
        if not self._active:
            return False
        if _current.get() is self:
            return True
        is_new = threading.get_ident() not in self._threads_before
        return is_new and not threading.current_thread().name.startswith("nb_backend")

    def add_text(self, text: str) -> None:
        """Add what was printed."""
        self._text.add(text)

    def add_bundle(self, bundle: Mapping[str, Any], prefix: str = "") -> None:
        """Add what was displayed: a picture if it has one, else its text."""
        for kind in DISPLAY_TYPES:
            data = shown_bytes(bundle.get(kind))
            if (media_type(data) or "").startswith("image/"):
                self._add_image(data)
                return
        plain = bundle.get("text/plain")
        text = plain if isinstance(plain, str) else ""
        if not text or text.startswith("<"):  # it may be only the name of a class, as that of ``HTML``
            read = {kind: data[:_MAX_READ] if isinstance(data, str) else data for kind, data in bundle.items()}
            text = bundle_text(read) or text
        if text:
            self._text.add(f"{prefix}{text}\n")

    def _add_image(self, data: bytes) -> None:
        if data in self._images:
            return
        if len(self._images) < MAX_IMAGES and sum(map(len, self._images)) + len(data) <= _MAX_IMAGE_BYTES:
            self._images.append(data)
        else:
            self._more_images += 1

    def add_value(self, value: Any) -> None:
        """Add the value of an expression, as IPython would show it; nothing for ``None``."""
        if value is not None:
            bundle, _ = self._shell.display_formatter.format(value)
            self.add_bundle(bundle, "Out: ")

    @contextmanager
    def capturing(self) -> Iterator[None]:
        """Take what is shown inside, and put everything back at the end, also what the code has replaced."""
        shell, publisher = self._shell, self._shell.display_pub
        with ExitStack() as stack:
            stack.callback(_keep_descriptors())
            if hasattr(shell, "kernel"):  # a terminal shows the answer itself by them
                stack.callback(take_descriptors(self.add_text))
            for stream in ("stdout", "stderr"):
                stack.callback(_set(sys, stream, _Stream(self, getattr(sys, stream))))
            stack.callback(_set(sys, "stdin", io.StringIO()))
            stack.callback(_set(sys, "displayhook", self._or(self.add_value, sys.displayhook)))
            for module, name in ((builtins, "input"), (getpass, "getpass")):
                stack.callback(_set(module, name, self._or(_refuse_input, getattr(module, name))))
            if (kernel := getattr(shell, "kernel", None)) is not None:
                for name in ("raw_input", "getpass"):
                    stack.callback(_set(kernel, name, self._or(_refuse_input, getattr(kernel, name))))
            stack.callback(_set(shell, "display_pub", publisher))
            stack.callback(_set(publisher, "publish", self._or(self._publish, publisher.publish)))
            stack.callback(_set(publisher, "clear_output", self._or(_ignore, publisher.clear_output)))
            stack.callback(_set(shell, "ask_exit", self._or(_refuse_exit, getattr(shell, "ask_exit", _refuse_exit))))
            for name in ("showtraceback", "showsyntaxerror"):
                stack.callback(_set(shell, name, self._or(self._add_error, getattr(shell, name))))
            for holder, name in _LEFT_ALONE:
                if hasattr(found := getattr(shell, holder) if holder else shell, name):
                    stack.callback(_set(found, name, getattr(found, name)))
            token = _current.set(self)
            try:
                yield
            finally:
                self._active = False
                _current.reset(token)

    def _or(self, ours: Callable[..., Any], theirs: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that calls ``ours`` for the code, and ``theirs`` for everything else."""
        return lambda *args, **options: (ours if self.takes() else theirs)(*args, **options)

    def _publish(self, data: Any, *_: Any, **__: Any) -> None:
        if isinstance(data, Mapping):
            self.add_bundle(data)

    def _add_error(self, *_: Any, **__: Any) -> None:
        from .calls import describe_failure

        if (error := sys.exc_info()[1]) is not None:
            self._text.add(f"{describe_failure(error)}\n")


class _Stream(io.TextIOBase):
    """Takes what the code prints, and passes on what others print."""

    encoding = "utf-8"

    def __init__(self, captured: Captured, shown: Any) -> None:
        self._captured, self._shown = captured, shown

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if self._captured.takes():
            self._captured.add_text(text)
        else:
            self._shown.write(text)
        return len(text)

    def flush(self) -> None:
        if not self._captured.takes():
            self._shown.flush()

    def close(self) -> None:
        """Stay open: the code may close the stream, but others go on."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._shown.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shown, name)


_LEFT_ALONE = (("displayhook", "exec_result"), ("", "last_execution_result"), ("", "last_execution_succeeded"))


def _set(owner: Any, name: str, value: Any) -> Callable[[], None]:
    """Set an attribute, and return a function that puts back what was there."""
    before = vars(owner).get(name, _MISSING) if hasattr(owner, "__dict__") else _MISSING
    before = getattr(owner, name) if before is _MISSING and _is_trait(owner, name) else before
    setattr(owner, name, value)

    def put_back() -> None:
        with suppress(AttributeError):
            delattr(owner, name) if before is _MISSING else setattr(owner, name, before)

    return put_back


def _is_trait(owner: Any, name: str) -> bool:
    return hasattr(owner, "has_trait") and bool(owner.has_trait(name))


def _keep_descriptors() -> Callable[[], None]:
    """Return a function that opens the standard streams of the process again if the code has closed them."""
    copies = {}
    for number in (0, 1, 2):
        with suppress(OSError):
            copies[number] = os.dup(number)

    def put_back() -> None:
        for number, copy in copies.items():
            try:
                os.fstat(number)
            except OSError:
                os.dup2(copy, number)
            os.close(copy)

    return put_back


def _refuse_input(*_: Any, **__: Any) -> Any:
    raise EOFError(_NO_INPUT)


def _refuse_exit(*_: Any, **__: Any) -> Any:
    raise SystemExit("code that a model runs cannot end the kernel")


def _ignore(*_: Any, **__: Any) -> None:
    pass
