"""Every kind of block and event that Anthropic's API may send, in the forms of its reference."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nb_backend import Answer, RawResponse
from nb_backend.providers.anthropic_reader import MessageReader

START = {"type": "message_start", "message": {"model": "m", "content": [], "usage": {"input_tokens": 1}}}


def block(index: int, start: Any, *deltas: Any) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def stop(reason: str = "end_turn", **usage: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 2, **usage}}


def events_of(*events: Any, size: int = 10_000) -> list[RawResponse]:
    """Return the events that a reader makes of a body in pieces of this size."""
    body = b"".join(b"event: %s\ndata: %s\n\n" % (str(e.get("type")).encode(), json.dumps(e).encode()) for e in events)
    reader = MessageReader("http://server.example/v1")
    found = [one for at in range(0, len(body), size) for one in reader.feed(body[at : at + size]) or ()]
    found += reader.end(whole=True)
    assert reader.error(None) is None
    return found


def answer_of(*events: Any) -> tuple[Answer, list[Any]]:
    """Return the answer, and its state."""
    seen = [events_of(START, *events, size=size) for size in (10_000, 7)]
    assert seen[0] == seen[1]
    answer = Answer()
    for event in seen[0]:
        answer.add(event)
    answer.end()
    return answer, [event.state for event in seen[0] if event.type == "state"]


THINKING = [{"type": "thinking_delta", "thinking": "Hm"}, {"type": "signature_delta", "signature": "s"}]


def test_blocks_that_come_whole_at_their_start():
    answer, state = answer_of(
        *block(0, {"type": "thinking", "thinking": "Hm", "signature": "s"}),
        *block(1, {"type": "text", "text": "Hi", "citations": [{"url": "https://a", "title": "A", "cited_text": "a"}]}),
        *block(2, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": "ü"}}),
        stop("tool_use"),
    )
    assert (answer.reasoning, answer.text, answer.complete) == ("Hm", "Hi", True)
    assert [(call.id, call.name, call.arguments) for call in answer.tool_calls] == [("t", "f", {"a": "ü"})]
    assert [(source.url, source.title, source.text) for source in answer.sources] == [("https://a", "A", "a")]
    assert [one["type"] for one in state[0]] == ["thinking", "text", "tool_use"]


def test_texts_after_a_start_that_holds_the_first_of_them():
    answer, _ = answer_of(*block(0, {"type": "text", "text": "H"}, {"type": "text_delta", "text": "i"}), stop())
    assert answer.text == "Hi"
    answer, _ = answer_of(*block(0, {"type": "thinking", "thinking": "a"}, *THINKING), stop())
    assert answer.reasoning == "aHm"


def test_a_tool_without_arguments():
    answer, _ = answer_of(
        *block(0, {"type": "tool_use", "id": "t", "name": "f", "input": {}}, {"type": "input_json_delta"}),
        *block(1, {"type": "tool_use", "id": "u", "name": "g"}, {"type": "input_json_delta", "partial_json": ""}),
        stop("tool_use"),
    )
    assert [(call.name, call.arguments, call.unparsed) for call in answer.tool_calls] == [("f", {}, ""), ("g", {}, "")]


def test_a_tool_whose_arguments_are_cut_off():
    start = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    answer, _ = answer_of(*block(0, start, {"type": "input_json_delta", "partial_json": '{"a": '}), stop("max_tokens"))
    assert [(call.arguments, call.unparsed) for call in answer.tool_calls] == [({}, '{"a": ')]
    assert not answer.complete


def test_reasoning_between_tools_is_in_paragraphs():
    answer, (state,) = answer_of(
        *block(0, {"type": "thinking", "thinking": "", "signature": ""}, *THINKING),
        *block(1, {"type": "thinking", "thinking": "And", "signature": ""}, *THINKING),
        *block(2, {"type": "thinking", "thinking": "", "signature": "omitted"}),
        *block(3, {"type": "text", "text": "Hi"}),
        stop(),
    )
    assert answer.reasoning == "Hm\n\nAndHm"
    assert [one.get("thinking") for one in state] == ["Hm", "AndHm", "", None]


def test_reasoning_without_a_signature_is_not_sent_back():
    unsigned = block(0, {"type": "thinking", "thinking": ""}, THINKING[0])
    said = block(1, {"type": "text", "text": "Hi"})
    assert answer_of(*unsigned, *said, stop())[1] == []
    signed = block(2, {"type": "redacted_thinking", "data": "x"})
    (state,) = answer_of(*unsigned, *said, *signed, stop())[1]
    assert [one["type"] for one in state] == ["text", "redacted_thinking"]


SERVER_BLOCKS = {
    "web search": (
        {"type": "server_tool_use", "id": "a", "name": "web_search", "input": {}},
        {
            "type": "web_search_tool_result",
            "tool_use_id": "a",
            "content": [{"type": "web_search_result", "url": "https://a", "title": "A", "encrypted_content": "x"}],
        },
        "searching the web",
        ["https://a"],
    ),
    "failed search": (
        {"type": "server_tool_use", "id": "a", "name": "web_search", "input": {}},
        {
            "type": "web_search_tool_result",
            "tool_use_id": "a",
            "content": {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"},
        },
        "searching the web",
        [],
    ),
    "web fetch": (
        {"type": "server_tool_use", "id": "a", "name": "web_fetch", "input": {"url": "https://a"}},
        {
            "type": "web_fetch_tool_result",
            "tool_use_id": "a",
            "content": {
                "type": "web_fetch_result",
                "url": "https://a",
                "content": {"type": "document", "title": "A", "source": {"type": "text", "data": "long"}},
            },
        },
        "reading a web page",
        ["https://a"],
    ),
    "code": (
        {"type": "server_tool_use", "id": "a", "name": "bash_code_execution", "input": {}},
        {
            "type": "bash_code_execution_tool_result",
            "tool_use_id": "a",
            "content": {"type": "bash_code_execution_result", "stdout": "https://no.source", "content": []},
        },
        "running code",
        [],
    ),
    "MCP": (
        {"type": "mcp_tool_use", "id": "a", "name": "echo", "server_name": "s", "input": {}},
        {"type": "mcp_tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "https://no.source"}]},
        "calling echo",
        [],
    ),
    "a new tool": (
        {"type": "server_tool_use", "id": "a", "name": "x " * 50, "input": {}},
        {"type": "new_tool_result", "tool_use_id": "a"},
        f"calling {'x ' * 29}x…",
        [],
    ),
}


@pytest.mark.parametrize(("use", "result", "label", "urls"), SERVER_BLOCKS.values(), ids=SERVER_BLOCKS)
def test_a_tool_of_the_server(use, result, label, urls):
    written = {"type": "input_json_delta", "partial_json": '{"query": "ü"}'}
    events = (*block(0, use, written), *block(1, result), *block(2, {"type": "text", "text": "Hi"}), stop())
    answer, (state,) = answer_of(*events)
    assert (answer.text, answer.tool_calls, answer.complete) == ("Hi", [], True)
    assert [source.url for source in answer.sources] == urls
    assert state == [use | {"input": {"query": "ü"}}, result, {"type": "text", "text": "Hi"}]
    assert [event.progress["label"] for event in events_of(*events) if event.type == "progress"] == [label]


CITATIONS = {
    "web": ({"type": "web_search_result_location", "url": "https://a", "title": "A", "encrypted_index": "x"}, "A", "a"),
    "search result": ({"type": "search_result_location", "source": "https://a", "title": "A"}, "A", "a"),
    "search result without an address": ({"type": "search_result_location", "source": "notes", "title": "A"}, None, ""),
    "page of a document": ({"type": "page_location", "document_title": "A", "start_page_number": 1}, None, ""),
}


@pytest.mark.parametrize(("citation", "title", "cited"), CITATIONS.values(), ids=CITATIONS)
def test_a_citation_is_a_source_and_the_text_stays_the_same(citation, title, cited):
    citation = citation | {"cited_text": "a"}
    deltas = [{"type": "citations_delta", "citation": citation}, {"type": "text_delta", "text": "Hi"}]
    answer, _ = answer_of(*block(0, {"type": "text", "text": ""}, *deltas), stop())
    assert answer.text == "Hi"
    assert [(source.title, source.text) for source in answer.sources] == ([(title, cited)] if title else [])


def test_citations_go_back_without_what_requests_may_not_contain():
    citation = {"type": "char_location", "cited_text": "a", "document_index": 0, "file_id": None}
    deltas = [{"type": "text_delta", "text": "Hi"}, {"type": "citations_delta", "citation": citation}]
    _, (state,) = answer_of(
        *block(0, {"type": "redacted_thinking", "data": "x"}),
        *block(1, {"type": "text", "text": "", "citations": []}, *deltas),
        stop(),
    )
    assert state[1]["citations"] == [{name: value for name, value in citation.items() if name != "file_id"}]


def test_the_tokens_of_an_answer_are_not_those_of_its_first_word():
    begun = {"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 3}}}
    answer, _ = answer_of(begun, *block(0, {"type": "text", "text": "Hi"}))
    assert (answer.input_tokens, answer.output_tokens, answer.complete) == (5, None, False)


def test_a_compaction():
    deltas = [
        {"type": "compaction_delta", "content": "Sum"},
        {"type": "compaction_delta", "content": "mary", "encrypted_content": "x"},
        {"type": "compaction_delta", "content": None},
    ]
    spent = {"type": "compaction", "input_tokens": 100, "cache_read_input_tokens": 50, "output_tokens": 10}
    other = {"type": "advisor_message", "input_tokens": 999, "output_tokens": 999}
    answer, (state,) = answer_of(
        *block(0, {"type": "compaction", "content": None}, *deltas),
        *block(1, {"type": "text", "text": "Hi"}),
        stop(input_tokens=5, iterations=[spent, other]),
    )
    assert (answer.text, answer.input_tokens, answer.output_tokens, answer.cached_tokens) == ("Hi", 155, 12, 50)
    assert state[0] == {"type": "compaction", "content": "Summary", "encrypted_content": "x"}


def test_another_model_may_go_on_after_the_first_one_has_declined():
    fallback = {"type": "fallback", "from": {"model": "m"}, "to": {"model": "n"}}
    answer, (state,) = answer_of(*block(0, fallback), *block(1, {"type": "text", "text": "Hi"}), stop())
    assert (answer.text, answer.model, answer.complete) == ("Hi", "n", True)
    assert state[0] == fallback


def test_what_is_unknown_is_ignored():
    answer, (state,) = answer_of(
        {"type": "ping"},
        {"type": "new_event", "content": "No"},
        *block(0, {"type": "new_block", "text": "No"}),
        *block(1, {"type": "other_block"}, {"type": "new_delta", "text": "No"}),
        *block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hi"}, {"type": "new_delta"}),
        *block(3, {"type": "text", "text": " there"}),
        stop(),
        stop("max_tokens"),
        {"type": "message_stop"},
    )
    assert (answer.text, answer.finish_reason, answer.complete) == ("Hi there", "end_turn", True)
    assert state == [{"type": "new_block", "text": "No"}, {"type": "text", "text": " there"}]


def test_what_belongs_to_no_block_of_too_many_is_ignored():
    texts = [{"type": "content_block_start", "index": at, "content_block": {"type": "text"}} for at in range(10_000)]
    late = {"type": "content_block_delta", "index": 10_000, "delta": {"type": "text_delta", "text": "x"}}
    known = {**late, "index": 9_999}
    assert [str(event) for event in events_of(*texts, late, known, size=10**7)] == ["x"]


def test_deltas_whose_block_was_not_announced():
    deltas = [{"type": "thinking_delta", "thinking": "Hm"}], [{"type": "text_delta", "text": "H"}]
    found = [{"type": "content_block_delta", "index": at, "delta": one} for at, (one,) in enumerate(deltas)]
    answer, _ = answer_of(*found, found[1], stop())
    assert (answer.reasoning, answer.text) == ("Hm", "HH")


def test_blocks_whose_deltas_come_by_turns():
    starts = [
        {"type": "content_block_start", "index": at, "content_block": {"type": "text", "text": ""}} for at in (0, 1)
    ]
    deltas = [
        {"type": "content_block_delta", "index": at, "delta": {"type": "text_delta", "text": piece}}
        for at, piece in ((0, "a"), (1, "b"), (0, "c"))
    ]
    signed = block(2, {"type": "redacted_thinking", "data": "x"})
    answer, (state,) = answer_of(*starts, *deltas, *signed, stop())
    assert answer.text == "abc"
    assert [one.get("text") for one in state] == ["ac", "b", None]


def test_a_long_answer_keeps_its_text_for_the_next_request():
    pieces = [f"{at} " for at in range(3000)]
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
    events = events_of(
        *block(0, {"type": "redacted_thinking", "data": "x"}), *block(1, {"type": "text", "text": ""}, *deltas), stop()
    )
    assert "".join(map(str, events)) == "".join(pieces)
    assert events[-2].state[1]["text"] == "".join(pieces)


VALUES = st.recursive(
    st.sampled_from([None, 0, 1, -1, "", "a", "text", "text_delta", "thinking", "tool_use", True]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["type", "index", "delta", "content_block", "message", "usage", "text", "content", "input"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
KINDS = [
    *("message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"),
    "message",
]


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(["index", "delta", "content_block",
    "message", "usage", "content", "model", "stop_reason"]), VALUES, max_size=4)), max_size=8))  # fmt: skip
def test_damaged_events_are_no_failure(events):
    body = b"".join(b"data: %s\n\n" % json.dumps({"type": kind, **fields}).encode() for kind, fields in events)
    reader, answer = MessageReader("http://server.example/v1"), Answer()
    for event in [*(reader.feed(body) or ()), *reader.end(whole=True)]:
        answer.add(event)
    answer.end()
    assert reader.turn() is not None
