"""Bodies that are not one JSON object per line: read whole, or counted as damaged, wherever they are cut."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_decoder import cut, decode, json_values, line_by_line, single_bytes

from nb_backend.transport import lines as lines_module

A, B, C = ({"type": "content", "content": text} for text in ("a{", 'b"]', "c\\\n"))


def encoded(*objects: Any, indent: int | None = None) -> list[bytes]:
    return [json.dumps(one, indent=indent).encode() for one in objects]


a, b, c = encoded(A, B, C)
pretty_a, pretty_b = encoded(A, B, indent=2)


def check(body: bytes, expected: list[dict[str, Any]], damaged: int = 0) -> None:
    """Decode a body whole, cut at each byte and in single bytes, with and without the fast path."""
    for chunks in ([body], single_bytes(body), *([body[:at], body[at:]] for at in range(1, len(body)))):
        events, decoder = decode(*chunks)
        assert ([event.get_dict() for event in events], decoder.damaged) == (expected, damaged), chunks
    plain = line_by_line()
    events = plain.feed(body) + plain.flush()
    assert ([event.get_dict() for event in events], plain.damaged) == (expected, damaged)


@pytest.mark.parametrize(
    "line",
    [
        a + b,
        a + b" " + b,
        a + b"," + b,
        a + b", " + b + b",",
        a + b"data: " + b,
        b"data: " + a + b"data:" + b,
        a + b"\x1e" + b,
        b"\xef\xbb\xbf" + a + b"\x00" + b + b"\x00",
        b"[" + a + b"," + b + b"]",
        b"[" + a + b",\n" + b + b"]",
        b"[" + a + b"\n,\n" + b + b"\n]",
        b"[\n" + a + b",\n" + b + b"\n]\n",
        b"[" + a + b"," + b + b",]",
    ],
)
@pytest.mark.parametrize("framing", [b"%s\n", b"data: %s\n\n", b"event: content\r\ndata: %s\r\n\r\n", b"%s"])
def test_several_objects_in_a_line(line: bytes, framing: bytes) -> None:
    if b"\n" in line and b"data" in framing:
        line = line.replace(b"\n", b"\ndata: ")
    check(framing % line, [A, B])
    check(framing % line + framing % c, [A, B, C])
    check(framing % c + framing % line + framing % b"[DONE]", [C, A, B])


@pytest.mark.parametrize("end", [b"\n", b"", b"\n\n", b"\r\n"])
@pytest.mark.parametrize("indent", [0, 1, 4])
def test_indented_json_over_many_lines(indent: int, end: bytes) -> None:
    nested = {"type": "x", "list": [{}, {"deep": [1, -2.5e3, None, True]}, []], "text": "a: {\n", "empty": {}}
    (body,) = encoded(nested, indent=indent)
    check(body + end, [nested])
    check(body.replace(b"\n", b"\r\n") + end, [nested])
    check(b"\xef\xbb\xbf" + body + b"\n" + body + end, [nested, nested])
    check(a + b"\n" + body + b"\n" + b + end, [A, nested, B])
    check(b"data: " + body + b"\n\ndata: " + body + b"\n\n" + b + end, [nested, nested, B])
    check(b"".join(b"data: %s\n" % line for line in body.split(b"\n")) + b"\n", [nested])
    check(b"[" + body + b"\n,\n" + body + b"\n]" + end, [nested, nested])
    check(b"[\n" + body + b",\n" + body + b",\n]" + end, [nested, nested])


def test_one_object_over_several_events() -> None:
    for first in range(1, len(a)):
        for second in {first, (first + len(a)) // 2, len(a) - 1}:
            pieces = [a[:first], a[first:second], a[second:]]
            body = b"".join(b"data: %s\n\n" % piece for piece in [*pieces, b] if piece)
            events, decoder = decode(body)
            assert ([event.get_dict() for event in events], decoder.damaged) == ([A, B], 0), pieces


def test_a_line_end_within_a_text_is_kept() -> None:
    check(b'{"type": "content", "content": "one\ntwo"}\n', [{"type": "content", "content": "one\ntwo"}])


@pytest.mark.parametrize(
    ("damage", "count"),
    [
        (b'{"a":', 1),
        (b'{"a": "b', 1),
        (b'{"a": [1, 2', 1),
        (b'{"a": [', 1),
        (b"{", 1),
        (b"{'a': 1}", 1),
        (b'{"a": 1,}', 1),
        (b'{"a": tru}', 1),
        (b'{"a": 1}}', 1),
        (b'{"a"\n', 1),
        (b'{"a":\n"b"\n', 2),
        (b"]", 1),
        (b"[[", 1),
        (b"[1, 2]", 1),
        (b"Internal Server Error", 1),
        (b"<html>\n<body>\n</html>", 3),
    ],
)
@pytest.mark.parametrize("framing", [b"%s\n", b"data: %s\n\n"])
def test_a_damaged_line_hides_no_other(damage: bytes, count: int, framing: bytes) -> None:
    whole = b"".join(framing % line for line in damage.split(b"\n") if line)
    kept = [{"a": 1}] if damage == b'{"a": 1}}' else []
    check(framing % a + whole + framing % b + framing % c, [A, *kept, B, C], count)
    check(whole + framing % b + framing % c + framing % b"[DONE]", [*kept, B, C], count)


@pytest.mark.parametrize(
    ("body", "truncated"),
    [
        (b'{\n "type": "content",\n "con', True),
        (b'{\n "type": "content"\n', True),
        (b'data: {"type":\n\n', True),
        (b"[" + a + b",", True),
        (b"[" + a + b"\n", True),
        (b"[" + a + b"]", False),
        (b'{"a":\n' + b + b"\n", False),
        (b'data: {"type":\n\ndata: [DONE]\n\n', False),
    ],
)
def test_an_end_inside_an_object_or_an_array_is_reported(body: bytes, truncated: bool) -> None:
    for chunks in ([body], single_bytes(body)):
        assert decode(*chunks)[1].truncated is truncated


def test_an_object_over_many_lines_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "MAX_LINE", 100)
    body = b'{"a":\n[1,\n' + b"2,\n" * 60 + b"3]}\n" + a + b"\n"
    for chunks in ([body], single_bytes(body)):
        events, decoder = decode(*chunks)
        assert [event.get_dict() for event in events] == [A]
        assert decoder.damaged > 30


@given(
    data=st.lists(st.dictionaries(st.text(), json_values, max_size=3), min_size=1, max_size=4),
    indent=st.sampled_from([None, 0, 2]),
    join=st.sampled_from([b"", b" ", b",", b", ", b"\n", b",\n", b"\n,\n"]),
    in_array=st.booleans(),
    ascii_only=st.booleans(),
    in_events=st.booleans(),
    places=st.lists(st.integers(0, 10_000), max_size=6),
)
@settings(deadline=None)
def test_any_objects_in_any_layout_are_read_whole(
    data: list[dict[str, object]],
    indent: int | None,
    join: bytes,
    in_array: bool,
    ascii_only: bool,
    in_events: bool,
    places: list[int],
) -> None:
    body = join.join(json.dumps(one, indent=indent, ensure_ascii=ascii_only).encode() for one in data)
    body = b"[" + body + b"]" if in_array else body
    if in_events:
        body = b"".join(b"data: %s\n\n" % line for line in re.split(rb"\n", body) if line)
    found = []
    for decoder in decode(b"")[1], line_by_line():
        events = [event for chunk in cut(body, places) for event in decoder.feed(chunk)] + decoder.flush()
        assert [event.get_dict() for event in events] == data
        found.append((decoder.damaged, decoder.truncated, decoder.done))
    assert found == [(0, False, False)] * 2
