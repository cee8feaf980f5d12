"""A conversation as Markdown that stays in the notebook: safe to show, with its images small."""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ...chat import history as memory
from ...chat.answer import Answer
from ...markdown.data_uris import is_bitmap, shorten_images
from ...markdown.elements import code_span, escape_line
from ...markdown.images import answer_markdown
from ...markdown.safe import image_addresses, safe_markdown
from ...media.attachment import Attachment
from ...media.message_parts import text_of
from ...media.resize import fit_within, thumbnail
from ...media.sniff import BITMAPS, data_uri
from ..status_line import status_line
from .items.content import Hide

MOST_BYTES = 4 * 2**20  # of all images of a transcript
IMAGE_BYTES = 200_000
IMAGE_SIDE = 1600  # pixels
_NOTHING = 1000  # bytes that hardly any image has
_LEAST = 300  # bytes of an image in a text that is left there; others have been made small, or are a word
_SPEAKERS = {"user": "You", "assistant": "Answer", "system": "Instructions", "developer": "Instructions"}


class TranscriptRenderer:
    """Writes a conversation as it grows: each message once, unless there is no room for its images any more.

    Images of the newest messages go first, until there are ``MOST_BYTES`` of them; others are words.
    """

    def __init__(self, hide: Hide) -> None:
        self._hide = hide
        self._known: dict[int, MessageRenderer] = {}
        self._small: dict[str, str] = {}

    def markdown(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """Give the turns of a conversation, each with who speaks."""
        known = {id(message): self._message(message) for message in messages}
        self._known = known
        shown = self._shown([uri for one in reversed(known.values()) for uri in one.pictures])
        return "\n\n".join(known[id(message)].written(shown) for message in messages)

    def _message(self, message: Mapping[str, Any]) -> MessageRenderer:
        known = self._known.get(id(message))
        return known if known is not None and known.says(message) else MessageRenderer(message, self._hide)

    def _shown(self, uris: Sequence[str]) -> dict[str, str]:
        """Give what stands for pictures, the most important first; each is made small once."""
        before, self._small = self._small, {}
        left, shown = MOST_BYTES, {}
        for uri, times in Counter(uris).items():
            if left < _NOTHING:
                break
            small = self._small[uri] = before[uri] if uri in before else _small(uri)
            if small and (size := times * len(small) * 3 // 4) <= left:
                left -= size
                shown[uri] = small
        return shown


class MessageRenderer:
    """The Markdown of one message."""

    def __init__(self, message: Mapping[str, Any], hide: Hide) -> None:
        self._message = message
        self._content = message.get("content")
        self._role = str(message.get("role") or "")
        self._answer = Answer.of(message)
        self._text = hide(text_of(message))
        self._known = memory.metadata(message)
        self._hide = hide
        self._media = [one for one in message.get("media", ()) if isinstance(one, Attachment)]
        self._addresses = self._answer.image_targets()
        inside = image_addresses(self._text) if self._role == "assistant" and ";base64," in self._text else []
        self._addresses |= {address: address for address in inside if is_bitmap(address)}
        self.pictures = [
            uri for uri in self._addresses.values() for _ in range(self._text.count(uri) or 1) if is_bitmap(uri)
        ]
        self.pictures += [one.uri for one in self._media if one.media_type.startswith("image/")]
        self._written: tuple[list[str], str] | None = None

    def says(self, message: Mapping[str, Any]) -> bool:
        """Whether this is that message, with what it said."""
        return self._message is message and self._content is message.get("content")

    def written(self, small: Mapping[str, str]) -> str:
        """Give it as Markdown, with what stands for its pictures."""
        shown = [small.get(uri, "") for uri in self.pictures]
        if self._written is None or self._written[0] != shown:
            self._written = shown, "\n\n".join(part for part in self._parts(small) if part)
        return self._written[1]

    def _parts(self, small: Mapping[str, str]) -> list[str]:
        when = self._known.get("time")
        clock = time.strftime("%Y-%m-%d %H:%M", time.localtime(when)) if isinstance(when, int | float) else ""
        who = escape_line(_SPEAKERS.get(self._role, self._role))
        head = f"**{who}**{f' <small>{clock}</small>' if clock else ''}"
        if self._role != "assistant":
            return [head, safe_markdown(self._text), *(self._attached(one, small) for one in self._media)]
        reasoning = self._hide(self._answer.reasoning)
        folded = f"<details><summary>Reasoning</summary>\n\n{safe_markdown(reasoning)}\n\n</details>"
        footer = "stopped" if self._answer.stopped else ""
        if self._known:
            failed = self._known.get("failed")
            who = status_line(self._answer, bool(failed))
            footer = f"<small>{escape_line(self._hide(f'{who}: {failed}' if failed else who))}</small>"
        return [head, folded if reasoning.strip() else "", self._said(small), footer]

    def _said(self, small: Mapping[str, str]) -> str:
        text, addresses = self._text, {}
        for number, (address, target) in enumerate(self._addresses.items()):
            if not target.startswith("data:"):
                addresses[address] = target
            elif not address.startswith("data:"):
                addresses[address] = small.get(target, address)
            elif target in small:  # it stands in the text itself
                text = text.replace(address, f"image-{number}")
                addresses[f"image-{number}"] = small[target]
        alts = {address: alt for address, alt in self._answer.alts.items() if not address.startswith("data:")}
        beside = [one for one in self._answer.alts if one.startswith("data:") and one not in self._text]
        pictures = [f"![image]({small[one]})" if one in small else "*(an image)*" for one in beside]
        return "\n\n".join([answer_markdown(shorten_images(text, _LEAST), addresses, alts), *pictures])

    def _attached(self, one: Attachment, small: Mapping[str, str]) -> str:
        name = code_span(one.name)
        if shown := small.get(one.uri):
            return f"![image]({shown})\n\n<small>{name}</small>"
        return f"<small>with {name}{'' if one.media_type else ', which is elsewhere'}</small>"


def _small(uri: str) -> str:
    """Give a picture as a data URI of at most ``IMAGE_BYTES``, "" if it cannot be made so small."""
    kind, _, data = uri.removeprefix("data:").partition(";base64,")
    kind = kind.replace("jpg", "jpeg")
    if kind in BITMAPS and len(data) * 3 // 4 <= IMAGE_BYTES:
        return uri
    raw = base64.b64decode(data + "=" * (-len(data) % 4))
    try:
        fitting, _ = fit_within(raw, kind, IMAGE_BYTES, IMAGE_SIDE)
    except ValueError:
        fitting = b""
    if fitting and kind in BITMAPS and len(fitting) <= IMAGE_BYTES:
        return data_uri(fitting, kind)
    return thumbnail(raw, kind, side=640, most=IMAGE_BYTES) or ""
