"""An answer: what has come back for a question."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from ..events import RawResponse, reasoning_text, urls_of
from ..markdown.data_uris import MAX_LIVE_BYTES, is_bitmap, shorten_data_uris
from ..markdown.images import answer_markdown
from ..media.message_parts import text_of
from .history import metadata
from .images import ImageUrl
from .text_buffer import TextAttribute

MAX_ADDRESSES = 1000  # of images that an answer takes note of


@dataclass(repr=False)
class Answer:
    """What came back for a question. ``str()`` is the text; in a notebook it shows itself as Markdown.

    ``provider`` says who answered (``name``, ``label``, ``model``); ``usage`` has the token counts as the server
    spells them; ``images`` has the address of each image in full, whose ``data_uri`` is the image itself where the
    server had it or the text holds it, and is complete at the end: the first thousand; ``seconds`` run from the
    question to the end, ``first_token_seconds`` to the first text or reasoning; ``trimmed`` is how many of the oldest
    turns were not sent, for the model's context has no room for them; ``recorded`` is when it was put into a store
    (UTC, ISO 8601), if it was, and ``replayed`` says that it came from there: its seconds are those of the first time.
    """

    text: TextAttribute = TextAttribute()
    reasoning: TextAttribute = TextAttribute()
    model: str = ""
    provider: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=dict)
    finish_reason: str | None = None
    images: list[ImageUrl] = field(default_factory=list)
    seconds: float = 0.0
    first_token_seconds: float | None = None
    stopped: bool = False
    trimmed: int = 0
    recorded: str = ""
    replayed: bool = False
    _started: float = field(default_factory=time.monotonic, compare=False)
    _server: str = field(default="", compare=False)  # the url that was asked, which addresses are relative to
    _addresses: dict[str, ImageUrl] = field(default_factory=dict, compare=False)  # of the images, as they are written
    _alts: dict[str, str] = field(default_factory=dict, compare=False)  # of images that came beside the text
    _cached_images: dict[str, str] = field(
        default_factory=dict, compare=False
    )  # what a store says that addresses stand for
    _cache_error: str = field(default="", compare=False)  # why it is not in the store

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Self:
        """Give the answer that a message of a conversation was, as far as it is known: also one from a file."""
        known = metadata(message)
        usage, provider = known.get("usage"), known.get("provider")
        finish, seconds, first = known.get("finish_reason"), known.get("seconds"), known.get("first_token_seconds")
        answer = cls(
            text=text_of(message),
            reasoning=str(known.get("reasoning") or ""),
            model=str(known.get("model") or ""),
            provider=provider if isinstance(provider, dict) else {},
            usage=usage if isinstance(usage, dict) else {},
            finish_reason=str(finish) if finish else None,
            seconds=seconds if isinstance(seconds, int | float) else 0.0,
            first_token_seconds=first if isinstance(first, int | float) else None,
            stopped=message.get("stopped") is True,
            trimmed=trimmed if isinstance(trimmed := message.get("trimmed"), int) else 0,
            recorded=str(known.get("recorded") or ""),
        )
        answer._restore_images(message.get("images") or {})
        return answer

    @property
    def code(self) -> list[str]:
        """The contents of the fenced code blocks, in order."""
        from markdown_it import MarkdownIt

        tokens = MarkdownIt("commonmark").parse(self.text)
        return [token.content.removesuffix("\n") for token in tokens if token.type == "fence"]

    @property
    def tokens(self) -> int | None:
        """How many tokens the answer has, if the server says so: spelt in one of several ways."""
        for key in ("completion_tokens", "output_tokens", "completionTokens", "candidatesTokenCount", "eval_count"):
            if isinstance(count := self.usage.get(key), int) and not isinstance(count, bool) and count >= 0:
                return count
        return None

    def add(self, event: RawResponse) -> None:
        """Take in what an event adds."""
        kind = event.type
        text, reasoning = str(event), reasoning_text(event)
        if text:
            self.__dict__["text"].grow(text)
        if reasoning:
            self.__dict__["reasoning"].grow(reasoning)
        if kind == "content":
            alt = event.get("alt")
            for url in urls_of(event):
                if self._note_image(url):
                    self._alts.setdefault(url, alt if isinstance(alt, str) else "")
        elif kind == "provider" and isinstance(who := event.get("provider"), dict):
            self.provider = {**self.provider, **who}
            self.model = str(who.get("model") or self.model)
        elif kind == "usage" and isinstance(usage := event.get("usage"), dict):
            self.usage = usage
        elif kind == "finish":
            finish = event.get("finish")
            self.finish_reason = str((finish.get("reason") if isinstance(finish, dict) else finish) or "stop")
        self.seconds = time.monotonic() - self._started
        if self.first_token_seconds is None and (text or reasoning):
            self.first_token_seconds = self.seconds

    def end(self, *, stopped: bool = False) -> None:
        """Set the time, and whether it was stopped before its end."""
        self.seconds = time.monotonic() - self._started
        self.stopped = stopped
        if "![" in self.text:
            from ..markdown.safe import image_addresses  # takes half the time of the first question

            for address in image_addresses(self.text):
                if self._note_image(address):
                    self._alts.pop(address, None)

    def metadata(self) -> dict[str, Any]:
        """Give what is known of it apart from what it says, as plain JSON."""
        return {
            "model": self.model,
            "provider": self.provider,
            "usage": self.usage,
            "finish_reason": self.finish_reason,
            "seconds": round(self.seconds, 3),
            "first_token_seconds": self.first_token_seconds and round(self.first_token_seconds, 3),
            **({"recorded": self.recorded} if self.recorded else {}),
        }

    def _restore_images(self, images: Mapping[str, str]) -> None:
        """Take what ``stored_images`` had given."""
        for address, target in images.items():
            image = ImageUrl(address if target.startswith("data:") else target)
            image = self._addresses.setdefault(image, image)
            self._addresses[address] = image
            if is_bitmap(target):
                image.data_uri = target
                self._alts[address] = ""
        self.images += dict.fromkeys(self._addresses.values())

    def _note_image(self, address: str) -> bool:
        """Note an image, and say whether it is noted: too many are not."""
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
        """The words for each image that came beside the text, by its address."""
        return self._alts

    def image_targets(self) -> dict[str, str]:
        """Give what the addresses of its images stand for: see ``safe_markdown``."""
        return {url: image.data_uri or url if url == image else str(image) for url, image in self._addresses.items()}

    def stored_images(self) -> dict[str, str]:
        """Give what the text does not say of what its images stand for, if one of them is at hand."""
        alone = {url for url in self._alts if is_bitmap(url)}
        kept = {url: target for url, target in self.image_targets().items() if url != target or url in alone}
        return kept if any(map(is_bitmap, kept.values())) else {}

    def to_markdown(self, *, live: bool = False) -> str:
        """Give the answer as Markdown that is safe to show, with its images; ``live``: large ones as a word or link."""
        return answer_markdown(self.text, self.image_targets(), self._alts, MAX_LIVE_BYTES if live else None)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        start = self.text if len(self.text) <= 60 else self.text[:59] + "…"
        return f"Answer({start!r}, model={self.model!r}{', stopped=True' if self.stopped else ''})"

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        from ..text import safe_terminal

        printer.text(safe_terminal(shorten_data_uris(self.text)))


Answer.__module__ = "nb_backend.chat"  # its public home, which pickles and IPython's formatters name
