"""Tool calls are joined from their pieces, whatever tells which piece belongs to which call."""

from __future__ import annotations

import json

import pytest
from cpu_time import cpu_time
from hypothesis import given
from hypothesis import strategies as st

from nb_backend import RawResponse
from nb_backend.chat import Answer, ToolCall
from nb_backend.providers.tool_calls import ToolCallCollector, parse_arguments

ROME, OSLO = '{"city": "Rome"}', '{"city": "Oslo"}'


def piece(name=None, arguments=None, **more) -> dict:
    fields = {key: value for key, value in {"name": name, "arguments": arguments}.items() if value is not None}
    return {"type": "function", "function": fields, **more}


def joined(*chunks: list[dict] | dict) -> list[tuple[str | None, str, str]]:
    collector = ToolCallCollector()
    for chunk in chunks:
        collector.add(chunk)
    return [(one["id"], one["function"]["name"], one["function"]["arguments"]) for one in collector.calls()]


ONE = [("a", "weather", ROME)]
TWO = [("a", "weather", ROME), ("b", "weather", OSLO)]
CHUNKS = {
    "by index": (
        [piece("weather", "", index=0, id="a"), piece(None, ROME[:5], index=0), piece(None, ROME[5:], index=0)],
        ONE,
    ),
    "two by index, interleaved": (
        [
            [piece("weather", "", index=0, id="a"), piece("weather", "", index=1, id="b")],
            piece(None, ROME[:5], index=0),
            piece(None, OSLO[:5], index=1),
            piece(None, ROME[5:], index=0),
            piece(None, OSLO[5:], index=1),
        ],
        TWO,
    ),
    "the id again, without an index": (
        [piece("weather", ROME[:5], id="a"), piece(None, ROME[5:9], id="a"), piece(None, ROME[9:], id="a")],
        ONE,
    ),
    "two ids, interleaved, without an index": (
        [
            piece("weather", ROME[:5], id="a"),
            piece("weather", OSLO[:5], id="b"),
            piece(None, ROME[5:], id="a"),
            piece(None, OSLO[5:], id="b"),
        ],
        TWO,
    ),
    "whole calls, all of index 0": (
        [piece("weather", ROME, index=0, id="a"), piece("weather", OSLO, index=0, id="b")],
        TWO,
    ),
    "whole calls, all of index 0, without ids": (
        [piece("weather", ROME, index=0), piece("weather", OSLO, index=0)],
        [(None, "weather", ROME), (None, "weather", OSLO)],
    ),
    "without arguments, all of index 0": (
        [piece("time", "", index=0, id="a"), piece("date", "", index=0, id="b")],
        [("a", "time", ""), ("b", "date", "")],
    ),
    "in pieces, all of index 0": (
        [
            piece("weather", "", index=0, id="a"),
            piece(None, ROME, index=0),
            piece("weather", "", index=0, id="b"),
            piece(None, OSLO, index=0),
        ],
        TWO,
    ),
    "neither index nor id": (
        [piece("weather", ROME[:5]), piece(None, ROME[5:]), piece("weather", OSLO)],
        [(None, "weather", ROME), (None, "weather", OSLO)],
    ),
    "neither, but by place": (
        [[piece("weather", ROME[:5]), piece("weather", OSLO[:5])], [piece(None, ROME[5:]), piece(None, OSLO[5:])]],
        [(None, "weather", ROME), (None, "weather", OSLO)],
    ),
    "neither, without arguments": ([piece("time"), piece("date")], [(None, "time", ""), (None, "date", "")]),
    "an empty id later": (
        [piece("weather", ROME[:5], index=0, id="a"), piece(None, ROME[5:], index=0, id="")],
        ONE,
    ),
    "the id later": ([piece("weather", ROME[:5], index=0), piece(None, ROME[5:], index=0, id="a")], ONE),
    "the name in each piece": (
        [piece("weather", ROME[:5], index=0, id="a"), piece("weather", ROME[5:], index=0)],
        ONE,
    ),
    "the name in pieces": (
        [piece("wea", "", index=0, id="a"), piece("ther", "", index=0), piece(None, ROME, index=0)],
        ONE,
    ),
    "the name so far in each piece": ([piece("wea", index=0, id="a"), piece("weather", ROME, index=0)], ONE),
    "a new id in each piece": (
        [
            piece("weather", ROME[:5], index=0, id="a"),
            piece(None, ROME[5:9], index=0, id="b"),
            piece("weather", ROME[9:], index=0, id="c"),
        ],
        ONE,
    ),
    "an object": ([piece("weather", {"city": "Rome"}, id="a")], [("a", "weather", '{"city":"Rome"}')]),
    "an empty object first": (
        [piece("weather", "{}", index=0, id="a"), piece(None, ROME[:5], index=0), piece(None, ROME[5:], index=0)],
        ONE,
    ),
    "sent again when whole": ([piece("weather", ROME, index=0, id="a"), piece("weather", ROME, index=0, id="a")], ONE),
    "an id that is used again": (
        [piece("weather", ROME, index=0, id="a"), piece("weather", OSLO, index=1, id="a")],
        [("a", "weather", ROME), ("a", "weather", OSLO)],
    ),
    "null": ([piece("time", index=0, id="a") | {"function": {"name": "time", "arguments": None}}], [("a", "time", "")]),
    "a number as id": ([piece("weather", ROME, id=0)], [("0", "weather", ROME)]),
    "without a function": ([{"id": "a", "name": "weather", "arguments": ROME}], ONE),
    "a custom tool": (
        [{"id": "a", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}],
        [("a", "sql", "SELECT 1")],
    ),
    "nothing": ([[], None, 7, {}, [7], piece(), {"function": 7}, {"index": 0, "id": ""}], []),
}


