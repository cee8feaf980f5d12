"""Answers from the cache: the same request gets the same answer, without a server; one file each, with no key in it."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from chat_support import questions
from hypothesis import given
from hypothesis import strategies as st
from image_serving import PNG, images, uri
from png import png
from scripted_calls import tool_call
from serving import serving

from nb_backend import Answer, AuthError, BackendError, Chat, RawResponse, ServerError, attach, settings
from nb_backend.chat.cache import AnswerCache
from nb_backend.chat.recording import CachedAnswer, EventRecorder, cache_key, cache_key_fields
from nb_backend.local import process
from nb_backend.local.scripted import ScriptedEngine
from nb_backend.tools.tool import Tool

posix = pytest.mark.skipif(os.name != "posix", reason="modes of files")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(settings.current, "cache", str(tmp_path / "answers"))
    return tmp_path / "answers"


def asked(backend) -> int:
    return len(backend.engine.history)


def only_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


async def events_of(chat: Chat, question: str, **options) -> list[RawResponse]:
    return [event async for event in chat.stream(question, **options)]


# -- the same request


async def test_the_same_question_is_answered_without_a_request(backend, folder):
    backend.engine.enqueue({"type": "reasoning", "token": "Hm.\nWell."}, "Blue ", "light\nscatters", " most.\n\nSo.")
    first = await Chat("m").ask("Why is the sky blue?")
    again = await Chat("m").ask("Why is the sky blue?")
    assert asked(backend) == 1
    assert not first.replayed
    assert again.replayed
    assert first.recorded == again.recorded
    assert (again.text, again.reasoning, again.usage) == (first.text, first.reasoning, first.usage)
    assert again.metadata() == first.metadata()
    assert again.to_markdown() == first.to_markdown()


async def test_a_replay_streams_and_names_its_date(backend, folder):
    backend.engine.enqueue("one\ntwo ", "still two\nthree")
    answer = await Chat().ask("Hi")
    events = await events_of(Chat(), "Hi")
    assert events[0] == RawResponse(type="replayed", recorded=answer.recorded)
    assert [str(event) for event in events if str(event)] == ["one\n", "two still two\n", "three"]
    assert [event.type for event in events[-2:]] == ["finish", "usage"]


async def test_a_chat_is_replayed_turn_by_turn_and_continues(backend, folder):
    for chat in (Chat(system="S"), Chat(system="S")):
        for question in ("one", "two"):
            await chat.ask(question)
    assert asked(backend) == 2
    assert questions(chat) == ["one", "two"]
    await chat.ask("three")
    assert asked(backend) == 3
    assert [message["content"] for message in backend.engine.history[-1]["messages"]] == [
        "S",
        *["one", "one", "two", "two", "three"],
    ]


async def test_attachments_count_by_content(backend, folder):
    picture = attach(PNG, "a.png")
    await Chat().ask("What is it?", [picture])
    await Chat().ask("What is it?", [attach(PNG, "other name.png")])
    assert asked(backend) == 1
    await Chat().ask("What is it?", [png(6, 6)])
    await Chat().ask("What is it?")
    assert asked(backend) == 3
    record = next(json.loads(file.read_text()) for file in folder.iterdir() if "sha256" in file.read_text())
    assert "base64" not in json.dumps(record["question"])


@pytest.mark.parametrize(
    "other",
    [
        lambda: Chat("other").ask("Hi"),
        lambda: Chat("m").ask("Hi!"),
        lambda: Chat("m", system="S").ask("Hi"),
        lambda: Chat("m", temperature=0.5).ask("Hi"),
        lambda: Chat("m", provider="P").ask("Hi"),
        lambda: Chat("m").ask("Hi", max_tokens=5),
    ],
    ids=["model", "question", "system", "parameter", "provider", "parameter of the question"],
)
async def test_another_request_is_sent(backend, folder, other):
    await Chat("m").ask("Hi")
    await other()
    assert asked(backend) == 2
    assert len([*folder.iterdir()]) == 2


async def test_a_server_of_another_dialect_is_asked(backend, folder, monkeypatch):
    await Chat("m").ask("Hi")
    with pytest.raises(BackendError):
        await Chat("m", url=f"{backend.url}/v1").ask("Hi")


async def test_with_refresh_the_new_answer_replaces_the_old_one(backend, folder):
    for text in ("old", "new", "newest"):
        backend.engine.enqueue(text)
    chat = Chat()
    await chat.ask("Hi")
    assert (await Chat().ask("Hi", refresh=True)).text == "new"
    assert (await Chat().ask("Hi")).text == "new"
    assert (await chat.ask("Hi", instead=chat.messages[0])).text == "newest"
    assert asked(backend) == 3
    assert len([*folder.iterdir()]) == 1


# -- what is cached


@pytest.mark.parametrize(
    ("steps", "failure"),
    [
        (["Half", RuntimeError("boom")], ServerError),
        ([{"type": "auth", "message": "no"}], AuthError),
        ([], None),
        ([{"type": "content", "content": ""}], None),
    ],
)
async def test_failed_and_empty_answers_are_not_cached(backend, folder, steps, failure):
    backend.engine.enqueue(*steps, *([] if failure else [{"type": "finish", "finish": "stop"}]))
    if failure:
        with pytest.raises(failure):
            await Chat().ask("Hi")
    else:
        await Chat().ask("Hi")
    assert not folder.exists()


@pytest.mark.parametrize(("approve", "stored"), [(None, 0), ("never", 1), ("always", 1)])
async def test_an_answer_whose_call_nobody_could_be_asked_about_is_not_cached(backend, folder, approve, stored):
    drop = Tool("drop", "", {"type": "object", "properties": {}}, lambda: "done", approve=True)
    backend.engine.enqueue(tool_call("drop"))
    backend.engine.enqueue("Well.")
    await Chat(tools=[drop], cache=folder, approve=approve).ask("Drop it.")
    assert AnswerCache(folder).size()[0] == stored


async def test_stopped_answers_are_not_cached(backend, folder):
    backend.engine.enqueue("Half", ...)
    async with aclosing(Chat().stream("Hi")) as stream:
        async for event in stream:
            if str(event):
                break
    assert stream.answer.stopped
    assert not folder.exists()


async def test_a_replay_that_is_left_early_is_kept_as_stopped(backend, folder):
    backend.engine.enqueue("one\n", "two\n")
    await Chat().ask("Hi")
    chat = Chat()
    async with aclosing(chat.stream("Hi")) as stream:
        async for event in stream:
            if str(event):
                break
    assert chat.messages[-1] == {"role": "assistant", "content": "one\n", "stopped": True}


async def test_a_replay_trims_the_same_turns(backend, folder, monkeypatch):
    async def four_turns() -> Chat:
        chat = Chat()
        for question in "abcd":
            await chat.ask(question)
        return chat

    too_long = {"type": "error", "error": "PromptTooLongError", "message": "9 tokens long and m takes 8"}
    for steps in ["a"], ["b"], ["c"], [too_long], ["d"]:
        backend.engine.enqueue(*steps)
    first = await four_turns()
    count = asked(backend)
    again = await four_turns()
    assert asked(backend) == count
    assert again.messages == first.messages
    assert again.messages[-1]["trimmed"] == 2


async def test_the_images_of_the_server_are_in_the_replay(image_server, folder):
    steps = ["![a](/media/x.png)", images("/media/second.png", alt="second", content="!")]
    image_server.engine.enqueue(*steps)
    first = await Chat().ask("Draw")
    fetched = len(image_server.asked)
    again = await Chat().ask("Draw")
    assert again.replayed
    assert len(image_server.asked) == fetched == 2
    assert again.to_markdown() == first.to_markdown()
    assert [image.data_uri for image in again.images] == [image.data_uri for image in first.images]
    assert uri(PNG) in again.to_markdown()


async def test_an_image_beside_the_text_that_is_a_data_uri_is_in_the_replay(backend, folder):
    backend.engine.enqueue("See:", images(uri(PNG), alt="red"))
    first = await Chat().ask("Draw")
    assert (await Chat().ask("Draw")).to_markdown() == first.to_markdown()


EVENTS = st.lists(
    st.one_of(
        st.builds(lambda text: RawResponse(type="content", content=text), st.text("ab \n\r\u2028é", max_size=8)),
        st.builds(lambda text: RawResponse(type="reasoning", token=text), st.text("ab \n", max_size=8)),
        st.builds(lambda url: RawResponse(type="content", content="x", urls=[url], alt="a"), st.sampled_from("ab")),
        st.just(RawResponse(type="finish", finish={"reason": "stop"})),
        st.just(RawResponse(type="usage", usage={"completion_tokens": 3})),
        st.just(RawResponse(type="log", log={"secret": "x"})),
        st.just(RawResponse(type="tool_calls", tool_calls=[{"id": 1}])),
        st.just(RawResponse(type="state", state=[{"functionCall": {"name": "lookup", "args": {"key": "a"}}}])),
    ),
    max_size=20,
)


@given(EVENTS)
def test_any_events_are_replayed_as_the_same_answer(events):
    first, again, recording = Answer(), Answer(), EventRecorder()
    for event in events:
        first.add(event)
        recording.add(event)
    for kept in recording.events():
        assert kept["type"] != "log"
        again.add(RawResponse(**kept))
    for name in ("text", "reasoning", "usage", "finish_reason", "images", "state"):
        assert getattr(again, name) == getattr(first, name)
    assert again.alts == first.alts


# -- the files


async def test_a_file_is_readable_has_a_stable_name_and_no_url(backend, folder):
    backend.engine.enqueue("Line one\n", "Line ", "two")
    await Chat("gpt-4o").ask("Why is the sky blue, and not green or yellow?")
    file = only_file(folder)
    assert file.name == "why-is-the-sky-blue-and-not-green-or-4a5a7fab9d54506a727c.json"
    text = file.read_text(encoding="utf-8")
    assert '\n  {"type": "content", "content": "Line one\\n"},\n' in text
    assert '\n  {"type": "content", "content": "Line two"},\n' in text
    assert backend.url not in text
    assert str(folder) not in text
    record = json.loads(text)
    assert record["format"] == "nb_backend.answer"
    assert record["question"]["messages"] == [
        {"role": "user", "content": "Why is the sky blue, and not green or yellow?"}
    ]


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("Why?", "why"),
        ("", "question"),
        ("../../etc/passwd", "etc-passwd"),
        ("Größe in € – «x»", "groe-in-x"),
        ("天は青い", "question"),
        ("a" * 100, "a" * 40),
        ("word " * 20, "word-word-word-word-word-word-word-word"),
        ([{"type": "text", "text": "Parts!"}], "parts"),
        ([{"type": "image_url", "image_url": {"url": "https://a/b"}}], "question"),
    ],
)
def test_a_file_is_named_after_the_prompt(tmp_path, question, name):
    made = cache_key_fields("backend", "m", [{"role": "user", "content": question}], {}, None)
    assert AnswerCache(tmp_path).path(made).name == f"{name}-{cache_key(made)[:20]}.json"


def test_a_hash_is_the_same_in_every_version():
    made = cache_key_fields("backend", "m", [{"role": "user", "content": "Hi"}], {"b": 1, "a": 0.5}, None)
    assert cache_key(made) == "57b40d5c2cc6b8c8a9fc0714aee2d2cc67730c1e233b733533823c1b8b2e94f3"
    assert cache_key({name: made[name] for name in reversed(made)}) == cache_key(made)


@pytest.mark.parametrize("name", ["city", "key", "api_token"])
def test_another_schema_of_an_argument_is_another_request_whatever_its_name(name):
    def made(kind: str) -> str:
        parameters = {"type": "object", "properties": {name: {"type": kind}}}
        params = {"tools": [Tool("lookup", "", parameters, len).schema]}
        return cache_key(cache_key_fields("backend", "m", [{"role": "user", "content": "Hi"}], params, None))

    assert made("string") == made("string") != made("integer")


@posix
async def test_only_the_owner_may_read_them(backend, folder):
    await Chat().ask("Hi")
    assert stat.S_IMODE(only_file(folder).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_no_file_contains_a_key(backend, folder, monkeypatch):
    key = "the-key-of-this-test-0123456789"
    monkeypatch.setenv("NB_BACKEND_API_KEY", key)
    monkeypatch.setattr(type(backend.engine), "stream", _repeats(key))
    with pytest.raises(AuthError):  # the server requires another key
        await Chat().ask(f"Is it {key}?")
    monkeypatch.setenv("NB_BACKEND_API_KEY", "the-token-of-the-tests")
    await Chat(metadata={"token": "secret-parameter"}, user="the-token-of-the-tests").ask(
        "Is it the-token-of-the-tests?"
    )
    text = only_file(folder).read_text(encoding="utf-8")
    assert "the-token-of-the-tests" not in text + only_file(folder).name
    assert "secret-parameter" not in text
    assert (
        await Chat(metadata={"token": "x"}, user="the-token-of-the-tests").ask("Is it the-token-of-the-tests?")
    ).replayed


def _repeats(key):
    async def stream(self, body):
        self.history.append(body)
        for name in (key, "the-token-of-the-tests"):
            yield {"type": "provider", "provider": {"name": name, "label": name, "token": name}}
            yield {"type": "reasoning", "token": name}
            yield {"type": "content", "content": name}
            yield {"type": "title", "title": name}
            yield {"type": "request", "request": {"api_key": name}}
        yield {"type": "finish", "finish": {"reason": "stop"}}

    return stream


async def test_a_damaged_file_is_replaced_by_a_new_answer(backend, folder):
    await Chat().ask("Hi")
    file = only_file(folder)
    whole = json.loads(file.read_text())
    damages = [b"", b"\xff", b"[]", b"null", b'{"format": "nb_backend.answer"}', b"[" * 100_000]
    damages += [json.dumps(whole | {"question": {}}).encode(), json.dumps(whole | {"version": 2}).encode()]
    damages += [json.dumps(whole | {"recorded": "yesterday"}).encode(), json.dumps(whole | {"events": [1]}).encode()]
    for number, damage in enumerate(damages):
        file.write_bytes(damage)
        assert not (await Chat().ask("Hi")).replayed
        assert asked(backend) == 2 + number
        assert json.loads(file.read_text())["question"] == whole["question"]


@given(st.data())
def test_no_file_raises_whatever_it_contains(data):
    made = cache_key_fields("backend", "m", [{"role": "user", "content": "Hi"}], {}, None)
    value = st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=9), lambda v: st.lists(v, max_size=3)
    )
    good = {"format": "nb_backend.answer", "version": 1, "recorded": "2026-11-23T10:00:00Z", "question": made}
    good |= {"seconds": 1.0, "first_token_seconds": None, "trimmed": 0, "images": {}, "events": []}
    event = st.dictionaries(st.sampled_from(["type", "content", "urls", "alt", "usage", "provider", "finish"]), value)
    kind = st.sampled_from(["content", "reasoning", "provider", "usage", "finish", "tool_calls", "title"])
    events = st.lists(st.builds(lambda made, kind: made | {"type": kind}, event, kind), max_size=5)
    name = data.draw(st.sampled_from(["seconds", "first_token_seconds", "trimmed", "images", "events"]))
    record = good | {name: data.draw(events if name == "events" else value)}
    store = AnswerCache(Path(data.draw(st.just("nowhere"))))
    found = _get(store, record, made)
    if found is not None:
        answer = Answer()
        found.prepare(answer)
        for kept in found.events:
            answer.add(RawResponse(**kept))
        answer.end()
        found.restore(answer)
        answer.metadata()
        answer.to_markdown()


def _get(store: AnswerCache, record: dict, question: dict) -> CachedAnswer | None:
    with TemporaryDirectory() as folder:
        store.folder = Path(folder)
        store.path(question).write_text(json.dumps(record))
        return store.get(question)


@posix
@pytest.mark.parametrize("kind", ["link", "pipe", "device"])
async def test_a_link_or_pipe_is_replaced_and_not_read(backend, folder, tmp_path, kind):
    await Chat().ask("Hi")
    file, mine = only_file(folder), tmp_path / "mine"
    mine.write_bytes(file.read_bytes())
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to(mine if kind == "link" else "/dev/zero")
    before = mine.read_bytes()
    assert not (await Chat().ask("Hi")).replayed
    assert stat.S_ISREG(file.lstat().st_mode)
    assert mine.read_bytes() == before
    assert (await Chat().ask("Hi")).replayed


# -- the folder


async def test_the_most_specific_setting_chooses_the_folder(backend, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert settings.cache() is None
    assert settings.cache(True) == tmp_path / "nb_backend_cache"
    monkeypatch.setenv("NB_BACKEND_CACHE", "named")
    assert settings.cache() == settings.cache(True) == tmp_path / "named"
    settings.current.cache = False
    assert settings.cache() is None
    settings.current.cache = True
    assert settings.cache() == tmp_path / "named"
    settings.current.cache = str(tmp_path / "set")
    assert settings.cache() == settings.cache(True) == tmp_path / "set"
    assert settings.cache(False) is None
    assert settings.cache(tmp_path) == tmp_path
    assert settings.cache("~/x") == tmp_path / "home" / "x"
    await Chat(cache="mine").ask("Hi")
    await Chat(cache=False).ask("Hi")
    await Chat(cache=False).ask("Hi", cache=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "set"]
    assert asked(backend) == 3


async def test_with_no_cache_nothing_is_written(backend, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = await Chat().ask("Hi")
    assert (answer.recorded, answer.replayed, [*tmp_path.iterdir()]) == ("", False, [])


async def test_if_the_cache_cannot_be_written_the_answer_says_why(backend, tmp_path):
    (tmp_path / "file").write_text("in the way")
    answer = await Chat(cache=tmp_path / "file").ask("Hi")
    assert answer.text == "Hi"
    assert answer.recorded == ""
    assert answer._cache_error


async def test_above_the_limit_the_least_recently_used_answers_are_deleted(backend, folder, monkeypatch):
    (folder).mkdir()
    (folder / "notes.txt").write_text("mine " * 10_000)
    (folder / "other.json").write_text("mine " * 10_000)
    await Chat().ask("q0")
    size = next(file for file in folder.iterdir() if file.name.startswith("q0")).stat().st_size
    monkeypatch.setattr(settings.current, "max_cache_bytes", 5 * size)
    for number in range(1, 5):
        await Chat().ask(f"q{number}")
        _older(folder, f"q{number}", 100 - number)
    _older(folder, "q0", 1000)
    await Chat().ask("q0")  # used again
    for number in range(5, 7):
        await Chat().ask(f"q{number}")
    kept = {file.name[:2] for file in folder.glob("q*.json")}
    assert "q0" in kept
    assert "q6" in kept
    assert kept.isdisjoint({"q1", "q2"})
    assert sum(file.stat().st_size for file in folder.glob("q*.json")) <= 5 * size
    assert {"notes.txt", "other.json"} <= {file.name for file in folder.iterdir()}


def _older(folder: Path, name: str, seconds: float) -> None:
    (file,) = folder.glob(f"{name}-*.json")
    when = file.stat().st_mtime - seconds
    os.utime(file, (when, when))


async def test_an_answer_above_the_limit_is_not_cached(backend, folder, monkeypatch):
    monkeypatch.setattr(settings.current, "max_cache_bytes", 1000)
    backend.engine.enqueue("word " * 1000)
    answer = await Chat().ask("Hi")
    assert answer.recorded == ""
    assert "MB" in answer._cache_error
    assert not folder.exists()


async def test_clearing_deletes_only_answers(backend, folder):
    await Chat().ask("a")
    await Chat().ask("b")
    (folder / "notes.txt").write_text("mine")
    store = AnswerCache(folder)
    assert store.size()[0] == 2
    assert store.clear() == 2
    assert [file.name for file in folder.iterdir()] == ["notes.txt"]
    assert store.clear() == 0
    assert AnswerCache(folder / "none").size() == (0, 0)


TOGETHER = """
import sys
from pathlib import Path
from nb_backend import Answer, RawResponse
from nb_backend.chat.cache import AnswerCache, now
from nb_backend.chat.recording import EventRecorder, cache_key_fields

