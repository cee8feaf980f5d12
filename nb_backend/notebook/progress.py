"""Read progress events, which the cell and the panel show while there is no answer yet."""

from __future__ import annotations

import math

from ..events import RawResponse

SILENCE = 5  # seconds without anything new, after which the wait is counted
_BAR_WIDTH = 24  # characters


def read_progress(event: RawResponse) -> tuple[str, float | None] | None:
    """Return the label and the share that is done, from 0 to 1 (``None`` if unknown); ``None`` without progress."""
    progress = event.get("progress")
    if not isinstance(progress, dict):
        return None
    done, total = progress.get("done"), progress.get("total")
    label = str(progress.get("label") or "working")
    if not isinstance(done, int) or not isinstance(total, int) or total <= 0:
        return label, None
    return label, min(max(done, 0), total) / total


def bar_markdown(label: str, share: float) -> str:
    """Return a progress bar as Markdown, after a label that is Markdown; ``share`` is from 0 to 1."""
    full = round(share * _BAR_WIDTH)
    return f"{label} `{'█' * full}{'░' * (_BAR_WIDTH - full)}` {share:.0%}"


def read_wait(event: RawResponse) -> tuple[str, float] | None:
    """Return why, and in how many seconds from the event on, the request is sent again; ``None`` if it is not."""
    wait, reason = event.get("wait"), event.get("reason")
    if isinstance(wait, bool) or not isinstance(wait, int | float) or not math.isfinite(wait) or not reason:
        return None
    return str(reason), max(0.0, float(wait))
