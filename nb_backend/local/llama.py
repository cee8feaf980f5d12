"""The engine that is a model: llama.cpp, in this process, through xllamacpp."""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from .engine import Body, EngineError, Event, finish_event, provider_event, usage_event

if TYPE_CHECKING:
    import xllamacpp

CONTEXT = 8192  # tokens; what SmolLM2 was trained for
CONVERSATIONS = 4  # answered at the same time; more wait for their turn
WAITING = 60  # who may wait; the next is told to come back later
MAX_TOKENS = 1024  # of an answer that sets no limit: a small model may go round in circles for ever
BATCH = 256  # tokens of a prompt read between two looks at whether to stop: 0.8 s at worst on two cores, and no slower
SMALL = 300_000_000  # bytes; a smaller model writes no faster on two cores than on one (110 tokens a second), and five
# times slower when others use them, too: the threads wait for one another at every step. Prompts are read by all cores.
LONGEST = (
    128  # bytes; no token stands for more, so a text that cannot fit need not be cut into tokens, which takes memory
)
STUCK = 300.0  # seconds without a sign of life, after which none will come: a grammar can send llama.cpp round for ever
SOCKET_PATH_MAX = 100  # bytes; the systems allow 104 to 108

PARAMETERS = frozenset(
    {"temperature", "top_p", "top_k", "min_p", "max_tokens", "stop", "seed", "presence_penalty", "frequency_penalty"}
    | {"repeat_penalty", "response_format", "tools", "tool_choice", "logit_bias", "json_schema", "grammar"}
)
"""The parameters that llama.cpp understands; others in a request (g4f's own, say) are left out."""


class TextOnlyError(EngineError):
    """The request has something in it that a text model cannot read."""


class PromptTooLongError(EngineError):
    """The conversation does not fit into the model's context."""


class EngineStuckError(EngineError):
    """The engine will never answer anybody again; only the end of its process helps."""


