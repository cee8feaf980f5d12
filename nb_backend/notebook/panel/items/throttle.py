"""How often a growing answer is sent: often enough to read along, but not so often that messages outweigh the text."""

from __future__ import annotations

FASTEST, SLOWEST = 0.1, 0.5  # seconds between two updates
_FREE_BYTES = 8_000  # for the first messages, whose text is small compared with the envelope
_RATIO_FASTEST, _RATIO_SLOWEST = 1.4, 2.3  # bytes sent for each byte of HTML; in between, the interval grows
_PAUSE_FACTOR = 2  # times the rendering time: rendering takes at most a third of the time


class Throttle:
    """Decides when an answer may be rendered and sent again. ``bytes_sent`` includes the envelopes of messages."""

    def __init__(self) -> None:
        self.due = 0.0
        self.bytes_sent = 0

    def schedule_next(self, now: float, render_seconds: float, html_size: int) -> None:
        """Set the time of the next update from the last rendering time and the length of the HTML so far."""
        self.due = now + max(interval(self.bytes_sent, html_size), _PAUSE_FACTOR * render_seconds)


def interval(bytes_sent: int, html_size: int) -> float:
    """Return the seconds between two updates, given the bytes sent so far and the length of the HTML."""
    ratio = max(0, bytes_sent - _FREE_BYTES) / max(1, html_size)
    share = min(1.0, max(0.0, (ratio - _RATIO_FASTEST) / (_RATIO_SLOWEST - _RATIO_FASTEST)))
    return FASTEST + share * (SLOWEST - FASTEST)
