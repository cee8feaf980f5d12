"""A compressed body that nobody asked for is decompressed, or the error says what to do; real sockets."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_server import (
    CHUNKED,
    FINISH,
    LAST_CHUNK,
    OK,
    UNTIL_CLOSE,
    WireServer,
    chunk,
    content,
    post,
    received,
    sse,
    status,
)
from yarl import URL

from nb_backend.errors import AuthError, ConnectionFailed, ProtocolError
from nb_backend.events import RawResponse
from nb_backend.providers.backend_api import BackendApi
from nb_backend.transport import StreamSession
from nb_backend.transport.compression import Decompressor, decompressor_for

TEXT = sse(*(content(f"word {n} ") for n in range(200)), FINISH)


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP": gzip.compress,
    "identity, gzip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": raw_deflate,
}
PLAIN = ("identity", "", "aws-chunked", "utf-8", "gzip", "deflate", "br", "zstd", "compress", "nonsense")
UNREADABLE = {
    "br": r"with 'br', .* pip install Brotli, or turn off compression",
    "zstd": r"with 'zstd', .* pip install backports\.zstd, or turn off compression",
    "compress": r"with 'compress', .* cannot read: turn off compression",
    "snappy": r"with 'snappy', .* cannot read: turn off compression",
    "gzip, br": r"with 'gzip, br', .* cannot read: turn off compression",
    "\u00e9" * 5: "turn off compression",
}


def asked(server: WireServer) -> Callable[..., AsyncIterator[RawResponse]]:
    return type("Asked", (BackendApi,), {"url": server.url}).create_async_generator


def answer(coding: str, *pieces: bytes, end: bytes = LAST_CHUNK) -> bytes:
    head = CHUNKED.removesuffix(b"\r\n") + f"Content-Encoding: {coding}\r\n\r\n".encode("latin-1")
    return head + b"".join(map(chunk, pieces)) + end


@pytest.fixture(autouse=True)
def no_codecs(monkeypatch):
    for module in ("brotli", "brotlicffi", "compression.zstd", "backports.zstd", "zstandard"):
        monkeypatch.setitem(sys.modules, module, None)


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_compressed_body_is_decompressed(wire_server, coding):
    data = CODINGS[coding](TEXT)
    for sent in ([data], [data[:7], data[7:]], [data[at : at + 1] for at in range(len(data))]):
        wire_server.answer(answer(coding, *sent))
    assert [await post(wire_server) for _ in range(3)] == [(TEXT, None)] * 3
    (request,) = {request.header("Accept-Encoding") for request in wire_server.requests}
    assert request == "identity"


async def test_text_is_shown_as_it_arrives_though_it_is_compressed(wire_server):
    import threading

    seen = threading.Event()
    compressor = zlib.compressobj(wbits=31)
    first = compressor.compress(sse(content("Hi"))) + compressor.flush(zlib.Z_SYNC_FLUSH)
    rest = compressor.compress(sse(FINISH)) + compressor.flush()
    wire_server.answer(answer("gzip", first, end=b""), seen, chunk(rest), LAST_CHUNK)
    async with StreamSession() as session, session.post(wire_server.url, json={}) as response:
        assert await response.read() == sse(content("Hi"))
        seen.set()
        assert await response.read() == sse(FINISH)
        assert await response.read() == b""


@pytest.mark.parametrize("coding", PLAIN)
async def test_plain_text_below_a_wrong_header_is_read(wire_server, coding):
    texts = [TEXT, b'{"type": "content", "content": "\xe2\x82\xac"}\n', b"12", b""]
    for text in texts:
        wire_server.answer(answer(coding, *([text[:1], text[1:]] if text else [])))
    assert [await post(wire_server) for _ in texts] == [(text, None) for text in texts]


@pytest.mark.parametrize(("coding", "words"), UNREADABLE.items())
async def test_a_coding_that_cannot_be_read_is_named(wire_server, coding, words):
    wire_server.answer(answer(coding, b"\x1b\xff\x00\x00" * 10))
    with pytest.raises(ProtocolError, match=words) as caught:
        async for _ in asked(wire_server)("m", []):
            pass
    assert str(caught.value).startswith(f"{wire_server.url} compressed its answer")
    assert "\n" not in str(caught.value)
    assert len(wire_server.requests) == 1  # asking again would not help


async def test_a_refusal_in_a_coding_that_cannot_be_read_is_a_refusal(wire_server):
    wire_server.answer(status("401 No", b"\x1b\xff\x00\x00" * 10, content_encoding="br"))
    wire_server.answer(status("401 No", gzip.compress(b'{"error": "no such key"}'), content_encoding="gzip"))
    assert isinstance((await post(wire_server))[1], AuthError)
    assert "no such key" in str((await post(wire_server))[1])


async def test_a_compressed_document_is_fetched(wire_server):
    wire_server.answer(status("200 OK", gzip.compress(b'["a"]'), content_encoding="gzip"))
    async with StreamSession() as session:
        assert await session.get_json(wire_server.url) == ["a"]


class TestDamage:
    @pytest.mark.parametrize("coding", ["gzip", "deflate"])
    @pytest.mark.parametrize("tail", [b"\xff" * 30, b"\x00" * 30])
    async def test_the_text_before_it_is_kept(self, wire_server, coding, tail):
        compressor = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
        data = compressor.compress(sse(content("Hello "), content("world"))) + compressor.flush(zlib.Z_SYNC_FLUSH)
        wire_server.answer(answer(coding, data + tail))
        _, error = await received(asked(wire_server)("m", []))
        assert isinstance(error, ProtocolError)
        assert error.partial == "Hello world"
        assert f"damaged answer (its compression, {coding}, is wrong)" in str(error)
        assert "ask again" in str(error)

    async def test_a_wrong_checksum_loses_nothing(self, wire_server):
        wire_server.answer(answer("gzip", gzip.compress(TEXT)[:-8] + b"12345678"))
        data, error = await post(wire_server)
        assert data == TEXT
        assert "damaged" in str(error)

    @pytest.mark.parametrize("coding", ["gzip", "deflate", "Deflate"])
    async def test_a_missing_end_is_named(self, wire_server, coding):
        data = CODINGS[coding](sse(*(content("word") for _ in range(2000))))
        wire_server.answer(answer(coding, data[:-9]))
        _, error = await received(asked(wire_server)("m", []))
        assert isinstance(error, ProtocolError)
        assert f"compressed answer ({coding.lower()}) without its end" in str(error)
        assert error.partial.startswith("word" * 100)

    async def test_a_broken_connection_stays_one(self, wire_server):
        data = gzip.compress(TEXT)
        wire_server.answer(answer("gzip", data[:200], end=b""))
        data, error = await post(wire_server)
        assert isinstance(error, ConnectionFailed)
        assert data
        assert TEXT.startswith(data)

    async def test_an_answer_that_has_ended_is_whole(self, wire_server):
        compressor = zlib.compressobj(wbits=31)
        data = compressor.compress(TEXT) + compressor.flush(zlib.Z_SYNC_FLUSH)  # the server does not end the gzip data
        wire_server.answer(answer("gzip", data))
        _, error = await received(asked(wire_server)("m", []))
        assert error is None


@pytest.mark.parametrize("head", [UNTIL_CLOSE, OK + b"Content-Length: %d\r\n\r\n"])
async def test_any_framing(wire_server, head):
    data = gzip.compress(TEXT)
    head = head.replace(b"%d", str(len(data)).encode()).removesuffix(b"\r\n") + b"Content-Encoding: gzip\r\n\r\n"
    wire_server.answer(head + data)
    assert await post(wire_server) == (TEXT, None)


async def test_a_transfer_that_is_compressed(wire_server):
    head = CHUNKED.replace(b"chunked", b"gzip, chunked")
    wire_server.answer(head + chunk(gzip.compress(TEXT)) + LAST_CHUNK)
    assert await post(wire_server) == (TEXT, None)


# -- packages for codings that the standard library does not have


class Reversed:
    """A codec as those packages have, which holds what it gets until its end: a zero byte."""

    def __init__(self) -> None:
        self.held, self.eof, self.unused_data = b"", False, b""

    def decompress(self, data: bytes) -> bytes:
        held, found, rest = data.partition(b"\x00")
        if b"!" in held:
            raise ValueError("damaged")
        self.eof, self.unused_data = bool(found), rest
        return bytes(255 - byte for byte in held)

    process = decompress

    def is_finished(self) -> bool:
        return self.eof


def invert(data: bytes) -> bytes:
    return bytes(255 - byte for byte in data) + b"\x00"


PACKAGES = {
    "brotli": ("br", SimpleNamespace(Decompressor=Reversed)),
    "brotlicffi": ("br", SimpleNamespace(Decompressor=Reversed)),
    "compression.zstd": ("zstd", SimpleNamespace(ZstdDecompressor=Reversed)),
    "backports.zstd": ("zstd", SimpleNamespace(ZstdDecompressor=Reversed)),
    "zstandard": ("zstd", SimpleNamespace(ZstdDecompressor=lambda: SimpleNamespace(decompressobj=Reversed))),
}


@pytest.mark.parametrize("package", PACKAGES)
async def test_a_package_that_is_installed_is_used(wire_server, monkeypatch, package):
    coding, module = PACKAGES[package]
    monkeypatch.setitem(sys.modules, package, module)
    for sent in (invert(TEXT), invert(TEXT)[:-500], invert(TEXT)[:800] + b"!"):
        wire_server.answer(answer(coding, sent))
    assert await post(wire_server) == (TEXT, None)
    data, error = await post(wire_server)
    assert data == TEXT[:-499]
    assert f"({coding}) without its end" in str(error)
    data, error = await post(wire_server)
    assert data == TEXT[:800]
    assert "damaged" in str(error)


@pytest.mark.parametrize(("coding", "package"), [("br", "brotli"), ("zstd", "zstandard"), ("zstd", "backports.zstd")])
async def test_the_real_packages(wire_server, monkeypatch, coding, package):
    monkeypatch.undo()
    module = pytest.importorskip(package)
    compress = module.compress
    wire_server.answer(answer(coding, compress(TEXT)))
    wire_server.answer(answer(coding, compress(TEXT)[:-20]))
    assert await post(wire_server) == (TEXT, None)
    data, error = await post(wire_server)
    assert TEXT.startswith(data)
    assert f"({coding}) without its end" in str(error)


# -- without a socket


def decompressed(decompressor: Decompressor, chunks: list[bytes]) -> bytes:
    return b"".join([piece for data in chunks for piece in decompressor.feed(data)] + [*decompressor.end()])


@given(st.binary(max_size=3000), st.sampled_from(sorted(CODINGS)), st.lists(st.integers(0, 3000)), st.integers(1, 3))
def test_any_data_cut_anywhere(data, coding, cuts, members):
    if "eflate" in coding:
        members = 1
    compressed = CODINGS[coding](data) * members + (b"\x00" * 7 if members > 1 else b"")
    edges = [0, *sorted(cut for cut in cuts if cut < len(compressed)), len(compressed)]
    chunks = [compressed[start:end] for start, end in pairwise(edges)]
    decompressor = decompressor_for([coding], URL("http://x"))
    assert decompressor is not None
    assert decompressed(decompressor, chunks) == data * members


def test_a_small_body_that_holds_much_is_decompressed_bit_by_bit():
    decompressor = Decompressor("gzip", URL("http://x"))
    pieces = decompressor.feed(gzip.compress(bytes(50_000_000)))
    assert max(map(len, pieces)) < 2**20


def test_headers_without_a_coding():
    for headers in ([], [""], ["identity"], ["identity, aws-chunked"], ["", "identity"]):
        assert decompressor_for(headers, URL("http://x")) is None
