"""What this library says beside its results, by Python's logging: ``nb_backend`` is the logger's name.

Diagnostics are silent by default: ``logging.getLogger("nb_backend").setLevel("DEBUG")`` turns them on.
"""

from __future__ import annotations

import logging

_logger = logging.getLogger("nb_backend")


def log(*text: object) -> None:
    """Record a line at level DEBUG. The caller never passes a key."""
    if _logger.isEnabledFor(logging.DEBUG):
        _logger.debug(" ".join(map(str, text)))


def warn(text: str) -> None:
    """Record a line at level WARNING, which Python prints unless told otherwise."""
    _logger.warning("%s", text)
