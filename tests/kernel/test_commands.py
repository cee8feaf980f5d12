"""The commands of ``%backend``."""

from __future__ import annotations

import json

import pytest
from driver import TIMEOUT, one_line
from serving import TOKEN
from wire_server import status


@pytest.fixture(autouse=True)
def fresh(kernel):
    kernel.run("from nb_backend import settings")
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
    assert "no model has 'gpt' in its name: `%backend models` lists all" in said(kernel.run("%backend models gpt"))
    assert "did you mean scripted?" in said(kernel.run("%backend models sripted"))


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


def test_continue_asks_for_the_rest_of_an_answer_that_was_cut_off(kernel, engine):
    one_line(kernel.run("%backend continue"), "there is no answer to continue: ask first")
    cut = {"type": "finish", "finish": {"reason": "length"}}
    engine.enqueue("One, two", cut)
    kernel.run("%%backend big -p max_tokens=2\nCount.", cell="a")
    for rest in (", three, f", ", three."):  # the second run of the cell takes back the first
        engine.enqueue(rest, cut if rest.endswith("f") else {"type": "finish", "finish": {"reason": "stop"}})
        run = kernel.run("%backend continue -t 0.5", cell="b")
        assert run.error is None
        assert run.markdown[-1].startswith(rest)
    body = engine.history[-1]
    assert (body["model"], body["temperature"], body.get("max_tokens")) == ("big", 0.5, None)
    said = [one["content"] for one in body["messages"]]
    assert said == ["Count.", "One, two", "Continue exactly where you stopped. Do not repeat anything."]
    assert kernel.run("_.complete").result == "True"
    one_line(kernel.run("%backend continue"), "the last answer was not cut off: ask for more in words")


def test_use_and_alias_choose_the_model_of_the_cells_after(kernel, engine):
    engine.listed = ["gpt-9"]
    assert "gpt-9" in said(kernel.run("%backend use gpt-9"))
    kernel.run("%%backend\nhi")
    kernel.run("%%backend other\nhi")
    assert "big = gpt-huge" in said(kernel.run("%backend alias big gpt-huge"))
    kernel.run("%%backend big\nhi")
    kernel.run("%backend use")
    kernel.run("%%backend\nhi")
    kernel.run("%backend alias big;")
    kernel.run("%%backend big\nhi")
    assert [body.get("model", "") for body in engine.history] == ["gpt-9", "other", "gpt-huge", "", "big"]


@pytest.mark.parametrize(
    ("listed", "line", "words"),
    [
        (
            ["gpt-4o", "llama3"],
            "gpt4",
            "does not list gpt4: did you mean gpt-4o? To use it all the same, write %backend",
        ),
        (["gpt-4o", "llama3"], "banana", "does not list banana: %backend models shows what it lists."),
        (["gpt-4o", "llama3"], "gpt-4o", ""),
        (["gpt-4o", "llama3"], '"gpt4"', ""),
        (["gpt-4o", "llama3"], "small", ""),
        ([], "gpt4", ""),
    ],
)
def test_use_refuses_a_model_that_the_server_does_not_list(kernel, engine, listed, line, words):
    engine.listed = listed
    kernel.run("%backend alias small llama3.2:1b")
    run = kernel.run(f"%backend use {line}")
    if words:
        one_line(run, words)
        assert kernel.run("settings.current.model").result is None
    else:
        assert "cells that name no model ask" in said(run)


def test_use_takes_any_model_if_nobody_can_be_asked(kernel):
    kernel.run("%backend url http://127.0.0.1:9/v1")
    assert "ask gpt4" in said(kernel.run("%backend use gpt4"))
    kernel.run("%backend url default")


def test_an_unknown_model_of_a_cell_is_told_with_the_one_that_was_meant(kernel, wire_server):
    wire_server.answer(status("404 Not Found", {"error": "model 'gpt4' not found"}))
    wire_server.answer(status("200 OK", {"data": [{"id": "gpt-4o"}]}))
    kernel.run(f"%backend url {wire_server.url}/v1")
    one_line(kernel.run("%%backend gpt4\nhi"), "(model 'gpt4' not found): did you mean gpt-4o?")


def test_a_url_without_v1_whose_v1_answers_says_so(kernel, wire_server):
    for answer in (status("404 Not Found"), status("200 OK", {"data": [{"id": "gpt-4o"}]}), status("404 Not Found")):
        wire_server.answer(answer)
    kernel.run(f"%backend url {wire_server.url}")
    form = f"write %backend url {wire_server.url}/v1"
    assert form in said(kernel.run("%backend")).replace("\\", "")
    one_line(kernel.run("%%backend\nhi"), form)
    assert form in said(kernel.run("%backend models")).replace("\\", "")


