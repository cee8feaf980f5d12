"""An answer is complete only if the server said so and sent nothing that could not be read."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.lib.pretty import pretty
from wire_server import CHUNKED, UNTIL_CLOSE, WireServer, chunk, content, sse, status

from nb_backend import Answer, AuthError, BackendError, Chat, ProtocolError, RawResponse
from nb_backend.chat.messages import Message
from nb_backend.providers.finish_reasons import describe, is_done, is_error

DONE = b"data: [DONE]\n\n"
HI = content("Hi")
USAGE = {"type": "usage", "usage": {"completion_tokens": 1}}


def data(*objects: Any) -> bytes:
    return b"".join(b"data: %s\n\n" % json.dumps(one).encode() for one in objects)


def delta(text: str = "", finish: object = None, **choice: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish, **choice}]}


def finish(reason: object) -> dict[str, Any]:
    return {"type": "finish", "finish": {"reason": reason}}


def chat_with(wire_server: WireServer, body: bytes, path: str = "/v1", **options: Any) -> Chat:
    wire_server._answers.clear()
    wire_server.answer(status("200 OK", body))
    return Chat("m", url=wire_server.url + path, **options)


async def failure_of(chat: Chat) -> BackendError:
    with pytest.raises(BackendError) as caught:
        await chat.ask("Hi?")
    assert chat.messages == []
    assert "\n" not in str(caught.value)
    return caught.value


# -- finish reasons

WORDS_FOR_DONE = [
    *("stop", "STOP", "FINISH_REASON_STOP", "stop_sequence", "end_turn", "endTurn", "eos", "eos_token", "EndOfText"),
    *("tool_calls", "tool_use", "function_call", "TOOL_CALL", "COMPLETE", "normal"),
]
WORDS_FOR_CUT = {
    "length": "cut off at the token limit",
    "max_tokens": "cut off at the token limit",
    "MAX_TOKENS": "cut off at the token limit",
    "model_length": "cut off at the token limit (model_length)",
    "max_output_tokens": "cut off at the token limit (max_output_tokens)",
    "model_context_window_exceeded": "cut off at the token limit (model_context_window_exceeded)",
    "content_filter": "stopped by a content filter",
    "content_filtered": "stopped by a content filter (content_filtered)",
    "SAFETY": "stopped by a content filter (SAFETY)",
    "RECITATION": "stopped by a content filter (RECITATION)",
    "PROHIBITED_CONTENT": "stopped by a content filter (PROHIBITED_CONTENT)",
    "BLOCKLIST": "stopped by a content filter (BLOCKLIST)",
    "refusal": "stopped by a content filter (refusal)",
    "guardrail_intervened": "stopped by a content filter (guardrail_intervened)",
    "insufficient_system_resource": "ended by the server (insufficient_system_resource)",
    "abort": "ended by the server (abort)",
    "cancelled": "ended by the server (cancelled)",
    "MALFORMED_FUNCTION_CALL": "ended by the server (MALFORMED_FUNCTION_CALL)",
    "pause_turn": "ended by the server (pause_turn)",
    "17": "ended by the server (17)",
}


@pytest.mark.parametrize("path", ["/v1", ""])
@pytest.mark.parametrize("reason", WORDS_FOR_DONE)
async def test_a_finish_reason_that_means_done(wire_server, reason, path):
    body = data(delta("Hi"), delta("", reason)) if path else sse(HI, finish(reason))
    answer = await chat_with(wire_server, body, path).ask("Hi?")
    assert (answer.text, answer.complete, answer.finish_reason) == ("Hi", True, reason)
    assert answer.shortcomings == []


@pytest.mark.parametrize("path", ["/v1", ""])
@pytest.mark.parametrize(("reason", "words"), WORDS_FOR_CUT.items())
async def test_a_finish_reason_that_cuts(wire_server, reason, words, path):
    body = data(delta("Hi"), delta("", reason)) + DONE if path else sse(HI, finish(reason), USAGE)
    answer = await chat_with(wire_server, body, path).ask("Hi?")
    assert (answer.text, answer.complete, answer.finish_reason) == ("Hi", False, reason)
    assert words in answer.summary.split(" · ")


@given(st.text())
def test_a_reason_is_done_or_an_error_or_described(reason):
    assert is_done(reason) or describe(reason)
    assert not (is_done(reason) and is_error(reason))


def test_the_first_reason_that_cuts_counts():
    answer = Answer(text="Hi")
    for reason in ("stop", "length", "stop"):
        answer.add(RawResponse(**finish(reason)))
    answer.end()
    assert (answer.finish_reason, answer.complete) == ("length", False)


# -- the end of a stream

CLOSED = "the server closed the stream without a finish reason"
A_LINE = "1 damaged line was skipped"


@pytest.mark.parametrize(
    ("body", "shortcomings"),
    [
        (data(delta("Hi")) + DONE, []),
        (data(delta("Hi"), delta("", "stop")), []),
        (data(delta("Hi"), delta("", "stop")) + b'data: {"choices": [], "usa', [A_LINE]),  # left unread
        (data(delta("Hi"), delta("", "stop")) + b"<p>Bad Gateway\n", [A_LINE]),
        (data(delta("Hi"), delta("", "stop")) + b"data: [DO", []),  # within the end mark, nothing is left unread
        (data(delta("Hi"), delta("", "stop")) + b"\ndat", []),
        (data(delta("Hi")) + b"data: [DO", [CLOSED]),
        (json.dumps({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}, indent=2).encode(), []),
        (b"[%s,\n%s]" % (json.dumps(delta("Hi")).encode(), json.dumps(delta("", "stop")).encode()), []),
        (data(delta("Hi")) + b"data: [done]\n\n", []),
        (data(delta("Hi")) + b'data: "[DONE]"\n\n', []),
        (data(delta("Hi", "stop")) + b"event: done\ndata: finished\n\n", []),
        (b"data: ping\n\nevent: heartbeat\ndata: still here\n\n" + data(delta("Hi", "stop")), []),
        (data(delta("Hi", {"type": "stop"})), []),
        (data(delta("Hi", None, finish_details={"type": "max_tokens"})) + DONE, ["cut off at the token limit"]),
        (data(delta("Hi")), [CLOSED]),
        (data(delta("Hi", "null"), delta("", "")), [CLOSED]),
        (data(delta("Hi"), {"choices": [], "usage": {"completion_tokens": 1}}), [CLOSED]),
        (json.dumps({"choices": [{"message": {"content": "Hi"}}]}, indent=2).encode(), [CLOSED]),
        (data(delta("Hi")) + b"data: {broken\n\n" + DONE, [A_LINE]),
        (data(delta("Hi")) + b"Gateway Timeout\n" + data(delta("", "stop")), [A_LINE]),
        (data(delta("Hi")) + b"data: {broken\n\n<p>\n", [CLOSED, "2 damaged lines were skipped"]),
        (b"data: {broken\n\n" + data(delta("Hi"), delta("", "length")), ["cut off at the token limit", A_LINE]),
    ],
)
async def test_the_end_of_a_stream_of_chunks(wire_server, body, shortcomings):
    chat = chat_with(wire_server, body)
    answer = await chat.ask("Hi?")
    assert (answer.text, answer.shortcomings, answer.complete) == ("Hi", shortcomings, not shortcomings)
    assert answer.summary.startswith(" · ".join(shortcomings))
    assert not answer.stopped
    assert len(chat.messages) == 2  # an incomplete answer stays in the chat


@pytest.mark.parametrize(
    ("body", "shortcomings"),
    [
        (sse(HI, finish("stop")), []),
        (sse(HI, USAGE), []),  # g4f sends the usage when its provider has ended without an error
        (sse(HI, USAGE, {"type": "log", "log": "x"}), []),
        (sse(HI) + DONE, []),
        (sse(HI), [CLOSED]),
        (sse(USAGE, HI), [CLOSED]),
        (sse(HI, {"type": "log", "log": "x"}), [CLOSED]),
        (sse(HI) + b"data: {broken\n\n" + sse(finish("stop")), [A_LINE]),
    ],
)
async def test_the_end_of_a_stream_of_g4f(wire_server, body, shortcomings):
    answer = await chat_with(wire_server, body, "").ask("Hi?")
    assert (answer.text, answer.shortcomings, answer.complete) == ("Hi", shortcomings, not shortcomings)


@pytest.mark.parametrize("dialect", ["/v1", ""])
async def test_no_cut_of_an_answer_looks_complete(wire_server, dialect):
    body = data(delta("Hi"), delta("", "stop")) if dialect else sse(HI, finish("stop"))
    end_of_text = body.rindex(b"}") + 1
    for cut in range(body.index(b"Hi") + 3, len(body), 7):
        stream = chat_with(wire_server, body[:cut], dialect).stream("Hi?")
        with suppress(BackendError):
            [event async for event in stream]
        assert stream.answer.complete is (cut >= end_of_text)


async def test_usage_ends_a_long_answer_too(wire_server):
    texts = [content("x")] * 2500
    assert (await chat_with(wire_server, sse(*texts, USAGE), "").ask("Hi?")).complete
    assert not (await chat_with(wire_server, sse(*texts[:1500], USAGE, *texts[1500:]), "").ask("Hi?")).complete


async def test_a_connection_that_breaks_after_the_finish(wire_server):
    wire_server.answer(CHUNKED + chunk(data(delta("Hi"), delta("", "stop"))), end="reset")
    answer = await Chat("m", url=f"{wire_server.url}/v1").ask("Hi?")
    assert (answer.text, answer.complete) == ("Hi", True)


async def test_a_stopped_or_failed_answer_is_not_complete(wire_server):
    wire_server.answer(UNTIL_CLOSE + data(delta("Hi")), end="stall")
    stream = Chat("m", url=f"{wire_server.url}/v1").stream("Hi?")
    async for event in stream:
        assert not stream.answer.complete
        if str(event):
            stream.stop()
    assert (stream.answer.stopped, stream.answer.complete, stream.answer.shortcomings) == (True, False, [])
    stream = chat_with(wire_server, data(delta("Hi"), {"error": {"message": "no"}})).stream("Hi?")
    with pytest.raises(BackendError):
        [event async for event in stream]
    assert (stream.answer.complete, stream.answer.shortcomings) == (False, [])


# -- errors

TOLD = [
    ({"error": {"message": "it broke", "code": 500}}, "it broke"),
    ({"error": "it broke"}, "it broke"),
    ({"errors": [{"message": "it broke"}]}, "it broke"),
    ({"object": "error", "message": "it broke"}, "it broke"),
    ({"type": "error", "message": "it broke"}, "it broke"),
    ({"type": "error", "error": {"type": "overloaded_error", "message": "it broke"}}, "it broke"),
    ({"error_code": 18, "error_msg": "it broke"}, "it broke"),
    ({"errorMessage": "it broke"}, "it broke"),
    ({"code": 50014, "msg": "it broke"}, "it broke"),
    ({"code": "busy", "message": "it broke"}, "it broke"),
    ({"choices": None, "base_resp": {"status_code": 1008, "status_msg": "it broke"}}, "it broke"),
    ({"detail": "it broke"}, "it broke"),
    ({"message": "it broke"}, "it broke"),
    ({"status": "failed", "message": "it broke"}, "it broke"),
    ({"success": False, "msg": "it broke"}, "it broke"),
    (delta("", "error", error={"code": 502, "message": "it broke"}), "it broke"),
    (delta("", None, error={"message": "it broke"}), "it broke"),
    (delta("", "error"), "an error and no message"),
    (delta("", "ERROR"), "an error and no message"),
]


@pytest.mark.parametrize(("told", "message"), TOLD, ids=lambda one: json.dumps(one)[:50])
@pytest.mark.parametrize("end", [b"", DONE])
async def test_an_error_in_a_stream_of_chunks(wire_server, told, message, end):
    error = await failure_of(chat_with(wire_server, data(told) + end))
    assert message in str(error)
    error = await failure_of(chat_with(wire_server, data(delta("Once "), delta("upon"), told) + end))
    assert (message in str(error), error.partial) == (True, "Once upon")


@pytest.mark.parametrize(
    "lines",
    [
        b'error: {"code": 400, "message": "it broke"}\n\n',
        b'error: {\n  "code": 400,\n  "message": "it broke"\n}\n\n',
        b"error: it broke\n",
        b'event: error\ndata: {"message": "it broke", "code": "overloaded"}\n\n',
        b'event: error\ndata: {"type": "overloaded_error", "message": "it broke"}\n\n',
        b'event: error\ndata: {"detail": "it broke"}\n\n',
        b'event: error\ndata: {"msg": "it broke"}\n\n',
        b'event: error\ndata: {\n  "error": {\n    "message": "it broke"\n  }\n}\n\n',
        b"event: error\ndata: it broke\n\n",
        b'event: error\ndata: "it broke"\n\n',
        b"event: error\ndata: it\ndata: broke\n\n",
        b"event:Error\r\ndata:it broke",
    ],
)
@pytest.mark.parametrize("path", ["/v1", ""])
@pytest.mark.parametrize("end", [b"", DONE])
async def test_an_error_event_or_line(wire_server, lines, path, end):
    begun = data(delta("Once")) if path else sse(content("Once"))
    for start, partial in ((b"", ""), (begun, "Once")):
        error = await failure_of(chat_with(wire_server, start + lines + end, path))
        assert ("it broke" in str(error), error.partial) == (True, partial)


@pytest.mark.parametrize("lines", [b"event: error\ndata: \n\n", b"event: error\ndata:\n\n", b"event: error\n\n"])
@pytest.mark.parametrize("path", ["/v1", ""])
async def test_an_error_event_without_data_is_an_error(wire_server, lines, path):
    begun = data(delta("Once")) if path else sse(content("Once"))
    error = await failure_of(chat_with(wire_server, begun + lines + DONE, path))
    assert (str(error), error.partial) == ("The server reported an error without a message: ask again", "Once")


@pytest.mark.parametrize(
    "told",
    [{"error": {"message": "it broke"}}, {"detail": "it broke"}, {"code": 7, "msg": "it broke"}, finish("error")],
)
async def test_an_error_in_a_stream_of_g4f(wire_server, told):
    error = await failure_of(chat_with(wire_server, sse(content("Once")) + data(told), ""))
    assert ("it broke" in str(error) or "no message" in str(error), error.partial) == (True, "Once")


@pytest.mark.parametrize(
    "aside",
    [
        {"code": 0, "msg": "ok"},
        {"type": "ping"},
        {"choices": [], "prompt_filter_results": []},
        {**delta("", None), "base_resp": {"status_code": 0, "status_msg": ""}},
        {"error": None, "errors": [], "choices": []},
        {"message": "still working"},
    ],
)
async def test_what_is_not_an_error(wire_server, aside):
    answer = await chat_with(wire_server, data(aside, delta("Hi"), aside, delta("", "stop"))).ask("Hi?")
    assert (answer.text, answer.complete) == ("Hi", True)


@pytest.mark.parametrize(
    "body",
    [
        DONE,
        data({"result": "Hello"}) + DONE,
        data({"model": "m", "result": "Hello"}) + DONE,
        data({"choices": [{"delta": {"role": "assistant"}}]}),
        b"data: Hello\n\n" + DONE,
        b"[]",
    ],
)
async def test_an_answer_of_which_nothing_is_understood_is_an_error_that_shows_it(wire_server, body):
    error = await failure_of(chat_with(wire_server, body))
    assert type(error) is ProtocolError
    assert f"it sent {' '.join(body[:30].decode().split())!r}"[:-8] in str(error)


async def test_an_error_keeps_its_kind(wire_server):
    lines = b'event: error\ndata: {"code": 401, "message": "no such key"}\n\n'
    assert type(await failure_of(chat_with(wire_server, lines))) is AuthError


# -- what is kept

CUT = [data(delta("Once")), data(delta("Once", "length")), data(delta("Once")) + b"{broken\n" + DONE]


@pytest.mark.parametrize("body", CUT)
async def test_an_incomplete_answer_is_not_cached(wire_server, tmp_path, body):
    for _ in range(2):
        answer = await chat_with(wire_server, body, cache=tmp_path).ask("Hi?")
        assert (answer.text, answer.complete, answer.recorded, answer.replayed) == ("Once", False, "", False)
    assert [*tmp_path.iterdir()] == []


async def test_a_complete_answer_is_replayed_as_complete(wire_server, tmp_path):
    body = data(delta("Hi")) + DONE
    first, again = [await chat_with(wire_server, body, cache=tmp_path).ask("Hi?") for _ in range(2)]
    assert (first.complete, again.complete, again.replayed, len(wire_server.requests)) == (True, True, True, 1)
    assert again.shortcomings == []


@pytest.mark.parametrize(
    ("mark", "reason", "is_used"),
    [
        ({"complete": True}, None, True),
        ({}, "stop", True),
        ({}, "end_turn", True),
        ({}, "length", False),
        ({}, "error", False),
        ({}, None, False),
        ({"complete": False}, "stop", False),
        ({"complete": "yes"}, "stop", False),
    ],
)
async def test_incomplete_answers_of_older_caches_are_ignored(wire_server, tmp_path, mark, reason, is_used):
    body = data(delta("Hi"), delta("", "stop"))
    await chat_with(wire_server, body, cache=tmp_path).ask("Hi?")
    (file,) = tmp_path.iterdir()
    record = json.loads(file.read_text(encoding="utf-8"))
    assert record.pop("complete") is True
    events = [event for event in record["events"] if event["type"] != "finish"]
    record |= mark | {"events": [*events, *([finish(reason)] if reason else [])]}
    file.write_text(json.dumps(record), encoding="utf-8")
    answer = await chat_with(wire_server, body, cache=tmp_path).ask("Hi?")
    assert (answer.replayed, answer.complete, len(wire_server.requests)) == (is_used, True, 1 if is_used else 2)
    assert (await chat_with(wire_server, body, cache=tmp_path).ask("Hi?")).replayed


@pytest.mark.parametrize("body", [*CUT, data(delta("Once", "stop"))])
async def test_a_saved_chat_knows_whether_its_answers_are_complete(wire_server, tmp_path, body):
    chat = chat_with(wire_server, body)
    answer = await chat.ask("Hi?")
    chat.save(tmp_path / "chat.json")
    for message in (chat.messages[1], Chat.load(tmp_path / "chat.json").messages[1]):
        restored = Answer.of(message)
        assert (restored.complete, restored.shortcomings) == (answer.complete, answer.shortcomings)


@pytest.mark.parametrize(
    ("known", "complete"),
    [
        ({"finish_reason": "stop"}, True),
        ({"finish_reason": "length"}, False),
        ({"finish_reason": None}, False),
        ({}, False),
        ({"complete": "yes", "damaged_lines": "many", "finish_reason": "stop"}, True),
        ({"complete": True, "finish_reason": "odd"}, True),
    ],
)
def test_messages_of_older_versions(known, complete):
    answer = Answer.of(Message({"role": "assistant", "content": "Hi"}, known))
    assert answer.complete is complete
    assert CLOSED not in answer.shortcomings


# -- what is shown and exported


@pytest.mark.parametrize(("body", "why"), [*zip(CUT, [CLOSED, "cut off at the token limit", A_LINE], strict=True)])
async def test_an_incomplete_answer_is_marked_wherever_it_is_shown(wire_server, tmp_path, body, why):
    chat = chat_with(wire_server, body)
    answer = await chat.ask("Hi?")
    note = f"<small>⚠ **incomplete** · {why}</small>"
    assert answer._repr_markdown_() == f"Once\n\n{note}"
    assert pretty(answer) == f"Once\n\n[incomplete · {why}]"
    assert answer.to_markdown() == str(answer) == "Once"
    chat.export(tmp_path / "chat.md")
    assert f"Once\n\n*(incomplete: {why})*" in (tmp_path / "chat.md").read_text(encoding="utf-8")
    chat.export(tmp_path / "chat.ipynb")
    (output,) = json.loads((tmp_path / "chat.ipynb").read_text(encoding="utf-8"))["cells"][-1]["outputs"]
    assert "".join(output["data"]["text/markdown"]) == f"Once\n\n<small>incomplete: {why}</small>"
    assert output["metadata"]["nb_backend"]["complete"] is False


async def test_a_complete_answer_has_no_mark(wire_server, tmp_path):
    chat = chat_with(wire_server, data(delta("Hi", "stop")))
    answer = await chat.ask("Hi?")
    assert (answer._repr_markdown_(), pretty(answer)) == ("Hi", "Hi")
    chat.export(tmp_path / "chat.md")
    assert "incomplete" not in (tmp_path / "chat.md").read_text(encoding="utf-8")


def test_a_finish_reason_cannot_be_markup():
    answer = Answer(text="Hi", finish_reason='<img src="x">**\n# a\x1b[31m' + "x" * 500)
    assert "<img" not in answer._repr_markdown_()
    assert "\x1b" not in answer.summary
    assert len(answer.summary) < 200


@pytest.mark.parametrize("before", [{}, {"error": None}])
async def test_an_error_beside_text_is_found_among_chunks_that_look_alike(wire_server, before):
    chunks = [{"model": "m", **delta("word ", **before)}] * 3
    told = {"model": "m", **delta("last", error={"message": "it broke"})}
    error = await failure_of(chat_with(wire_server, data(*chunks, told)))
    assert ("it broke" in str(error), error.partial) == (True, "word word word last")
