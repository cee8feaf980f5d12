"""A conversation as the items of the page, and what brings a page up to date: pure, but for the clock that is given.

Each thing that was said is a ``RenderedItem``, known by the very object that says it. It is rendered when it is new
or has changed, never otherwise, and sent as it was rendered: whole once, then as what is different.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from ....markdown.html.blocks import HtmlBlocks
from .arrange import ItemSource
from .block_diff import diff_blocks
from .content import ItemContent
from .image_store import ImageStore
from .throttle import Throttle

if TYPE_CHECKING:
    from ....chat.turn import Turn


PARTS = ("content", "reasoning")


class RenderedItem:
    """One thing as it is rendered, and as the page has it."""

    def __init__(self, id: str, thing: ItemSource, gallery: ImageStore) -> None:
        self.id = id
        self.thing = thing
        self.pace = Throttle()
        self.said: ItemContent | None = None
        self.sent: dict[str, Any] | None = None
        self.stale = True
        self.keys: set[str] = set()  # of its pictures
        self._gallery = gallery
        self._addresses: dict[str, str] = {}
        self._texts = {part: self._empty() for part in PARTS}
        self._shown: dict[str, list[str]] = {part: [] for part in PARTS}

    def _empty(self) -> HtmlBlocks:
        return HtmlBlocks(addresses=self._addresses, image_key=self._picture)

    def _picture(self, uri: str) -> str:
        key = self._gallery.keep(uri)
        self.keys.add(key)
        return key

    def update_from(self, thing: ItemSource) -> bool:
        """Take what is shown now; ``False`` if that is something else."""
        before, self.thing = self.thing, thing
        if all(old is new for old, new in zip(before.state, thing.state, strict=True)):
            return True
        self.stale = True
        was_under_way = before.turn is not None
        return was_under_way or before.message is thing.message

    def render(self, said: ItemContent) -> None:
        """Write it as HTML, as far as it is new."""
        self._addresses.update(said.addresses)
        for part, text in (("content", said.text), ("reasoning", said.reasoning)):
            blocks = self._texts[part]
            if said.grows:
                blocks.update(text)
            else:
                blocks.finish(text)
            beside = blocks.unshown_images(said.alts) if part == "content" and said.alts else []
            self._shown[part] = [*blocks.blocks, *beside]
        if not said.grows:  # nothing more comes: what rendering needed is let go
            self._texts = {part: self._empty() for part in PARTS}
        self.said, self.stale = said, False

    @property
    def size(self) -> int:
        """The length of its HTML."""
        return sum(len(block) for part in PARTS for block in self._shown[part])

    def item(self) -> dict[str, Any]:
        """Give it whole."""
        said = self.said or ItemContent("")
        images = [{"key": self._gallery.keep(one), **self._gallery.facts(one)} for one in said.media]
        self.keys |= {image["key"] for image in images}
        shown = {part: self._shown[part] for part in PARTS}
        return {"id": self.id, "role": said.role, **shown, "images": images, **said.facts()}

    def changes(self) -> Iterator[dict[str, Any]]:
        """Give what brings a page up to date that has what was sent."""
        now, before = self.item(), self.sent or {}
        meta = {name: value for name, value in now.items() if name not in PARTS and value != before.get(name)}
        for part in PARTS:
            if (news := diff_blocks(before.get(part, ()), now[part])) is not None:
                yield {"type": "text", "item": self.id, "part": part, **news}
        if meta:  # last: what is said to be done is there
            yield {"type": "meta", "item": self.id, "meta": meta}
        self.sent = now


class ItemList:
    """The entries of a conversation, and what of them a page does not have yet."""

    def __init__(self, gallery: ImageStore, clock: Callable[[], float] = time.monotonic) -> None:
        self.order: list[str] = []
        self._gallery = gallery
        self._clock = clock
        self._ids = count(1)
        self._entries: dict[tuple[str, int], RenderedItem] = {}
        self._touched: list[RenderedItem] = []
        self._moved = False

    def arrange(self, things: Sequence[ItemSource], changed: Collection[Turn] = ()) -> None:
        """Take what is shown, in its order, and the turns of which something new has come."""
        entries: dict[tuple[str, int], RenderedItem] = {}
        for thing in things:
            entry = self._entries.get(thing.key)
            if entry is None or not entry.update_from(thing):
                entry = RenderedItem(f"i{next(self._ids)}", thing, self._gallery)
            if thing.answers and thing.turn in changed:
                entry.stale = True
            entries[thing.key] = entry
        gone = any(key not in entries or entries[key] is not entry for key, entry in self._entries.items())
        self._entries = entries
        order = [entry.id for entry in entries.values()]
        self._moved = self._moved or order != self.order
        self.order = order
        if gone:
            self._gallery.keep_only({key for entry in entries.values() for key in entry.keys})

    def find(self, id: object) -> RenderedItem:
        """Give the entry of an item. ``ValueError`` if it is gone."""
        for entry in self._entries.values():
            if entry.id == id:
                return entry
        raise ValueError("this is no longer in the conversation")

    def render(self, said: Callable[[ItemSource], ItemContent], seconds: float) -> bool:
        """Render what has changed, for so many seconds at the most; tell whether all is done that is due."""
        until = self._clock() + seconds
        for entry in self._entries.values():
            now = self._clock()
            if entry.stale and self._is_due(entry, now):
                if now >= until:
                    return False
                entry.render(said(entry.thing))
                after = self._clock()
                if entry.said is not None and entry.said.status == "streaming":  # the first text waits for nothing
                    entry.pace.schedule_next(after, after - now, entry.size)
                self._touched.append(entry)
        return True

    def wait(self) -> float | None:
        """Give the seconds until something is due that has changed, ``None`` if nothing has."""
        waits = [entry.pace.due - self._clock() for entry in self._entries.values() if entry.stale]
        return max(0.0, min(waits)) if waits else None

    def changes(self) -> Iterator[dict[str, Any]]:
        """Give what brings a page up to date that has all that was sent, and note it as sent."""
        there = set(self._entries.values())
        touched, self._touched = [entry for entry in dict.fromkeys(self._touched) if entry in there], []
        fresh = [entry for entry in self._entries.values() if entry.sent is None and entry.said is not None]
        if fresh or self._moved:
            self._moved = False
            yield {"type": "items", "order": self.order, "items": [self._whole(entry) for entry in fresh]}
        new = set(fresh)
        for entry in touched:
            if entry not in new:
                yield from entry.changes()

    def whole(self) -> list[dict[str, Any]]:
        """Give all items, and note them as sent."""
        self._moved, self._touched = False, []
        return [self._whole(entry) for entry in self._entries.values() if entry.said is not None]

    def bytes_sent(self, id: str, size: int) -> None:
        """Note the bytes that news of an item took."""
        for entry in reversed(self._entries.values()):
            if entry.id == id:
                entry.pace.bytes_sent += size
                return

    def _whole(self, entry: RenderedItem) -> dict[str, Any]:
        entry.sent = entry.item()
        return entry.sent

    def _is_due(self, entry: RenderedItem, now: float) -> bool:
        turn = entry.thing.turn
        return turn is None or turn.ended or not entry.thing.answers or now >= entry.pace.due
