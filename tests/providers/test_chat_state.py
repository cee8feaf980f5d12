"""What a service of OpenAI's dialect wants back unchanged is kept with the answer, and sent back with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from wire_server import WireServer, status

from nb_backend import Chat
from nb_backend.providers.chunk_reader import ChunkReader

CALL = {"index": 0, "id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
SIGNED = {"google": {"thought_signature": "sig"}}


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def detail(**fields: Any) -> dict[str, Any]:
    return chunk({"content": "", "reasoning_details": [{"type": "reasoning.text", "index": 0, **fields}]})


def body_of(*chunks: dict[str, Any]) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(one).encode() for one in chunks) + b"data: [DONE]\n\n"


def sent_back(chunks: list[dict[str, Any]], message: dict[str, Any]) -> dict[str, Any]:
    """Return an answer's message as the next request sends it, without what the message itself has."""
    reader = ChunkReader("http://server.example/v1")
    events = [*(reader.feed(body_of(*chunks)) or ()), *reader.end(whole=True)]
    states = [item for event in events if event.type == "state" for item in event.state]
    kinds = [event.type for event in events]
    assert not states or kinds.index("state") < kinds.index("finish")
    chat = Chat("m", url="http://127.0.0.1:9/v1")
    owner = chat.request("a").provider.state_owner()
    chat.messages = [
        {"role": "user", "content": "Hi"},
        {**message, "state": {"owner": owner, "items": states}},
    ]
    _, answer, _ = chat.request("And?").body()["messages"]
    return {name: value for name, value in answer.items() if value != message.get(name)}


SAYS = {"role": "assistant", "content": "Hello"}
CALLS = {"role": "assistant", "content": None, "tool_calls": [{**CALL, "index": None}]}
TEXT, END = chunk({"content": "Hello"}), chunk({}, "stop")
OPENROUTER = [detail(text="H", format="anthropic"), detail(text="m"), detail(signature="sig")]
WHOLE = {"type": "reasoning.text", "index": 0, "text": "Hm", "format": "anthropic", "signature": "sig"}
ENCRYPTED = [{"type": "reasoning.encrypted", "data": text, "index": 0} for text in "ab"]


@pytest.mark.parametrize(
    ("chunks", "message", "expected"),
    [
        ([*OPENROUTER, TEXT, END], SAYS, {"reasoning_details": [WHOLE]}),
        (
            [*(chunk({"reasoning_details": [one]}) for one in ENCRYPTED), TEXT, END],
            SAYS,
            {"reasoning_details": ENCRYPTED},
        ),
        (
            [detail(text="H"), detail(text="m", format="anthropic"), detail(text="", signature="sig"), TEXT, END],
            SAYS,
            {"reasoning_details": [WHOLE]},
        ),
        ([detail(text="Hm"), TEXT, END], SAYS, {}),  # its text alone is of no use
        (
            [detail(text="Hm"), chunk({"tool_calls": [CALL]}), END],
            CALLS,
            {"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "Hm"}]},
        ),
        ([chunk({"reasoning_content": "Hm"}), TEXT, END], SAYS, {}),
        (
            [chunk({"reasoning_content": "H"}), chunk({"reasoning_content": "m", "tool_calls": [CALL]}), END],
            CALLS,
            {"reasoning_content": "Hm"},
        ),
        ([chunk({"content": "Hello", "extra_content": SIGNED}), END], SAYS, {"extra_content": SIGNED}),
        (
            [chunk({"tool_calls": [{**CALL, "extra_content": SIGNED}]}), END],
            CALLS,
            {"tool_calls": [{**CALL, "index": None, "extra_content": SIGNED}]},
        ),
        ([*OPENROUTER, TEXT, END], {**SAYS, "content": "Edited"}, {}),
        ([*OPENROUTER, TEXT, END], {**SAYS, "tool_calls": [CALL]}, {}),
        ([TEXT, END], SAYS, {}),
    ],
)
def test_what_goes_back_with_an_answer(chunks, message, expected):
    assert sent_back(chunks, message) == expected


@pytest.mark.parametrize("state", [None, [], [5], ["x"], [{"length": 5, "call_ids": []}], [{"length": 5, "calls": 7}]])
def test_a_damaged_state_is_left_out(state):
    chat = Chat("m", url="http://127.0.0.1:9/v1")
    owner = chat.request("a").provider.state_owner()
    chat.messages = [{"role": "user", "content": "Hi"}, {**SAYS, "state": {"owner": owner, "items": state}}]
    assert chat.request("And?").body()["messages"][1] == SAYS


def test_details_of_an_answer_that_is_not_streamed(wire_server: WireServer):
    message = {**SAYS, "reasoning": "Hm", "reasoning_details": [WHOLE]}
    wire_server.answer(status("200 OK", {"choices": [{"message": message, "finish_reason": "stop"}]}))
    chat = Chat("m", url=f"{wire_server.url}/v1")
    assert chat("Hi", stream=False).text == "Hello"
    chat("And?", stream=False)
    assert wire_server.requests[1].json["messages"][1] == {**SAYS, "reasoning_details": [WHOLE]}
