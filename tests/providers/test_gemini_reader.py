"""GeminiReader: each kind of part, of ending and of error becomes events."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nb_backend import Answer
from nb_backend.errors import AuthError, BackendError, ProtocolError, RateLimitError, ServerError
from nb_backend.events import RawResponse
from nb_backend.providers.gemini_reader import GeminiReader

PNG = "iVBORw0KGgoAAAAAAAAAAA=="
STOP = {"finishReason": "STOP"}


def response(*parts: dict[str, Any], index: int = 0, **candidate: Any) -> dict[str, Any]:
    content = {"content": {"role": "model", "parts": [*parts]}} if parts else {}
    return {"candidates": [{**content, "index": index, **candidate}], "modelVersion": "gemini-3", "responseId": "r"}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"text": words, **more}


def read(*responses: Any, whole: bool = True) -> tuple[list[dict[str, Any]], BackendError | None]:
    """Return the events, without the one that names the model, and the failure."""
    reader = GeminiReader("https://host/v1beta")
    body = b"".join(b"data: %s\r\n\r\n" % json.dumps(one).encode() for one in responses)
    events = [*(reader.feed(body) or ()), *reader.end(whole=whole)]
    failure = reader.error(None if whole else ProtocolError("it broke"))
    return [event.get_dict() for event in events if event.type != "provider"], failure


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def content(words: str) -> dict[str, Any]:
    return {"type": "content", "content": words}


FINISH = {"type": "finish", "finish": {"reason": "STOP"}}


class TestTextAndReasoning:
    def test_texts_that_arrive_together_are_one_event(self):
        events, _ = read(*(response(text(word)) for word in ("", "a", "b", "", "c")), response(text("d"), **STOP))
        assert events == [content("abc"), content("d"), FINISH]

    def test_thoughts_are_reasoning(self):
        events, _ = read(
            response(text("Hm", thought=True)), response(text("m", thought=True), text("Hi")), response(**STOP)
        )
        assert events == [
            {"type": "reasoning", "token": "Hm"},
            {"type": "reasoning", "token": "m"},
            content("Hi"),
            FINISH,
        ]

    def test_summaries_are_paragraphs(self):
        one, two, three = "**One**\n\nFirst.\n\n\n", "**Two**\n\nSecond.", "**Three**\n\nThird."
        events, _ = read(*(response(text(words, thought=True)) for words in (one, two, three)), response(text("Hi")))
        assert "".join(event.get("token", "") for event in events) == f"{one}{two}\n\n{three}"

    def test_a_text_after_a_thought_is_text(self):
        """Responses with nothing but a text take a short way, also after one that did not."""
        events, _ = read(response(text("a")), response(text("b", thought=True)), *[response(text("c"))] * 3)
        assert events == [content("a"), {"type": "reasoning", "token": "b"}, content("c"), content("cc")]

    def test_only_the_first_candidate_is_read(self):
        both = response(text("a"))
        both["candidates"].append({"index": 1, "content": {"parts": [text("x")]}})
        other = response(text("y"), index=1, **STOP)
        events, _ = read(both, other, response(text("b")), response(text("c"), **STOP))
        assert events == [content("a"), content("b"), content("c"), FINISH]

    def test_the_model_is_named_once(self):
        reader = GeminiReader("https://host/v1beta")
        events = reader.translate([RawResponse(**response(text("a"))), RawResponse(**response(text("b")))])
        who = {"name": "host", "label": "host", "url": "https://host/v1beta", "model": "gemini-3"}
        assert [event.get("provider") for event in events if event.type == "provider"] == [who]

    def test_a_response_without_a_model_or_counts_is_read(self):
        plain = {"candidates": [{"content": {"parts": [text("a")]}}]}
        assert read(*[plain] * 3, {"candidates": [STOP]})[0] == [content("a"), content("aa"), FINISH]

    @pytest.mark.parametrize(
        "odd", [7, [], {"candidates": 7}, {"candidates": [7]}, response(7), response({"text": 7}), response({"x": {}})]
    )
    def test_what_is_not_a_part_is_skipped(self, odd):
        events, failure = read(response(text("a")), odd, response(text("b"), **STOP))
        assert ([event for event in events if event["type"] == "content"], failure) == (
            [content("a"), content("b")],
            None,
        )


class TestToolCalls:
    def test_they_come_once_before_the_finish(self):
        a, b = {"name": "f", "args": {"x": "é"}, "id": "1"}, {"name": "g", "id": "2"}
        events, _ = read(response({"functionCall": a}), response({"functionCall": b}), response(text(""), **STOP))
        calls = [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x":"é"}'}},
            {"id": "2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ]
        assert events == [{"type": "tool_calls", "tool_calls": calls}, FINISH]

    def test_a_call_without_an_id_gets_the_same_one_each_time(self):
        body = [response({"functionCall": {"name": "f"}}, {"functionCall": {"name": "f"}}, **STOP)]
        ids = [call["id"] for call in read(*body)[0][0]["tool_calls"]]
        assert ids == [call["id"] for call in read(*body)[0][0]["tool_calls"]]
        assert len({*ids}) == 2

    def test_arguments_in_pieces_are_joined(self):
        """Vertex sends them so, if ``streamFunctionCallArguments`` is set."""
        pieces = [
            {"name": "f", "id": "1", "willContinue": True},
            {"partialArgs": [{"jsonPath": "$.city", "stringValue": "Ro", "willContinue": True}], "willContinue": True},
            {"partialArgs": [{"jsonPath": "$.city", "stringValue": "me"}], "willContinue": True},
            {"partialArgs": [{"jsonPath": "$.stops[1].at", "numberValue": 7}], "willContinue": True},
            {"partialArgs": [{"jsonPath": "$['a b']", "boolValue": True}, {"jsonPath": "$.n", "nullValue": None}]},
        ]
        first, *others = [{"functionCall": piece} for piece in pieces]
        signed = response({**first, "thoughtSignature": "S"})
        events, _ = read(signed, *map(response, others), response({"functionCall": {"name": "g"}}, **STOP))
        args = {"city": "Rome", "stops": [None, {"at": 7}], "a b": True, "n": None}
        one, two = (call["function"] for call in events[0]["tool_calls"])
        assert (json.loads(one["arguments"]), two["arguments"]) == (args, "{}")
        call = {"functionCall": {"name": "f", "id": "1", "args": args}, "thoughtSignature": "S"}
        assert events[1]["state"] == [call, {"functionCall": {"name": "g"}}]

    def test_arguments_whose_end_is_missing_are_those_that_came(self):
        """The next call, or the end of the body, ends them."""
        piece = {"partialArgs": [{"jsonPath": "$.city", "stringValue": "Ro"}], "willContinue": True}
        events, _ = read(
            *(response({"functionCall": one}) for one in ({"name": "f"} | piece, piece) * 2), response(**STOP)
        )
        assert [call["function"]["arguments"] for call in events[0]["tool_calls"]] == ['{"city":"RoRo"}'] * 2

    def test_there_are_none_if_the_body_broke_off(self):
        events, failure = read(response({"functionCall": {"name": "f"}}), whole=False)
        assert events == []
        assert str(failure) == "it broke"


class TestState:
    def test_it_holds_the_turn_if_a_part_has_a_signature(self):
        call = {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "S"}
        events, _ = read(
            response(text("Hm", thought=True)),
            response(text("a")),
            response(text("b")),
            response(call),
            response(text("", thoughtSignature="T"), **STOP),
        )
        assert kinds(events)[-3:] == ["tool_calls", "state", "finish"]
        parts = [text("Hm", thought=True), text("ab"), call, text("", thoughtSignature="T")]
        assert events[-2]["state"] == parts

    def test_there_is_none_without_a_signature(self):
        assert "state" not in kinds(read(response(text("a"), **STOP))[0])

    def test_a_text_with_a_signature_stays_a_part_of_its_own(self):
        events, _ = read(response(text("a")), response(text("b", thoughtSignature="S")), response(text("c"), **STOP))
        assert events[-2]["state"] == [text("a"), text("b", thoughtSignature="S"), text("c")]
        assert "".join(event.get("content", "") for event in events) == "abc"

    def test_a_long_text_is_one_part(self):
        words = [response(text(f"{number} ")) for number in range(3000)]
        reader = GeminiReader("https://host/v1beta")
        for one in words:
            reader.translate([RawResponse(**one)])
        events = reader.translate([RawResponse(**response(text("", thoughtSignature="S"), **STOP))])
        (state,) = [event.state for event in events if event.type == "state"]
        assert state == [text("".join(f"{number} " for number in range(3000))), text("", thoughtSignature="S")]


class TestImagesAndSound:
    def test_an_image_is_a_data_uri(self):
        blob = {"inlineData": {"mimeType": "image/png", "data": PNG}}
        events, _ = read(response(text("See"), blob, **STOP))
        assert events.pop(-2) == {"type": "state", "state": [text("See"), blob]}
        image = {"type": "content", "content": None, "urls": [f"data:image/png;base64,{PNG}"], "alt": ""}
        assert events == [content("See"), image, FINISH]

    def test_an_image_of_a_thought_is_not_shown(self):
        blob = {"inlineData": {"mimeType": "image/png", "data": PNG}, "thought": True}
        assert read(response(blob, text("Hi"), **STOP))[0] == [content("Hi"), FINISH]

    def test_sound_becomes_one_wav_file(self):
        samples = bytes(range(200))
        pieces = [
            response({"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": part}})
            for part in (base64.b64encode(samples[:64]).decode(), base64.b64encode(samples[64:]).decode())
        ]
        events, failure = read(*pieces, response(**STOP))
        assert (kinds(events), failure) == (["audio", "finish"], None)
        start, _, data = events[0]["audio"].partition(",")
        wav = base64.b64decode(data)
        assert start == "data:audio/wav;base64"
        assert (wav[:4], wav[8:16], wav[44:]) == (b"RIFF", b"WAVEfmt ", samples)
        assert int.from_bytes(wav[24:28], "little") == 24_000
        assert int.from_bytes(wav[4:8], "little") == len(wav) - 8

    def test_sound_with_a_format_stays_as_it_is(self):
        mp3 = base64.b64encode(b"ID3 sound").decode()
        events, _ = read(response({"inlineData": {"mimeType": "audio/mpeg", "data": mp3}}, **STOP))
        assert events[0] == {"type": "audio", "audio": f"data:audio/mpeg;base64,{mp3}"}


class TestServerSideTools:
    def test_code_is_beside_the_text(self):
        code = {"executableCode": {"language": "PYTHON", "code": "print(6*7)"}}
        result = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "42\n"}}
        events, _ = read(response(code), response(result), response(text("It is 42."), **STOP))
        assert events[:2] == [
            {"type": "progress", "progress": {"label": "running Python code", "code": "print(6*7)"}},
            {"type": "progress", "progress": {"label": "reading what the code printed", "output": "42\n"}},
        ]
        assert events[2:] == [content("It is 42."), FINISH]

    def test_a_search_is_progress(self):
        call = {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "args": {"queries": ["x"]}, "id": "1"}}
        events, _ = read(response(call), response(text("Hi"), **STOP))
        assert events[0] == {"type": "progress", "progress": {"label": "searching the web"}}


SOURCES = {
    "a page": (
        {"groundingMetadata": {"groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}]}},
        ("https://a", "A", ""),
    ),
    "a place": (
        {"groundingMetadata": {"groundingChunks": [{"maps": {"uri": "https://m", "title": "M", "placeId": "p"}}]}},
        ("https://m", "M", ""),
    ),
    "a picture": (
        {"groundingMetadata": {"groundingChunks": [{"image": {"sourceUri": "https://i", "title": "I"}}]}},
        ("https://i", "I", ""),
    ),
    "a document": (
        {"groundingMetadata": {"groundingChunks": [{"retrievedContext": {"title": "a.pdf", "text": "words"}}]}},
        ("", "a.pdf", "words"),
    ),
    "a document with an address": (
        {"groundingMetadata": {"groundingChunks": [{"retrievedContext": {"uri": "gs://b/a.pdf", "title": "a.pdf"}}]}},
        ("gs://b/a.pdf", "a.pdf", ""),
    ),
    "a page that was read": (
        {
            "urlContextMetadata": {
                "urlMetadata": [{"retrievedUrl": "https://r", "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_SUCCESS"}]
            }
        },
        ("https://r", "", ""),
    ),
    "a citation": (
        {"citationMetadata": {"citationSources": [{"uri": "https://c", "license": ""}]}},
        ("https://c", "", ""),
    ),
    "a citation of Vertex": (
        {"citationMetadata": {"citations": [{"uri": "https://v", "title": "V"}]}},
        ("https://v", "V", ""),
    ),
}


class TestSources:
    @pytest.mark.parametrize(("candidate", "source"), SOURCES.values(), ids=SOURCES)
    def test_each_kind(self, candidate, source):
        events, _ = read(response(text("Hi")), response(text("!"), **STOP, **candidate))
        answer = Answer()
        for event in events:
            answer.add(RawResponse(**event))
        assert [(one.url, one.title, one.text) for one in answer.sources] == [source]

    def test_documents_without_an_address_are_all_listed(self):
        chunks = [{"retrievedContext": {"title": "a.pdf", "text": words}} for words in ("one", "two", "one")]
        events, _ = read(response(text("Hi"), **STOP, groundingMetadata={"groundingChunks": chunks}))
        answer = Answer()
        for event in events:
            answer.add(RawResponse(**event))
        assert [one.text for one in answer.sources] == ["one", "two"]
        again = Answer.of({"role": "assistant", "content": "Hi"})
        again._sources.add(answer.metadata()["sources"])
        assert again.sources == answer.sources

    def test_a_page_that_could_not_be_read_is_not_one(self):
        page = {"retrievedUrl": "https://r", "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_ERROR"}
        events, _ = read(response(text("Hi"), **STOP, urlContextMetadata={"urlMetadata": [page]}))
        assert "sources" not in kinds(events)


class TestUsage:
    def test_the_last_counts_are_valid(self):
        """They are those of the answer so far; a count that is missing in the last ones is 0."""
        first = response(text("a")) | {"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 21}}
        last = response(text("b"), **STOP) | {"usageMetadata": {"promptTokenCount": 87, "thoughtsTokenCount": 78}}
        answer = Answer()
        for event in read(first, last)[0]:
            answer.add(RawResponse(**event))
        assert (answer.input_tokens, answer.output_tokens) == (87, 78)

    def test_they_are_told_while_the_answer_streams(self):
        reader = GeminiReader("https://host/v1beta")
        counts = []
        for number in range(1, 5):
            usage = {"promptTokenCount": 5, "candidatesTokenCount": number}
            body = json.dumps(response(text("a")) | {"usageMetadata": usage}).encode()
            events = reader.feed(b"data: %s\r\n\r\n" % body) or []
            counts += [event.usage["candidatesTokenCount"] for event in events if event.type == "usage"]
        assert counts == [1, 2, 3, 4]


ENDINGS = {
    **dict.fromkeys(("STOP",), True),
    **dict.fromkeys(
        (
            *("MAX_TOKENS", "SAFETY", "RECITATION", "LANGUAGE", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII"),
            *("MALFORMED_FUNCTION_CALL", "IMAGE_SAFETY", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"),
            *("IMAGE_PROHIBITED_CONTENT", "NO_IMAGE", "MODEL_ARMOR", "MISSING_THOUGHT_SIGNATURE"),
        ),
        False,
    ),
}


class TestEnding:
    @pytest.mark.parametrize(("reason", "complete"), ENDINGS.items(), ids=ENDINGS)
    def test_an_answer_is_complete_only_with_stop(self, reason, complete):
        events, failure = read(response(text("Hi")), response(finishReason=reason))
        answer = Answer()
        for event in events:
            answer.add(RawResponse(**event))
        answer.end(failed=failure is not None)
        assert (failure, answer.text, answer.finish_reason, answer.complete) == (None, "Hi", reason, complete)

    def test_an_answer_without_a_reason_is_not_complete(self):
        events, failure = read(response(text("Hi")), response(text("!"), finishReason="FINISH_REASON_UNSPECIFIED"))
        assert (events, failure) == ([content("Hi"), content("!")], None)

    @pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "OTHER", "NO_IMAGE"])
    def test_an_empty_answer_with_such_a_reason_is_a_failure(self, reason):
        _, failure = read(response(finishReason=reason, finishMessage="Malformed function call: f("))
        assert str(failure) == f"Malformed function call: f( ({reason}): ask again"

    def test_an_empty_answer_that_a_filter_stopped_is_no_failure(self):
        events, failure = read(response(finishReason="SAFETY"))
        assert (events, failure) == ([{"type": "finish", "finish": {"reason": "SAFETY"}}], None)

    def test_a_blocked_prompt_is_a_failure(self):
        blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 4}}
        _, failure = read(blocked)
        assert isinstance(failure, ServerError)
        assert failure.code == "PROHIBITED_CONTENT"
        assert str(failure) == (
            "The service blocked the prompt (PROHIBITED_CONTENT): change it, or what is attached to it"
        )

    def test_ratings_of_a_prompt_are_no_failure(self):
        rated = response(text("Hi"), **STOP) | {"promptFeedback": {"safetyRatings": []}}
        assert read(rated) == ([content("Hi"), FINISH], None)

    def test_nothing_at_all_is_a_failure(self):
        _, failure = read({"usageMetadata": {"promptTokenCount": 4}, "modelVersion": "m"})
        assert isinstance(failure, ProtocolError)


QUOTA = {"code": 429, "message": "Quota exceeded.", "status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "34s"}]}
OVERLOAD = {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}
KEY = {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT"}


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "kind"), [(QUOTA, RateLimitError), (OVERLOAD, ServerError), (KEY, AuthError)], ids=str
    )
    @pytest.mark.parametrize("shape", ["an object", "a list"])
    def test_an_error_inside_the_stream(self, error, kind, shape):
        told = {"error": error}
        _, failure = read(response(text("Hi")), told if shape == "an object" else [told])
        assert isinstance(failure, kind)
        assert failure.partial == "Hi"

    def test_an_array_over_many_lines_that_is_an_error(self):
        reader = GeminiReader("https://host/v1beta")
        reader.feed(json.dumps([{"error": QUOTA}], indent=2).encode())
        reader.end(whole=True)
        failure = reader.error(None)
        assert isinstance(failure, RateLimitError)
        assert failure.retry_after == 34

    def test_a_finish_reason_whose_line_end_is_missing_ends_the_answer(self):
        reader = GeminiReader("https://host/v1beta")
        reader.feed(b"data: %s\r\n\r\n" % json.dumps(response(text("Hi"))).encode())
        assert reader.endings == 0
        reader.feed(b"data: %s" % json.dumps(response(text("!"), **STOP)).encode())
        assert reader.endings == 1


KEYS = (
    *(
        "partialArgs",
        "willContinue",
        "jsonPath",
        "stringValue",
        "candidates",
        "content",
        "parts",
        "text",
        "thought",
        "thoughtSignature",
        "functionCall",
        "name",
        "args",
        "id",
    ),
    *("inlineData", "mimeType", "data", "fileData", "fileUri", "executableCode", "code", "language", "toolCall"),
    *("codeExecutionResult", "outcome", "finishReason", "finishMessage", "index", "groundingMetadata", "web", "uri"),
    *("groundingChunks", "retrievedContext", "urlContextMetadata", "urlMetadata", "retrievedUrl", "citationMetadata"),
    *("usageMetadata", "promptTokenCount", "modelVersion", "responseId", "promptFeedback", "blockReason", "error"),
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=3)
    | st.sampled_from(["STOP", "audio/L16", "image/png"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
PARTS = st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3), max_size=3)
RESPONSES = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4) | st.builds(
    lambda parts, more: response(*parts) | more, PARTS, st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=2)
)


@given(st.lists(RESPONSES, max_size=4))
def test_no_response_breaks_the_reader(responses):
    """Whatever a server sends becomes events that an answer can take, or a failure of ours."""
    events, failure = read(*responses)
    answer = Answer()
    for event in events:
        answer.add(RawResponse(**event))
    answer.end()
    assert failure is None or isinstance(failure, BackendError)
    assert isinstance(answer.summary, str)
    assert isinstance(answer.tool_calls + answer.sources, list)
