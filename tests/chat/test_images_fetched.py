"""Fetching images while an answer streams: order, where the key goes, and how the stream ends."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import aclosing

import pytest
from image_serving import PNG, ImageServer, images, uri
from serving import TOKEN
from wait import until

from nb_backend import AuthError, BackendApi, Chat, RawResponse
from nb_backend.chat.images import ImageFetcher, ImageUrl
from nb_backend.chat.request import Request
from nb_backend.chat.stream import AnswerStream, State
from nb_backend.providers.base import _is_below
from nb_backend.providers.registry import provider_for


@pytest.fixture
def server(image_server: ImageServer) -> ImageServer:
    return image_server


# -- meanwhile


async def test_the_text_does_not_wait_for_images(server):
    server.engine.enqueue("Words", images("/media/slow.png"), " and more", ...)
    async with aclosing(Chat().stream("Draw")) as stream:
        async for event in stream:
            if str(event) == " and more":
                break
        await until(lambda: server.asked)
    assert stream.answer.text == "Words and more"
    assert stream.answer.stopped


async def test_an_image_is_there_before_the_end(server):
    server.engine.enqueue(images("/media/x.png"), "Words", ...)
    async with aclosing(Chat().stream("Draw")) as stream:
        async for event in stream:
            if str(event) == "Words":
                break
        await until(lambda: stream.answer.images[0].data_uri)
        assert uri(PNG) in stream.answer.to_markdown(live=True)


@pytest.mark.parametrize("way", ["cancelled", "closed"])
@pytest.mark.parametrize("in_the_text", [False, True])
async def test_left_when_only_images_are_missing_the_answer_is_whole(server, way, in_the_text):
    server.engine.enqueue("Words", "![a](/media/slow.png)" if in_the_text else images("/media/slow.png", content="!"))
    chat = Chat()
    stream = chat.stream("Draw")
    task = asyncio.create_task(drained(stream))
    await until(lambda: server.asked and stream._state is State.FETCHING_IMAGES)
    if way == "closed":
        await stream.aclose()
        await task
    else:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert stream.kept
    assert not stream.answer.stopped
    said = "Words" + ("![a](/media/slow.png)" if in_the_text else "!")
    assert chat.messages[-1] == {"role": "assistant", "content": said}


class FakeRequest(Request):
    """A question that is sent nowhere."""

    def __init__(self, send, prepare=None, images=None) -> None:
        super().__init__(BackendApi, "", {"role": "user", "content": "Draw"})
        self.send = send
        self._prepare = prepare
        self._images = images

    async def prepare(self) -> None:
        if self._prepare is not None:
            await self._prepare()

    def image_fetcher(self) -> ImageFetcher:
        return self._images or super().image_fetcher()


async def test_an_answer_without_a_finish_reason_is_complete():
    begun = asyncio.Event()

    async def ask(without: int):
        yield RawResponse(type="content", content="Words", urls=["/x.png"])

    async def server() -> str:
        return "http://h"

    async def get(url: str, most: int) -> bytes:
        begun.set()
        await asyncio.Event().wait()
        return b""

    stream = AnswerStream(FakeRequest(ask, images=ImageFetcher(server, get)), lambda *_: None)
    task = asyncio.create_task(drained(stream))
    await begun.wait()
    await until(lambda: stream._state is State.FETCHING_IMAGES)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stream.kept
    assert not stream.answer.stopped


async def drained(stream: AnswerStream) -> None:
    async with aclosing(stream):
        async for _ in stream:
            pass


@pytest.mark.parametrize("way", ["closed", "dropped", "error", "cancelled"])
async def test_no_task_is_left_behind(server, way):
    before = asyncio.all_tasks()
    server.engine.enqueue("Words", images("/media/slow.png"), "more", RuntimeError() if way == "error" else ...)
    stream = Chat().stream("Draw")
    async for event in stream:
        if str(event) == "more":
            break
    await until(lambda: server.asked)
    match way:
        case "closed":
            await stream.aclose()
            assert asyncio.all_tasks() <= before
        case "dropped":
            await stream._events.aclose()
            del stream
            gc.collect()
        case "error":
            with pytest.raises(Exception):  # noqa: B017, PT011
                await drained(stream)
        case "cancelled":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await drained(stream)
    await until(lambda: asyncio.all_tasks() <= before)


async def test_images_of_other_servers_cost_no_request():
    asked = []

    async def server() -> str:
        return "http://h"

    async def get(url: str, most: int) -> bytes:
        asked.append(url)
        raise ValueError

    own = ImageFetcher(server, get)
    await own.server()
    started = time.process_time()
    own.fetch([ImageUrl(f"http://e.x/{number}.png") for number in range(1000)])
    await own.wait()
    assert asked == []
    own.fetch([ImageUrl(f"http://h/{number}.png") for number in range(32_000)])
    await own.wait()
    assert len(asked) == 64
    assert time.process_time() - started < 10


# -- the key


@pytest.mark.parametrize(
    ("server", "url", "below"),
    [
        ("http://h", "http://h/any/where.png", True),
        ("http://h/v1", "http://h/media/x.png", True),
        ("http://h/a/v1/", "http://h/a/media/x.png?b", True),
        ("http://h/a/", "http://h/a/x.png", True),
        ("https://hub/user/me/proxy/8080", "https://hub/user/me/proxy/8080/media/x.png", True),
        ("https://hub/user/me/proxy/8080", "https://hub/user/mallory/proxy/9/x.png", False),
        ("https://hub/user/me/proxy/8080", "https://hub/user/me/proxy/80801/x.png", False),
        ("https://hub/user/me", "https://hub/user/me/../mallory/x.png", False),
        ("https://hub/user/me", "https://hub/user/me/%2e%2E/mallory/x.png", False),
        ("https://hub/user/me", "https://hub/user/me/..%2fmallory/x.png", False),
        ("https://hub/user/me", "https://hub/user/me/%252e%252e/mallory/x.png", False),
        ("https://hub/user/me", "https://hub/user/me/..;/mallory/x.png", False),
        ("https://hub/user/me", "https://hub/user/me/..", False),
        ("https://hub/user/me", "https://hub/user/me?/../x.png", False),
    ],
)
def test_which_urls_are_below_a_server(server, url, below):
    assert _is_below(server, url) is below


async def test_the_key_goes_only_below_the_server(server):
    assert await provider_for(f"{server.url}/v1").get_file("/media/x.png", 1000, TOKEN) == PNG
    assert await provider_for(f"{server.url}/media").get_file("/media/x.png", 1000, TOKEN) == PNG
    with pytest.raises(AuthError):
        await provider_for(f"{server.url}/elsewhere").get_file("/media/x.png", 1000, TOKEN)


async def test_no_redirect_is_followed(server):
    assert await provider_for(server.url).get_file("/media/near.png", 1000) != PNG
    assert server.asked == ["/media/near.png"]


@pytest.mark.parametrize(
    "path", ["/backend-api/v2/create?prompt=x", "/media/../backend-api/v2/x.png", "/%62ackend-api/x"]
)
async def test_an_api_path_of_the_server_is_not_fetched(server, path):
    with pytest.raises(ValueError, match="not the address of a file on"):
        await provider_for(server.url).get_file(path, 1000)
    assert await provider_for(server.url).get_file("/media/x.png", 1000) == PNG


# -- before the request


class Asked:
    def __init__(self) -> None:
        self.log: list[str] = []

    async def prepare(self) -> None:
        self.log.append("prepare")

    async def ask(self, without: int):
        self.log.append("ask")
        yield RawResponse(type="content", content="Hi")

    def stream(self, prepare=None, **options) -> AnswerStream:
        made = lambda without: (self.log.append("made"), self.ask(without))[1]  # noqa: E731
        return AnswerStream(FakeRequest(made, prepare or self.prepare), lambda *_: self.log.append("kept"))


async def test_prepare_comes_before_the_request():
    asked = Asked()
    stream = asked.stream()
    assert asked.log == []
    assert [str(event) async for event in stream] == ["Hi"]
    assert asked.log == ["prepare", "made", "ask", "kept"]


@pytest.mark.parametrize("error", [ValueError("the context is too long"), asyncio.CancelledError()])
async def test_what_prepare_raises_ends_the_stream(error):
    async def fail() -> None:
        raise error

    asked = Asked()
    stream = asked.stream(fail)
    with pytest.raises(type(error)):
        await anext(stream)
    assert [event async for event in stream] == asked.log == []
    await stream.aclose()
    assert not stream.kept
    assert stream.answer.stopped == isinstance(error, asyncio.CancelledError)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_a_stream_left_before_its_request_sends_nothing(when):
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        begun.set()
        await go_on.wait()

    asked = Asked()
    stream = asked.stream(wait)
    if when == "meanwhile":
        task = asyncio.ensure_future(anext(stream))
        await begun.wait()
    await stream.aclose()
    go_on.set()
    if when == "meanwhile":
        with pytest.raises(StopAsyncIteration):
            await task
    assert [event async for event in stream] == asked.log == []
    assert stream.answer.stopped


@pytest.mark.parametrize("error", [ValueError("it has no vision"), asyncio.CancelledError()])
async def test_nothing_is_sent_after_prepare_has_failed(error):
    async def fail() -> None:
        raise error

    asked = Asked()
    stream = asked.stream(fail)
    with pytest.raises(type(error)):
        await stream.prepare()
    await stream.prepare()
    assert [event async for event in stream] == asked.log == []
    assert not stream.kept


async def test_prepared_before_it_is_not_prepared_again():
    asked = Asked()
    stream = asked.stream()
    await stream.prepare()
    await stream.prepare()
    assert [str(event) async for event in stream] == ["Hi"]
    assert asked.log == ["prepare", "made", "ask", "kept"]
