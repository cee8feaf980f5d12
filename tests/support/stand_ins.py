"""Servers that stand in for services: each speaks its dialect, wants a key, and keeps what it was sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from serving import serving_app

from nb_backend.services import SERVICES

EMPTY = {"error": {"message": "You exceeded your current quota", "type": "insufficient_quota"}}


@dataclass
class StandIn:
    """One service: it answers ``I am NAME.`` if ``key`` is sent; ``refuses`` is a status and a document to answer with.

    ``requests`` are the method and path, the headers, and the body of each request.
    """

    name: str
    key: str
    models: list[str]
    url: str = ""
    refuses: tuple[int, dict[str, Any]] | None = None
    requests: list[tuple[str, dict[str, str], str]] = field(default_factory=list)

    @property
    def sent(self) -> str:
        """All that it was sent, as one text."""
        return json.dumps(self.requests)

    @property
    def asked(self) -> list[str]:
        """The bodies of the prompts that it was sent."""
        return [body for path, _, body in self.requests if path.startswith("POST")]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        self.requests.append((f"{request.method} {request.path}", dict(request.headers), body))
        sent = (request.headers.get(name, "") for name in ("Authorization", "x-api-key", "x-goog-api-key"))
        if self.key and self.key not in {one.removeprefix("Bearer ") for one in sent}:
            message = {"message": "Incorrect API key provided", "type": "authentication_error"}
            return web.json_response({"type": "error", "error": message}, status=401)
        if request.method == "GET":
            named = [{"id": name, "name": f"models/{name}"} for name in self.models]
            is_gemini = SERVICES[self.name].api == "gemini"
            return web.json_response({"models": named} if is_gemini else {"data": named})
        if self.refuses is not None:
            return web.json_response(self.refuses[1], status=self.refuses[0])
        events = _EVENTS[SERVICES[self.name].api](f"I am {self.name}.")
        data = "".join(f"event: {one.get('type', 'message')}\ndata: {json.dumps(one)}\n\n" for one in events)
        return web.Response(text=data, content_type="text/event-stream")


@contextmanager
def standing_in(**models: list[str]) -> Iterator[dict[str, StandIn]]:
    """Serve a stand-in for each service that is named, with these models; its key is ``key-of-NAME-0123``."""
    with ExitStack() as stack:
        found = {name: StandIn(name, f"key-of-{name}-0123", [*listed]) for name, listed in models.items()}
        for one in found.values():
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", one.handle)
            one.url = stack.enter_context(serving_app(app)) + "/v1"
        yield found


def _responses(text: str) -> Iterator[dict[str, Any]]:
    yield {"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "content_index": 0, "delta": text}
    item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    yield {"type": "response.completed", "response": {"model": "m", "status": "completed", "output": [item]}}


def _messages(text: str) -> Iterator[dict[str, Any]]:
    yield {"type": "message_start", "message": {"type": "message", "model": "m", "content": []}}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    yield {"type": "content_block_stop", "index": 0}
    yield {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}
    yield {"type": "message_stop"}


def _contents(text: str) -> Iterator[dict[str, Any]]:
    yield {"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}]}


def _chunks(text: str) -> Iterator[dict[str, Any]]:
    yield {"model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}


_EVENTS = {"openai-responses": _responses, "anthropic": _messages, "gemini": _contents, "openai-chat": _chunks}
