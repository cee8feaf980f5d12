"""What IPython shows of a cell: where its outputs go, and a stop that is not an error.

``%%capture`` and ``ipywidgets.Output`` take the outputs of a cell. Neither shows the update of a display. ``%%capture``
keeps each update as one more output. A front end passes the displays of a request to the ``Output`` whose ``msg_id``
names that request, and drops its updates (jupyter-widgets/ipywidgets#1844, #1180).
"""

from __future__ import annotations

import asyncio
import sys
from types import TracebackType
from typing import Any


class _ShownStop(BaseException):
    """Interrupt or cancellation whose message is in the output of the cell, or in what captures its outputs."""

    is_captured = False

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class _Interrupt(_ShownStop, KeyboardInterrupt):
    pass


class _Cancellation(_ShownStop, asyncio.CancelledError):
    pass


# front ends get the names
_Interrupt.__name__, _Cancellation.__name__ = KeyboardInterrupt.__name__, asyncio.CancelledError.__name__


def is_captured(shell: Any) -> bool:
    """Whether outputs go to ``%%capture`` now."""
    from IPython.core.displaypub import CapturingDisplayPublisher

    return isinstance(shell.display_pub, CapturingDisplayPublisher)


def in_output_widget(shell: Any) -> bool:
    """Whether outputs go to an ``ipywidgets.Output`` now, in this context (``contextvars``)."""
    ipywidgets, widget = sys.modules.get("ipywidgets"), sys.modules.get("ipywidgets.widgets.widget")
    request = getattr(shell.display_pub, "parent_header", {}).get("msg_id")
    if ipywidgets is None or widget is None or not request:
        return False
    widgets = list(widget._instances.values())
    return any(isinstance(one, ipywidgets.Output) and one.msg_id == request for one in widgets)


def is_shown(error: BaseException) -> bool:
    """Whether ``shown_stop`` made the exception."""
    return isinstance(error, _ShownStop)


def shown_stop(error: BaseException, line: str) -> BaseException:
    """Return an interrupt, or a cancellation, with a message that the output of the cell shows already.

    The cell fails, so the cells after it do not run. It shows no error: a front end would show it in red below the line
    in the output. Where IPython's own handler reports the exception, or if outputs are captured, it is that line.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    kind = _Cancellation if isinstance(error, asyncio.CancelledError) else _Interrupt
    if shell is not None and not any(issubclass(_ShownStop, other) for other in shell.custom_exceptions):
        _hide_errors(shell)
    stop = kind(line)
    stop.is_captured = shell is not None and is_captured(shell)
    return stop


def _hide_errors(shell: Any) -> None:
    """Make a shell report the exceptions of ``shown_stop`` in the reply of the cell only, and others as before."""
    others, report = shell.custom_exceptions, shell.CustomTB

    def handle(shell: Any, kind: type, error: BaseException, traceback: TracebackType, tb_offset: Any = None) -> Any:
        if not isinstance(error, _ShownStop):
            return report(kind, error, traceback, tb_offset)
        if error.is_captured:
            shell.showtraceback((kind, error, traceback), tb_offset=tb_offset)
        else:
            shell._last_traceback = error._render_traceback_()  # what the reply has
        return []

    shell.set_custom_exc((*others, _ShownStop), handle)
