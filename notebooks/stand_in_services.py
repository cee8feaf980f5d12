"""Servers on this machine that stand in for OpenAI, Anthropic, Gemini and Ollama, so that the notebooks run anywhere.

Each speaks its service's dialect, wants the key of its service, and answers with the prompt. No request leaves this
machine. ``start`` puts their urls into the table of services and throwaway keys into the environment. OpenAI's stand-in
calls the tools of a request in their order, with the arguments of ``CALLS``, and then answers with their last result.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from aiohttp import web

from nb_backend.services import SERVICES

MODELS = {
    "openai": ["gpt-5.4", "gpt-5.4-mini"],
    "anthropic": ["claude-sonnet-5", "claude-haiku-4-5"],
    "gemini": ["gemini-3-pro", "gemini-3-flash"],
    "ollama": ["llama3.2:1b"],
}

CALLS = {
    "population": {"city": "Paris"},
    "look": {"names": ["cities"]},
    "cells": {},
    "run": {"code": "cities.plot.bar(x='city', y='population')\ncities.population.sum()"},
    "clock__utc_time": {},
}
"""The arguments with which the stand-in calls a tool of this name."""


def start() -> None:
    """Start the servers in a thread, and return when they listen."""
    ready = threading.Event()
    threading.Thread(target=lambda: asyncio.run(_serve(ready)), daemon=True).start()
    ready.wait()


async def _serve(ready: threading.Event) -> None:
    for name in MODELS:
        service = SERVICES[name]
        key = ""
        if not service.is_local:
            key = os.environ[service.keys[0]] = secrets.token_hex(16)
        app = web.Application(middlewares=[_wants(key)])
        app["name"] = name
        app.router.add_get("/v1/models", _models)
        app.router.add_post("/v1/responses", _answer)
        app.router.add_post("/v1/messages", _answer)
        app.router.add_post("/v1/chat/completions", _answer)
        app.router.add_post("/v1/models/{call}", _answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        SERVICES[name] = replace(service, url=f"http://{host}:{port}/v1", url_variable="")
    ready.set()
    await asyncio.Event().wait()


def _wants(key: str) -> Any:
    @web.middleware
    async def check(request: web.Request, handler: Any) -> web.StreamResponse:
        sent = [request.headers.get(name, "") for name in ("Authorization", "x-api-key", "x-goog-api-key")]
        if key and key not in {one.removeprefix("Bearer ") for one in sent}:
            error = {"type": "authentication_error", "message": "invalid API key", "code": 401}
            return web.json_response({"type": "error", "error": error}, status=401)
        return await handler(request)

    return check


async def _models(request: web.Request) -> web.Response:
    names = MODELS[request.app["name"]]
    if request.app["name"] == "gemini":
        listed = [{"name": f"models/{one}", "supportedGenerationMethods": ["generateContent"]} for one in names]
        return web.json_response({"models": listed})
    return web.json_response({"data": [{"id": one} for one in names]})


async def _answer(request: web.Request) -> web.StreamResponse:
    name, body = request.app["name"], await request.json()
    model = body.get("model") or request.match_info["call"].partition(":")[0]
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    results = _results(body)
    text = f"“{_last_text(body)}” asks {SERVICES[name].title}, here its stand-in on this machine."
    if results:
        text = f"The last tool returned “{_shown(results[-1])}”, and this is the stand-in on this machine."
    words = [f"{word} " for word in text.split()]
    calls = [tool["name"] for tool in body.get("tools", ()) if tool.get("name") in CALLS]
    events = _calls(model, calls[len(results)]) if len(results) < len(calls) else _EVENTS[name](model, words)
    for event in events:
        kind = f"event: {event['type']}\n" if "type" in event else ""
        await response.write(f"{kind}data: {json.dumps(event)}\n\n".encode())
    return response


def _last_text(value: Any) -> str:
    """Return the last text of a request, in whatever dialect it is."""
    found = [value] if isinstance(value, str) else []
    if isinstance(value, dict):
        asked = next((value[key] for key in ("messages", "input", "contents", "content", "parts", "text") if key in value), "")
        return _last_text(asked)
    if isinstance(value, list):
        found = [text for text in map(_last_text, value) if text]
    return found[-1] if found else ""


def _results(body: dict[str, Any]) -> list[Any]:
    """Return the results of the tools that were called since the last prompt."""
    items = body.get("input", [])
    prompt = max((at for at, item in enumerate(items) if item.get("role") == "user"), default=0)
    return [item["output"] for item in items[prompt:] if item.get("type") == "function_call_output"]


def _shown(output: Any) -> str:
    texts = [output] if isinstance(output, str) else [part["text"] for part in output if "text" in part]
    return " ".join(" ".join(texts).split())[:100]


def _calls(model: str, tool: str) -> Iterator[dict[str, Any]]:
    yield {"type": "response.created", "response": {"id": "resp_1", "model": model, "status": "in_progress"}}
    arguments = json.dumps(CALLS[tool])
    item = {"type": "function_call", "id": f"fc_{tool}", "call_id": f"call_{tool}", "name": tool, "arguments": arguments}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    done = {"id": "resp_1", "model": model, "status": "completed", "output": [item], "usage": {"input_tokens": 9, "output_tokens": 5}}
    yield {"type": "response.completed", "response": done}


def _responses(model: str, words: list[str]) -> Iterator[dict[str, Any]]:
    yield {"type": "response.created", "response": {"id": "resp_1", "model": model, "status": "in_progress"}}
    for word in words:
        yield {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": word}
    item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "".join(words)}]}
    usage = {"input_tokens": 9, "output_tokens": len(words), "total_tokens": 9 + len(words)}
    done = {"id": "resp_1", "model": model, "status": "completed", "output": [item], "usage": usage}
    yield {"type": "response.completed", "response": done}


def _messages(model: str, words: list[str]) -> Iterator[dict[str, Any]]:
    usage = {"input_tokens": 9, "output_tokens": 1}
    yield {"type": "message_start", "message": {"type": "message", "model": model, "content": [], "usage": usage}}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    for word in words:
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
    yield {"type": "content_block_stop", "index": 0}
    yield {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": len(words)}}
    yield {"type": "message_stop"}


def _contents(model: str, words: list[str]) -> Iterator[dict[str, Any]]:
    for word in words:
        yield {"candidates": [{"content": {"role": "model", "parts": [{"text": word}]}, "index": 0}], "modelVersion": model}
    usage = {"promptTokenCount": 9, "candidatesTokenCount": len(words), "totalTokenCount": 9 + len(words)}
    yield {"candidates": [{"finishReason": "STOP", "index": 0}], "modelVersion": model, "usageMetadata": usage}


def _chunks(model: str, words: list[str]) -> Iterator[dict[str, Any]]:
    for word in words:
        yield {"model": model, "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]}
    usage = {"prompt_tokens": 9, "completion_tokens": len(words)}
    yield {"model": model, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage}


_EVENTS = {"openai": _responses, "anthropic": _messages, "gemini": _contents, "ollama": _chunks}