@pytest.mark.parametrize(
    ("answer", "state", "listed"),
    [
        (status("404 Not Found"), "(reachable; it does not list its models)", "Ask one by its name"),
        (status("200 OK", b"<html>"), "(reachable; it does not list its models)", "Ask one by its name"),
        (status("200 OK", {"data": None}), "(reachable; it does not list its models)", "Ask one by its name"),
        (status("200 OK", b'[{"id": "a"}, "b", null]'), "(reachable, 2 models: a, b)", "| b |"),
        (status("401 Unauthorized"), "(reachable, but it wants a key: ", "was not sent here"),
    ],
)
def test_a_server_that_does_not_list_its_models_is_reachable(kernel, wire_server, answer, state, listed):
    wire_server.answer(answer)
    kernel.run(f"%backend url {wire_server.url}/v1")
    try:
        assert state in said(kernel.run("%backend"))
        run = kernel.run("%backend models")
        assert listed in (str(run.error) if run.error else said(run))
    finally:
        kernel.run("%backend url default")


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


ASK = "get_ipython().run_line_magic('backend', 'ask Say {{ k }}')"
WHERE = {
    "the top of a cell": "k = 12\nanswer = %backend ask Say {{ k }}",
    "a function": "def f(k):\n    answer = %backend ask Say {{ k }}\n    return answer\nf(12)",
    "a question mark": "def f(k):\n    answer = %backend ask Say {{ k }}?\n    return answer\nf(12)",
    "a statement": "def f(k):\n    %backend ask Say {{ k }}\nf(12)",
    "a local that hides a global": "k = 'global'\ndef f():\n    k = 12\n    %backend ask Say {{ k }}\nf()",
    "a global of a function": "k = 12\ndef f():\n    %backend ask Say {{ k }}\nf()",
    "a function with the name of a method of the shell": "def magic(k):\n    %backend ask Say {{ k }}\nmagic(12)",
    "a method": "class A:\n    n = 3\n    def f(self, k):\n        %backend ask Say {{ self.n * k }}\nA().f(4)",
    "a loop": "def f():\n    for k in [12]:\n        if k:\n            %backend ask Say {{ k }}\nf()",
    "the body of a class": "class A:\n    k = 12\n    answer = %backend ask Say {{ k }}",
    "an async function": "async def f(k):\n    %backend ask Say {{ k }}\nawait f(12)",
    "a generator": "def f(k):\n    %backend ask Say {{ k }}\n    yield\nlist(f(12))",
    "a nested function": "def f(k):\n    def g():\n        %backend ask Say {{ k }}\n    g()\nf(12)",
    "a callback after its function": "def f(k):\n    def g():\n        if True:\n            %backend ask Say {{ k }}\n"
    "    return g\nf(12)()",
    "a callback of a callback": "def f(k):\n    def g():\n        def h():\n            %backend ask Say {{ k }}\n"
    "        return h\n    return g\nf(12)()()",
    "the right one of two": "def f(k):\n    def g():\n        answer = %backend ask Say {{ k }}\n    return g\n"
    "twelve, other = f(12), f(13)\ntwelve()",
    "a class in a function": "def f(k):\n    class A:\n        answer = %backend ask Say {{ k }}\nf(12)",
    "a nonlocal": "def f(k):\n    def g():\n        nonlocal k\n        k += 1\n"
    "        %backend ask Say {{ k }}\n    g()\nf(11)",
    "a lambda": f"(lambda k: {ASK})(12)",
    "a lambda in a function": f"def f(k):\n    return (lambda: {ASK})()\nf(12)",
    "a comprehension": f"def f():\n    return [{ASK} for k in [12]]\nf()",
    "a comprehension that uses a local": f"def f(k):\n    return [{ASK} for _ in [1]]\nf(12)",
    "a generator expression that uses a local": f"def f(k):\n    return list({ASK} for _ in [1])\nf(12)",
    "a comprehension at the top": f"[{ASK} for k in [12]]",
    "exec": f"exec({ASK!r}, {{'k': 12, 'get_ipython': get_ipython}})",
    "exec in a function": f"def f(k):\n    exec({ASK!r})\nf(12)",
    "another module": f"names = {{'k': 12, 'get_ipython': get_ipython}}\nexec({f'def f(): {ASK}'!r}, names)\n"
    f"names['f']()",
    "a cell magic": "def f(k):\n    get_ipython().run_cell_magic('backend', '--once', 'Say {{ k }}')\nf(12)",
    "an image": "def f(k, fig):\n    get_ipython().run_cell_magic('backend', '--once -i fig', 'Say {{ k }}')\n"
    "f(12, b'GIF89a\\x01\\x00\\x01\\x00\\x00\\x00\\x00;')",
    "a thread": "import threading\ndef f(k):\n    %backend ask Say {{ k }}\n"
    "t = threading.Thread(target=f, args=[12])\nt.start(); t.join()",
    "a cell within a cell": "def f():\n    k = 13\n    get_ipython().run_cell('%backend ask Say {{ k }}')\nk = 12\nf()",
    "%%time": "%%time\ndef f(k):\n    %backend ask Say {{ k }}\nf(12)",
    "%%capture": "%%capture shown\ndef f(k):\n    %backend ask Say {{ k }}\nf(12)",
    "an alias": "%alias_magic --cell b backend\ndef f(k):\n"
    "    get_ipython().run_cell_magic('b', '--once', 'Say {{ k }}')\nf(12)",
    "a name that only a nested function has": "k = 12\ndef f():\n    g = lambda k: k\n    %backend ask Say {{ k }}\n"
    "f()",
    "another name beside it": "x = 2\ndef f(k):\n    y = 3\n    %backend ask Say {{ k // x // y * len('123456') }}\n"
    "f(12)",
}


