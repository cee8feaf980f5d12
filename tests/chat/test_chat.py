"""A chat: its history, what is sent, and the values of an answer."""

from __future__ import annotations

import asyncio
import copy
import pickle

import pytest
from png import png
from serving import TOKEN
from wire_server import CHUNKED, chunk, content, sse, status

from nb_backend import Answer, BackendApi, Chat, OpenAIApi, RawResponse
from nb_backend.chat.images import ImageUrl
from nb_backend.chat.messages import Message
from nb_backend.errors import ConnectionFailed, ServerError

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


def said(*texts: str) -> list[dict]:
    return [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]


# -- history


async def test_the_history_is_remembered_and_sent(backend):
    chat = Chat("m", system="Be short", temperature=0.5)
    backend.engine.enqueue("Hel", "lo")
    backend.engine.enqueue("Bye")
    assert str(await chat.ask("Hi?")) == "Hello"
    await chat.ask("More?", temperature=1, top_p=0.9)
    assert chat.messages == said("Hi?", "Hello", "More?", "Bye")
    first, second = backend.engine.history
    assert first["messages"] == [{"role": "system", "content": "Be short"}, *said("Hi?")]
    assert second["messages"] == [{"role": "system", "content": "Be short"}, *said("Hi?", "Hello", "More?")]
    assert [(body["model"], body["temperature"], body.get("top_p")) for body in (first, second)] == [
        ("m", 0.5, None),
        ("m", 1, 0.9),
    ]
    chat.reset()
    assert chat.messages == []


@pytest.mark.parametrize(
    ("steps", "partial"),
    [(["Hel", {"type": "error", "error": "E", "message": "m"}], "Hel"), ([RuntimeError("m")], "")],
)
async def test_a_failed_exchange_leaves_all_as_it_was(backend, steps, partial):
    chat = Chat()
    await chat.ask("Hi?")
    backend.engine.enqueue({"type": "conversation", "conversation": {"scripted": 1}}, *steps)
    with pytest.raises(ServerError, match="m") as failure:
        await chat.ask("Fail")
    assert failure.value.partial == partial
    assert chat.messages == said("Hi?", "Hi?")
    await chat.ask("Ho?")
    assert "conversation" not in backend.engine.history[-1]


