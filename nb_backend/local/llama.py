"""The engine that runs a model: llama.cpp, in this process, through xllamacpp."""

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
from .gguf_files import size_of
from .gguf_metadata import takes_tools
from .special_tokens import special_tokens

if TYPE_CHECKING:
    import xllamacpp

# Tokens. SmolLM2 was trained for this many; of larger models, which read more, the memory for them stays about 1 GB.
CONTEXT = 8192
PARALLEL = 4  # requests answered at the same time
MAX_WAITING = 60  # requests that may wait for their turn; more are refused
MAX_TOKENS = 1024  # of an answer, if the request sets no limit: a small model may repeat itself forever
LARGE_MAX_TOKENS = 4096  # the same, of a model that is not small: it may reason at length before it answers
# Tokens of a prompt that are read before llama.cpp checks whether to stop: at most 0.8 s on two cores, and no slower.
BATCH = 256
# Bytes; a smaller model uses one thread for writing. It writes no faster on two cores than on one (110 tokens a
# second), and five times slower if other programs use them, too, as the threads wait for each other at every token.
# Prompts are read on all cores.
SMALL_MODEL = 300_000_000
# Bytes; no token stands for more. So a text that cannot fit is refused before it is tokenized, which takes memory.
MAX_TOKEN_BYTES = 128
# Seconds without a sign of life, after which llama.cpp is taken for stuck: a grammar can make it loop forever.
STUCK_AFTER = 300.0
_UNSEEN = "(a file that you cannot read: you read text only)"  # in place of the picture that a tool returned
SOCKET_PATH_MAX = 100  # bytes; operating systems allow 104 to 108

PARAMETERS = frozenset(
    {"temperature", "top_p", "top_k", "min_p", "max_tokens", "stop", "seed", "presence_penalty", "frequency_penalty"}
    | {
        "max_completion_tokens",
        "repeat_penalty",
        "response_format",
        "tools",
        "tool_choice",
        "logit_bias",
        "json_schema",
        "grammar",
    }
)
"""The parameters that are used. Others in a request, such as g4f's own, are left out.

``max_completion_tokens`` is OpenAI's newer name of ``max_tokens``; if a request has both, the smaller one holds.
"""


class TextOnlyError(EngineError):
    """The request has an attachment, and the model reads text only."""


class PromptTooLongError(EngineError):
    """The chat does not fit into the model's context."""


class NoToolsError(EngineError):
    """The request has tools, and the chat template of the model has no place for them."""


class EngineStuckError(EngineError):
    """llama.cpp will never answer again, until its process is restarted."""


class LlamaEngine:
    """A loaded GGUF model. ``stream`` may be called any number of times at once.

    Special tokens of the model in a request are text: see ``special_tokens``.
    """

    vision: bool | None = False
    limit: int | None = PARALLEL + MAX_WAITING

    def __init__(
        self,
        path: Path,
        *,
        name: str | None = None,
        parallel: int = PARALLEL,
        sampling: Mapping[str, float] | None = None,
    ) -> None:
        """Load the model. This blocks for a while; ``EngineError`` if the model cannot be loaded.

        ``sampling`` are the defaults of parameters that a request does not set, in place of llama.cpp's own.
        """
        self.name = name or path.stem
        self._path = path
        self._takes_tools: bool | None = None  # not known until a request has tools
        self._sampling = sampling or {}
        self._is_small = _is_small(path)
        self._server = _load(path, parallel)
        self._special_tokens = special_tokens(path)
        # As many threads as llama.cpp has slots: a request waits for a slot here, where it can be cancelled at once.
        self._threads = ThreadPoolExecutor(parallel, thread_name_prefix="llama")
        self._last_chunk_at = time.monotonic()  # of any request

    async def stream(self, body: Body) -> AsyncGenerator[Event, None]:
        """Yield the events of the answer. ``EngineError`` with the reason if the model refuses the request."""
        refuse_media(self.name, body)
        if len(orjson.dumps(body["messages"])) > CONTEXT * MAX_TOKEN_BYTES:
            raise _too_long(self.name, f"more than {CONTEXT}", CONTEXT)
        if body.get("tools") and body.get("tool_choice") != "none":
            await self._refuse_tools_in_vain()
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        client_left = threading.Event()

        def receive(chunk: dict[str, Any]) -> bool:
            """Pass on a chunk from llama.cpp's thread. Return whether to stop the generation."""
            self._last_chunk_at = time.monotonic()
            if client_left.is_set():
                return True
            try:
                loop.call_soon_threadsafe(chunks.put_nowait, chunk)
            except RuntimeError:  # the event loop was closed, so nobody reads the answer
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
            client_left.set()
            answering.cancel()

    async def _next(self, chunks: asyncio.Queue[dict[str, Any] | None]) -> dict[str, Any] | None:
        """Wait for a chunk. ``EngineStuckError`` if llama.cpp has sent nothing for any request for too long."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(STUCK_AFTER):
                    return await chunks.get()
            if time.monotonic() - self._last_chunk_at >= STUCK_AFTER:
                raise EngineStuckError(
                    f"{self.name} has sent nothing for {STUCK_AFTER:g} seconds and is stuck (a grammar or schema can "
                    "do that): the embedded backend ends now, ask again and a new one starts"
                )

    async def _refuse_tools_in_vain(self) -> None:
        """Raise ``NoToolsError`` if the model cannot know of tools: llama.cpp would leave them out without a word."""
        if self._takes_tools is None:
            self._takes_tools = await asyncio.to_thread(takes_tools, self._path)
        if not self._takes_tools:
            raise NoToolsError(
                f"{self.name} was not made to call tools: leave the tools out, or ask another model "
                "(%backend local hf:ORG/REPO, or NB_BACKEND_URL)"
            )

    def _request(self, body: Body) -> dict[str, Any]:
        """Return the request for llama.cpp. With ``return_progress`` it can be stopped while it reads the prompt."""
        parameters = {key: value for key, value in body.items() if key in PARAMETERS and value is not None}
        usual = MAX_TOKENS if self._is_small else LARGE_MAX_TOKENS
        limits = [parameters.pop(name) for name in ("max_tokens", "max_completion_tokens") if name in parameters]
        if "tools" in parameters:
            parameters["tools"] = self._special_tokens.as_text(parameters["tools"])
        return {
            **self._sampling,
            **parameters,
            "max_tokens": min([*(limits or [usual]), CONTEXT]),
            "messages": [self._special_tokens.as_text(_with_one_text(message)) for message in body["messages"]],
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_progress": True,
        }

    def close(self) -> None:
        """Wait until the current answers have ended, and free the model."""
        self._threads.shutdown(cancel_futures=True)
        del self._server


class _Translation:
    """Translates the chunks of one answer, which have OpenAI's format, into events."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_reasoning = False

    def events(self, chunk: dict[str, Any]) -> Iterator[Event]:
        """Yield the events of a chunk. ``EngineError`` if the chunk is an error."""
        if "error" in chunk:
            raise _refusal(self._name, chunk["error"])
        for choice in chunk["choices"]:
            yield from self._delta(choice["delta"])
            if reason := choice.get("finish_reason"):
                yield finish_event(reason)
        if usage := chunk.get("usage"):
            yield usage_event(self._name, usage["prompt_tokens"], usage["completion_tokens"])

    def _delta(self, delta: dict[str, Any]) -> Iterator[Event]:
        if reasoning := delta.get("reasoning_content"):
            self._is_reasoning = True
            yield {"type": "reasoning", "token": reasoning}
        if content := delta.get("content"):
            if self._is_reasoning:
                self._is_reasoning = False
                yield {"type": "reasoning", "token": None, "status": ""}
            yield {"type": "content", "content": content}
        if calls := delta.get("tool_calls"):
            yield {"type": "tool_calls", "tool_calls": calls}


