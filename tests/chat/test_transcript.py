"""Chats as JSON files: what is saved is loaded, and what never gets into a file."""

from __future__ import annotations

import copy
import json
import math
import os
import stat

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import TOKEN

from nb_backend import Chat
from nb_backend.chat.cell_run import from_cell
from nb_backend.chat.messages import LOCAL_KEYS
from nb_backend.chat.transcript import MAX_SIZE, Transcript

any_text = st.text(st.characters(exclude_categories=()))  # lone surrogates too
valid_text = st.text()
texts_or_none = st.none() | valid_text
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": valid_text},
        optional={"stopped": st.just(True), "trimmed": st.integers(0, 99), "cell": valid_text, "system": valid_text},
    )
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | valid_text,
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["a", "max_tokens", "ä"]), inner),
)
in_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def chat_of(*said: str, **fields) -> Chat:
    chat = Chat(**fields)
    chat.messages = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(said)]
    return chat


@in_folder
@given(texts_or_none, texts_or_none, texts_or_none, st.dictionaries(st.sampled_from(["top_p", "x"]), values), messages)
def test_what_is_saved_is_loaded(tmp_path, model, provider, system, params, messages):
    chat = Chat(model, provider=provider, system=system)
    chat.params, chat.messages = params, messages
    chat.save(path := tmp_path / "chat.json")
    again = Chat.load(path)
    assert (again.model, again.provider, again.system) == (model, provider, chat.system)
    assert (again.params, again.messages) == (params, messages)
    again.save(second := tmp_path / "second.json")
    assert second.read_bytes() == path.read_bytes()


@in_folder
@given(any_text, any_text, st.dictionaries(any_text, st.floats() | any_text))
def test_any_text_makes_valid_files(tmp_path, question, answer, params):
    chat = chat_of(question, answer)
    chat.params = params
    before = copy.deepcopy(chat.messages)
    for name in ("chat.json", "chat.md", "chat.ipynb"):
        (chat.save if name == "chat.json" else chat.export)(tmp_path / name)
    text = (tmp_path / "chat.json").read_text(encoding="utf-8")
    json.loads(text, parse_constant=lambda name: pytest.fail(name))
    nbformat.validate(nbformat.read(tmp_path / "chat.ipynb", as_version=nbformat.NO_CONVERT))
    (tmp_path / "chat.md").read_text(encoding="utf-8")
    if not any("\ud800" <= sign <= "\udfff" for sign in question + answer):
        assert Chat.load(tmp_path / "chat.json").messages == chat.messages
    assert chat.messages == before


async def test_a_loaded_chat_continues(backend, tmp_path):
    chat = Chat("m", system="S", temperature=0.5)
    with from_cell("a"):
        await chat.ask("Hi?")
    await chat.ask("Ho?")
    chat.save(tmp_path / "chat.json")
    again = Chat.load(tmp_path / "chat.json")
    with from_cell("a"):
        await again.ask("Changed?")
    body = backend.engine.history[-1]
    assert body["messages"] == [{"role": "system", "content": "S"}, {"role": "user", "content": "Changed?"}]
    assert (body["model"], body["temperature"]) == ("m", 0.5)
    await again.ask("More?")
    assert all(not LOCAL_KEYS & message.keys() for message in backend.engine.history[-1]["messages"])


def test_the_format(tmp_path):
    chat_of("Grüße?", "😀", model="m").save(tmp_path / "chat.json")
    text = (tmp_path / "chat.json").read_text(encoding="utf-8")
    assert "Grüße?" in text
    assert json.loads(text) == {
        "format": "nb_backend.chat",
        "version": 1,
        "model": "m",
        "provider": None,
        "system": None,
        "params": {},
        "messages": [{"role": "user", "content": "Grüße?"}, {"role": "assistant", "content": "😀"}],
    }


def test_a_title_is_saved_if_the_user_gave_it(tmp_path):
    chat = chat_of("Why is the sky blue?", "It scatters.")
    assert chat.title == "Why is the sky blue?"
    chat.title = "  Colors\nof the sky "
    chat.save(path := tmp_path / "chat.json")
    assert Chat.load(path).title == chat.title == "Colors of the sky"
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(record | {"title": 3}), encoding="utf-8")
    with pytest.raises(ValueError, match='"title" have to be strings'):
        Chat.load(path)


@pytest.mark.parametrize("name", ["chat.json", "chat.md", "chat.ipynb"])
def test_no_file_has_a_key(tmp_path, monkeypatch, name):
    monkeypatch.setenv("NB_BACKEND_API_KEY", "key-of-the-environment")
    for key in (TOKEN, None):
        secret = key or "key-of-the-environment"
        chat = chat_of(f"my key is {secret}", secret, url="http://host/v1", api_key=key, system=secret)
        chat.params = {
            "max_tokens": 7,
            "stop": [secret],
            "api_key": "hidden",
            "proof_token": "hidden",
            "headers": {"Authorization": "Bearer hidden", "X-Api-Key": "hidden", "Cookie": "hidden"},
            "extra": [{"access_token": "hidden"}],
        }
        chat._history._server_states = {"P": {"session": "hidden"}}
        (chat.save if name == "chat.json" else chat.export)(tmp_path / name)
        text = (tmp_path / name).read_text(encoding="utf-8")
        for absent in (secret, "hidden", "Authorization", "Bearer", "http://host"):
            assert absent not in text
        assert "my key is" in text
        assert ("max_tokens" in text) == (name != "chat.md")
        assert chat.params["api_key"] == "hidden"  # the chat itself is as it was


