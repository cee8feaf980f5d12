"""What the events of a response may hold is in the answer, whichever of the repeating events a server leaves out."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_serving import PNG, uri

from nb_backend import Answer
from nb_backend.chat import Source
from nb_backend.errors import BackendError, ProtocolError, RateLimitError, ServerError
from nb_backend.events import RawResponse
from nb_backend.providers.responses_items import text_of_items
from nb_backend.providers.responses_reader import ResponsesReader

IMAGE = uri(PNG)
BASE64 = IMAGE.partition(",")[2]
USAGE = {"input_tokens": 5, "input_tokens_details": {"cached_tokens": 3}, "output_tokens": 2, "total_tokens": 7}


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **fields}


def delta(kind: str, text: str, item: int = 0, part: int = 0, **fields: Any) -> dict[str, Any]:
    where = {"output_index": item, "item_id": f"i{item}", "content_index": part}
    return event(f"{kind}.delta", delta=text, **where | fields)


def text(said: str, item: int = 0, part: int = 0) -> dict[str, Any]:
    return delta("output_text", said, item, part, logprobs=[], sequence_number=9)


def message(*parts: str | dict[str, Any], item: int = 0, **fields: Any) -> dict[str, Any]:
    content = [{"type": "output_text", "text": one} if isinstance(one, str) else one for one in parts]
    return {"type": "message", "id": f"i{item}", "role": "assistant", "content": content, **fields}


def done(item: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return event("output_item.done", output_index=index, item=item)


def added(item: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return event("output_item.added", output_index=index, item=item)


def ended(*output: dict[str, Any], kind: str = "completed", **fields: Any) -> dict[str, Any]:
    response = {"id": "r", "object": "response", "model": "m", "status": kind, "output": [*output], "usage": USAGE}
    return event(kind, response=response | fields)


def events_of(
    *sent: dict[str, Any], size: int = 0, whole: bool = True
) -> tuple[list[RawResponse], BackendError | None]:
    """Return the events that a reader makes of these, and the failure."""
    body = b"".join(b"event: %s\ndata: %s\n\n" % (one["type"].encode(), json.dumps(one).encode()) for one in sent)
    reader, size = ResponsesReader("http://server.example/v1"), size or len(body) or 1
    found = [one for at in range(0, len(body), size) for one in reader.feed(body[at : at + size]) or ()]
    found += reader.end(whole=whole)
    return found, reader.error(None)


def answer_of(*sent: dict[str, Any], size: int = 0) -> Answer:
    found, failure = events_of(*sent, size=size)
    assert failure is None
    answer = Answer()
    for one in found:
        answer.add(one)
    answer.end()
    return answer


PART = {"type": "output_text", "text": "Hello", "annotations": []}
WHERE = {"output_index": 0, "item_id": "i0", "content_index": 0}
REPEATS = {
    "its own end": event("output_text.done", text="Hello", **WHERE),
    "the end of its part": event("content_part.done", part=PART, **WHERE),
    "the end of its item": done(message("Hello")),
    "the whole response": ended(message("Hello")),
}


class TestText:
    @pytest.mark.parametrize("deltas", [["Hel", "lo"], ["Hel"], []], ids=len)
    @pytest.mark.parametrize("repeat", REPEATS.values(), ids=REPEATS)
    def test_is_read_once_from_any_of_the_events_that_have_it(self, deltas, repeat):
        assert answer_of(*map(text, deltas), repeat, ended()).text == "Hello"
        assert answer_of(*map(text, deltas), *REPEATS.values()).text == "Hello"

    @pytest.mark.parametrize("left_out", ["output_index", "item_id", "content_index"])
    def test_is_read_once_although_the_server_does_not_say_where_it_belongs(self, left_out):
        sent = [added(message()), text("Hel"), text("lo"), *map(dict, REPEATS.values())]
        for one in sent[:-1]:
            one.pop(left_out, None)
        assert answer_of(*sent).text == "Hello"

    def test_is_read_once_although_the_server_changes_the_ids(self):
        def renamed(one: dict[str, Any], number: int) -> dict[str, Any]:
            return json.loads(json.dumps(one).replace('"i0"', f'"id-{number}"'))

        sent = [added(message()), text("Hel"), text("lo"), *REPEATS.values()]
        assert answer_of(*(renamed(one, number) for number, one in enumerate(sent))).text == "Hello"

    def test_of_a_commentary_is_a_paragraph(self):
        said, answer = message("Let me see.", phase="commentary"), message("It rains.", item=2, phase="final_answer")
        begun = [one | {"content": []} for one in (said, answer)]
        streamed = [added(begun[0]), text("Let me see."), added(begun[1], 2), text("It ", 2), text("rains.", 2)]
        for sent in ([*streamed, ended(said, answer)], [*streamed, ended()], [ended(said, answer)]):
            assert answer_of(*sent).text == "Let me see.\n\nIt rains."
        ends_its_line = message("One.\n", phase="commentary")
        assert answer_of(ended(ends_its_line, answer)).text == "One.\n\nIt rains."
        assert answer_of(ended(message("One.", phase="commentary"), message("", item=1))).text == "One."

    def test_of_other_messages_is_joined_as_the_service_joins_it(self):
        assert answer_of(text("a"), text("b", 1), ended(message("a"), message("b", item=1))).text == "ab"
        assert answer_of(ended(message("a", phase="final_answer"), message("b", item=1))).text == "ab"

    def test_of_two_parts_is_one_paragraph(self):
        assert answer_of(text("a"), text("b", part=1), ended(message("a", "b"))).text == "ab"

    def test_that_is_refused_is_text_and_the_finish_reason_says_so(self):
        refusal = {"type": "refusal", "refusal": "I cannot"}
        for sent in (
            [delta("refusal", "I "), delta("refusal", "cannot"), ended(message(refusal))],
            [ended(message(refusal))],
        ):
            answer = answer_of(*sent)
            assert (answer.text, answer.finish_reason, answer.complete) == ("I cannot", "refusal", False)

    def test_of_a_body_without_a_stream(self):
        body = json.dumps(ended(message("Hi"))["response"], indent=1).encode()
        reader, answer = ResponsesReader("http://server.example/v1"), Answer()
        for one in [*(reader.feed(body) or ()), *reader.end(whole=True)]:
            answer.add(one)
        answer.end()
        assert reader.error(None) is None
        assert (answer.text, answer.complete, answer.input_tokens, answer.cached_tokens) == ("Hi", True, 5, 3)

    @given(st.lists(st.text(min_size=1, max_size=5), max_size=6), st.integers(0, 6), st.integers(1, 40))
    def test_is_the_same_however_much_of_it_arrives_in_deltas(self, pieces, count, size):
        whole = "".join(pieces)
        answer = answer_of(*map(text, pieces[:count]), ended(message(whole)), size=size)
        assert answer.text == whole


class TestReasoning:
    def summary(self, said: str, part: int) -> dict[str, Any]:
        return event("reasoning_summary_text.delta", delta=said, item_id="i0", output_index=0, summary_index=part)

    def item(self, *texts: str, key: str = "summary", **fields: Any) -> dict[str, Any]:
        kind = "summary_text" if key == "summary" else "reasoning_text"
        return {"type": "reasoning", "id": "i0", key: [{"type": kind, "text": one} for one in texts], **fields}

    def test_summaries_are_paragraphs(self):
        streamed = [self.summary("**One**", 0), self.summary(" a", 0), self.summary("**Two**", 1)]
        item = self.item("**One** a", "**Two**")
        expected = "**One** a\n\n**Two**"
        assert answer_of(*streamed, ended()).reasoning == expected
        assert answer_of(*streamed, done(item), ended(item)).reasoning == expected
        assert answer_of(done(item), ended()).reasoning == expected
        assert answer_of(ended(item)).reasoning == expected

    def test_of_two_items_is_two_paragraphs(self):
        one, two = self.item("a"), self.item("b") | {"id": "i1"}
        assert answer_of(done(one), done(two, 1), ended(one, two)).reasoning == "a\n\nb"

    def test_in_words_is_not_repeated_by_its_summary(self):
        item = self.item("all of it", key="content") | {"summary": [{"type": "summary_text", "text": "short"}]}
        assert answer_of(delta("reasoning_text", "all "), delta("reasoning_text", "of it"), ended(item)).reasoning == (
            "all of it"
        )
        assert answer_of(ended(item)).reasoning == "all of it"

    def test_is_not_text(self):
        part = {"type": "reasoning_text", "text": "Hm"}
        where = {"output_index": 0, "item_id": "i0", "content_index": 0}
        answer = answer_of(event("content_part.done", part=part, **where), text("Hi", 1), ended())
        assert (answer.reasoning, answer.text) == ("Hm", "Hi")


CALL = {"type": "function_call", "id": "i0", "call_id": "c1", "name": "look", "arguments": '{"a": 1}'}


class TestCalls:
    def test_are_sent_once_before_the_finish(self):
        pieces = [delta("function_call_arguments", one) for one in ('{"a"', ": 1}")]
        for sent in (
            [added(CALL | {"arguments": ""}), *pieces, done(CALL), ended(CALL)],
            [done(CALL), ended()],
            [ended(CALL)],
            [added(CALL | {"arguments": ""}), *pieces, done(CALL | {"arguments": ""}), ended()],
        ):
            found, failure = events_of(*sent)
            assert failure is None
            assert [one.type for one in found if one.type in ("tool_calls", "finish")] == ["tool_calls", "finish"]
            (call,) = answer_of(*sent).tool_calls
            assert (call.id, call.name, call.arguments) == ("c1", "look", {"a": 1})

    def test_with_the_same_name_and_arguments_are_two(self):
        two = CALL | {"id": "i1", "call_id": "c2"}
        assert [call.id for call in answer_of(ended(CALL, two)).tool_calls] == ["c1", "c2"]

    def test_of_a_custom_tool_keep_their_text(self):
        item = {"type": "custom_tool_call", "id": "i0", "call_id": "c1", "name": "sql", "input": "select 1"}
        (call,) = answer_of(done(item), ended(item)).tool_calls
        assert (call.name, call.unparsed) == ("sql", "select 1")

    @pytest.mark.parametrize(
        ("tools", "count"),
        [([{"type": "x_search"}], 0), ([{"type": "custom", "name": "sql"}], 1), ([], 1), (None, 1)],
    )
    def test_of_a_custom_tool_that_was_not_sent_are_the_services_own(self, tools, count):
        item = {"type": "custom_tool_call", "id": "i0", "call_id": "c1", "name": "sql", "input": "select 1"}
        assert len(answer_of(done(item), ended(item, tools=tools)).tool_calls) == count

    def test_that_are_not_whole_are_left_out(self):
        cut = CALL | {"arguments": '{"a"', "status": "incomplete"}
        details = {"incomplete_details": {"reason": "max_output_tokens"}}
        assert answer_of(done(cut), ended(cut, kind="incomplete", **details)).tool_calls == []
        found, _ = events_of(added(CALL), delta("function_call_arguments", "{"), whole=False)
        assert "tool_calls" not in [one.type for one in found]

    def test_of_the_services_own_tools_show_progress_and_are_not_calls(self):
        search = {"type": "web_search_call", "id": "i0", "status": "in_progress"}
        call = {"type": "mcp_call", "id": "i1", "name": "ask", "server_label": "wiki", "arguments": "{}"}
        sent = [added(search), event("web_search_call.searching", item_id="i0", output_index=0), done(search)]
        sent += [added(call, 1), event("mcp_call_arguments.delta", delta="{}", item_id="i1", output_index=1)]
        sent += [text("Hi", 2), ended(search, call, message("Hi", item=2))]
        found, _ = events_of(*sent)
        labels = [one.progress["label"] for one in found if one.type == "progress"]
        assert labels == ["searching the web", "calling ask of wiki"]
        assert answer_of(*sent).tool_calls == []

    def test_that_need_an_approval_say_what_to_do(self):
        request = {"type": "mcp_approval_request", "id": "i0", "name": "ask", "server_label": "wiki", "arguments": "{}"}
        _, failure = events_of(done(request), ended(request))
        assert str(failure).startswith("The model asks to call ask of the MCP server wiki, which needs your approval")


CITED = {
    "type": "url_citation",
    "url": "https://a.example/x",
    "title": "A\n page",
    "start_index": 0,
    "end_index": 1,
}
FILE = {"type": "file_citation", "file_id": "f", "filename": "a.pdf", "index": 0}


class TestSources:
    def test_are_listed_once_and_the_text_stays(self):
        part = {"type": "output_text", "text": "a", "annotations": [CITED, FILE, CITED]}
        note = event("output_text.annotation.added", annotation=CITED, item_id="i0", output_index=0)
        for sent in ([text("a"), note, ended(message(part))], [text("a"), note, ended()], [ended(message(part))]):
            answer = answer_of(*sent)
            assert (answer.text, answer.sources) == ("a", [Source("https://a.example/x", "A page")])


DRAWN = {"type": "image_generation_call", "id": "i0", "result": BASE64, "revised_prompt": "a cat"}
PARTIAL = event(
    "image_generation_call.partial_image",
    partial_image_b64=BASE64,
    partial_image_index=0,
    item_id="i0",
    output_index=0,
)


class TestImages:
    def test_are_shown_once(self):
        for sent in ([PARTIAL, done(DRAWN), ended(DRAWN)], [done(DRAWN), ended()], [ended(DRAWN)]):
            found, _ = events_of(*sent)
            shown = [(one.urls, one.alt) for one in found if one.get("urls")]
            assert shown == [([IMAGE], "a cat")]

    def test_that_arrived_in_part_only_are_shown(self):
        found, _ = events_of(PARTIAL, done(DRAWN | {"result": None}), ended())
        assert [one.urls for one in found if one.get("urls")] == [[IMAGE]]

    @pytest.mark.parametrize(("form", "kind"), [("svg", "svg+xml"), ("webp", "webp"), (None, "png")])
    def test_have_the_named_form_if_their_bytes_do_not_tell_it(self, form, kind):
        found, _ = events_of(done(DRAWN | {"result": "eHh4eA==", "output_format": form}), ended())
        assert [one.urls for one in found if one.get("urls")] == [[f"data:image/{kind};base64,eHh4eA=="]]

    def test_of_the_code_interpreter_are_shown(self):
        outputs = [{"type": "logs", "logs": "1"}, {"type": "image", "url": IMAGE}]
        item = {"type": "code_interpreter_call", "id": "i0", "code": "plot()", "outputs": outputs}
        answer = answer_of(done(item), text("Done", 1), ended(item, message("Done", item=1)))
        assert (answer.text, [*map(str, answer.images)]) == ("Done", [IMAGE])


class TestAudio:
    def test_is_one_event_with_its_transcript_as_text(self):
        samples = bytes(range(8))
        pieces = [base64.b64encode(part).decode() for part in (samples[:3], samples[3:])]
        sent = [event("audio.delta", delta=piece) for piece in pieces]
        sent += [event("audio.transcript.delta", delta="Hi "), event("audio.transcript.delta", delta="there")]
        sent += [event("audio.done"), event("audio.transcript.done"), ended()]
        found, failure = events_of(*sent)
        assert failure is None
        (audio,) = [one.audio for one in found if one.type == "audio"]
        wav = base64.b64decode(audio.removeprefix("data:audio/wav;base64,"))
        assert (wav[:4], wav[8:12], wav[-8:]) == (b"RIFF", b"WAVE", samples)
        assert answer_of(*sent).text == "Hi there"

    def test_is_kept_if_the_answer_breaks_off(self):
        found, _ = events_of(event("audio.delta", delta="AAAA"), whole=False)
        assert [one.type for one in found] == ["audio"]

    def test_with_a_header_stays_as_it_is(self):
        wav = b"RIFF\x08\0\0\0WAVEfmt "
        part = {"type": "output_audio", "data": base64.b64encode(wav).decode(), "transcript": "Hi"}
        found, _ = events_of(ended(message(part)))
        (audio,) = [one.audio for one in found if one.type == "audio"]
        assert base64.b64decode(audio.partition(",")[2]) == wav
        assert answer_of(ended(message(part))).text == "Hi"


THOUGHT = {
    "type": "reasoning",
    "id": "r0",
    "summary": [],
    "content": [],
    "encrypted_content": "gAAA",
    "status": None,
}
KEPT = {"type": "reasoning", "id": "r0", "summary": [], "encrypted_content": "gAAA"}


class TestState:
    def states(self, *sent: dict[str, Any]) -> list[Any]:
        return [one.state for one in events_of(*sent)[0] if one.type == "state"]

    def test_is_the_output_if_reasoning_is_encrypted(self):
        call = CALL | {"id": "i1"}
        assert self.states(done(THOUGHT), done(call, 1), ended(THOUGHT, call)) == [[KEPT, call]]
        assert self.states(done(THOUGHT), done(call, 1), ended()) == [[KEPT, call]]

    def test_keeps_the_phase_of_a_message(self):
        said = message("Let me see.", phase="commentary")
        assert self.states(ended(said)) == [[said]]

    def test_has_reasoning_in_words_only_before_a_call(self):
        words = {"type": "reasoning", "id": "r0", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm"}]}
        call = CALL
        assert self.states(ended(words, call)) == [[words, call]]
        assert self.states(ended(words, message("Hi"))) == []

    def test_has_no_images_and_no_reasoning_that_stands_alone(self):
        said = message("Hi", item=3)
        assert self.states(ended(THOUGHT, DRAWN, THOUGHT, said)) == [[KEPT, said]]
        assert self.states(ended(THOUGHT)) == []

    def test_is_not_kept_of_an_answer_that_is_not_whole(self):
        assert self.states(done(THOUGHT), text("Hi", 1), ended(THOUGHT, message("Hi"), kind="incomplete")) == []

    TEXTS = st.lists(st.sampled_from(["a", "b\n", "\n\n", ""]), max_size=3)

    @given(st.lists(st.tuples(TEXTS, st.sampled_from(["commentary", "final_answer", None])), max_size=4))
    def test_belongs_to_the_text_that_the_answer_has(self, messages):
        output = [message(*parts, item=at, phase=phase) for at, (parts, phase) in enumerate(messages)]
        assert text_of_items(output) == answer_of(ended(*output)).text


class TestEnd:
    @pytest.mark.parametrize(
        ("kind", "details", "reason", "complete"),
        [
            ("completed", None, "completed", True),
            ("incomplete", {"reason": "max_output_tokens"}, "max_output_tokens", False),
            ("incomplete", {"reason": "content_filter"}, "content_filter", False),
            ("incomplete", None, "incomplete", False),
            ("cancelled", None, "cancelled", False),
        ],
    )
    def test_has_the_services_own_word(self, kind, details, reason, complete):
        answer = answer_of(text("Hi"), ended(message("Hi"), kind=kind, incomplete_details=details))
        assert (answer.text, answer.finish_reason, answer.complete) == ("Hi", reason, complete)
        assert (answer.input_tokens, answer.output_tokens, answer.cached_tokens) == (5, 2, 3)

    @pytest.mark.parametrize(
        ("error", "kind", "said"),
        [
            ({"code": "server_error", "message": "The model broke."}, ServerError, "The model broke"),
            ({"code": "rate_limit_exceeded", "message": "Too many tokens."}, RateLimitError, "Too many tokens"),
            (None, ServerError, "The service says that the response failed, and not why: ask again"),
        ],
    )
    def test_of_a_response_that_failed_is_an_error(self, error, kind, said):
        found, failure = events_of(text("Hi"), ended(kind="failed", error=error))
        assert type(failure) is kind
        assert str(failure).startswith(said)
        assert failure.partial == "Hi"
        assert "finish" not in [one.type for one in found]

    @pytest.mark.parametrize(
        "error",
        [
            {
                "type": "error",
                "code": "rate_limit_exceeded",
                "message": "Slow down.",
                "param": None,
                "sequence_number": 3,
            },
            {"type": "error", "error": {"type": "tokens", "code": "rate_limit_exceeded", "message": "Slow down."}},
        ],
    )
    def test_by_an_error_event_is_an_error(self, error):
        _, failure = events_of(text("Hi"), error)
        assert isinstance(failure, RateLimitError)
        assert str(failure) == "Slow down: ask again later"

    def test_without_the_last_event_is_not_complete(self):
        answer = answer_of(text("Hi"))
        assert (answer.text, answer.finish_reason, answer.complete) == ("Hi", None, False)

    def test_in_the_background_is_the_same(self):
        queued = event("queued", response={"status": "queued", "model": "m", "output": []})
        assert answer_of(queued, event("in_progress", response={}), text("Hi"), ended()).complete

    def test_is_known_before_the_last_line_end(self):
        reader = ResponsesReader("http://server.example/v1")
        body = b"data: " + json.dumps(ended(message("Hi"))).encode()
        reader.feed(body)
        assert reader.endings == 1


def test_unknown_events_say_nothing():
    sent = [
        {"type": "keepalive"},
        event("new_thing.delta", delta="x"),
        event("output_item.added", item="x"),
        text("Hi"),
    ]
    assert answer_of(*sent, {"type": "response.more"}, ended()).text == "Hi"


def test_the_model_is_named_once():
    found, _ = events_of(event("created", response={"model": "m", "status": "in_progress"}), text("Hi"), ended())
    (provider,) = [one.provider for one in found if one.type == "provider"]
    assert (provider["name"], provider["model"]) == ("server.example", "m")


@pytest.mark.parametrize(
    "other",
    [
        {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Hi"}}]},
        {"type": "content", "content": "Hi"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]},
    ],
)
def test_an_answer_in_another_dialect_is_none(other):
    reader = ResponsesReader("http://server.example/v1")
    assert [*(reader.feed(b"data: %s\n\n" % json.dumps(other).encode()) or ()), *reader.end(whole=True)] == []
    assert isinstance(reader.error(None), ProtocolError)


FIELDS = st.sampled_from(
    ["delta", "text", "item", "part", "response", "output_index", "item_id", "content_index", "annotation"]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 3)
    | st.text(max_size=3)
    | st.sampled_from(["message", "reasoning", "i0"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "id", "content", "summary", "text", "output", "usage", "error", "result", "status", "model"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=6,
)
KINDS = st.sampled_from(
    [
        *("output_text.delta", "output_text.done", "content_part.done", "output_item.added", "output_item.done"),
        *("reasoning_summary_text.delta", "reasoning_summary_part.done", "function_call_arguments.delta", "completed"),
        *("failed", "incomplete", "output_text.annotation.added", "audio.delta", "image_generation_call.partial_image"),
    ]
)


@given(st.lists(st.tuples(KINDS, st.dictionaries(FIELDS, VALUES, max_size=5)), max_size=6))
def test_events_of_any_shape_are_read_without_an_exception(sent):
    found, _ = events_of(*(event(kind, **fields) for kind, fields in sent))
    assert all(isinstance(one, RawResponse) for one in found)
