"""The time of each function grows linearly: four times the text takes four times as long, not sixteen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from cpu_time import cpu_seconds

from nb_backend.markdown.data_uris import DataUriShortener, shorten_data_uris, shorten_images
from nb_backend.markdown.safe import image_addresses, safe_markdown
from nb_backend.media.convert import to_data_uri
from nb_backend.media.probe import is_truncated, pixel_size
from nb_backend.media.sniff import BITMAPS, media_type
from nb_backend.notebook.prompt.expression import expressions
from nb_backend.providers.decoder import EventDecoder
from nb_backend.providers.openai_api import ChunkReader
from nb_backend.providers.reader import ResponseReader
from nb_backend.redaction import redact

SIZE = 5_000  # bytes of the shorter text
IGNORED_SECONDS = 0.0125  # shorter times are not compared

# Typical fragments of what the functions read: events, files, Markdown, expressions, secrets.
FRAGMENTS = (
    *(b"data: ", b"event: x\n", b"\n", b"\r", b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\ud83d", b"[DONE]"),
    *(b'{"type":"content","content":"', b'"}\n', b'{"choices":[{"delta":{"content":"', b'"}}]}\n'),
    *(b"\xff\xd8", b"\xff\xe0\0\2", b"\xff", b"\0", b"GIF89a", b"BM", b"\0\0\0\x08free", b"\0\0\0\x20ftypmif1"),
    *(b"II*\0", b"ID3", b"\x89PNG\r\n\x1a\n", b"IHDR", b"<svg", b"<!--", b"-->", b"<?", b"?>", b"<!DOCTYPE svg ["),
    *(b"data:image/png;base64,", b";base64,", b"AAAA", b"%41", b"%", b";", b"=", b"a", b" ", b"\t"),
    *(b"[](", b"![a](", b"https://e.x/", b"www.", b"](", b"[a]", b"[a]: b\n", b"<", b">", b"&", b"&#36;", b"*", b"_"),
    *(
        b"`",
        b"```\n",
        b"~",
        b"> ",
        b"- ",
        b"1. ",
        b"# ",
        b"| a ",
        b"|---",
        b"$",
        b"$$\n",
        b"\\(",
        b"\\[",
        b"\\",
        b"@@0",
    ),
    *(b"\\begin{align}\n", b"\\end{align}", b"<!-- generated images start -->", b"a@b.co", b"\xe2\x80\xae", b"@@0"),
    *(b"{{ ", b"{{", b" }}", b"}}", b"'", b"'''", b'"""', b"#", b"(", b")", b"lambda x:", b"f'", b"x", b"\\{{"),
    *(
        b"token",
        b"api_key = ",
        b"Bearer ",
        b"Basic ",
        b"sk-",
        b"eyJ",
        b"://",
        b"@",
        b"?key=",
        b"password=",
        b"Cookie: ",
    ),
    *(
        b"-----BEGIN PRIVATE KEY-----",
        b"-----END",
        b"x-api-key: ",
        b"export ",
        b"%env ",
        b"***",
        b".",
        b"/",
        b"-",
        b"Zq8v",
    ),
)


def read_wire(data: bytes) -> None:
    """Decode events from chunks of the size of a socket's buffer, and from single bytes."""
    for size in (2**16, 1):
        decoder = EventDecoder()
        for at in range(0, len(data), size):
            decoder.feed(data[at : at + size])
        decoder.flush()


def read_answer(data: bytes) -> None:
    """Read an answer in both dialects, with secrets to filter out."""
    for kind in (ResponseReader, ChunkReader):
        reading = kind("https://host.example/v1", ["Zq8vT2xW9k", "aaaaaaaaaaab1"])
        for at in range(0, len(data), 100):
            list(reading.feed(data[at : at + 100]) or ())
        list(reading.end(whole=True))
        reading.error(None)


def read_events(data: bytes) -> None:
    """Read an answer whose text comes in many events."""
    lines = (b'{"type":"content","content":"%s"}\n' % data[at : at + 4].hex().encode() for at in range(0, len(data), 4))
    read_answer(b"".join(lines))


def read_media(data: bytes) -> None:
    """Inspect a file as each media type, and convert it as a data URI."""
    for kind in {media_type(data) or "", *BITMAPS, "image/tiff", "image/avif", "audio/mp4", "application/pdf"}:
        is_truncated(data, kind)
        pixel_size(data, kind)
    for form in ("data:{}", "data:;base64,{}", "data:x/y;{},"):
        with suppress(ValueError):
            to_data_uri(form.format(as_text(data)))


def shorten_base64(data: bytes) -> None:
    """Shorten base64 in a text, whole and in parts."""
    text = as_text(data)
    shorten_data_uris(text)
    shorten_images(text)
    shortener = DataUriShortener()
    for at in range(0, len(text), 10):
        shortener.feed(text[at : at + 10])
    shortener.flush()


def as_text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


FUNCTIONS: dict[str, Callable[[bytes], object]] = {
    "wire": read_wire,
    "answer": read_answer,
    "events": read_events,
    "media": read_media,
    "base64": shorten_base64,
    "markdown": lambda data: safe_markdown(as_text(data)),
    "images": lambda data: image_addresses(as_text(data)),
    "prompt": lambda data: list(expressions(as_text(data))),
    "redaction": lambda data: redact(as_text(data), ["Zq8vT2xW9k", "aaaaaaaaaaab1"]),
}


def is_quadratic(function: Callable[[bytes], object], before: bytes, unit: bytes, after: bytes) -> bool:
    """Whether the time grows faster than the number of units; if it seems so, it is measured four more times."""

    def seconds(size: int) -> float:
        data = before + unit * (size // len(unit)) + after
        return cpu_seconds(lambda: function(data))

    longer = seconds(4 * SIZE)
    if longer < IGNORED_SECONDS or longer < 8 * seconds(SIZE):
        return False
    return all(seconds(8 * SIZE) > 10 * min(seconds(2 * SIZE) for _ in range(3)) for _ in range(4))


def check_growth(data: bytes) -> None:
    """No function takes quadratic time.

    The first byte chooses the function. The rest is the start of the text, the repeated unit and the end of the text,
    with a zero byte between them.
    """
    function = [*FUNCTIONS.values()][data[0] % len(FUNCTIONS)] if data else read_wire
    before, _, rest = data[1:].partition(b"\0")
    unit, _, after = rest.partition(b"\0")
    if 0 < len(unit) <= 40:
        assert not is_quadratic(function, before, unit, after)


def growth_seeds() -> Iterator[bytes]:
    """Yield each fragment as the repeated unit, for one function each."""
    for number, unit in enumerate(FRAGMENTS):
        yield bytes([number % len(FUNCTIONS)]) + b"\0" + unit.replace(b"\0", b"") + b"\0"
