"""Recorded answers of Anthropic's API are read as its documentation says, wherever they are cut."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from clouds import WITHOUT, cuts, read_with, recordings

from nb_backend.providers.anthropic_reader import MessageReader

RECORDED = recordings("anthropic")
pytestmark = pytest.mark.skipif(not RECORDED, reason=WITHOUT)

TOKENS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")


def read(pieces: Iterable[bytes]) -> dict[str, Any]:
    """Return what the reader makes of a body."""
    answer, events, said = read_with(MessageReader("https://api.anthropic.com/v1"), pieces)
    return {
        **said,
        "sources": [source.url for source in answer.sources],
        "finish": answer.finish_reason,
        "state": [event.state for event in events if event.type == "state"],
    }


def documented(body: bytes) -> dict[str, Any]:
    """Return what the documentation says of a body, which is read whole and without the reader's code."""
    events = [json.loads(line[5:]) for line in body.decode().splitlines() if line.startswith("data:")]
    blocks: list[dict[str, Any]] = []
    usage: dict[str, Any] = {}
    said: dict[str, Any] = {"finish": None, "failed": False, "model": ""}
    for event in events:
        match event["type"]:
            case "message_start":
                said["model"], usage = event["message"]["model"], event["message"]["usage"]
            case "content_block_start":
                assert event["index"] == len(blocks)
                blocks.append({**event["content_block"], "json": ""})
            case "content_block_delta":
                block, delta = blocks[event["index"]], event["delta"]
                match delta["type"]:
                    case "text_delta":
                        block["text"] += delta["text"]
                    case "thinking_delta":
                        block["thinking"] += delta["thinking"]
                    case "signature_delta":
                        block["signature"] += delta["signature"]
                    case "input_json_delta":
                        block["json"] += delta["partial_json"]
                    case "citations_delta":
                        block["citations"].append(delta["citation"])
                    case "compaction_delta":
                        block["content"] = (block["content"] or "") + delta["content"]
            case "message_delta":
                said["finish"] = event["delta"]["stop_reason"]
                usage = {**usage, **event["usage"]}
    inputs = [{**block, "input": json.loads(block["json"] or "{}")} if "input" in block else block for block in blocks]
    turn = [{name: value for name, value in block.items() if name != "json"} for block in inputs]
    of = {kind: [block for block in turn if block["type"] == kind] for kind in {block["type"] for block in turn}}
    found = [one["url"] for block in turn if block["type"] == "web_search_tool_result" for one in block["content"]]
    cited = [one["url"] for block in turn for one in block.get("citations", ())]
    compacted = [one for one in usage.get("iterations", []) if one["type"] == "compaction"]
    spent = {name: sum(one[name] for one in (usage, *compacted)) for name in TOKENS}
    opaque = set(of) - {"text", "tool_use"}
    said["text"] = "".join(block["text"] for block in of.get("text", []))
    said["reasoning"] = "\n\n".join(filter(None, (block["thinking"] for block in of.get("thinking", []))))
    said["calls"] = [(block["id"], block["name"], block["input"]) for block in of.get("tool_use", [])]
    said["sources"] = list(dict.fromkeys([*found, *cited]))
    said["tokens"] = (
        spent["input_tokens"] + spent["cache_read_input_tokens"] + spent["cache_creation_input_tokens"],
        spent["output_tokens"],
        spent["cache_read_input_tokens"],
    )
    said["complete"] = said["finish"] in ("end_turn", "stop_sequence", "tool_use")
    said["state"] = [[_without_empty(block) for block in turn if block.get("text") != ""]] if opaque else []
    return said


def _without_empty(block: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in block.items() if (name, value) != ("citations", [])}


@pytest.mark.parametrize("body", RECORDED.values(), ids=RECORDED)
def test_a_recorded_answer_is_read_as_documented(body):
    assert read([body]) == documented(body)


@pytest.mark.parametrize("body", RECORDED.values(), ids=RECORDED)
def test_it_is_the_same_when_cut_anywhere(body):
    whole = read([body])
    assert read(body[at : at + 1] for at in range(len(body))) == whole
    for at in cuts(body):
        assert read([body[:at], body[at:]]) == whole, at


@pytest.mark.parametrize("body", RECORDED.values(), ids=RECORDED)
def test_an_answer_that_breaks_off_is_not_whole_and_keeps_its_text(body):
    whole, end = read([body]), body.index(b"event: message_delta")
    for at in [at for at in cuts(body) if at < end][::5]:
        got = read([body[:at]])
        assert not got["complete"], at
        assert got["calls"] == got["state"] == [], at
        assert whole["text"].startswith(got["text"]), at


WORDS = {
    "anthropic_advisor_tool_stream__0": {"tokens": (2411, 145, 0), "finish": "end_turn", "model": "claude-sonnet-5"},
    "anthropic_compaction_usage_with_cache_streaming__0": {"text": "Hello! 👋", "tokens": (55377, 91, 55096)},
    "anthropic_model_thinking_part_redacted_stream__0": {"reasoning": "", "tokens": (92, 189, 0)},
    "chatlas_anthropic_tool_variations_parallel__0": {
        "calls": [
            ("toolu_012gbTrV1LahNLtHdAwDnKPV", "favorite_color", {"_person": "Joe"}),
            ("toolu_016MfNFkQMqGdzDjXqKSAo6G", "favorite_color", {"_person": "Hadley"}),
        ],
        "finish": "tool_use",
        "state": [],
    },
}


@pytest.mark.parametrize(("name", "expected"), WORDS.items(), ids=WORDS)
def test_what_stands_in_a_recording(name, expected):
    if name not in RECORDED:
        pytest.skip(WITHOUT)
    assert read([RECORDED[name]]) | expected == read([RECORDED[name]])