def test_the_url_is_an_argument_and_never_read_from_a_file(tmp_path):
    path = tmp_path / "chat.json"
    record = json.loads('{"format": "nb_backend.chat", "version": 1, "params": {"headers": {"Authorization": "x"}}}')
    path.write_text(json.dumps({**record, "messages": [], "url": "http://evil", "api_key": "x"}))
    chat = Chat.load(path)
    assert (chat.url, chat._api_key.value, chat.params) == (None, None, {"headers": {}})
    assert Chat.load(path, url="http://host", api_key="k").url == "http://host"


def test_a_short_key_is_no_secret(tmp_path):
    chat = chat_of("none of it", api_key="none")
    chat.save(tmp_path / "chat.json")
    assert Chat.load(tmp_path / "chat.json").messages[0]["content"] == "none of it"


def test_only_the_owner_reads_it(tmp_path):
    path = tmp_path / "chat.json"
    path.write_text("older")
    path.chmod(0o644)
    chat_of("a", "b").save(path)
    chat_of("a", "b").export(tmp_path / "chat.md")
    assert [stat.S_IMODE(file.stat().st_mode) for file in sorted(tmp_path.iterdir())] == [0o600, 0o600]


def test_a_home_and_a_link(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "link.json").symlink_to("chat.json")
    chat_of("a").save("~/link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert Chat.load("~/chat.json").messages == Chat.load(str(tmp_path / "link.json")).messages != []


def test_what_fails_leaves_the_older_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "chat.json"
    chat_of("a", "b").save(path)
    before = path.read_bytes()
    for bad in (object(), [object()]):
        with pytest.raises(ValueError, match="JSON has no type for object"):
            chat_of("a", x=bad).save(path)
    endless: list = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nested too deeply"):
        chat_of("a", x=endless).save(path)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        chat_of("c").save(path)
    assert [(file, file.read_bytes()) for file in tmp_path.iterdir()] == [(path, before)]
    with pytest.raises(FileNotFoundError):
        chat_of("c").save(tmp_path / "no" / "chat.json")


class Array:
    """What numpy's numbers and arrays can."""

    def __init__(self, value: object) -> None:
        self.value = value

    def tolist(self) -> object:
        return self.value


def test_parameters_of_other_types(tmp_path):
    params = {"top_p": Array(0.5), "bias": Array([1, 2]), "stop": ("a", "b"), "t": math.nan}
    chat_of("a", **params).save(tmp_path / "chat.json")
    assert Chat.load(tmp_path / "chat.json").params == {"top_p": 0.5, "bias": [1, 2], "stop": ["a", "b"], "t": None}


GOOD = {"format": "nb_backend.chat", "version": 1, "params": {}, "messages": []}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"format": "nb_backend.ch', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"9" * 10_000, "not JSON"),
        ([], '"format" is not "nb_backend.chat"'),
        ({"cells": [], "nbformat": 4}, '"format" is not "nb_backend.chat"'),
        ({**GOOD, "version": None}, '"version" is not a positive whole number'),
        ({**GOOD, "version": True}, '"version" is not a positive whole number'),
        ({**GOOD, "version": 2}, "newer nb_backend"),
        ({**GOOD, "model": 7}, "have to be strings"),
        ({**GOOD, "params": []}, '"params" is not an object'),
        ({**GOOD, "params": {"messages": []}}, '"params" must not contain "messages"'),
        ({**GOOD, "messages": None}, '"messages" is not a list of messages'),
        *(
            ({**GOOD, "messages": [message]}, '"messages" is not a list of messages')
            for message in (
                7,
                {},
                {"role": 7},
                {"role": "user", "content": 7},
                {"role": "user", "content": [7]},
                {"role": "user", "content": "", "trimmed": -1},
                {"role": "user", "content": "", "trimmed": "1"},
                {"role": "user", "content": "", "cell": 1},
                {"role": "user", "content": "", "system": None},
                {"role": "user", "content": "", "stopped": 1},
            )
        ),
    ],
)
def test_a_damaged_or_foreign_file(tmp_path, data, why):
    path = tmp_path / "chat.json"
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    with pytest.raises(ValueError, match=why) as failure:
        Chat.load(path)
    assert "\n" not in str(failure.value)
    assert "chat.json" in str(failure.value)


def test_lone_surrogates_and_infinities_in_a_file_are_replaced(tmp_path):
    path = tmp_path / "chat.json"
    path.write_text(json.dumps({**GOOD, "system": "a\ud800"}).replace('"params": {}', '"params": {"t": 1e999}'))
    chat = Chat.load(path)
    assert (chat.system, chat.params) == ("a\ufffd", {"t": None})


def test_a_missing_irregular_or_large_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        Chat.load(tmp_path / "none.json")
    with pytest.raises(ValueError, match="it is not a regular file"):
        Chat.load(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="it is not a regular file"):
        Chat.load(tmp_path / "pipe")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(MAX_SIZE + 1)
    with pytest.raises(ValueError, match="larger than 256 MB"):
        Chat.load(tmp_path / "large.json")


def test_without_leaves_the_transcript_as_it_was():
    transcript = Transcript(params={"api_key": "x"}, messages=[{"role": "user", "content": "\ud800"}])
    assert transcript.without(None).params == {}
    assert transcript == Transcript(params={"api_key": "x"}, messages=[{"role": "user", "content": "\ud800"}])
