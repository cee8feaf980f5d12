"""The images of an answer by their addresses."""

from __future__ import annotations

from collections.abc import Mapping

from ..markdown.data_uris import is_bitmap
from .images import ImageUrl

MAX_ADDRESSES = 1000  # more image addresses in one answer are ignored


class AnswerImages:
    """The part of ``Answer`` that knows its images."""

    images: list[ImageUrl]
    _server: str
    _addresses: dict[str, ImageUrl]
    _alts: dict[str, str]
    _cached_images: dict[str, str]

    def _restore_images(self, images: Mapping[str, str]) -> None:
        """Restore the images from what ``stored_images`` returned."""
        for address, target in images.items():
            image = ImageUrl(address if target.startswith("data:") else target)
            image = self._addresses.setdefault(image, image)
            self._addresses[address] = image
            if is_bitmap(target):
                image.data_uri = target
                self._alts[address] = ""
        self.images += dict.fromkeys(self._addresses.values())

    def _note_image(self, address: str) -> bool:
        """Add an image by its address. Whether it is now in ``images``: there is a limit."""
        if address not in self._addresses and len(self._addresses) < MAX_ADDRESSES:
            from ..transport.routing import same_origin_url

            known = self._cached_images.get(address, "data:")
            full = same_origin_url(self._server, address) or (address if known.startswith("data:") else known)
            if full not in self._addresses:
                image = ImageUrl(full)
                at_hand = self._cached_images.get(full, full)
                image.data_uri = at_hand if is_bitmap(at_hand) else None
                self.images.append(image)
                self._addresses[full] = image
            self._addresses[address] = self._addresses[full]
        return address in self._addresses

    @property
    def alts(self) -> Mapping[str, str]:
        """Alt texts of the images that came beside the text, by address."""
        return self._alts

    def image_targets(self) -> dict[str, str]:
        """Return what each image address stands for, a full address or a data URI, as ``safe_markdown`` takes it."""
        return {url: image.data_uri or url if url == image else str(image) for url, image in self._addresses.items()}

    def stored_images(self) -> dict[str, str]:
        """Return the image targets that a saved message needs beside its text; ``{}`` if no image is at hand."""
        beside_text = {url for url in self._alts if is_bitmap(url)}
        stored = {url: target for url, target in self.image_targets().items() if url != target or url in beside_text}
        return stored if any(map(is_bitmap, stored.values())) else {}
