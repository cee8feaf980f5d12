"""Recorded answers of /responses are read as their own last event says, however the body is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from clouds import WITHOUT, cuts, recordings

from nb_backend import Answer
from nb_backend.chat import Source
from nb_backend.events import RawResponse
from nb_backend.providers.responses_body import input_items
from nb_backend.providers.responses_reader import ResponsesReader

RECORDED = recordings("openai-responses")


def read(*pieces: bytes) -> list[RawResponse]:
    reader = ResponsesReader("https://api.openai.com/v1")
    events = [event for piece in pieces for event in reader.feed(piece) or ()]
    events += reader.end(whole=True)
    assert reader.error(None) is None
    return events


def answer_of(events: list[RawResponse]) -> Answer:
    answer = Answer()
    for event in events:
        answer.add(event)
    answer.end()
    return answer


def said(answer: Answer) -> Any:
    shown = (answer.text, answer.reasoning, answer.tool_calls, answer.sources, answer.images)
    return *shown, answer.usage, answer.model, answer.finish_reason, answer.complete


def last_response(body: bytes) -> dict[str, Any]:
    """Return the object of the whole response in the last event, read without our decoder."""
    lines = body.decode().replace("\r\n", "\n").split("\n")
    events = [json.loads(line[5:]) for line in lines if line.startswith("data:") and line[5:].strip() != "[DONE]"]
    return events[-1]["response"]


@pytest.mark.skipif(not RECORDED, reason=WITHOUT)
@pytest.mark.parametrize("name", RECORDED)
def test_as_its_last_event_says(name):
    body, response = RECORDED[name], last_response(RECORDED[name])
    output = response["output"]
    answer = answer_of(events := read(body))

    messages = [item["content"] for item in output if item["type"] == "message"]
    assert answer.text == "".join(part.get("text") or part.get("refusal") or "" for parts in messages for part in parts)
    reasoning = [part["text"] for item in output if item["type"] == "reasoning" for part in reasons(item)]
    assert answer.reasoning == "\n\n".join(reasoning)
    calls = [item for item in output if item["type"] == "function_call"]
    assert [(one.id, one.name, one.arguments) for one in answer.tool_calls] == [
        (call["call_id"], call["name"], json.loads(call["arguments"])) for call in calls
    ]
    annotations = [one for parts in messages for part in parts for one in part.get("annotations", [])]
    pages = {one["url"]: Source(one["url"], one["title"]) for one in annotations if one["type"] == "url_citation"}
    assert answer.sources == [*pages.values()]
    drawn = [item["result"] for item in output if item["type"] == "image_generation_call" and item.get("result")]
    assert [image.data_uri.partition(",")[2] for image in answer.images] == drawn
    usage = response["usage"]
    assert (answer.input_tokens, answer.output_tokens) == (usage["input_tokens"], usage["output_tokens"])
    assert answer.cached_tokens == usage["input_tokens_details"]["cached_tokens"]
    assert answer.model == response["model"]
    assert answer.complete is (response["status"] == "completed")

    states = [event.state for event in events if event.type == "state"]
    encrypted = [item["encrypted_content"] for item in output if item.get("encrypted_content")]
    assert [one["encrypted_content"] for state in states for one in state if "encrypted_content" in one] == encrypted
    order = [event.type for event in events if event.type in ("tool_calls", "state", "finish")]
    assert order == [*["tool_calls"] * bool(calls), *["state"] * bool(states), "finish"]


@pytest.mark.skipif(not RECORDED, reason=WITHOUT)
@pytest.mark.parametrize("name", RECORDED)
def test_its_state_is_sent_back_before_the_results_of_its_calls(name):
    answer = answer_of(read(RECORDED[name]))
    results = [{"role": "tool", "tool_call_id": call.id, "content": "a result"} for call in answer.tool_calls]
    items = input_items([{"role": "assistant", "content": answer.text, "state": answer.state}, *results])
    output = last_response(RECORDED[name])["output"]
    if any(item.get("encrypted_content") or item.get("phase") for item in output):
        needed = [item for item in output if item["type"] != "reasoning" or item.get("encrypted_content")]
        assert [*map(filled, items[: len(needed)])] == [*map(filled, needed)]
        assert len(items) == len(needed) + len(results)
    else:
        assert not answer.state


def filled(item: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if value not in (None, [])}


def reasons(item: dict[str, Any]) -> list[dict[str, Any]]:
    return item.get("content") or item.get("summary") or []


@pytest.mark.skipif(not RECORDED, reason=WITHOUT)
@pytest.mark.parametrize("name", RECORDED)
def test_cut_anywhere(name):
    body = RECORDED[name]
    expected = said(answer_of(read(body)))
    for at in cuts(body):
        assert said(answer_of(read(body[:at], body[at:]))) == expected, at
    assert said(answer_of(read(*(body[at : at + 1] for at in range(len(body)))))) == expected
