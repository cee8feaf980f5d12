"""Which servers on this machine answer: asked at once, for a moment, without a key, and known by what they say."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from serving import serving, serving_app
from wait import until

from nb_backend.local.scripted import ScriptedEngine
from nb_backend.providers import probe
from nb_backend.providers.probe import answering
from nb_backend.services import SERVICES

LIST = {"object": "list", "data": [{"id": "llama3.2:1b", "object": "model", "owned_by": "library"}]}
VERSION = {"version": "8.8", "latest_version": "8.8"}


class Server:
    """Answers each path with JSON or a status, and notes what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[web.Request] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        found = self.answers.get(request.path, 404)
        return web.Response(status=found) if isinstance(found, int) else web.json_response(found)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(probe, "TIMEOUT", 20)  # a busy machine takes its time
    server, app = Server(), web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    with serving_app(app) as url:
        server.url = url
        yield server


def at(url: str, *names: str) -> list[Any]:
    """Return services as if their servers listened at this url."""
    return [replace(SERVICES[name], url=url if name == "g4f" else f"{url}/v1") for name in names]


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ({"/v1/models": LIST}, {"lmstudio", "litellm"}),
        ({"/v1/models": {"object": "list", "data": []}}, {"lmstudio", "litellm"}),
        ({"/v1/models": {"data": [{"id": "m", "owned_by": "llamacpp"}]}}, {"lmstudio", "litellm", "llamacpp"}),
        ({"/v1/models": {"models": [], "data": []}}, {"lmstudio", "litellm", "llamacpp"}),
        ({"/v1/models": {"data": [{"id": "m", "owned_by": "vllm"}]}}, {"lmstudio", "litellm", "vllm"}),
        ({"/v1/models": 401}, {"lmstudio", "vllm", "litellm"}),
        ({"/backend-api/v2/version": VERSION, "/v1/models": LIST}, {"g4f", "lmstudio", "litellm"}),
        ({"/backend-api/v2/version": VERSION, "/v1/models": 401}, {"g4f", "lmstudio", "vllm", "litellm"}),
        ({"/backend-api/v2/version": 401}, set()),
        ({"/v1/models": 500}, set()),
        ({"/v1/models": "hello"}, set()),
        ({"/v1/models": {"data": None}}, set()),
        ({}, set()),
    ],
)
async def test_a_server_is_known_by_its_answer(server, answers, found):
    server.answers = answers
    asked = at(server.url, "lmstudio", "llamacpp", "vllm", "litellm", "g4f")
    assert await answering(asked) == found


@pytest.mark.parametrize("answer", [LIST, {"object": "list", "data": None}, 404, 500])
async def test_whatever_answers_at_the_port_of_ollama_is_ollama(server, answer):
    server.answers = {"/v1/models": answer}
    assert await answering(at(server.url, "ollama")) == {"ollama"}


async def test_the_server_of_llama_cpp_is_known(server, llama_server):
    assert await answering(at(llama_server, "llamacpp", "vllm", "g4f")) == {"llamacpp"}


async def test_no_key_is_sent_and_nobody_else_is_asked(server, monkeypatch):
    monkeypatch.setenv("OLLAMA_API_KEY", "sk-secret")
    server.answers = {"/v1/models": LIST}
    assert await answering(at(server.url, "ollama")) == {"ollama"}
    assert [request.path for request in server.asked] == ["/v1/models"]
    assert "sk-secret" not in str([*server.asked[0].headers.items()])


async def test_the_embedded_backend_is_not_taken_for_another_server():
    with serving(ScriptedEngine()) as backend:
        assert await answering(at(backend.url, "llamacpp", "g4f")) == set()


async def test_one_that_says_nothing_or_is_not_there_does_not_keep_the_others(server, monkeypatch):
    server.answers = {"/v1/models": LIST}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (mute,) = at(f"http://127.0.0.1:{silent.getsockname()[1]}", "lmstudio")
        asking = asyncio.create_task(answering([mute, *at(server.url, "ollama"), *at("http://127.0.0.1:9", "vllm")]))
        await until(lambda: server.asked)
        assert not asking.done()
        asking.cancel()
        monkeypatch.setattr(probe, "TIMEOUT", 0.1)
        (mute_ollama,) = at(mute.url.removesuffix("/v1"), "ollama")
        assert await answering([mute, mute_ollama, *at("http://127.0.0.1:9", "vllm", "ollama")]) == set()
    assert await answering([SERVICES["azure"]]) == set()


def test_it_takes_a_moment_only():
    assert probe.TIMEOUT == 0.3
