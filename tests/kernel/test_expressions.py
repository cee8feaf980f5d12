"""``{{ expressions }}`` in a cell of a real kernel; whatever is none reaches either kind of server as it was typed."""

from __future__ import annotations

import json
from html import unescape

import pytest
from driver import one_line
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from serving import TOKEN


@pytest.fixture(scope="module")
def server(either_server):
    return either_server


def asked(kernel, engine, cell):
    """The text and the images of the question that a cell asks."""
    run = kernel.run(cell)
    assert run.error is None, run.error
    body = engine.history[-1]
    content = body["messages"][-1]["content"]
    if isinstance(content, str):
        return content, body.get("media")
    texts = [part["text"] for part in content if part["type"] == "text"]
    return "".join(texts), [[part["image_url"]["url"], None] for part in content if part["type"] == "image_url"]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(
            [
                "{",
                "}",
                "{x}",
                "}}",
                "%%",
                "%",
                ">>> ",
                "...: ",
                "In [1]: ",
                "\n",
                "\r\n",
                "\n\n",
                "\t",
                "?",
                "!",
                "$x",
                "\\",
                "\\frac{a}{b}",
                '"',
                "'",
                '"""',
                '{"a": {"b": 1}}',
                "f'{x:>{n}}'",
                "\u2028",
                "\x0c",
                "\x00",
                " ",
            ]
        )
        | st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
    )
    .map("".join)
    .map(lambda text: text.replace("{{", "{ {"))
    .filter(str.strip)
)
@example("%%time\nx = {1}")
@example(" \n?\n ")
@example("}}{ {x}}")
def test_any_text_without_two_braces_arrives_as_it_is(kernel, engine, text):
    content, _ = asked(kernel, engine, f"%%backend --once\n{text}")
    assert content == text.removesuffix("\n")


def test_expressions_are_evaluated_once_where_the_cells_run(kernel, engine):
    kernel.run(
        "import threading\nname = 'Ada {{ 1 + 1 }}'\nran = []\n"
        "def f():\n    ran.append(threading.current_thread())\n    return 7"
    )
    text, _ = asked(kernel, engine, "%%backend --once\nI am {{ name }}, {x} {{ f() }} {{ f() }} {{ In[1][:9] }}")
    assert text == "I am Ada {{ 1 + 1 }}, {x} 7 7 %load_ext"
    assert kernel.run("len(ran), set(ran) == {threading.main_thread()}").result == "(2, True)"


def test_values_of_cells(kernel, engine):
    engine.enqueue("As typed")
    count = kernel.run("%%backend --once\nIs {this} as typed?").reply["execution_count"]
    text, _ = asked(kernel, engine, f"%%backend --once\n{{{{ In[{count}] }}}}; {{{{ Out[{count}] }}}}, {{{{ _ }}}}")
    assert text == "%%backend --once\nIs {this} as typed?; As typed, As typed"
    text, _ = asked(kernel, engine, "%%backend --once\n{{ [word := 'x', *[In[-2] for _ in 'y']] }} {{ word }}")
    assert text.endswith("] x")
    assert "await" not in text


def test_a_table_and_a_figure(kernel, engine):
    kernel.run(
        "import pandas as pd, matplotlib.pyplot as plt\ndf = pd.DataFrame({'a': [1, 2]})\n"
        "fig, ax = plt.subplots()\nax.plot([1, 2]);\nplt.close(fig)"
    )
    text, media = asked(kernel, engine, "%%backend --once -i fig -i ax.lines[0]\n{{ df }}\n{{ fig }}")
    assert "2 rows × 1 column; dtypes: a int64" in text
    assert text.endswith("\n[image: fig.png]")
    ((uri, name),) = media  # the same picture goes along once
    assert name in ("fig.png", None)  # OpenAI's format has no names
    assert uri.startswith("data:image/png;base64,iVBOR")


