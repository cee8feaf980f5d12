"""Bytes to events: each framing, each cut, each kind of damage."""

from __future__ import annotations

import json

import pytest
from captures import CAPTURES, VARIANTS
from hypothesis import given, settings
from hypothesis import strategies as st

from nb_backend.events import RawResponse, reasoning_text
from nb_backend.providers.decoder import EventDecoder
from nb_backend.providers.fast_path import FastPath
from nb_backend.transport import lines as lines_module
from nb_backend.transport.lines import LineDecoder


def decode(*chunks: bytes) -> tuple[list[RawResponse], EventDecoder]:
    decoder = EventDecoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return events + decoder.flush(), decoder


def events_of(*chunks: bytes) -> list[RawResponse]:
    return decode(*chunks)[0]


def text_of(*chunks: bytes) -> str:
    return "".join(map(str, events_of(*chunks)))


def single_bytes(body: bytes) -> list[bytes]:
    return [body[at : at + 1] for at in range(len(body))]


# -- the captures


def test_the_captures_are_there() -> None:
    assert sorted(CAPTURES) == [f"g4f-8.8-{name}" for name in ("answer", "auth-error", "image-sent", "reasoning")]


@pytest.mark.parametrize("capture", ["g4f-8.8-answer", "g4f-8.8-image-sent", "g4f-8.8-reasoning"])
def test_a_capture_gives_its_text(capture: str) -> None:
    assert text_of(CAPTURES[capture]) == "Hello wörld 🙂"


def test_a_capture_gives_its_reasoning() -> None:
    events = events_of(CAPTURES["g4f-8.8-reasoning"])
    assert "".join(map(reasoning_text, events)) == "First think."


def test_a_capture_gives_its_error() -> None:
    last = events_of(CAPTURES["g4f-8.8-auth-error"])[-1]
    assert (last.type, last.auth, last.message) == (
        "auth",
        "MissingAuthError",
        "MissingAuthError: Error 401: Invalid API key",
    )


@pytest.mark.parametrize("capture", CAPTURES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_capture_cut_at_every_byte_gives_the_same_events(capture: str, variant: str) -> None:
    expected = events_of(CAPTURES[capture])
    body = VARIANTS[variant](CAPTURES[capture])
    for at in range(len(body) + 1):
        assert events_of(body[:at], body[at:]) == expected, at
    assert events_of(*single_bytes(body)) == expected


# -- lines


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (b"a\nb\n", [b"a", b"b", b""]),
        (b"a\r\nb\rc", [b"a", b"b", b"c"]),
        (b"\r\n\r\n\n\r", [b"", b"", b"", b"", b""]),
        ("a\u2028b\u0085c\x0bd\x0ce\x1cf\n".encode(), ["a\u2028b\u0085c\x0bd\x0ce\x1cf".encode(), b""]),
    ],
)
def test_lines_end_at_lf_crlf_and_cr_only(body: bytes, lines: list[bytes]) -> None:
    for chunks in ([body], single_bytes(body), [part for byte in single_bytes(body) for part in (byte, b"")]):
        decoder = LineDecoder()
        assert [line for chunk in chunks for line in decoder.feed(chunk)] + [decoder.flush()] == lines


@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_too_long_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch, end: bytes) -> None:
    monkeypatch.setattr(lines_module, "MAX_LINE", 50)
    good = b'{"type":"content","content":"ok"}\n'
    body = good + b'{"type":"content","content":"' + b"x" * 60 + b'"}\n' + good + b"y" * 51 + end
    for chunks in ([body], single_bytes(body), [body[:80], body[80:]]):
        events, decoder = decode(*chunks)
        assert (len(events), decoder.damaged) == (2, 2)


def test_endless_data_lines_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "MAX_LINE", 50)
    events, decoder = decode(b"data: 0123456789\n" * 8, b'\n{"type":"content","content":"ok"}\n')
    assert (len(events), decoder.damaged) == (1, 4)  # five lines together, then the other three
    assert decode(b"data:\n" * 1000)[1].damaged > 10


