"""A question goes only where the user sent it, and says only what the user wrote."""

from __future__ import annotations

import json
import traceback

import pytest
from wire_server import CHUNKED, FINISH, LAST_CHUNK, chunk

import nb_backend
from nb_backend import Answer, BackendApi, Chat, background, settings
from nb_backend.chat.wire import wire_messages
from nb_backend.errors import TimedOut

KEY = "sk-a-key-that-nobody-sees"


# -- keywords


@pytest.mark.parametrize("name", ["base_url", "api_base", "endpoint", "host", "headers", "ssl", "timeout", "cahce"])
def test_a_keyword_that_chat_does_not_know_is_refused_before_anything_is_sent(backend, name):
    calls = [
        lambda: Chat("m", **{name: "x"}),
        lambda: Chat("m")("Hi", **{name: "x"}),
        lambda: Chat("m").request("Hi", **{name: "x"}),
        lambda: Chat("m").stream("Hi", **{name: "x"}),
        lambda: nb_backend.map(["Hi"], progress=False, **{name: "x"}),
        lambda: nb_backend.compare("Hi", ["m"], progress=False, **{name: "x"}),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=f"has no argument {name}: "):
            call()
    chat = Chat("m")
    chat.params[name] = "x"
    with pytest.raises(TypeError, match=f"has no argument {name}: "):
        chat("Hi")
    assert backend.engine.history == []


def test_a_chat_with_such_keywords_names_the_right_ones(backend):
    with pytest.raises(TypeError, match=r"^map has no argument base_url: use url=$"):
        nb_backend.map(["Hi"], base_url="http://localhost:9")
    with pytest.raises(TypeError, match=r"^compare has no argument base_url: use url=$"):
        nb_backend.compare("Hi", ["m"], base_url="http://localhost:9")
    with pytest.raises(TypeError, match=r"^a prompt has no argument url: use Chat\(url=…\)$"):
        Chat("m")("Hi", url="http://localhost:9")


@pytest.mark.parametrize("ask", ["make", "call", "ask", "stream", "request", "map"])
async def test_a_key_in_such_a_keyword_is_in_no_error_and_no_variable_of_a_traceback(ask):
    def call(**given):
        chat = Chat("m", url="http://localhost:9")
        made = {"make": Chat, "call": chat, "stream": chat.stream, "request": chat.request}
        return made[ask](*(["Hi"] if ask != "make" else []), **given)

    try:
        if ask == "ask":
            await Chat("m").ask("Hi", openai_api_key=KEY)
        elif ask == "map":
            nb_backend.map(["Hi"], openai_api_key=KEY)
        else:
            call(openai_api_key=KEY)
        pytest.fail("it was not refused")
    except TypeError as refusal:
        shown = traceback.TracebackException.from_exception(refusal, capture_locals=True)
    ours = [frame for frame in shown.stack if "nb_backend" in frame.filename and "tests" not in frame.filename]
    assert ours
    assert KEY not in f"{[(frame.locals, str(shown)) for frame in ours]}"


# -- time-outs


def silent(wire_server) -> str:
    wire_server.answer(CHUNKED + chunk(b": wait\n\n"), end="stall")
    return f"{wire_server.url}/v1"


def test_the_idle_timeout_of_a_chat_is_that_of_its_answers(wire_server):
    chat = Chat("m", url=silent(wire_server), idle_timeout=0.2)
    with pytest.raises(TimedOut, match=r"nothing for 0\.2 s: ask again, or raise idle_timeout: Chat\(…, idle_timeout"):
        chat("Hi")
    (request,) = wire_server.requests
    assert request.json.keys() == {"model", "messages", "stream", "stream_options"}


def test_the_idle_timeout_of_the_settings_and_of_map(wire_server):
    url = silent(wire_server)
    settings.current.idle_timeout = 0.2
    with pytest.raises(TimedOut, match=r"0\.2 s"):
        Chat("m", url=url)("Hi")
    (error,) = nb_backend.map(["Hi"], url=url, progress=False, idle_timeout=0.1)
    assert "nothing for 0.1 s" in str(error)


def test_the_connect_timeout_reaches_the_provider():
    request = Chat("m", url="http://localhost:9", connect_timeout=3).request("Hi")
    assert (request.provider.connect_timeout, request.provider.idle_timeout) == (3, BackendApi.idle_timeout)


@pytest.mark.parametrize("name", ["connect_timeout", "idle_timeout"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, "600", [1]])
def test_a_timeout_that_is_not_a_number_of_seconds_is_refused(name, value):
    with pytest.raises((TypeError, ValueError), match=f"{name} (has to be|is) "):
        Chat("m", **{name: value})
    chat = Chat("m")
    setattr(chat, name, value)
    with pytest.raises((TypeError, ValueError), match=f"{name} (has to be|is) "):
        chat.request("Hi")


# -- the prompt


