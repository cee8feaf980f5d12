"""Which cell shows which panel: one that runs again puts its new panel into the place of the old one."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from .host import Host

_shown: WeakKeyDictionary[Host, dict[str, str]] = WeakKeyDictionary()
"""For each panel the cells that show it, with the requests that ran them."""


def show(host: Host, cell: str | None, run: str) -> None:
    """Note that a run of a cell shows a panel; those that only earlier runs of it had shown are closed."""
    if host.closed:
        return
    if cell is not None:
        _shown.setdefault(host, {})[cell] = run
        for other, places in list(_shown.items()):
            if other is not host and places.get(cell, run) != run:
                del places[cell]
                if not places:
                    other.close(heir=host)
    host.inherit()