# -- events

HI = RawResponse(type="content", content="Hi")


@pytest.mark.parametrize(
    "body",
    [
        b'data: {"type": "content", "content": "Hi"}\n\n',
        b'data:{"type": "content", "content": "Hi"}\n\n',
        b'event: message\ndata: {"type": "content", "content": "Hi"}\n\n',
        b'event:content\ndata:{"content": "Hi", "type": null}\n\n',
        b': comment\nid: 7\nretry: 100\ndata\nevent: content\ndata: {"type": "content",\ndata: "content": "Hi"}\n\n',
        b'  {"type": "content", "content": "Hi"}  ',
        b'\n\n\n{"type": "content", "content": "Hi"}',
        b'event: title\n\n{"type": "content", "content": "Hi"}',
    ],
)
def test_framing(body: bytes) -> None:
    events, decoder = decode(body)
    assert (events, decoder.damaged) == ([HI], 0)


@pytest.mark.parametrize(
    "damage",
    [
        b"{\n",
        b"data: {broken\n\n",
        b"<html>\n",
        b"[1, 2]\n",
        b"null\n",
        b'"text"\n',
        b"17\n",
        b"\xff\xfe\x00\n",
        b'{"type": "content", "content": ' + b"[" * 900 + b"]" * 900 + b"}\n",
        b'{"a": ' * 100_000 + b"\n",
        b"[" * 100_000 + b"\n",
        b'{"n": ' + b"9" * 5000 + b"\n",
    ],
    ids=lambda damage: damage[:20].decode("latin-1"),
)
def test_a_damaged_line_is_skipped_and_counted(damage: bytes) -> None:
    whole = b'data: {"type": "content", "content": "Hi"}\n\n'
    for chunks in ([whole, damage, whole], [damage, whole, whole]):
        events, decoder = decode(*chunks)
        assert (events, decoder.damaged, decoder.truncated) == ([HI, HI], 1, False)


@pytest.mark.parametrize(
    ("body", "truncated"),
    [
        (b"", False),
        (b'{"type": "content", "con', True),
        (b'data: {"type": "content", "con', True),
        (b'data: {"type":\ndata: "con', True),
        (b'data: {"type":\n', True),
        (b"event: cont", False),
        (b': {"', False),
        (b"{broken}\n", False),
        (b'data: {"type": "content", "content": "Hi"}', False),
    ],
)
def test_an_end_inside_an_object_is_reported(body: bytes, truncated: bool) -> None:
    assert decode(body)[1].truncated is truncated


def test_events_stream_also_if_blank_lines_are_missing() -> None:
    decoder = EventDecoder()
    line = b'data: {"type": "content", "content": "Hi"}\n'
    assert [len(decoder.feed(line)) for _ in range(3)] == [0, 1, 1]


@pytest.mark.parametrize("body", [b"data: [DONE]\n\n", b"[DONE]\n", b"data: [DONE]"])
def test_the_end_mark_is_not_an_event(body: bytes) -> None:
    events, decoder = decode(b'data: {"type": "content", "content": "Hi"}\n\n', body)
    assert (events, decoder.done, decoder.damaged) == ([HI], True, 0)


# -- values


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('"Hi"', "Hi"),
        ("null", ""),
        ("7", "7"),
        ("0.5", "0.5"),
        ("true", ""),
        ('["a", {"type": "text", "text": "b"}, {"type": "image_url"}, 3]', "ab3"),
        ('{"text": "c"}', "c"),
        ("NaN", ""),
        ("-Infinity", ""),
        ("1e999", ""),
        ('"a\\ud83d\\ude42b"', "a🙂b"),
        ('"\\ude42 low \\ud83d high"', "\ufffd low \ufffd high"),
        ('"\u2028\u0085\x0b"', "\u2028\u0085\x0b"),
    ],
)
def test_the_text_of_content(value: str, text: str) -> None:
    assert text_of(b'{"type": "content", "content": %s}\n' % value.encode()) == text


