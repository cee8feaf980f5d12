"""The table of services: names, urls, dialects, and which key goes where."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from dataclasses import replace
from types import ModuleType
from unittest.mock import AsyncMock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_server import CHUNKED, LAST_CHUNK, WireServer, chunk, status

from nb_backend import AuthError, Chat, services, settings
from nb_backend.providers import catalog
from nb_backend.providers.registry import DIALECTS, resolve
from nb_backend.services import SERVICES, closest_services, find_service, misspelt_service, service_of_url, split_model
from nb_backend.settings import Secret

CLOUDS = [
    "openai",
    "anthropic",
    "gemini",
    "azure",
    "openrouter",
    "groq",
    "mistral",
    "deepseek",
    "xai",
    "together",
    "fireworks",
    "cerebras",
    "perplexity",
    "cohere",
    "huggingface",
    "github",
    "nvidia",
    "zai",
    "moonshot",
    "dashscope",
]
LOCAL = ["ollama", "lmstudio", "llamacpp", "vllm", "litellm", "g4f"]


def test_the_table_has_each_service_with_its_source():
    assert [*SERVICES] == CLOUDS + LOCAL
    assert [one.name for one in SERVICES.values() if one.is_local] == LOCAL
    for service in SERVICES.values():
        assert service.source.startswith("https://")
        assert service.url.startswith("http://127.0.0.1:" if service.is_local else "https://") or service.url_variable
        assert service.api in {*DIALECTS, "openai-responses", "anthropic", "gemini"}
        assert all(name.isupper() for name in service.keys)
    names = [name for one in SERVICES.values() for name in (one.name, *one.aliases)]
    assert len({*names}) == len(names)


@pytest.mark.parametrize(
    ("named", "service", "model"),
    [
        ("anthropic:claude-sonnet-5", "anthropic", "claude-sonnet-5"),
        ("google:gemini-3-pro", "gemini", "gemini-3-pro"),
        ("Gemini: gemini-3-pro", "gemini", "gemini-3-pro"),
        ("ollama:llama3.2:1b", "ollama", "llama3.2:1b"),
        ("ollama:mistral:7b", "ollama", "mistral:7b"),
        ("openrouter:anthropic/claude-sonnet-5:online", "openrouter", "anthropic/claude-sonnet-5:online"),
        ("openai:", "openai", ""),
        ("llama3.2:1b", None, "llama3.2:1b"),
        ("gpt-4o", None, "gpt-4o"),
        ("hf.co/a/b:Q4_K_M", None, "hf.co/a/b:Q4_K_M"),
        ("mistral:mistral-large", "mistral", "mistral-large"),
    ],
)
@pytest.mark.parametrize("has_url", [False, True])
def test_a_service_stands_before_the_first_colon(named, service, model, has_url):
    found, name = split_model(named, has_url=has_url)
    assert (found and found.name, name) == (service, model)


@pytest.mark.parametrize("tag", ["latest", "7b", "7B-instruct-q4_0", "8x7b", "0.6b", "270m"])
def test_a_tag_of_ollama_is_not_a_model_of_a_service_if_a_server_is_set(tag):
    assert split_model(f"mistral:{tag}", has_url=True) == (None, f"mistral:{tag}")
    assert split_model(f"mistral:{tag}")[0] is SERVICES["mistral"]
    assert split_model(f"ollama:{tag}", has_url=True) == (SERVICES["ollama"], tag)


@given(st.text())
def test_only_names_of_the_table_are_services(text):
    service, model = split_model(text)
    assert text.strip().endswith(model) or model == text
    assert service is None or find_service(text.partition(":")[0]) is service


def test_a_wrong_name_is_close_to_a_right_one():
    assert closest_services("antropic") == ["anthropic"]
    assert closest_services("open-router")[0] == "openrouter"
    assert closest_services("gogle") == ["gemini"]
    assert closest_services("localhost") == []
    with pytest.raises(ValueError, match="there is no service 'antropic': did you mean anthropic"):
        settings.urls("antropic")


@pytest.mark.parametrize("name", [name for name in SERVICES if len(name) > 5])
def test_a_service_that_misses_a_letter_is_the_one_that_was_meant(name):
    assert misspelt_service(f"{name}:m") == ""
    for at in range(1, len(name)):
        assert misspelt_service(f"{name[:at]}{name[at + 1 :]}:m") == f"{name}:m"
        assert misspelt_service(f"{name[:at]}{name[at + 1 :]}:7b") == ""


def test_a_service_is_not_one_of_several_urls():
    with pytest.raises(ValueError, match="openai is a service, which stands alone: name its url beside others"):
        settings.urls("http://localhost:1/v1 openai")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434/v1"),
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("0.0.0.0:9", "http://127.0.0.1:9/v1"),
        ("box:11435", "http://box:11435/v1"),
        ("https://box", "https://box:11434/v1"),
        ("http://box:80/", "http://box:80/v1"),
    ],
)
def test_the_url_of_ollama_may_be_set(monkeypatch, host, url):
    monkeypatch.setenv("OLLAMA_HOST", host)
    assert SERVICES["ollama"].base_url == url


def test_azure_needs_the_url_of_its_resource(monkeypatch):
    with pytest.raises(ValueError, match="azure needs the url of your resource: set AZURE_OPENAI_ENDPOINT"):
        Chat("azure:my-model").request("Hi")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://n.openai.azure.com/")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "the-key-of-azure")
    assert Chat("azure:my-model").request("Hi").url == "https://n.openai.azure.com/openai/v1/chat/completions"
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")
    request = Chat("azure:my model").request("Hi")
    assert request.url == (
        "https://n.openai.azure.com/openai/deployments/my%20model/chat/completions?api-version=2024-10-21"
    )
    assert request.provider.key(Secret()).value == "the-key-of-azure"


def test_a_url_names_its_service(monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://n.openai.azure.com")
    assert service_of_url("https://api.openai.com/v1") is SERVICES["openai"]
    assert service_of_url("https://api.groq.com:443/openai/v1") is SERVICES["groq"]
    assert service_of_url("https://n.openai.azure.com/openai/deployments/d") is SERVICES["azure"]
    for url in (
        *("http://api.openai.com/v1", "https://api.openai.com:8443/v1", "https://api.openai.com.evil.example/v1"),
        *("https://evil.example/api.openai.com", "http://127.0.0.1:11434/v1", None, ""),
    ):
        assert service_of_url(url) is None


# -- which key goes where

SERVER, OTHER = "http://127.0.0.1:9/v1", "http://127.0.0.1:8/v1"


def key(model: str | None = None, **options) -> str | None:
    request = Chat(model, **options).request("Hi")
    return request.provider.key(request.api_key).value


def test_the_key_of_a_service_goes_to_its_url_only(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "key-of-anthropic")
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-openai")
    monkeypatch.setenv("NB_BACKEND_API_KEY", "key-of-the-url")
    for url in (None, SERVER):
        monkeypatch.setattr(settings.current, "url", url)
        assert key("openai:gpt-5.4") == key(url="https://api.openai.com/v1") == "key-of-openai"
        assert key("groq:llama") is None
        assert key("openai:gpt-5.4", url=OTHER) is None
        assert key("m", url=OTHER) is None
        assert key("openai:gpt-5.4", api_key="key-of-the-chat") == "key-of-the-chat"
        assert key("m") == (None if url is None else "key-of-the-url")
    settings.current.url = "anthropic"
    assert key("m") == "key-of-anthropic"
    assert key("openai:gpt-5.4") == "key-of-openai"
    settings.current.keys["anthropic"] = Secret("typed-key")
    assert key("m") == "typed-key"


def test_the_key_of_the_environment_goes_to_the_url_of_the_environment_only(monkeypatch):
    monkeypatch.setenv("NB_BACKEND_API_KEY", "key-of-the-url")
    assert key() is None  # the embedded backend needs none
    settings.current.url = SERVER
    assert key() == "key-of-the-url"
    monkeypatch.setenv("NB_BACKEND_URL", OTHER)
    assert key() is None
    assert key(url=OTHER) == "key-of-the-url"
    settings.current.api_key = "key-of-the-process"
    assert (key(), key(url=OTHER)) == ("key-of-the-process", "key-of-the-url")


@pytest.mark.parametrize(
    ("url", "api"),
    [
        *(
            ("http://gate:8080/v1/messages", None),
            ("http://gate:8080", "anthropic"),
            ("http://gate:8080/a", "anthropic"),
        ),
        *(("http://gate:8080/v1/responses", None), ("http://gate:8080", "openai-responses")),
        *(("http://gate:8080/openai/chat/completions", None), ("https://api.sambanova.ai", None)),
        ("http://gate:8080/v1beta/models/m:generateContent", None),
        ("http://gate:8080/openai/deployments/{model}?api-version=2024-10-21", None),
        ("http://gate:8080/v1/messages http://other:8080/v1/messages", None),
    ],
)
def test_the_key_of_a_url_goes_there_whatever_is_added_to_it(monkeypatch, url, api):
    monkeypatch.setenv("NB_BACKEND_URL", url)
    monkeypatch.setenv("NB_BACKEND_API_KEY", "key-of-the-url")
    assert key("m", api=api) == key("m", url=url, api=api) == "key-of-the-url"
    for server in Chat("m", api=api).request("Hi").provider.servers():
        assert server.key(Secret()).value == server.at(server.url).key(Secret()).value == "key-of-the-url"
        assert server.at(OTHER).key(Secret()).value is None
    assert key("m", url="http://gate:8080/team/v1") is None


def test_the_key_of_a_chat_does_not_go_to_another_service(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-openai")
    chat = Chat("m", url=SERVER, api_key="key-of-the-chat")
    for model, expected in (("other", "key-of-the-chat"), ("openai:gpt-5.4", "key-of-openai"), ("groq:x", None)):
        request = chat.request("Hi", model=model)
        assert request.provider.key(request.api_key).value == expected
    chat = Chat("anthropic:a", api_key="key-of-the-chat")
    assert chat.request("Hi", model="anthropic:b").api_key.value == "key-of-the-chat"
    assert chat.request("Hi", model="openai:b").api_key.value is None
    monkeypatch.setattr(settings.current, "url", OTHER)
    assert chat.request("Hi", model="a").api_key.value is None  # that model is asked at the url of the settings
    chat.model = "openai:gpt-5.4"  # as a panel chooses it
    assert chat.request("Hi").api_key.value is None
    chat.use_key(Secret("another-key"))
    assert chat.request("Hi").api_key.value == "another-key"
    assert chat.request("Hi", model="anthropic:b").api_key.value is None


async def test_a_list_of_models_elsewhere_is_asked_only_if_the_service_itself_is(monkeypatch, wire_server: WireServer):
    github = replace(SERVICES["github"], models_url=f"{wire_server.url}/catalog/models")
    monkeypatch.setitem(services.SERVICES, "github", github)
    monkeypatch.setenv("NB_BACKEND_URL", own := f"{wire_server.url}/own/v1")
    monkeypatch.setenv("NB_BACKEND_API_KEY", "key-of-the-url")
    monkeypatch.setenv("GITHUB_TOKEN", "key-of-github")
    wire_server.answer(status("200 OK", {"data": [{"id": "m"}]}))
    assert await resolve("github:m", own)[0].get_models() == ["m"]
    monkeypatch.setitem(services.SERVICES, "github", replace(github, url=f"{wire_server.url}/inference"))
    monkeypatch.setenv("NB_BACKEND_URL", "")
    assert await resolve("github:m")[0].get_models() == ["m"]
    asked = [(one.path, one.header("Authorization")) for one in wire_server.requests]
    assert asked == [("/own/v1/models", "Bearer key-of-the-url"), ("/catalog/models", "Bearer key-of-github")]


async def test_a_service_that_lists_other_names_than_it_takes_does_not_spoil_the_other_lists(
    monkeypatch, wire_server: WireServer
):
    monkeypatch.setattr(catalog, "answering", AsyncMock(return_value=set()))
    monkeypatch.setitem(services.SERVICES, "groq", replace(SERVICES["groq"], url=f"{wire_server.url}/v1"))
    monkeypatch.setenv("GROQ_API_KEY", "key-of-groq")
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "key-of-azure")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://n.openai.azure.com")
    monkeypatch.setenv("OPENAI_API_VERSION", "2024-10-21")  # each deployment has a path of its own
    wire_server.answer(status("200 OK", {"data": [{"id": "m"}]}))
    found, failures = await catalog.models_of_services()
    assert ([(service.name, model) for service, model in found], failures) == ([("groq", "m")], [])


def test_every_key_of_a_service_is_known_and_masked(monkeypatch):
    for number, service in enumerate(SERVICES.values()):
        for name in service.keys:
            monkeypatch.setenv(name, f"{name}-{number}")
    settings.current.keys["openai"] = Secret("typed-key")
    names = [name for service in SERVICES.values() for name in service.keys]
    assert {settings_key.rpartition("-")[0] for settings_key in settings.known_keys()} == {*names, "typed"}
    assert "typed-key" not in repr(settings.current)


def test_a_key_with_a_line_break_is_refused_and_names_its_variable(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "a\nb")
    with pytest.raises(ValueError, match="OPENAI_API_KEY contains a line end") as refusal:
        key("openai:gpt-5.4")
    assert "a\nb" not in str(refusal.value)


def test_the_key_of_the_environment_precedes_that_of_the_service_whose_url_is_set(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-openai")
    monkeypatch.setenv("NB_BACKEND_API_KEY", "key-of-the-url")
    monkeypatch.setenv("NB_BACKEND_URL", "https://api.openai.com/v1")
    assert key("m") == key("m", url="https://api.openai.com/v1") == "key-of-the-url"
    assert key("openai:m") == "key-of-the-url"
    settings.current.keys["openai"] = Secret("typed-key")
    assert key("m") == "typed-key"
    settings.current.keys.clear()
    monkeypatch.setenv("NB_BACKEND_URL", "openai")
    assert key("m") == "key-of-openai"
    monkeypatch.delenv("OPENAI_API_KEY")
    assert key("m") == "key-of-the-url"


@pytest.mark.parametrize(
    ("before", "after", "is_forgotten"),
    [
        ("http://host/v1", "http://host/v2", False),
        ("http://host/v1 http://other/v1", "http://other/v1", False),
        (None, "http://host/v1", False),
        ("http://host/v1", "http://other/v1", True),
        ("http://host/v1", "https://host/v1", True),
        ("http://host:1/v1", "http://host:2/v1", True),
        ("http://host/v1", "http://host/v1 http://other/v1", True),
        ("http://host/v1", None, True),
        ("http://host/v1", "openai", True),
    ],
)
def test_a_typed_key_is_forgotten_with_its_server(before, after, is_forgotten):
    settings.current.url, settings.current.api, settings.current.api_key = before, "gemini", "typed-key"
    assert settings.change_url(after) is is_forgotten
    assert settings.current.api_key == (None if is_forgotten else "typed-key")
    assert (settings.current.url, settings.current.api) == (after, None)


# -- the system keyring


class Keyring(ModuleType):
    """A stand-in of the package; ``get_password`` calls ``on_look_up`` first."""

    def __init__(self, on_look_up=lambda: None) -> None:
        super().__init__("keyring")
        self.on_look_up, self.looked_up = on_look_up, []

    def get_password(self, service: str, user: str) -> str | None:
        self.looked_up.append((service, user))
        self.on_look_up()
        return "key-of-the-keyring" if user == "groq" else None


GROQ_ANSWER = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}


async def test_the_keyring_is_asked_last_and_once_and_the_loop_goes_on_meanwhile(monkeypatch, wire_server: WireServer):
    loop_went_on = threading.Event()
    keyring = Keyring(lambda: loop_went_on.wait(10))
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    for name in ("groq", "mistral"):
        monkeypatch.setitem(services.SERVICES, name, replace(SERVICES[name], url=f"{wire_server.url}/{name}/v1"))
    wire_server.answer(CHUNKED + chunk(b"data: " + json.dumps(GROQ_ANSWER).encode() + b"\n\n") + LAST_CHUNK)
    assert [settings.service_key(one).value for one in services.SERVICES.values()] == [None] * len(SERVICES)
    assert keyring.looked_up == []
    asked = asyncio.ensure_future(Chat("groq:llama").ask("Hello"))
    while not keyring.looked_up:  # noqa: ASYNC110  its thread has no event of this loop
        await asyncio.sleep(0.001)
    loop_went_on.set()  # this line runs although the look-up has not ended
    await asked
    await Chat("groq:llama").ask("Hello")
    for _ in range(2):
        with pytest.raises(AuthError, match="Mistral needs a key"):
            await Chat("mistral:large").ask("Hello")
    assert keyring.looked_up == [("nb_backend", "groq"), ("nb_backend", "mistral")]
    sent = [one.header("Authorization") for one in wire_server.requests]
    assert sent == ["Bearer key-of-the-keyring"] * 2
    assert "key-of-the-keyring" in settings.known_keys()
    assert "key-of-the-keyring" not in repr(settings.current)
    monkeypatch.setattr(settings, "current", settings.Settings())
    monkeypatch.setenv("GROQ_API_KEY", "key-of-groq")
    await Chat("groq:llama").ask("Hello")
    assert wire_server.requests[-1].header("Authorization") == "Bearer key-of-groq"
    assert len(keyring.looked_up) == 2


def test_a_keyring_that_fails_or_is_missing_is_no_key(monkeypatch):
    def fail() -> None:
        raise RuntimeError("No recommended backend was available")

    monkeypatch.setitem(sys.modules, "keyring", Keyring(fail))
    settings.ask_keyring(SERVICES["groq"])
    assert settings.service_key(SERVICES["groq"]).value is None
    monkeypatch.setattr(settings, "current", settings.Settings())
    monkeypatch.setitem(sys.modules, "keyring", None)
    settings.ask_keyring(SERVICES["groq"])
    assert settings.service_key(SERVICES["groq"]).value is None


# -- which dialect


def test_the_dialect_follows_from_the_argument_the_settings_the_service_and_the_url(monkeypatch):
    for dialect in DIALECTS:
        assert resolve("m", "http://host/v1", dialect)[0].dialect == resolve("m", None, dialect)[0].dialect
    monkeypatch.setenv("NB_BACKEND_API", "g4f")
    assert resolve("m", "http://host/v1")[0].dialect == "backend"
    assert resolve("ollama:m")[0].dialect == "openai"
    monkeypatch.setattr(settings.current, "api", "openai-chat")
    assert resolve("m", "http://host")[0].dialect == "openai"
    assert resolve("m")[0].dialect == "backend"  # the embedded backend
    with pytest.raises(ValueError, match="there is no dialect 'morse'"):
        Chat("m", api="morse")


def test_a_model_of_a_service_is_asked_there_whatever_service_stands_for_the_url(monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "key-of-anthropic")
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-openai")
    for chat in (Chat("openai:m", url="anthropic"), Chat("openai:m")):
        request = chat.request("Hi")
        assert request.url == "https://api.openai.com/v1/responses"
        assert request.provider.key(request.api_key).value == "key-of-openai"
    assert Chat("m", url="anthropic").request("Hi", model="openai:m").url == request.url
    assert Chat("openai:m", url=SERVER).request("Hi").url == f"{SERVER}/responses"


async def test_two_services_are_asked_with_their_own_keys(monkeypatch, wire_server: WireServer):
    text = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}
    for name, path in (("groq", "/groq/v1"), ("mistral", "/mistral/v1")):
        monkeypatch.setitem(services.SERVICES, name, replace(SERVICES[name], url=wire_server.url + path))
        monkeypatch.setenv(SERVICES[name].keys[0], f"key-of-{name}")
        wire_server.answer(CHUNKED + chunk(b"data: " + json.dumps(text).encode() + b"\n\n") + LAST_CHUNK)
    chat = Chat("groq:llama")
    assert (await chat.ask("Hello")).text == "Hi"
    assert (await chat.ask("Hello", model="mistral:large")).text == "Hi"
    asked = [(one.path, one.header("Authorization"), one.json["model"]) for one in wire_server.requests]
    assert asked == [
        ("/groq/v1/chat/completions", "Bearer key-of-groq", "llama"),
        ("/mistral/v1/chat/completions", "Bearer key-of-mistral", "large"),
    ]
    assert [message.get("content") for message in chat.messages] == ["Hello", "Hi", "Hello", "Hi"]
