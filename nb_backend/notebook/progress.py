"""Read progress events, which the cell and the panel show while there is no answer yet."""

from __future__ import annotations

from ..events import RawResponse


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
