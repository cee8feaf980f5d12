"""The line of ``%%backend``: its words, its options, and what is refused."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nb_backend import settings
from nb_backend.notebook.magic.completion import Known, candidates
from nb_backend.notebook.magic.line import KEY_ON_THE_LINE, words
from nb_backend.notebook.magic.options import Options, build_parser, declared, option, parse


def options(line):
    return parse(line)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", []),
        ("  gpt-4o\t-n  ", ["gpt-4o", "-n"]),
        ("-s 'Be brief' -i \"a b.png\"", ["-s", "Be brief", "-i", "a b.png"]),
        ("--image='a b.png' --system=\"it's\"", ["--image=a b.png", "--system=it's"]),
        ("-s 'say \"hi\"'", ["-s", 'say "hi"']),
        (r'-s "say \"hi\""', ["-s", 'say "hi"']),
        (r"-i C:\new\t.png", ["-i", r"C:\new\t.png"]),
        (r'-i "C:\a b\"', ["-i", "C:\\a b\\"]),
        ('-p stop=["a","b"]', ["-p", 'stop=["a","b"]']),
        ('-p \'stop=["a", "b"]\'', ["-p", 'stop=["a", "b"]']),
        ('-p stop=\'["a", "b"]\'', ["-p", 'stop=["a", "b"]']),
        ("-i figs['a b']", ["-i", "figs['a b']"]),
        ("-s ''", ["-s", ""]),
        ('-n --system="Be brief" --new -s"Be brief"', ["-n", "--system=Be brief", "--new", "-sBe brief"]),
        ("-s \"\" -s '=x'", ["-s", "", "-s", "=x"]),
    ],
)
def test_words(line, expected):
    assert words(line) == expected


@pytest.mark.parametrize("line", ["'", "-s 'a", '-s "it', "-s don't", "a'b c' '"])
def test_a_quote_that_is_not_closed(line):
    with pytest.raises(ValueError, match=r"a quote is not closed in .*: see %%backend"):
        words(line)


quotable = st.text(st.characters(exclude_characters='"\\\n', exclude_categories=["Cs"]))


@given(st.lists(quotable))
@example(["it's", "a  b", "", "=", "-x"])
def test_a_quoted_text_is_one_word(texts):
    assert words(" ".join(f'"{text}"' for text in texts)) == texts


@given(st.text(max_size=200))
def test_any_line_is_read_or_refused(line):
    with suppress(ValueError):
        options(line)


@given(quotable.filter(lambda text: text != "--"))  # which argparse takes for itself, wherever it stands
@example("-n be brief")
@example("-a=b")
def test_a_system_prompt_is_the_text_in_the_quotes(text):
    assert options(f'-s "{text}"').system == text
    assert options(f'--system="{text}"').system == text


def test_the_defaults():
    found = options("")
    assert (found.model, found.system, found.image, found.chat, found.out, found.format) == (
        *(None, None, [], "main", None, "markdown"),
    )
    assert (found.new, found.once, found.raw, found.dry_run, found.params) == (False, False, False, False, {})


@pytest.mark.parametrize(
    ("line", "models", "kept"),
    [
        ("", [], None),
        ("one", [], "one"),
        ("one --keep one", [], "one"),
        ("one two", ["one", "two"], "one"),
        ("-t 0 'a b' -i fig two --keep two -n three", ["a b", "two", "three"], "two"),
    ],
)
def test_models_may_stand_anywhere_and_the_first_is_kept_by_default(line, models, kept):
    found = options(line)
    assert ([*found.models], found.model) == (models, kept)


def test_an_alias_is_the_model_that_it_names():
    settings.current.aliases = {"small": "llama3.2:1b"}
    assert options("small gpt-4o --keep llama3.2:1b").model == "small"
    assert options("llama3.2:1b gpt-4o --keep small").model == "llama3.2:1b"
    with pytest.raises(ValueError, match="twice or without a name"):
        options("small llama3.2:1b")


def test_a_schema_means_json():
    assert options("--schema Review").format == options("-f json --schema {'type':'array'}").format == "json"


def test_all_at_once():
    found = options(
        "gpt-4o -s S -t 0.2 --max-tokens 7 -p top_p=0.9 -p stop=END -i fig -i 'a b.png' -c work -n -o out -f json "
        "--effort low --provider P --raw --dry-run"
    )
    assert (found.model, found.system, found.image) == ("gpt-4o", "S", ["fig", "a b.png"])
    assert (found.chat, found.new, found.out, found.format, found.raw, found.dry_run) == (
        *("work", True, "out", "json", True, True),
    )
    assert found.params == {
        "provider": "P",
        "temperature": 0.2,
        "max_tokens": 7,
        "effort": "low",
        "top_p": 0.9,
        "stop": "END",
    }


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=5,
)


@given(json_values)
def test_a_parameter_is_any_json(value):
    text = json.dumps(value).replace("'", "\\u0027")
    assert options(f"-p 'x={text}'").params == {"x": value}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("END", "END"),
        ("0.5", 0.5),
        ("true", True),
        ("null", None),
        ("a=b", "a=b"),
        ("", ""),
        ("NaN", "NaN"),
        ("'7'", 7),
    ],
)
def test_a_parameter_that_is_not_json_is_a_text(text, value):
    assert options(f"-p x={text}").params == {"x": value}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-t warm", ["-t needs a number such as 0.2, not warm"]),
        ("-t -1", ["-t needs a number from 0 up, such as 0.2, not -1"]),
        ("--temperature nan", ["--temperature needs a number from 0 up"]),
        ("--max-tokens 0", ["--max-tokens", "from 1 up"]),
        ("--temp x", ["-t needs a number such as 0.2, not x"]),
        ("--max-tokens 1e3", ["--max-tokens needs a whole number from 1 up, such as 500, not 1e3"]),
        ("--max-tokens 1.5", ["--max-tokens"]),
        ("-p temperature", ["KEY=VALUE", "top_p=0.9"]),
        ("-p =1", ["KEY=VALUE"]),
        ("-p stop=[1", ["stop=[1 is not JSON"]),
        ("-p stream=True", ["stream=True is not JSON: write -p stream=true"]),
        ("-p a=1e400", ["too large"]),
        ("-p a=[18446744073709551616]", ["too large"]),
        ("-p messages=[]", ["is not a parameter"]),
        *((f"-p {name}=1", ["is not a parameter"]) for name in ("prompt", "images", "system", "new", "self", "cls")),
        ("-p model=x", ["is not a parameter"]),
        ("--effort extreme", ["--effort needs none, low, medium or high, not extreme"]),
        ("--effort", ["--effort needs a value: --effort low"]),
        ("--schema Review -f text", ["--schema reads the answer as JSON: leave out -f text"]),
        ("--schema dict(a=1, b=2)", ['put a value with spaces in quotes: --schema "dict(a=1, b=2)"']),
        ("--schema", ["--schema needs a value: --schema Review"]),
        ("-f html", ["-f needs markdown, text, code or json, not html"]),
        ("--format jsn", ["--format needs markdown, text, code or json, not jsn: did you mean json?"]),
        ("--new=1", ["--new takes no value: write --new"]),
        ("-o 2x", ["-o needs a name for a variable, such as answer, not '2x'"]),
        ("-o class", ["-o needs a name for a variable"]),
        ("--once -c x", ["--once", "leave out"]),
        ("-n --once", ["--once", "leave out"]),
        ("-s", ['-s needs a value: -s "Be brief"']),
        ("one two one", ["one of them twice or without a name"]),
        ("one ''", ["without a name"]),
        ("one two --keep three", ["--keep needs one of one, two, not three"]),
        ("--keep one", ["--keep needs a model that the line names"]),
    ],
)
def test_a_line_that_is_not_valid(line, words):
    with pytest.raises(ValueError, match=re.escape(words[0])) as failure:
        options(line)
    for word in words:
        assert word in str(failure.value)


@pytest.mark.parametrize(
    "line",
    [
        "--key abc-def",
        "--api-key=abc-def",
        "--api_key abc-def",
        "-p api_key=abc-def",
        "--token abc-def",
        '-p x=[{"api_key":"abc-def"}]',
    ],
)
def test_a_key_is_refused_and_not_repeated(line):
    with pytest.raises(ValueError, match="it was not used") as failure:
        options(line)
    assert KEY_ON_THE_LINE in str(failure.value)
    assert "abc-def" not in str(failure.value)


@dataclass(frozen=True)
class MoreOptions(Options):
    seed: int | None = option("--seed", type=int, metavar="NUMBER", in_body=True, help="a number")
    table: str | None = option("-x", "--table", completes="variables", help="a variable")


def test_an_option_is_declared_in_one_place():
    assert "--seed NUMBER" in build_parser(MoreOptions).format_help()
    found = parse("gpt-4o --seed 7 -x frame", MoreOptions)
    assert (found.seed, found.table) == (7, "frame")
    assert found.request_options().items() >= {"model": "gpt-4o", "seed": 7}.items()
    assert "seed" not in parse("gpt-4o", MoreOptions).request_options()
    known = Known(options=declared(MoreOptions), variables=["figure", "frame"])
    assert candidates("%%backend --se", known)[1] == ["--seed"]
    assert candidates("%%backend -x f", known)[1] == ["figure", "frame"]
