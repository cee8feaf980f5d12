"""Recorded chat completions of real services are read as their documentation says, wherever they are cut."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import pytest
from clouds import WITHOUT, cuts, read_with, recordings

from nb_backend.providers.chunk_reader import ChunkReader

RECORDED = recordings("openai-chat")
pytestmark = pytest.mark.skipif(not RECORDED, reason=WITHOUT)


def read(pieces: Iterable[bytes]) -> dict[str, Any]:
    """Return what the reader makes of a body."""
    answer, _, said = read_with(ChunkReader("http://server.example/v1"), pieces)
    return {**said, "sources": [source.url for source in answer.sources], "images": [*map(str, answer.images)]}


def documented(body: bytes) -> dict[str, Any]:
    """Return what the services' documentation says of a body, which is read whole and without the reader's code."""
    said: dict[str, Any] = {"text": "", "reasoning": "", "sources": [], "images": [], "failed": False, "model": ""}
    calls: dict[int, list[str]] = {}
    usage: dict[str, Any] = {}
    finish, ended = None, False
    for line in re.split(rb"\r\n|\n|\r", body):
        data = line.removeprefix(b"data:").strip()
        if not line.startswith(b"data:") or data == b"[DONE]":
            ended = ended or data == b"[DONE]"
            continue
        chunk = json.loads(data)
        said["failed"] = said["failed"] or "error" in chunk
        said["model"] = chunk.get("model", said["model"])
        usage = chunk.get("usage") or chunk.get("x_groq", {}).get("usage") or usage
        for choice in chunk.get("choices", []):
            delta, finish = choice["delta"], choice.get("finish_reason") or finish
            content = delta.get("content") or ""
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
            said["text"] += "".join(part["text"] for part in parts if part["type"] == "text")
            thinking = [part["thinking"] for part in parts if part["type"] == "thinking"]
            said["reasoning"] += "".join(piece["text"] for one in thinking for piece in one)
            said["reasoning"] += delta.get("reasoning_content") or delta.get("reasoning") or ""
            for piece in delta.get("tool_calls") or []:
                call = calls.setdefault(piece["index"], [piece.get("id", ""), piece["function"].get("name", ""), ""])
                call[2] += piece["function"].get("arguments", "")
            pages = [one["url_citation"]["url"] for one in delta.get("annotations", [])]
            for tool in delta.get("executed_tools", []):
                pages += [one["url"] for one in tool.get("search_results", {}).get("results", [])]
            said["sources"] += [page for page in dict.fromkeys(pages) if page not in said["sources"]]
            said["images"] += [image["image_url"]["url"] for image in delta.get("images", [])]
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    said["tokens"] = (usage.get("prompt_tokens"), usage.get("completion_tokens"), cached)
    said["complete"] = not said["failed"] and (finish in ("stop", "tool_calls") if finish else ended)
    said["calls"] = [(id_, name, json.loads(arguments)) for id_, name, arguments in calls.values()]
    return said


@pytest.mark.parametrize("body", RECORDED.values(), ids=RECORDED)
def test_a_recorded_answer_is_read_as_documented(body):
    assert read([body]) == documented(body)


@pytest.mark.parametrize("body", RECORDED.values(), ids=RECORDED)
def test_it_is_the_same_when_cut_anywhere(body):
    whole = read([body])
    assert read(body[at : at + 1] for at in range(len(body))) == whole
    for at in cuts(body):
        assert read([body[:at], body[at:]]) == whole, at


WORDS = {
    "groq_model_web_search_tool_stream__0": ("sources", "https://www.weatherapi.com/"),
    "openrouter_web_search_annotations_stream__0": ("sources", "https://github.com/pydantic/pydantic-ai"),
    "mistral_model_thinking_part_iter__0": ("reasoning", "Okay, the user is asking how to cross the street."),
    "openrouter_stream_error__0": ("reasoning", "We need to respond to a greeting. The user"),
    "tool_use_failed_error_streaming_with_text__0": ("text", "maybe"),
    "deepseek_model_thinking_stream__0": ("text", "Hello there! 😊 How can I help you today?"),
}


@pytest.mark.parametrize(("name", "expected"), WORDS.items(), ids=WORDS)
def test_words_that_stand_in_a_recording(name, expected):
    if name not in RECORDED:
        pytest.skip(WITHOUT)
    assert expected[1] in read([RECORDED[name]])[expected[0]]
