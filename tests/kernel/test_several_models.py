"""``%%backend llama gpt-4o``: several models answer at once in one output, and one answer continues the chat."""

from __future__ import annotations

import pytest
from by_model import ByModel, columns
from driver import one_line
from serving import TOKEN, serving
from wait import eventually

CELL = "%%backend llama gpt-4o\nWhy is the sky blue?"
BROKEN = {"type": "error", "error": "Broken", "message": "the engine broke"}
PNG = (
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8ffff3f0005fe02fe"
    "dccc59e70000000049454e44ae426082"
)


@pytest.fixture(scope="module", params=["", "/v1"], ids=["BackendApi", "OpenAIApi"])
def server(request):
    with serving(ByModel(), request.param) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_chat(kernel):
    kernel.run("from nb_backend import chats\nfor name in [*chats]: del chats[name]")


def said(message):
    return [(one["role"], one["content"]) for one in message]


def shows(*texts):
    return lambda message: all(text in str(message["content"].get("data", "")) for text in texts)


def test_both_grow_in_one_output_and_stay_there_side_by_side(kernel, engine):
    engine.says(llama=("It is ", 0.3, "scattered ", 0.3, "light."), gpt_4o=("Air ", 0.3, "scatters ", 0.3, "it."))
    run = kernel.run(CELL)
    assert run.error is None
    assert len({display["transient"]["display_id"] for display in run.displays}) == 1
    texts = run.markdown
    assert columns(texts[0])[1].startswith("gpt-4o**\n\n*waiting for the answer …*")
    assert any("It is" in text and "Air" in text and "it." not in text for text in texts), texts
    first, second = columns(texts[-1])
    assert first.startswith("llama**\n\nIt is scattered light.\n\n<small>")
    assert second.startswith("gpt-4o**\n\nAir scatters it.\n\n<small>")
    assert ["3 tokens" in one for one in (first, second)] == [True, True]
    last = run.displays[-1]
    assert last["data"]["text/plain"] == "llama\n=====\n\nIt is scattered light.\n\ngpt-4o\n======\n\nAir scatters it."
    records = last["metadata"]["nb_backend"]["answers"]
    assert [record["usage"]["completion_tokens"] for record in records] == [3, 3]
    assert run.of("execute_result") == []


def test_it_is_the_list_of_the_answers(kernel, engine):
    count = kernel.run("%%backend b a c -o answers -t 0.5\nhi").reply["execution_count"]
    asked = "[str(one) for one in _], isinstance(_, list), _ is answers, _.models"
    expected = (["I am b.", "I am a.", "I am c."], True, True, ["b", "a", "c"])
    assert kernel.run(asked).result == str(expected)
    assert kernel.run(f"type(Out[{count}][1]).__name__, Out[{count}][1].text").result == "('Answer', 'I am a.')"
    shown = kernel.run("answers").of("execute_result")[0]["data"]
    assert [one[:12] for one in columns(shown["text/markdown"])] == [f"{x}**\n\nI am {x}." for x in "bac"]
    assert shown["text/plain"].startswith("b\n=\n\nI am b.")
    kernel.run("%%backend judge --once\nWhich is best?\n{{ answers }}")
    assert "b\n=\n\nI am b.\n\na\n=\n\nI am a." in engine.asked("judge")[0]["content"]
    assert kernel.run("import pickle; pickle.loads(pickle.dumps(answers)).models").result == "['b', 'a', 'c']"
    assert [body["temperature"] for body in engine.history if body["model"] in "abc"] == [0.5] * 3


@pytest.mark.parametrize(("options", "kept"), [("", "llama"), ("--keep gpt-4o", "gpt-4o"), ("--keep small", "llama")])
def test_only_one_answer_continues_the_chat(kernel, engine, options, kept):
    kernel.run("%config BackendMagics.aliases = {'small': 'llama'}")
    kernel.run("%%backend first -s 'Be brief'\nHello")
    kernel.run(f"%%backend llama {options} gpt-4o\nAnd?")
    before = [("system", "Be brief"), ("user", "Hello"), ("assistant", "I am first."), ("user", "And?")]
    assert said(engine.asked("llama")) == said(engine.asked("gpt-4o")) == before
    kernel.run("%%backend last\nWell?")
    assert said(engine.asked("last")) == [*before, ("assistant", f"I am {kept}."), ("user", "Well?")]
    kernel.run("%config BackendMagics.aliases = {}")


