"""``map`` and ``compare`` say which answers are incomplete, and ask for them again."""

from __future__ import annotations

import pandas as pd

import nb_backend
from nb_backend.batch.progress import Progress

CUT = {"type": "finish", "finish": {"reason": "length"}}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def test_each_answer_says_whether_it_is_complete(backend):
    backend.engine.enqueue("whole")
    backend.engine.enqueue("cut", CUT)
    found = nb_backend.map(pd.Series(["a", "b"]), concurrency=1)
    assert [answer.complete for answer in found] == [True, False]
    assert "complete=False" in repr(found[1])
    assert "complete" not in repr(found[0])


def test_a_table_of_objects_has_a_column_if_an_answer_is_incomplete(backend):
    table = pd.DataFrame({"text": ["a", "b"]}, index=[7, 3])
    assert nb_backend.map(table[:0], schema=SCHEMA).columns.tolist() == ["n"]
    backend.engine.enqueue('{"n": 1}')
    backend.engine.enqueue('{"n": 2}', CUT)
    found = nb_backend.map(table, schema=SCHEMA, concurrency=1)
    assert found.to_dict("list") == {"n": [1, 2], "complete": [True, False]}
    assert found["complete"].dtype == bool
    assert found.index.tolist() == [7, 3]


def test_a_column_of_the_objects_keeps_its_name(backend):
    backend.engine.enqueue('{"complete": "x"}', CUT)
    found = nb_backend.map(pd.DataFrame({"text": ["a"]}), schema={"type": "object"})
    assert found.to_dict("list") == {"complete": ["x"], "complete_": [False]}


def test_objects_have_an_attribute(backend):
    for prompts in (["a", "b"], pd.Series(["a", "b"])):
        backend.engine.enqueue('{"n": 1}')
        backend.engine.enqueue('{"n": 2}', CUT)
        found = nb_backend.map(prompts, schema=SCHEMA, concurrency=1, seed=len(backend.engine.history))
        assert [*found] == [{"n": 1}, {"n": 2}]
        assert (found.attrs["complete"] if isinstance(found, pd.Series) else found.complete) == [True, False]


def test_compare_has_a_column_if_an_answer_is_incomplete(backend):
    backend.engine.enqueue("whole")
    backend.engine.enqueue("cut", CUT)
    found = nb_backend.compare("one", ["a", "b"], concurrency=1)
    assert found["complete"].tolist() == [True, False]
    assert found["error"].tolist() == [None, None]


def test_the_same_call_asks_again_for_incomplete_answers_only(backend):
    backend.engine.enqueue("whole")
    backend.engine.enqueue("cut", CUT)
    nb_backend.map(["a", "b"], concurrency=1)
    found = nb_backend.map(["a", "b"], concurrency=1)
    assert [body["messages"][-1]["content"] for body in backend.engine.history] == ["a", "b", "b"]
    assert [answer.text for answer in found] == ["whole", "b"]
    nb_backend.map(["a", "b"], concurrency=1)
    assert len(backend.engine.history) == 5  # all were complete, so this was a new call


def test_the_progress_line_counts_incomplete_answers():
    counts = Progress(4)
    counts.answered, counts.incomplete, counts.failed = 3, 1, 1
    assert counts.line(timed=False) == "3 answered · 1 of them incomplete · 1 failed"
    assert counts.rate == "1 failed · 1 incomplete"
