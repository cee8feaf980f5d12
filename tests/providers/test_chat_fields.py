"""Neutral keywords become the fields that each service of OpenAI's dialect takes."""

from __future__ import annotations

from typing import get_args

import pytest
from wire_server import WireServer, status

from nb_backend import Chat, OpenAIApi
from nb_backend.providers.chat_fields import chat_fields, effort_fields
from nb_backend.services import SERVICES, Effort
from nb_backend.settings import Secret

EFFORTS = [
    ("reasoning_effort", "m", "none", {"reasoning_effort": "none"}),
    ("reasoning_effort", "m", "high", {"reasoning_effort": "high"}),
    ("reasoning_effort", "openai/gpt-oss-120b", "none", {"reasoning_effort": "low"}),
    ("none or high", "mistral-small-latest", "low", {"reasoning_effort": "high"}),
    ("none or high", "mistral-small-latest", "none", {"reasoning_effort": "none"}),
    ("none or default", "qwen/qwen3-32b", "low", {"reasoning_effort": "default"}),
    ("none or default", "qwen/qwen3-32b", "none", {"reasoning_effort": "none"}),
    ("none or default", "openai/gpt-oss-20b", "medium", {"reasoning_effort": "medium"}),
    ("none or default", "llama", "none", {}),
    ("reasoning", "m", "none", {"reasoning": {"effort": "none"}}),
    ("reasoning", "m", "low", {"reasoning": {"effort": "low"}}),
    ("reasoning.enabled", "m", "none", {"reasoning": {"enabled": False}}),
    ("reasoning.enabled", "m", "low", {"reasoning_effort": "low"}),
    ("thinking", "glm-4.7", "none", {"thinking": {"type": "disabled"}}),
    ("thinking", "glm-4.7", "low", {"thinking": {"type": "enabled"}}),
    ("thinking", "deepseek-v4-pro", "low", {"thinking": {"type": "enabled"}, "reasoning_effort": "low"}),
    ("thinking", "glm-5.3", "medium", {"thinking": {"type": "enabled"}, "reasoning_effort": "high"}),
    ("enable_thinking", "qwen-plus", "none", {"enable_thinking": False}),
    ("enable_thinking", "qwen-plus", "low", {"enable_thinking": True, "thinking_budget": 1024}),
    ("enable_thinking", "qwen-plus", "high", {"enable_thinking": True}),
    ("chat_template_kwargs", "qwen3", "none", {"chat_template_kwargs": {"enable_thinking": False}}),
    (
        "chat_template_kwargs",
        "gpt-oss",
        "low",
        {"chat_template_kwargs": {"enable_thinking": True, "reasoning_effort": "low"}},
    ),
    ("", "m", "low", {}),
]


@pytest.mark.parametrize(("form", "model", "effort", "fields"), EFFORTS)
def test_an_effort_in_the_form_of_a_service(form, model, effort, fields):
    assert chat_fields({"effort": effort}, model, effort_form=form, limit="max_tokens") == fields


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({"max_tokens": 5}, {"max_completion_tokens": 5}),
        ({"max_output_tokens": 5}, {"max_completion_tokens": 5}),
        ({"max_completion_tokens": 5}, {"max_completion_tokens": 5}),
        ({"max_completion_tokens": 5, "max_tokens": 6}, {"max_completion_tokens": 5}),
        ({"max_tokens": None, "effort": None, "seed": 1}, {"seed": 1}),
        ({"effort": "low", "reasoning_effort": "minimal"}, {"reasoning_effort": "minimal"}),
    ],
)
def test_a_limit_of_tokens_and_what_is_given_in_the_form_of_the_service(given, fields):
    assert chat_fields(given, "m", effort_form="reasoning_effort", limit="max_completion_tokens") == fields


def test_an_effort_does_not_reach_a_server_under_that_name(wire_server: WireServer):
    wire_server.answer(status("200 OK", {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}))
    Chat("m", url=f"{wire_server.url}/v1", effort="low", max_output_tokens=9)("a")
    body = wire_server.requests[0].json
    assert (body["reasoning_effort"], body["max_tokens"]) == ("low", 9)
    assert not {"effort", "max_output_tokens"} & body.keys()


USAGE = {"stream_options": {"include_usage": True}}
BODIES = [
    (
        "openai:gpt-5.4",
        {"max_completion_tokens": 9, "reasoning_effort": "low", "stream_options": {"include_usage": True}},
    ),
    ("openrouter:a/b", {"max_tokens": 9, "reasoning": {"effort": "low"}, **USAGE}),
    (
        "groq:qwen/qwen3-32b",
        {"max_completion_tokens": 9, "reasoning_effort": "default", "stream_options": {"include_usage": True}},
    ),
    ("mistral:magistral-medium-latest", {"max_tokens": 9, "reasoning_effort": "high"}),
    (
        "dashscope:qwen-plus",
        {"max_tokens": 9, "enable_thinking": True, "thinking_budget": 1024, "stream_options": {"include_usage": True}},
    ),
]


@pytest.mark.parametrize(("model", "fields"), BODIES)
def test_each_service_gets_the_fields_of_its_row(model, fields):
    chat = Chat(model, api="openai-chat", effort="low", max_tokens=9, api_key="none")
    body = chat.request("a").body()
    assert {name: value for name, value in body.items() if name not in ("model", "messages", "stream")} == fields


def test_every_form_of_a_row_is_known():
    assert {service.effort for service in SERVICES.values()} <= set(get_args(Effort))
    for form in get_args(Effort):
        assert effort_fields("low", "m", form) is not None


def test_a_url_of_a_service_is_asked_as_the_service_is():
    api = type("Api", (OpenAIApi,), {"url": "https://openrouter.ai/api/v1"})
    body = api.request_body("m", [], None, Secret(), {"effort": "none"})
    assert body["reasoning"] == {"effort": "none"}
