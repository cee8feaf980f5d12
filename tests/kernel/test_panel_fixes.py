"""The buttons of a failed turn in a panel: another model, or a key, which nothing shows or stores."""

from __future__ import annotations

import json

from media_support import PNG
from test_panel_turns import page, said  # noqa: F401  a fixture
from wire_server import FINISH, content, status, stream

KEY = "key-5f3a9c71d2e84b60"


def refused_key():
    return status("401 Unauthorized", {"error": {"message": "no key, no answer"}})


def test_a_key_is_entered_for_the_server_of_the_chat_and_shown_nowhere(page, engine, kernel, wire_server):  # noqa: F811
    wire_server.answer(refused_key())
    wire_server.answer(stream(content(f"Your key is {KEY}."), FINISH))
    kernel.run(f"from nb_backend import settings\nchats['main'].url = '{wire_server.url}'")
    answer = page.turn("Hi", "failed")
    assert answer["fixes"] == [{"label": "Enter a key", "model": ""}]
    assert page.refused("key", key=" ").startswith("the key is empty")
    page.ask("key", key=f" {KEY}\n")
    page.ask("retry", item=answer["id"])
    page.until(lambda: [text for _, text in said(page)] == ["<p>Hi</p>", "<p>Your key is ***.</p>"])
    page.last()
    assert KEY not in wire_server.requests[0].body.decode()
    assert KEY in wire_server.requests[1].head + wire_server.requests[1].body.decode()
    assert kernel.run("settings.current.api_key is None").result == "True"  # the chat has a server of its own
    assert KEY not in json.dumps([message["content"] for message in page.raw])
    assert KEY not in kernel.run("panel.get_state(), vars(chats['main']), In, Out").result


def test_the_key_of_the_settings_is_set_if_the_chat_uses_their_server(page, engine, kernel, wire_server):  # noqa: F811
    wire_server.answer(refused_key())
    kernel.run(f"from nb_backend import settings\nsettings.current.url = '{wire_server.url}'")
    try:
        assert page.turn("Hi", "failed")["fixes"] == [{"label": "Enter a key", "model": ""}]
        page.ask("key", key=KEY)
        assert kernel.run(f"settings.current.api_key == '{KEY}'").result == "True"
    finally:
        kernel.run("settings.current.url = settings.current.api_key = None")


def test_an_unknown_model_has_the_ones_that_were_meant(page, engine, kernel, wire_server):  # noqa: F811
    wire_server.answer(status("404 Not Found", {"error": "model 'gpt4o' not found"}))
    wire_server.answer(status("200 OK", {"data": [{"id": "llama3"}, {"id": "gpt-4o"}]}))
    kernel.run(f"chats['main'].url = '{wire_server.url}/v1'\nchats['main'].model = 'gpt4o'")
    answer = page.turn("Hi", "failed")
    assert answer["fixes"] == [{"label": "Did you mean gpt-4o?", "model": "gpt-4o"}]
    assert answer["error"].endswith("(model 'gpt4o' not found)")  # the button says the rest


def test_a_model_without_vision_has_one_that_sees(page, engine, kernel, wire_server):  # noqa: F811
    models = [("text-1", ["text"]), ("eyes-2", ["text", "image"]), ("text-2", ["text", "image"])]
    listed = [{"id": name, "architecture": {"input_modalities": kinds}} for name, kinds in models]
    wire_server.answer(status("200 OK", {"data": listed}))
    kernel.run(f"chats['main'].url = '{wire_server.url}/v1'\nchats['main'].model = 'text-1'")
    image = page.reply(page.upload(PNG)[-1])["image"]["id"]
    page.until(lambda: page.state["settings"]["vision"] is False)
    assert page.state["settings"]["vision_model"] == "text-2"
    answer = page.turn("What is this?", "failed", images=(image,))
    assert answer["fixes"] == [{"label": "Switch to text-2", "model": "text-2"}]