def test_a_lone_surrogate_in_a_field_without_name() -> None:
    events, _ = decode(b'{"type":"log","":"\\ud83d"}\n')
    assert [event.get_dict() for event in events] == [{"type": "log", "": "\ufffd"}]


def test_damaged_utf8_becomes_the_replacement_character() -> None:
    assert text_of(b'{"type": "content", "content": "a\xff\xf0\x9f\x99b"}\n') == "a\ufffd\ufffdb"


@pytest.mark.parametrize(
    ("texts", "whole"),
    [
        (["\\ud83d", "\\ude42"], "🙂"),
        (["a\\ud83d", "", "\\ude42b"], "a🙂b"),
        (["\\ud83d", "x"], "\ufffdx"),
        (["\\ud83d", "\\ud83d", "\\ude42"], "\ufffd🙂"),
        (["\\ude42", "\\ud83d"], "\ufffd\ufffd"),
    ],
)
@pytest.mark.parametrize(("kind", "key"), [("content", "content"), ("reasoning", "token")])
def test_a_character_cut_between_events_is_whole_again(kind: str, key: str, texts: list[str], whole: str) -> None:
    other = '{"type": "title", "title": "x"}\n'
    events = events_of("".join(f'{{"type": "{kind}", "{key}": "{text}"}}\n{other}' for text in texts).encode())
    assert "".join(event.get(key, "") for event in events) == whole


# -- anything

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
objects = st.builds(lambda data, kind: {**data, "type": kind}, st.dictionaries(st.text(), json_values), st.text())


def cut(body: bytes, places: list[int]) -> list[bytes]:
    ends = sorted(place % (len(body) + 1) for place in places)
    return [body[start:end] for start, end in zip([0, *ends], [*ends, len(body)], strict=True)]


@given(
    data=st.lists(objects, max_size=4),
    places=st.lists(st.integers(0, 10_000), max_size=8),
    framing=st.sampled_from([b"%s\n", b"data: %s\n\n", b"event: x\r\ndata:%s\r\n\r\n", b": hi\rdata: %s\r\r"]),
    ascii_only=st.booleans(),
    behind=st.none() | st.binary(max_size=20) | st.just(b'{"type":"content","content":"of nobody"}'),
)
@settings(deadline=None)
def test_any_events_cut_anywhere_decode_to_themselves(
    data: list[dict[str, object]], places: list[int], framing: bytes, ascii_only: bool, behind: bytes | None
) -> None:
    body = b"".join(framing % json.dumps(item, ensure_ascii=ascii_only).encode() for item in data)
    if behind is not None:
        body += framing % b"[DONE]" + framing % behind
    events, decoder = decode(*cut(body, places))
    assert [event.get_dict() for event in events] == data
    assert decoder.damaged == 0


marks = st.sampled_from([b"data: ", b"event: content\n", b"\n", b"\r", b"\r\n", b"[DONE]", b"\xef\xbb\xbf", b"\xff"])
starts = st.sampled_from([b'{"type":"content","content":', b'{"type":"reasoning","token":'])
values = st.sampled_from([b'"\\ud83d"}', b'"\\ude42"}', b"}", b"[", b"NaN}", b"1e999}", b'"text"}', b"0}"])
fragments = marks | starts | values


@given(chunks=st.lists(fragments | st.binary(max_size=20), max_size=30))
@settings(deadline=None)
def test_any_bytes_give_valid_text_and_never_raise(chunks: list[bytes]) -> None:
    events = events_of(*chunks)
    for event in events:
        json.dumps([event.get_dict(), str(event)], allow_nan=False, ensure_ascii=False).encode()
    assert events_of(b"".join(chunks)) == events


class NoFastPath(FastPath):
    def decode(self, chunk: bytes, events: list[RawResponse]) -> bytes:
        return chunk


