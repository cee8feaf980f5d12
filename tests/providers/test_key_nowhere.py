"""The key is shown nowhere: in no text and no variable of a traceback, also if the server repeats it."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import logging
import pickle
import traceback
from types import TracebackType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_server import CHUNKED, UNTIL_CLOSE, WireServer, chunk, content, received, sse, status, stream

from nb_backend import BackendApi, BackendError, Chat, OpenAIApi, settings
from nb_backend.events import RawResponse
from nb_backend.providers.reader import ResponseReader
from nb_backend.providers.registry import DIALECTS, provider_named
from nb_backend.providers.secret_filter import SecretFilter

KEY = "sk-Zx81-Nobody-May-See-This"
QUESTION = [{"role": "user", "content": "Hi?"}]


# -- what a server repeats


def text_of(events: list[RawResponse]) -> str:
    return "".join(map(str, events))


def through(echo: SecretFilter, pieces: list[str]) -> str:
    return text_of([*(echo.without(RawResponse(**content(piece))) for piece in pieces), *echo.flush()])


def through_reader(pieces: list[str], size: int) -> str:
    """Read a body of these deltas, so many of them in a chunk; the reader looks at the deltas of a chunk together."""
    reader = ResponseReader("http://127.0.0.1", [KEY])
    events = [f"data: {json.dumps(content(piece))}\n\n".encode() for piece in pieces]
    chunks = [b"".join(events[at : at + size]) for at in range(0, len(events), size)]
    return text_of([*(event for one in chunks for event in reader.feed(one) or []), *reader.end(whole=True)])


FRAGMENTS = st.sampled_from(
    [KEY, KEY[:3], KEY[:4], KEY[:12], KEY[3:], KEY[-5:], "s", "sk", "sk-", " ", "word", "***", ""]
)


@given(st.lists(FRAGMENTS, max_size=12), st.data())
def test_no_cut_lets_the_key_through_and_other_text_stays(fragments, data):
    text = "".join(fragments)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    shown = through(SecretFilter([KEY]), pieces)
    assert KEY not in shown
    assert through_reader(pieces, data.draw(st.integers(1, 9))) == shown
    if KEY not in text:
        assert shown == text
    else:
        before = text.partition(KEY)[0]
        assert shown.startswith(before)
        assert len(shown) >= len(text.replace(KEY, ""))


def test_one_character_at_a_time():
    assert through(SecretFilter([KEY]), list(f"It is {KEY}, yes.")) == "It is sk-***, yes."
    assert through(SecretFilter([KEY, "another-key-1"]), list("another-kez sk-Zx81")) == "another-kez sk-Zx81"


def test_text_is_held_back_only_if_it_may_be_the_key():
    echo = SecretFilter([KEY])
    assert [str(echo.without(RawResponse(**content(piece)))) for piece in ("tasks", "sk-", "Z", "y")] == [
        *("tasks", "sk-", "", "Zy")
    ]


def test_text_in_content_parts_and_a_key_with_odd_characters():
    key = 'sk/a+b"ü\\12345'
    for spelt in (key, "sk%2Fa%2Bb%22%C3%BC%5C12345", 'sk/a+b\\"\\u00fc\\\\12345'):
        for cut in range(len(spelt)):
            echo = SecretFilter([key])
            parts = [[{"type": "text", "text": f"It is {spelt[:cut]}"}], [{"text": spelt[cut:]}, {"text": "!"}]]
            events = [echo.without(RawResponse(type="content", content=part)) for part in parts]
            assert text_of([*events, *echo.flush()]) in {f"It is {spelt[:n]}***!" for n in range(4)}, (spelt, cut)
    echo = SecretFilter([KEY])
    contents = [KEY[:4], [{"text": "a"}], "b"]
    events = [echo.without(RawResponse(type="content", content=one)) for one in contents]
    assert text_of([*events, *echo.flush()]) == f"{KEY[:4]}ab"


def test_every_other_field_of_every_event():
    echo = SecretFilter([KEY])
    quoted = f'{{\\"api_key\\": \\"{KEY}\\"}}'
    for data in (
        {"type": "request", "request": {"api_key": KEY, "list": [KEY, {KEY: 1}], "quoted": quoted}},
        {"type": "log", "log": f"sent {KEY}"},
        {"type": "headers", "headers": {"Authorization": f"Bearer {KEY}"}},
        {"type": "content", "content": [{"text": KEY}]},
        {"type": "content", "content": "x", "urls": [f"/media?key={KEY}"]},
        {"type": "reasoning", "token": KEY, "status": KEY},
        {"unknown": KEY},
    ):
        event = echo.without(RawResponse(**data))
        assert KEY not in str(event.get_dict())
        assert event.get_dict().keys() == data.keys()
    assert echo.without(RawResponse(type="usage", usage={"n": 3, "x": None})).usage == {"n": 3, "x": None}


@pytest.mark.parametrize("word", ["", "none", "ollama", "EMPTY", "anything", "placeholder"])
def test_a_key_that_is_a_common_word_is_no_secret_in_an_answer(word):
    assert through(SecretFilter([word]), [f"see {word} of it"]) == f"see {word} of it"


# -- what is raised


def leaks(error: BaseException) -> list[str]:
    """Return where a key is visible: in texts or variables of a failure and of its causes."""
    found, waiting, seen = [], [error], set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        waiting += [other for other in (one.__cause__, one.__context__) if other is not None]
        texts = {
            "str": str(one),
            "repr": repr(one),
            "vars": repr(vars(one)),
            "notes": "".join(getattr(one, "__notes__", [])),
        }
        texts |= {f"line {n}": line for n, line in enumerate(traceback.format_exception(one))}
        found += [f"{type(one).__name__}: {name}" for name, text in texts.items() if KEY in text]
        found += variables_with_key(one.__traceback__)
    return found


def variables_with_key(frames: TracebackType | None) -> list[str]:
    found = []
    while frames is not None:
        code = frames.tb_frame.f_code
        if code.co_filename != __file__:
            found += [f"{code.co_qualname}: {name}" for name, value in frames.tb_frame.f_locals.items() if shows(value)]
        frames = frames.tb_next
    return found


def shows(value: Any, depth: int = 3) -> bool:
    """Whether the key is in a value as a debugger or an error reporter would write it."""
    if KEY in repr(value) or (isinstance(value, bytes | bytearray | memoryview) and KEY.encode() in bytes(value)):
        return True
    parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
    return depth > 0 and isinstance(parts, list | tuple | set) and any(shows(part, depth - 1) for part in parts)


def test_the_search_for_leaks_finds_one():
    exec(compile("def fails(secret):\n raise ValueError", "elsewhere.py", "exec"), space := {})
    with pytest.raises(ValueError, match=r"^$") as caught:
        space["fails"](KEY)
    assert leaks(caught.value) == ["fails: secret"]


REPEATED = {"error": {"message": f"bad key {KEY}", "code": KEY}}
ANSWERS: dict[str, tuple[bytes, str]] = {
    "closed": (b"", "close"),
    "no HTTP": (KEY.encode() * 3, "close"),
    "bad header": (b"HTTP/1.1 200 OK\r\n" + KEY.encode() + b"\r\n\r\n", "close"),
    "bad chunk": (CHUNKED + chunk(sse(content(KEY))) + KEY.encode(), "stall"),
    "stalls": (CHUNKED + chunk(sse(content(KEY))), "stall"),
    "no head": (b"", "stall"),
    "reset": (CHUNKED + chunk(sse(content(KEY))), "reset"),
    "401": (status("401 No", REPEATED), "close"),
    "400 text": (status("400 No", KEY.encode()), "close"),
    "500 page": (status("500 No", f"<html>{KEY}".encode()), "close"),
    "429": (status("429 Slow", REPEATED, retry_after="61"), "close"),
    "a page": (status("200 OK", f"<html>{KEY}".encode()), "close"),
    "half an event": (UNTIL_CLOSE + b'data: {"type": "content", "content": "' + KEY.encode(), "close"),
    "an error event": (stream({"type": "error", "error": KEY, "message": KEY}, {"type": "log", "log": KEY}), "close"),
    "an error of OpenAI's": (UNTIL_CLOSE + b'data: {"error": {"message": "%s"}}\n\n' % KEY.encode(), "close"),
    "in a header": (status("429 Slow", b"", retry_after="61", x_request=KEY), "close"),
    "cut within": (status("200 OK", b" " * 490 + KEY.encode() * 2), "close"),
    "as a URL has it": (status("401 No", b"bad key " + KEY.lower().encode()), "close"),
    "elsewhere": (status("307 T", location=f"http://{KEY.lower()}.invalid/{KEY}"), "close"),
    "nowhere": (status("307 T", location=f"http://[{KEY}"), "close"),
    "in a circle": (status("307 T", location=f"/{KEY}"), "close"),
}
CALLS = {
    "ask": lambda api: received(api.create_async_generator("m", QUESTION, api_key=KEY)),
    "models": lambda api: api.get_models(api_key=KEY),
    "file": lambda api: api.get_file("/x.png", 10, api_key=KEY),
    "chat": lambda api: Chat("m", url=api.url, api_key=KEY).ask("Hi?"),
}


@pytest.fixture(params=["", "/v1"])
def kind(request, wire_server: WireServer, delays, monkeypatch) -> type[BackendApi] | type[OpenAIApi]:
    api = OpenAIApi if request.param else BackendApi
    for name in ("idle_timeout", "connect_timeout"):
        monkeypatch.setattr(api, name, 0.3)
    return type(api.__name__, (api,), {"url": wire_server.url + request.param})


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("answer", ANSWERS)
async def test_no_failure_shows_the_key(kind, wire_server, answer, call, caplog):
    caplog.set_level(logging.DEBUG)
    data, end = ANSWERS[answer]
    wire_server.answer(data, end=end)
    caught: Any = None
    try:
        caught = await CALLS[call](kind)
    except BackendError as error:
        caught = error
    if isinstance(caught, tuple):
        events, caught = caught
        assert KEY not in repr([event.get_dict() for event in events])
    if isinstance(caught, BackendError):
        assert leaks(caught) == []
        assert KEY not in caught.partial
    else:
        assert KEY not in repr(caught)
    assert KEY not in caplog.text


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("sent", [b"", CHUNKED])
async def test_a_call_that_is_cancelled_shows_no_key(kind, wire_server, call, sent):
    wire_server.answer(sent, end="stall")
    kind.idle_timeout = BackendApi.idle_timeout = OpenAIApi.idle_timeout = 30  # undone by the fixture
    task = asyncio.ensure_future(CALLS[call](kind))
    while not wire_server.requests:
        await asyncio.wait([task], timeout=0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert leaks(caught.value) == []


async def test_a_list_of_models_that_a_refusal_needs_and_that_fails_shows_no_key(wire_server):
    wire_server.answer(status("400 No", {"error": {"message": "a model is required"}}))
    wire_server.answer(b"")
    api = type("Api", (OpenAIApi,), {"url": f"{wire_server.url}/v1", "max_retries": 0})
    _, error = await received(api.create_async_generator("", QUESTION, api_key=KEY))
    assert wire_server.requests[-1].path == "/v1/models"
    assert leaks(error) == []


@pytest.mark.parametrize("sent", [b"", KEY.encode() * 3, status("200 OK", b"Hi")])
async def test_a_cancellation_at_the_moment_of_the_end_logs_nothing_and_leaves_nothing(wire_server, sent, caplog):
    for steps in range(12):
        wire_server._answers.clear()
        wire_server.answer(sent)
        api = type("Api", (BackendApi,), {"url": wire_server.url, "max_retries": 0})
        call = asyncio.ensure_future(received(api.create_async_generator("m", QUESTION, api_key=KEY)))
        while not wire_server.ended.acquire(blocking=False):  # noqa: ASYNC110  each step of the loop counts
            await asyncio.sleep(0)
        for _ in range(steps):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        del call
    gc.collect()
    assert caplog.records == []


@pytest.mark.parametrize(
    ("options", "mistake"),
    [
        ({"media": [(object(), "x.png")]}, (TypeError, ValueError)),
        ({"thing": {1, 2}}, TypeError),
        ({"api_key": f"{KEY}\n{KEY}"}, ValueError),
    ],
)
async def test_a_mistake_of_the_caller_shows_no_key(kind, options, mistake):
    with pytest.raises(mistake) as caught:
        await received(kind.create_async_generator("m", QUESTION, **{"api_key": KEY, **options}))
    assert leaks(caught.value) == []


async def test_a_certificate_or_a_proxy_that_is_wrong_shows_no_key(wire_server, monkeypatch, delays):
    wire_server.answer(b"no TLS")
    urls = [wire_server.url.replace("http:", "https:"), "http://elsewhere.invalid"]
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for url in urls:
        for kind in (BackendApi, OpenAIApi):
            api = type("Api", (kind,), {"url": url})
            _, error = await received(api.create_async_generator("m", QUESTION, api_key=KEY))
            assert leaks(error) == []


# -- what is kept


async def test_an_answer_that_repeats_the_key_is_kept_without_it(kind, wire_server, tmp_path):
    half = len(KEY) // 2
    if kind.__name__ == "OpenAIApi":
        deltas = [{"content": f"It is {KEY[:half]}"}, {"content": f"{KEY[half:]}."}, {"reasoning": KEY}]
        events = [{"choices": [{"delta": delta}]} for delta in deltas]
        wire_server.answer(UNTIL_CLOSE + b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events))
    else:
        pieces = content(f"It is {KEY[:half]}"), content(f"{KEY[half:]}.")
        wire_server.answer(stream(*pieces, {"type": "reasoning", "token": KEY}, {"type": "title", "title": KEY}))
    chat = Chat("m", url=kind.url, api_key=KEY, system="Be brief.")
    answer = await chat.ask("What is my key?")
    assert answer.text == "It is ***."
    chat.save(tmp_path / "chat.json")
    chat.export(tmp_path / "chat.md")
    chat.export(tmp_path / "chat.ipynb")
    kept = [path.read_text() for path in tmp_path.iterdir()]
    kept += [
        repr(chat),
        repr(vars(chat)),
        repr(answer),
        repr(vars(answer)),
        repr(chat.messages),
        chat._repr_markdown_(),
    ]
    kept += [repr(pickle.dumps(chat)), repr(vars(pickle.loads(pickle.dumps(chat)))), repr(vars(copy.deepcopy(chat)))]
    kept += [repr(chat.request("x")), repr(vars(chat.request("x"))), repr(settings.Secret(KEY)), repr(settings.current)]
    assert [text for text in kept if KEY in text] == []


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_key_of_another_server_is_not_sent_for_a_list_of_models(wire_server, monkeypatch, dialect):
    monkeypatch.setenv("NB_BACKEND_URL", "http://elsewhere.example/v1")
    monkeypatch.setenv("NB_BACKEND_API_KEY", KEY)
    wire_server.answer(status("200 OK", {"data": [], "models": []}))
    await type("Api", (provider_named(dialect),), {"url": f"{wire_server.url}/v1"}).get_models()
    (request,) = wire_server.requests
    assert KEY not in request.head
