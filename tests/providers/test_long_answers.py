"""Long answers of each dialect, in the shape that its service sends: the bodies of ``tests/bench/event_cost.py``."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from nb_backend.providers.decoder import EventDecoder
from nb_backend.providers.registry import provider_named

BODIES = runpy.run_path(str(Path(__file__).parents[1] / "bench" / "bodies.py"))
DIALECTS = {
    "server-sent events": "g4f",
    "JSON lines": "g4f",
    "OpenAI chunks": "openai-chat",
    "Responses events": "openai-responses",
    "Anthropic events": "anthropic",
    "Gemini chunks": "gemini",
}


def chunks_of(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


def test_every_framing_has_a_dialect():
    assert DIALECTS.keys() == BODIES["FRAMINGS"].keys()


@pytest.mark.parametrize("size", [1000, 8192])
@pytest.mark.parametrize("framing", DIALECTS)
def test_nothing_is_decoded_line_by_line(framing, size, monkeypatch):
    slow: list[bytes] = []
    decode_lines = EventDecoder._decode_lines

    def noted(self, lines, events):
        slow.extend(lines)
        decode_lines(self, lines, events)

    monkeypatch.setattr(EventDecoder, "_decode_lines", noted)
    decoder = EventDecoder()
    events = [event for chunk in chunks_of(BODIES["body_of"](framing, 200), size) for event in decoder.feed(chunk)]
    assert len(events) >= 200
    assert slow == []


@pytest.mark.parametrize("size", [1, 1000, 8192])
@pytest.mark.parametrize("framing", DIALECTS)
def test_the_text_is_whole_wherever_it_is_cut(framing, size):
    reader = provider_named(DIALECTS[framing]).make_reader("http://127.0.0.1/v1", [])
    body = BODIES["body_of"](framing, 50)
    events = [event for chunk in chunks_of(body, size) for event in reader.feed(chunk)]
    events += reader.end(whole=True)
    assert "".join(map(str, events)) == "".join(f"wor{number % 10} " for number in range(50))
    assert reader.error(None) is None
