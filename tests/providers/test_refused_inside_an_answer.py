"""A refusal as the first event of a stream with status 200 is treated like a refused request."""

from __future__ import annotations

import json

import pytest
from wire_server import CHUNKED, LAST_CHUNK, WireServer, chunk, content, received, sse, status, stream

from nb_backend import Chat, OpenAIApi, RateLimitError, ServerError, map
from nb_backend.transport.pool import Pool

QUESTION = [{"role": "user", "content": "Hi?"}]
PROVIDER = {"type": "provider", "provider": {"name": "P"}}
BEFORE = [
    PROVIDER,
    *({"type": kind, kind: {}} for kind in ("parameters", "log", "request", "headers", "conversation", "preview")),
]


def chunks(*objects: object, head: bytes = CHUNKED) -> bytes:
    """Build an answer of OpenAI's dialect; a text is sent as it is."""
    lines = [one if isinstance(one, bytes) else b"data: %s\n\n" % json.dumps(one).encode() for one in objects]
    return head + chunk(b"".join(lines)) + LAST_CHUNK


def delta(finish: str | None = None, **fields: object) -> dict[str, object]:
    return {"model": "m", "choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


FINE = chunks(delta(content="fine"), delta("stop"))
REFUSALS = [
    *({"error": {"message": "Provider returned error", "code": code}} for code in (408, 429, 500, 502, 503, 504, 529)),
    *({"error": {"message": "Provider returned error", "code": str(code)}} for code in (429, 502, 503, 529)),
    {"error": {"message": "no", "status": 503}},
    {"error": {"type": "overloaded_error", "message": "Overloaded"}},
    {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    {"error": {"message": "Slow down", "code": "rate_limit_exceeded"}},
    {"error": {"message": "Slow down", "type": "rate_limit_error", "code": None}},
    {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "x"}},
    {"error": {"status": "UNAVAILABLE", "message": "The model is overloaded. Please try again later."}},
    {"error": {"message": "The server had an error", "type": "server_error", "code": None}},
    {"error": "Too many requests"},
    {"error": {"message": "no"}, "status_code": 503},
    {"error": "slow_down", "message": "no", "code": 429},
    {"message": "Too Many Requests", "status": 429},
    [{"error": {"code": 503, "status": "UNAVAILABLE", "message": "The model is overloaded."}}],
    {"errors": [{"code": 429, "message": "slow down"}]},
    {"detail": "Rate limit exceeded"},
    {"base_resp": {"status_code": 1002, "status_msg": "rate limit"}, "choices": None},
    {"error": {"message": '{"error": {"code": 503, "message": "inner"}}'}},
    {"error": "503 Service Unavailable"},
    {"error": "429 - slow down"},
    {"error": {"message": "litellm.ServiceUnavailableError: x", "type": None, "code": "503"}},
    {"object": "error", "message": "busy", "type": "ServiceUnavailableError", "code": 503},
    {"id": "1", "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error", "error": {"code": 502}}]},
    {"error": {"code": 429, "message": "x"}, "choices": [{"delta": {"content": ""}, "finish_reason": "error"}]},
    b'event: error\ndata: {"error": {"code": 503, "message": "busy"}}\n\n',
    b'event: error\ndata: {"message": "busy", "code": 429}\n\n',
    b": PROCESSING\n\n: PROCESSING\n\ndata: " + b'{"error": {"code": 502, "message": "x"}}\n\n',
    b'{"error": {"code": 503, "message": "no stream"}}',
]


@pytest.fixture
def openai(wire_server: WireServer, delays: list[float]) -> type[OpenAIApi]:
    return type("Api", (OpenAIApi,), {"url": f"{wire_server.url}/v1", "idle_timeout": 5})


async def ask(api):
    events, error = await received(api.create_async_generator("m", QUESTION))
    return "".join(map_str(events)), [event.type for event in events], error


def map_str(events):
    return [str(event) for event in events]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
async def test_it_is_retried_and_not_shown(openai, wire_server, delays, refusal):
    wire_server.answer(chunks(refusal))
    wire_server.answer(FINE)
    text, kinds, error = await ask(openai)
    assert (text, error) == ("fine", None)
    assert "error" not in kinds
    assert kinds.count("finish") == 1
    assert len(wire_server.requests) == 2
    assert len(delays) == 1


