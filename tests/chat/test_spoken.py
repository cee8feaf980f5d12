"""A spoken answer: its transcript is the text, and its sound is kept, replayed, saved, exported and described."""

from __future__ import annotations

import base64
import io
import json
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_server import WireServer, status

from nb_backend import Answer, Chat
from nb_backend.chat import speech
from nb_backend.errors import ConnectionFailed
from nb_backend.events import RawResponse
from nb_backend.media.sniff import data_uri
from nb_backend.media.sound import wav, wav_seconds

SAMPLES = bytes(range(256)) * 375  # 2 s
PIECES = [SAMPLES[at : at + 9_600] for at in range(0, len(SAMPLES), 9_600)]


def chunk(delta: dict, finish: str | None = None) -> dict:
    return {"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def spoken(*pieces: bytes, end: bool = True) -> bytes:
    audio = [{"id": "audio_1", "transcript": "Hi "}, {"transcript": "there"}]
    audio += [{"data": base64.b64encode(piece).decode()} for piece in pieces]
    chunks = [chunk({"role": "assistant", "content": None, "audio": one}) for one in audio]
    chunks += [chunk({"audio": {"expires_at": 1}}), chunk({}, "stop")] if end else []
    body = b"".join(b"data: %s\n\n" % json.dumps(one).encode() for one in chunks)
    return body + (b"data: [DONE]\n\n" if end else b"")


def chat(server: WireServer, **options) -> Chat:
    return Chat("m", url=f"{server.url}/v1", **options)


def test_the_sound_of_a_stream_is_a_wav_file_and_its_transcript_the_text(wire_server):
    wire_server.answer(status("200 OK", spoken(*PIECES)))
    answer = chat(wire_server)("Hello")
    assert (answer.text, answer.complete) == ("Hi there", True)
    assert answer.audio is not None
    assert (answer.audio.name, answer.audio.media_type) == ("answer.wav", "audio/wav")
    with wave.open(io.BytesIO(answer.audio.data)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
        assert file.readframes(10**9) == SAMPLES
    assert "spoken 2.0 s" in answer.summary


def test_sound_that_arrives_whole_is_the_file_that_was_asked_for(wire_server):
    mp3 = b"ID3\x03" + bytes(100)
    audio = {"id": "a", "data": base64.b64encode(mp3).decode(), "transcript": "Hi"}
    message = {"role": "assistant", "content": None, "audio": audio}
    wire_server.answer(status("200 OK", {"choices": [{"message": message, "finish_reason": "stop"}]}))
    answer = chat(wire_server)("Hello", stream=False)
    assert answer.audio is not None
    assert (answer.text, answer.audio.name, answer.audio.data) == ("Hi", "answer.mp3", mp3)


def test_the_sound_of_an_answer_without_a_transcript_is_an_answer(wire_server):
    audio = {"data": base64.b64encode(SAMPLES).decode()}
    body = b"".join(b"data: %s\n\n" % json.dumps(chunk({"audio": one})).encode() for one in (audio, {}))
    wire_server.answer(status("200 OK", body + b"data: [DONE]\n\n"))
    answer = chat(wire_server)("Hello")
    assert answer.audio is not None
    assert "empty" not in answer.summary


async def test_the_sound_that_arrived_before_the_connection_broke_is_kept(wire_server):
    wire_server.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + spoken(PIECES[0], end=False))
    stream = chat(wire_server).stream("Hello")
    with pytest.raises(ConnectionFailed):
        async for _ in stream:
            pass
    assert stream.answer.audio is not None
    assert wav_seconds(stream.answer.audio.data) == pytest.approx(len(PIECES[0]) / 48_000)


def test_it_stays_in_the_chat_its_file_its_notebook_and_the_cache(wire_server, tmp_path):
    wire_server.answer(status("200 OK", spoken(*PIECES)))
    wire_server.answer(status("200 OK", spoken(PIECES[0])))
    asking = chat(wire_server, cache=str(tmp_path / "cache"))
    first = asking("Hello")
    again = chat(wire_server, cache=str(tmp_path / "cache"))("Hello")
    assert (again.replayed, again.audio, again.text) == (True, first.audio, first.text)
    asking("And?")
    assert wire_server.requests[-1].json["messages"][1] == {"role": "assistant", "content": "Hi there"}
    asking.save(tmp_path / "chat.json")
    restored = Chat.load(tmp_path / "chat.json")
    assert Answer.of(restored.messages[1]).audio == first.audio
    asking.export(tmp_path / "chat.ipynb")
    outputs = json.loads((tmp_path / "chat.ipynb").read_text())["cells"][1]["outputs"]
    assert outputs[1]["data"]["text/html"] == f'<audio controls src="{first.audio.uri}"></audio>'
    asking.export(tmp_path / "chat.md")
    assert "*(spoken 2.0 s)*" in (tmp_path / "chat.md").read_text()


HOSTILE = [
    None,
    5,
    "",
    'data:audio/wav;base64,"><script>alert(1)</script>',
    data_uri(b"<svg onload=alert(1)>", "audio/wav"),
    data_uri(b"%PDF-1.4", "audio/wav"),
    "http://foreign.example/a.wav",
    "data:text/html;base64,PHNjcmlwdD4=",
]


@pytest.mark.parametrize("uri", HOSTILE)
def test_what_is_not_sound_is_not_kept(uri):
    answer = Answer.of({"role": "assistant", "content": "Hi", "speech": uri})
    answer.add(RawResponse(type="audio", audio=uri))
    assert answer.audio is None
    assert "its sound" in answer.summary


@given(st.binary())
def test_a_player_holds_nothing_but_base64(data):
    audio = speech.spoken(data_uri(wav(data), 'audio/"onerror="x'))
    assert audio is not None
    source = speech.player(audio)["text/html"].removeprefix('<audio controls src="data:audio/wav;base64,')
    base64.b64decode(source.removesuffix('"></audio>'), validate=True)


def test_sound_that_is_too_large_for_an_output_or_an_answer(monkeypatch):
    long = data_uri(wav(bytes(1_600_000)), "audio/wav")
    audio = speech.spoken(long)
    assert audio is not None
    play = "IPython.display.Audio(answer.audio.data) plays it"
    assert speech.player(audio) == {"text/plain": f"[spoken 33.3 s, too large for an output: {play}]"}
    monkeypatch.setattr(speech, "MAX_BYTES", 1_000_000)
    answer = Answer()
    answer.add(RawResponse(type="audio", audio=long))
    assert (answer.audio, answer.remarks) == (None, ["its sound, 1.6 MB, was left out"])
