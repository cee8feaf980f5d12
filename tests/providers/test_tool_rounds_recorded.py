"""Recorded rounds of real services: the request that we send after their calls is the one that was recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from clouds import CLOUDS, WITHOUT
from hypothesis import given, settings
from hypothesis import strategies as st
from tool_dialects import APIS, Call, body_of, told
from wire_server import WireServer, status

from nb_backend import Chat, background
from nb_backend.tools import Tool

FIRST = {
    "anthropic": [
        "chatlas_anthropic_tool_variations_async__0",
        "chatlas_anthropic_tool_variations_async__2",
        "chatlas_anthropic_tool_variations_parallel__0",
    ],
    "gemini": ["chatlas_tools_parallel__0"],
    "openai-chat": ["run_stream_sync_streams_real_model__0"],
    "openai-responses": [
        "chatlas_openai_tool_variations_async__0",
        "chatlas_openai_tool_variations_async__2",
        "openai_responses_phase_streamed_on_part_start__0",
        "openai_responses_stream__0",
        "reused_tool_call_ids_stream___0",
    ],
}
RECORDED = [
    pytest.param(api, name, id=name, marks=pytest.mark.skipif(not (CLOUDS / api).is_dir(), reason=WITHOUT))
    for api, names in FIRST.items()
    for name in names
]
OPAQUE = ("encrypted_content", "thoughtSignature", "signature", "data")


def rounds_from(api: str, name: str) -> tuple[list[bytes], list[dict[str, Any]]]:
    """Return the recorded bodies of a run, and the requests that followed them."""
    start, number = name.rsplit("_", 1)
    bodies, requests = [], []
    for at in range(int(number), int(number) + 3):
        path = CLOUDS / api / f"{start}_{at}"
        request = path.with_name(f"{path.name}.request.json")
        if not request.exists() or (bodies and not any(one[0] == "result" for one in read(api, request))):
            break
        if bodies:
            requests.append(json.loads(request.read_bytes()))
        bodies.append(path.with_name(f"{path.name}.sse").read_bytes())
    return bodies, requests


def read(api: str, path: Any) -> list[tuple[Any, ...]]:
    return told(api, json.loads(path.read_bytes()))


def opaque_in(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from opaque_in(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from opaque_in(item, key)
    elif key in OPAQUE and isinstance(value, str):
        yield value


def without_ids(rounds: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return what was told with the ids of calls numbered in their order: those who recorded have renamed some."""
    numbers: dict[str, int] = {}
    return [
        (one[0], numbers.setdefault(one[1], len(numbers)), *one[2:]) if one[0] in ("call", "result") else one
        for one in rounds
    ]


def plain(rounds: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the same with the quotes that a recording has in place of curly ones."""
    table = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")
    return [tuple(part.translate(table) if isinstance(part, str) else part for part in one) for one in rounds]


@pytest.mark.parametrize(("api", "name"), RECORDED)
async def test_the_next_request_is_the_recorded_one(wire_server, api, name):
    bodies, followed = rounds_from(api, name)
    assert followed
    results = [one[2] for one in told(api, followed[-1]) if one[0] == "result"]
    names = {one[2] for one in told(api, followed[-1]) if one[0] == "call"}
    question = next(one[1] for one in told(api, followed[0]) if one[0] == "user")
    schema = {"type": "object", "properties": {}}
    tools = [Tool(one, "", schema, lambda **given: results.pop(0)) for one in names]
    for body in bodies:
        wire_server.answer(status("200 OK", body, content_type="text/event-stream"))
    model = json.loads((CLOUDS / api / f"{name}.request.json").read_bytes()).get("model", "gemini-3.5-flash")
    chat = Chat(model, url=f"{wire_server.url}", api=api, tools=tools)
    answer = await chat.ask(question)
    assert answer.complete
    sent = [request.json for request in wire_server.requests if request.body]
    assert len(sent) == len(followed) + 1
    for ours, recorded in zip(sent[1:], followed, strict=True):
        assert plain(without_ids(told(api, ours))) == without_ids(told(api, recorded))
        state = [*opaque_in(ours)]
        assert len(state) == len([*opaque_in(recorded)])
        assert all(any(one.encode() in body for body in bodies) for one in state)


TEXTS = st.text(st.sampled_from("ab \n<>/*`é\U0001f600"), max_size=12)


@pytest.fixture(scope="module")
def shared_server() -> Iterator[WireServer]:
    server = WireServer()
    yield server
    server.stop()


@pytest.mark.parametrize("api", APIS)
def test_text_and_steps_are_the_same_however_the_bodies_are_cut(shared_server, api):
    """In the answer, in what is sent next, and in what is read back from the history."""
    server = shared_server
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

    def ask(texts: list[str], cuts: list[float]) -> tuple[Any, Any, Any, Any]:
        server.requests.clear()
        server._answers.clear()
        for number, text in enumerate(texts):
            last = number == len(texts) - 1
            calls = [] if last else [Call(f"c{number}_{at}", "weather", {"city": text}) for at in range(number + 1)]
            body = body_of(api, text, *calls, reasons=True)
            places = sorted({0, len(body), *(int(cut * len(body)) for cut in cuts)})
            pieces = [body[a:b] for a, b in pairwise(places)]
            chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
            server.answer(head, *chunks, b"0\r\n\r\n")
        tool = Tool("weather", "", {"type": "object"}, lambda city: f"Warm in {city}!")
        chat = Chat("gemini-3-flash", url=server.url, api=api, tools=[tool])
        answer = background.run(chat.ask("Hi"))
        loaded = Chat("gemini-3-flash", url=server.url, api=api)
        loaded.messages = chat.messages
        sent = [told(api, one.json) for one in server.requests if one.body]
        rounds = [(text, [(step.call, step.result) for step in steps]) for text, steps in answer.rounds]
        return rounds, answer.text, sent, told(api, loaded.request("?").body())

    @settings(max_examples=25, deadline=None)
    @given(st.lists(TEXTS, min_size=2, max_size=4), st.lists(st.floats(0, 1, exclude_max=True), max_size=4))
    def check(texts: list[str], cuts: list[float]) -> None:
        whole, cut = ask(texts, []), ask(texts, cuts)
        assert cut == whole
        rounds, _, sent, history = cut
        assert len(rounds) == len(texts)
        assert all(said.strip() == given.strip() for (said, _), given in zip(rounds, texts, strict=True))
        assert [one for one in history if one[0] in ("call", "result")] == [
            one for one in sent[-1] if one[0] in ("call", "result")
        ]

    check()