def test_a_cell_that_runs_again_asks_all_as_it_did_before(kernel, engine):
    kernel.run("%%backend m\nHello", cell="a")
    for _ in range(2):
        kernel.run("%%backend llama gpt-4o\nAnd?", cell="b")
        for model in ("llama", "gpt-4o"):
            assert said(engine.asked(model)) == [("user", "Hello"), ("assistant", "I am m."), ("user", "And?")]
    kernel.run("%%backend last\nWell?", cell="c")
    assert [content for _, content in said(engine.asked("last"))][2:] == ["And?", "I am llama.", "Well?"]


@pytest.mark.parametrize(("option", "before"), [("-n", 0), ("--once", 0), ("-c other", 0), ("", 2)])
def test_the_chat_that_the_line_names_is_used(kernel, engine, option, before):
    kernel.run("%%backend m\nHello")
    kernel.run(f"%%backend a b {option} -s 'Be kind'\nhi")
    assert len(engine.asked("a")) == len(engine.asked("b")) == before + 2
    assert {engine.asked(model)[0]["content"] for model in "ab"} == {"Be kind"}
    kernel.run("%%backend m -c other\nAnd here?")
    assert len(engine.asked("m")) == (4 if option == "-c other" else 1)


def test_a_failure_stays_in_its_column(kernel, engine):
    engine.says(llama=("Half an answer", BROKEN), gpt_4o=("A whole ", 0.3, "one."))
    run = kernel.run(CELL)
    assert run.error is None
    broken, whole = columns(run.markdown[-1])
    assert broken.startswith("llama**\n\nHalf an answer\n\n<div style=")
    assert ">ServerError: the engine broke</div>\n\n<small>broke off · " in broken
    assert whole.startswith("gpt-4o**\n\nA whole one.\n\n<small>")
    assert "broke off" not in whole
    plain = run.displays[-1]["data"]["text/plain"]
    assert plain.startswith("llama\n=====\n\nHalf an answer\n\n[ServerError: the engine broke]\n\ngpt-4o\n")
    assert [record.get("failed") for record in run.displays[-1]["metadata"]["nb_backend"]["answers"]] == [True, None]
    assert kernel.run("type(_[0]).__name__, _[0].partial, _[1].text").result == (
        "('ServerError', 'Half an answer', 'A whole one.')"
    )
    kernel.run("%%backend m\nAnd?")
    assert said(engine.asked("m")) == [("user", "And?")]  # what was to go on has failed


def test_an_incomplete_answer_is_marked_in_its_column(kernel, engine):
    engine.says(llama=("Cut", {"type": "finish", "finish": {"reason": "length"}}))
    llama, gpt = columns(kernel.run(CELL).markdown[-1])
    assert "⚠ **incomplete** · cut off at the token limit" in llama
    assert "incomplete" not in gpt


def test_two_of_three_fail(kernel, engine):
    engine.says(a=(BROKEN,), c=({**BROKEN, "message": "no such model"},))
    run = kernel.run("%%backend a b c --keep b -o three\nhi")
    assert run.error is None
    assert ["Error" in one for one in columns(run.markdown[-1])] == [True, False, True]
    assert "ServerError: no such model" in columns(run.markdown[-1])[2]
    assert kernel.run("[type(one).__name__ for one in three]").result == "['ServerError', 'Answer', 'ServerError']"
    assert "no such model" in kernel.run("three").of("execute_result")[0]["data"]["text/markdown"]
    kernel.run("%%backend m\nAnd?")
    assert said(engine.asked("m"))[1] == ("assistant", "I am b.")


def test_when_all_fail_the_cell_fails_in_one_line(kernel, engine):
    engine.says(a=(BROKEN,), b=("Half", {**BROKEN, "message": "out of order"}))
    run = kernel.run("before = _\n")
    run = kernel.run("%%backend a b --keep b\nhi")
    one_line(run, "ServerError: out of order")
    assert "ServerError: the engine broke" in columns(run.markdown[-1])[0]
    assert "Half\n\n<div" in columns(run.markdown[-1])[1]
    assert kernel.run("_ is before").result == "True"


