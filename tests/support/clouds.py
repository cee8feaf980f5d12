"""Recorded answers of real services, which lie beside the repository; tests that need them are skipped without."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nb_backend import Answer, RawResponse
from nb_backend.providers.reader import ResponseReader

CLOUDS = Path(os.environ.get("NB_BACKEND_CLOUDS") or Path(__file__).parents[3] / "shared" / "wire" / "clouds")
WITHOUT = "the recorded answers of the services are not beside the repository"


def recordings(dialect: str) -> dict[str, bytes]:
    """Return the bodies of the recorded answers in a dialect, by name; ``{}`` if there are no recordings."""
    return {path.stem: path.read_bytes() for path in sorted((CLOUDS / dialect).glob("*.sse"))}


def read_with(reader: ResponseReader, pieces: Iterable[bytes]) -> tuple[Answer, list[RawResponse], dict[str, Any]]:
    """Return the answer that a reader makes of a body, its events, and what all dialects tell of it."""
    answer, events = Answer(), list[RawResponse]()
    for piece in pieces:
        events += reader.feed(piece) or ()
        if reader.done:
            break
    events += reader.end(whole=True)
    failure = reader.error(None)
    for event in (*events, reader.ending()):
        answer.add(event)
    answer.end(failed=failure is not None)
    said = {
        "text": answer.text,
        "reasoning": answer.reasoning,
        "calls": [(call.id, call.name, call.arguments) for call in answer.tool_calls],
        "tokens": (answer.input_tokens, answer.output_tokens, answer.cached_tokens),
        "complete": answer.complete,
        "model": answer.model,
        "failed": failure is not None,
    }
    return answer, events, said


def cuts(body: bytes) -> list[int]:
    """Return where to cut a body in two: at each byte of a small one, else around line ends and inside characters."""
    if len(body) < 5000:
        return [*range(1, len(body))]
    inside = [at for at in range(1, len(body)) if body[at] & 0xC0 == 0x80]
    line_ends = [at for at in range(1, len(body)) if body[at - 1 : at] == b"\n"]
    step = max(1, len(line_ends) // 40)
    return sorted(
        {*inside[:40], *(at + by for at in line_ends[::step] for by in (-1, 0, 1, 5) if 0 < at + by < len(body))}
    )