@pytest.mark.parametrize("how", ["aclose", "cancel"])
async def test_a_stopped_answer_keeps_its_text_marked(backend, how):
    chat = Chat()
    backend.engine.enqueue("Hel", ...)
    stream = chat.stream("Hi?")
    async for event in stream:
        if str(event):
            break
    if how == "aclose":
        await stream.aclose()
    else:
        task = asyncio.ensure_future(anext(stream))
        await asyncio.wait([task], timeout=0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (stream.answer.text, stream.answer.stopped) == ("Hel", True)
    assert chat.messages == [*said("Hi?"), {"role": "assistant", "content": "Hel", "stopped": True}]
    await chat.ask("More?")
    assert backend.engine.history[-1]["messages"] == said("Hi?", "Hel", "More?")


async def test_an_answer_stopped_before_its_first_text_is_not_kept(backend):
    chat = Chat()
    backend.engine.enqueue(...)
    stream = chat.stream("Hi?")
    await anext(stream)
    await stream.aclose()
    assert stream.answer.stopped
    assert chat.messages == []


async def test_a_stream_that_is_never_read_sends_nothing(backend):
    stream = Chat().stream("Hi?")
    await stream.aclose()
    assert backend.engine.history == []


async def test_a_stream_left_after_its_end_is_not_stopped(backend):
    chat = Chat()
    stream = chat.stream("Hi?")
    async for event in stream:
        if event.type == "finish":
            break
    await stream.aclose()
    assert chat.messages == said("Hi?", "Hi?")


async def test_the_state_of_a_provider_is_sent_back(backend):
    chat = Chat(provider="P")
    backend.engine.enqueue({"type": "conversation", "conversation": {"scripted": {"id": 7}, "other": 1}}, "Hi")
    await chat.ask("Hi?")
    await chat.ask("Ho?")
    chat.reset()
    await chat.ask("Ha?")
    assert [(body["provider"], body.get("conversation")) for body in backend.engine.history] == [
        ("P", None),
        ("P", {"id": 7}),
        ("P", None),
    ]


async def test_the_state_of_another_provider_is_not_sent(backend):
    chat = Chat(provider="P")
    backend.engine.enqueue({"type": "conversation", "conversation": {"scripted": 7, "Q": 8}}, "Hi")
    await chat.ask("Hi?")
    for provider in ("Q", "R"):
        assert chat.request("Ho?", provider=provider).body().get("conversation") == (8 if provider == "Q" else None)
    chat.provider = "R"
    await chat.ask("Ho?")
    assert "conversation" not in backend.engine.history[-1]


@pytest.mark.parametrize("path", ["", "/v1"])
def test_the_provider_is_sent_in_every_dialect(path):
    chat = Chat(url=f"http://host{path}", provider="P")
    assert chat.request("Hi?").body()["provider"] == "P"
    assert chat.request("Hi?", provider="Q").body()["provider"] == "Q"


async def test_images_are_sent(backend):
    await Chat().ask("What is it?", images=[PNG, (PNG, "a.png")])
    uri = "data:image/png;base64,iVBORw0KGgoAAAAAAAAAAA=="
    assert backend.engine.history[0]["media"] == [[uri, "image.png"], [uri, "a.png"]]


# -- where it asks


@pytest.mark.parametrize(
    ("url", "api"),
    [
        (None, BackendApi),
        ("http://host", BackendApi),
        ("http://host/v1/x", BackendApi),
        ("http://host/v1", OpenAIApi),
        ("http://host/openai/v1/", OpenAIApi),
        ("http://host/v1beta", OpenAIApi),
        ("http://host/v1/chat/completions", OpenAIApi),
    ],
)
def test_the_url_chooses_the_provider(url, api):
    provider = Chat(url=url).request("Hi?").provider
    assert issubclass(provider, api)
    assert provider.__name__ == api.__name__


async def test_an_openai_server(wire_server):
    wire_server.answer(status("200 OK", {"model": "big", "choices": [{"message": {"content": "Hi"}}]}))
    answer = await Chat("m", url=f"{wire_server.url}/v1").ask("Hi?")
    assert (answer.text, answer.model, answer.provider["name"]) == ("Hi", "big", "127.0.0.1")
    assert "provider" not in wire_server.requests[0].json


# -- from synchronous code


def test_from_plain_code(backend):
    chat = Chat()
    assert chat("Hi there?").text == "Hi there?"
    backend.engine.enqueue(RuntimeError("m"))
    with pytest.raises(ServerError):
        chat("Fail")
    assert chat.messages == said("Hi there?", "Hi there?")


async def test_within_a_running_loop(backend):
    assert Chat()("Hi there?").text == "Hi there?"


# -- the key


async def test_the_key_is_shown_nowhere(backend, monkeypatch):
    monkeypatch.delenv("NB_BACKEND_API_KEY")
    chat = Chat(api_key=TOKEN)
    await chat.ask("Hi?")
    assert backend.engine.history[0]["api_key"] == TOKEN
    assert TOKEN not in f"{vars(chat)} {chat!r} {pickle.dumps(chat)!r}"
    again = pickle.loads(pickle.dumps(chat))
    assert again.messages == chat.messages
    assert (await copy.deepcopy(chat).ask("Ho?")).text == "Ho?"


@pytest.mark.parametrize("made", [copy.copy, copy.deepcopy, lambda chat: pickle.loads(pickle.dumps(chat))])
async def test_a_copy_has_a_history_of_its_own(backend, made):
    chat = Chat()
    await chat.ask("Hi?")
    made(chat).reset()
    assert [message["content"] for message in chat.messages] == ["Hi?", "Hi?"]
    other = made(chat)
    other.messages = [*chat.messages, {"role": "user", "content": "More"}]
    assert len(chat.messages) == 2


# -- answers


async def test_the_values_of_an_answer(backend):
    backend.engine.enqueue(
        {"type": "reasoning", "token": "Hm "},
        {"type": "reasoning", "token": None, "status": "thinking"},
        {"type": "reasoning", "token": "hm"},
        "One ",
        {"type": "content", "content": "two", "urls": ["/a.png", "b.png"], "alt": "x"},
    )
    answer = await Chat("m").ask("Hi?")
    assert (str(answer), answer.reasoning, answer.images) == (
        "One two",
        "Hm hm",
        [f"{backend.url}/{name}.png" for name in "ab"],
    )
    assert (answer.model, answer.provider["name"], answer.finish_reason) == ("scripted", "scripted", "stop")
    assert answer.usage["prompt_tokens"] == 1
    assert 0 < answer.first_token_seconds <= answer.seconds
    assert repr(answer) == "Answer('One two', model='scripted')"
    assert not answer.stopped


@pytest.mark.parametrize(
    "event",
    [
        {"type": "content", "content": None, "urls": 7},
        {"type": "content", "content": {"a": []}, "urls": {"a": 1}},
        {"type": "usage", "usage": "none"},
        {"type": "provider", "provider": "P"},
        {"type": "finish"},
        {"type": "reasoning"},
        {"type": "conversation", "conversation": []},
        {},
    ],
)
def test_odd_events_do_no_harm(event):
    answer = Answer(model="m")
    answer.add(RawResponse(**event))
    assert (answer.text, answer.reasoning, answer.images, answer.usage, answer.model) == ("", "", [], {}, "m")


def test_one_image_url_is_one_image():
    answer = Answer()
    answer.add(RawResponse(type="content", content="", urls="http://host/a.png"))
    assert answer.images == ["http://host/a.png"]


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"completion_tokens": 3}, 3),
        ({"output_tokens": 4}, 4),
        ({"eval_count": 5}, 5),
        ({"completion_tokens": "?"}, None),
    ],
)
def test_tokens_in_several_spellings(usage, tokens):
    assert Answer(usage=usage).tokens == tokens


