"""Reads the events of Anthropic's Messages API into events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

from ..events import RawResponse, event_of
from .anthropic_blocks import MAX_TEXTS, TOOL_USES, Block, label_of, page_of
from .reader import ResponseReader
from .sources import SourceList
from .tool_calls import MAX_CALLS

MAX_PARTS = 10
"""How many responses may make up one answer if the server pauses."""
_PAUSES = ("pause_turn", "compaction")  # stop reasons after which the same turn goes on
_MAX_BLOCKS = 10_000  # more in one answer are ignored
_COUNTS = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


class Run(NamedTuple):
    """Deltas of one type and one block, which mostly follow each other, and the events that they become."""

    delta_type: str = ""
    block: int = -1  # its index
    key: str = ""  # of the text in the delta
    event_type: str = ""  # "" for no event
    event_key: str = ""
    texts: list[str] = []  # noqa: RUF012  of the block; nothing is added to the default, whose type no delta has


_RUNS = {
    "text_delta": ("text", "content", "content"),
    "thinking_delta": ("thinking", "reasoning", "token"),
    "input_json_delta": ("partial_json", "", ""),
}
"""For each type of delta the key of its text, and the type and the key of its event."""


def _run(block: Block, index: int, delta_type: str) -> Run:
    key, event_type, event_key = _RUNS[delta_type]
    return Run(delta_type, index, key, event_type, event_key, block.pieces.setdefault(key, []))


class MessageReader(ResponseReader):
    """Translates the events of a streamed message, or a message as a whole, into the events of a g4f backend.

    The answer is whole only if a stop reason has come. If the server pauses (``paused``), the same turn goes on in a
    further response, whose reader starts with ``resume``.
    """

    api = "anthropic"
    usage_ends_answer = False

    def __init__(self, url: str, secrets: Sequence[str] = ()) -> None:
        super().__init__(url, secrets)
        self._parts = 1
        self._earlier: list[Block] = []  # of the parts before this one
        self._earlier_usage: dict[str, int] = {}
        self._blocks: dict[int, Block] = {}  # of this part, by index
        self._usage: dict[str, Any] = {}  # of this part
        self._sources = SourceList()
        self._has_reasoned = False  # in an earlier block
        self._has_called = False  # whether a block has begun that a second request would repeat
        self._run = Run()
        self._has_ended = False  # a stop reason has come
        self.paused = False
        """Whether this part has ended with a pause, after which the turn goes on."""
        self.container: str | None = None
        """Id of the machine that runs code for the turn."""

    def resume(self, paused: Self) -> None:
        """Continue the answer of a reader that has paused."""
        super().resume(paused)
        self._model, self._parts = paused._model, paused._parts + 1
        self._earlier = paused._all_blocks
        self._earlier_usage = paused._total
        self._sources = paused._sources
        self._has_reasoned = paused._has_reasoned
        self._has_called = paused._has_called
        self.container = paused.container

    @property
    def is_continued(self) -> bool:
        """Whether this is not the first part of the answer."""
        return self._parts > 1

    @property
    def has_begun(self) -> bool:
        """Whether text, reasoning, a tool call or the call of a server's tool has arrived."""
        return super().has_begun or self._has_called

    def ending(self) -> RawResponse:
        """Return how the body ended; an end mark does not make the answer whole, only a stop reason does."""
        return RawResponse(**super().ending().get_dict() | {"marked": False})

    def turn(self) -> list[dict[str, Any]]:
        """Return the content blocks of the answer so far, as the next request has to contain them."""
        return [whole for block in self._all_blocks if (whole := block.whole()) is not None]

    @property
    def _all_blocks(self) -> list[Block]:
        return [*self._earlier, *self._blocks.values()]

    def translate(self, events: list[RawResponse]) -> list[RawResponse]:
        """Return the events in the form of g4f's backend API."""
        found: list[RawResponse] = []
        add = found.append
        kind, index, key, event_type, event_key, texts = self._run
        for event in events:
            data = event._data
            try:  # nearly all events go on with a text; a function call for each would take a third longer
                delta = data["delta"]
                if delta["type"] == kind and data["index"] == index and type(text := delta[key]) is str and text:
                    texts.append(text)
                    if event_type:
                        event._data = {"type": event_type, event_key: text}
                        add(event)
                    continue
            except (KeyError, TypeError):
                pass
            found += self._translated(event)
            kind, index, key, event_type, event_key, texts = self._run
        if len(texts) > MAX_TEXTS:
            texts[:] = ["".join(texts)]
        return found

    def _translated(self, event: RawResponse) -> Iterable[RawResponse]:
        data = event._data
        match event.type:
            case "content_block_delta":
                return self._delta(data.get("index"), data.get("delta"))
            case "content_block_start":
                return self._start(data.get("index"), data.get("content_block"))
            case "content_block_stop":
                self._run = Run()
            case "message_start":
                return self._begin(data.get("message"))
            case "message_delta":
                return self._conclude(data)
            case "message" if isinstance(data.get("content"), list):
                return [*self._begin(data), *self._conclude({"delta": data})]
            case "error" | "message" | "":
                return [event]
        return []

    def _begin(self, message: Any) -> Iterable[RawResponse]:
        if not isinstance(message, dict):
            return
        yield from self.answered_by(message.get("model"))
        self._note_container(message)
        blocks = message.get("content")
        for index, block in enumerate(blocks if isinstance(blocks, list) else []):
            yield from self._start(index, block)
        self._run = Run()
        usage = message.get("usage")
        if isinstance(usage, dict) and not message.get("stop_reason"):  # the answer has only begun
            usage = {name: value for name, value in usage.items() if name != "output_tokens"}
        yield from self._counts(usage)

    def _conclude(self, data: dict[str, Any]) -> Iterable[RawResponse]:
        delta = data.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        self._note_container(delta)
        yield from self._counts(data.get("usage"))
        reason = delta.get("stop_reason")
        if not isinstance(reason, str) or not reason or self._has_ended:
            return
        self._has_ended = True
        if reason in _PAUSES and self._parts < MAX_PARTS and self.turn():
            self.paused = self._finished = True
            self.endings += 1
            return
        if calls := self._calls():
            yield RawResponse(type="tool_calls", tool_calls=calls)
        if any(block.is_opaque for block in self._all_blocks) and (state := self.turn()):
            yield RawResponse(type="state", state=state)
        yield RawResponse(type="finish", finish={"reason": reason})

    def _start(self, index: Any, given: Any) -> Iterable[RawResponse]:
        if type(index) is not int or not isinstance(given, dict) or len(self._blocks) >= _MAX_BLOCKS:
            return
        block = self._blocks[index] = Block(given)
        kind = block.type
        self._run = Run()
        if kind == "text":
            self._run = _run(block, index, "text_delta")
            if text := block.text("text"):
                yield RawResponse(type="content", content=text)
            for citation in block.all_citations:
                yield from self._sources_of(citation)
        elif kind == "thinking":
            yield from self._reasoning(block.text("thinking"), is_first=True)
        elif kind in TOOL_USES or kind.endswith("_tool_result") or kind == "redacted_thinking":
            self._has_called = True
            if kind == "web_search_tool_result":
                yield from self._sources_of(given.get("content"))
            elif kind == "web_fetch_tool_result":
                yield from self._sources_of(page_of(given.get("content")))
            elif kind in TOOL_USES and kind != "tool_use":
                yield RawResponse(type="progress", progress={"label": label_of(given)})
        elif kind == "fallback" and isinstance(to := given.get("to"), dict):  # the first model has declined
            yield from self.answered_by(to.get("model"))

    def _delta(self, index: Any, delta: Any) -> Iterable[RawResponse]:
        if type(index) is not int or not isinstance(delta, dict):
            return
        kind = delta.get("type")
        if (block := self._blocks.get(index)) is None:
            started = _STARTED_BY.get(str(kind))
            if started is None or len(self._blocks) >= _MAX_BLOCKS:
                return
            yield from self._start(index, {"type": started})
            block = self._blocks[index]
        match delta:
            case {"type": "text_delta", "text": str(text)}:
                block.add("text", text)
                if text:
                    yield RawResponse(type="content", content=text)
                    self._run = _run(block, index, "text_delta")
            case {"type": "thinking_delta", "thinking": str(text)}:
                yield from self._reasoning(
                    text, is_first=not (block.pieces.get("thinking") or block.start.get("thinking"))
                )
                block.add("thinking", text)
                if text:
                    self._run = _run(block, index, "thinking_delta")
            case {"type": "signature_delta", "signature": str(text)}:
                block.add("signature", text)
            case {"type": "input_json_delta", "partial_json": str(text)}:
                block.add("partial_json", text)
                self._run = _run(block, index, "input_json_delta")
            case {"type": "citations_delta", "citation": citation}:
                block.citations.append(citation)
                yield from self._sources_of(citation)
            case {"type": "compaction_delta"}:
                for key in ("content", "encrypted_content"):
                    if isinstance(piece := delta.get(key), str):
                        block.add(key, piece)
            case _:
                block.is_known = False

    def _reasoning(self, text: str, *, is_first: bool) -> Iterable[RawResponse]:
        """Yield a piece of reasoning; a blank line separates the first piece of a block from an earlier block."""
        if not text:
            return
        if is_first and self._has_reasoned:
            text = f"\n\n{text}"
        self._has_reasoned = True
        yield event_of({"type": "reasoning", "token": text})

    def _calls(self) -> list[dict[str, Any]]:
        return [
            {
                "id": str(block.start.get("id") or ""),
                "type": "function",
                "function": {"name": str(block.start.get("name") or ""), "arguments": block.arguments},
            }
            for block in self._all_blocks
            if block.type == "tool_use"
        ][:MAX_CALLS]

    def _sources_of(self, value: Any) -> Iterable[RawResponse]:
        if sources := self._sources.add(value):
            yield RawResponse(type="sources", sources=sources)

    def _note_container(self, data: dict[str, Any]) -> None:
        if isinstance(container := data.get("container"), dict) and isinstance(container.get("id"), str):
            self.container = container["id"]

    def _counts(self, usage: Any) -> Iterable[RawResponse]:
        """Yield the counts so far: later ones of a response replace earlier ones, those of its parts are added."""
        if not isinstance(usage, dict):
            return
        known = {name: value for name, value in usage.items() if value is not None}
        self._usage = {**self._usage, **known}
        counts = {**self._usage, **self._total}
        if any(counts.values()):
            yield RawResponse(type="usage", usage=counts, model=self._model, provider=self._name)

    @property
    def _total(self) -> dict[str, int]:
        """The token counts of all parts with what a compaction has used, which the server counts apart."""
        iterations = self._usage.get("iterations")
        compactions = [one for one in iterations if _is_compaction(one)] if isinstance(iterations, list) else []
        total = dict(self._earlier_usage)
        for name in _COUNTS:
            found = [value for one in (self._usage, *compactions) if type(value := one.get(name)) is int]
            if found:
                total[name] = total.get(name, 0) + sum(found)
        return total


_STARTED_BY = {"text_delta": "text", "thinking_delta": "thinking"}
"""The block that a delta belongs to if the server has not announced it."""


def _is_compaction(iteration: Any) -> bool:
    return isinstance(iteration, dict) and iteration.get("type") == "compaction"
