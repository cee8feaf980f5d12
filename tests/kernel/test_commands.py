"""The commands of ``%backend``."""

from __future__ import annotations

import json

import pytest
from driver import TIMEOUT
from serving import TOKEN
from wire_server import status


@pytest.fixture(autouse=True)
def fresh(kernel):
    yield
    kernel.run("from nb_backend import chats, settings; settings.current = settings.Settings()")
    kernel.run("for name in list(chats): del chats[name]")


def said(run):
    assert run.error is None, run.error
    return run.of("execute_result")[0]["data"]["text/markdown"]


def test_the_state(kernel, server):
    state = said(kernel.run("%backend"))
    assert server.url.replace(":", "") in state.replace("\\", "").replace(":", "")
    assert "reachable, 1 model: scripted" in state
    assert "key: set" in state
    assert TOKEN not in state


def test_the_models_and_what_they_can(kernel):
    assert "| scripted | scripted | – |" in said(kernel.run("%backend models"))
    assert "scripted" in said(kernel.run("%backend models SCRIPT"))
    assert "no model has 'gpt' in its name" in said(kernel.run("%backend models gpt"))


def test_models_and_their_abilities_by_g4f(kernel, wire_server):
    wire_server.answer(status("200 OK", {"P": ["eyes", "plain"]}))
    all_ = {"vision": True, "audio": True, "image": True}
    wire_server.answer(status("200 OK", [{"id": "eyes", **all_}, {"id": "plain", "vision": False}]))
    kernel.run(f"%backend url {wire_server.url}")
    shown = said(kernel.run("%backend models"))
    assert "| eyes | P | sees images, audio, makes images |" in shown
    assert "| plain | P | – |" in shown


def test_models_whose_abilities_are_unknown(kernel, wire_server):
    wire_server.answer(status("200 OK", {"data": [{"id": "gpt", "owned_by": "me"}]}))
    kernel.run(f"%backend url {wire_server.url}/v1")
    assert "| gpt | me | ? |" in said(kernel.run("%backend models"))


def test_use_and_alias_choose_the_model_of_the_cells_after(kernel, engine):
    assert "gpt-9" in said(kernel.run("%backend use gpt-9"))
    kernel.run("%%backend\nhi")
    kernel.run("%%backend other\nhi")
    assert "big = gpt-huge" in said(kernel.run("%backend alias big gpt-huge"))
    kernel.run("%%backend big\nhi")
    kernel.run("%backend use")
    kernel.run("%%backend\nhi")
    kernel.run("%backend alias big;")
    kernel.run("%%backend big\nhi")
    assert [body["model"] for body in engine.history] == ["gpt-9", "other", "gpt-huge", "", "big"]


def test_url_and_back(kernel, engine, server):
    assert "127.0.0.1" in said(kernel.run("%backend url http://127.0.0.1:9/v1"))
    state = said(kernel.run("%backend"))
    assert "not reachable" in state
    run = kernel.run("%backend url localhost")
    assert run.error is not None
    assert "http://localhost:8080" in run.error[1]
    assert "9/v1" in said(kernel.run("%backend url"))
    said(kernel.run("%backend url default"))
    assert kernel.run("%%backend\nhi").error is None


def test_a_key_on_the_line_is_refused(kernel):
    run = kernel.run("%backend key abc-secret")
    assert run.error is not None
    assert "was not used" in run.error[1]
    assert "abc-secret" not in run.error[1]
    assert kernel.run("from nb_backend import settings; settings.current.api_key").result is None


def test_a_key_is_typed_without_being_shown(kernel, engine):
    started = kernel.client.execute("%backend key", allow_stdin=True)
    assert kernel.client.get_stdin_msg(timeout=TIMEOUT)["content"]["password"] is True
    kernel.client.input("typed-secret")
    run = kernel.finish(started)
    assert "the key is set" in said(run)
    assert "typed-secret" not in json.dumps(run.messages, default=str)
    assert kernel.run("%%backend\nhi").error[0] == "AuthError"  # the scripted backend knows another
    assert kernel.run("from nb_backend import settings; settings.api_key()").result == "'typed-secret'"


def test_a_key_that_nobody_can_type_is_one_line(kernel):
    started = kernel.client.execute("%backend key", allow_stdin=False)
    assert "NB_BACKEND_API_KEY" in kernel.finish(started).error[1]