WHO = {"name": "P", "label": "Provider", "model": "m-1"}
DIRECT = {"name": "e.example", "label": "e.example", "url": "https://e.example/v1", "model": "m-1"}


@pytest.mark.parametrize(
    ("fields", "summary"),
    [
        (
            {"text": "Hi", "provider": WHO, "usage": {"output_tokens": 1}},
            "m-1 · Provider · 1 token · 0.0 s",
        ),
        ({"text": "Hi", "provider": {"name": "m-1", "model": "m-1"}, "seconds": 2.25}, "m-1 · 2.2 s"),
        (
            {"text": "Hi", "provider": DIRECT, "usage": {"output_tokens": 1234}, "seconds": 60.96},
            "m-1 · 1,234 tokens · 1 min 1 s",
        ),
        ({"text": "Hi", "provider": {**DIRECT, "servers": 2}}, "m-1 · e.example · 0.0 s"),
        ({"text": "Hi", "provider": {**DIRECT, "url": "http://["}}, "m-1 · e.example · 0.0 s"),
        ({"text": "Hi", "provider": {**DIRECT, "model": ""}}, "e.example · 0.0 s"),
        ({"text": "Hi", "model": "m-0", "provider": {"name": "P"}}, "m-0 · P · 0.0 s"),
        ({"model": "m-0", "_failed": True}, "no answer · m-0 · 0.0 s"),
        ({"text": "Hi", "provider": {**WHO, "label": "m-1, on this machine"}}, "m-1, on this machine · 0.0 s"),
        ({"text": "Hi", "stopped": True}, "stopped · 0.0 s"),
        ({"text": "Hi", "_failed": True}, "broke off · 0.0 s"),
        ({"_failed": True, "provider": WHO}, "no answer · m-1 · Provider · 0.0 s"),
        ({"reasoning": "Hm"}, "empty answer · 0.0 s"),
        ({"text": "Hi", "finish_reason": "length"}, "cut off at the token limit · 0.0 s"),
        ({"text": "Hi", "finish_reason": "max_tokens"}, "cut off at the token limit · 0.0 s"),
        ({"text": "Hi", "finish_reason": "content_filter"}, "stopped by a content filter · 0.0 s"),
        ({"images": [ImageUrl("https://e.example/a.png")], "provider": WHO}, "m-1 · Provider · 0.0 s"),
        ({"text": "Hi", "trimmed": 2}, "without the 2 oldest turns · 0.0 s"),
        ({"text": "Hi", "trimmed": 1}, "without the oldest turn · 0.0 s"),
        ({"text": "Hi", "recorded": "2026-11-23T08:00:00Z"}, "0.0 s · asked 2026-11-23"),
        ({"text": "Hi", "remarks": ["df: 20 of 200 rows sent"]}, "0.0 s · df: 20 of 200 rows sent"),
        ({"text": "Hi", "remarks": ["a", "b", "c", "d", "e"]}, "0.0 s · a · b · c · 2 more shortened"),
        ({"text": "Hi", "_cache_error": "disk full"}, "0.0 s · not cached: disk full"),
        ({"text": "Hi", "provider": {"name": "a\n\x1b[31mb"}}, "a [U+001B][31mb · 0.0 s"),
    ],
)
def test_the_summary_of_an_answer(fields, summary):
    assert Answer(**fields).summary == summary