@pytest.mark.parametrize("message", ["500 characters is the limit", "429 messages are too many"])
async def test_a_number_that_counts_something_is_not_a_status(openai, wire_server, message):
    wire_server.answer(chunks({"error": message}))
    assert message in str((await ask(openai))[2])
    assert len(wire_server.requests) == 1


@pytest.mark.parametrize(
    ("before", "error"),
    [
        (BEFORE, {"error": "RateLimitError", "message": "m"}),
        (BEFORE, {"error": "ResponseStatusError", "message": "ResponseStatusError: Response 429: slow"}),
        ([PROVIDER, content("")], {"error": "ServiceUnavailableError", "message": "m"}),
        ([], {"error": {"code": 503, "message": "m"}}),
    ],
)
async def test_the_events_of_g4f_before_an_answer_are_none_of_it(api, wire_server, before, error):
    wire_server.answer(stream(*before, {"type": "error", **error}, {"type": "log", "log": "after"}))
    wire_server.answer(stream(PROVIDER, content("fine")))
    text, kinds, failure = await ask(api)
    assert (text, failure) == ("fine", None)
    assert "error" not in kinds
    assert len(wire_server.requests) == 2


@pytest.mark.parametrize("is_openai", [False, True])
@pytest.mark.parametrize(
    ("begun", "openai_delta"),
    [
        (content("Half"), {"content": "Half"}),
        ({"type": "reasoning", "token": "Hm"}, {"reasoning_content": "Hm"}),
        (
            {"type": "content", "content": "", "urls": ["http://a.example/1.png"]},
            {"images": [{"type": "image_url", "image_url": {"url": "http://a.example/1.png"}}]},
        ),
        (
            {"type": "tool_calls", "tool_calls": [{"id": "1"}]},
            {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]},
        ),
    ],
    ids=["text", "reasoning", "image", "tool call"],
)
async def test_after_a_part_of_an_answer_nothing_is_retried(api, openai, wire_server, is_openai, begun, openai_delta):
    refusal = {"type": "error", "error": {"code": 503, "message": "gone"}}
    wire_server.answer(chunks(delta(**openai_delta), refusal) if is_openai else stream(begun, refusal))
    _, kinds, error = await ask(openai if is_openai else api)
    assert isinstance(error, ServerError)
    assert "gone" in str(error)
    assert "error" in kinds
    assert len(wire_server.requests) == 1


async def test_if_a_part_of_an_answer_follows_nothing_is_retried_and_the_error_is_shown(api, wire_server):
    refusal = {"type": "error", "error": {"code": 503, "message": "gone"}}
    wire_server.answer(CHUNKED + chunk(sse(refusal)), chunk(sse(content("Half"))) + LAST_CHUNK)
    _, kinds, error = await ask(api)
    assert kinds == ["error", "content"]
    assert "gone" in str(error)
    assert error.partial == "Half"
    assert len(wire_server.requests) == 1


async def test_the_last_refusal_is_shown_and_raised(openai, wire_server, delays):
    wire_server.answer(chunks({"error": {"message": "busy", "code": 429}}))
    _, kinds, error = await ask(openai)
    assert kinds == ["error"]
    assert isinstance(error, RateLimitError)
    assert str(error) == "busy: ask again later"
    assert (error.status, len(wire_server.requests), len(delays)) == (429, 3, 2)


@pytest.mark.parametrize(
    "refusal", [{"message": "no", "code": 400}, {"message": "broken"}, {"message": "no", "code": 404}]
)
async def test_another_error_is_not_retried(openai, wire_server, refusal):
    wire_server.answer(chunks({"error": refusal}))
    _, kinds, error = await ask(openai)
    assert kinds == ["error"]
    assert isinstance(error, ServerError)
    assert len(wire_server.requests) == 1


