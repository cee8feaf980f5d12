"""The counts of a fault run, and what went wrong."""

from __future__ import annotations

import json
from collections import Counter

from nb_backend.errors import BackendError

KINDS = {kind.__name__ for kind in BackendError.__subclasses__()}


class Figures(Counter[str]):
    """Counts by name; ``wrong`` lists the failed checks, ``longest`` is the longest call in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.longest = 0.0

    def check(self, good: bool, what: str) -> None:
        """Count a check; note ``what`` if it failed."""
        self["checks"] += 1
        if not good:
            self.wrong.append(what)

    def report(self) -> None:
        """Print everything as one line of JSON."""
        print(json.dumps({"figures": self, "wrong": self.wrong, "longest": self.longest}))