def line_by_line() -> EventDecoder:
    """A decoder that splits every chunk into lines."""
    decoder = EventDecoder()
    assert type(decoder._fast_path) is FastPath
    decoder._fast_path = NoFastPath(decoder._json_events)
    return decoder


FRAMINGS = [b"%s\n", b"data: %s\n\n", b"event: content\ndata: %s\n\n", b"event: x\ndata: %s\n\n"]
FRAMINGS += [framing.replace(b"\n", b"\r\n") for framing in FRAMINGS]


@pytest.mark.parametrize("framing", FRAMINGS)
def test_the_usual_framings_take_the_fast_path(framing: bytes) -> None:
    body = framing % b'{"type":"content","content":"Hi"}' * 3
    for at in 0, 20, len(body) - 1:
        decoder, plain = EventDecoder(), line_by_line()
        found = [event for chunk in (body[:at], body[at:]) for event in decoder.feed(chunk)]
        assert found == plain.feed(body) == [HI, HI, HI]
        assert (decoder._fast_path.used, plain._fast_path.used) == (True, False)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_the_fast_path_goes_on_behind_an_event_that_it_cannot_take(line_end: bytes) -> None:
    hi = b'data: {"type":"content","content":"Hi"}' + line_end * 2
    first = b": comment" + line_end + hi
    decoder = EventDecoder()
    assert decoder.feed(first[:-7]) == []
    assert not decoder._fast_path.used
    assert decoder.feed(first[-7:] + hi + hi) == [HI, HI, HI]
    assert decoder._fast_path.used


def test_events_are_not_held_back_if_lines_end_at_cr() -> None:
    event = b'data: {"type":"content","content":"Hi"}\r\r'
    decoder = EventDecoder()
    assert [decoder.feed(event) for _ in range(3)] == [[HI]] * 3
    assert decoder.feed(event.replace(b"\r", b"\r\n")[:-1]) == [HI]


framed = st.builds(
    lambda frame, item: frame % item,
    st.sampled_from([*FRAMINGS, b"data:%s\n\n", b"event:  \ndata: %s\n\n", b"event: content\rdata: %s\r\n\n"]),
    st.sampled_from(
        [
            *(b'{"type":"content","content":"a"}', b'{"content":"\\ud83d"}', b'{"a":{}}', b"{}", b"{", b"[DONE]"),
            *(b'{"a":\r1}', b'{"a":\n1}', b'{"a":' * 101 + b"1" + b"}" * 101, b'{"a":[%s]}' % b",".join([b"[]"] * 99)),
        ]
    )
    | starts.flatmap(lambda start: values.map(lambda value: start + value)),
)


@given(parts=st.lists(framed | framed | fragments, max_size=8), places=st.lists(st.integers(0, 1000), max_size=4))
@settings(deadline=None, max_examples=500)
def test_the_fast_path_gives_the_same_events_as_line_by_line(parts: list[bytes], places: list[int]) -> None:
    found = []
    for decoder in EventDecoder(), line_by_line():
        events = [event for chunk in cut(b"".join(parts), places) for event in decoder.feed(chunk)] + decoder.flush()
        found.append((events, decoder.damaged, decoder.done, decoder.truncated))
    assert found[0] == found[1]


@pytest.mark.parametrize("framing", [b"data: %s\n\n", b"event: content\ndata: %s\n\n", b"%s\n"])
def test_damaged_objects_stay_damaged_if_they_are_valid_together(framing: bytes) -> None:
    lines = [b'{"a":[' * 20 + b"{}"] * 20 + [b"{}" + b"]}" * 80] * 5 + [b",".join([b'{"b":1}'] * 13)] * 2
    assert len(json.loads(b"[%s]" % b",".join(lines))) == len(lines)
    events, decoder = decode(b"".join(framing % line for line in lines))
    assert [event.get("b") for event in events] == [None] * 5 + [1] * 26  # of a damaged line, its first object is whole
    assert decoder.damaged == 25
