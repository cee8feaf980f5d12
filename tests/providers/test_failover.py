"""Several urls: if a server fails before its first event, the next one is asked; never after it."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest
from image_serving import PNG, images, uri
from serving import TOKEN
from wire_server import CHUNKED, LAST_CHUNK, WireServer, chunk, content, status, stream

from nb_backend import AuthError, BackendApi, BackendError, Chat, ConnectionFailed, OpenAIApi, ServerError, settings
from nb_backend.local import process
from nb_backend.providers.registry import provider_for

MESSAGES = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def dead() -> str:
    """A url where no server listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def other():
    server = WireServer()
    yield server
    server.stop()


async def ask_with_progress(chat: Chat, question: str = "Hi") -> tuple[str, list[str]]:
    """Return the answer, and the labels of the progress events."""
    stream = chat.stream(question)
    labels = [event.get("progress")["label"] async for event in stream if event.type == "progress"]
    return stream.answer.text, labels


# -- the next one is asked


@pytest.mark.parametrize(
    "failure",
    [
        status("500 Oops", {"error": {"message": "broken"}}),
        status("429 Busy", {"error": {"message": "busy"}}, retry_after="600"),
        status("404 No", {"error": {"message": "no such model"}}),
        status("401 No", {"error": {"message": "who are you"}}),
        b"nonsense\r\n\r\n",
        b"",
        CHUNKED + LAST_CHUNK,
    ],
    ids=["500", "429", "404", "401", "no HTTP", "nothing", "no event"],
)
async def test_after_a_failure_the_next_server_is_asked_at_once(wire_server, other, delays, failure):
    wire_server.answer(failure)
    other.answer(stream(content("from the other")))
    text, said = await ask_with_progress(Chat(url=[wire_server.url, other.url]))
    assert text == "from the other"
    assert delays == []
    assert len(said) == 1
    assert said[0].endswith(f"asking {other.url}")


async def test_an_unreachable_server_is_left_at_once(dead, other, delays):
    other.answer(stream(content("here")))
    text, said = await ask_with_progress(Chat(url=f"{dead}, {other.url}"))
    assert (text, delays) == ("here", [])
    assert "Nobody answers" in said[0]


async def test_the_first_server_that_answers_is_the_only_one(wire_server, other):
    wire_server.answer(stream(content("first")))
    assert await ask_with_progress(Chat(url=[wire_server.url, other.url])) == ("first", [])
    assert other.requests == []


async def test_after_the_first_event_no_other_server_is_asked(wire_server, other, delays):
    wire_server.answer(stream(content("Half"), end=b""))
    chat = Chat(url=[wire_server.url, other.url])
    with pytest.raises(BackendError) as caught:
        await chat.ask("Hi")
    assert caught.value.partial == "Half"
    assert other.requests == []


@pytest.mark.parametrize("code", ["400 Bad", "413 Large", "422 Odd"])
async def test_an_error_of_the_request_is_raised_from_the_first_server(wire_server, other, code):
    wire_server.answer(status(code, {"error": {"message": "not so"}}))
    with pytest.raises(ServerError, match=f"{code[:3]} .not so"):
        await Chat(url=[wire_server.url, other.url]).ask("Hi")
    assert other.requests == []


async def test_when_all_servers_fail_they_are_asked_again_after_a_wait(wire_server, other, delays):
    for server in (wire_server, other):
        server.answer(status("503 Busy", {}))
    wire_server.answer(stream(content("again")))
    text, said = await ask_with_progress(Chat(url=[wire_server.url, other.url]))
    assert text == "again"
    assert len(delays) == 1
    assert "asking again in" in said[1]


async def test_when_all_servers_have_failed_each_is_named(wire_server, other, dead, delays):
    for _ in range(3):
        wire_server.answer(status("503 Busy", {"error": {"message": "loading"}}))
        other.answer(status("500 Oops", {}))
    with pytest.raises(ServerError) as caught:
        await Chat(url=[wire_server.url, dead, other.url]).ask("Hi")
    for named in ("None of 3 servers answered", f"{wire_server.url} answered 503 (loading)", dead, other.url):
        assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(delays) == 2


async def test_permanent_failures_are_not_retried(wire_server, other, delays):
    for server in (wire_server, other):
        server.answer(status("401 No", {}))
    with pytest.raises(AuthError, match="None of 2"):
        await Chat(url=[wire_server.url, other.url]).ask("Hi")
    assert delays == []


