"""Tab on ``%backend`` and ``%%backend``, as a front end asks a kernel for it."""

from __future__ import annotations

import threading

import pytest
from wait import eventually
from wire_server import status

SETTINGS = "from nb_backend import settings; settings.current = settings.Settings()"


@pytest.fixture(autouse=True)
def completing(kernel, tmp_path):
    assert kernel.run(f"{SETTINGS}\n%cd -q {tmp_path}").error is None


def tab(kernel, code):
    """Press Tab at the |; return the cell after each choice of a match."""
    before, _, after = code.partition("|")
    run = kernel.finish(kernel.client.complete(before + after, len(before)))
    assert run.messages == [{**message, "msg_type": "status"} for message in run.messages], "something was printed"
    assert run.reply["cursor_end"] == len(before)
    return [before[: run.reply["cursor_start"]] + match + after for match in run.reply["matches"]]


def models_answer(*names):
    return status("200 OK", {"Provider": names})


def test_the_verbs(kernel):
    assert tab(kernel, "%backend u|") == ["%backend use", "%backend url"]
    assert tab(kernel, "x = 1\nanswer = %backend us|\ny = 2") == ["x = 1\nanswer = %backend use\ny = 2"]


def test_the_models_of_the_server(kernel, engine):
    assert tab(kernel, "%backend use |") == ["%backend use scripted"]
    assert tab(kernel, "%%backend scr|\nWhy is the sky blue?") == ["%%backend scripted\nWhy is the sky blue?"]
    assert tab(kernel, "%%time\n%%backend scr|\nhi") == ["%%time\n%%backend scripted\nhi"]


@pytest.mark.parametrize("name", ["llama3:8b", "@cf/meta/llama-2-7b@v1", "o=1.5", "a-b-c", "org/m.x:y"])
def test_a_name_with_signs_in_it(kernel, name):
    kernel.run(f"settings.current.aliases[{name!r}] = 'scripted'")
    for typed in {len(name) - 1, *(at + 1 for at, sign in enumerate(name) if not sign.isalnum())}:
        assert tab(kernel, f"%backend use {name[:typed]}|") == [f"%backend use {name}"]
        assert tab(kernel, f"%%backend {name[:typed]}|\nhi {name}") == [f"%%backend {name}\nhi {name}"]


def test_the_options(kernel, tmp_path):
    assert "%%backend --image\nhi" in tab(kernel, "%%backend |\nhi")
    assert tab(kernel, "%%backend --im|\nhi") == ["%%backend --image\nhi"]
    assert {"%%backend -i\nhi", "%%backend --image\nhi"} <= set(tab(kernel, "%%backend -|\nhi"))
    (tmp_path / "figs").mkdir()
    (tmp_path / "figs" / "two words.png").touch()
    (tmp_path / "figs" / "a-b.png").touch()
    kernel.run("figure = 1")
    assert tab(kernel, "%%backend -i fig|\nhi") == ["%%backend -i figure\nhi", "%%backend -i figs/\nhi"]
    assert tab(kernel, "%%backend -i figs/a-|\nhi") == ["%%backend -i figs/a-b.png\nhi"]
    assert tab(kernel, '%%backend -i "figs/two |\nhi') == ['%%backend -i "figs/two words.png"\nhi']
    assert tab(kernel, '%%backend -i "figs/two |"\nhi') == ['%%backend -i "figs/two words.png"\nhi']


def test_the_chats(kernel):
    kernel.run("from nb_backend import chats; chats['main'], chats['my chat']")
    assert tab(kernel, "%backend history m|") == ["%backend history main"]
    assert tab(kernel, '%backend reset "my |') == ['%backend reset "my chat"']
    assert tab(kernel, "%%backend -c |\nhi") == ["%%backend -c main\nhi", '%%backend -c "my chat"\nhi']
    assert tab(kernel, '%%backend --chat="my |\nhi') == ['%%backend --chat="my chat"\nhi']


@pytest.mark.parametrize("question", ["%backend u|", "%%backend scr|", "scr|", "-|"])
def test_nothing_of_ours_is_offered_in_a_prompt(kernel, question):
    tab(kernel, "%backend use scr|")
    offered = tab(kernel, f"%%backend\n{question}")
    assert not {"use", "scripted", "--image"} & {cell.split()[-1] for cell in offered}


def test_a_server_that_does_not_answer_does_not_block_tab(kernel, wire_server):
    answered = threading.Event()
    wire_server.answer(answered, models_answer("slow-model"))
    kernel.run(f"%backend url {wire_server.url}")
    assert "%backend use slow-model" not in tab(kernel, "%backend use |")  # it waits for a while
    assert "%backend use slow-model" not in tab(kernel, "%backend use |")  # and this asks no second time
    answered.set()
    eventually(lambda: "%backend use slow-model" in tab(kernel, "%backend use |"))
    assert "%backend models slow-model" in tab(kernel, "%backend models |")
    assert [request.path for request in wire_server.requests] == ["/backend-api/v2/models"]


def test_a_failure_is_quiet_and_the_next_tab_asks_again(kernel, wire_server):
    for answer in (status("401 Unauthorized", {"error": "no"}), status("200 OK", {"strange": 1})):
        wire_server.answer(answer)
    wire_server.answer(models_answer("late-model"))
    kernel.run(f"%backend url {wire_server.url}")
    assert "%backend use late-model" not in tab(kernel, "%backend use |")
    assert "%backend use late-model" not in tab(kernel, "%backend use |")
    # a Tab waits for a while only, and one that finds the question under way asks none
    eventually(lambda: tab(kernel, "%backend use |") == ["%backend use late-model"])
    assert tab(kernel, "%backend use late|") == ["%backend use late-model"]
    assert len(wire_server.requests) == 3


@pytest.mark.parametrize("line", ["%backend", "%backend models"])
def test_the_models_that_were_shown_are_known(kernel, wire_server, line):
    wire_server.answer(models_answer("model-a", "model-b"))
    kernel.run(f"%backend url {wire_server.url}")
    kernel.run(line)
    asked = len(wire_server.requests)
    assert tab(kernel, "%backend use model|") == ["%backend use model-a", "%backend use model-b"]
    assert len(wire_server.requests) == asked


def test_no_backend_is_started_for_a_tab(kernel):
    kernel.run("import os; url = os.environ.pop('NB_BACKEND_URL')")
    tab(kernel, "%backend use |")
    run = kernel.run("os.environ['NB_BACKEND_URL'] = url; import sys; 'nb_backend.local.process' in sys.modules")
    assert run.result == "False"


def test_unregistered_it_offers_nothing(kernel):
    kernel.run("%unload_ext nb_backend")
    try:
        assert "%backend use" not in tab(kernel, "%backend u|")
    finally:
        kernel.run("%load_ext nb_backend")


def test_a_terminal_has_the_same(kernel):
    assert kernel.run("get_ipython().complete('', '%backend use scr', 16)").result == "('scr', ['scripted'])"
    assert kernel.run("get_ipython().complete('', '%%backend --im', 14)").result == "('--im', ['--image'])"


def test_jedi_and_the_rest_are_silent(kernel):
    kernel.run("scripture = gamma = 1")
    for jedi in (True, False):
        kernel.run(f"get_ipython().Completer.use_jedi = {jedi}")
        assert tab(kernel, "%%backend scr|\nhi") == ["%%backend scripted\nhi"]
        assert tab(kernel, "%backend use |") == ["%backend use scripted"]