store = AnswerCache(Path(sys.argv[1]), max_bytes=20_000)
for number in range(300):
    question = cache_key_fields("backend", "m", [{"role": "user", "content": f"question {number % 30}"}], {}, None)
    recording = EventRecorder()
    recording.add(RawResponse(type="content", content=sys.argv[2] * 500))
    answer = Answer(recorded=now())
    store.put(question, answer, recording.events())
    found = store.get(question)
    assert found is None or found.events[0]["content"] in ("a" * 500, "b" * 500), found
print("whole")
"""


def test_two_processes_may_write_at_once(tmp_path):
    command = [sys.executable, "-W", "error", "-c", TOGETHER, str(tmp_path)]
    both = [subprocess.Popen([*command, letter], stdout=subprocess.PIPE, text=True) for letter in "ab"]
    assert [process.communicate(timeout=120)[0] for process in both] == ["whole\n", "whole\n"]
    assert not [file for file in tmp_path.iterdir() if file.suffix == ".part"]
    for file in tmp_path.iterdir():
        assert json.loads(file.read_text())["format"] == "nb_backend.answer"
    assert AnswerCache(tmp_path).size()[1] <= 40_000


# -- cache only


def test_another_model_of_the_embedded_backend_has_other_answers(monkeypatch):
    monkeypatch.delenv("NB_BACKEND_URL", raising=False)
    request = Chat("m").request
    default = request("Hi").digest
    monkeypatch.setattr(process, "_file", Path("/models/Better-Q4_K_M.gguf"))
    better = request("Hi").digest
    monkeypatch.setattr(process, "_file", Path("/elsewhere/Better-Q4_K_M.gguf"))
    assert request("Hi").digest == better != default


async def test_with_cache_only_the_error_names_the_missing_prompt(backend, folder, monkeypatch):
    await Chat("m").ask("Known?")
    monkeypatch.setenv("NB_BACKEND_CACHE_ONLY", "1")
    assert (await Chat("m").ask("Known?")).replayed
    with pytest.raises(ValueError, match=r"'Unknown question\?'.*NB_BACKEND_CACHE_ONLY.*from m:"):
        await Chat("m").ask("Unknown question?")
    assert (await Chat("m").ask("Known?", refresh=True)).replayed
    assert asked(backend) == 1


@pytest.mark.parametrize("path", ["", "/v1"])
async def test_with_cache_only_no_server_is_needed(folder, monkeypatch, path):

    with serving(ScriptedEngine("from a server"), path) as server:
        server.is_set(monkeypatch)
        await Chat("m").ask("Hi", [PNG])
    for name in server.env:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NB_BACKEND_CACHE_ONLY", "1")
    monkeypatch.setattr(process, "ensure_running", None)  # nothing is started
    answer = await Chat("m").ask("Hi", [PNG])
    assert (answer.text, answer.replayed) == ("from a server", True)


async def test_cache_only_turns_the_cache_on(backend, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NB_BACKEND_CACHE_ONLY", "true")
    settings.current.cache = False
    with pytest.raises(ValueError, match="nb_backend_cache"):
        await Chat(cache=False).ask("Hi")
    monkeypatch.setenv("NB_BACKEND_CACHE_ONLY", "0")
    assert (await Chat().ask("Hi")).text == "Hi"
    assert asked(backend) == 1


async def test_a_replay_leaves_the_loop_to_others(backend, folder):
    backend.engine.enqueue("line\n" * 2000)
    await Chat().ask("Hi")
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    await Chat().ask("Hi")
    task.cancel()
    assert turns > 1000
