"""The pictures that a panel can show, by the keys by which its page asks for them."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from ....media.attachment import Attachment
from ....media.probe import pixel_size
from ....media.sniff import BITMAPS
from ....text import shorten

_FIELDS = ("name", "type", "size", "width", "height", "note")


class ImageStore:
    """Pictures of the items that are shown. A key is a hash of the picture: the same in every panel."""

    def __init__(self) -> None:
        self._pictures: dict[str, Attachment | str] = {}
        self._facts: dict[str, dict[str, Any]] = {}

    def keep(self, picture: Attachment | str) -> str:
        """Keep an attachment or a data URI, and give its key."""
        uri = picture.uri if isinstance(picture, Attachment) else picture
        key = hashlib.blake2b(uri.encode("utf-8", "replace"), digest_size=12).hexdigest()
        if key not in self._pictures or isinstance(picture, Attachment):
            self._pictures[key] = picture
        return key

    def keep_only(self, keys: set[str]) -> None:
        """Let the others go."""
        self._pictures = {key: picture for key, picture in self._pictures.items() if key in keys}
        self._facts = {key: facts for key, facts in self._facts.items() if key in keys}

    def attachment(self, key: object) -> Attachment:
        """Give what was attached under a key. ``ValueError`` if it is gone."""
        picture = self._pictures.get(key) if isinstance(key, str) else None
        if not isinstance(picture, Attachment):
            raise ValueError("this image is no longer there")
        return picture

    def data(self, key: object) -> tuple[bytes, str]:
        """Give the bytes of a picture, and their type. ``ValueError`` if a browser cannot show it, or it is gone."""
        picture = self._pictures.get(key) if isinstance(key, str) else None
        if picture is None:
            raise ValueError("this picture is no longer there")
        uri = picture.uri if isinstance(picture, Attachment) else picture
        if isinstance(picture, Attachment) and picture.media_type not in BITMAPS:
            uri = picture.thumbnail() or ""
        kind, found, data = uri.removeprefix("data:").partition(";base64,")
        if not found or kind.replace("jpg", "jpeg") not in BITMAPS:
            raise ValueError("this picture cannot be shown here")
        return base64.b64decode(data + "=" * (-len(data) % 4)), kind

    def facts(self, one: Attachment) -> dict[str, Any]:
        """Give what the page says of an attachment; worked out once."""
        key = self.keep(one)
        if key not in self._facts:
            self._facts[key] = describe_attachment(one)
        return self._facts[key]


def describe_attachment(one: Attachment) -> dict[str, Any]:
    """Give what the page says of an attachment."""
    data = one.data
    width, height = pixel_size(data, one.media_type) or (0, 0)
    told = (shorten(one.name, 100), one.media_type, len(data), width, height, one.remark)
    return dict(zip(_FIELDS, told, strict=True))
