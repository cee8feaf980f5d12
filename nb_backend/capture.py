"""Whether outputs go to ``%%capture`` or to an ``ipywidgets.Output``, and not to the cell.

Neither shows the update of a display. ``%%capture`` keeps each update as one more output. A front end passes the
displays of a request to the ``Output`` whose ``msg_id`` names that request, and drops its updates
(jupyter-widgets/ipywidgets#1844, #1180).
"""

from __future__ import annotations

import sys
from typing import Any


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
