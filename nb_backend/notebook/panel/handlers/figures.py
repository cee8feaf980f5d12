"""The images that recent cells show, as a page offers them for attaching."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from ....media.attachment import file_name
from ....media.probe import pixel_size
from ....media.resize import thumbnail
from ....media.sniff import media_type
from ...outputs import CellImages


def describe_figures(cells: Sequence[CellImages]) -> list[dict[str, Any]]:
    """Describe the images of cells, each once, starting with the last image of the newest cell."""
    found: dict[str, dict[str, Any]] = {}
    for key, cell, name, data in _all_figures(cells):
        if key not in found:
            kind = media_type(data) or ""
            width, height = pixel_size(data, kind) or (0, 0)
            shown = {"key": key, "cell": f"In [{cell.number}]", "name": name, "type": kind, "size": len(data)}
            found[key] = {**shown, "width": width, "height": height, "thumbnail": thumbnail(data, kind) or ""}
    return [*found.values()]


def find_figure(cells: Sequence[CellImages], key: str) -> tuple[str, bytes]:
    """Return the file name and the bytes of an image. ``ValueError`` if no recent cell shows it any more."""
    for found, _, name, data in _all_figures(cells):
        if found == key:
            return name, data
    raise ValueError("no cell shows this image any more")


def _all_figures(cells: Sequence[CellImages]) -> Iterator[tuple[str, CellImages, str, bytes]]:
    for cell in cells:
        for number, data in reversed([*enumerate(cell.images, 1)]):
            stem = f"cell_{cell.number}" if len(cell.images) == 1 else f"cell_{cell.number}_{number}"
            key = hashlib.blake2b(data, digest_size=12).hexdigest()
            yield key, cell, file_name(stem, media_type(data) or "image/png"), data
