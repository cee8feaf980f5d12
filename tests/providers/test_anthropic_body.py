"""Messages, attachments and marks for the cache in the form of Anthropic's API."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_serving import PNG, uri

from nb_backend import settings
from nb_backend.providers.anthropic_api import AnthropicApi
from nb_backend.providers.anthropic_body import turns

PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": uri(PNG).partition(",")[2]}}
ROME = '{"city": "Rome"}'


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def call(id_: str, name: str = "weather", arguments: str = ROME) -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(id_: str, content: Any = "sunny") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": content}


def use(id_: str, name: str = "weather") -> dict[str, Any]:
    return {"type": "tool_use", "id": id_, "name": name, "input": {"city": "Rome"}}


def body(*messages: dict[str, Any], media: Any = None, **fields: Any) -> dict[str, Any]:
    return AnthropicApi.request_body("claude-sonnet-4-5", [*messages], media, settings.Secret(), fields)


def data_uri(media_type: str, content: bytes | str) -> str:
    data = content.encode() if isinstance(content, str) else content
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def test_the_simplest_request():
    assert body(user("Hi")) == {
        "model": "claude-sonnet-4-5",
        "messages": [{"role": "user", "content": [text("Hi")]}],
        "max_tokens": 64_000,
        "stream": True,
    }


def test_instructions_at_the_start_are_the_system_prompt():
    start = [{"role": "system", "content": "Be brief."}, {"role": "developer", "content": [text("Be kind.")]}]
    made = body(*start, user("Hi"))
    assert made["system"] == "Be brief.\n\nBe kind."
    assert made["messages"] == [{"role": "user", "content": [text("Hi")]}]
    assert "system" not in body(user("Hi"))


def test_instructions_in_the_middle_stay_there_as_text_of_the_user():
    made = turns([user("Hi"), assistant("Ho"), {"role": "system", "content": "Now in French."}, user("Again")])
    assert made == [user([text("Hi")]), assistant([text("Ho")]), user([text("Now in French."), text("Again")])]


def test_messages_of_one_role_are_merged_and_empty_ones_are_left_out():
    made = turns([user("a"), user("b"), assistant(""), assistant("c"), assistant("d"), user("  "), user([text("")])])
    assert made == [user([text("a"), text("b")]), assistant([text("c"), text("d")])]


def test_results_of_tools_come_first_in_the_turn_of_the_user():
    asked = assistant("Let me look.", tool_calls=[call("a"), call("b")])
    made = turns([user("Weather?"), asked, result("a"), result("b", [text("rainy"), *_image_part()]), user("Well?")])
    assert made[1] == assistant([text("Let me look."), use("a"), use("b")])
    assert made[2] == user(
        [
            {"type": "tool_result", "tool_use_id": "a", "content": "sunny"},
            {"type": "tool_result", "tool_use_id": "b", "content": [text("rainy"), PICTURE]},
            text("Well?"),
        ]
    )


def _image_part() -> list[dict[str, Any]]:
    return [{"type": "image_url", "image_url": {"url": uri(PNG)}}]


@pytest.mark.parametrize("arguments", ["", "null", "{broken", "[1]"])
def test_damaged_arguments_of_a_call_become_an_empty_object(arguments):
    made = turns([user("?"), assistant("", tool_calls=[call("a", arguments=arguments)]), result("a")])
    assert made[1]["content"][0]["input"] == {}


def test_a_call_without_a_result_and_a_result_without_a_call_are_not_sent_as_such():
    made = turns([user("?"), assistant("Let me look.", tool_calls=[call("a")]), user("Never mind"), result("z")])
    assert made == [user([text("?")]), assistant([text("Let me look.")]), user([text("Never mind"), text("sunny")])]


def test_ids_of_other_services_are_made_to_fit():
    asked = assistant("", tool_calls=[call("call.1|fc:2"), call("")])
    made = turns([user("?"), asked, result("call.1|fc:2"), {"role": "tool", "content": "rainy"}])
    ids = [block["id"] for block in made[1]["content"]]
    assert ids == ["call_1_fc_2", "call_1_1"]
    assert [block["tool_use_id"] for block in made[2]["content"]] == ids


def test_ids_that_are_used_again_are_made_different_and_a_second_result_is_a_text():
    asked = assistant("", tool_calls=[call("a")])
    made = turns([user("?"), asked, result("a"), result("a", "rainy"), asked, result("a")])
    assert [turn["content"] for turn in made[1:]] == [
        [use("a")],
        [{"type": "tool_result", "tool_use_id": "a", "content": "sunny"}, text("rainy")],
        [use("a_4")],
        [{"type": "tool_result", "tool_use_id": "a_4", "content": "sunny"}],
    ]


# --- what only the service can make


SEARCHED = [
    {"type": "thinking", "thinking": "Hm", "signature": "s"},
    {"type": "redacted_thinking", "data": "x"},
    {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {"query": "news"}},
    {"type": "web_search_tool_result", "tool_use_id": "srv", "content": [{"encrypted_content": "y"}]},
    text("The news"),
    text(" are good."),
]


def test_the_blocks_of_the_service_are_sent_back_unchanged():
    before = json.dumps(SEARCHED)
    made = turns([user("News?"), assistant("The news are good.", state=SEARCHED), user("More")])
    assert made[1] == assistant(SEARCHED)
    assert json.dumps(SEARCHED) == before


HIDDEN = {"type": "image", "source": {"type": "url", "url": "https://stranger.example/x.png"}}


@pytest.mark.parametrize("state", [None, [], "x", [7, {"type": 7}, {"type": "text", "text": 7}], [text("A"), HIDDEN]])
def test_a_damaged_state_is_left_out(state):
    assert turns([user("?"), assistant("A", state=state)])[1] == assistant([text("A")])


def test_an_answer_that_was_edited_is_sent_without_the_blocks_of_the_service():
    assert turns([user("?"), assistant("The news are bad.", state=SEARCHED)])[1] == assistant(
        [text("The news are bad.")]
    )


def test_reasoning_goes_back_before_the_call_that_it_led_to():
    state = [SEARCHED[0], text("Let me look."), use("a")]
    asked = assistant("Let me look.", tool_calls=[call("a"), call("b")], state=state)
    made = turns([user("?"), asked, result("a"), result("b")])
    assert made[1] == assistant([*state, use("b")])
    assert turns([user("?"), asked, user("Never mind")])[1] == assistant(state[:2])


def test_a_call_of_a_servers_tool_without_a_result_is_left_out():
    state = [*SEARCHED, {"type": "server_tool_use", "id": "other", "name": "web_search", "input": {}}]
    assert turns([user("?"), assistant("The news are good.", state=state)])[1] == assistant(SEARCHED)
    alone = [SEARCHED[0], use("a")]
    assert turns([user("?"), assistant("", state=alone), user("So?")]) == [user([text("?"), text("So?")])]


# --- attachments


ATTACHMENTS = {
    "image": (uri(PNG), "a.png", PICTURE),
    "address": ("https://host/a.png", "a", {"type": "image", "source": {"type": "url", "url": "https://host/a.png"}}),
    "address of a PDF": (
        *("https://host/a.pdf", "a.pdf"),
        {"type": "document", "source": {"type": "url", "url": "https://host/a.pdf"}},
    ),
    "PDF": (
        data_uri("application/pdf", b"%PDF-1.4 \xff %%EOF"),
        "report.pdf",
        {
            "type": "document",
            "source": {
                "type": "base64",
                "media_type": "application/pdf",
                "data": base64.b64encode(b"%PDF-1.4 \xff %%EOF").decode(),
            },
            "title": "report.pdf",
        },
    ),
    "text": (
        data_uri("text/csv", "a,b\n1,ü\n"),
        "table.csv",
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "a,b\n1,ü\n"},
            "title": "table.csv",
        },
    ),
}


@pytest.mark.parametrize(("address", "name", "block"), ATTACHMENTS.values(), ids=ATTACHMENTS)
def test_an_attachment_takes_the_form_of_the_api(address, name, block):
    is_image = not address.startswith("data:") or address.startswith("data:image")
    file = {"type": "file", "file": {"filename": name, "file_data": address}}
    image = {"type": "image_url", "image_url": {"url": address}}
    assert turns([user([image if is_image else file, text("What is it?")])]) == [user([block, text("What is it?")])]


def test_attachments_of_the_call_are_blocks_of_the_last_user_message():
    made = body(user("a"), assistant("b"), user("What is it?"), media=[(PNG, "a.png")])
    assert made["messages"][-1] == user([PICTURE, text("What is it?")])


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}}, "takes no audio: attach its text"),
        (
            {"type": "file", "file": {"filename": "a.mp4", "file_data": data_uri("video/mp4", b"\0\0")}},
            r"a\.mp4 \(video/mp4\) cannot be sent to Anthropic's API: attach it as PDF, text, PNG",
        ),
        (
            {"type": "file", "file": {"filename": "a.docx", "file_data": data_uri("application/x-docx", b"PK\xff\0")}},
            r"a\.docx \(application/x-docx\) cannot be sent",
        ),
    ],
    ids=["audio", "video", "binary document"],
)
def test_what_the_api_does_not_take_is_refused_in_one_line(part, message):
    with pytest.raises(ValueError, match=message) as raised:
        body(user([part, text("?")]))
    assert "\n" not in str(raised.value)


def test_blocks_in_the_form_of_the_api_pass_unchanged():
    blocks = [{"type": "search_result", "source": "https://a", "title": "A", "content": [text("a")]}, text("?")]
    assert turns([user(blocks)]) == [user(blocks)]


# --- the cache of the service

LONG = "word " * 1000
MARK = {"cache_control": {"type": "ephemeral"}}


def marks(made: dict[str, Any]) -> list[Any]:
    """Return where a body has marks: in the system prompt, and (turn, block) from 0."""
    system = made.get("system")
    found: list[Any] = ["system"] if isinstance(system, list) and "cache_control" in system[-1] else []
    places = [(at, i) for at, turn in enumerate(made["messages"]) for i in range(len(turn["content"]))]
    return found + [(at, i) for at, i in places if "cache_control" in made["messages"][at]["content"][i]]


def test_a_long_system_prompt_is_marked():
    made = body({"role": "system", "content": LONG}, user("Hi"))
    assert made["system"] == [{"type": "text", "text": LONG, **MARK}]
    assert marks(made) == ["system"]


def test_a_long_history_is_marked_where_it_ends_and_short_ones_are_not():
    assert marks(body(user("a"), assistant("b"), user("c"))) == []
    assert marks(body(user(LONG), assistant("b"), user("c"))) == [(1, 0)]
    assert marks(body({"role": "system", "content": LONG}, user("a"), assistant("b"), user("c"))) == ["system", (1, 0)]


def test_long_descriptions_of_tools_are_marked_once():
    tools = [{"function": {"name": name, "description": LONG}} for name in "ab"]
    made = body(user("Hi"), tools=tools)
    assert ["cache_control" in tool for tool in made["tools"]] == [False, True]
    made = body({"role": "system", "content": LONG}, user("Hi"), tools=tools)
    assert marks(made) == ["system"]
    assert not any("cache_control" in tool for tool in made["tools"])
    assert "cache_control" not in body(user("Hi"), tools=[{"function": {"name": "a"}}])["tools"][0]


def test_marks_of_the_user_are_the_only_ones():
    own = user([{**text(LONG), **MARK}])
    assert marks(body(own, assistant("b"), user("c"))) == [(0, 0)]


def test_an_earlier_attachment_is_marked():
    seen = user([*_image_part(), text("What is it?")])
    assert marks(body(seen, assistant("b"), user("c"), assistant("d"), user("e"))) == [(0, 1), (3, 0)]
    assert marks(body(user(LONG), assistant("a"), seen)) == [(1, 0)], "the new one changes with each request"


def test_signed_reasoning_is_never_marked():
    state = [text("A"), {"type": "thinking", "thinking": "Hm", "signature": "s"}]
    assert marks(body(user(LONG), assistant("A", state=state), user("c"))) == [(1, 0)]


MESSAGES = st.lists(
    st.builds(
        dict,
        role=st.sampled_from(["system", "developer", "user", "assistant", "tool"]),
        content=st.one_of(
            st.sampled_from(["", " ", "a", LONG]), st.lists(st.sampled_from([text("a"), text(""), *_image_part()]))
        ),
        tool_call_id=st.sampled_from(["a", "b", "", "c.d"]),
        tool_calls=st.lists(st.sampled_from([call("a"), call("b"), call(""), call("c.d")])),
    ),
    max_size=12,
)


@given(MESSAGES)
def test_every_chat_becomes_what_the_api_accepts(messages):
    made = body(*messages)
    roles = [turn["role"] for turn in made["messages"]]
    assert all(one != other for one, other in pairwise(roles))
    assert len(marks(made)) <= 4
    open_calls: list[str] = []
    seen: set[str] = set()
    for at, turn in enumerate(made["messages"]):
        kinds = [block["type"] for block in turn["content"]]
        assert kinds
        assert all(block["text"].strip() for block in turn["content"] if block["type"] == "text")
        results = [block["tool_use_id"] for block in turn["content"] if block["type"] == "tool_result"]
        assert kinds[: len(results)] == ["tool_result"] * len(results)
        assert sorted(results) == sorted(open_calls)
        open_calls = [block["id"] for block in turn["content"] if block["type"] == "tool_use"]
        assert not seen.intersection(open_calls)
        seen.update(open_calls)
        assert not any("cache_control" in block for block in turn["content"]) or at < len(made["messages"]) - 1
    assert not open_calls