async def test_the_summary_knows_how_the_stream_ended(backend):
    backend.engine.enqueue("Half", RuntimeError("m"))
    failed = Chat().stream("Hi?")
    with pytest.raises(ServerError):
        await rest_of(failed)
    assert failed.answer.summary.startswith("broke off · scripted, on this machine")
    backend.engine.enqueue("Half", ...)
    stopped = Chat().stream("Hi?")
    async for event in stopped:
        if str(event):
            await stopped.aclose()
    assert stopped.answer.summary.startswith("stopped · scripted, on this machine")
    complete = (await Chat().ask("Hi?")).summary
    assert complete.startswith("scripted, on this machine")


async def test_an_answer_says_what_was_left_out_of_its_prompt(backend, tmp_path):
    chat = Chat()
    answer = await chat.ask("Hi?", png(3000, 4), remarks=["df: 20 of 200 rows sent"])
    assert answer.remarks == ["df: 20 of 200 rows sent", "image.png: scaled from 3000×4 to 2048×3"]
    chat.save(tmp_path / "chat.json")
    read = Answer.of(Chat.load(tmp_path / "chat.json").messages[-1])
    assert (read.remarks, read.summary) == (answer.remarks, answer.summary)
    chat.export(tmp_path / "chat.md")
    assert "df&#58; 20 of 200 rows sent; image.png" in (tmp_path / "chat.md").read_text(encoding="utf-8")
    assert Answer.of(Message({"role": "assistant", "content": "Hi"}, {"remarks": [1, "a"]})).remarks == ["a"]
    assert Answer.of(Message({"role": "assistant", "content": "Hi"}, {"remarks": 1})).remarks == []


async def rest_of(stream):
    async for _ in stream:
        pass


def test_the_code_of_an_answer():
    text = "Try:\n```python\nx = 1\n\ny = 2\n```\nor\n~~~\nz\n~~~\n`not this`\n\n- in a list:\n\n  ```\n  w\n  ```\n"
    assert Answer(text=text).code == ["x = 1\n\ny = 2", "z", "w"]


def test_answers_are_values():
    answer = Answer(text="a", reasoning="b")
    answer.add(RawResponse(type="content", content="c"))
    assert answer.text == "ac"
    assert pickle.loads(pickle.dumps(answer)).text == copy.deepcopy(answer).text == "ac"
    answer.text = "d"
    assert (answer.text, answer.reasoning, Answer().text) == ("d", "b", "")


def test_two_hundred_thousand_events_are_joined_once():
    answer, event = Answer(), RawResponse(type="content", content="12345678")
    for _ in range(200_000):
        answer.add(event)
    pieces = vars(answer)["text"]
    assert max(map(len, pieces)) <= 8 * 1001  # += would have copied 160 GB by now
    assert len(pieces) < 2000  # each loose string takes 57 bytes for 8 characters
    assert len(answer.text) == 1_600_000
    assert len(vars(answer)["text"]) == 1


async def test_the_error_of_a_broken_answer_has_its_partial_text(wire_server):
    wire_server.answer(CHUNKED + chunk(sse(content("Hel"))), end="reset")
    chat = Chat(url=wire_server.url)
    stream = chat.stream("Hi?")
    with pytest.raises(ConnectionFailed) as failure:
        async for _ in stream:
            pass
    assert failure.value.partial == stream.answer.text == "Hel"
    assert not stream.answer.stopped
    assert chat.messages == []


def test_the_title_is_the_first_question_as_it_was_typed():
    filled = Message({"role": "user", "content": "DataFrame, 200 rows: why?"}, {"typed": "{{ df }}: why?"})
    chat = Chat()
    chat.messages = [filled]
    assert chat.title == "{{ df }}: why?"
    filled.metadata["typed"] = 3
    assert chat.title == "DataFrame, 200 rows: why?"


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("Why is\tthe sky   blue?\n\n| a | table |", "Why is the sky blue?"),
        ("\n  First line\rsecond", "First line"),
        ("word " * 20, "word word word word word word word word word word word …"),
        ("x" * 100, "x" * 58 + " …"),
        (" ", ""),
        ([{"type": "text", "text": "What is this?"}], "What is this?"),
    ],
)
def test_the_title_is_the_first_question_in_one_line(question, title):
    chat = Chat()
    assert chat.title == ""
    chat.messages = [{"role": "system", "content": "S"}, {"role": "user", "content": question}]
    assert chat.title == title
    chat.title = "Mine"
    assert chat.title == "Mine"
    chat.title = None
    assert chat.title == title
    with pytest.raises(TypeError, match="the title is of type int"):
        chat.title = 3