class LlamaEngine:
    """A GGUF model, loaded. ``stream`` may be called from any number of conversations at once."""

    vision: bool | None = False
    limit: int | None = CONVERSATIONS + WAITING

    def __init__(
        self,
        path: Path,
        *,
        name: str | None = None,
        conversations: int = CONVERSATIONS,
        sampling: Mapping[str, float] | None = None,
    ) -> None:
        """Load the model: takes its time, blocks. ``EngineError`` if it cannot be.

        ``sampling`` has the parameters of requests that do not set them; without it they are llama.cpp's own.
        """
        self.name = name or path.stem
        self._sampling = sampling or {}
        self._server = _load(path, conversations)
        # As many threads as llama.cpp has slots: who waits for one waits here, and can leave the queue at once.
        self._threads = ThreadPoolExecutor(conversations, thread_name_prefix="llama")
        self._heard = time.monotonic()  # when llama.cpp gave its last sign of life

    async def stream(self, body: Body) -> AsyncGenerator[Event, None]:
        """Answer; ``EngineError`` with the reason if the model refuses."""
        refuse_media(self.name, body)
        if len(orjson.dumps(body["messages"])) > CONTEXT * LONGEST:
            raise _too_long(self.name, f"more than {CONTEXT}", CONTEXT)
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        left = threading.Event()

        def receive(chunk: dict[str, Any]) -> bool:
            """Take a chunk on llama.cpp's thread; True ends the generation."""
            self._heard = time.monotonic()
            if left.is_set():
                return True
            try:
                loop.call_soon_threadsafe(chunks.put_nowait, chunk)
            except RuntimeError:  # the loop was closed: nobody will ever read this
                return True
            return False

        answering = loop.run_in_executor(
            self._threads, self._server.handle_chat_completions, self._request(body), receive
        )
        answering.add_done_callback(lambda _: chunks.put_nowait(None))
        try:
            yield provider_event(self.name)
            translation = _Translation(self.name)
            while (chunk := await self._next(chunks)) is not None:
                for event in translation.events(chunk):
                    yield event
            _raise_refusal(answering)
        finally:
            left.set()
            answering.cancel()

    async def _next(self, chunks: asyncio.Queue[dict[str, Any] | None]) -> dict[str, Any] | None:
        """Wait for a chunk; ``EngineStuckError`` when llama.cpp has said nothing to anybody for too long."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(STUCK):
                    return await chunks.get()
            if time.monotonic() - self._heard >= STUCK:
                raise EngineStuckError(
                    f"{self.name} has said nothing for {STUCK:g} seconds and is stuck (a grammar or schema can do "
                    "that): the embedded backend ends now, ask again and a new one starts"
                )

    def _request(self, body: Body) -> dict[str, Any]:
        """Give what llama.cpp is asked; ``return_progress`` lets it be stopped while it reads the prompt."""
        parameters = {key: value for key, value in body.items() if key in PARAMETERS and value is not None}
        return {
            **self._sampling,
            **parameters,
            "max_tokens": min(parameters.get("max_tokens", MAX_TOKENS), CONTEXT),  # an answer ends with the context
            "messages": body["messages"],
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_progress": True,
        }

    def close(self) -> None:
        """Wait for the answers that are being written, and free the model."""
        self._threads.shutdown(cancel_futures=True)
        del self._server


class _Translation:
    """Turns the chunks of one answer (OpenAI's format) into events."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thinking = False

    def events(self, chunk: dict[str, Any]) -> Iterator[Event]:
        """Give what a chunk says; ``EngineError`` if that is an error."""
        if "error" in chunk:
            raise _refusal(self._name, chunk["error"])
        for choice in chunk["choices"]:
            yield from self._delta(choice["delta"])
            if reason := choice.get("finish_reason"):
                yield finish_event(reason)
        if usage := chunk.get("usage"):
            yield usage_event(self._name, usage["prompt_tokens"], usage["completion_tokens"])

    def _delta(self, delta: dict[str, Any]) -> Iterator[Event]:
        if thought := delta.get("reasoning_content"):
            self._thinking = True
            yield {"type": "reasoning", "token": thought}
        if content := delta.get("content"):
            if self._thinking:
                self._thinking = False
                yield {"type": "reasoning", "token": None, "status": ""}
            yield {"type": "content", "content": content}
        if calls := delta.get("tool_calls"):
            yield {"type": "tool_calls", "tool_calls": calls}


def refuse_media(name: str, body: Body) -> None:
    """Raise ``TextOnlyError`` if there is anything but text in the request."""
    contents = [message.get("content") for message in body["messages"]]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    if body.get("media") or any(part.get("type") != "text" for part in parts):
        raise TextOnlyError(
            f"{name} reads text only and cannot see images: leave the image out, or set url (NB_BACKEND_URL) "
            "to a server whose model can see"
        )


def _load(path: Path, conversations: int) -> xllamacpp.Server:
    try:
        import xllamacpp
    except ImportError as error:
        raise EngineError(
            f"llama.cpp is missing ({error}): pip install 'nb_backend[local]', or set url (NB_BACKEND_URL) to a server"
        ) from error
    with tempfile.TemporaryDirectory(prefix="nb_backend-", ignore_cleanup_errors=True) as private:
        params = _parameters(xllamacpp.CommonParams(), path, conversations)
        socket = os.path.join(private, "s.sock")
        if os.name == "posix" and len(os.fsencode(socket)) <= SOCKET_PATH_MAX:
            params.hostnames = [socket]
        try:
            return xllamacpp.Server(params)
        except RuntimeError as error:
            raise EngineError(
                f"llama.cpp cannot load {path}: check that it is the GGUF file of a chat model and fits into memory"
            ) from error


def _parameters(params: xllamacpp.CommonParams, path: Path, conversations: int) -> xllamacpp.CommonParams:
    params.model.path = str(path)
    params.n_ctx = CONTEXT
    params.n_parallel = conversations
    params.kv_unified = True  # one conversation may use the whole context
    params.n_batch = params.n_ubatch = BATCH
    if path.is_file() and path.stat().st_size < SMALL:
        params.cpuparams.n_threads = 1
    params.cache_ram_mib = 512  # of prompts read before; llama.cpp's own default is 8 GB
    params.warmup = False
    params.verbosity = -1
    # xllamacpp also opens llama.cpp's own HTTP server, which it needs for nothing here and which asks for no key. So:
    # a socket in a directory of our own, gone as soon as the model is loaded, where there are such sockets; and
    # everywhere a key that nobody knows, with which only /health and CORS preflights are answered.
    params.api_keys = [secrets.token_hex(32)]
    params.ui = False
    params.endpoint_slots = False
    return params


def _refusal(name: str, error: dict[str, Any]) -> EngineError:
    if error.get("type") == "exceed_context_size_error":
        return _too_long(name, error.get("n_prompt_tokens"), error.get("n_ctx"))
    return EngineError(f"{name} refuses the request: {error.get('message', error)}")


def _too_long(name: str, tokens: object, most: object) -> PromptTooLongError:
    return PromptTooLongError(
        f"this conversation is {tokens} tokens long and {name} takes {most}: "
        "shorten the prompt or start a new conversation"
    )


def _raise_refusal(answering: asyncio.Future[Any]) -> None:
    try:
        answering.result()
    except (RuntimeError, ValueError) as error:
        raise EngineError(f"the model refuses the request: {error}") from error
