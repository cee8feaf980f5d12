"""Diagnostics, silent by default: ``logging.getLogger("nb_backend").setLevel("DEBUG")`` turns them on."""

from __future__ import annotations

import logging

_logger = logging.getLogger("nb_backend")
_logger.addHandler(logging.NullHandler())


def log(*text: object) -> None:
    """Record a line at level DEBUG. The caller never passes a key."""
    if _logger.isEnabledFor(logging.DEBUG):
        _logger.debug(" ".join(map(str, text)))
