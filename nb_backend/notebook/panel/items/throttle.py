"""How often a growing answer is sent: the page reveals an update over the time until the next one, so few suffice."""

from __future__ import annotations

FASTEST, SLOWEST = 0.1, 0.7  # seconds between two updates
_FREE_BYTES = 3_000  # for the first messages, whose text is small compared with the envelope
_RATIO_FASTEST, _RATIO_SLOWEST = 1.2, 2.1  # bytes sent for each byte of HTML; in between, the interval grows
_GROWTH = 1.2  # of the interval from one update to the next: the page expects the next one after as long as the last
_PAUSE_FACTOR = 2  # times the rendering time: rendering takes at most a third of the time


class Throttle:
    """Decides when an answer may be rendered and sent again. ``bytes_sent`` includes the envelopes of messages."""

    def __init__(self) -> None:
        self.due = 0.0
        self.bytes_sent = 0
        self._interval = FASTEST

    def schedule_next(self, now: float, render_seconds: float, html_size: int) -> None:
        """Set the time of the next update from the last rendering time and the length of the HTML so far."""
        self._interval = min(interval(self.bytes_sent, html_size), _GROWTH * self._interval)
        self.due = now + max(self._interval, _PAUSE_FACTOR * render_seconds)


def interval(bytes_sent: int, html_size: int) -> float:
    """Return the seconds between two updates, given the bytes sent so far and the length of the HTML."""
    ratio = max(0, bytes_sent - _FREE_BYTES) / max(1, html_size)
    share = min(1.0, max(0.0, (ratio - _RATIO_FASTEST) / (_RATIO_SLOWEST - _RATIO_FASTEST)))
    return FASTEST + share * (SLOWEST - FASTEST)