class TestTheVariablesOfAFunction:
    @pytest.mark.parametrize("cell", WHERE.values(), ids=WHERE.keys())
    def test_an_expression_sees_what_the_code_around_it_sees(self, kernel, engine, cell):
        kernel.run("%reset_selective -f ^k$")
        run = kernel.run(cell)
        assert run.error is None, run.error
        content = engine.history[-1]["messages"][-1]["content"]
        assert content.rstrip("?") == "Say 12"

    @pytest.mark.parametrize(
        ("cell", "words"),
        [
            ("def f():\n    %backend ask Say {{ k }}\nf()", "{{ k }}: k is not defined"),
            ("k = 1\ndef f():\n    if False: k = 2\n    %backend ask Say {{ k }}\nf()", "{{ k }}: k is not defined"),
            ("def g(): k = 12; f()\ndef f():\n    %backend ask Say {{ k }}\ng()", "{{ k }}: k is not defined"),
            ("def f(k):\n    %backend ask Say {{ k.x }}\nf(12)", "'int' object has no attribute 'x'"),
        ],
    )
    def test_a_name_that_it_does_not_see_is_one_line(self, kernel, engine, cell, words):
        kernel.run("%reset_selective -f ^k$")
        one_line(kernel.run(cell), words)
        assert engine.history == []

    def test_they_are_not_kept(self, kernel):
        kernel.run(
            "import gc, weakref\nclass Big: pass\n"
            "def f():\n    big = Big()\n    answer = %backend ask Say {{ type(big).__name__ }}\n"
            "    return weakref.ref(big)\ngone = f()"
        )
        assert kernel.run("gone() is None").result == "True"

    def test_an_assignment_in_an_expression_stays_in_it(self, kernel):
        kernel.run("def f(k):\n    %backend ask Say {{ (k := 13) }}\n    return k\nafter = f(12)")
        assert kernel.run("after").result == "12"


def test_help_is_still_help(kernel):
    assert "ask a model" in str(kernel.run("%%backend?").reply["payload"]).lower()
    assert "Docstring" in str(kernel.run("len?").reply["payload"])


