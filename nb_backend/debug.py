"""Diagnostics, through Python's ``logging`` under the name ``nb_backend``.

They are off by default. ``logging.getLogger("nb_backend").setLevel("DEBUG")`` turns them on.
"""

from __future__ import annotations

import logging

_logger = logging.getLogger("nb_backend")


def log(*parts: object) -> None:
    """Log the parts as one line at level DEBUG. Callers must not pass a key."""
    if _logger.isEnabledFor(logging.DEBUG):
        _logger.debug(" ".join(map(str, parts)))


def warn(text: str) -> None:
    """Log a line at level WARNING, which Python prints to stderr by default."""
    _logger.warning("%s", text)
