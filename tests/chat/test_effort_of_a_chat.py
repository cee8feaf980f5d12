"""``effort``: one of four words, for a chat or for one prompt, as g4f and the embedded backend get it."""

from __future__ import annotations

import pytest

import nb_backend
from nb_backend import Chat
from nb_backend.providers.common_fields import EFFORTS

WRONG = r"effort has to be none, low, medium or high, not 'extreme'"


@pytest.mark.parametrize("effort", EFFORTS)
async def test_g4f_gets_it_as_reasoning_effort(backend, effort):
    await Chat(effort=effort).ask("Hi?")
    body = backend.engine.history[-1]
    assert body["reasoning_effort"] == effort
    assert "effort" not in body


async def test_a_prompt_may_have_its_own_and_none_is_sent_without_one(backend):
    chat = Chat(effort="high", temperature=0)
    await chat.ask("Hi?", effort="low")
    await chat.ask("Hi?")
    await chat.ask("Hi?", effort=None)
    chat.effort = None
    await chat.ask("Hi?")
    assert [body.get("reasoning_effort") for body in backend.engine.history] == ["low", "high", None, None]
    assert (chat.params, chat.effort) == ({"temperature": 0}, None)
    chat.effort = "none"
    assert (chat.params, chat.effort) == ({"temperature": 0, "effort": "none"}, "none")


def test_the_embedded_backend_does_not_get_it():
    body = Chat("m", effort="low", seed=1).request("Hi?").body()
    assert body.keys() == {"model", "messages", "media", "seed"}


def test_a_wrong_one_is_refused_before_anything_is_sent(backend):
    chat = Chat()
    for refused in (
        lambda: Chat(effort="extreme"),
        lambda: setattr(chat, "effort", "extreme"),
        lambda: chat("Hi?", effort="extreme"),
        lambda: nb_backend.map(["Hi?"], effort="extreme"),
        lambda: nb_backend.compare(["Hi?"], ["m"], effort="extreme"),
    ):
        with pytest.raises(ValueError, match=WRONG):
            refused()
    assert (backend.engine.history, chat.effort) == ([], None)
    with pytest.raises(ValueError, match="not '7'"):
        Chat(effort=7)
    with pytest.raises(ValueError, match=r"not '\[\]'"):
        Chat(effort=[])


def test_map_and_compare_send_it(backend):
    nb_backend.map(["Hi?"], effort="medium")
    nb_backend.compare(["Hi?"], ["m"], effort="medium", progress=False)
    assert [body["reasoning_effort"] for body in backend.engine.history] == ["medium", "medium"]


def test_it_is_saved_with_the_chat_and_a_wrong_one_of_a_file_is_not_sent(backend, tmp_path):
    Chat("m", effort="high").save(tmp_path / "chat.json")
    loaded = Chat.load(tmp_path / "chat.json")
    assert loaded.effort == "high"
    text = (tmp_path / "chat.json").read_text()
    (tmp_path / "chat.json").write_text(text.replace('"high"', '"extreme"'))
    with pytest.raises(ValueError, match=WRONG):
        Chat.load(tmp_path / "chat.json")("Hi?")
    assert backend.engine.history == []


def test_another_effort_is_another_request_for_the_cache(backend, tmp_path):
    for effort in ("low", "low", "high"):
        Chat(effort=effort, cache=tmp_path)("Hi?")
    assert [body["reasoning_effort"] for body in backend.engine.history] == ["low", "high"]
