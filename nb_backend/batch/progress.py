"""How far many questions are, while somebody waits for their answers: tqdm's bar, and one line that stays."""

from __future__ import annotations

import sys
import threading
import time
import uuid
from contextlib import suppress
from typing import Any, Protocol

INTERVAL = 0.1  # seconds between two looks


class Progress:
    """What has been done of how much, for whoever looks; times are those of ``time.monotonic``."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.answered = 0
        self.failed = 0
        self.tokens = 0
        self.started = time.monotonic()

    @property
    def done(self) -> int:
        """How many have come to their end, this way or that."""
        return self.answered + self.failed

    @property
    def rate(self) -> str:
        """What a bar says besides: failures, and tokens a second."""
        parts = [f"{self.failed:,} failed"] if self.failed else []
        if self.tokens:
            parts.append(f"{self.tokens / max(time.monotonic() - self.started, INTERVAL):,.0f} tokens/s")
        return ", ".join(parts)

    @property
    def left(self) -> str:
        """How long the rest takes if it goes on like that, as tqdm writes it; "" while nothing tells."""
        from tqdm import tqdm  # type: ignore[import-untyped]

        if not self.done:
            return ""
        seconds = (time.monotonic() - self.started) / self.done * (self.total - self.done)
        return f"{tqdm.format_interval(seconds)} left"

    def line(self, *, timed: bool) -> str:
        """Say in one line what has become of all; with the seconds, which are others in each run."""
        parts = [f"{self.answered:,} answered"]
        parts += [f"{self.failed:,} failed"] if self.failed else []
        parts += [f"{self.tokens:,} tokens"] if self.tokens else []
        parts += [f"{time.monotonic() - self.started:.1f} s"] if timed else []
        return " · ".join(parts)


class ProgressView(Protocol):
    """Where it is shown; only the thread that waits shows anything."""

    def show(self, counts: Progress) -> None:
        """Show how far it is."""

    def finish(self, line: str) -> None:
        """Show one line, which stays."""


class NoProgress:
    """Nowhere."""

    def show(self, counts: Progress) -> None:
        """Show nothing."""

    def finish(self, line: str) -> None:
        """Show nothing."""


class TerminalBar:
    """A line of the terminal, on stderr."""

    def __init__(self) -> None:
        self._bar: Any = None

    def show(self, counts: Progress) -> None:
        """Draw the bar, or draw it anew."""
        if self._bar is None:
            from tqdm import tqdm

            self._bar = _bar(tqdm, counts, leave=False, file=sys.stderr, dynamic_ncols=True)
        _update(self._bar, counts)

    def finish(self, line: str) -> None:
        """Put the line where the bar was."""
        if self._bar is not None:
            self._bar.close()
        print(line, file=sys.stderr)  # noqa: T201


class NotebookBar:
    """An output of a cell: a widget while it runs, where there are widgets, and Markdown from then on.

    Where nothing but the answers may differ between two runs, ``plain`` leaves the widget out: a notebook that is saved
    keeps the state of each, under a random name.
    """

    def __init__(self, shell: Any, *, plain: bool) -> None:
        from IPython.core.displaypub import CapturingDisplayPublisher

        self._display_id = uuid.uuid4().hex
        self._shown = False
        self._bar: Any = None
        self._text = plain
        self._line = ""
        # %%capture keeps every update as an output of its own: it gets only the last
        self._live = not isinstance(shell.display_pub, CapturingDisplayPublisher)

    def show(self, counts: Progress) -> None:
        """Show the bar, or move it."""
        if not self._live:
            return
        if self._bar is None and not self._text:
            try:
                self._bar = self._widget(counts)
            except Exception:  # whatever a front end's widgets, or their absence, raise
                self._text = True
        if self._bar is not None:
            _update(self._bar, counts)
        else:
            parts = [f"{counts.done:,} of {counts.total:,}", counts.rate, counts.left]
            self._say(" · ".join(filter(None, parts)))

    def finish(self, line: str) -> None:
        """Put the line where the bar was, and take the widget away."""
        self._say(line)
        if self._bar is not None:
            box, self._bar.disable = self._bar.container, True
            for widget in (*box.children, box):  # or ipywidgets would hold them for ever
                for part in (getattr(widget, "style", None), widget.layout, widget):
                    if part is not None:
                        part.close()

    def _widget(self, counts: Progress) -> Any:
        from tqdm.notebook import tqdm_notebook  # type: ignore[import-untyped]

        bar = _bar(tqdm_notebook, counts, display=False)
        self._display(bar.container)
        return bar

    def _say(self, line: str) -> None:
        from IPython.display import Markdown

        if line != self._line:
            self._line = line
            self._display(Markdown(line))

    def _display(self, thing: Any) -> None:
        from IPython.display import display

        display(thing, display_id=self._display_id, update=self._shown)
        self._shown = True


def progress(wanted: bool, *, plain: bool) -> ProgressView:
    """Choose where progress is shown: in a notebook, in a terminal, or nowhere."""
    if not wanted:
        return NoProgress()
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if hasattr(shell, "kernel"):
        return NotebookBar(shell, plain=plain)
    with suppress(AttributeError, ValueError):  # no stderr, or one that is closed
        return TerminalBar() if sys.stderr.isatty() else NoProgress()
    return NoProgress()


def _bar(kind: Any, counts: Progress, **options: Any) -> Any:
    """Make a bar of tqdm's: without its thread, which would draw unbidden, and begun when the questions were.

    It has a lock of its own: a drawing that fails leaves tqdm's locked, and then every other bar waits for ever. And it
    does not draw when it is collected: into whatever cell runs then, or onto a screen that is gone.
    """
    own = {"monitor_interval": 0, "_lock": threading.RLock(), "__del__": lambda bar: None}
    bar = type(kind.__name__, (kind,), own)(total=counts.total, **options)
    bar.start_t -= time.monotonic() - counts.started
    return bar


def _update(bar: Any, counts: Progress) -> None:
    bar.n = counts.done
    bar.set_postfix_str(counts.rate, refresh=False)
    bar.refresh(nolock=True)
