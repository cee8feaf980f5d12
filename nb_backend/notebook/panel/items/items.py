"""The items of a page as HTML, and the messages that bring a page up to date.

An item is rendered when it is new or has changed. A page gets it whole once, then only the differences.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from ....chat.source_list import sources_html
from .answer_blocks import AnswerBlocks, Rounds
from .arrange import ItemSource
from .block_diff import diff_blocks
from .content import ItemContent
from .image_store import ImageStore
from .throttle import Throttle

if TYPE_CHECKING:
    from ....chat.turn import Turn


PARTS = ("content", "reasoning")


class RenderedItem:
    """One item as HTML, and as the pages have it."""

    def __init__(self, id: str, source: ItemSource, images: ImageStore) -> None:
        self.id = id
        self.source = source
        self.throttle = Throttle()
        self.content: ItemContent | None = None
        self.sent: dict[str, Any] | None = None
        self.is_stale = True
        self.image_keys: set[str] = set()
        self._images = images
        self._addresses: dict[str, str] = {}
        self._renderers = {part: self._new_renderer() for part in PARTS}
        self._blocks: dict[str, list[str]] = {part: [] for part in PARTS}

    def _new_renderer(self) -> AnswerBlocks:
        return AnswerBlocks(self._addresses, self._keep_image)

    def _keep_image(self, uri: str) -> str:
        key = self._images.keep(uri)
        self.image_keys.add(key)
        return key

    def update_from(self, source: ItemSource) -> bool:
        """Use a new source; return False if it is another item, which only has the same key."""
        before, self.source = self.source, source
        is_same = all(old is new for old, new in zip(before.state, source.state, strict=True))
        if is_same and before.marks == source.marks:
            return True
        self.is_stale = True
        was_in_progress = before.turn is not None
        return was_in_progress or before.message is source.message

    def render(self, content: ItemContent) -> None:
        """Render the content as HTML; only the part of a text that is new takes time."""
        self._addresses.update(content.addresses)
        texts: dict[str, Rounds] = {
            "content": content.rounds or [(content.text, [])],
            "reasoning": [(content.reasoning, [])],
        }
        for part, rounds in texts.items():
            renderer = self._renderers[part]
            blocks = renderer.render(rounds, content.mask, content.asked, growing=content.is_growing)
            images_below = renderer.unshown_images(content.alts) if part == "content" and content.alts else []
            below = [*self._player(content), *sources_html(content.sources)] if part == "content" else []
            self._blocks[part] = [*blocks, *images_below, *below]
        if not content.is_growing:  # nothing more arrives: free the memory of the renderers
            self._renderers = {part: self._new_renderer() for part in PARTS}
        self.content, self.is_stale = content, False

    def _player(self, content: ItemContent) -> list[str]:
        """Return the player of a spoken answer as a block; the page requests the sound as it does an image."""
        if content.sound is None:
            return []
        key = self._keep_image(content.sound.uri)
        return [f'<p><audio controls data-picture="{key}" aria-label="Spoken answer"></audio></p>']

    @property
    def html_size(self) -> int:
        """The length of the HTML in characters."""
        return sum(len(block) for part in PARTS for block in self._blocks[part])

    def to_dict(self) -> dict[str, Any]:
        """Return the whole item as a page gets it."""
        content = self.content or ItemContent("")
        images = [{"key": self._images.keep(one), **self._images.description(one)} for one in content.media]
        images[: content.filled] = [{**image, "filled": True} for image in images[: content.filled]]
        self.image_keys |= {image["key"] for image in images}
        blocks = {part: self._blocks[part] for part in PARTS}
        return {"id": self.id, "role": content.role, **blocks, "images": images, **content.fields()}

    def whole(self) -> dict[str, Any]:
        """Return the whole item for a page that does not know when something arrived, and remember it as sent."""
        self.sent, turn = self.to_dict(), self.source.turn
        silent = 0 if turn is None or turn.ended or not self.source.is_answer else round(turn.seconds_silent)
        if not silent:
            return self.sent
        wait = self.sent["wait"]
        return {**self.sent, "silent": silent, "wait": wait if wait is None else max(0, wait - silent)}

    def changes(self) -> Iterator[dict[str, Any]]:
        """Yield the messages for a page that has what was sent before, and remember the item as sent."""
        now, before = self.to_dict(), self.sent or {}
        meta = {name: value for name, value in now.items() if name not in PARTS and value != before.get(name)}
        for part in PARTS:
            if (diff := diff_blocks(before.get(part, ()), now[part])) is not None:
                yield {"type": "text", "item": self.id, "part": part, **diff}
        if meta:  # after the text: an item with the status "done" must be complete
            yield {"type": "meta", "item": self.id, "meta": meta}
        self.sent = now


class ItemList:
    """All items of a panel, and the changes that the pages do not have yet."""

    def __init__(self, images: ImageStore, clock: Callable[[], float] = time.monotonic) -> None:
        self.order: list[str] = []
        self._images = images
        self._clock = clock
        self._ids = count(1)
        self._items: dict[tuple[str, int], RenderedItem] = {}
        self._rendered: list[RenderedItem] = []  # since the last changes()
        self._order_changed = False

    def update(self, sources: Sequence[ItemSource], changed: Collection[Turn] = ()) -> None:
        """Replace the sources of the items, in order; ``changed`` are the turns with new events."""
        items: dict[tuple[str, int], RenderedItem] = {}
        for source in sources:
            item = self._items.get(source.key)
            if item is None or not item.update_from(source):
                item = RenderedItem(f"i{next(self._ids)}", source, self._images)
            if source.is_answer and source.turn in changed:
                item.is_stale = True
            items[source.key] = item
        some_are_gone = any(key not in items or items[key] is not item for key, item in self._items.items())
        self._items = items
        order = [item.id for item in items.values()]
        self._order_changed = self._order_changed or order != self.order
        self.order = order
        if some_are_gone:
            self._images.keep_only({key for item in items.values() for key in item.image_keys})

    def find(self, id: object) -> RenderedItem:
        """Return the item with this id. ``ValueError`` if there is none."""
        for item in self._items.values():
            if item.id == id:
                return item
        raise ValueError("this message is no longer in the chat")

    def render(self, content_of: Callable[[ItemSource], ItemContent], seconds: float) -> bool:
        """Render changed items for at most ``seconds``; return whether all that are due were rendered."""
        end = self._clock() + seconds
        for item in self._items.values():
            now = self._clock()
            if item.is_stale and self._is_due(item, now):
                if now >= end:
                    return False
                item.render(content_of(item.source))
                after = self._clock()
                if item.content is not None and item.content.status == "streaming":  # the first text is not delayed
                    item.throttle.schedule_next(after, after - now, item.html_size)
                self._rendered.append(item)
        return True

    def seconds_until_due(self) -> float | None:
        """Return the seconds until a changed item may be rendered; None if no item has changed."""
        waits = [item.throttle.due - self._clock() for item in self._items.values() if item.is_stale]
        return max(0.0, min(waits)) if waits else None

    def changes(self) -> Iterator[dict[str, Any]]:
        """Yield the messages for a page that has what was sent before, and remember the items as sent."""
        present = set(self._items.values())
        rendered, self._rendered = [item for item in dict.fromkeys(self._rendered) if item in present], []
        new = [item for item in self._items.values() if item.sent is None and item.content is not None]
        if new or self._order_changed:
            self._order_changed = False
            yield {"type": "items", "order": self.order, "items": [item.whole() for item in new]}
        sent_whole = set(new)
        for item in rendered:
            if item not in sent_whole:
                yield from item.changes()

    def whole(self) -> list[dict[str, Any]]:
        """Return all items for a page that has none, and remember them as sent."""
        self._order_changed, self._rendered = False, []
        return [item.whole() for item in self._items.values() if item.content is not None]

    def add_bytes_sent(self, id: str, size: int) -> None:
        """Add the size of a message about an item to its throttle."""
        for item in reversed(self._items.values()):
            if item.id == id:
                item.throttle.bytes_sent += size
                return

    def _is_due(self, item: RenderedItem, now: float) -> bool:
        turn = item.source.turn
        return turn is None or turn.ended or not item.source.is_answer or now >= item.throttle.due
