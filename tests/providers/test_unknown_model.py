"""A model that the server does not have: the error names the listed ones that were probably meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_server import WireServer, status, stream

from nb_backend import Chat
from nb_backend.errors import BackendError
from nb_backend.providers.unknown_model import closest_models, is_listed

LISTED = [
    *("gpt-4o", "gpt-4o-mini", "gpt-4", "o3", "llama3.2:latest", "llama3.2:1b", "models/gemini-2.0-flash"),
    *("claude-sonnet-5", "claude-opus-4", "claude-3-5-haiku-20241022", "deepseek-ai/DeepSeek-V3", "mistral"),
]
NAMES = [
    *("gpt-4o", "o3", "llama3.2:1b", "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M", "@cf/meta/llama-3-8b"),
    *("anthropic/claude-3.5-sonnet:beta", r"C:\models\x.gguf", "ft:gpt-4o:org::id", "模型-7b", "my model"),
]


class TestListed:
    @pytest.mark.parametrize(
        ("name", "listed"),
        [
            *((name, [name.upper(), "x"]) for name in NAMES),
            ("llama3.2", ["llama3.2:latest"]),
            ("gemini-2.0-flash", ["models/gemini-2.0-flash"]),
            ("models/gemini-2.0-flash", ["gemini-2.0-flash"]),
            ("claude-3-5-sonnet-latest", ["claude-3-5-sonnet-20241022"]),
            ("claude-3-5-sonnet", ["claude-3-5-sonnet-20241022"]),
            ("gpt-4o", ["gpt-4o-2024-08-06"]),
            ("qwen/qwen3-32b:nitro", ["qwen/qwen3-32b"]),
        ],
    )
    def test_a_name_that_the_server_takes_is_listed(self, name, listed):
        assert is_listed(name, listed)

    @pytest.mark.parametrize(
        ("name", "listed"),
        [("in", ["m", "int", "gin"]), ("m", []), ("m", ["x/mm", ""]), (":x", ["x/", ""]), ("llama", ["llama3.2:1b"])],
    )
    def test_a_name_that_it_does_not_take_is_not(self, name, listed):
        assert not is_listed(name, listed)


class TestClosest:
    @pytest.mark.parametrize(
        ("name", "closest"),
        [
            ("gpt4o", ["gpt-4o"]),
            ("GPT 4o", ["gpt-4o"]),
            ("gpt4", ["gpt-4"]),
            ("gpt-4o-mni", ["gpt-4o-mini"]),
            ("gpt-4-o", ["gpt-4o"]),
            ("gpt-40", ["gpt-4o"]),
            ("lama3.2", ["llama3.2:1b", "llama3.2:latest"]),
            ("llama3", ["llama3.2:1b", "llama3.2:latest"]),
            ("sonnet", ["claude-sonnet-5"]),
            ("sonet", ["claude-sonnet-5"]),
            ("haiku", ["claude-3-5-haiku-20241022"]),
            ("gemini2-flash", ["models/gemini-2.0-flash"]),
            ("deepseek-v3", ["deepseek-ai/DeepSeek-V3"]),
            ("mixtral", ["mistral"]),
            ("banana", []),
            ("", []),
            ("?", []),
        ],
    )
    def test_what_a_typo_was_meant_for(self, name, closest):
        assert closest_models(name, LISTED) == closest

    def test_nothing_is_close_in_an_empty_list(self):
        assert closest_models("gpt-4o", []) == []

    @given(st.text(max_size=20), st.lists(st.text(max_size=20), max_size=8))
    def test_any_names(self, name, listed):
        found = closest_models(name, listed)
        assert len(found) <= 2
        assert all(one in listed and one.isprintable() for one in found)


SAYS_UNKNOWN = [
    status("404 Not Found", {"error": {"message": "The model `gpt4o` does not exist", "code": "model_not_found"}}),
    status("404 Not Found", {"error": "model 'gpt4o' not found"}),
    status("404 Not Found", {"type": "error", "error": {"type": "not_found_error", "message": "model: gpt4o"}}),
    status("404 Not Found", {"error": {"message": "No endpoints found for gpt4o."}}),
    status("404 Not Found", {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}}),
    status("400 Bad Request", {"error": {"message": "Model Not Exist", "type": "invalid_request_error"}}),
    status("400 Bad Request", {"message": "Invalid model: gpt4o", "code": "1500"}),
    status("400 Bad Request", {"error": {"message": "gpt4o is not a valid model ID"}}),
]


class TestTheError:
    def fail(self, server: WireServer, path: str = "/v1") -> BackendError:
        with pytest.raises(BackendError) as failure:
            Chat("gpt4o", url=f"{server.url}{path}", api_key="the-key")("Hi")
        return failure.value

    @pytest.mark.parametrize("answer", SAYS_UNKNOWN)
    def test_it_names_the_model_that_was_probably_meant(self, wire_server, answer):
        wire_server.answer(answer)
        wire_server.answer(status("200 OK", {"data": [{"id": name} for name in LISTED]}))
        failure = self.fail(wire_server)
        assert str(failure).endswith(": did you mean gpt-4o?")
        assert "check the url" not in str(failure)
        assert failure.close_models == ["gpt-4o"]

    def test_in_the_dialect_of_g4f(self, wire_server):
        event = {"type": "error", "error": "ModelNotFoundError", "message": "Model not found: gpt4o"}
        wire_server.answer(stream(event))
        wire_server.answer(status("200 OK", {"P": ["gpt-4o"]}))
        failure = self.fail(wire_server, "")
        assert str(failure).endswith("Model not found: gpt4o: did you mean gpt-4o?")

    def test_without_a_close_one_it_names_some(self, wire_server):
        wire_server.answer(SAYS_UNKNOWN[0])
        wire_server.answer(status("200 OK", {"data": [{"id": f"other-{one}"} for one in "abcdefg"]}))
        failure = self.fail(wire_server)
        assert str(failure).endswith(": the server lists other-a, other-b, other-c, other-d, other-e, …")
        assert failure.close_models == []

    @pytest.mark.parametrize(
        "models",
        [status("404 Not Found"), status("200 OK", {"data": []}), status("200 OK", {"data": [{"id": "gpt4o"}]})],
    )
    def test_a_list_that_does_not_confirm_it_changes_nothing(self, wire_server, models):
        wire_server.answer(SAYS_UNKNOWN[0])
        wire_server.answer(models)
        failure = self.fail(wire_server)
        assert str(failure).endswith("(The model `gpt4o` does not exist): check the url and the model")

    @pytest.mark.parametrize(
        "answer",
        [
            status("400 Bad Request", {"error": {"message": "temperature must be at most 1"}}),
            status("400 Bad Request", {"error": {"message": "This model's maximum context length is 9 tokens"}}),
            status("401 Unauthorized", {"error": {"message": "Invalid key for this model"}}),
        ],
    )
    def test_no_list_is_fetched_for_another_refusal(self, wire_server, answer):
        wire_server.answer(answer)
        self.fail(wire_server)
        assert {request.path for request in wire_server.requests} == {"/v1/chat/completions"}

    def test_a_name_of_the_list_is_shown_safely(self, wire_server):
        wire_server.answer(SAYS_UNKNOWN[0])
        names = ["gpt-4o\x1b[31m", "gpt-4o-the-key"]
        wire_server.answer(status("200 OK", {"data": [{"id": name} for name in names]}))
        failure = self.fail(wire_server)
        assert "\x1b" not in str(failure)
        assert "the-key" not in str(failure)
