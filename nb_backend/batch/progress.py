"""The progress of many prompts while somebody waits for them: tqdm's bar, and one line that stays."""

from __future__ import annotations

import math
import sys
import threading
import time
import uuid
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from ..background import POLL_SECONDS
from ..capture import in_output_widget, is_captured
from ..chat.context_limit import is_too_long
from ..chat.schema import SchemaError
from ..errors import AuthError, BackendError, ConnectionFailed, ProtocolError, RateLimitError, TimedOut
from ..text import counted, duration

if TYPE_CHECKING:
    from ..transport.pool import Pool


_MAX_REASONS = 3  # that are named
_REASONS = {
    RateLimitError: "rate limit",
    AuthError: "key refused",
    ConnectionFailed: "no connection",
    TimedOut: "timeout",
    ProtocolError: "damaged answer",
    SchemaError: "wrong format",
    ValueError: "not sent",
}
_OVERLOADED = (503, 529)  # statuses


class Progress:
    """How many of the prompts are done; ``started`` is a time of ``time.monotonic``.

    ``answered`` includes the answers that are ``incomplete``, and those whose JSON was ``repaired``. ``pool`` is
    what the requests share, once they are sent.
    """

    pool: Pool | None = None

    def __init__(self, total: int) -> None:
        self.total = total
        self.answered = 0
        self.incomplete = 0
        self.repaired = 0
        self.failed = 0
        self.reasons: Counter[str] = Counter()  # of the failures
        self.tokens = 0
        self.started = time.monotonic()

    @property
    def done(self) -> int:
        """How many prompts have an answer or an error."""
        return self.answered + self.failed

    def add_failure(self, error: Exception) -> None:
        """Count a prompt that has failed."""
        self.failed += 1
        self.reasons[reason_of(error)] += 1

    @property
    def waiting(self) -> str:
        """How long no request is sent, and why: ``waiting 8 s: rate limit (429)``; "" while requests are sent."""
        if self.pool is None or (found := self.pool.wait) is None:
            return ""
        seconds, failure = math.ceil(found[0]), found[1]
        time_left = f"{seconds} s" if seconds < 60 else duration(seconds)
        if failure is None:
            return f"waiting {time_left}"
        status = f" ({failure.status})" if failure.status else ""
        return f"waiting {time_left}: {reason_of(failure)}{status}"

    @property
    def failures(self) -> str:
        """How many prompts failed, and why: ``3 failed: 2 rate limit, 1 timeout``; "" if none did."""
        if not self.failed:
            return ""
        named = self.reasons.most_common(_MAX_REASONS)
        parts = [f"{count:,} {reason}" if len(self.reasons) > 1 else reason for reason, count in named]
        if others := self.reasons.total() - sum(count for _, count in named):
            parts.append(counted(others, "other"))
        why = ", ".join(parts)
        return f"{self.failed:,} failed: {why}" if why else f"{self.failed:,} failed"

    @property
    def rate(self) -> str:
        """The text after the bar: why it waits, failures, incomplete answers, and tokens per second."""
        parts = [self.waiting, self.failures]
        parts += [f"{self.incomplete:,} incomplete"] if self.incomplete else []
        if self.tokens:
            parts.append(f"{self.tokens / max(time.monotonic() - self.started, POLL_SECONDS):,.0f} tokens/s")
        return " · ".join(filter(None, parts))

    @property
    def left(self) -> str:
        """The estimated time left, as tqdm writes it; empty as long as nothing is done."""
        from tqdm import tqdm  # type: ignore[import-untyped]

        if not self.done:
            return ""
        seconds = (time.monotonic() - self.started) / self.done * (self.total - self.done)
        return f"{tqdm.format_interval(seconds)} left"

    def line(self, *, timed: bool) -> str:
        """Return the totals in one line; ``timed`` adds the seconds, which differ from run to run."""
        parts = [f"{self.answered:,} answered"]
        parts += [f"{self.incomplete:,} of them incomplete"] if self.incomplete else []
        parts += [f"{self.repaired:,} of them repaired by json-repair"] if self.repaired else []
        parts += [self.failures] if self.failed else []
        parts += [counted(self.tokens, "token")] if self.tokens else []
        parts += [duration(time.monotonic() - self.started)] if timed else []
        return " · ".join(parts)


def reason_of(error: Exception) -> str:
    """Return in a word or two why a prompt failed."""
    if isinstance(error, BackendError):
        if error.no_credit:
            return "no credit"
        if is_too_long(error):
            return "prompt too long"
        if error.status in _OVERLOADED:
            return "server overloaded"
    kind = next((kind for kind in _REASONS if isinstance(error, kind)), None)
    return _REASONS[kind] if kind else "server error" if isinstance(error, BackendError) else type(error).__name__


