"""The public class ``Answer``: what a model has answered so far."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self

from ..events import RawResponse, content_text, finish_reason, reasoning_text, urls_of
from ..markdown.data_uris import shorten_data_uris
from ..markdown.fences import code_blocks
from ..media.attachment import Attachment
from ..media.message_parts import text_of
from ..providers.finish_reasons import describe, is_done
from ..providers.sources import Source, SourceList
from ..providers.think_tags import split_unopened
from ..providers.tool_calls import ToolCall, ToolCallCollector, describe_calls
from ..text import counted, duration, safe_terminal, truncate
from ..tools.step import STOPPED, UNREACHED, ToolStep, describe_steps
from .answer_shown import ShownAnswer
from .images import ImageUrl
from .messages import metadata, without_turns
from .provider_label import provider_label, without_login
from .speech import describe_sound, left_out, spoken
from .text_buffer import TextAttribute
from .token_counts import CACHED, added_usage, input_count, merged_usage, output_count, token_count
from .tool_rounds import ToolRound, read_step, rounds_of, split_text

_MAX_REMARKS = 3  # in the status line


@dataclass(repr=False)
class Answer(ShownAnswer):
    """Answer of a model. ``str()`` is its text; in a notebook it shows itself as Markdown.

    ``provider`` says who answered (``name``, ``label``, ``model``). ``usage`` holds the token counts as the server
    spells them. ``images`` holds the full address of each image, at most 1000; ``data_uri`` of an address is the image
    itself, if the server sent it or the text contains it. The list is complete when the answer has ended. ``audio`` is
    the sound of a spoken answer, an ``Attachment``; the text is what was said.

    ``steps`` lists the calls of tools that were carried out or refused, ``tool_calls`` those that are left to you.
    ``sources`` lists the pages that the answer names, in the order of first mention. ``input_tokens``,
    ``output_tokens`` and ``cached_tokens`` are read from ``usage``.

    ``seconds`` is the time from the request to the end, ``first_token_seconds`` to the first text or reasoning.
    ``complete`` is true if the server said that the answer is whole, by its finish reason or an end mark, and sent
    nothing that could not be read. It is false while the answer streams, if it was stopped or failed, if a limit or a
    filter cut it, and if the stream just ended; ``summary`` says which. ``stopped`` is true if the answer was stopped
    early. ``trimmed`` is how many of the oldest turns were not sent, because they exceeded the model's context.
    ``remarks`` say what else was left out on the way to the model: "df: 20 of 200 rows sent", "photo.jpg: scaled from
    6000×4000 to 2048×1365". ``recorded`` is when the answer was put into the cache (UTC, ISO 8601), or ``""``;
    ``replayed`` is true if it came from there, and its seconds are then those of the original answer.
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
    complete: bool = False
    stopped: bool = False
    trimmed: int = 0
    remarks: list[str] = field(default_factory=list)
    recorded: str = ""
    replayed: bool = False
    audio: Attachment | None = None
    _started: float = field(default_factory=time.monotonic, compare=False)
    _failed: bool = field(default=False, compare=False)
    _has_end_mark: bool = field(default=False, compare=False)
    _just_ended: bool = field(default=False, compare=False)  # without a finish reason or an end mark
    _damaged_lines: int = field(default=0, compare=False)
    _server: str = field(default="", compare=False)  # base url of relative image addresses
    _addresses: dict[str, ImageUrl] = field(default_factory=dict, compare=False)  # by address as written in the text
    _alts: dict[str, str] = field(default_factory=dict, compare=False)  # alt texts of images that came beside the text
    _cached_images: dict[str, str] = field(default_factory=dict, compare=False)  # replayed from the cache, by address
    _cache_error: str = field(default="", compare=False)  # why the answer is not in the cache
    state: list[Any] = field(default_factory=list, repr=False, compare=False)  # what the service wants back, opaque
    _sources: SourceList = field(default_factory=SourceList, compare=False)
    _tool_calls: ToolCallCollector = field(default_factory=ToolCallCollector, compare=False)
    _rounds: list[ToolRound] = field(default_factory=list, compare=False)
    _before: tuple[int, int, int] = field(default=(0, 0, 0), compare=False)  # how much the rounds before have brought
    _usage: dict[str, Any] = field(default_factory=dict, compare=False)  # of this round
    _earlier_usage: dict[str, Any] = field(default_factory=dict, compare=False)  # of the rounds before
    # text that is held back, as it may be the start of a tag; None once the text is closed
    _pending: str | None = field(default="", compare=False)

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Self:
        """Return a message of a history as an answer. Metadata that is missing or damaged is left out."""
        known = metadata(message)
        usage, provider, remarks = known.get("usage"), known.get("provider"), known.get("remarks")
        finish = known.get("finish_reason")
        answer = cls(
            text=text_of(message),
            reasoning=str(known.get("reasoning") or ""),
            model=str(known.get("model") or ""),
            provider=provider if isinstance(provider, dict) else {},
            usage=usage if isinstance(usage, dict) else {},
            finish_reason=str(finish) if finish else None,
            seconds=_duration(known.get("seconds")) or 0.0,
            first_token_seconds=_duration(known.get("first_token_seconds")),
            complete=known.get("complete") is True,
            audio=spoken(message.get("speech")),
            stopped=message.get("stopped") is True,
            trimmed=trimmed if isinstance(trimmed := message.get("trimmed"), int) else 0,
            remarks=[one for one in remarks if isinstance(one, str)] if isinstance(remarks, list) else [],
            recorded=str(known.get("recorded") or ""),
            _failed=bool(known.get("failed")),
            _rounds=rounds_of(message),
        )
        answer._restore_ending(known)
        answer._restore_images(message.get("images") or {})
        answer._sources.add(known.get("sources"))
        answer._tool_calls.add(known.get("tool_calls"))
        return answer

    @property
    def code(self) -> list[str]:
        """Contents of the fenced code blocks, in order."""
        return [code for _, code in code_blocks(self.text)]

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The calls that the model asks for and that were not carried out; see ``ToolCall`` for damaged arguments."""
        return [*map(ToolCall.of, self._tool_calls.calls())]

    @property
    def steps(self) -> list[ToolStep]:
        """The calls of tools that were carried out or refused, in the order of the calls."""
        return [step for one in self._rounds for step in one.steps]

    @property
    def rounds(self) -> list[tuple[str, list[ToolStep]]]:
        """The text in parts, each with the steps that follow it; none follows the last part."""
        texts = split_text(self.text, self._rounds)
        return [*zip(texts, (one.steps for one in self._rounds), strict=False), (texts[-1], [])]

    @property
    def thoughts(self) -> list[str]:
        """The reasoning in parts: what came before the calls of each round, and after the last ones."""
        cuts = [0, *(one.thought for one in self._rounds), len(self.reasoning)]
        return [self.reasoning[start:end] for start, end in pairwise(cuts)]

    @property
    def sources(self) -> list[Source]:
        """The pages that the answer names as its sources, each once: ``url``, ``title``, ``text``."""
        return [*self._sources]

    @property
    def input_tokens(self) -> int | None:
        """Number of tokens of the request, those from the service's cache included, ``None`` if it does not say."""
        return input_count(self.usage)

    @property
    def output_tokens(self) -> int | None:
        """Number of tokens of the answer with its reasoning, ``None`` if the server does not say."""
        return output_count(self.usage)

    @property
    def cached_tokens(self) -> int | None:
        """Number of tokens of the request that the service had in its cache, ``None`` if it does not say."""
        return token_count(self.usage, CACHED)

    @property
    def tokens(self) -> int | None:
        """The same as ``output_tokens``."""
        return self.output_tokens

    @property
    def summary(self) -> str:
        """The status line of the answer as plain text: how it ended, the model, tokens, seconds.

        >>> answer.summary
        'cut off at the token limit · gpt-4o · 60 tokens · 2.2 s'
        """
        return summarize(self, failed=self._failed)

    def add(self, event: RawResponse) -> None:
        """Add what an event says."""
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
            self._usage = dict(usage) if event.get("so_far") else merged_usage(self._usage, usage)
            self.usage = added_usage(self._earlier_usage, self._usage) if self._rounds else self._usage
        elif kind == "finish":
            if self.finish_reason is None or is_done(self.finish_reason):  # the first reason that cuts it counts
                self.finish_reason = finish_reason(event)
        elif kind == "tool_calls":
            self._tool_calls.add(event.get("tool_calls"))
        elif kind == "sources":
            self._sources.add(event.get("sources"))
        elif kind == "state" and isinstance(state := event.get("state"), list):
            self.state += state
        elif kind == "step":
            self._set_step(event)
        elif kind == "audio":
            self.audio = spoken(event.get("audio"))
            self.remarks = self.remarks if self.audio else [*self.remarks, left_out(event.get("audio"))]
        elif kind == "pending":
            self._pending = content_text(event.get("content"))
        elif kind == "ending":
            self._has_end_mark = event.get("marked") is True
            self._damaged_lines += int(event.get("damaged") or 0)
        self.seconds = time.monotonic() - self._started
        if self.first_token_seconds is None and (text or reasoning):
            self.first_token_seconds = self.seconds

    def _set_step(self, event: RawResponse) -> None:
        if (found := read_step(event)) is None:
            return
        number, at, step = found
        if number >= len(self._rounds):
            self._begin_round()
        self._rounds[-1].set(at, step)

    def _begin_round(self) -> None:
        """Close what the model has said before its calls: the next text, finish reason and state are those after it."""
        self.__dict__["text"].grow(self._pending or "")
        self._pending = "" if self._pending is not None else None
        text = self._split_reasoning()
        self._rounds.append(ToolRound(text, self.state, calls=self.tool_calls, thought=len(self.reasoning)))
        self.state, self.finish_reason, self._has_end_mark = [], None, False
        self._tool_calls = ToolCallCollector()
        self._earlier_usage, self._usage = self.usage, {}
        self._before = len(self.text), len(self.reasoning), len(self.images)

    def _split_reasoning(self) -> str:
        """Separate reasoning from the text of the newest round, and return that text."""
        said = split_text(self.text, self._rounds)[-1]
        parts = split_unopened(said, has_reasoning=len(self.reasoning) > self._before[1])
        if parts is None:
            return said
        self.text = self.text.removesuffix(said) + parts[1]
        self.reasoning = "\n\n".join(filter(None, [self.reasoning, parts[0]]))
        return parts[1]

    @property
    def is_whole(self) -> bool:
        """Whether the server has said that what it sent is all, by its finish reason or an end mark."""
        return self._has_end_mark if self.finish_reason is None else is_done(self.finish_reason)

    @property
    def tool_rounds(self) -> list[ToolRound]:
        """The rounds that ended in tool calls, for the next request."""
        return self._rounds

    @property
    def round_has_begun(self) -> bool:
        """Whether the round that goes on has brought text, reasoning or an image."""
        return self._before != (len(self.text), len(self.reasoning), len(self.images))

    def end(self, *, stopped: bool = False, failed: bool = False) -> None:
        """Set the time and how the answer ended, and close its text."""
        for one in self._rounds:
            one.stop(STOPPED if stopped else UNREACHED)
        self.seconds = time.monotonic() - self._started
        self.stopped, self._failed = stopped, failed
        self.complete = self.is_whole and not (stopped or failed or self._damaged_lines)
        self._just_ended = self.finish_reason is None and not (self._has_end_mark or stopped or failed)
        self.close_text()

    def close_text(self) -> None:
        """Add what is held back, separate reasoning from the text, and note the images in it; only once."""
        if self._pending is None:
            return
        self.__dict__["text"].grow(self._pending)
        self._pending = None
        self._split_reasoning()
        if "![" in self.text:
            from ..markdown.safe import image_addresses  # importing it would take half the time of a first answer

            for address in image_addresses(self.text):
                if self._note_image(address):
                    self._alts.pop(address, None)

    def metadata(self) -> dict[str, Any]:
        """Return what is known about the answer besides its content, as JSON data."""
        return {
            "model": self.model,
            "provider": without_login(self.provider),
            "usage": self.usage,
            "finish_reason": self.finish_reason,
            "complete": self.complete,
            **({"damaged_lines": self._damaged_lines} if self._damaged_lines else {}),
            "seconds": round(self.seconds, 3),
            "first_token_seconds": self.first_token_seconds and round(self.first_token_seconds, 3),
            **({"tool_calls": self._tool_calls.calls()} if self._tool_calls else {}),
            **({"sources": self._sources.as_json()} if self._sources else {}),
            **({"remarks": self.remarks} if self.remarks else {}),
            **({"recorded": self.recorded} if self.recorded else {}),
        }

    @property
    def just_ended(self) -> bool:
        """Whether the server closed the stream without a finish reason or an end mark."""
        return self._just_ended

    @property
    def shortcomings(self) -> list[str]:
        """Why the answer is known to be incomplete, in words; not that it was stopped or failed, which is known."""
        reason, damaged = self.finish_reason, self._damaged_lines
        found = [describe(reason)] if reason is not None and not is_done(reason) else []
        if self._just_ended:
            found.append("the server closed the stream without a finish reason")
        if damaged:
            found.append("1 damaged line was skipped" if damaged == 1 else f"{damaged} damaged lines were skipped")
        return found

    def _restore_ending(self, known: Mapping[str, Any]) -> None:
        """Restore how the answer ended from its metadata. Older metadata has only the finish reason."""
        damaged = known.get("damaged_lines")
        self._damaged_lines = damaged if type(damaged) is int and damaged > 0 else 0
        if isinstance(known.get("complete"), bool):
            self._just_ended = not (self.complete or self.finish_reason or self.stopped or self._failed or damaged)
        elif self.finish_reason is not None:
            self.complete = is_done(self.finish_reason) and not (self.stopped or self._failed)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        start = truncate(self.text, 60)
        mark = ", stopped=True" if self.stopped else ", complete=False" if self.shortcomings else ""
        return f"Answer({start!r}, model={self.model!r}{mark})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        why = " · ".join(self.shortcomings)
        printer.text(safe_terminal(shorten_data_uris(self.to_text()) + (f"\n\n[incomplete · {why}]" if why else "")))


