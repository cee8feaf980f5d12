"""How often an open answer is sent: often enough to be read as it comes, not so often that the messages cost more."""

from __future__ import annotations

FASTEST, SLOWEST = 0.1, 0.5  # seconds between two
_FREE = 8_000  # bytes that a beginning may cost: there, the text is worth less than what is around it
_EASY, _AIM = 1.4, 2.3  # times the HTML: from here on more slowly, up to here
_PAUSE = 2  # times what rendering took: it takes a third of the time at the most


class Throttle:
    """When an answer may be rendered and sent again. ``bytes_sent`` counts envelopes too."""

    def __init__(self) -> None:
        self.due = 0.0
        self.bytes_sent = 0

    def schedule_next(self, now: float, took: float, html: int) -> None:
        """Set when the next may be, for an answer whose HTML has this length so far and took so long to render."""
        self.due = now + max(interval(self.bytes_sent, html), _PAUSE * took)


def interval(spent: int, html: int) -> float:
    """Give the seconds to wait where so many bytes were sent for an HTML of this length."""
    ratio = max(0, spent - _FREE) / max(1, html)
    share = min(1.0, max(0.0, (ratio - _EASY) / (_AIM - _EASY)))
    return FASTEST + share * (SLOWEST - FASTEST)
