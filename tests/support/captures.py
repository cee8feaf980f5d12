"""The captured answers of g4f, and other ways to write them."""

from __future__ import annotations

from pathlib import Path

CAPTURES = {
    path.stem: path.read_bytes().partition(b"\r\n\r\n")[2] for path in Path(__file__).parents[1].glob("wire/*.http")
}


def as_json_lines(body: bytes) -> bytes:
    return b"".join(line[6:] + b"\n" for line in body.split(b"\n") if line.startswith(b"data: "))


VARIANTS = {
    "sse": bytes,
    "json lines": as_json_lines,
    "CRLF": lambda body: body.replace(b"\n", b"\r\n"),
    "CR": lambda body: body.replace(b"\n", b"\r"),
    "BOM": lambda body: b"\xef\xbb\xbf" + body,
    "no blank line at the end": lambda body: body.rstrip(b"\n"),
    "blank lines forgotten": lambda body: body.replace(b"\n\n", b"\n"),
}