def test_what_was_left_out_is_said_under_the_answer_and_in_its_record(kernel, engine):
    kernel.run("import pandas as pd\ndf = pd.DataFrame({'a': range(200)})")
    run = kernel.run("%%backend --once\n{{ df }}")
    assert unescape(run.markdown[-1]).endswith(" · df: 20 of 200 rows sent</small>")
    assert run.displays[-1]["metadata"]["nb_backend"]["remarks"] == ["df: 20 of 200 rows sent"]
    assert kernel.run("_.remarks").result == "['df: 20 of 200 rows sent']"
    dry = kernel.run("%%backend --dry-run\n{{ df }}").markdown[-1]
    assert "- left out: df: 20 of 200 rows sent\n" in dry.replace("\\", "")


def test_missing_names_are_listed_and_nothing_is_sent(kernel, engine):
    one_line(
        kernel.run("%%backend\n{{ nothing }} and {{ nowhere + 1 }}"), "nothing and nowhere are not defined", "--raw"
    )
    one_line(kernel.run("%%backend\n{{ 1 / 0 }}"), "{{ 1 / 0 }}", "ZeroDivisionError")
    assert engine.history == []


def test_raw(kernel, engine):
    text, _ = asked(kernel, engine, "%%backend --once --raw\n{{ nothing }} \\{{ x }}")
    assert text == "{{ nothing }} \\{{ x }}"


def test_expressions_in_one_line(kernel, engine):
    kernel.run("number = 42")
    text, _ = asked(kernel, engine, "%backend ask What is {{ number }}?")
    assert text == "What is 42?"


@pytest.mark.parametrize(
    "cell",
    [
        "%%backend\n{{ slow() }} {{ slow() }}",
        "%%backend -i slow()\nhi",
        "%backend ask {{ slow() }}",
        "%%backend --dry-run\n{{ slow() }}",
    ],
)
def test_an_interrupt_ends_an_expression(kernel, engine, cell):
    kernel.run(
        "import threading\nruns = []\n"
        "def slow():\n    runs.append(1)\n    print('slow')\n    threading.Event().wait()  # for ever"
    )
    run = kernel.run_and_interrupt(cell, lambda message: "slow" in str(message["content"].get("text")))
    assert run.stop == ("KeyboardInterrupt", "KeyboardInterrupt: stopped; nothing was sent")
    assert run.markdown == ["stopped; nothing was sent"]
    assert kernel.run("len(runs)").result == "1"
    assert engine.history == []


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("quits()", "SystemExit"),
        ("Shown()", "RuntimeError: cannot be drawn"),
        ("Registered()", "RuntimeError: cannot be drawn"),
        ("figure", "Parse"),
    ],
)
def test_whatever_an_expression_raises_is_one_line(kernel, engine, expression, words):
    kernel.run(
        "import matplotlib.pyplot as plt\ndef quits(): raise SystemExit(3)\n"
        "class Shown:\n    def _repr_png_(self): raise RuntimeError('cannot be drawn')\n"
        "class Registered: pass\ndef draw(value): raise RuntimeError('cannot be drawn')\n"
        "get_ipython().display_formatter.formatters['image/png'].for_type(Registered, draw)\n"
        "figure, axes = plt.subplots(); axes.set_title(r'$\\frac{$'); plt.close(figure)"
    )
    for cell in (f"%%backend\n{{{{ {expression} }}}}", f"%%backend -i {expression}\nhi"):
        run = kernel.run(cell)
        one_line(run, words, expression)
        assert len(run.of("error")) == 1
        assert run.of("stream", "display_data") == []
    assert engine.history == []


def test_nothing_left_to_ask(kernel, engine):
    one_line(kernel.run("%%backend\n{{ '' }}"), "nothing to ask")
    assert engine.history == []


def test_a_key_is_in_no_line_of_an_error(kernel, engine):
    kernel.run("import os\nsecret = os.environ['NB_BACKEND_API_KEY']\ndef leak(): raise ValueError(f'no {secret}')")
    for cell in ("%%backend\n{{ leak() }}", "%%backend -i leak()\nhi", "%%backend -i secret\nhi"):
        run = kernel.run(cell)
        one_line(run)
        assert TOKEN not in json.dumps(run.messages, default=str)
    assert engine.history == []
