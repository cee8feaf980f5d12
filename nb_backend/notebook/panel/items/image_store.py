"""The images and sounds of a panel's items, by the keys with which a page requests them."""

from __future__ import annotations

import hashlib
from typing import Any

from ....media.attachment import Attachment
from ....media.probe import pixel_size
from ....media.sniff import BITMAPS, parse_data_uri
from ....text import shorten

_FIELDS = ("name", "type", "size", "width", "height", "note")


class ImageStore:
    """Images of the items that are shown. A key is a hash of the image, so it is the same in every panel."""

    def __init__(self) -> None:
        self._images: dict[str, Attachment | str] = {}
        self._descriptions: dict[str, dict[str, Any]] = {}

    def keep(self, image: Attachment | str) -> str:
        """Store an attachment or a data URI and return its key."""
        uri = image.uri if isinstance(image, Attachment) else image
        key = hashlib.blake2b(uri.encode("utf-8", "replace"), digest_size=12).hexdigest()
        if key not in self._images or isinstance(image, Attachment):
            self._images[key] = image
        return key

    def keep_only(self, keys: set[str]) -> None:
        """Drop all images but these."""
        self._images = {key: image for key, image in self._images.items() if key in keys}
        self._descriptions = {key: one for key, one in self._descriptions.items() if key in keys}

    def attachment(self, key: object) -> Attachment:
        """Return the attachment with this key. ``ValueError`` if there is none."""
        image = self._images.get(key) if isinstance(key, str) else None
        if not isinstance(image, Attachment):
            raise ValueError("this image is no longer available")
        return image

    def data(self, key: object) -> tuple[bytes, str]:
        """Return bytes and media type of an image or a sound. ``ValueError`` if it is gone or no browser shows it."""
        image = self._images.get(key) if isinstance(key, str) else None
        if image is None:
            raise ValueError("this image is no longer available")
        uri = image.uri if isinstance(image, Attachment) else image
        if isinstance(image, Attachment) and image.media_type not in BITMAPS:
            uri = image.thumbnail() or ""
        try:
            media_type, data = parse_data_uri(uri)
        except ValueError:
            media_type, data = "", b""
        if media_type not in BITMAPS and not media_type.startswith("audio/"):
            raise ValueError("this image cannot be shown here")
        return data, media_type

    def description(self, attachment: Attachment) -> dict[str, Any]:
        """Return what `describe_attachment` returns, computed once for each attachment."""
        key = self.keep(attachment)
        if key not in self._descriptions:
            self._descriptions[key] = describe_attachment(attachment)
        return self._descriptions[key]


def describe_attachment(attachment: Attachment) -> dict[str, Any]:
    """Return name, media type, size in bytes, width and height in pixels, and note, as a page shows them."""
    data = attachment.data
    width, height = pixel_size(data, attachment.media_type) or (0, 0)
    values = (shorten(attachment.name, 100), attachment.media_type, len(data), width, height, attachment.remark)
    return dict(zip(_FIELDS, values, strict=True))
