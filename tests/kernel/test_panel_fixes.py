"""The buttons of a failed turn in a panel: another model, or a key, which nothing shows or stores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from driver import PATIENT, aside
from media_support import PNG
from test_panel_turns import page, said  # noqa: F401  a fixture
from wire_server import FINISH, content, sse

KEY = "key-5f3a9c71d2e84b60"
MODELS = {"text-1": ["text"], "eyes-2": ["text", "image"], "text-2": ["text", "image"]}


class Answers(BaseHTTPRequestHandler):
    """Answers the models to a GET. A POST needs the key, and is repeated with it; then it needs one of the models."""

    posts: list[str] = []  # noqa: RUF012  of the module's server

    def do_GET(self) -> None:
        listed = [{"id": name, "architecture": {"input_modalities": kinds}} for name, kinds in MODELS.items()]
        self.answer(200, json.dumps({"data": listed}).encode())

    def do_POST(self) -> None:
        asked = f"{self.headers}{self.rfile.read(int(self.headers['Content-Length'])).decode()}"
        self.posts.append(asked)
        if self.path.startswith("/v1"):
            self.answer(404, b'{"error": "model \'text1\' not found"}')
        elif KEY not in asked:
            self.answer(401, b'{"error": {"message": "no key, no answer"}}')
        elif self.path.endswith("/chat/completions"):
            choice = {"index": 0, "delta": {"content": f"Your key is {KEY}."}, "finish_reason": "stop"}
            self.answer(200, f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
        else:
            self.answer(200, sse(content(f"Your key is {KEY}."), FINISH))

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write no log."""


@pytest.fixture
def url() -> Iterator[str]:
    Answers.posts.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_key_is_entered_for_the_server_of_the_chat_and_shown_nowhere(page, engine, kernel, url):  # noqa: F811
    kernel.run(f"from nb_backend import settings\nchats['main'].url = '{url}'")
    answer = page.turn("Hi", "failed")
    assert answer["fixes"] == [{"label": "Enter a key", "model": ""}]
    assert page.refused("key", key=" ").startswith("the key is empty")
    page.ask("key", key=f" {KEY}\n")
    page.ask("retry", item=answer["id"])
    page.until(lambda: [text for _, text in said(page)] == ["<p>Hi</p>", "<p>Your key is ***.</p>"])
    page.last()
    assert [KEY in post for post in Answers.posts] == [False, True]
    assert kernel.run("settings.current.api_key is None").result == "True"  # the chat has a server of its own
    assert KEY not in json.dumps([message["content"] for message in page.raw])
    assert KEY not in kernel.run("panel.get_state(), vars(chats['main']), In, Out").result


def test_the_key_of_the_settings_is_set_if_the_chat_uses_their_server(page, engine, kernel, url):  # noqa: F811
    kernel.run(f"from nb_backend import settings\nsettings.current.url = '{url}'")
    try:
        assert page.turn("Hi", "failed")["fixes"] == [{"label": "Enter a key", "model": ""}]
        page.ask("key", key="another-key")
        assert kernel.run("settings.current.api_key == 'another-key'").result == "True"
    finally:
        kernel.run("settings.current.url = settings.current.api_key = None")


def test_a_service_is_chosen_from_the_list_and_gets_its_own_key(page, engine, kernel, url):  # noqa: F811
    kernel.run(
        f"{aside(PATIENT)}\nfrom dataclasses import replace\nfrom nb_backend import settings\n"
        "from nb_backend.services import SERVICES\n"
        f"SERVICES['groq'] = replace(SERVICES['groq'], url='{url}/groq/v1')\n"
        f"SERVICES['mistral'] = replace(SERVICES['mistral'], url='{url}/mistral/v1')\n"
        "settings.current.keys['mistral'] = settings.Secret('key-of-mistral')"
    )
    reply = page.ask("models", refresh=True)
    listed = [(one["name"], one["service"]) for one in reply["models"]]
    assert listed == [("scripted", ""), *((f"mistral:{name}", "Mistral") for name in MODELS)]
    page.ask("set", model="groq:text-1")
    page.until(lambda: page.state["settings"]["server"] == "Groq")
    answer = page.turn("Hi", "failed")
    assert answer["fixes"] == [{"label": "Enter a key", "model": ""}]
    page.ask("key", key=KEY)
    page.ask("retry", item=answer["id"])
    page.until(lambda: [text for _, text in said(page)][-1:] == ["<p>Your key is ***.</p>"])
    assert kernel.run("[settings.current.api_key, *settings.current.keys]").result == "[None, 'mistral', 'groq']"
    assert {one["service"] for one in page.ask("models", refresh=True)["models"]} == {"", "Groq", "Mistral"}
    assert [one for one in Answers.posts if "key-of-mistral" in one] == []
    kernel.run(f"chats['main'].url = '{url}/v1'")  # at which it asks for every model from now on
    assert {one["service"] for one in page.ask("models", refresh=True)["models"]} == {""}
    assert KEY not in json.dumps([message["content"] for message in page.raw])


def test_an_unknown_model_has_the_one_that_was_meant(page, engine, kernel, url):  # noqa: F811
    kernel.run(f"chats['main'].url = '{url}/v1'\nchats['main'].model = 'text1'")
    answer = page.turn("Hi", "failed")
    assert answer["fixes"] == [{"label": "Did you mean text-1?", "model": "text-1"}]
    assert answer["error"].endswith("(model 'text1' not found)")  # the button says the rest


def test_a_model_without_vision_has_one_that_sees(page, engine, kernel, url):  # noqa: F811
    kernel.run(f"chats['main'].url = '{url}/v1'\nchats['main'].model = 'text-1'")
    image = page.reply(page.upload(PNG)[-1])["image"]["id"]
    page.until(lambda: page.state["settings"]["vision"] is False)
    assert page.state["settings"]["vision_model"] == "text-2"
    answer = page.turn("What is this?", "failed", images=(image,))
    assert answer["fixes"] == [{"label": "Switch to text-2", "model": "text-2"}]
