"""A dialect is one provider class and one line of the registry; nothing else of the package asks which class it is."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from wire_server import CHUNKED, LAST_CHUNK, WireServer, chunk, status

import nb_backend
from nb_backend import BackendApi, BackendError, Chat, OpenAIApi, RawResponse, settings
from nb_backend.providers import catalog, registry
from nb_backend.providers.anthropic_api import AnthropicApi
from nb_backend.providers.base import Provider
from nb_backend.providers.gemini_api import GeminiApi
from nb_backend.providers.model import Model
from nb_backend.providers.reader import ResponseReader


class ToyReader(ResponseReader):
    """Reads ``{"word": …}`` and ``{"over": true}``."""

    def translate(self, events: list[RawResponse]) -> list[RawResponse]:
        return [
            RawResponse(type="content", content=event.get("word"))
            if event.get("word")
            else RawResponse(type="finish", finish={"reason": "stop"})
            for event in events
        ]


class ToyApi(Provider):
    """A dialect that the package does not know."""

    dialect = "toy"
    path = "/say"

    @classmethod
    def accepts(cls, url: str) -> bool:
        return url.endswith("/toy")

    @classmethod
    async def endpoint(cls, key: settings.Secret) -> tuple[str, dict[str, str]]:
        return settings.url(cls.url) or "", {"X-Toy-Key": key.value or ""}

    @classmethod
    def body(cls, model: str, messages: Any, media: Any, key: settings.Secret) -> dict[str, Any]:
        return {"toy": model, "say": [message["content"] for message in messages]}

    @classmethod
    def make_reader(cls, url: str, secrets: Any) -> ResponseReader:
        return ToyReader(url, secrets)

    @classmethod
    async def get_models(cls, provider: str | None = None, *, api_key: str | None = None) -> list[Model]:
        return await cls.get_document("/toys", settings.Secret(api_key), lambda names: [*map(Model.of, names)])


@pytest.fixture
def toy(monkeypatch):
    """A module with the class, and its line in the registry."""
    module = ModuleType("nb_backend.providers.toy_api")
    module.ToyApi = ToyApi  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(registry.DIALECTS, "toy", "toy_api.ToyApi")
    registry.provider_for.cache_clear()
    yield ToyApi
    registry.provider_for.cache_clear()


def words(*events: dict[str, Any]) -> bytes:
    return CHUNKED + chunk(b"".join(json.dumps(event).encode() + b"\n" for event in events)) + LAST_CHUNK


ANSWER = words({"word": "Hello"}, {"word": " there"}, {"over": True})


@pytest.mark.parametrize("pasted", ["/toy", "/toy/", "/toy/say"])
async def test_a_chat_asks_a_new_dialect_by_its_url(toy, wire_server: WireServer, pasted):
    wire_server.answer(ANSWER)
    chat = Chat("m", url=wire_server.url + pasted, api_key="a-key-of-the-toy", system="Be short.")
    answer = await chat.ask("Hi")
    assert answer.text == "Hello there"
    (request,) = wire_server.requests
    assert request.path == "/toy/say"
    assert request.header("X-Toy-Key") == "a-key-of-the-toy"
    assert request.json == {"toy": "m", "say": ["Be short.", "Hi"]}
    assert chat.messages[-1]["content"] == "Hello there"


async def test_a_new_dialect_is_asked_by_its_name(toy, wire_server: WireServer):
    wire_server.answer(ANSWER)
    provider = registry.provider_for(wire_server.url, api="toy")
    assert issubclass(provider, ToyApi)
    events = provider.create_async_generator("m", [{"role": "user", "content": "Hi"}])
    assert "".join([str(event) async for event in events]) == "Hello there"


async def test_the_models_of_a_new_dialect_are_listed(toy, wire_server: WireServer):
    body = b'["bear", "doll"]'
    wire_server.answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    assert await catalog.listed_models(f"{wire_server.url}/toy") == ["bear", "doll"]


async def test_its_answers_are_cached_under_its_own_name(toy, wire_server: WireServer, tmp_path):
    wire_server.answer(ANSWER)
    toy_key = Chat("m", url=f"{wire_server.url}/toy").request("Hi").digest
    others = {Chat("m", url=url).request("Hi").digest for url in (None, wire_server.url, f"{wire_server.url}/v1")}
    assert len({toy_key, *others}) == 4
    chat = Chat("m", url=f"{wire_server.url}/toy", cache=str(tmp_path))
    first = await chat.ask("Hi")
    again = await chat.ask("Hi", new=True)
    assert (again.text, again.replayed) == (first.text, True)
    assert len(wire_server.requests) == 1


async def test_its_answers_are_replayed_if_no_server_is_named_or_asked(
    toy, wire_server: WireServer, tmp_path, monkeypatch
):
    wire_server.answer(ANSWER)
    await Chat("m", url=f"{wire_server.url}/toy", cache=str(tmp_path)).ask("Hi")
    monkeypatch.setenv("NB_BACKEND_CACHE_ONLY", "1")
    assert (await Chat("m", cache=str(tmp_path)).ask("Hi")).text == "Hello there"


@pytest.mark.parametrize(
    ("urls", "expected"),
    [
        ([], BackendApi),
        ([None], BackendApi),
        (["http://host"], BackendApi),
        (["http://host/v1/g4f"], BackendApi),
        (["http://openai.host/api"], BackendApi),
        (["http://host/g4f?a=v1"], BackendApi),
        (["http://host/v1"], OpenAIApi),
        (["http://host/v1beta"], OpenAIApi),
        (["http://host/api/v4", "http://other/v1"], OpenAIApi),
        (["http://host/v1beta/openai"], OpenAIApi),
        (["http://host/v3/openai"], OpenAIApi),
        (["http://host/api/paas/v4"], OpenAIApi),
        (["http://host/openai-compatible/models"], OpenAIApi),
        (["https://host/openai/deployments/d?api-version=2024-10-21"], OpenAIApi),
        (["https://models.github.ai/inference"], OpenAIApi),
        (["https://api.perplexity.ai"], OpenAIApi),
        (["https://adb-1.2.azuredatabricks.net/serving-endpoints"], OpenAIApi),
        (["https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/l/endpoints/openapi"], OpenAIApi),
        (["https://api.anthropic.com/v1"], AnthropicApi),
        (["https://api.deepseek.com/anthropic/v1"], AnthropicApi),
        (["https://generativelanguage.googleapis.com/v1beta/openai"], OpenAIApi),
        (["https://generativelanguage.googleapis.com/v1beta"], GeminiApi),
        (["https://generativelanguage.googleapis.com/v1"], GeminiApi),
        (["https://aiplatform.googleapis.com/v1/publishers/google"], GeminiApi),
        (["https://eu-aiplatform.googleapis.com/v1/projects/p/locations/eu/publishers/google"], GeminiApi),
    ],
)
def test_the_urls_decide_on_the_dialect(urls, expected):
    provider = registry.provider_for(*urls)
    assert issubclass(provider, expected)
    assert provider.url == (" ".join(filter(None, urls)) or None)


@pytest.mark.parametrize(
    ("given", "expected", "asked"),
    [
        ("http://host/any/chat/completions", OpenAIApi, "http://host/any/chat/completions"),
        ("https://api.anthropic.com", AnthropicApi, "https://api.anthropic.com/v1/messages"),
        ("https://api.deepseek.com/anthropic", AnthropicApi, "https://api.deepseek.com/anthropic/v1/messages"),
        ("http://localhost:1/v1/messages", AnthropicApi, "http://localhost:1/v1/messages"),
        ("http://host/chat/completions/", OpenAIApi, "http://host/chat/completions"),
        ("http://host/v1/chat/completions", OpenAIApi, "http://host/v1/chat/completions"),
        ("http://host/a/chat/completions?x=1", OpenAIApi, "http://host/a/chat/completions?x=1"),
        (
            "https://n.openai.azure.com/openai/deployments/d/chat/completions?api-version=1",
            OpenAIApi,
            "https://n.openai.azure.com/openai/deployments/d/chat/completions?api-version=1",
        ),
        (
            "https://n.services.ai.azure.com/models/chat/completions?api-version=1",
            OpenAIApi,
            "https://n.services.ai.azure.com/models/chat/completions?api-version=1",
        ),
        ("https://api.openai.com", OpenAIApi, "https://api.openai.com/v1/chat/completions"),
        ("https://api.perplexity.ai/", OpenAIApi, "https://api.perplexity.ai/chat/completions"),
        ("https://n.openai.azure.com", OpenAIApi, "https://n.openai.azure.com/openai/v1/chat/completions"),
        (
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-pro:streamGenerateContent?alt=sse",
            GeminiApi,
            "https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent?alt=sse",
        ),
        (
            "https://generativelanguage.googleapis.com",
            GeminiApi,
            "https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent?alt=sse",
        ),
        (
            "http://host/gate/models/x:generateContent?team=a",
            GeminiApi,
            "http://host/gate/models/m:streamGenerateContent?alt=sse&team=a",
        ),
        (
            "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/google/models/g:generateContent",
            GeminiApi,
            "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/google/models/m"
            ":streamGenerateContent?alt=sse",
        ),
        ("http://host/x/backend-api/v2/conversation", BackendApi, "http://host/x/backend-api/v2/conversation"),
        ("http://host/x?y=1", BackendApi, "http://host/x/backend-api/v2/conversation?y=1"),
    ],
)
def test_the_address_of_a_call_names_the_dialect_and_is_asked(given, expected, asked):
    request = Chat("m", url=given).request("Hi")
    assert issubclass(request.provider, expected)
    assert request.url == asked


@pytest.mark.parametrize(
    ("path", "key", "header"),
    [
        ("/openai/deployments/d?api-version=1", "the-key-of-azure", ("api-key", "the-key-of-azure")),
        ("/openai/deployments/d?api-version=1", "eyJ0.of.entra", ("Authorization", "Bearer eyJ0.of.entra")),
        ("/v1beta/openai", "the-key-of-google", ("Authorization", "Bearer the-key-of-google")),
    ],
)
async def test_the_query_stays_behind_the_path_and_the_key_is_sent_as_the_server_takes_it(
    wire_server, path, key, header
):
    chunk_ = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}
    wire_server.answer(words(chunk_))
    chat = Chat("m", url=f"{wire_server.url}{path}", api_key=key)
    assert (await chat.ask("Hello")).text == "Hi"
    with pytest.raises(BackendError):
        await chat.request("x").provider.get_models(api_key=key)
    base, mark, query = path.partition("?")
    asked, listed = wire_server.requests
    assert (asked.path, listed.path) == (f"{base}/chat/completions{mark}{query}", f"{base}/models{mark}{query}")
    for request in (asked, listed):
        sent = {name: request.header(name) for name in ("api-key", "Authorization", "x-api-key")}
        assert sent == {**dict.fromkeys(sent), header[0]: header[1]}
    assert "api_key" not in asked.json


@pytest.mark.parametrize(
    "answer",
    [
        status("404 Not Found", {"detail": "Not Found"}),
        status("405 Method Not Allowed"),
        status("200 OK", b"<!doctype html><title>Open WebUI</title>"),
        status("200 OK", {"error": "Unexpected endpoint or method. (POST /backend-api/v2/conversation)"}),
    ],
)
async def test_the_error_of_a_server_of_another_dialect_says_how_to_name_its_url(wire_server, answer):
    wire_server.answer(answer)
    with pytest.raises(BackendError, match=r"set its url that ends in /v1, or the full address of /chat/completions$"):
        await Chat("m", url=wire_server.url).ask("Hi")


@pytest.mark.parametrize(
    "answer",
    [
        status("404 Not Found", b"404 page not found"),
        status("405 Method Not Allowed"),
        status("200 OK", {"error": "Unexpected endpoint or method. (POST /backend-api/v2/conversation)"}),
    ],
)
@pytest.mark.parametrize(
    "models", [status("200 OK", {"data": [{"id": "m"}]}), status("401 Unauthorized", {"error": "a key, please"})]
)
async def test_it_names_the_url_with_v1_if_the_server_answers_there(wire_server, answer, models):
    for one in (answer, models, answer):
        wire_server.answer(one)
    with pytest.raises(BackendError) as failure:
        await Chat("m", url=f"{wire_server.url}/base", api_key="its-key").ask("Hi")
    assert str(failure.value).endswith(
        f": its /v1 answers, so write %backend url {wire_server.url}/base/v1, or set NB_BACKEND_URL to that"
    )
    assert "check the url" not in str(failure.value)
    with pytest.raises(BackendError, match="its /v1 answers"):
        await Chat("m", url=f"{wire_server.url}/base", api_key="its-key").ask("Hi")
    assert [request.path for request in wire_server.requests] == [
        "/base/backend-api/v2/conversation",
        "/base/v1/models",
        "/base/backend-api/v2/conversation",
    ]


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=f"there is no dialect 'morse': use one of {', '.join(registry.DIALECTS)}"):
        registry.provider_for("http://host", api="morse")


def test_servers_of_a_new_dialect_are_not_mixed_with_others(toy):
    with pytest.raises(ValueError, match="same dialect"):
        registry.provider_for("http://host/toy", "http://host")


def test_no_module_asks_whether_a_provider_is_of_a_class():
    providers = {home.rpartition(".")[2] for home in registry.DIALECTS.values()}
    providers |= {"Provider", "AsyncGeneratorProvider", "ProviderModelMixin"}
    found = []
    for path in Path(nb_backend.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("issubclass", "isinstance"):
                names = {getattr(name, "id", getattr(name, "attr", "")) for name in ast.walk(node)}
                found += [f"{path.name}:{node.lineno}"] if names & providers else []
    assert found == []