@pytest.mark.parametrize(
    ("head", "fields", "waits"),
    [
        (b"Retry-After: 3\r\n", {}, [3]),
        (b"retry-after-ms: 250\r\n", {"retry_after": 9}, [0.25]),
        (b"", {"retry_after": 7}, [7]),
        (b"", {"retry_after_ms": 40}, [0.04]),
        (b"", {"metadata": {"headers": {"Retry-After": "5"}}}, [5]),
        (b"", {"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}]}, [34]),
        (b"", {"message": "Please try again in 1.5s."}, [1.5]),
        (b"Retry-After: 600\r\n", {}, []),
        (b"", {"message": "Please try again in 24h0m0s."}, []),
    ],
)
async def test_it_waits_as_long_as_the_server_asks(openai, wire_server, delays, head, fields, waits):
    wire_server.answer(
        chunks({"error": {"message": "slow", "code": 429, **fields}}, head=CHUNKED.replace(b"\r\n", b"\r\n" + head, 1))
    )
    wire_server.answer(FINE)
    text, _, error = await ask(openai)
    assert delays == waits
    assert (text, error is None) == (("fine", True) if waits else ("", False))


async def test_a_wait_beside_the_error_is_obeyed(openai, wire_server, delays):
    wire_server.answer(chunks({"error": "rate_limited", "message": "slow", "retry_after": 2.5}))
    wire_server.answer(FINE)
    assert (await ask(openai))[0] == "fine"
    assert delays == [2.5]


@pytest.mark.parametrize("code", [429, 503, 401, 402, 404])
async def test_the_next_server_is_asked_at_once(wire_server, delays, code):
    other = WireServer()
    try:
        wire_server.answer(chunks({"error": {"message": "no", "code": code}}))
        other.answer(FINE)
        answer = await Chat("m", url=[f"{wire_server.url}/v1", f"{other.url}/v1"]).ask("Hi?")
        assert answer.text == "fine"
        assert (len(wire_server.requests), len(other.requests), delays) == (1, 1, [])
    finally:
        other.stop()


async def test_a_chat_announces_the_wait_and_keeps_one_answer(wire_server, delays):
    wire_server.answer(chunks({"error": {"message": "busy", "code": 503}}))
    wire_server.answer(FINE)
    chat = Chat("m", url=f"{wire_server.url}/v1")
    events = [event async for event in chat.stream("Hi?")]
    (label,) = [event.progress["label"] for event in events if event.type == "progress"]
    assert label.startswith("busy; asking again in ")
    assert [message["content"] for message in chat.messages] == ["Hi?", "fine"]


# -- an account without credit

EMPTY = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}


@pytest.mark.parametrize(
    "refusal",
    [
        *(status(line, EMPTY) for line in ("429 Slow", "403 No", "400 Bad", "503 Busy", "402 Pay")),
        chunks(EMPTY),
        chunks({"error": {**EMPTY["error"], "status": 429}}),
        chunks({"error": {"message": "Insufficient credits", "code": 402}}),
        status("429 Slow", EMPTY, retry_after="1"),
    ],
)
async def test_an_account_without_credit_is_asked_once(openai, wire_server, delays, refusal):
    wire_server.answer(refusal)
    _, _, error = await ask(openai)
    assert len(wire_server.requests) == 1
    assert delays == []
    assert error.no_credit
    assert str(error).endswith("check your plan and balance with the provider")


@pytest.mark.parametrize("refusal", [status("429 Slow", EMPTY), chunks(EMPTY), status("402 Pay")])
def test_map_sends_no_more_to_an_account_without_credit(wire_server, refusal):
    wire_server.answer(refusal)
    url = f"{wire_server.url}/v1"
    answers = map([f"Question {number}" for number in range(100)], concurrency=4, model="m", url=url)
    assert all(isinstance(answer, ServerError) and answer.no_credit for answer in answers)
    assert 3 <= len(wire_server.requests) <= 8
    assert "Nothing was sent" in str(answers[-1])


def test_map_goes_on_if_single_prompts_cost_too_much(wire_server):
    for number in range(12):
        wire_server.answer(status("402 Pay") if number % 3 else FINE)
    wire_server.answer(FINE)
    url = f"{wire_server.url}/v1"
    answers = map([f"Question {number}" for number in range(12)], concurrency=1, model="m", url=url)
    assert len(wire_server.requests) == 12
    assert [str(answer) for answer in answers[::3]] == ["fine"] * 4


async def test_refusals_inside_answers_make_all_calls_of_a_pool_wait(wire_server):
    wire_server.answer(chunks({"error": {"message": "busy", "code": 429, "retry_after_ms": 1}}))
    wire_server.answer(FINE)
    api = type("Api", (OpenAIApi,), {"url": f"{wire_server.url}/v1"})
    async with Pool() as pool:
        assert (await ask(api))[0] == "fine"
        assert pool._paused_until > 0
