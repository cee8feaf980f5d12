"""Recorded answers of Gemini are read as its documentation says, wherever they are cut."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from clouds import WITHOUT, cuts, read_with, recordings

from nb_backend import Answer
from nb_backend.providers.gemini_reader import GeminiReader

RECORDED = recordings("gemini")
pytestmark = pytest.mark.skipif(not RECORDED, reason=WITHOUT)


def read(pieces: Iterable[bytes]) -> dict[str, Any]:
    """Return what the reader makes of a body."""
    answer, events, said = read_with(GeminiReader("https://server.example/v1beta"), pieces)
    states = [event.state for event in events if event.type == "state"]
    return {
        **said,
        "sources": [(source.url, source.title, source.text) for source in answer.sources],
        "images": [*map(str, answer.images)],
        "signatures": [part["thoughtSignature"] for state in states for part in state if "thoughtSignature" in part],
        "order": [event.type for event in events if event.type in ("tool_calls", "state", "finish")],
    }


def documented(body: bytes) -> dict[str, Any]:
    """Return what the documentation says of a body, which is read whole and without the reader's code."""
    responses = [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: ")]
    candidates = [one for response in responses for one in response.get("candidates", [])]
    parts = [part for one in candidates for part in one.get("content", {}).get("parts", [])]
    texts = [(part["text"], part.get("thought", False)) for part in parts if "text" in part]
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    blobs = [part["inlineData"] for part in parts if "inlineData" in part]
    signatures = [part["thoughtSignature"] for part in parts if "thoughtSignature" in part]
    pages: dict[str, list[str]] = {}
    for one in candidates:
        for chunk in one.get("groundingMetadata", {}).get("groundingChunks", []):
            kind, fields = next(iter(chunk.items()))
            page = [fields.get("uri", ""), fields.get("title") or fields.get("fileSearchStore", ""), ""]
            page[2] = fields["text"] if kind == "retrievedContext" else ""
            known = pages.setdefault(page[0] or page[2], page)
            known[1] = known[1] or page[1]
        for fields in one.get("urlContextMetadata", {}).get("urlMetadata", []):
            if fields["urlRetrievalStatus"] == "URL_RETRIEVAL_STATUS_SUCCESS":
                pages.setdefault(fields["retrievedUrl"], [fields["retrievedUrl"], "", ""])
    usage = [response["usageMetadata"] for response in responses if "usageMetadata" in response][-1]
    answered = [usage[key] for key in ("candidatesTokenCount", "thoughtsTokenCount") if key in usage]
    reasons = [one["finishReason"] for one in candidates if "finishReason" in one]
    order = ["tool_calls"] * bool(calls) + ["state"] * bool(signatures) + ["finish"] * len(reasons)
    return {
        "text": "".join(text for text, is_thought in texts if not is_thought),
        "reasoning": "".join(text for text, is_thought in texts if is_thought),
        "calls": [(call["id"], call["name"], call["args"]) for call in calls],
        "sources": [*map(tuple, pages.values())],
        "images": [f"data:{one['mimeType']};base64,{one['data']}" for one in blobs],
        "tokens": (
            usage["promptTokenCount"] + usage.get("toolUsePromptTokenCount", 0),
            sum(answered) if answered else None,
            usage.get("cachedContentTokenCount"),
        ),
        "complete": reasons == ["STOP"],
        "model": responses[-1]["modelVersion"],
        "signatures": signatures,
        "failed": False,
        "order": order,
    }


@pytest.mark.parametrize("body", RECORDED.values(), ids=RECORDED)
def test_a_recorded_answer_is_read_as_documented(body):
    assert read([body]) == documented(body)


@pytest.mark.parametrize("body", RECORDED.values(), ids=RECORDED)
def test_it_is_the_same_when_cut_anywhere(body):
    whole = read([body])
    if len(body) < 5000:
        assert read(body[at : at + 1] for at in range(len(body))) == whole
    for at in cuts(body):
        assert read([body[:at], body[at:]]) == whole, at


@pytest.mark.parametrize("body", RECORDED.values(), ids=RECORDED)
def test_it_is_the_same_as_one_json_array(body):
    """The service answers with an array if the address lacks ``alt=sse``, as it does behind some proxies."""
    responses = [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: ")]
    array = json.dumps(responses, indent=2).replace("\n  },\n  {", "\n  }\n,\n  {").encode()
    assert read([array]) == read([body])
    assert read(array[at : at + 700] for at in range(0, len(array), 700)) == read([body])


@pytest.mark.parametrize("body", RECORDED.values(), ids=RECORDED)
def test_it_is_not_complete_without_its_last_response(body):
    """Tool calls and state are complete only with the end, so there are none if the connection broke."""
    last = body.rstrip().rfind(b"data: ")
    reader = GeminiReader("https://server.example/v1beta")
    events = [*(reader.feed(body[:last]) or ()), *reader.end(whole=False)]
    answer = Answer()
    for event in [*events, reader.ending()]:
        answer.add(event)
    answer.end(failed=True)
    assert not answer.complete
    assert not {"tool_calls", "state", "finish"} & {event.type for event in events}


TEXTS = {
    "chatlas_tools_parallel__1": "Joe sage green Hadley red",
    "google_model_stream__0": "The capital of France is Paris.\n",
    "google_model_web_fetch_tool_stream__0": "Pydantic AI Gateway is now available!",
    "google_vertex_service_tier_flex_stream__0": "OK",
    "google_stream_usage_is_live_mid_stream__0": "\n".join(map(str, range(1, 31))),
}
TOKENS = {
    "code_execution_stream__0": (507, 276, None),
    "google_model_file_search_tool_stream__3": (785, 779, None),
    "native_output_with_builtin_tools_stream__0": (87, 78, None),
}


@pytest.mark.parametrize(("name", "text"), TEXTS.items(), ids=TEXTS)
def test_the_text_of_a_recording(name, text):
    assert read([RECORDED[name]])["text"] == text


@pytest.mark.parametrize(("name", "tokens"), TOKENS.items(), ids=TOKENS)
def test_the_tokens_of_a_recording(name, tokens):
    """What the service's tools have read is part of the request, reasoning of the answer; the last counts are valid."""
    assert read([RECORDED[name]])["tokens"] == tokens