@pytest.mark.parametrize("line", ["%backend nonsense", "%backend ask"])
def test_an_unknown_command_is_one_line(kernel, engine, line):
    run = kernel.run(line)
    assert run.error is not None
    assert "\n" not in run.error[1]
    assert engine.history == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("use gpt-4o please", "write %backend use gpt-4o;"),
        ("use m1 m2", "write %backend use m1;"),
        ("use model gpt-4o", "write %backend use gpt-4o;"),
        ("model gpt-4o", "did you mean %backend use?"),
        ("alias small=gpt-4o", "write %backend alias small gpt-4o,"),
        ("alias small = gpt-4o", "write it like %backend alias small gpt-4o"),
        ("use gpt-4o,", "write %backend use gpt-4o "),
        ("use –m", "write it like %backend use gpt-4o"),
        ("use {model}", "%config BackendMagics.model = model"),
        ("use http://localhost:8080", "%backend url http://localhost:8080"),
        ("url $url", "%config BackendMagics.url = url"),
        ("url http://127.0.0.1:9 please", "'please' is not a server's url"),
        ("url http://127.0.0.1:9/#frag", "is not a server's url"),
        ("url default please", "write %backend url default"),
        ("url http://127.0.0.1:9/v1 http://127.0.0.1:9", "several servers must speak the same dialect"),
        ("use gpt-4o, llama3.2", "takes one model, not 'gpt-4o llama3.2': write %backend use gpt-4o;"),
        ("models gpt 4", "write %backend models gpt;"),
        ("modls", "did you mean %backend models?"),
        ("chats all", "write %backend chats"),
        ("help me", "write %backend help"),
        ("alias small gpt-4o please", "write %backend alias small gpt-4o;"),
        ("cache on a b", "write on, on FOLDER"),
        ("new chat", "did you mean %backend reset?"),
        ("Ask hello", "did you mean %backend ask?"),
        ("modles gpt", "did you mean %backend models? Or, to ask in one line, write %backend ask modles …"),
        ("system Short", "it is an option of a cell, %%backend --system …"),
        ("http://localhost:8080", "write %backend url http://localhost:8080"),
        ("gpt-4o Why is the sky blue?", "%%backend gpt-4o with the prompt"),
        ("-s 'Be brief' hello", "write %%backend -s"),
        ("use 'm", "a quote is not closed"),
    ],
)
def test_words_that_a_command_does_not_take_are_refused_with_the_form(kernel, engine, line, words):
    before = kernel.run("vars(settings.current)").result
    one_line(kernel.run(f"%backend {line}"), words)
    assert kernel.run("vars(settings.current)").result == before
    assert engine.history == []


@pytest.mark.parametrize("typed", ["abc-secret", "abc'secret", "# abc", "“abc-secret”"])
def test_no_message_repeats_what_follows_key(kernel, typed):
    run = kernel.run(f"%backend key {typed}")
    assert run.error is not None
    assert "secret" not in run.error[1]
    assert ("was not used" in run.error[1]) == (typed[0] != "#")


def test_comments_and_what_editors_make_of_a_command_are_understood(kernel, engine, server):
    engine.listed = ["m"]
    assert "ask m" in said(kernel.run("%backend use m # my favourite"))
    assert "ask my # model" in said(kernel.run("%backend use “my # model”;"))
    assert "- model: my # model" in said(kernel.run("%backend # the state")).replace("\\", "")
    assert server.url in said(kernel.run(f"%backend url <{server.url}>, # here")).replace("\\", "")
    assert "big = gpt-9" in said(kernel.run("%backend alias big gpt-9 # x"))
    for line in ("models # all", "chats # all", "history # x", "reset # x", "help # x", "cache info # x"):
        said(kernel.run(f"%backend {line}"))
    kernel.run("x = %backend use m # it's a comment")
    assert "- model: m\n" in said(kernel.run("%backend"))


@pytest.mark.parametrize("prompt", ["what does # mean", "# what", "is it # or ; or \\; said “who”"])
def test_a_number_sign_after_ask_is_text(kernel, engine, prompt):
    assert kernel.run(f"%backend ask {prompt}").error is None
    assert engine.history[-1]["messages"][-1]["content"] == prompt


@pytest.mark.parametrize(
    "line",
    [
        "%backend Why is the sky blue?",
        "%backend Sum up {{ [1, 2] }} in words",
        "def f(k):\n    def g():\n        x = %backend Is {{ k }} prime?\n    g()\nf(12)",
    ],
)
def test_a_line_that_is_a_prompt_is_asked(kernel, engine, line):
    run = kernel.run(line)
    assert run.error is None, run.error
    asked = engine.history[-1]["messages"][-1]["content"]
    assert asked in ("Why is the sky blue?", "Sum up [1, 2] in words", "Is 12 prime?")


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


def test_help_names_every_verb_with_its_arguments(kernel):
    run = kernel.run("%backend help")
    shown, printed = said(run), run.result
    assert "| `%backend` | Show the server" in shown
    usages = ("models [SERVICE] [WORD]", "use [MODEL]", "url [SERVICE, URL ...] [--api NAME]", "services")
    usages += ("key [SERVICE] [--keep, --forget]", "alias [NAME [MODEL]]", "chats", "history [NAME]")
    usages += ("reset [NAME]", "cache [on [FOLDER], off, clear, info]", "fix [OPTIONS]", "ask PROMPT", "help")
    for usage in usages:
        assert f"| `%backend {usage}` |" in shown
    lines = printed.splitlines()
    assert lines[0].index("what it does") == lines[1].rindex(" -") + 1
    at = lines[0].index("what it does")
    assert {line[at - 2 : at] for line in lines} == {"  "}, "the columns are not aligned"
    assert len(lines) == 2 + shown.count("\n| `")
    assert max(map(len, lines)) < 140
