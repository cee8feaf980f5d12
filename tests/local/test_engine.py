"""The engines: llama.cpp with the real model, and the scripted one."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from local_support import answer, question, real_weights, text
from scripted_calls import tool_call
from wait import PATIENCE, until

from nb_backend.local import llama
from nb_backend.local.engine import EngineError
from nb_backend.local.lazy_engine import LazyEngine
from nb_backend.local.llama import LlamaEngine, PromptTooLongError, TextOnlyError
from nb_backend.local.scripted import ScriptedEngine

ENDLESS = {"grammar": 'root ::= "ab " root', "max_tokens": -1, "ignore": "me"}
IMAGE = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture(scope="module")
def engine() -> Iterator[LlamaEngine]:
    engine = LlamaEngine(real_weights(), name="SmolLM2-135M-Instruct")
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def narrow() -> Iterator[LlamaEngine]:
    """Yield an engine that answers one request at a time."""
    engine = LlamaEngine(real_weights(), parallel=1)
    yield engine
    engine.close()


# --- the real model


async def test_an_answer(engine):
    events = await answer(engine, question(max_tokens=5))
    types = [event["type"] for event in events]
    assert types[0] == "provider"
    assert types[-2:] == ["finish", "usage"]
    assert set(types[1:-2]) == {"content"}
    name = "SmolLM2-135M-Instruct"
    described = {"name": name, "url": None, "label": f"{name}, on this machine", "model": name}
    assert events[0] == {"type": "provider", "provider": described}
    assert events[-2] == {"type": "finish", "finish": {"reason": "length"}}
    usage = events[-1]["usage"]
    assert usage["completion_tokens"] == 5
    assert usage["total_tokens"] == usage["prompt_tokens"] + 5
    assert events[-1]["model"] == events[-1]["provider"] == name


async def test_parameters_reach_the_model_and_others_do_not_hurt(engine):
    others = {"provider": "Other", "conversation": None, "web_search": True, "temperature": None, "stream": False}
    assert await text(engine, question(grammar='root ::= "exactly this"', **others)) == "exactly this"
    assert await text(engine, question(grammar='root ::= "one stop two"', stop=[" stop"])) == "one"
    json_schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    response_format = {"type": "json_schema", "json_schema": {"schema": json_schema}}
    assert (await text(engine, question(response_format=response_format, max_tokens=40))).lstrip().startswith("{")
    calm = [await text(engine, question(temperature=0, max_tokens=12)) for _ in range(2)]
    assert calm[0] == calm[1]


async def test_an_answer_is_limited_if_the_request_sets_no_limit(engine, monkeypatch):
    monkeypatch.setattr(llama, "MAX_TOKENS", 7)
    events = await answer(engine, question(grammar=ENDLESS["grammar"]))
    assert events[-1]["usage"]["completion_tokens"] == 7


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        ({"max_completion_tokens": 4}, 4),
        ({"max_tokens": 4, "max_completion_tokens": 6}, 4),
        ({"max_tokens": 6, "max_completion_tokens": 4}, 4),
        ({"max_tokens": None, "max_completion_tokens": 4}, 4),
        ({"max_tokens": 4, "max_completion_tokens": None}, 4),
    ],
)
async def test_the_smaller_of_both_limits_holds(engine, limits, most):
    events = await answer(engine, question(grammar=ENDLESS["grammar"], **limits))
    assert events[-1]["usage"]["completion_tokens"] == most
    assert events[-2]["finish"]["reason"] == "length"


async def test_more_conversations_than_slots(engine):
    words = [f"word{n}" for n in range(llama.PARALLEL * 3)]
    answers = await asyncio.gather(*(text(engine, question(grammar=f'root ::= "{word}"')) for word in words))
    assert answers == words


@pytest.mark.parametrize(
    "body",
    [
        question(media=[[IMAGE, "plot.png"]]),
        question([{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": IMAGE}}]),
        question([{"type": "input_audio"}]),
        question([{}]),
    ],
    ids=["media", "part", "audio", "unknown"],
)
@pytest.mark.parametrize("fetched", [True, False])
async def test_attachments_are_refused(engine, monkeypatch, tmp_path, body, fetched):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(TextOnlyError, match=r"SmolLM2-135M-Instruct reads text only.*NB_BACKEND_URL"):
        await answer(engine if fetched else LazyEngine(), body)
    assert not list(tmp_path.iterdir())  # nothing was fetched


async def test_text_in_parts_is_read(engine):
    assert await text(engine, question([{"type": "text", "text": "Hi"}], media=[], grammar='root ::= "ok"')) == "ok"


async def test_a_prompt_longer_than_the_context(engine):
    with pytest.raises(PromptTooLongError, match=r"is \d{5} tokens long and SmolLM2-135M-Instruct reads at most 8192"):
        await answer(engine, question("word " * 10_000))
    with pytest.raises(
        PromptTooLongError, match=r"is more than 8192 tokens long"
    ):  # it is refused before it is tokenized
        await answer(engine, question("word " * 10_000_000))
    assert await text(engine, question(grammar='root ::= "ok"')) == "ok"


@pytest.mark.parametrize(
    "body",
    [question(temperature="hot"), question(grammar="root ::= (("), {"messages": [{"role": "user"}]}],
    ids=["parameter", "grammar", "message"],
)
async def test_a_refused_request_is_an_engine_error(engine, body):
    with pytest.raises(EngineError, match="refuses the request") as caught:
        await answer(engine, body)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_a_model_is_refused(tmp_path):
    beginning = real_weights().read_bytes()[:5000]
    for name, content in {"text.gguf": b"no model", "empty.gguf": b"", "cut.gguf": beginning}.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(EngineError, match=f"cannot load .*{name}"):
            LlamaEngine(path)


# --- clients that leave


async def test_leaving_stops_the_generation(narrow):
    async with asyncio.timeout(PATIENCE):
        for _ in range(3):
            async with aclosing(narrow.stream(question(**ENDLESS))) as events:
                async for event in events:
                    if event["type"] == "content":
                        break
        assert await text(narrow, question(grammar='root ::= "next"')) == "next"


async def test_leaving_stops_the_reading_of_a_prompt(narrow):
    long = " ".join(f"{n}:{n * 7919 % 1000}" for n in range(850))  # reading it takes half a minute or more
    async with asyncio.timeout(PATIENCE / 2):
        async with aclosing(narrow.stream(question(long))) as events:
            assert (await anext(events))["type"] == "provider"
            await asyncio.to_thread(_busy, narrow)
        assert await text(narrow, question(grammar='root ::= "next"')) == "next"


def _busy(engine: LlamaEngine) -> None:
    """Wait until a thread of the engine is working."""
    while engine._threads._work_queue.qsize():
        pass


async def test_a_waiting_request_leaves_the_queue_at_once(narrow, monkeypatch):
    asked = []
    real = narrow._server

    class Spy:
        def handle_chat_completions(self, body: dict[str, Any], callback: Callable[[dict[str, Any]], bool]) -> None:
            asked.append(body["messages"][0]["content"])
            real.handle_chat_completions(body, callback)

    monkeypatch.setattr(narrow, "_server", Spy())
    async with asyncio.timeout(PATIENCE), aclosing(narrow.stream(question("first", **ENDLESS))) as first:
        while (await anext(first))["type"] != "content":
            pass
        queued = narrow.stream(question("left"))
        await anext(queued)
        await queued.aclose()
    assert await text(narrow, question("last", grammar='root ::= "next"')) == "next"
    assert asked == ["first", "last"]


def test_a_closed_event_loop_ends_the_generation(narrow):
    async def begin() -> None:
        events = narrow.stream(question(**ENDLESS))
        while (await anext(events))["type"] != "content":
            pass
        abandoned.append(events)

    abandoned: list[Any] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    loop.close()
    assert asyncio.run(text(narrow, question(grammar='root ::= "next"'))) == "next"


# --- the listener that llama.cpp opens by itself


def listening() -> set[int]:
    """Return the TCP ports that this process listens on."""
    inodes = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            inodes.add(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:
            continue
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {int(row[1].rsplit(":")[1], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes}


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_llama_cpp_listens_on_no_port(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = listening()
    engine = LlamaEngine(real_weights())
    try:
        assert listening() == before
        assert list(tmp_path.iterdir()) == []  # and no socket file is left that a program could open
        assert asyncio.run(text(engine, question(grammar='root ::= "ok"'))) == "ok"
    finally:
        engine.close()


def test_where_llama_cpp_must_listen_it_answers_nobody(monkeypatch):
    monkeypatch.setattr(llama, "SOCKET_PATH_MAX", 0)
    before = listening() if sys.platform == "linux" else None
    engine = LlamaEngine(real_weights())
    try:
        url = engine._server.listening_address
        assert url.startswith("http://127.0.0.1:")
        if before is not None:
            assert listening() - before == {int(url.rsplit(":")[-1])}  # so the test above would see a port
        assert status(url, "/health") == 200
        chat = b'{"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}'
        for path in ("/v1/chat/completions", "/chat/completions", "/completion", "/tokenize", "/v1/messages", "/props"):
            assert status(url, path, chat) == 401
        for path in ("/", "/index.html", "/props", "/slots", "/metrics", "/models", "/v1/models", "/api/tags"):
            assert status(url, path) in (401, 404)
    finally:
        engine.close()


def status(url: str, path: str, data: bytes | None = None) -> int:
    try:
        with urllib.request.urlopen(url + path, data, timeout=PATIENCE) as response:
            return response.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


# --- answers that SmolLM2 itself never gives


async def test_a_models_own_sampling_is_for_requests_that_set_none(monkeypatch):
    asked: list[dict[str, Any]] = []

    class Server:
        def handle_chat_completions(self, body: dict[str, Any], callback: Callable[[dict[str, Any]], bool]) -> None:
            asked.append(body)

    monkeypatch.setattr(llama, "_load", lambda path, conversations: Server())
    engine = LlamaEngine(Path("own.gguf"), sampling={"temperature": 0.2, "top_p": 0.9})
    await answer(engine, question())
    await answer(engine, question(temperature=0.7, top_p=None))
    assert [(body["temperature"], body["top_p"]) for body in asked] == [(0.2, 0.9), (0.7, 0.9)]
    engine.close()


async def test_reasoning_and_tool_calls_are_events_of_their_own(monkeypatch):
    call = [{"index": 0, "function": {"name": "weather", "arguments": "{"}}]
    deltas: list[dict[str, Any]] = [{"content": None}, {"reasoning_content": "Hm"}, {"content": "Yes"}]
    deltas += [{"tool_calls": call}, {"content": "."}]

    class Server:
        def handle_chat_completions(self, body: dict[str, Any], callback: Callable[[dict[str, Any]], bool]) -> None:
            for delta in deltas:
                callback({"choices": [{"delta": delta, "finish_reason": None}]})
            callback({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})

    monkeypatch.setattr(llama, "_load", lambda path, conversations: Server())
    engine = LlamaEngine(Path("deep thought.gguf"))
    assert (await answer(engine, question()))[1:] == [
        {"type": "reasoning", "token": "Hm"},
        {"type": "reasoning", "token": None, "status": ""},
        {"type": "content", "content": "Yes"},
        {"type": "tool_calls", "tool_calls": call},
        {"type": "content", "content": "."},
        {"type": "finish", "finish": {"reason": "tool_calls"}},
    ]
    assert engine.name == "deep thought"
    engine.close()


# --- the scripted engine


async def test_a_scripted_engine_plays_the_queue_and_then_its_default():
    engine = ScriptedEngine("default", name="other")
    engine.enqueue("a", "b")
    engine.enqueue()
    assert [await text(engine, question()) for _ in range(4)] == ["ab", "", "default", "default"]
    assert engine.stopped == 0


async def test_an_answer_that_is_closed_counts_as_stopped():
    engine = ScriptedEngine("a", ...)
    async with aclosing(engine.stream(question())) as events:
        await anext(events)
    assert engine.stopped == 1
    waiting = asyncio.create_task(answer(engine, question()))
    await until(lambda: len(engine.history) == 2)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert engine.stopped == 2


async def test_scripted_calls_end_the_answer_with_their_reason():
    engine = ScriptedEngine()
    engine.enqueue("I look. ", tool_call("look", names=["df"]), tool_call("cells"))
    events = await answer(engine, question())
    calls = [call["function"] for event in events if event["type"] == "tool_calls" for call in event["tool_calls"]]
    assert calls == [{"name": "look", "arguments": '{"names": ["df"]}'}, {"name": "cells", "arguments": "{}"}]
    assert [event["finish"]["reason"] for event in events if event["type"] == "finish"] == ["tool_calls"]
