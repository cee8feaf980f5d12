"""Fuzzing targets: a check for each function that reads untrusted input, which must hold for any bytes.

The first bytes of an input choose how the rest is passed on, so that mutations change both. A check returns nothing; it
raises ``AssertionError``, or what the function raises although it should not. The seeds are examples from the tests.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from unittest.mock import patch

from fuzz.growth import check_growth, growth_seeds
from fuzz.server import (
    SECRET,
    check_reading,
    check_status,
    check_wire,
    is_one_line,
    is_valid,
    reading_seeds,
    status_seeds,
    wire_seeds,
)
from markdown_oracle import FRAGMENTS, HOSTILE, wrong_in
from media_samples import HEIC, MORE_TYPES, WHOLE

from nb_backend.markdown.safe import image_addresses
from nb_backend.media import resize
from nb_backend.media.convert import attach, to_data_uri
from nb_backend.media.probe import is_truncated, pixel_size
from nb_backend.media.resize import fit_within, thumbnail
from nb_backend.media.sniff import data_uri, media_type
from nb_backend.media.types import TYPES
from nb_backend.notebook.prompt.expression import expressions
from nb_backend.notebook.prompt.interpolate import PromptError, render
from nb_backend.redaction import redact
from nb_backend.text import safe_terminal


@dataclass(frozen=True)
class Target:
    """A check, the inputs to start from, and the number of inputs that a test tries.

    The fuzzer starts from every ``stride``-th seed: it would try all seeds first, which another test does.
    """

    check: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    runs: int
    stride: int = 1


# -- attachments


def check_media(data: bytes) -> None:
    """Any bytes are converted within the limits, with their real media type, or refused in one line."""
    way, most, body = data[0:1] or b"\0", data[1:2] or b"\0", data[2:]
    with patch.object(resize, "MAX_PIXELS", 2**18), patch.object(resize, "_MAX_ANIMATION_PIXELS", 2**19):
        if way[0] < 64:
            check_data_uri("data:" + body.decode("utf-8", "surrogateescape"))
        elif way[0] < 80:
            check_data_uri("https://" + body.decode("utf-8", "surrogateescape"))
        else:
            check_file(body, 1 + 40 * most[0], 1 + way[0] % 64)


def check_data_uri(uri: str) -> None:
    try:
        found = to_data_uri(uri)
    except ValueError as error:
        assert is_one_line(str(error), 200)  # noqa: PT017
    else:
        assert found.startswith(("data:", "https://"))
        assert is_valid(found)
        assert to_data_uri(found) == found


def check_file(data: bytes, most_bytes: int, most_side: int) -> None:
    kind = media_type(data)
    sent_as = {"image/png", "image/jpeg"} if kind and TYPES[kind].is_converted else {kind}
    try:
        uri = to_data_uri(data)
    except ValueError as error:
        assert is_one_line(str(error), 200)  # noqa: PT017
    else:
        assert uri.partition(";base64,")[0].removeprefix("data:") in sent_as
        if kind != "image/svg+xml":  # another process renders it
            assert is_one_line(str(attach(data)), 300)
    for one in filter(None, {kind, "image/png", "image/jpeg", "image/tiff", "image/avif"}):
        assert is_truncated(data, one) in (True, False)
        size = pixel_size(data, one)
        assert size is None or min(size) > 0
    if kind and kind.startswith("image/"):
        try:
            fitting, remark = fit_within(data, kind, most_bytes, most_side)
        except ValueError as error:
            assert is_one_line(str(error), 200)  # noqa: PT017
        else:
            assert fitting is data or (len(fitting) <= most_bytes and media_type(fitting) in sent_as and remark)
        small = thumbnail(data, kind)
        assert small is None or (len(small) <= 40_000 and small.startswith("data:image/"))


def media_seeds() -> Iterator[bytes]:
    for data in [*WHOLE.values(), HEIC, *(MORE_TYPES[f"image/{kind}"] for kind in ("jp2", "x-icon", "x-tga", "qoi"))]:
        yield b"\xff\xff" + data
        yield b"\x90\3" + data
        yield b"\0\0" + data_uri(data, "x/y").removeprefix("data:").encode()
    yield b"\0\0image/svg+xml;charset=utf-8,%3Csvg%20xmlns='x'/%3E"
    yield b"\0\0;base64;x,"
    yield b"\x40\0user:pass@[::1]:80/a%20b.png?x#y"


# -- text of a model or a user


def as_text(data: bytes) -> str:
    """Decode any bytes; invalid UTF-8 becomes lone surrogates."""
    return data.decode("utf-8", "surrogateescape")


def check_markdown(data: bytes) -> None:
    """The rendered page has only harmless tags, links and images, and the text after it stands by itself."""
    text = as_text(data)
    assert wrong_in(text) == []
    assert is_valid(image_addresses(text))
    assert is_valid(shown := safe_terminal(text))
    assert all(character in "\n\t" or character.isprintable() or not character.isascii() for character in shown)


def markdown_seeds() -> Iterator[bytes]:
    yield from (text.encode() for text in HOSTILE)
    yield from (text.encode("utf-8", "surrogatepass") for text in FRAGMENTS)


def check_prompt(data: bytes) -> None:
    """Text outside of expressions is sent as it is; each expression is valid, and evaluated once, in order."""
    source = as_text(data)
    asked: list[str] = []

    def evaluate(code: str) -> str:
        asked.append(code)
        return "{{ v }}"

    class Anything:
        def __contains__(self, name: object) -> bool:
            return True

    found = list(expressions(source))
    sent, done = [], 0
    for one in found:
        assert one.start >= done
        assert source[one.start : one.start + 2] == "{{"
        assert source[one.end - 2 : one.end] == "}}"
        assert source[one.start + 2 : one.end - 2].strip() == one.code
        before = source[: one.start]
        assert one.escaped == bool((len(before) - len(before.rstrip("\\"))) % 2)
        with warnings.catch_warnings(action="ignore"):  # of invalid escapes such as "\\["
            ast.parse(one.code, mode="eval")
        sent += [source[done : one.start - 1], ""] if one.escaped else [source[done : one.start], "{{ v }}"]
        done = one.start if one.escaped else one.end
    assert render(source, evaluate, names=Anything()).text == "".join([*sent, source[done:]])
    assert asked == [one.code for one in found if not one.escaped]
    assert found or render(source, evaluate, names=()).text is source
    try:
        render(source, evaluate, names=())
    except PromptError as error:
        assert is_one_line(str(error), 10_000)  # noqa: PT017
        assert str(error).endswith("or use --raw to send the braces as typed")  # noqa: PT017


def prompt_seeds() -> Iterator[bytes]:
    for source in (
        "{{ x }} and {{ f(x, '{{')['}}'] }} \\{{ x }} {{{x}}} \\frac{{a}}{{b}} {{0}} {{1, 2}} {{ .Name }} {{#if x}}",
        "{{ [y for y in x if (z := y)] }} {{ lambda a, *b, c=d: (a, e) }} {{ z }}\n\n{{\n  x\n}}",
        '{{ """a}}\n""" }} {{ f"{x!r:>{w}}" }} {{ x if y else {1: {2}} }} {{ x # }}',
        "x^{{i}} \\\\{{ x }} {{ () }} {{ -1 }} {{ 'text' }} {{ a.b[0](c) }} {{ x\n\ny }} {{ é٣ }} {{ (yield) }}",
    ):
        yield source.encode()


def check_redaction(data: bytes) -> None:
    """The redacted text has as many lines and no key; redacting it once more changes nothing."""
    text = as_text(data)
    left = redact(text, [SECRET])
    assert SECRET not in left
    assert left.count("\n") == text.count("\n")
    assert redact(left, [SECRET]) == left


def redaction_seeds() -> Iterator[bytes]:
    for text in (
        f"api_key = '{SECRET}'\nprint(\"token:\", x)\nurl = 'https://u:{SECRET}@host/?sig={SECRET}&a=b#c'",
        f'{{"token": "{SECRET}", "max_tokens": 3}}\n%env TOKEN {SECRET}\nexport PW={SECRET}\nBearer {SECRET}==',
        "sk-abcdefghijkl ghp_abcdefghijkl eyJabcdefghij.abcdef.ghijkl AKIAABCDEFGHIJKLMNOP xoxb-12345678901",
        '-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\nf"""{password}""" Cookie: a=b',
        "password=\"a\" \"b\"\n('Authorization', 'Basic YTpiYTpi')\nAccountKey=abcdefgh;x-api-key: abcdef",
    ):
        yield text.encode()


TARGETS = {
    "wire": Target(check_wire, wire_seeds, 2_500),
    "reading": Target(check_reading, reading_seeds, 2_500),
    "status": Target(check_status, status_seeds, 6_000),
    "media": Target(check_media, media_seeds, 2_500),
    "markdown": Target(check_markdown, markdown_seeds, 1_500),
    "prompt": Target(check_prompt, prompt_seeds, 6_000),
    "redaction": Target(check_redaction, redaction_seeds, 3_000),
    "growth": Target(check_growth, growth_seeds, 50, stride=7),
}