@pytest.mark.parametrize(
    "line",
    [
        "answer = %backend ask What is {it} $x?",
        "%backend ask What is {it} $x?\n",
        "x = 1\n%backend ask What is {it} $x",
        "x = 1\nif x:\n    answer = %backend ask What is {it} $x?\ny = 2",
        "x = 1\nanswer = %backend ask What is {it} $x?\ny = answer",
        "answers = {}\nanswers['a'] = %backend ask What is {it} $x?\nanswer = answers['a']",
    ],
)
def test_ask_in_one_line(kernel, engine, line):
    engine.enqueue("forty-two")
    run = kernel.run(line)
    assert run.error is None
    assert run.markdown[-1].startswith("forty-two")
    assert run.result is None  # shown once
    assert kernel.run("answer.text" if "answer" in line else "_.text").result == "'forty-two'"
    assert engine.history[-1]["messages"][-1]["content"].removesuffix("?") == "What is {it} $x"


@pytest.mark.parametrize("question", ["What's up?", 'Say "hi', "(a [b?", "a\\?", "{{ '?' }}?", "%x?"])
def test_any_question_in_one_line(kernel, engine, question):
    kernel.run(f"%backend ask --once? {question}")  # no option: it is all the question
    expected = question.replace("{{ '?' }}", "?")
    assert engine.history[-1]["messages"][-1]["content"] == f"--once? {expected}"


def test_help_is_still_help(kernel):
    assert "ask a model" in str(kernel.run("%%backend?").reply["payload"]).lower()
    assert "Docstring" in str(kernel.run("len?").reply["payload"])


@pytest.mark.parametrize("line", ["%backend nonsense", "%backend ask"])
def test_an_unknown_command_is_one_line(kernel, engine, line):
    run = kernel.run(line)
    assert run.error is not None
    assert "\n" not in run.error[1]
    assert engine.history == []


def test_the_chats(kernel, engine):
    assert "no chat yet" in said(kernel.run("%backend chats"))
    assert "chats: none yet" in said(kernel.run("%backend"))
    kernel.run("%%backend\nWhy is the | sky blue?\nReally?")
    kernel.run("%%backend\nAnd at night?")
    kernel.run("%%backend -c 'my plots'\n" + "word " * 50)
    shown = said(kernel.run("%backend chats"))
    assert "| main | 2 turns | And at night? |" in shown
    assert f"| my plots | 1 turn | {('word ' * 50)[:59]}… |" in shown
    assert "chats: main (2 turns), my plots (1 turn)" in said(kernel.run("%backend"))


def test_the_history_of_a_chat(kernel, engine):
    engine.enqueue("**Rayleigh** <script>")
    kernel.run("%%backend -s Brief\nWhy is the sky blue?")
    kernel.run("%%backend -c 'my plots'\nhi")
    shown = said(kernel.run("%backend history"))
    for words in ("##### Instructions\n\nBrief", "## You\n\nWhy is the sky blue?", "## Answer\n\n**Rayleigh**"):
        assert words in shown
    assert "<script" not in shown
    assert "## You\n\nhi" in said(kernel.run("%backend history 'my plots'"))
    assert "no chat 'none'" in kernel.run("%backend history none").error[1]
    assert kernel.run("repr(chats['main'])").result == repr("<Chat: 1 turn>")


def test_a_chat_starts_over(kernel, engine):
    kernel.run("%%backend\n1?")
    kernel.run("%%backend -c other\n2?")
    assert "main starts over; it had 1 turn" in said(kernel.run("%backend reset"))
    assert "other starts over; it had 1 turn" in said(kernel.run("%backend reset other"))
    kernel.run("%%backend\n3?")
    assert [message["content"] for message in engine.history[-1]["messages"]] == ["3?"]
    assert "choose from main, other" in kernel.run("%backend reset none").error[1]


def test_help_names_every_verb(kernel):
    shown = said(kernel.run("%backend help"))
    assert "| `%backend` | Show the server" in shown
    verbs = ("models", "use", "url", "key", "alias", "chats", "history", "reset", "cache", "fix", "ask", "help")
    for verb in verbs:
        assert f"| `%backend {verb}" in shown