def test_an_answer_as_a_prompt_is_its_text(backend):
    backend.engine.enqueue("Blue light")
    answer = Chat("m")("Why?")
    Chat("m")(answer)
    Chat("m", system=answer)("Hi")
    nb_backend.map([answer], progress=False)
    nb_backend.map([{"text": answer}], template="Shorten: {{ text }}", progress=False)
    nb_backend.compare(answer, ["m"], progress=False)
    texts = [[message["content"] for message in body["messages"]] for body in backend.engine.history[1:]]
    assert texts == [["Blue light"], ["Blue light", "Hi"], ["Blue light"], ["Shorten: Blue light"], ["Blue light"]]


@pytest.mark.parametrize(
    "prompt", [None, 7, 1.5, b"Hi", ["Hi"], {"role": "user", "content": "Hi"}, object(), [Answer()]]
)
async def test_a_prompt_that_is_not_a_text_is_refused_before_anything_is_sent(backend, prompt):
    chat = Chat("m")
    for call in (chat, chat.stream, chat.request, lambda prompt: background.run(chat.ask(prompt))):
        with pytest.raises(TypeError, match=r"^the prompt is (None|of type \w+), not a text: make it one") as refusal:
            call(prompt)
        assert "\n" not in str(refusal.value)
    if prompt is not None:
        with pytest.raises(TypeError, match=r"^the system prompt is of type"):
            Chat("m", system=prompt)
        with pytest.raises(TypeError, match=r"^the system prompt is of type"):
            chat.system = prompt
        with pytest.raises(TypeError, match=r"not a text|need a template"):
            nb_backend.map([prompt], progress=False)
    assert chat.messages == []
    assert backend.engine.history == []


def test_a_single_answer_is_not_a_list_of_prompts(backend):
    with pytest.raises(TypeError, match="prompts is a single Answer: put it into a list"):
        nb_backend.map(Answer())


def test_no_images_may_be_written_as_none(backend):
    chat = Chat("m")
    chat("a", images=None)
    background.run(chat.ask("b", None))
    assert chat.request("c", images=None).media == []
    nb_backend.map(["d"], images=None, progress=False)
    nb_backend.compare("e", ["m"], images=None, progress=False)
    assert [body["media"] for body in backend.engine.history] == [None] * 4


# -- the messages


def user(text):
    return {"role": "user", "content": text}


def model(content, **more):
    return {"role": "assistant", "content": content, **more}


CALL = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
EMPTY = [
    *(model(content) for content in (None, "", " \n\t", [], [{"type": "text", "text": ""}])),
    model("", stopped=True, trimmed=1, images={}),
    model("", reasoning="Hm", reasoning_content="Hm"),
    {"role": "assistant", "media": []},
    {"role": "system", "content": " "},
    {"role": "developer", "content": ""},
]
SAYS_SOMETHING = [
    model("x"),
    model([{"type": "text", "text": "x"}]),
    model([{"type": "image_url", "image_url": {"url": "https://e.x"}}]),
    *(model("", **{name: value}) for name, value in (("tool_calls", CALL), ("refusal", "No"), ("audio", {"id": 1}))),
    {"role": "system", "content": "x"},
    {"role": "tool", "content": "", "tool_call_id": "c"},
    user(""),
]


@pytest.mark.parametrize("message", EMPTY)
def test_an_empty_answer_or_system_prompt_is_not_sent(message):
    assert wire_messages([user("a"), model("b"), message, user("c")]) == [user("a"), model("b"), user("c")]


@pytest.mark.parametrize("message", SAYS_SOMETHING)
def test_a_message_that_says_something_is_sent(message):
    assert wire_messages([user("a"), message, model("c")]) == [user("a"), message, model("c")]


def test_the_prompts_around_an_empty_answer_become_one_so_that_roles_alternate():
    chat = Chat("m", url="http://localhost:9", system=" ")
    chat.messages = [user("a"), model(""), user("b"), model(None), user("c"), model("d"), user("e"), model("")]
    assert chat.request("f").body()["messages"] == [user("a\n\nb\n\nc"), model("d"), user("e\n\nf")]
    picture = [{"type": "image_url", "image_url": {"url": "https://e.x"}}]
    joined = [*picture, {"type": "text", "text": "b"}]
    assert wire_messages([user(picture), model(""), user("b")]) == [user(joined)]
    assert wire_messages([user("a"), user("b")]) == [user("a"), user("b")]  # as the user has written them


@pytest.mark.parametrize("path", ["", "/v1"])
def test_a_chat_goes_on_after_an_empty_answer(wire_server, path):
    done = {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]} if path else FINISH
    wire_server.answer(CHUNKED + chunk(b"data: %s\n\n" % json.dumps(done).encode()) + LAST_CHUNK)
    chat = Chat("m", url=f"{wire_server.url}{path}")
    chat("one")
    chat("two")
    assert [message["content"] for message in chat.messages] == ["one", "", "two", ""]
    assert wire_server.requests[1].json["messages"] == [user("one\n\ntwo")]


def test_an_image_without_a_prompt_is_sent_without_an_empty_text():
    png = "data:image/png;base64,iVBORw0KGgoAAAAAAAAAAA=="
    body = Chat("m", url="http://localhost:9/v1").request("", images=png).body()
    assert [part["type"] for part in body["messages"][0]["content"]] == ["image_url"]
