"""BackendApi on real sockets: requests, events, failures and retries."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest
from wait import until
from wire_server import CHUNKED, FINISH, UNTIL_CLOSE, chunk, content, received, sse, status, stream

from nb_backend import BackendApi, RawResponse, settings
from nb_backend.errors import AuthError, BackendError, ConnectionFailed, ProtocolError, ServerError, TimedOut

QUESTION = [{"role": "user", "content": "Hi?"}]
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 8
KEY = "sk-0123456789"


async def ask(api: type[BackendApi], **options) -> tuple[list[str], BackendError | None]:
    """Return the types of the events, with the text in place of ``content``, and the failure."""
    events, error = await received(api.create_async_generator("m", QUESTION, **options))
    return [str(event) or event.type for event in events], error


# -- what is sent


async def test_the_body_is_exactly_what_was_asked(api, wire_server):
    wire_server.answer(stream(content("Hi")))
    media = [(PNG, "a.png"), (PNG, None)]
    await ask(api, media=media, api_key=KEY, temperature=0.7, url="a field like any other", ssl=1)
    (request,) = wire_server.requests
    uri = "data:image/png;base64,iVBORw0KGgoAAAAAAAAAAA=="
    assert request.path == "/backend-api/v2/conversation"
    assert list(request.json.items()) == [
        ("model", "m"),
        ("messages", QUESTION),
        ("media", [[uri, "a.png"], [uri, None]]),
        ("api_key", KEY),
        ("temperature", 0.7),
        ("url", "a field like any other"),
        ("ssl", 1),
    ]
    assert media == [(PNG, "a.png"), (PNG, None)]


async def test_nothing_more_than_asked_is_sent(api, wire_server):
    wire_server.answer(stream(content("Hi")))
    await ask(api)
    assert wire_server.requests[0].json == {"model": "m", "messages": QUESTION, "media": None, "api_key": None}


async def test_the_headers(api, wire_server):
    wire_server.answer(stream(content("Hi")))
    api.headers = {"X-Mine": "1"}
    await ask(api)
    names = ("Accept", "Accept-Encoding", "Content-Type", "X-Mine", "Authorization")
    assert [wire_server.requests[0].header(name) for name in names] == [
        *("text/event-stream", "identity", "application/json", "1", None)
    ]


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"media": [(b"no picture", "a.png")]}, ValueError),
        ({"media": [(17, None)]}, TypeError),
        ({"media": [PNG]}, ValueError),
        ({"thing": {1, 2}}, TypeError),
        ({"api_key": "two\nlines"}, ValueError),
    ],
)
async def test_mistakes_of_the_caller_are_raised_before_anything_is_sent(api, wire_server, options, kind):
    with pytest.raises(kind):
        await ask(api, **options)
    assert wire_server.requests == []


# -- what comes back


@pytest.mark.parametrize(
    "body",
    [sse(content("Hel"), content("lo")), b'{"type":"content","content":"Hel"}\n{"type":"content","content":"lo"}'],
)
@pytest.mark.parametrize("kind", ["text/event-stream", "application/json", "text/html"])
async def test_both_framings_under_any_content_type(api, wire_server, body, kind):
    wire_server.answer(status("200 OK", body, content_type=kind))
    assert await ask(api) == (["Hel", "lo"], None)


ERROR = {"type": "error", "error": "RuntimeError", "message": "the model fell over"}
AUTH = {"type": "auth", "auth": "MissingAuthError", "message": "Invalid API key"}
MESSAGE = {"type": "message", "message": "provider A failed"}
LOG = {"type": "log", "log": "details"}


@pytest.mark.parametrize(
    ("body", "end", "seen", "kind", "said"),
    [
        (stream(content("Hi"), FINISH), "close", ["Hi", "finish"], None, ""),
        (stream(content("Hi"), FINISH, end=b""), "reset", ["Hi", "finish"], None, ""),
        (UNTIL_CLOSE + sse(content("Hi")) + b"data: [DONE]\n\n", "stall", ["Hi"], None, ""),
        (stream(content("Hi"), end=b""), "close", ["Hi"], ConnectionFailed, "broke"),
        (stream(content("Hi"), end=b""), "reset", ["Hi"], ConnectionFailed, "broke"),
        (UNTIL_CLOSE + sse(content("Hi")), "reset", ["Hi"], ConnectionFailed, "broke"),
        (UNTIL_CLOSE + sse(content("Hi")) + b'data: {"type": "con', "close", ["Hi"], ProtocolError, "broke off"),
        (UNTIL_CLOSE + sse(content("Hi")).rstrip(), "close", ["Hi"], None, ""),
        (stream(content("Hi"), ERROR, LOG), "close", ["Hi", "error", "log"], ServerError, "the model fell over"),
        (stream(content("Hi"), ERROR, LOG, end=b""), "reset", ["Hi", "error", "log"], ServerError, "fell over"),
        (stream(content("Hi"), AUTH), "close", ["Hi", "auth"], AuthError, "Invalid API key: set NB_BACKEND_API_KEY"),
        (stream(content("Hi"), MESSAGE), "close", ["Hi", "message"], ServerError, "provider A failed"),
        (stream(MESSAGE, content("Hi")), "close", ["message", "Hi"], None, ""),
        (stream(MESSAGE, FINISH), "close", ["message", "finish"], None, ""),
        (status("200 OK", b"<html>Welcome</html>"), "close", [], ProtocolError, "'<html>Welcome</html>'"),
        (status("200 OK"), "close", [], ProtocolError, "it sent nothing"),
        (status("200 OK", {"detail": "Not Found"}), "close", [""], ProtocolError, "did not answer as a backend does"),
        (status("200 OK", {"error": {"message": "no", "code": 401}}), "close", [""], AuthError, "no"),
    ],
)
async def test_how_an_answer_ends(api, wire_server, body, end, seen, kind, said):
    wire_server.answer(body, end=end)
    got, error = await ask(api)
    assert got == seen
    assert type(error) is (kind or type(None))
    if error is not None:
        assert said in str(error)
        assert "\n" not in str(error)
        assert error.partial == ("Hi" if "Hi" in seen else "")
    assert len(wire_server.requests) == 1


async def test_a_message_at_the_end_is_an_error_also_after_text_that_was_held_back(api, wire_server):
    wire_server.answer(stream(content("Hi sk-1"), MESSAGE))
    events, error = await received(api.create_async_generator("m", QUESTION, api_key="sk-123456789"))
    assert "".join(str(event) for event in events if event.type == "content") == "Hi sk-1"
    assert (type(error), error.partial) == (ServerError, "Hi sk-1")


async def test_a_finished_answer_is_whole_whatever_follows(api, wire_server):
    seen = threading.Event()
    wire_server.answer(stream(content("Hi"), FINISH, end=b""), seen, b"no chunk\r\n", end="stall")
    api.idle_timeout = 0.2
    got = []
    async for event in api.create_async_generator("m", QUESTION):
        got.append(event.type)
        seen.set()
    assert got == ["content", "finish"]


async def test_a_stall_keeps_the_received_text(api, wire_server):
    api.idle_timeout = 0.2
    wire_server.answer(CHUNKED + chunk(sse(content("Hel"))), end="stall")
    seen, error = await ask(api)
    assert (seen, type(error), error.partial) == (["Hel"], TimedOut, "Hel")
    assert wire_server.left.acquire(timeout=10)


async def test_a_busy_consumer_gets_every_event_before_the_failure(api, wire_server):
    wire_server.answer(CHUNKED, *[chunk(sse(content(f"{n} "))) for n in range(200)], end="reset")

    async def be_busy(event: RawResponse) -> None:
        if event.content == "0 ":
            await asyncio.to_thread(wire_server.ended.acquire, timeout=10)

    events, error = await received(api.create_async_generator("m", QUESTION), be_busy)
    assert [str(event) for event in events] == [f"{n} " for n in range(200)]
    assert isinstance(error, ConnectionFailed)
    assert error.partial == "".join(map(str, events))


async def test_huge_events(api, wire_server):
    wire_server.answer(stream({"type": "request", "request": "x" * 2**21}, content("y" * 2**21)))
    seen, error = await ask(api)
    assert (seen, error) == (["request", "y" * 2**21], None)


# -- leaving


@pytest.mark.parametrize("how", ["break", "cancel"])
async def test_leaving_closes_the_connection(api, wire_server, how):
    wire_server.answer(CHUNKED + chunk(sse(content("Hi"))), end="stall")
    events = api.create_async_generator("m", QUESTION)
    await anext(events)
    if how == "break":
        await events.aclose()
    else:
        task = asyncio.ensure_future(anext(events))
        await asyncio.wait([task], timeout=0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await asyncio.to_thread(wire_server.left.acquire, timeout=10)
    assert len(asyncio.all_tasks()) == 1


async def test_leaving_stops_the_engine(backend):
    backend.engine.enqueue("Hel", ...)
    events = BackendApi.create_async_generator("m", QUESTION)
    async for event in events:
        if str(event):
            break
    await events.aclose()
    await until(lambda: backend.engine.stopped == 1)


# -- the key


@pytest.mark.parametrize(
    "answer",
    [
        status("401 No", {"error": {"message": f"Bad key {KEY} given"}}),
        status("400 No", f"{'x' * 295}{KEY}".encode()),
        status("200 OK", f"<html>{'x' * 50}{KEY}".encode()),
        stream({"type": "error", "error": "E", "message": f"{KEY} is wrong"}),
        stream({"type": "request", "request": KEY}, {"type": "headers", "headers": {"x": KEY}}, content("Hi")),
    ],
)
async def test_the_key_is_shown_nowhere(api, wire_server, answer, caplog):
    caplog.set_level(logging.DEBUG)
    wire_server.answer(answer)
    events, error = await received(api.create_async_generator("m", QUESTION, api_key=KEY))
    shown = [repr(event) for event in events if event.type != "error"]
    shown += [str(error), repr(error), *caplog.messages]
    assert KEY[:6] not in "\n".join(shown)
    assert "Api: model='m' api_key=set" in caplog.messages


# -- models


async def test_the_models_of_all_and_of_one_provider(mocked):
    settings.current.url = "http://server.invalid"
    root = "http://server.invalid/backend-api/v2/models"
    mocked.get(root, payload={"A": ["m1", "m2"], "B": ["m3"]})
    mocked.get(f"{root}/A%2FB", payload=[{"id": "m1", "label": "One", "vision": True}, {"id": "m2"}])
    assert [(m, m.provider) for m in await BackendApi.get_models()] == [("m1", "A"), ("m2", "A"), ("m3", "B")]
    models = await BackendApi.get_models("A/B")
    assert [(m, m.label, m.provider, m.vision) for m in models] == [
        ("m1", "One", "A/B", True),
        ("m2", "m2", "A/B", None),
    ]


@pytest.mark.parametrize("payload", [7, [7], {"A": 7}, {"error": [{"message": "x"}]}, [{"label": "x"}]])
@pytest.mark.parametrize("provider", [None, "A"])
async def test_a_document_that_is_not_a_list_of_models(mocked, payload, provider):
    settings.current.url = "http://server.invalid"
    mocked.get(f"http://server.invalid/backend-api/v2/models{'/A' if provider else ''}", payload=payload)
    with pytest.raises(ProtocolError, match="did not answer as a backend does"):
        await BackendApi.get_models(provider)


async def test_the_scripted_backend_lists_its_models(backend):
    assert await BackendApi.get_models() == ["scripted"]
    assert (await BackendApi.get_models("scripted"))[0].vision is None


def test_threads_are_not_left_behind(backend):
    before = threading.active_count()
    for _ in range(3):
        asyncio.run(ask(BackendApi))
    assert threading.active_count() == before
