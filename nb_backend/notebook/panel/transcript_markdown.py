"""A chat as Markdown for the notebook: safe to show, with small images."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...chat.answer import Answer
from ...chat.export import SPEAKERS
from ...chat.messages import metadata, time_of
from ...chat.shown_steps import rounds_markdown
from ...chat.source_list import masked, sources_markdown
from ...markdown.data_uris import is_bitmap, shorten_images
from ...markdown.elements import code_span, error_note, escape_line
from ...markdown.images import answer_markdown
from ...markdown.safe import image_addresses, safe_markdown
from ...media.attachment import Attachment
from ...media.message_parts import text_of
from ...media.resize import fit_within, thumbnail
from ...media.sniff import BITMAPS, data_uri, parse_data_uri
from ...tools.step import ToolStep
from ..status_line import status_line, status_markdown
from .items.content import Mask
from .items.steps import masked_step

MAX_TOTAL_BYTES = 4 * 2**20  # of all images of a transcript
MAX_IMAGE_BYTES = 200_000
MAX_IMAGE_SIDE = 1600  # pixels
_THUMBNAIL_SIDE = 640  # pixels of an image that cannot be scaled to MAX_IMAGE_BYTES
_SMALLEST_IMAGE = 1000  # bytes; with less space left, no further image is tried
MAX_DATA_URI = 300  # characters that may stay in a text; images were replaced by small ones before


class TranscriptRenderer:
    """Renders a growing chat. A message is rendered again only if it changed, or if its images do not fit any more.

    The images of the newest messages come first, up to ``MAX_TOTAL_BYTES``. The others are replaced by words.
    """

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._renderers: dict[int, MessageRenderer] = {}  # by the id of the message
        self._small_images: dict[str, str] = {}  # data URI -> scaled-down data URI, "" if that is impossible
        self.shown_images: dict[str, str] = {}  # data URI -> small one, of those that were chosen

    def markdown(self, *chats: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return the messages of each chat as Markdown, each below the name of its speaker."""
        self._renderers = {id(message): self._renderer(message) for messages in chats for message in messages}
        newest_first = [self._renderers[id(message)] for messages in chats for message in reversed(messages)]
        shown = self.shown_images = self._choose_images([uri for one in newest_first for uri in one.images])
        return ["\n\n".join(self._renderers[id(one)].markdown(shown) for one in messages) for messages in chats]

    def _renderer(self, message: Mapping[str, Any]) -> MessageRenderer:
        known = self._renderers.get(id(message))
        return known if known is not None and known.is_for(message) else MessageRenderer(message, self._mask)

    def _choose_images(self, uris: Sequence[str]) -> dict[str, str]:
        """Return a small image for each of the first images that fit together."""
        before, self._small_images = self._small_images, {}
        bytes_left, chosen = MAX_TOTAL_BYTES, {}
        for uri, times in Counter(uris).items():
            if bytes_left < _SMALLEST_IMAGE:
                break
            small = self._small_images[uri] = before[uri] if uri in before else _scale_down(uri)
            if small and (size := times * len(small) * 3 // 4) <= bytes_left:
                bytes_left -= size
                chosen[uri] = small
        return chosen


class MessageRenderer:
    """Renders one message. ``images`` lists the data URIs of its images, once for each time they are shown."""

    def __init__(self, message: Mapping[str, Any], mask: Mask) -> None:
        self._message = message
        self._content = message.get("content")
        self._role = str(message.get("role") or "")
        self._answer = Answer.of(message)
        self._text = mask(text_of(message))
        self._metadata, self._time = metadata(message), time_of(message)
        self._mask = mask
        self._media = [one for one in message.get("media", ()) if isinstance(one, Attachment)]
        self._addresses = self._answer.image_targets()
        inline = image_addresses(self._text) if self._role == "assistant" and ";base64," in self._text else []
        self._addresses |= {address: address for address in inline if is_bitmap(address)}
        self.images = [
            uri for uri in self._addresses.values() for _ in range(self._text.count(uri) or 1) if is_bitmap(uri)
        ]
        self.images += [one.uri for one in self._media if one.media_type.startswith("image/")]
        self.images += [one.uri for step in self._answer.steps for one in step.images]
        self._rendered: tuple[list[str], str] | None = None  # the images that were used, and the Markdown

    def is_for(self, message: Mapping[str, Any]) -> bool:
        """Whether this renders that very message, with its current content."""
        return self._message is message and self._content is message.get("content")

    def markdown(self, shown_images: Mapping[str, str]) -> str:
        """Return the message as Markdown; ``shown_images`` maps data URIs to small ones."""
        used = [shown_images.get(uri, "") for uri in self.images]
        if self._rendered is None or self._rendered[0] != used:
            self._rendered = used, "\n\n".join(part for part in self._parts(shown_images) if part)
        return self._rendered[1]

    def _parts(self, shown_images: Mapping[str, str]) -> list[str]:
        clock = time.strftime("%Y-%m-%d %H:%M", time.localtime(self._time)) if self._time else ""
        speaker = escape_line(SPEAKERS.get(self._role, self._role))
        head = f"**{speaker}**{f' <small>{clock}</small>' if clock else ''}"
        if self._role != "assistant":
            return [head, safe_markdown(self._text), *(self._attached(one, shown_images) for one in self._media)]
        reasoning = self._mask(self._answer.reasoning)
        collapsed = f"<details><summary>Reasoning</summary>\n\n{safe_markdown(reasoning)}\n\n</details>"
        footer, error = "stopped" if self._answer.stopped else "", ""
        if self._metadata:
            failure = self._metadata.get("failed")
            error = error_note(self._mask(failure)) if isinstance(failure, str) and failure else ""
            footer = status_markdown(self._answer, self._mask(status_line(self._answer, bool(failure))))
        sources = sources_markdown(masked(self._answer.sources, self._mask))
        return [head, collapsed if reasoning.strip() else "", self._answer_text(shown_images), error, sources, footer]

    def _answer_text(self, shown_images: Mapping[str, str]) -> str:
        addresses, inline = {}, {}
        for number, (address, target) in enumerate(self._addresses.items()):
            if not target.startswith("data:"):
                addresses[address] = target
            elif not address.startswith("data:"):
                addresses[address] = shown_images.get(target, address)
            elif target in shown_images:  # the text itself contains the data URI
                inline[address] = f"image-{number}"
                addresses[f"image-{number}"] = shown_images[target]
        alts = {address: alt for address, alt in self._answer.alts.items() if not address.startswith("data:")}
        below = [uri for uri in self._answer.alts if uri.startswith("data:") and uri not in self._text]
        images = [f"![image]({shown_images[uri]})" if uri in shown_images else "*(an image)*" for uri in below]
        if len(self._answer.rounds) == 1:
            return "\n\n".join([answer_markdown(_with_words(self._text, inline), addresses, alts), *images])
        rounds = [
            (_with_words(self._mask(text), inline), [self._small_step(one, shown_images) for one in steps])
            for text, steps in self._answer.rounds
        ]
        blocks = [block for part in rounds_markdown(rounds, addresses, alts) for block in part if block]
        return "\n\n".join([*blocks, *images])

    def _small_step(self, step: ToolStep, shown_images: Mapping[str, str]) -> ToolStep:
        """Return a step with small pictures, without those that have no place, and without keys."""
        small = [replace(one, uri=shown_images[one.uri]) for one in step.images if one.uri in shown_images]
        return masked_step(replace(step, images=small), self._mask)

    def _attached(self, attachment: Attachment, shown_images: Mapping[str, str]) -> str:
        name = code_span(attachment.name)
        if shown := shown_images.get(attachment.uri):
            return f"![image]({shown})\n\n<small>{name}</small>"
        return f"<small>with {name}{'' if attachment.media_type else ' (a web address)'}</small>"


def _with_words(text: str, words: Mapping[str, str]) -> str:
    """Return a text with words in place of the data URIs of its images; others are shortened."""
    for address, word in words.items():
        text = text.replace(address, word)
    return shorten_images(text, MAX_DATA_URI)


def _scale_down(uri: str) -> str:
    """Return an image as a data URI of at most ``MAX_IMAGE_BYTES``; "" if that is impossible."""
    try:
        media_type, data = parse_data_uri(uri)
    except ValueError:
        return ""
    if media_type in BITMAPS and len(data) <= MAX_IMAGE_BYTES:
        return uri
    try:
        fitting, _ = fit_within(data, media_type, MAX_IMAGE_BYTES, MAX_IMAGE_SIDE)
    except ValueError:
        fitting = b""
    if fitting and media_type in BITMAPS and len(fitting) <= MAX_IMAGE_BYTES:
        return data_uri(fitting, media_type)
    return thumbnail(data, media_type, side=_THUMBNAIL_SIDE, most=MAX_IMAGE_BYTES) or ""
