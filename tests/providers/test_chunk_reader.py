"""What chunks of OpenAI's dialect may hold, in the forms of the services, is in the answer."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_serving import PNG, uri
from wire_server import WireServer, status

from nb_backend import Answer, Chat
from nb_backend.chat import Source, ToolCall
from nb_backend.providers.chunk_reader import ChunkReader

IMAGE = uri(PNG)
BASE64 = IMAGE.partition(",")[2]
ROME = '{"city": "Rome"}'


def chunk(delta: Any = None, finish: str | None = None, choice: dict | None = None, **more) -> dict:
    made = {"index": 0, "finish_reason": finish, **({} if delta is None else {"delta": delta}), **(choice or {})}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [made], **more}


STOP = chunk({}, "stop")


def answer_of(*chunks: dict, **sizes: int) -> Answer:
    """Return the answer that a reader makes of these chunks."""
    body = b"".join(b"data: %s\n\n" % json.dumps(one).encode() for one in chunks) + b"data: [DONE]\n\n"
    reader, answer = ChunkReader("http://server.example/v1"), Answer()
    size = sizes.get("size", len(body))
    events = [event for at in range(0, len(body), size) for event in reader.feed(body[at : at + size]) or ()]
    for event in [*events, *reader.end(whole=True)]:
        answer.add(event)
    answer.end()
    assert reader.error(None) is None
    return answer


def said(*chunks: dict) -> tuple[str, str]:
    answers = [answer_of(*chunks), answer_of(*chunks, size=7)]
    (found,) = {(answer.text, answer.reasoning) for answer in answers}
    return found


PARTS = {
    "strings": (["a", "b"], "ab", ""),
    "text": ([{"type": "text", "text": "a"}, {"type": "output_text", "text": "b"}], "ab", ""),
    "text with a value": ([{"type": "text", "text": {"value": "a"}}], "a", ""),
    "one part": ({"type": "text", "text": "a"}, "a", ""),
    "refusal": ([{"type": "refusal", "refusal": "No"}], "No", ""),
    "Mistral's thinking": ([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}], "", "Hm"),
    "thinking and text": ([{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "a"}], "a", "Hm"),
    "redacted thinking": ([{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "a"}], "a", ""),
    "Gemini's thought": ([{"text": "Hm", "thought": True}, {"text": "a"}], "a", "Hm"),
    "nested": ([[{"type": "text", "text": "a"}], [["b"]]], "ab", ""),
    "nothing": ([{"type": "odd"}, {}, None, [], {"type": "reference", "reference_ids": [1]}], "", ""),
}


@pytest.mark.parametrize(("content", "text", "reasoning"), PARTS.values(), ids=PARTS)
def test_content_in_parts(content, text, reasoning):
    assert said(chunk({"content": content}), STOP) == (text, reasoning)


REASONING = {
    "reasoning_content": {"reasoning_content": "Hm"},
    "reasoning": {"reasoning": "Hm", "reasoning_content": None},
    "both": {"reasoning": "Hm", "reasoning_content": "Hm"},
    "thinking": {"thinking": "Hm"},
    "an object": {"reasoning": {"content": "Hm"}},
    "parts": {"reasoning_content": [{"type": "text", "text": "H"}, {"type": "text", "text": "m"}]},
    "details": {"reasoning_details": [{"type": "reasoning.text", "text": "Hm", "signature": "x"}]},
    "a summary": {"reasoning": None, "reasoning_details": [{"type": "reasoning.summary", "summary": "Hm"}]},
    "details again": {"reasoning": "Hm", "reasoning_details": [{"type": "reasoning.text", "text": "Hm"}]},
    "thinking blocks": {"reasoning_content": "Hm", "thinking_blocks": [{"type": "thinking", "thinking": "Hm"}]},
    "parts again": {"reasoning_content": "Hm", "content": [{"type": "thinking", "thinking": "Hm"}]},
}


@pytest.mark.parametrize("delta", REASONING.values(), ids=REASONING)
def test_reasoning_once(delta):
    assert said(chunk(delta), chunk({"content": "a"}), STOP) == ("a", "Hm")


def test_encrypted_reasoning_is_not_text():
    encrypted = [{"type": "reasoning.encrypted", "data": "x"}]
    assert said(chunk({"reasoning": None, "reasoning_details": encrypted}), chunk({"content": "a"})) == ("a", "")


def test_details_that_repeat_all_of_the_reasoning_at_the_end_are_not_added():
    details = [{"type": "reasoning.text", "text": "Hmm"}]
    assert said(chunk({"reasoning": "H"}), chunk({"reasoning": "mm"}), chunk({"reasoning_details": details})) == (
        "",
        "Hmm",
    )


@pytest.mark.parametrize("pieces", [["Hm, ", "so", ", ", "so."], ["Hm, ", "Hm, so", "Hm, so, ", "Hm, so, so."]])
def test_details_alone_in_pieces_or_all_so_far(pieces):
    chunks = [chunk({"content": "", "reasoning_details": [{"type": "reasoning.text", "text": one}]}) for one in pieces]
    assert said(*chunks, chunk({"content": "a"}), STOP) == ("a", "Hm, so, so.")


@pytest.mark.parametrize("index", [0, "0", None, 1, "1"])
def test_the_choice_of_the_first_index_is_read(index):
    ours, others = {"index": index}, {"index": 5}
    texts = [chunk({"content": text}, choice=of) for text in "ab" for of in (ours, others)]
    assert said(*texts, chunk({}, "length", others), chunk({}, "stop", ours)) == ("ab", "")


@pytest.mark.parametrize("delta", [None, {}, {"role": "assistant"}, {"role": "assistant", "content": None}])
def test_a_text_beside_a_delta_without_one_is_read(delta):
    assert said(chunk(delta, choice={"text": "a"}), chunk(delta, "stop", {"text": "b"})) == ("ab", "")


def test_an_error_in_a_choice_that_looks_like_the_one_before_is_read():
    reader = ChunkReader("http://server")
    for choice in ({"logprobs": None}, {"error": {"message": "it broke"}}):
        reader.feed(b"data: %s\n\n" % json.dumps(chunk({"content": "a"}, choice=choice)).encode())
    reader.feed(b"data: [DONE]\n\n")
    assert "it broke" in str(reader.error(None))


def test_why_groq_stopped_an_answer_is_read():
    reader = ChunkReader("http://server")
    for more in ({}, {"x_groq": {"id": "r", "error": "over capacity"}}):
        reader.feed(b"data: %s\n\n" % json.dumps(chunk({"content": "a"}, **more)).encode())
    reader.feed(b"data: [DONE]\n\n")
    assert "over capacity" in str(reader.error(None))


def test_a_delta_that_is_a_text():
    assert said(chunk("a"), chunk("b"), STOP) == ("ab", "")


IMAGES = {
    "delta.images": {"images": [{"type": "image_url", "index": 0, "image_url": {"url": IMAGE}}]},
    "an address as text": {"images": [{"type": "image_url", "image_url": IMAGE}]},
    "addresses": {"images": [IMAGE]},
    "an image_url part": {"content": [{"type": "image_url", "image_url": {"url": IMAGE}}]},
    "an image part": {"content": [{"type": "image", "image": IMAGE}]},
    "base64": {"content": [{"type": "image", "image": {"b64_json": BASE64}}]},
    "b64_json": {"content": [{"type": "output_image", "b64_json": BASE64}]},
    "Anthropic's part": {
        "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": BASE64}}]
    },
    "Gemini's part": {"content": [{"inline_data": {"mime_type": "image/png", "data": BASE64}}]},
    "twice": {"images": [IMAGE, {"image_url": {"url": IMAGE}}]},
}


@pytest.mark.parametrize("delta", IMAGES.values(), ids=IMAGES)
def test_images(delta):
    answer = answer_of(chunk({"content": "Here."}), chunk(delta), chunk({}, "stop"))
    assert answer.images == [IMAGE]
    assert answer.images[0].data_uri == IMAGE
    assert answer.text == "Here."
    assert IMAGE in answer.to_markdown()


def test_an_image_that_jpegs_base64_starts_like_a_path():
    jpeg = "/9j/" + "A" * 60
    answer = answer_of(chunk({"images": [jpeg, {"image_url": {"url": "/made/a.png"}}]}))
    assert answer.images == [f"data:image/jpeg;base64,{jpeg}", "/made/a.png"]


def test_a_file_is_not_an_image():
    file = {"type": "file", "file": {"url": "https://e.example/a.pdf"}}
    parts = [file, {"type": "image_url"}, {"type": "image", "image": 7}]
    assert answer_of(chunk({"content": parts}), STOP).images == []


def test_text_of_a_completion_and_of_spoken_audio():
    assert said(chunk(choice={"text": "a"}), chunk(choice={"text": "b"}, finish="stop")) == ("ab", "")
    assert said(chunk({"content": None, "audio": {"id": "x", "transcript": "a"}})) == ("a", "")


def message(content: Any, delta: Any = None, finish: str | None = None, **fields) -> dict:
    return chunk(delta, finish, {"message": {"role": "assistant", "content": content, **fields}})


MESSAGES = {
    "beside the delta": [
        message("Blue", {"role": "assistant", "content": "Blue"}),
        message("Blue sky", {"content": " sky"}),
        message("Blue sky", {}, "stop"),
    ],
    "alone, all so far": [message("Blue"), message("Blue s"), message("Blue sky"), message("Blue sky", finish="stop")],
    "alone, in pieces": [message("Blue"), message(" sky"), message("", finish="stop")],
    "in pieces, beside an empty delta": [message("Blue", {}), message(" ", {}), message("sky", {}, "stop")],
    "at the end": [chunk({"content": "Blue"}), chunk({"content": " sky"}), message("Blue sky", finish="stop")],
    "at the end, trimmed": [chunk({"content": "Blue sky\n"}), message("Blue sky", finish="stop")],
    "at the end, longer": [chunk({"content": "Blue"}), message("Blue sky", {}, finish="stop")],
    "only one": [message("Blue sky", finish="stop")],
    "the same as each delta": [
        *(message(text, {"content": text}) for text in ["Blue", " sky"]),
        message(None, {}, "stop"),
    ],
    "in parts": [message([{"type": "text", "text": "Blue sky"}], finish="stop")],
}


@pytest.mark.parametrize("chunks", MESSAGES.values(), ids=MESSAGES)
def test_what_a_message_repeats_is_there_once(chunks):
    assert said(*chunks)[0].rstrip("\n") == "Blue sky"


def test_a_message_repeats_no_reasoning_image_or_call():
    call = {"index": 0, "id": "a", "function": {"name": "weather", "arguments": ROME}}
    fields = {"reasoning_content": "Hm", "images": [IMAGE], "tool_calls": [call]}
    answer = answer_of(chunk(fields), message("a", {}, "stop", **fields))
    assert (answer.text, answer.reasoning, len(answer.images)) == ("a", "Hm", 1)
    assert answer.tool_calls == [ToolCall("a", "weather", {"city": "Rome"})]


texts = st.text("ab <\n", max_size=20)


@given(texts, st.data())
def test_any_split_with_messages_gives_the_text_once(text, data):
    text = f"x{text}"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(text)))) | {0, len(text)})
    chunks = [
        chunk(
            {"content": text[start:end]}, choice=data.draw(st.sampled_from([{}, {"message": {"content": text[:end]}}]))
        )
        for start, end in pairwise(cuts)
    ]
    assert said(*chunks, message(text, {}, "stop"))[0] == text


USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk({}, "stop", usage=USAGE)],
        [chunk({}, "stop", choice={"usage": USAGE})],
        [chunk({}, "stop", x_groq={"id": "x", "usage": USAGE})],
        [chunk({}, "stop", usage=None, choice={"usage": USAGE})],
        [chunk({}, "stop", usage={}, x_groq={"usage": USAGE})],
        [{"model": "m", "choices": [], "usage": USAGE}],
        [chunk({}, usage=USAGE), chunk({}, "stop", usage={})],
        [chunk({}, usage=USAGE), chunk({}, "stop", usage=None)],
        [chunk({}, usage=USAGE), chunk({}, "stop", usage=dict.fromkeys(USAGE))],
        [chunk({}, usage=USAGE), chunk({}, "stop", usage=dict.fromkeys(USAGE, 0))],
        [chunk({}, usage=USAGE | {"completion_tokens": 1}), chunk({}, "stop", usage=USAGE)],
        [chunk({"content": "b"}, choice={"usage": USAGE}), STOP],
    ],
)
def test_token_counts_wherever_they_are(chunks):
    answer = answer_of(chunk({"content": "a"}), chunk({"content": "a"}), *chunks)
    assert answer.usage == USAGE
    assert (answer.input_tokens, answer.output_tokens, answer.tokens) == (3, 4, 4)


PAGE = {"url": "https://e.example/a", "title": "A", "content": "Text"}
SOURCES = {
    "annotations": chunk({"annotations": [{"type": "url_citation", "url_citation": {**PAGE, "start_index": 0}}]}),
    "annotations without an object": chunk({"annotations": [{"type": "url_citation", **PAGE}]}),
    "of a part": chunk({"content": [{"type": "text", "text": "a", "annotations": [{"url_citation": PAGE}]}]}),
    "of a message": message("a", annotations=[{"url_citation": PAGE}]),
    "Perplexity": chunk({"content": "a"}, citations=[PAGE["url"]], search_results=[PAGE | {"date": "2025-01-01"}]),
    "in the choice": chunk({"content": "a"}, choice={"citations": [PAGE]}),
    "Groq": chunk({"executed_tools": [{"type": "search", "search_results": {"results": [PAGE | {"score": 0.9}]}}]}),
    "Mistral": chunk({"content": [{"type": "tool_reference", "tool": "web_search", "source": "brave", **PAGE}]}),
    "Zhipu": chunk({}, web_search=[{"link": PAGE["url"], "title": "A", "content": "Text", "icon": ""}]),
    "Volcengine": chunk({}, references=[PAGE | {"site_name": "E"}]),
    "Azure": chunk({"context": {"citations": [PAGE | {"filepath": None}], "intent": "[]"}}),
    "Gemini": chunk({}, choice={"groundingMetadata": {"groundingChunks": [{"web": {"uri": PAGE["url"], **PAGE}}]}}),
    "Open WebUI": {
        "sources": [{"source": {"name": "x"}, "document": ["a"], "metadata": [{"source": PAGE["url"], **PAGE}]}]
    },
    "an address as source": chunk({}, sources=[{"source": PAGE["url"], "title": "A", "text": "Text"}]),
    "Qwen": chunk({}, search_info={"search_results": [{"index": 1, "site_name": "", **PAGE}]}),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_sources(source):
    first = chunk({"content": "a"})
    assert answer_of(first, first, source, source, STOP).sources == [Source(text="Text", url=PAGE["url"], title="A")]


def test_sources_in_the_order_of_first_mention_each_once():
    urls = [f"https://e.example/{name}" for name in "bacab"]
    titles = [{"url": url, "title": url[-1].upper()} for url in sorted({*urls})]
    answer = answer_of(
        chunk({"content": "a"}, citations=urls), chunk({}, citations=[*urls, 7, None, {}, "ftp"], search_results=titles)
    )
    assert [(source.url[-1], source.title) for source in answer.sources] == [("b", "B"), ("a", "A"), ("c", "C")]


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk({"function_call": {"name": "weather", "arguments": ""}}), chunk({"function_call": {"arguments": ROME}})],
        [chunk({"tool_calls": {"name": "weather", "arguments": {"city": "Rome"}}})],
        [message(None, function_call={"name": "weather", "arguments": ROME})],
        [message(None, tool_calls=[{"function": {"name": "weather", "arguments": ROME}}])],
    ],
)
def test_calls_in_other_forms(chunks):
    assert answer_of(*chunks, chunk({}, "tool_calls")).tool_calls == [ToolCall("", "weather", {"city": "Rome"})]


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just("https://e.example"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "text", "content", "thinking", "url", "image_url", "function", "name", "arguments", "id"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
FIELDS = ["content", "reasoning", "reasoning_details", "images", "tool_calls", "function_call", "annotations", "audio"]
FIELDS += ["executed_tools", "refusal", "citations"]


@given(
    st.dictionaries(st.sampled_from(FIELDS), odd, max_size=4),
    st.dictionaries(st.sampled_from(FIELDS), odd, max_size=3),
    odd,
)
def test_no_value_breaks_the_reader(delta, fields, other):
    choice = {"message": fields, "usage": other, "text": other}
    answer = answer_of(
        chunk(delta, choice=choice, citations=other, x_groq=other, usage=other), chunk({"content": "end"})
    )
    assert answer.text.endswith("end")
    assert all(isinstance(call.arguments, dict) for call in answer.tool_calls)
    assert answer.metadata()
    assert answer.to_markdown()


async def test_over_a_socket(wire_server: WireServer):
    chunks = [
        chunk({"role": "assistant", "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]}),
        chunk({"content": "Here."}),
        chunk({"images": [{"type": "image_url", "image_url": {"url": IMAGE}}]}),
        chunk({"annotations": [{"type": "url_citation", "url_citation": PAGE}]}),
        chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "weather", "arguments": ROME}}]}),
        chunk({}, "tool_calls", {"usage": USAGE | {"prompt_tokens_details": {"cached_tokens": 2}}}),
    ]
    body = b"".join(b"data: %s\n\n" % json.dumps(one).encode() for one in chunks)
    wire_server.answer(status("200 OK", body + b"data: [DONE]\n\n"))
    answer = await Chat("m", url=f"{wire_server.url}/v1").ask("Hi?")
    assert (answer.text, answer.reasoning, answer.images) == ("Here.", "Hm", [IMAGE])
    assert answer.sources == [Source("https://e.example/a", "A", "Text")]
    assert answer.tool_calls == [ToolCall("a", "weather", {"city": "Rome"})]
    assert (answer.input_tokens, answer.output_tokens, answer.cached_tokens) == (3, 4, 2)