def refuse_media(name: str, body: Body) -> None:
    """Raise ``TextOnlyError`` if the user sends anything but text. What a tool returned must not end the answer."""
    contents = [message.get("content") for message in body["messages"] if message["role"] != "tool"]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    if body.get("media") or any(part.get("type") != "text" for part in parts):
        raise TextOnlyError(
            f"{name} reads text only, not images or files: leave the attachment out, or set url (NB_BACKEND_URL) "
            "to a server whose model has vision"
        )


def _with_one_text(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message whose parts are one text: some templates put the parts together, and so make a special token."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    unread = _UNSEEN if message["role"] == "tool" else ""
    return {**message, "content": "\n".join(part.get("text", unread) for part in content)}


def _load(path: Path, parallel: int) -> xllamacpp.Server:
    try:
        import xllamacpp
    except ImportError as error:
        raise EngineError(
            f"llama.cpp is not installed ({error}): pip install 'nb_backend[local]', "
            "or set url (NB_BACKEND_URL) to a server"
        ) from error
    with tempfile.TemporaryDirectory(prefix="nb_backend-", ignore_cleanup_errors=True) as private_folder:
        params = _parameters(xllamacpp.CommonParams(), path, parallel)
        socket = os.path.join(private_folder, "s.sock")
        if os.name == "posix" and len(os.fsencode(socket)) <= SOCKET_PATH_MAX:
            params.hostnames = [socket]
        try:
            return xllamacpp.Server(params)
        except RuntimeError as error:
            raise EngineError(
                f"llama.cpp cannot load {path}: check that it is the GGUF file of a chat model and fits into memory"
            ) from error


def _parameters(params: xllamacpp.CommonParams, path: Path, parallel: int) -> xllamacpp.CommonParams:
    params.model.path = str(path)
    params.n_ctx = CONTEXT
    params.n_parallel = parallel
    params.kv_unified = True  # one chat may use the whole context
    params.n_batch = params.n_ubatch = BATCH
    if _is_small(path):
        params.cpuparams.n_threads = 1
    params.cache_ram_mib = 512  # for earlier prompts; the default of llama.cpp is 8 GB
    params.warmup = False
    params.verbosity = -1
    # xllamacpp also starts llama.cpp's own HTTP server, which is not used here, and which any program could ask.
    # Therefore it listens on a socket in a private folder, which is deleted once the model is loaded (if the system has
    # such sockets). And it has a key that nobody knows, without which it answers only /health and CORS preflights.
    params.api_keys = [secrets.token_hex(32)]
    params.ui = False
    params.endpoint_slots = False
    return params


def _is_small(path: Path) -> bool:
    return 0 < size_of(path) < SMALL_MODEL


def _refusal(name: str, error: dict[str, Any]) -> EngineError:
    if error.get("type") == "exceed_context_size_error":
        return _too_long(name, error.get("n_prompt_tokens"), error.get("n_ctx"))
    return EngineError(f"{name} refuses the request: {error.get('message', error)}")


def _too_long(name: str, tokens: object, most: object) -> PromptTooLongError:
    return PromptTooLongError(
        f"this chat is {tokens} tokens long and {name} reads at most {most}: shorten the prompt or start a new chat"
    )


def _raise_refusal(answering: asyncio.Future[Any]) -> None:
    try:
        answering.result()
    except (RuntimeError, ValueError) as error:
        raise EngineError(f"the model refuses the request: {error}") from error