def test_errors_and_names_are_inert_and_have_no_key_in_them(kernel, engine):
    hostile = "<img src=x onerror=alert(1)> ![x](https://evil.example/x.png) $x$ **bold**"
    name = hostile.replace("=", "")
    engine.listed.append(name)
    engine.scripts = {"a": ({**BROKEN, "message": f"{hostile} {TOKEN}"},), name: ("fine",)}
    run = kernel.run(f'%%backend a "{name}"\nhi')
    assert run.error is None
    for text in run.markdown:
        assert "<img" not in text
        assert "![" not in text
        assert "**bold**" not in text
        assert "$x$" not in text
    assert "onerror" in run.markdown[-1]
    assert TOKEN not in str(run.messages)


@pytest.mark.parametrize("prefix", ["", "%%time\n"], ids=["awaited", "waited for"])
def test_an_interrupt_stops_all_and_keeps_their_texts(kernel, engine, prefix):
    engine.says(a=("All of it.",), b=("What was said so far", ...), c=(...,))
    said_that = shows("All of it.", "said so far", "1 token")
    run = kernel.run_and_interrupt(prefix + "%%backend a b c --keep b -o three\nhi", said_that)
    assert run.stop == ("KeyboardInterrupt", "KeyboardInterrupt: stopped; the text so far is kept")
    assert [("stopped" in one) for one in columns(run.markdown[-1])] == [False, True, True]
    assert "What was said so far\n\n<small>stopped" in run.markdown[-1]
    assert kernel.run("[(one.text, one.stopped) for one in three]").result == str(
        [("All of it.", False), ("What was said so far", True), ("", True)]
    )
    kernel.run("%%backend m\nAnd?")
    assert said(engine.asked("m"))[1] == ("assistant", "What was said so far")
    eventually(lambda: engine.stopped == 2)


def test_an_interrupt_keeps_what_the_others_said(kernel, engine):
    engine.says(a=(...,), b=("So far", ...))
    run = kernel.run_and_interrupt("%%backend a b -o two\nhi", shows("So far"))
    assert run.stop == ("KeyboardInterrupt", "KeyboardInterrupt: stopped; the text so far is kept")
    assert kernel.run("[one.text for one in two]").result == "['', 'So far']"
    kernel.run("%%backend m\nAnd?")
    assert said(engine.asked("m")) == [("user", "And?")]
    eventually(lambda: engine.stopped == 2)


def test_an_interrupt_before_the_first_word_says_that_nothing_is_kept(kernel, engine):
    engine.says(a=(...,), b=(...,))
    run = kernel.run_and_interrupt("%%backend a b -o nothing\nhi", shows("waiting"))
    assert run.stop == ("KeyboardInterrupt", "KeyboardInterrupt: stopped before the answer began")
    assert ["stopped" in one for one in columns(run.markdown[-1])] == [True, True]
    assert kernel.run("'nothing' in globals()").result == "False"
    eventually(lambda: engine.stopped == len(engine.history))


def test_attachments_are_shown_once_and_sent_to_all(kernel, engine):
    kernel.run(f"plot = bytes.fromhex({PNG!r})")
    run = kernel.run("%%backend a b -i plot\nWhat is it?")
    assert [display["metadata"].get("nb_backend", {}).get("attached") for display in run.displays].count(True) == 1
    assert [str(body).count("data:image/png;base64") for body in engine.history] == [1, 1]


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("%%backend a b a\nhi", "one of them twice"),
        ("%%backend a small --keep c\nhi", "--keep needs one of a, small, not c"),
        ("%%backend a ''\nhi", "without a name"),
        ("%%backend a b\n", "nothing to ask"),
    ],
)
def test_a_line_that_cannot_be_asked(kernel, engine, cell, words):
    one_line(kernel.run(cell), words)
    assert engine.history == []