@pytest.mark.parametrize(("chunks", "calls"), CHUNKS.values(), ids=CHUNKS)
def test_the_calls(chunks, calls):
    assert joined(*chunks) == calls


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
calls = st.lists(st.dictionaries(st.text(min_size=1, max_size=3), json_values, max_size=3), min_size=1, max_size=4)


@given(calls, st.sampled_from(["index", "id", "both", "id of each piece, index 0"]), st.booleans(), st.data())
def test_any_cut_of_the_arguments_gives_the_same_calls(calls, told_by, repeats_name, data):
    chunks = []
    for number, arguments in enumerate(calls):
        text = json.dumps(arguments)
        cut = data.draw(st.integers(0, len(text)))
        who = {"index": {"index": number}, "id": {"id": f"c{number}"}}.get(
            told_by, {"index": number, "id": f"c{number}"}
        )
        if told_by.endswith("index 0"):
            who["index"] = 0
        chunks += [
            piece("f", text[:cut], **who),
            piece("f" if repeats_name and cut < len(text) else None, text[cut:], **who),
        ]
    assert [json.loads(text) for _, _, text in joined(*chunks)] == calls


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        (ROME, {"city": "Rome"}),
        ("", {}),
        (" ", {}),
        ("null", {}),
        ("{}", {}),
        ('"{\\"city\\": \\"Rome\\"}"', {"city": "Rome"}),
        ('{"code": "a\nb"}', {"code": "a\nb"}),
        ('{"x": NaN}', {"x": None}),
        ('{"city": "Ro', None),
        ("[1]", None),
        ("7", None),
        ("Rome", None),
        ("[" * 100_000, None),
        ('{"a":' * 300 + "1" + "}" * 300, None),  # no encoder takes it back
        ('{"n": 1' + "0" * 30 + "}", {"n": "1" + "0" * 30}),
    ],
)
def test_arguments_are_a_dict(text, arguments):
    assert parse_arguments(text) == arguments


def test_more_than_a_thousand_calls_are_ignored():
    assert len(joined(*(piece("f", "{}", id=f"c{number}") for number in range(5000)))) == 1000


def test_calls_in_many_pieces_take_linear_time():
    pieces = [piece("f", '{"a": "', id="c", index=0), *[piece("f", "}" * 10, id="c", index=0)] * 20_000]
    with cpu_time(4):
        ((_, _, arguments),) = joined(*pieces)
    assert len(arguments) == 7 + 200_000


def test_arguments_that_are_not_an_object_stay_readable():
    answer = Answer()
    answer.add(
        RawResponse(type="tool_calls", tool_calls=[piece("weather", "city=Rome", id="a"), piece("time", id="b")])
    )
    assert answer.tool_calls == [ToolCall("a", "weather", {}, unparsed="city=Rome"), ToolCall("b", "time", {})]


def test_g4f_passes_the_pieces_on_and_the_answer_joins_them():
    answer = Answer()
    for one in (piece("weather", ROME[:5], index=0, id="a"), piece(None, ROME[5:], index=0)):
        answer.add(RawResponse(type="tool_calls", tool_calls=[one]))
    assert answer.tool_calls == [ToolCall("a", "weather", {"city": "Rome"})]