Answer.__module__ = "nb_backend.chat"  # its public home, which pickles and IPython's formatters name


def summarize(answer: Answer, *, failed: bool, without: Collection[str] = ()) -> str:
    """Return the status line of an answer: how it ended if it is not complete, the model, tokens, seconds.

    With a cache it says when the model was asked, in the first run and in each replay alike. ``without`` are parts that
    the reader is told elsewhere.
    """
    calls, steps = answer.tool_calls, answer.steps
    parts = []
    if answer.stopped:
        parts.append("stopped")
    if failed:
        parts.append("broke off" if answer.text or steps else "no answer")
    if not (answer.stopped or failed or answer.rounds[-1][0].strip() or answer.images or answer.audio or calls):
        parts.append("no text after the tool calls" if steps else "empty answer")
    parts += answer.shortcomings
    if steps:
        parts.append(describe_steps(steps))
    if calls:
        parts.append(describe_calls(calls))
    elif answer.finish_reason and is_done(answer.finish_reason) and (ending := describe(answer.finish_reason)):
        parts.append(ending)
    if answer.trimmed:
        parts.append(without_turns(answer.trimmed))
    parts += provider_label(answer.provider, answer.model)
    if answer.tokens is not None:
        parts.append(counted(answer.tokens, "token"))
    if answer.audio is not None:
        parts.append(describe_sound(answer.audio))
    parts.append(duration(answer.seconds))
    if answer.recorded:
        parts.append(f"asked {answer.recorded[:10]}")
    if answer._cache_error:
        parts.append(f"not cached: {answer._cache_error}")
    parts += answer.remarks[:_MAX_REMARKS]
    if (more := len(answer.remarks) - _MAX_REMARKS) > 0:
        parts.append(f"{more} more shortened")
    return safe_terminal(" ".join(" · ".join(part for part in parts if part not in without).split()))


def _duration(seconds: Any) -> float | None:
    return seconds if isinstance(seconds, int | float) and 0 <= seconds < 1e9 else None
