"""Reasoning between tags at the start of an answer is reasoning; tags anywhere else are text."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import serving
from wire_server import CHUNKED, FINISH, UNTIL_CLOSE, WireServer, chunk, content, received, sse, status

from nb_backend import BackendApi, Chat, OpenAIApi, RawResponse
from nb_backend.errors import BackendError, ConnectionFailed
from nb_backend.events import reasoning_text
from nb_backend.local.scripted import ScriptedEngine
from nb_backend.providers.think_tags import ThinkTagSplitter, split_unopened

QUESTION = [{"role": "user", "content": "Hi?"}]


def separated(*pieces: str) -> tuple[str, str]:
    """Return the reasoning and the text of an answer that comes in these pieces."""
    tags, events = ThinkTagSplitter(), []
    for piece in pieces:
        events += tags.split([RawResponse(**content(piece))])
    events += tags.flush()
    return "".join(map(reasoning_text, events)), "".join(map(str, events))


REASONING = [
    ("<think>\nSix times seven.\n</think>\n\n42", "Six times seven.", "42"),
    ("\n\n <think>Six</think>42", "Six", "42"),
    ("<think>\n\n</think>\n\n42", "", "42"),
    ("<think></think>42\n", "", "42\n"),
    ("<think></think> <think>Six</think>42", "Six", "42"),
    ("<think>Six", "Six", ""),
    ("<think>Six times\n\nseven </thin", "Six times\n\nseven </thin", ""),
    ("<think>", "", ""),
    ("<think>a </b> c < d </think >x</think>42", "a </b> c < d </think >x", "42"),
    ("<think>a <think> b</think>42 </think>", "a <think> b", "42 </think>"),
    ("<think>Six</think><think>is a tag", "Six", "<think>is a tag"),
    ("<thinking>Six</think> 7</thinking>42", "Six</think> 7", "42"),
    ("<thought>Six</thought>42", "Six", "42"),
    ("[THINK]Six[/THINK]42", "Six", "42"),
    ("<seed:think>Six</seed:think>42", "Six", "42"),
    ("◁think▷Six◁/think▷42", "Six", "42"),
]
TEXTS = [
    "The tag is <think>: it opens <think>reasoning</think>.",
    "`<think>` opens it",
    "```xml\n<think>Six</think>\n```",
    "\\<think>Six</think>",
    '"<think>Six</think>"',
    "> <think>Six</think>",
    "<thinker>Six</thinker>",
    "<think >Six</think>",
    "</think>",
    "<",
    "<thi",
    " \n <th",
    "[TH",
    "[a](b)",
    "  indented",
    " \n\t",
    "",
]


@pytest.mark.parametrize(("answer", "reasoning", "text"), REASONING)
def test_tags_at_the_start_are_reasoning_wherever_they_are_cut(answer, reasoning, text):
    assert separated(answer) == (reasoning, text)
    assert separated(*answer) == (reasoning, text)
    for at in range(len(answer)):
        assert separated(answer[:at], answer[at:]) == (reasoning, text)


@pytest.mark.parametrize("answer", TEXTS)
def test_any_other_text_stays_as_it_is(answer):
    assert separated(answer) == separated(*answer) == ("", answer)


fragments = st.sampled_from(["<think>", "</think>", "<thi", "nk>", "</", "think>", " ", "\n", "a", "<", "[THINK]", "é"])


@given(st.lists(fragments, max_size=12).map("".join), st.data())
def test_any_split_gives_the_same_reasoning_and_text(answer, data):
    cuts = sorted(data.draw(st.sets(st.integers(0, len(answer)))) | {0, len(answer)})
    pieces = [answer[start:end] for start, end in pairwise(cuts)]
    reasoning, text = separated(*pieces)
    assert (reasoning, text) == separated(answer)
    if not answer.lstrip().startswith(("<think>", "[THINK]")):
        assert (reasoning, text) == ("", answer)


def test_other_events_pass_and_what_is_held_back_comes_before_the_end():
    tags = ThinkTagSplitter()
    provider, image = RawResponse(type="provider"), RawResponse(type="content", content=None, urls=["/a.png"])
    pending = RawResponse(type="pending", content="<thi")
    assert tags.split([RawResponse(**content("<thi")), provider, image]) == [provider, image, pending]
    end = RawResponse(**FINISH)
    assert tags.split([end]) == [RawResponse(type="pending", content=""), RawResponse(**content("<thi")), end]
    assert tags.done


def test_once_the_text_has_begun_events_are_passed_on_as_they_are():
    tags = ThinkTagSplitter()
    first, second = RawResponse(**content("Hi ")), RawResponse(**content("<think>"))
    events = tags.split([first, second])
    assert events[0] is first
    assert events[1] is second
    assert tags.done


def delta(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: %s\n\n" % json.dumps({"model": "m", "choices": [choice]}).encode()


THOUGHT = ["<thi", "nk>\nSix times", " seven.\n</thi", "nk>\n\n", "4", "2"]


def bodies(texts: list[str], dialect: str) -> bytes:
    return b"".join(map(delta, texts)) if dialect == "openai" else sse(*map(content, texts))


@pytest.mark.parametrize(("dialect", "api", "path"), [("openai", OpenAIApi, "/v1"), ("g4f", BackendApi, "")])
@pytest.mark.parametrize("key", [None, "sk-0123456789"])
async def test_in_every_dialect(wire_server: WireServer, dialect, api, path, key):
    wire_server.answer(status("200 OK", bodies(THOUGHT, dialect) + b"data: [DONE]\n\n"))
    api = type("Api", (api,), {"url": wire_server.url + path})
    events, error = await received(api.create_async_generator("m", QUESTION, api_key=key))
    assert error is None
    assert "".join(map(str, events)) == "42"
    assert "".join(map(reasoning_text, events)) == "Six times seven."


@pytest.mark.parametrize(
    ("texts", "partial"), [(["<thi"], "<thi"), (["\n <"], "\n <"), (["<think>a", "</th"], ""), (THOUGHT[:-1], "4")]
)
@pytest.mark.parametrize(("dialect", "api", "path"), [("openai", OpenAIApi, "/v1"), ("g4f", BackendApi, "")])
async def test_no_text_is_lost_if_the_connection_breaks(wire_server: WireServer, texts, partial, dialect, api, path):
    wire_server.answer(CHUNKED + chunk(bodies(texts, dialect)))
    api = type("Api", (api,), {"url": wire_server.url + path})
    events, error = await received(api.create_async_generator("m", QUESTION))
    assert isinstance(error, ConnectionFailed)
    assert error.partial == "".join(map(str, events)) == partial


@pytest.mark.parametrize(
    ("texts", "text", "reasoning"), [(["<thi"], "<thi", ""), (["<think>Six", " times", "</th"], "", "Six times")]
)
async def test_no_text_is_lost_if_the_answer_is_stopped(wire_server: WireServer, texts, text, reasoning):
    wire_server.answer(UNTIL_CLOSE + bodies(texts, "openai"), end="stall")
    chat = Chat("m", url=f"{wire_server.url}/v1")
    stream = chat.stream("Hi?")
    async with aclosing(stream):
        async for event in stream:
            if event.type == "pending" or reasoning_text(event) == " times":
                break
    assert (stream.answer.text, stream.answer.reasoning, stream.answer.stopped) == (text, reasoning, True)


async def test_a_closing_tag_alone_is_not_part_of_what_a_failure_keeps(wire_server: WireServer):
    wire_server.answer(CHUNKED + chunk(bodies(["Six\n</thi", "nk>\n\n", "4"], "g4f")))
    _, error = await received(
        type("Api", (BackendApi,), {"url": wire_server.url}).create_async_generator("m", QUESTION)
    )
    assert error.partial == "4"


async def test_a_message_at_the_end_is_still_an_error_after_text_that_was_held_back(wire_server: WireServer):
    wire_server.answer(status("200 OK", sse(content("<thi"), {"type": "message", "message": "It broke"})))
    api = type("Api", (BackendApi,), {"url": wire_server.url})
    _, error = await received(api.create_async_generator("m", QUESTION))
    assert str(error) == "It broke"
    assert error.partial == "<thi"


# -- the answer of a chat


async def test_reasoning_is_not_text_and_is_not_sent_back(wire_server: WireServer):
    for finish in ("stop", "stop"):
        wire_server.answer(status("200 OK", b"".join(map(delta, THOUGHT)) + delta("", finish) + b"data: [DONE]\n\n"))
    chat = Chat("m", url=f"{wire_server.url}/v1")
    answer = await chat.ask("How much?")
    assert (answer.text, answer.reasoning) == ("42", "Six times seven.")
    await chat.ask("And twice?")
    assert b"Six" not in wire_server.requests[1].body
    assert wire_server.requests[1].json["messages"][1] == {"role": "assistant", "content": "42"}


UNOPENED = [
    ("Six times seven.\n</think>\n\n42", "Six times seven.", "42"),
    ("Six times seven.</think>42", "Six times seven.", "42"),
    ("A `</think>` closes it.\n\n</think>\n42", "A `</think>` closes it.", "42"),
    ("</think>\n\n42", "", "42"),
    ("Six\n</think>", "Six", ""),
]
NOT_UNOPENED = [
    "It ends with </think> and then the text.",
    "It ends with `</think>`\n\nSo.",
    'It ends with "</think>".',
    "```\n</think>\n```\nSo.",
    "<think> opens it\n</think>\n closes it",
    "No tag.",
]


@pytest.mark.parametrize(("answer", "reasoning", "text"), UNOPENED)
def test_a_closing_tag_alone_ends_the_reasoning(answer, reasoning, text):
    assert split_unopened(answer, has_reasoning=False) == (reasoning, text)
    assert split_unopened(answer, has_reasoning=True) == (None if reasoning else ("", text))


@pytest.mark.parametrize("answer", NOT_UNOPENED)
def test_a_closing_tag_in_code_in_quotes_or_among_words_is_text(answer):
    assert split_unopened(answer, has_reasoning=False) is None


def test_an_answer_that_starts_inside_the_reasoning_is_separated_at_its_end():
    with serving(ScriptedEngine()) as backend:
        backend.engine.enqueue("Six times", " seven.\n</th", "ink>\n\n", "42")
        answer = asyncio.run(Chat(url=backend.url, api_key="the-token-of-the-tests").ask("How much?"))
    assert (answer.text, answer.reasoning) == ("42", "Six times seven.")


async def test_reasoning_is_not_part_of_what_a_failure_keeps(backend):
    backend.engine.enqueue("Six\n</think>\n\n4", {"type": "error", "error": "It broke", "message": "It broke"})
    stream = Chat().stream("How much?")
    with pytest.raises(BackendError) as failed:
        async for _ in stream:
            pass
    assert (failed.value.partial, stream.answer.reasoning) == ("4", "Six")


async def test_a_leaked_closing_tag_after_separate_reasoning_is_dropped(backend):
    backend.engine.enqueue({"type": "reasoning", "token": "Six"}, "</think>\n\n42")
    answer = await Chat().ask("How much?")
    assert (answer.text, answer.reasoning) == ("42", "Six")


async def test_a_stored_answer_with_tags_is_separated_when_it_is_replayed(backend, tmp_path):
    backend.engine.enqueue("PLACE\n", "42")
    await Chat(cache=tmp_path).ask("How much?")
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text().replace("PLACE\\n", "<think>\\nSix\\n</think>\\n"))
    answer = await Chat(cache=tmp_path).ask("How much?")
    assert answer.replayed
    assert (answer.text, answer.reasoning) == ("42", "Six")


async def test_a_replay_of_a_separated_answer_is_not_separated_again(backend, tmp_path):
    backend.engine.enqueue("<think>Six</think>", "<think> is a tag.")
    first = await Chat(cache=tmp_path).ask("How much?")
    again = await Chat(cache=tmp_path).ask("How much?")
    assert again.replayed
    assert (again.text, again.reasoning) == (first.text, first.reasoning) == ("<think> is a tag.", "Six")
