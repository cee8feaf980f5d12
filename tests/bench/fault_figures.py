"""What a fault run has counted, and what was wrong."""

from __future__ import annotations

import json
from collections import Counter

from nb_backend.errors import BackendError

KINDS = {kind.__name__ for kind in BackendError.__subclasses__()}


class Figures(Counter[str]):
    """What was counted, and what was wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.longest = 0.0

    def check(self, good: bool, what: str) -> None:
        """Count a check, and note what was wrong."""
        self["checks"] += 1
        if not good:
            self.wrong.append(what)

    def report(self) -> None:
        """Write all of it as a line of JSON."""
        print(json.dumps({"figures": self, "wrong": self.wrong, "longest": self.longest}))
