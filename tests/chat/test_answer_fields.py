"""Tool calls, sources and token counts of an answer: read from events, stored, saved and copied."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from png import png
from serving import TOKEN

from nb_backend import Answer, Chat, RawResponse, to_data_uri
from nb_backend.chat import Source, ToolCall

CALL = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"token": "x", "city": "Rome"}'}}
DAMAGED = {"id": "b", "type": "function", "function": {"name": "weather", "arguments": "city=Rome"}}
PAGES = [{"url": "https://e.example/a", "title": "A", "text": "Text"}, {"url": "https://e.example/b"}]
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}
EVENTS = [
    {"type": "tool_calls", "tool_calls": [CALL, DAMAGED]},
    {"type": "sources", "sources": PAGES},
    {"type": "usage", "usage": USAGE},
]
TOOL_CALLS = [ToolCall("a", "weather", {"token": "x", "city": "Rome"}), ToolCall("b", "weather", {}, "city=Rome")]
SOURCES = [Source("https://e.example/a", "A", "Text"), Source("https://e.example/b")]


def check(answer: Answer) -> None:
    assert answer.tool_calls == TOOL_CALLS
    assert answer.sources == SOURCES
    assert (answer.input_tokens, answer.output_tokens, answer.cached_tokens) == (5, 2, 1)


async def test_they_are_stored_saved_and_copied(backend, tmp_path):
    chat = Chat(cache=tmp_path / "answers")
    backend.engine.enqueue("Here.", *EVENTS)
    answer = await chat.ask("Hi?")
    replayed = await Chat(cache=tmp_path / "answers").ask("Hi?")
    assert replayed.replayed
    chat.save(tmp_path / "chat.json")
    loaded = Chat.load(tmp_path / "chat.json")
    for one in (answer, replayed, copy.deepcopy(answer), pickle.loads(pickle.dumps(answer))):
        check(one)
        assert one.metadata()["sources"] == replayed.metadata()["sources"]
    for one in (chat, loaded, pickle.loads(pickle.dumps(chat))):
        check(Answer.of(one.messages[-1]))
        assert one.messages[-1] == {"role": "assistant", "content": "Here."}
    for name in ("chat.md", "chat.ipynb"):
        loaded.export(tmp_path / name)
        assert "Here." in (tmp_path / name).read_text()
        assert "1. [A](https://e.example/a) `e.example`" in (tmp_path / name).read_text()


@pytest.mark.parametrize("damaged", [None, 7, "x", {}, [7, None, {}, [{}]], {"url": 7}, {"function": {"name": 7}}])
def test_damaged_events_and_metadata_are_left_out(damaged):
    answer = Answer()
    for kind in ("tool_calls", "sources", "usage"):
        answer.add(RawResponse(type=kind, **{kind: damaged}))
    assert (answer.tool_calls, answer.sources, answer.tokens) == ([], [], None)


COUNTS = {
    "OpenAI": (USAGE, 5, 2, 1),
    "OpenAI's responses": (
        {"input_tokens": 5, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 1}, "total_tokens": 7},
        *(5, 2, 1),
    ),
    "Anthropic, which counts cached ones apart": (
        {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 1, "cache_creation_input_tokens": 3},
        *(9, 2, 1),
    ),
    "Anthropic, all of it cached": ({"input_tokens": 0, "output_tokens": 2, "cache_read_input_tokens": 7}, 7, 2, 7),
    "LiteLLM, which includes them": (
        {"prompt_tokens": 6, "completion_tokens": 2, "cache_read_input_tokens": 1, "cache_creation_input_tokens": 3},
        *(6, 2, 1),
    ),
    "Gemini": ({"promptTokenCount": 5, "candidatesTokenCount": 2, "cachedContentTokenCount": 1}, 5, 2, 1),
    "xAI with reasoning": (
        {
            "prompt_tokens": 5,
            "completion_tokens": 1,
            "total_tokens": 9,
            "completion_tokens_details": {"reasoning_tokens": 3},
        },
        5,
        4,
        None,
    ),
    "OpenAI with reasoning": (
        {
            "prompt_tokens": 5,
            "completion_tokens": 4,
            "total_tokens": 9,
            "completion_tokens_details": {"reasoning_tokens": 3},
        },
        5,
        4,
        None,
    ),
    "Gemini with thoughts": ({"promptTokenCount": 5, "candidatesTokenCount": 1, "thoughtsTokenCount": 1}, 5, 2, None),
    "Gemini in Python": (
        {"prompt_token_count": 5, "candidates_token_count": 2, "cached_content_token_count": 1},
        5,
        2,
        1,
    ),
    "DeepSeek": ({"prompt_tokens": 5, "completion_tokens": 2, "prompt_cache_hit_tokens": 1}, 5, 2, 1),
    "Moonshot": ({"prompt_tokens": 5, "completion_tokens": 2, "cached_tokens": 1}, 5, 2, 1),
    "Bedrock": ({"inputTokens": 5, "outputTokens": 2, "cacheReadInputTokens": 1}, 5, 2, 1),
    "Ollama": ({"prompt_eval_count": 5, "eval_count": 2}, 5, 2, None),
    "llama.cpp": ({"timings": {"prompt_n": 5, "predicted_n": 2, "cache_n": 1}}, 5, 2, 1),
    "Cohere": ({"billed_units": {"input_tokens": 5}, "tokens": {"input_tokens": 5, "output_tokens": 2}}, 5, 2, None),
    "g4f": ({"promptTokens": 5, "completionTokens": 2}, 5, 2, None),
    "two names, one at 0": ({"prompt_tokens": 0, "input_tokens": 5, "completion_tokens": 2}, 5, 2, None),
    "nothing": ({"prompt_tokens": 0, "completion_tokens": 0}, 0, 0, None),
    "floats": ({"prompt_tokens": 5.0, "completion_tokens": 2.0}, 5, 2, None),
    "not counts": (
        {"prompt_tokens": True, "completion_tokens": -2, "eval_count": 1.5, "cached_tokens": "1"},
        *[None] * 3,
    ),
    "empty": ({}, None, None, None),
}


@pytest.mark.parametrize(("usage", "input", "output", "cached"), COUNTS.values(), ids=COUNTS)
def test_token_counts_under_the_names_of_all_services(usage, input, output, cached):
    answer = Answer(usage=usage)
    assert (answer.input_tokens, answer.output_tokens, answer.cached_tokens) == (input, output, cached)
    assert answer.tokens == output


def test_usage_that_is_empty_or_0_does_not_replace_what_was_known():
    answer = Answer()
    for usage in (
        {"prompt_tokens": 5, "completion_tokens": 0},
        {"completion_tokens": 2},
        {},
        {"completion_tokens": None},
    ):
        answer.add(RawResponse(type="usage", usage=usage))
    answer.add(RawResponse(type="usage", usage={"prompt_tokens": 0, "completion_tokens": 0}))
    assert answer.usage == {"prompt_tokens": 5, "completion_tokens": 2}


REASONING = [
    {"token": "Hm."},
    {"token": {"text": "Hm."}},
    {"token": {"type": "reasoning", "content": "Hm."}},
    {"token": ["H", {"type": "text", "text": "m."}]},
    {"reasoning": "Hm."},
    {"reasoning": {"text": "Hm."}},
    {"reasoning": {"reasoning": {"text": ["Hm."]}}, "status": ""},
    {"content": "Hm."},
    {"text": "Hm."},
]


@pytest.mark.parametrize("fields", REASONING)
@pytest.mark.parametrize("framing", ["event: reasoning\ndata: %s\n\n", "data: %s\n\n"])
async def test_reasoning_of_g4f_in_any_form(backend, tmp_path, fields, framing):
    event = fields if "reasoning" in fields else {"type": "reasoning", **fields}
    step = (framing % json.dumps(event)).encode()
    backend.engine.enqueue(step, {"type": "reasoning", "token": None, "status": "done"}, "Yes.")
    answer = await Chat(cache=tmp_path).ask("Hi?")
    again = await Chat(cache=tmp_path).ask("Hi?")
    assert (answer.text, answer.reasoning) == (again.text, again.reasoning) == ("Yes.", "Hm.")


async def test_a_key_cut_over_reasoning_in_other_fields_is_masked(backend):
    pieces = [{"reasoning": {"text": f"It is {TOKEN[:9]}"}}, {"type": "reasoning", "reasoning": f"{TOKEN[9:]}."}]
    backend.engine.enqueue(*(b"data: %s\n\n" % json.dumps(one).encode() for one in pieces), "Yes.")
    answer = await Chat().ask("Hi?")
    assert answer.reasoning == "It is ***."


async def test_an_image_beside_the_text_is_stored_and_saved(backend, tmp_path):
    uri = to_data_uri(png(2, 2))
    backend.engine.enqueue("Here.", {"type": "content", "content": None, "urls": [uri], "alt": ""})
    chat = Chat(cache=tmp_path / "answers")
    answer = await chat.ask("Hi?")
    again = await Chat(cache=tmp_path / "answers").ask("Hi?")
    chat.save(tmp_path / "chat.json")
    loaded = Answer.of(Chat.load(tmp_path / "chat.json").messages[-1])
    assert [one.images for one in (answer, again, loaded)] == [[uri]] * 3
    assert answer.to_markdown() == again.to_markdown() == loaded.to_markdown()


def test_a_password_or_a_key_in_the_url_of_who_answered_is_not_recorded():
    answer = Answer()
    url = "https://user:hunter22@host.example/v1?api_key=abcdefgh12345678&x=1"
    answer.add(RawResponse(type="provider", provider={"name": "x", "url": url}))
    assert answer.metadata()["provider"]["url"] == "https://user:***@host.example/v1?api_key=***&x=1"
