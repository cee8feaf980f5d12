"""A chat that moves between services keeps its text, pictures and tool calls, and leaves opaque states behind."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_serving import PNG, uri
from media_samples import PDF
from wire_server import WireServer, status

from nb_backend import Chat
from nb_backend.media.attachment import Attachment
from nb_backend.media.sniff import data_uri
from nb_backend.providers.registry import DIALECTS

PICTURE = base64.b64encode(PNG).decode()
DOCUMENT = base64.b64encode(PDF).decode()
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
OPAQUE = "T1BBUVVF"
"""Part of all opaque states."""
ANSWERS: dict[str, list[dict[str, Any]]] = {
    "anthropic": [
        {"type": "message_start", "message": {"id": "a", "role": "assistant", "content": [], "model": "m"}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": OPAQUE}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "It is blue."}},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ],
    "gemini": [
        {
            "candidates": [
                {
                    "content": {
                        "role": "model",
                        "parts": [{"text": "Hm", "thought": True}, {"text": "It is blue.", "thoughtSignature": OPAQUE}],
                    },
                    "finishReason": "STOP",
                }
            ]
        }
    ],
    "openai-responses": [
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": OPAQUE},
        },
        {"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "It is blue."},
        {
            "type": "response.output_item.done",
            "output_index": 1,
            "item": {
                "type": "message",
                "id": "msg",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "It is blue.", "annotations": []}],
            },
        },
        {"type": "response.completed", "response": {"id": "r", "status": "completed", "model": "m", "output": []}},
    ],
    "openai-chat": [
        {"choices": [{"index": 0, "delta": {"reasoning_details": [{"type": "reasoning.encrypted", "data": OPAQUE}]}}]},
        {"choices": [{"index": 0, "delta": {"content": "It is blue."}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    ],
    "g4f": [{"type": "content", "content": "It is blue."}, {"type": "finish", "finish": {"reason": "stop"}}],
}
KEEP_STATE = {"anthropic", "gemini", "openai-responses", "openai-chat"}


def answer_of(api: str, answers: dict[str, list[dict[str, Any]]] = ANSWERS) -> bytes:
    lines = [
        b"event: %s\ndata: %s\n\n" % (str(event.get("type", "message")).encode(), json.dumps(event).encode())
        for event in answers[api]
    ]
    return status("200 OK", b"".join(lines))


def texts_in(value: Any) -> Iterator[str]:
    """Yield all texts of a body, in their order; a text that is JSON counts as what it holds."""
    if isinstance(value, dict):
        for item in value.values():
            yield from texts_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts_in(item)
    elif isinstance(value, str):
        yield value


def body_of(api: str, messages: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    chat = Chat("m", url="http://127.0.0.1:9/v1", api=api)
    chat.messages = messages
    return chat.request("And now?", **options).body()


def history() -> list[dict[str, Any]]:
    question = {"role": "user", "content": "What is on it?", "media": [Attachment(uri(PNG), "a.png")]}
    states = [{"owner": f"{owner} other.example", "items": [{"data": OPAQUE}]} for owner in DIALECTS]
    others = [{"role": "assistant", "content": f"Answer {at}.", "state": one} for at, one in enumerate(states)]
    asked = [{"role": "user", "content": f"Question {at}?"} for at in range(len(others))]
    return [
        question,
        {"role": "assistant", "content": "I look it up.", "tool_calls": [CALL], "state": states[0]},
        {"role": "tool", "tool_call_id": "call_1", "content": "18 degrees"},
        {"role": "assistant", "content": "A picture of Rome."},
        {"role": "user", "content": "And in this?", "media": [Attachment(data_uri(PDF, "application/pdf"), "b.pdf")]},
        {"role": "assistant", "content": "A text."},
        *(message for pair in zip(asked, others, strict=True) for message in pair),
    ]


@pytest.mark.parametrize("api", DIALECTS)
def test_everything_that_was_said_is_in_the_body_of_every_dialect(api):
    body = body_of(api, history(), images=[PNG], system="Be brief.")
    texts = [*texts_in(body)]
    whole = "\n".join(texts)
    said = ["What is on it?", "I look it up.", "A picture of Rome.", "And in this?", "A text."]
    said += [text for at in range(len(DIALECTS)) for text in (f"Question {at}?", f"Answer {at}.")]
    places = [whole.index(text) for text in [*said, "And now?"]]
    assert places == sorted(places)
    assert "Be brief." in whole
    assert sum(text.count(PICTURE) for text in texts) == 2  # of the first turn, and the new one
    assert DOCUMENT in whole
    assert OPAQUE not in json.dumps(body)


def call_and_result(api: str, body: dict[str, Any]) -> list[Any]:
    """Return name and arguments of the only call, whether the result belongs to it, and whether it is the right one."""
    if api == "anthropic":
        blocks = [block for turn in body["messages"] for block in turn["content"]]
        (call,) = [block for block in blocks if block["type"] == "tool_use"]
        (result,) = [block for block in blocks if block["type"] == "tool_result"]
        found = call["name"], call["input"], result["tool_use_id"] == call["id"], result["content"]
    elif api == "gemini":
        parts = [part for content in body["contents"] for part in content["parts"]]
        (call,) = [part["functionCall"] for part in parts if "functionCall" in part]
        (result,) = [part["functionResponse"] for part in parts if "functionResponse" in part]
        same = result["name"] == call["name"] and result.get("id") == call.get("id")
        found = call["name"], call["args"], same, result["response"]
    elif api == "openai-responses":
        (call,) = [item for item in body["input"] if item.get("type") == "function_call"]
        (result,) = [item for item in body["input"] if item.get("type") == "function_call_output"]
        found = call["name"], json.loads(call["arguments"]), result["call_id"] == call["call_id"], result["output"]
    else:
        ((call,),) = [message["tool_calls"] for message in body["messages"] if "tool_calls" in message]
        (result,) = [message for message in body["messages"] if message["role"] == "tool"]
        function = call["function"]
        same = result["tool_call_id"] == call["id"]
        found = function["name"], json.loads(function["arguments"]), same, result["content"]
    *call_found, result_found = found
    return [*call_found, "18 degrees" in "".join(texts_in(result_found))]


@pytest.mark.parametrize("api", DIALECTS)
def test_a_tool_call_and_its_result_belong_together_in_every_dialect(api):
    assert call_and_result(api, body_of(api, history())) == ["weather", {"city": "Rome"}, True, True]


words = st.text("abc äß🙂<>&\"'\\{}", min_size=1, max_size=12).map(lambda text: f"x{text}x")
turns = st.lists(st.tuples(words, words, st.booleans(), st.booleans()), min_size=1, max_size=5)


@pytest.mark.parametrize("api", DIALECTS)
@settings(max_examples=60)
@given(turns)
def test_any_history_keeps_its_texts_pictures_and_calls(api, said):
    messages: list[dict[str, Any]] = []
    for at, (question, answer, has_picture, has_call) in enumerate(said):
        media = {"media": [Attachment(uri(PNG), f"{at}.png")]} if has_picture else {}
        messages.append({"role": "user", "content": question, **media})
        if has_call:
            call = {"id": f"c{at}", "type": "function", "function": {"name": f"tool{at}", "arguments": "{}"}}
            messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
            messages.append({"role": "tool", "tool_call_id": f"c{at}", "content": f"result {at}"})
        messages.append({"role": "assistant", "content": answer})
    texts = [*texts_in(body_of(api, messages))]
    place = 0
    for at, (question, answer, _, has_call) in enumerate(said):
        for text in [question, *([f"tool{at}", f"result {at}"] if has_call else []), answer]:
            place = next(index for index in range(place, len(texts)) if text in texts[index])
    assert sum(text.count(PICTURE) for text in texts) == sum(has_picture for _, _, has_picture, _ in said)


@pytest.mark.parametrize(("before", "after"), [*permutations(ANSWERS, 2)])
def test_a_chat_that_moves_leaves_the_opaque_state_of_its_last_service_out(wire_server, before, after):
    wire_server.answer(answer_of(before))
    wire_server.answer(answer_of(before))
    wire_server.answer(answer_of(after))
    chat = Chat("m", url=f"{wire_server.url}/v1", api=before)
    assert chat("Why?").text == "It is blue."
    chat("Really?")
    sent = json.dumps(wire_server.requests[1].json)
    assert (OPAQUE in sent) is (before in KEEP_STATE)
    chat.api = after
    assert chat("Always?").text == "It is blue."
    moved = json.dumps(wire_server.requests[2].json)
    assert OPAQUE not in moved
    assert [moved.count(text) for text in ("Why?", "Really?", "Always?", "It is blue.")] == [1, 1, 1, 2]


def test_every_dialect_is_among_them():
    assert ANSWERS.keys() == {*DIALECTS}
    assert {name for name in ANSWERS if OPAQUE in json.dumps(ANSWERS[name])} == KEEP_STATE


@pytest.mark.parametrize("api", sorted(KEEP_STATE))
def test_a_service_gets_its_own_state_back_unless_the_text_was_edited(wire_server: WireServer, api):
    wire_server.answer(answer_of(api))
    chat = Chat("m", url=f"{wire_server.url}/v1", api=api)
    chat("Why?")
    assert OPAQUE in json.dumps(chat.request("b").body())
    chat.messages[-1]["content"] = "It is red."
    edited = json.dumps(chat.request("b").body())
    assert OPAQUE not in edited
    assert "It is red." in edited
    assert "It is blue." not in edited


CALLS: dict[str, list[dict[str, Any]]] = {
    "anthropic": [
        ANSWERS["anthropic"][0],
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "input_json_delta", "partial_json": '{"city": "Rome"}'},
        },
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 1}},
        {"type": "message_stop"},
    ],
    "gemini": [
        {
            "candidates": [
                {
                    "content": {
                        "role": "model",
                        "parts": [{"functionCall": {"name": "weather", "args": {"city": "Rome"}}}],
                    },
                    "finishReason": "STOP",
                }
            ]
        }
    ],
    "openai-responses": [
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": {
                "type": "function_call",
                "id": "fc",
                "call_id": "call_1",
                "name": "weather",
                "arguments": '{"city": "Rome"}',
                "status": "completed",
            },
        },
        ANSWERS["openai-responses"][-1],
    ],
    "openai-chat": [{"choices": [{"index": 0, "delta": {"tool_calls": [CALL]}, "finish_reason": "tool_calls"}]}],
    "g4f": [{"type": "tool_calls", "tool_calls": [CALL]}, {"type": "finish", "finish": {"reason": "tool_calls"}}],
}


@pytest.mark.parametrize(("before", "after"), [*permutations(CALLS, 2), *((api, api) for api in CALLS)])
def test_a_call_of_one_service_is_sent_to_another_with_the_result_that_was_appended(wire_server, before, after):
    wire_server.answer(answer_of(before, CALLS))
    chat = Chat("m", url=f"{wire_server.url}/v1", api=before)
    (call,) = chat("Weather?").tool_calls
    chat.api = after
    unanswered = [*texts_in(chat.request("And now?").body())]
    assert "weather" not in unanswered
    chat.messages.append({"role": "tool", "tool_call_id": call.id, "content": "18 degrees"})
    body = chat.request("And now?").body()
    assert call_and_result(after, body) == ["weather", {"city": "Rome"}, True, True]
