"""The transcript that a panel leaves in the notebook: safe, with small images, each message rendered once."""

from __future__ import annotations

import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_oracle import acting_in
from media_support import PNG
from PIL import Image
from tool_answers import step, tool_answer

from nb_backend import Answer, Chat, attach, to_data_uri
from nb_backend.chat.messages import Message
from nb_backend.chat.reply import reply_message
from nb_backend.markdown import safe as safe_module
from nb_backend.markdown.elements import error_note
from nb_backend.media.sniff import data_uri
from nb_backend.media.sound import wav
from nb_backend.notebook.panel import transcript_markdown
from nb_backend.notebook.panel.earlier import safe_transcript
from nb_backend.notebook.panel.error_text import error_line
from nb_backend.notebook.panel.record import Record, record_of
from nb_backend.notebook.panel.transcript_markdown import MAX_IMAGE_BYTES, TranscriptRenderer
from nb_backend.notebook.panel.uploads import MAX_TOTAL_BYTES, Uploads
from nb_backend.redaction import mask


def noise(side: int, seed: int = 0) -> bytes:
    pixels = bytes((seed + 7919 * n * n + n // 3) % 251 for n in range(side * side * 3))
    Image.frombytes("RGB", (side, side), pixels).save(file := io.BytesIO(), "PNG", compress_level=0)
    return file.getvalue()


def question(text: str, *things: object) -> Message:
    return Message({"role": "user", "content": text, "media": [attach(one, "a.png") for one in things]}, {"time": 1e9})


def answer(text: str, **about: object) -> Message:
    return Message({"role": "assistant", "content": text}, {"time": 1e9, "seconds": 1.0, **about})


def write(*messages: object) -> str:
    return TranscriptRenderer(str).markdown(messages)[0]


def test_speaker_time_and_status_line():
    text = write(
        question("Why?"),
        answer("So.", reasoning="hm", usage={"completion_tokens": 3}),
        {"role": "tool", "content": "x"},
    )
    assert text.startswith("**You** <small>2001-09-0")
    assert "<details><summary>Reasoning</summary>\n\nhm\n\n</details>" in text
    assert "<small>3 tokens · 1.0 s</small>" in text
    assert text.endswith("**tool**\n\nx")


def test_hostile_html_is_harmless():
    provider = {"name": "<script>x</script>[a](javascript:b)"}
    text = write(question("<script>1</script></details>"), answer("<img src=x onerror=y></details>", provider=provider))
    assert "<script" not in text
    assert "<img" not in text
    assert "</details>" not in text
    assert "[a](" not in text


@pytest.mark.parametrize("where", ["question", "answer"])
def test_images_are_small(where):
    data = noise(500)
    assert len(data) > 3 * MAX_IMAGE_BYTES
    uri = to_data_uri(data)
    text = write(question("q", data)) if where == "question" else write(answer(f"![it]({uri})"))
    assert "](data:image/" in text
    assert uri not in text
    assert len(text) < MAX_IMAGE_BYTES * 1.4
    assert to_data_uri(PNG) in write(question("q", PNG), answer("a"))


def test_all_images_together_are_bounded_and_the_newest_stay(monkeypatch):
    monkeypatch.setattr(transcript_markdown, "MAX_TOTAL_BYTES", 100_000)
    data = [noise(120, seed) for seed in range(5)]
    text = write(
        question("q", *data[:2]), answer("a"), question("q", *data[2:]), answer(f"![x]({to_data_uri(data[4])})")
    )
    assert text.count("data:image/") == 2
    assert "with `a.png`" in text
    assert to_data_uri(data[4]) in text
    assert to_data_uri(data[0]) not in text
    again = answer(f"![x]({to_data_uri(data[4])})" * 3)
    assert "data:image/" not in write(again)


def test_small_images_stay_without_pillow(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    text = write(answer(f"![a]({to_data_uri(PNG)}) ![b](data:image/png;base64,{'A' * 400_000})"))
    assert to_data_uri(PNG) in text
    assert len(text) < 9_000


def test_the_sound_of_an_answer_is_in_the_record_if_it_is_small_and_else_the_answer_says_so():
    for seconds, is_kept in ((1, True), (10, False)):
        spoken = answer("Hi.", remarks=["cut"])
        spoken["speech"] = data_uri(wav(bytes(48_000 * seconds)), "audio/wav")
        asked = question("Say hi")
        record = record_of({"main": (Chat("m"), [asked, spoken])}, "main", {}, [])
        assert f"spoken {seconds}.0 s" in write(asked, spoken)
        _, restored = [Message(*one) for one in Record.read(record).chats["main"].described_messages()]
        again = Answer.of(restored)
        assert (again.audio is not None) is is_kept
        assert ("its sound is too large for the notebook" in again.summary) is not is_kept
        assert "speech" in spoken
        assert spoken.metadata["remarks"] == ["cut"]


@pytest.mark.parametrize(("size", "is_kept"), [(1000, True), (2 * MAX_IMAGE_BYTES, False)])
def test_a_state_that_is_as_large_as_a_picture_is_left_out_of_the_record(size, is_kept):
    drawn = answer("Here.")
    drawn["state"] = {
        "owner": "gemini gemini",
        "items": [{"inlineData": {"mimeType": "image/png", "data": "A" * size}}],
    }
    record = record_of({"main": (Chat("m"), [question("Draw"), drawn])}, "main", {}, [])
    (_, (restored, _)) = Record.read(record).chats["main"].described_messages()
    assert ("state" in restored) is is_kept
    assert "state" in drawn


def test_steps_are_in_the_transcript_and_in_the_record_with_small_pictures_and_without_keys():
    big, small = attach(noise(500), "big.png"), attach(PNG, "small.png")
    hostile = "</details><script>x</script> [a](javascript:b) key-of-the-chat"
    steps = [
        step(
            "run", arguments={"code": "plot()  # key-of-the-chat"}, result=hostile, images=[big, small], approved=True
        ),
        step("drop", error=f"refused: {hostile}", approved=False),
    ]
    asked, said = question("Draw"), reply_message(tool_answer("First.", steps, "Then *this*."), "")
    renderer = TranscriptRenderer(lambda text: mask(text, ["key-of-the-chat"]))
    text = renderer.markdown([asked, said])[0]
    first, run, drop, then = (text.index(part) for part in ("First.", "<code>run", "<code>drop", "Then *this*."))
    assert first < run < drop < then
    assert text.count("<details ") == 2
    assert "key-of-the-chat" not in text
    shown = renderer.shown_images
    assert [one.uri in text for one in (big, small)] == [False, True]
    assert text.count("](data:image/") == 2
    record = record_of({"main": (Chat("m"), [asked, said])}, "main", shown, ["key-of-the-chat"])
    assert "key-of-the-chat" not in str(record)
    _, restored = [Message(*one) for one in Record.read(record).chats["main"].described_messages()]
    again = Answer.of(restored)
    assert [(one.call.name, one.approved, one.error is None) for one in again.steps] == [
        ("run", True, True),
        ("drop", False, False),
    ]
    assert [one.uri for one in again.steps[0].images] == [shown[big.uri], small.uri]
    assert [one.uri for one in Answer.of(said).steps[0].images] == [big.uri, small.uri]
    lost = record_of({"main": (Chat("m"), [asked, said])}, "main", {}, [])
    _, restored = [Message(*one) for one in Record.read(lost).chats["main"].described_messages()]
    assert Answer.of(restored).steps[0].images == []


def test_a_message_is_rendered_once(monkeypatch):
    calls = []
    safe = safe_module.safe_markdown
    monkeypatch.setattr(transcript_markdown, "safe_markdown", lambda *args: calls.append(args) or safe(*args))
    messages = [question(f"{number}?") for number in range(50)]
    transcript = TranscriptRenderer(str)
    transcript.markdown(messages)
    transcript.markdown([*messages, question("new")])
    assert len(calls) == 51


def test_an_error_line_has_no_key():
    key = "a-key-of-the-tests"
    assert mask(f"x {key} y", [key, "short"]) == "x *** y"
    assert error_line(ValueError(f"bad\n {key}"), [key]) == "bad ***"
    assert error_line(OSError(2, "No such file", "x.md"), []) == "No such file: x.md"
    assert error_line(KeyError("x"), []) == "KeyError: 'x'"
    assert error_line(ValueError("\x1b[31m\u202e"), []) == "[U+001B][31m[U+202E]"
    assert len(error_line(ValueError("long " * 10_000), [])) == 1000


def test_uploads_are_limited_and_expire():
    now = [0.0]
    uploads = Uploads(lambda: now[0])
    uploads.begin("c", "u", "a", 10, 2, 0, 0)
    assert uploads.add_chunk("c", "u", 0, b"12345") is None
    assert uploads.add_chunk("c", "u", 1, b"67890") == b"1234567890"
    assert len(uploads) == 0
    uploads.begin("c", "u", "a", 10, 2, 0, 0)
    with pytest.raises(ValueError, match="exceed 256 MB"):
        uploads.begin("c", "v", "b", 10, 2, 0, MAX_TOTAL_BYTES - 15)
    with pytest.raises(ValueError, match="do not match its size"):
        uploads.begin("c", "v", "b", 10, 11, 0, 0)
    now[0] = 1000.0
    uploads.begin("d", "u", "a", 10, 2, 0, 0)
    assert not uploads.is_started("c", "u")
    uploads.forget("d")
    assert len(uploads) == 0


def test_an_answer_that_failed_shows_the_error_as_a_cell_of_several_models_does():
    text = write(answer("Half", failed="it <b>broke</b>: ask again", complete=False))
    assert text.endswith("Half\n\n" + error_note("it <b>broke</b>: ask again") + "\n\n<small>broke off · 1.0 s</small>")
    assert "<b>" not in text


@pytest.mark.parametrize(
    ("about", "why"),
    [
        ({"complete": False, "finish_reason": "SAFETY"}, "stopped by a content filter &#40;SAFETY&#41;"),
        ({"complete": False, "finish_reason": None}, "the server closed the stream without a finish reason"),
        ({"complete": False, "finish_reason": "stop", "damaged_lines": 2}, "2 damaged lines were skipped"),
    ],
)
def test_an_incomplete_answer_is_marked(about, why):
    assert f"So.\n\n<small>⚠ **incomplete** · {why} · 1.0 s</small>" in write(answer("So.", **about))
    assert "incomplete" not in write(answer("So.", complete=True, finish_reason="stop"))


LINES = [
    "",
    "- a",
    "> b",
    "```",
    "</details>",
    "<script>1</script>",
    "[a](javascript:b)",
    "<details><summary>Reasoning</summary>",
    "<details open><summary>![x](//t)$x$</summary>",
    "<details><summary></summary><img src=//t>",
    '<details class="nbb-saved" open><summary>a</summary>',
    "**You** <small><b>x</b></small>",
    "<div style=x>![a](http://t)</div>",
]
SAVED = '<details class="nbb-saved" open><summary>Transcript of a&#95;b: 1 turn</summary>'


def test_the_transcript_of_an_earlier_version_is_shown_again():
    said = write(
        question("Why & <b>?", PNG),
        answer("So.\n```html\n<small>x</small>\n</details>\n```\n", reasoning="hm", usage={"completion_tokens": 3}),
    )
    text = safe_transcript(f"{SAVED}\n\n{said}\n\n</details>")
    assert text.startswith("**Transcript of a&#95;b&#58; 1 turn**\n\n**You** 2001-09-0")
    assert "Why & &lt;b>?" in text
    assert f"]({to_data_uri(PNG)})" in text
    assert "<details><summary>Reasoning</summary>\n\nhm\n\n</details>" in text
    assert "```html\n<small>x</small>\n</details>\n```" in text
    assert text.endswith("\n\n3 tokens · 1.0 s")


@given(st.lists(st.sampled_from(LINES)).map("\n".join))
@example("```\n<details><summary>a</summary>\n<img src=x>")
def test_a_transcript_that_was_read_from_a_file_is_harmless_and_stays_as_it_is(text):
    safe = safe_transcript(text)
    assert {*acting_in(safe)} <= {"<details>", "<summary>"}
    assert safe_transcript(safe) == safe


@pytest.mark.parametrize("time", [10**400, 1e300, -1, "now"], ids=["huge", "float", "negative", "text"])
def test_a_time_that_no_clock_has_does_not_prevent_the_transcript(time):
    assert write(answer("So.", time=time, seconds=time)).startswith("**Answer**")
