"""Values of the notebook become attachments.

``convert``  ``attach`` and ``to_data_uri``, the public conversion
``attachment``  the value that is sent
``source``  any accepted value, read as bytes or kept as a web address
``files``  files read within a size limit
``from_object``  the image of a figure, a chart or any object with a repr hook
``png``  arrays and images of Pillow, encoded as PNG
``svg``  SVG to PNG, in a subprocess
``clipboard``  images and files from the clipboard
``resize``  images scaled down, turned upright and converted, and thumbnails
``types``  the table of media types, one row each
``formats``  how file formats begin, whether they end, how many pixels they declare
``orientation``  how an image has to be turned
``sniff``  media types recognized by content, and data URIs
``probe``  truncation and pixel size
``tables``  tables and columns of any library
``message_parts``  attachments as content parts of a message
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .attachment import Attachment as Attachment
    from .convert import attach as attach
    from .convert import to_data_uri as to_data_uri

_HOMES = {"Attachment": "attachment", "attach": "convert", "to_data_uri": "convert"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
