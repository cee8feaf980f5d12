"""json-repair: what it may repair, what it must not make whole, and that an answer says so."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nb_backend
from nb_backend import Answer
from nb_backend.batch.progress import NoProgress
from nb_backend.chat.json_answer import readings
from nb_backend.chat.repaired_json import repaired
from nb_backend.chat.schema import Schema
from nb_backend.notebook.cell.formats import FormatError, json_of

REMARK = "the JSON was repaired by json-repair"


@pytest.fixture
def json_repair():
    return pytest.importorskip("json_repair")


@pytest.mark.usefixtures("json_repair")
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1, "b": [1, 2,],}', {"a": 1, "b": [1, 2]}),
        ("{'a': 'x', 'b': \"it's\"}", {"a": "x", "b": "it's"}),
        ("{a: 1, 'b': True, c: None, d: false}", {"a": 1, "b": True, "c": None, "d": False}),
        ("{'a': 'NaN is undefined'}", {"a": "NaN is undefined"}),
        ('{"a": 1 "b": 2}', {"a": 1, "b": 2}),
        ('{"a": 1, // one\n "b": 2}', {"a": 1, "b": 2}),
        ('{"a": “x”}', {"a": "x"}),
        ('{"a": "first\nsecond"}', {"a": "first\nsecond"}),
        ('{"a": "say "hi" now"}', {"a": 'say "hi" now'}),
        ('{"a": "caf\\u00e9 https://example.org",}', {"a": "café https://example.org"}),
    ],
)
def test_what_is_almost_json_is_repaired(text, value):
    mended = repaired(text)
    assert mended is not None
    assert json.loads(mended) == value


@pytest.mark.usefixtures("json_repair")
@pytest.mark.parametrize(
    "text",
    [
        *('{"a": 1', '{"a": [1, 2}', '{"a": "x', '["a", "b', '{"a": 1, "b": ', "[" * 50),
        *('{"a": NaN,}', '{"a": -Infinity,}', '{"a": undefined}'),
        *('{"a": , "b": 1}', '{"a": }', "[1,, 2]", '{"a"}', "[1, ...]", "{...}"),
        *('{"a": 12:30}', "{'a': 'it''s'}", "{'a': 'it's'}", '{"a": 1_000}', '{"a": 1.50000000000000000001,}'),
        *('{"a": 1} {"b": 2}', '{"a": 1} and more', "not JSON", "", '"text', "'text'"),
        '["' + 'x"y ' * 20_000 + '"]',
        *('{"a": {"b": 1}, "c": ":[}', '{"a": "]', '["a", "}]'),
    ],
)
def test_what_was_cut_off_or_needs_a_guess_stays_an_error(text):
    assert repaired(text) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 99) | st.text("ab c,:{}[]'\"/\\é", max_size=5),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.sampled_from("abc"), one, max_size=3),
    max_leaves=6,
)


@pytest.mark.usefixtures("json_repair")
@given(st.lists(JSON, max_size=3) | st.dictionaries(st.sampled_from("abc"), JSON, max_size=3), st.data())
def test_no_text_that_was_cut_off_is_repaired(value, data):
    text = json.dumps(value)
    assert repaired(text[: data.draw(st.integers(0, len(text) - 1))]) is None


@pytest.mark.usefixtures("json_repair")
def test_valid_json_comes_first_and_an_incomplete_answer_is_not_repaired():
    text = '{"a": 1,}\n\n```json\n{"b": 2}\n```'
    found = [one.value for one in readings(Answer(text=text, complete=True)) if not one.error]
    assert found == [{"b": 2}]
    almost = "```json\n{'b': 2,}\n```"
    for complete, values in ((True, [{"b": 2}]), (False, [])):
        assert [one.value for one in readings(Answer(text=almost, complete=complete)) if not one.error] == values


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.mark.usefixtures("json_repair")
def test_the_value_of_a_cell_is_repaired_too():
    answer = Answer(text="Sure:\n```json\n{'a': [1, 2,]}\n```", complete=True)
    assert json_of(answer) == {"a": [1, 2]}
    assert answer.remarks == [REMARK]
    with pytest.raises(FormatError, match="the answer is not JSON"):
        json_of(Answer(text='{"a": [1, 2', complete=True))


@pytest.mark.usefixtures("json_repair")
def test_the_answer_and_the_line_of_map_say_so(backend, monkeypatch):
    lines = []
    view = type("View", (NoProgress,), {"finish": lambda self, line: lines.append(line)})
    monkeypatch.setattr("nb_backend.batch.api.choose_view", lambda *given, **options: view())
    for text in ("{'a': 1,}", '{"a": 2}', "Here: {'a': 3}!"):
        backend.engine.enqueue(text)
    assert nb_backend.map(["x", "y", "z"], schema=SCHEMA, concurrency=1) == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert len(backend.engine.history) == 3
    assert lines[0].startswith("3 answered · 2 of them repaired by json-repair · ")
    answer = Answer(text="{'a': 1,}", complete=True)
    for _ in range(2):
        assert Schema(SCHEMA).read(answer) == {"a": 1}
    assert answer.remarks == [REMARK]
    assert REMARK in answer.summary


def test_without_json_repair_the_model_is_asked_again(backend, monkeypatch):
    monkeypatch.setitem(sys.modules, "json_repair", None)
    backend.engine.enqueue("{'a': 1,}")
    backend.engine.enqueue('{"a": 2}')
    assert nb_backend.map(["x"], schema=SCHEMA) == [{"a": 2}]
    assert "it is not JSON" in backend.engine.history[1]["messages"][-1]["content"]


def test_it_is_imported_only_when_it_is_needed(monkeypatch):
    monkeypatch.delitem(sys.modules, "json_repair", raising=False)
    for text in ('{"a": 1}', "no JSON at all", '{"a": NaN}'):
        [*readings(Answer(text=text, complete=True))]
    assert "json_repair" not in sys.modules