@pytest.mark.parametrize("dry_run", ["", " --dry-run"])
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("llama gpt-5 # cheap", ["does not list gpt-5", "did you mean gpt-4o?"]),
        ("lama gpt-4o", ["does not list lama", "did you mean llama?"]),
        ("llama mistral", ["does not list mistral", "%backend models", "%backend alias NAME mistral"]),
        ("llama 'mistral'", ["does not list mistral"]),
        ("llama Answer briefly", ["'Answer briefly' is not in", "below %%backend llama or"]),
        ("llama 'Answer briefly'", ["does not list Answer briefly"]),
        ("Why is the sky blue", ["'Why is the sky blue' is not in"]),
    ],
)
def test_none_is_asked_if_the_server_does_not_list_each(kernel, engine, line, words, dry_run):
    one_line(kernel.run(f"%%backend {line}{dry_run}\nhi"), *words)
    assert engine.history == []


def test_a_model_that_the_server_has_since_or_that_is_an_alias_is_asked(kernel, engine):
    one_line(kernel.run("%%backend llama new-1\nhi"), "does not list new-1")
    engine.listed.append("new-1")
    kernel.run("%backend alias mine not-listed")
    assert kernel.run("%%backend llama new-1 mine\nhi").error is None
    assert sorted(body["model"] for body in engine.history) == ["llama", "new-1", "not-listed"]
    kernel.run("%backend alias mine")


def test_if_the_server_lists_none_each_has_to_look_like_a_name(kernel, engine):
    engine.listed.clear()
    one_line(kernel.run("%%backend phi x-2\nhi"), "phi may be a word", '%%backend "phi" x-2;')
    one_line(kernel.run("%%backend x-2 Answer in brief\nhi"), "'Answer in brief' may be a text")
    one_line(kernel.run("%%backend x-2 'My Model'\nhi"), 'an alias: %backend alias NAME "My Model"')
    one_line(kernel.run("%%backend -p user=bob llama\nhi"), '-p "user=bob llama"; if llama is a model, write it first')
    assert engine.history == []
    for cell in ("%%backend x-1 x-2 # both\nhi", '%%backend "phi" x-2\nhi'):
        assert kernel.run(cell).error is None
    assert sorted(body["model"] for body in engine.history) == ["phi", "x-1", "x-2", "x-2"]


def test_stored_answers_are_replayed_whatever_the_server_lists(kernel, engine, tmp_path):
    kernel.run(f"%backend cache on '{tmp_path}'")
    engine.listed[:] = ["old", "older"]
    assert kernel.run("%%backend old older --once\nhi").error is None
    engine.listed[:] = ["other"]
    assert len(engine.history) == 2
    one_line(kernel.run("%%backend gone older --once\nhi"), "does not list gone")
    for option in ("", " --dry-run"):
        assert kernel.run(f"%%backend old older --once{option}\nhi").error is None
    assert len(engine.history) == 2
    kernel.run("%backend cache off")


def test_words_after_a_parameter_are_models_if_the_server_lists_them(kernel, engine):
    for line, models in (("-p user=bob llama", ["llama"]), ("-p user=bob llama a", ["llama", "a"])):
        assert kernel.run(f"%%backend {line} --once\nhi").error is None
        assert sorted(body["model"] for body in engine.history) == sorted(models)
        assert engine.history.pop()["user"] == "bob"
        engine.history.clear()
    for line in ("-p stop=the end", "-p stop=the llama end"):
        one_line(kernel.run(f"%%backend {line}\nhi"), f'in quotes: -p "{line[3:]}"')
    assert engine.history == []


@pytest.mark.parametrize("name", ["phi", "o3", "my-model", "'my model'"])
def test_one_model_alone_is_asked_as_given(kernel, engine, name):
    assert kernel.run(f"%%backend {name} # as given\nhi").error is None
    assert engine.history[-1]["model"] == name.strip("'")


def test_they_arrive_in_an_output_widget(kernel):
    run = kernel.run(
        "import ipywidgets\nout = ipywidgets.Output()\n"
        "with out:\n    get_ipython().run_cell_magic('backend', 'llama gpt-4o', 'Why is the sky blue?')"
    )
    assert run.of("update_display_data") == []  # the widget would drop it
    assert len(columns(run.markdown[-1])) == 2
    assert run.markdown[-1].count("<small>scripted") == 2
