"""GeminiApi on real sockets: addresses, keys, streams, errors, models."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from clouds import WITHOUT, recordings
from image_serving import PNG
from wire_server import CHUNKED, LAST_CHUNK, WireServer, chunk, received, status

from nb_backend import Chat
from nb_backend.errors import AuthError, BackendError, RateLimitError, ServerError
from nb_backend.providers import gemini_refusals, gemini_thinking
from nb_backend.providers.gemini_api import GeminiApi

KEY = "AIzaSyTheKeyOfGemini0123456789"
MODEL = "gemini-2.5-flash"
CALL = "/v1beta/models/any:generateContent"  # an address that names the dialect
HI = [{"role": "user", "content": "Hi"}]
RECORDED = recordings("gemini")


@pytest.fixture
def api(wire_server: WireServer) -> type[GeminiApi]:
    return type("Api", (GeminiApi,), {"url": f"{wire_server.url}/v1beta", "max_retries": 0})


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    monkeypatch.setattr(gemini_thinking, "_replaced", {})
    monkeypatch.setattr(gemini_refusals, "_takes_no_system", set())


async def ask(api: type[GeminiApi], model: str = MODEL, **options: Any) -> tuple[list[dict], BackendError | None]:
    options.setdefault("api_key", KEY)
    events, error = await received(api.create_async_generator(model, HI, **options))
    return [event.get_dict() for event in events], error


def part(words: str, **candidate: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [{"text": words}], "role": "model"}, "index": 0, **candidate}]}


def stream(*responses: dict[str, Any]) -> bytes:
    """Build an answer with a chunk for each response, as the service sends them."""
    lines = (b"data: %s\r\n\r\n" % json.dumps(one).encode() for one in responses)
    return CHUNKED + b"".join(map(chunk, lines)) + LAST_CHUNK


ANSWER = stream(part("Hel"), part("lo", finishReason="STOP"))


class TestRequest:
    @pytest.mark.parametrize(
        ("path", "model", "asked"),
        [
            ("/v1beta", MODEL, "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"),
            ("/v1beta/", f"models/{MODEL}", "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"),
            ("/v1beta", "tunedModels/mine-1", "/v1beta/tunedModels/mine-1:streamGenerateContent?alt=sse"),
            ("/v1?team=a", "a/b?c", "/v1/models/a%2Fb%3Fc:streamGenerateContent?alt=sse&team=a"),
            (
                "/v1/projects/p/locations/l/publishers/google",
                f"publishers/google/models/{MODEL}",
                "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
            ),
            (
                "/v1beta/models/gemini-pro:generateContent?alt=json",
                MODEL,
                "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
            ),
        ],
    )
    async def test_the_model_is_in_the_address_and_not_in_the_body(self, wire_server, path, model, asked):
        wire_server.answer(ANSWER)
        api = type("Api", (GeminiApi,), {"url": f"{wire_server.url}{path}"})
        events, error = await ask(api, model)
        (request,) = wire_server.requests
        assert (request.path, error) == (asked, None)
        assert "model" not in request.json
        assert "".join(event.get("content") or "" for event in events) == "Hello"

    @pytest.mark.parametrize(
        ("key", "header"),
        [
            (KEY, ("x-goog-api-key", KEY)),
            ("ya29.a-token-of-oauth", ("Authorization", "Bearer ya29.a-token-of-oauth")),
        ],
    )
    async def test_the_key_is_in_the_header_that_the_service_reads(self, api, wire_server, key, header):
        wire_server.answer(ANSWER)
        await ask(api, api_key=key)
        (request,) = wire_server.requests
        assert request.header(header[0]) == header[1]
        assert (request.head + request.body.decode()).count(key) == 1

    async def test_the_body(self, api, wire_server):
        wire_server.answer(ANSWER)
        await ask(api, temperature=0, max_tokens=9)
        assert wire_server.requests[0].json == {
            "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
            "generationConfig": {
                "temperature": 0,
                "maxOutputTokens": 9,
                "thinkingConfig": {"includeThoughts": True},
            },
        }

    @pytest.mark.parametrize("key", ["one\ntwo", "one\rtwo"])
    async def test_a_key_with_a_line_break_is_refused_before_anything_is_sent(self, api, wire_server, key):
        with pytest.raises(ValueError, match="the key contains a line end"):
            await ask(api, api_key=key)
        assert wire_server.requests == []

    async def test_without_a_model_nothing_is_sent(self, api, wire_server):
        with pytest.raises(ValueError, match="Gemini has no default model"):
            await ask(api, "")
        assert wire_server.requests == []


@pytest.mark.skipif(not RECORDED, reason=WITHOUT)
async def test_a_recorded_answer_reaches_the_chat(wire_server):
    wire_server.answer(CHUNKED + chunk(RECORDED["google_model_web_fetch_tool_stream__0"]) + LAST_CHUNK)
    answer = await Chat(MODEL, url=f"{wire_server.url}{CALL}").ask("Hi")
    assert (answer.text, answer.complete) == ("Pydantic AI Gateway is now available!", True)
    assert [(source.url, source.title) for source in answer.sources] == [("https://ai.pydantic.dev", "Pydantic AI")]
    assert (answer.input_tokens, answer.output_tokens) == (4642, 62)


@pytest.mark.skipif(not RECORDED, reason=WITHOUT)
async def test_the_cache_keeps_the_last_counts_only(wire_server, tmp_path):
    wire_server.answer(CHUNKED + chunk(RECORDED["google_stream_usage_is_live_mid_stream__0"]) + LAST_CHUNK)
    chat = Chat(MODEL, url=f"{wire_server.url}{CALL}", cache=str(tmp_path))
    first = await chat.ask("Hi")
    again = await chat.ask("Hi", new=True)
    assert again.replayed
    assert again.usage == first.usage == {**first.usage, "candidatesTokenCount": 80}
    (file,) = tmp_path.rglob("*.json")
    assert file.read_text().count("candidatesTokenCount") <= 2


async def test_a_picture_goes_back_so_that_the_model_can_change_it(wire_server):
    """An answer of a picture alone has no text, but is part of the conversation."""
    picture = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(PNG).decode()}}
    drawn = {"candidates": [{"content": {"parts": [picture], "role": "model"}, "finishReason": "STOP"}]}
    wire_server.answer(stream(drawn))
    chat = Chat("gemini-2.5-flash-image", url=f"{wire_server.url}{CALL}")
    await chat.ask("A red dot")
    await chat.ask("Make it blue")
    assert wire_server.requests[1].json["contents"] == [
        {"role": "user", "parts": [{"text": "A red dot"}]},
        {"role": "model", "parts": [picture]},
        {"role": "user", "parts": [{"text": "Make it blue"}]},
    ]


def refused(code: int, message: str, name: str, *details: dict[str, Any]) -> bytes:
    line = {400: "400 Bad Request", 403: "403 Forbidden", 404: "404 Not Found", 429: "429 Too Many Requests"}[code]
    return status(line, {"error": {"code": code, "message": message, "status": name, "details": [*details]}})


def reason(name: str) -> dict[str, Any]:
    kind = "type.googleapis.com/google.rpc.ErrorInfo"
    return {"@type": kind, "reason": name, "domain": "googleapis.com", "metadata": {"service": "x.googleapis.com"}}


MODELS = {
    "models": [
        {"name": "models/gemini-2.5-flash", "supportedGenerationMethods": ["generateContent", "countTokens"]},
        {"name": "models/gemini-embedding-001", "supportedGenerationMethods": ["embedContent"]},
    ]
}


class TestErrors:
    async def test_a_wrong_key_is_told_as_such(self, api, wire_server):
        """The service refuses it with 400 and ``INVALID_ARGUMENT``."""
        said = "API key not valid. Please pass a valid API key."
        wire_server.answer(refused(400, said, "INVALID_ARGUMENT", reason("API_KEY_INVALID")))
        _, error = await ask(api)
        assert isinstance(error, AuthError)
        assert "API key not valid" in str(error)
        assert "set NB_BACKEND_API_KEY" in str(error)
        assert KEY not in str(error)

    async def test_an_expired_key_is_told_as_such(self, api, wire_server):
        said = "API key expired. Please renew the API key."
        wire_server.answer(refused(400, said, "INVALID_ARGUMENT", reason("API_KEY_INVALID")))
        assert isinstance((await ask(api))[1], AuthError)

    async def test_a_missing_key_is_told_as_such(self, api, wire_server):
        said = "Method doesn't allow unregistered callers (callers without established identity)."
        wire_server.answer(refused(403, said, "PERMISSION_DENIED"))
        _, error = await ask(api, api_key=None)
        assert isinstance(error, AuthError)

    async def test_an_unknown_model_names_close_ones(self, api, wire_server):
        said = "models/gemini-2.5-flsh is not found for API version v1beta, or is not supported for generateContent."
        wire_server.answer(refused(404, said, "NOT_FOUND"))
        wire_server.answer(status("200 OK", MODELS))
        _, error = await ask(api, "gemini-2.5-flsh")
        assert str(error).endswith("did you mean gemini-2.5-flash?")
        assert wire_server.requests[1].path == "/v1beta/models?pageSize=1000"
        assert wire_server.requests[1].header("x-goog-api-key") == KEY

    async def test_a_quota_says_how_long_to_wait(self, api, wire_server):
        said = "You exceeded your current quota, please check your plan and billing details. Please retry in 34.07s."
        retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}
        wire_server.answer(refused(429, said, "RESOURCE_EXHAUSTED", retry))
        _, error = await ask(api)
        assert isinstance(error, RateLimitError)
        assert (error.retry_after, error.no_credit) == (34, False)

    @pytest.mark.parametrize(
        ("code", "said", "name"),
        [
            (
                403,
                "This API method requires billing to be enabled. Please enable billing on project #1",
                "BILLING_DISABLED",
            ),
            (429, "Your prepayment credits are depleted. Please go to AI Studio", "X"),
            (400, "Gemini API free tier is not available in your country. Please enable billing", "X"),
        ],
    )
    async def test_an_account_without_credit_is_told_as_such(self, api, wire_server, code, said, name):
        wire_server.answer(refused(code, said, "FAILED_PRECONDITION", reason(name)))
        _, error = await ask(api)
        assert error.no_credit
        assert str(error).endswith("check your plan and balance with the provider")

    @pytest.mark.parametrize(
        "said", ["Image input modality is not enabled for models/gemma-3-1b-it", "This model does not support images."]
    )
    async def test_a_model_that_takes_no_images_says_so(self, api, wire_server, said):
        wire_server.answer(refused(400, said, "INVALID_ARGUMENT"))
        _, error = await ask(api)
        assert isinstance(error, ServerError)
        assert str(error).endswith("name a model that takes such attachments, or ask without them")

    async def test_a_model_that_does_not_think_is_asked_again_without(self, api, wire_server):
        said = "Unable to submit request because thinking is not supported by this model."
        wire_server.answer(refused(400, said, "INVALID_ARGUMENT"))
        wire_server.answer(ANSWER)
        assert (await ask(api))[1] is None
        assert (await ask(api))[1] is None
        configs = [request.json.get("generationConfig") for request in wire_server.requests]
        assert configs == [{"thinkingConfig": {"includeThoughts": True}}, None, None]

    async def test_a_model_without_a_system_prompt_gets_it_before_the_first_question(self, api, wire_server):
        wire_server.answer(refused(400, "Developer instruction is not enabled for models/gemma-3-27b-it", "X"))
        wire_server.answer(ANSWER)
        messages = [{"role": "system", "content": "Be short"}, *HI]
        for _ in range(2):
            _, error = await received(api.create_async_generator("gemma-3-27b-it", messages, api_key=KEY))
            assert error is None
        first, *others = [request.json for request in wire_server.requests]
        assert first["systemInstruction"] == {"parts": [{"text": "Be short"}]}
        asked = {"contents": [{"role": "user", "parts": [{"text": "Be short"}, {"text": "Hi"}]}]}
        assert others == [asked, asked]

    async def test_an_effort_that_a_model_does_not_take_is_one_clear_line(self, api, wire_server):
        wire_server.answer(refused(400, "The thinking budget is invalid.", "INVALID_ARGUMENT"))
        _, error = await ask(api, effort="high")
        assert str(error).endswith(
            "(The thinking budget is invalid.): choose another effort (--effort), or leave it out"
        )

    async def test_a_failure_after_text_keeps_the_text(self, api, wire_server):
        told = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
        wire_server.answer(stream(part("Hel"), told))
        _, error = await ask(api)
        assert (error.partial, error.status) == ("Hel", 503)


class TestModels:
    async def test_all_pages_are_read_and_only_models_that_generate_are_listed(self, api, wire_server):
        first = {**MODELS, "nextPageToken": "a/b="}
        last = {"models": [{"name": "models/gemini-3-pro-preview", "displayName": "Gemini 3 Pro"}]}
        wire_server.answer(status("200 OK", first))
        wire_server.answer(status("200 OK", last))
        models = await api.get_models(api_key=KEY)
        assert models == ["gemini-2.5-flash", "gemini-3-pro-preview"]
        assert models[1].label == "Gemini 3 Pro"
        paths = [request.path for request in wire_server.requests]
        assert paths == ["/v1beta/models?pageSize=1000", "/v1beta/models?pageSize=1000&pageToken=a/b%3D"]

    async def test_models_of_vertex(self, wire_server):
        api = type("Api", (GeminiApi,), {"url": f"{wire_server.url}/v1/publishers/google?x=1"})
        wire_server.answer(status("200 OK", {"publisherModels": [{"name": "publishers/google/models/gemini-2.5-pro"}]}))
        assert await api.get_models(api_key=KEY) == ["gemini-2.5-pro"]
        assert wire_server.requests[0].path == "/v1/publishers/google/models?pageSize=1000&x=1"