class ProgressView(Protocol):
    """Where progress is shown; only the waiting thread calls it."""

    def show(self, counts: Progress) -> None:
        """Show the counts."""

    def finish(self, line: str) -> None:
        """Replace the bar by one line, which stays."""


class NoProgress:
    """A view that shows nothing."""

    def show(self, counts: Progress) -> None:
        """Show nothing."""

    def finish(self, line: str) -> None:
        """Show nothing."""


class TextBar:
    """A bar of text, drawn again and again in one line: of the terminal, or of an ``ipywidgets.Output``."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._bar: Any = None

    def show(self, counts: Progress) -> None:
        """Draw the bar."""
        if self._bar is None:
            from tqdm import tqdm

            self._bar = _make_bar(tqdm, counts, leave=False, file=self._file, dynamic_ncols=True)
        _update_bar(self._bar, counts)

    def finish(self, line: str) -> None:
        """Replace the bar by one line, which stays."""
        if self._bar is not None:
            self._bar.close()
        print(line, file=self._file)


class NotebookBar:
    """A bar in the output of a cell: a widget, or Markdown where there are no widgets; Markdown in the end.

    ``plain`` never shows a widget. A saved notebook keeps the state of each widget under a random name, and with a
    cache two runs of a notebook must not differ.
    """

    def __init__(self, shell: Any, *, plain: bool) -> None:
        self._display_id = uuid.uuid4().hex
        self._is_displayed = False
        self._bar: Any = None
        self._plain = plain
        self._line = ""
        self._is_captured = is_captured(shell)  # then only the last line is shown

    def show(self, counts: Progress) -> None:
        """Draw the bar."""
        if self._is_captured:
            return
        if self._bar is None and not self._plain:
            try:
                self._bar = self._show_widget(counts)
            except Exception:  # there are no widgets, or they fail; what they raise then differs
                self._plain = True
        if self._bar is not None:
            _update_bar(self._bar, counts)
        else:
            parts = [f"{counts.done:,} of {counts.total:,}", counts.rate, counts.left]
            self._show_line(" · ".join(filter(None, parts)))

    def finish(self, line: str) -> None:
        """Replace the bar by one line, which stays, and close its widgets."""
        self._show_line(line)
        if self._bar is not None:
            box, self._bar.disable = self._bar.container, True
            for widget in (*box.children, box):  # ipywidgets keeps every widget that is not closed
                for part in (getattr(widget, "style", None), widget.layout, widget):
                    if part is not None:
                        part.close()

    def _show_widget(self, counts: Progress) -> Any:
        from tqdm.notebook import tqdm_notebook  # type: ignore[import-untyped]

        bar = _make_bar(tqdm_notebook, counts, display=False)
        self._display(bar.container)
        return bar

    def _show_line(self, line: str) -> None:
        from IPython.display import Markdown

        if line != self._line:
            self._line = line
            self._display(Markdown(line))

    def _display(self, output: Any) -> None:
        from IPython.display import display

        display(output, display_id=self._display_id, update=self._is_displayed)
        self._is_displayed = True


def choose_view(wanted: bool, *, plain: bool) -> ProgressView:
    """Return the view for this process: a notebook's, a terminal's, or none; ``plain`` is as for ``NotebookBar``."""
    if not wanted:
        return NoProgress()
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if hasattr(shell, "kernel"):
        return TextBar(sys.stdout) if in_output_widget(shell) else NotebookBar(shell, plain=plain)
    with suppress(AttributeError, ValueError):  # stderr is missing or closed
        return TextBar(sys.stderr) if sys.stderr.isatty() else NoProgress()
    return NoProgress()


def _make_bar(bar_class: Any, counts: Progress, **options: Any) -> Any:
    """Build a tqdm bar that is drawn by ``_update_bar`` alone and counts from when the requests started.

    tqdm's monitor thread is off: it would draw too. The bar has a lock of its own, because a drawing that fails leaves
    tqdm's common lock locked, and every other bar would hang. It does not draw when it is collected: that would write
    into whatever cell runs then.
    """
    own = {"monitor_interval": 0, "_lock": threading.RLock(), "__del__": lambda bar: None}
    bar = type(bar_class.__name__, (bar_class,), own)(total=counts.total, **options)
    bar.start_t -= time.monotonic() - counts.started
    return bar


def _update_bar(bar: Any, counts: Progress) -> None:
    bar.n = counts.done
    bar.set_postfix_str(counts.rate, refresh=False)
    bar.refresh(nolock=True)
