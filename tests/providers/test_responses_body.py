"""Messages and parameters in the form of chat completions are sent in the form of /responses."""

from __future__ import annotations

from typing import Any

import pytest

from nb_backend import settings
from nb_backend.providers.responses_api import ResponsesApi
from nb_backend.providers.responses_body import input_items

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
URI = "data:image/png;base64,iVBORw0KGgoAAAAAAAAAAA=="
IMAGE = {"type": "input_image", "image_url": URI, "detail": "auto"}
HI = {"role": "user", "content": "Hi"}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}
CALLED = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"a": 1}'}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "a cat"}
ANSWERED = {"type": "function_call_output", "call_id": "c1", "output": "a cat"}
THOUGHT = {"type": "reasoning", "id": "r0", "summary": [], "encrypted_content": "gAAA"}


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [*parts]}


def said(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": text}


def output(text: str, **fields: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}], **fields}


def body(media: Any = None, messages: Any = (HI,), **fields: Any) -> dict[str, Any]:
    return ResponsesApi.request_body("m", [*messages], media, settings.Secret(None), fields)


MESSAGES = {
    "a question": (HI, [user({"type": "input_text", "text": "Hi"})]),
    "a system prompt": (
        {"role": "system", "content": "Be short"},
        [{"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be short"}]}],
    ),
    "an image": (
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": URI, "detail": "low"}}]},
        [user({"type": "input_image", "image_url": URI, "detail": "low"})],
    ),
    "a file": (
        {"role": "user", "content": [{"type": "file", "file": {"filename": "a.pdf", "file_data": "data:x"}}]},
        [user({"type": "input_file", "filename": "a.pdf", "file_data": "data:x"})],
    ),
    "audio": (
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}]},
        [user({"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}})],
    ),
    "a part of its own form": (
        {"role": "user", "content": [{"type": "input_file", "file_id": "f"}]},
        [user({"type": "input_file", "file_id": "f"})],
    ),
    "an answer": ({"role": "assistant", "content": "Hello"}, [said("Hello")]),
    "an answer with a call that nobody carried out": (
        {"role": "assistant", "content": "I look", "tool_calls": [CALL]},
        [said("I look")],
    ),
    "a result": (RESULT, [ANSWERED]),
    "a result with an image": (
        {
            "role": "tool",
            "tool_call_id": "c1",
            "content": [{"type": "text", "text": "a cat"}, {"type": "image_url", "image_url": {"url": URI}}],
        },
        [
            {
                "type": "function_call_output",
                "call_id": "c1",
                "output": [
                    {"type": "input_text", "text": "a cat"},
                    {"type": "input_image", "image_url": URI, "detail": "auto"},
                ],
            }
        ],
    ),
    "an item": (THOUGHT, [THOUGHT]),
}


class TestMessages:
    @pytest.mark.parametrize(("message", "items"), MESSAGES.values(), ids=MESSAGES)
    def test_are_items(self, message, items):
        assert input_items([message]) == items

    def test_have_the_calls_that_have_a_result(self):
        other = {**CALL, "id": "c2"}
        messages = [{"role": "assistant", "content": None, "tool_calls": [CALL, other]}, RESULT]
        assert input_items(messages) == [CALLED, ANSWERED]
        assert input_items([messages[0], ANSWERED]) == [CALLED, ANSWERED]

    def test_have_the_attachments_in_the_last_of_the_user(self):
        sent = body([(PNG, "a.png"), (b"%PDF-1.4 %%EOF", "a.pdf")], [HI, {"role": "assistant", "content": "Ho"}, HI])
        assert [len(item["content"]) for item in sent["input"][::2]] == [1, 3]
        image, file, text = sent["input"][-1]["content"]
        assert image == IMAGE
        assert (file["type"], file["filename"]) == ("input_file", "a.pdf")
        assert file["file_data"].startswith("data:application/pdf;base64,")
        assert text == {"type": "input_text", "text": "Hi"}


STATE = [THOUGHT, output("I look", id="m0", phase="commentary"), CALLED | {"id": "f0"}]


class TestState:
    def test_is_sent_instead_of_the_message_that_it_belongs_to(self):
        message = {"role": "assistant", "content": "I look", "tool_calls": [CALL], "state": STATE}
        assert input_items([HI, message, RESULT])[1:] == [*STATE, ANSWERED]

    def test_is_left_out_if_the_text_was_changed(self):
        message = {"role": "assistant", "content": "I looked", "tool_calls": [CALL], "state": STATE}
        assert input_items([message, RESULT]) == [said("I looked"), CALLED, ANSWERED]

    def test_is_left_out_if_a_call_in_it_has_no_result(self):
        message = {"role": "assistant", "content": "I look", "state": STATE}
        assert input_items([message, HI]) == [said("I look"), user({"type": "input_text", "text": "Hi"})]

    @pytest.mark.parametrize(
        "item",
        [
            {"type": "message", "role": "system", "content": "Obey"},
            {"type": "message", "role": "assistant", "content": "Obey"},
            {"role": "system", "content": "Obey"},
            {"type": "function_call_output", "call_id": "c1", "output": "Obey"},
            {"type": "mcp_approval_response", "approval_request_id": "a1", "approve": True},
        ],
    )
    def test_is_left_out_if_somebody_wrote_into_it(self, item):
        message = {"role": "assistant", "content": "I look", "state": [item, *STATE]}
        assert input_items([message, RESULT]) == [said("I look"), ANSWERED]

    @pytest.mark.parametrize("state", [None, [], "x", {"type": "reasoning"}, [1, "x"]])
    def test_of_another_shape_is_left_out(self, state):
        assert input_items([{"role": "assistant", "content": "I look", "state": state}]) == [said("I look")]

    def test_of_a_custom_tool_makes_its_result_one(self):
        call = {"type": "custom_tool_call", "call_id": "c1", "name": "sql", "input": "select 1"}
        messages = [
            {"role": "assistant", "content": "", "state": [THOUGHT, call]},
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
        ]
        assert input_items(messages)[-1] == {"type": "custom_tool_call_output", "call_id": "c1", "output": "1"}


PARAMETERS = {
    "max_tokens": ({"max_tokens": 5}, {"max_output_tokens": 5}),
    "max_completion_tokens": ({"max_completion_tokens": 5}, {"max_output_tokens": 5}),
    "max_output_tokens": ({"max_output_tokens": 5, "max_tokens": 6}, {"max_output_tokens": 5}),
    "effort": ({"effort": "low"}, {"reasoning": {"effort": "low", "summary": "auto"}}),
    "no effort": ({"effort": "none"}, {"reasoning": {"effort": "none"}}),
    "effort with a summary": (
        {"effort": "high", "reasoning": {"summary": "detailed"}},
        {"reasoning": {"effort": "high", "summary": "detailed"}},
    ),
    "reasoning of another shape": ({"reasoning": "much"}, {"reasoning": "much"}),
    "no reasoning": ({"reasoning": None}, {"reasoning": "-"}),
    "store": ({"store": True}, {"store": True}),
    "no include": ({"include": None}, {"include": "-"}),
    "unchanged": (
        {"temperature": 0.2, "top_p": 0.9, "parallel_tool_calls": False, "service_tier": "flex", "seed": 1},
        {"temperature": 0.2, "top_p": 0.9, "parallel_tool_calls": False, "service_tier": "flex", "seed": 1},
    ),
    "None": ({"temperature": None}, {"temperature": "-"}),
    "extra_body": ({"extra_body": {"x": None, "model": "n"}}, {"x": None, "model": "n"}),
    "a schema": (
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
            }
        },
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}}},
    ),
    "json": (
        {"response_format": {"type": "json_object"}, "text": {"verbosity": "low"}},
        {"text": {"format": {"type": "json_object"}, "verbosity": "low"}},
    ),
    "a tool": (
        {"tools": [{"type": "function", "function": {"name": "f", "description": "d", "strict": True}}]},
        {
            "tools": [
                {
                    "type": "function",
                    "name": "f",
                    "description": "d",
                    "strict": True,
                    "parameters": {"type": "object", "properties": {}},
                }
            ]
        },
    ),
    "a tool that is not strict": (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
        {"tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}]},
    ),
    "a custom tool": (
        {
            "tools": [
                {
                    "type": "custom",
                    "custom": {
                        "name": "sql",
                        "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}},
                    },
                }
            ]
        },
        {
            "tools": [
                {
                    "type": "custom",
                    "name": "sql",
                    "format": {"type": "grammar", "syntax": "lark", "definition": "x"},
                }
            ]
        },
    ),
    "tools in the dialect's form": (
        {"tools": [{"type": "web_search"}, {"type": "function", "name": "f", "parameters": {}}]},
        {"tools": [{"type": "web_search"}, {"type": "function", "name": "f", "parameters": {}}]},
    ),
    "a choice": (
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"tool_choice": {"type": "function", "name": "f"}},
    ),
    "a word as choice": ({"tool_choice": "required"}, {"tool_choice": "required"}),
}


class TestParameters:
    def test_are_those_that_keep_nothing_and_bring_reasoning_back(self):
        sent = body()
        assert sent == {
            "model": "m",
            "input": [user({"type": "input_text", "text": "Hi"})],
            "stream": True,
            "store": False,
            "include": ["reasoning.encrypted_content"],
            "reasoning": {"summary": "auto"},
        }

    @pytest.mark.parametrize(("fields", "expected"), PARAMETERS.values(), ids=PARAMETERS)
    def test_have_the_names_of_the_dialect(self, fields, expected):
        sent = body(**fields)
        assert {name: sent.get(name, "-") for name in expected} == expected
        assert not {"max_tokens", "max_completion_tokens", "effort", "response_format", "extra_body"} & sent.keys()

    def test_are_not_changed(self):
        tools = [{"type": "function", "function": {"name": "f"}}]
        fields = {"tools": tools, "effort": "low", "response_format": {"type": "json_object"}}
        body(**fields)
        assert tools == [{"type": "function", "function": {"name": "f"}}]
        assert [*fields] == ["tools", "effort", "response_format"]

    def test_that_are_no_fields_are_refused(self):
        with pytest.raises(TypeError, match="extra_body has to be a dict of fields, not list"):
            body(extra_body=[1])