async def test_the_key_is_sent_to_each_server_and_nowhere_else(wire_server, other, delays):
    wire_server.answer(status("500 Oops", {}))
    other.answer(stream(content("hi")))
    await Chat(url=[wire_server.url, other.url], api_key="the-key-of-this-test").ask("Hi")
    for server in (wire_server, other):
        assert server.requests[-1].json["api_key"] == "the-key-of-this-test"


async def test_images_are_fetched_from_the_server_that_answered(dead, image_server):
    image_server.engine.enqueue("![a](/media/x.png)", images("/media/second.png"))
    answer = await Chat(url=[dead, image_server.url], api_key=TOKEN).ask("Draw")
    assert answer.images[0] == f"{image_server.url}/media/second.png"
    assert all(image.data_uri for image in answer.images)
    assert uri(PNG) in answer.to_markdown()


async def test_an_event_from_the_wire_does_not_change_the_server(image_server, other):
    moved = {"type": "progress", "progress": {"label": "x"}, "server": other.url, "url": other.url}
    image_server.engine.enqueue(moved, f"![a]({other.url}/media/x.png)")
    answer = await Chat().ask("Draw")
    assert other.requests == []
    assert [image.data_uri for image in answer.images] == [None]


async def test_a_provider_without_a_chat_does_the_same(dead, other, monkeypatch, delays):
    monkeypatch.setenv("NB_BACKEND_URL", f"{dead} {other.url}")
    said = b'data: {"choices": [{"delta": {"content": "and here"}, "finish_reason": "stop"}]}\n\n'
    other.answer(stream(content("here")))
    other.answer(CHUNKED + chunk(said) + LAST_CHUNK)
    assert [str(event) async for event in BackendApi.create_async_generator("m", MESSAGES)] == ["here"]
    api = type("Api", (OpenAIApi,), {"url": f"{dead}/v1 {other.url}/v1"})
    events = [event async for event in api.create_async_generator("m", MESSAGES)]
    assert "".join(map(str, events)) == "and here"
    assert "progress" not in {event.type for event in events}


async def test_the_status_line_names_the_server_only_if_there_are_several(dead, other, delays):
    said = b'data: {"model": "m", "choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]}\n\n'
    for urls, shown in (([f"{dead}/v1", f"{other.url}/v1"], "m · 127.0.0.1 · "), ([f"{other.url}/v1"], "m · 0.")):
        other.answer(CHUNKED + chunk(said) + LAST_CHUNK)
        assert (await Chat("m", url=urls).ask("Hi")).summary.startswith(shown)


async def test_a_trimmed_chat_is_sent_again_to_the_same_server(dead, backend, delays):
    chat = Chat(url=[dead, backend.url], api_key=TOKEN)
    await chat.ask("one")
    backend.engine.enqueue({"type": "error", "error": "PromptTooLongError", "message": "9 tokens long and m takes 8"})
    answer = await chat.ask("two")
    assert (answer.text, answer.trimmed) == ("two", 1)


# -- how they are named


@pytest.mark.parametrize(
    ("given", "urls"),
    [
        ("http://a:1/v1 http://b:2/v1/", ["http://a:1/v1", "http://b:2/v1"]),
        (" http://a,http://b/ , http://c\n", ["http://a", "http://b", "http://c"]),
        (["http://a", "http://b"], ["http://a", "http://b"]),
        ("http://a http://a/", ["http://a"]),
        (None, []),
        ("", []),
        ([], []),
    ],
)
def test_urls(given, urls):
    assert settings.urls(given) == urls
    assert settings.url(given) == (urls[0] if urls else None)


def test_all_must_speak_one_dialect():
    with pytest.raises(ValueError, match="name servers of one dialect only"):
        provider_for(*settings.urls("http://a/v1 http://b"))
    with pytest.raises(ValueError, match="same dialect"):
        Chat(url=["http://a/v1", "http://b"]).request("Hi")


async def test_without_a_url_the_embedded_backend_answers(monkeypatch):
    async def none() -> None:
        raise ConnectionFailed("the embedded one was asked")

    monkeypatch.setattr(process, "ensure_running", none)
    with pytest.raises(ConnectionFailed, match="the embedded one"):
        await Chat().ask("Hi")
