"""What a wrong key, a missing one, an empty account and an unknown model of a service say, over real sockets."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import replace

import pytest
from stand_ins import EMPTY, StandIn, standing_in

from nb_backend import Chat, settings
from nb_backend.errors import AuthError, BackendError, ServerError
from nb_backend.services import SERVICES
from nb_backend.settings import Secret

NAMES = {"openai": ["gpt-5.4"], "anthropic": ["claude-a"], "gemini": ["gemini-3"], "groq": ["llama"], "ollama": ["phi"]}
CLOUDS = ["openai", "anthropic", "gemini", "groq"]


@pytest.fixture(scope="module")
def stand_ins() -> Iterator[dict[str, StandIn]]:
    with standing_in(**NAMES) as running:
        yield running


@pytest.fixture(autouse=True)
def table(stand_ins, monkeypatch) -> None:
    """The services are at their stand-ins."""
    for name, one in stand_ins.items():
        one.refuses, one.key = None, f"key-of-{name}-0123"
        one.requests.clear()
        monkeypatch.setitem(SERVICES, name, replace(SERVICES[name], url=one.url, url_variable=""))
    monkeypatch.setattr(settings, "has_keyring", lambda: False)


async def failure(model: str, **options) -> BackendError:
    with pytest.raises(BackendError) as caught:
        await Chat(model, **options).ask("Hi")
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", CLOUDS)
async def test_without_a_key_nothing_is_sent_and_the_line_names_its_variable(stand_ins, name):
    service = SERVICES[name]
    error = await failure(f"{name}:{NAMES[name][0]}")
    assert isinstance(error, AuthError)
    assert str(error) == f"{service.title} needs a key: set {service.keys[0]} or run %backend key {name}"
    error = await failure("m", url=name)
    assert str(error).startswith(f"{service.title} needs a key: set {service.keys[0]}")
    assert stand_ins[name].requests == []


@pytest.mark.parametrize("name", CLOUDS)
async def test_a_refused_key_is_named_by_where_it_is_from(stand_ins, monkeypatch, name):
    service, model = SERVICES[name], f"{name}:{NAMES[name][0]}"
    monkeypatch.setenv(service.keys[0], "a-wrong-key-of-the-environment")
    error = await failure(model)
    assert isinstance(error, AuthError)
    said = "Incorrect API key provided"
    again = f"set it again, or run %backend key {name}"
    assert str(error) == f"{service.title} refused the key in {service.keys[0]} ({said}): {again}"
    settings.current.keys[name] = Secret("a-wrong-key-that-was-typed")
    error = await failure(model)
    assert str(error) == f"{service.title} refused the key that was typed ({said}): run %backend key {name} again"
    assert leaks(error, "a-wrong-key") == []
    error = await failure(model, api_key="a-wrong-key-of-the-chat")
    assert str(error) == f"{service.title} refused api_key ({said}): pass a key that it accepts"
    assert stand_ins[name].sent.count("a-wrong-key") == 3


def leaks(error: BaseException, key: str) -> list[str]:
    """Return the texts of a traceback, with the variables of its frames, that have a key in them."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    return [line for line in shown.format() if key in line]


async def test_a_key_of_the_keyring_is_named_too(stand_ins, monkeypatch):
    settings.current.kept_keys["groq"] = Secret("a-wrong-key-that-was-kept")
    error = await failure("groq:llama")
    assert "Groq refused the key in the system keyring (" in str(error)
    assert str(error).endswith("): run %backend key groq --keep to replace it")


async def test_a_server_on_this_machine_is_asked_without_a_key_and_may_want_one(stand_ins):
    stand_ins["ollama"].key = ""
    assert (await Chat("ollama:phi").ask("Hi")).text == "I am ollama."
    stand_ins["ollama"].key = "some-key-0123"
    error = await failure("ollama:phi")
    assert str(error) == (
        "Ollama needs a key: set OLLAMA_API_KEY or run %backend key ollama (Incorrect API key provided)"
    )


@pytest.mark.parametrize("name", CLOUDS)
async def test_an_empty_account_is_named_with_the_variable_of_its_key(stand_ins, monkeypatch, name):
    service, stand_in = SERVICES[name], stand_ins[name]
    monkeypatch.setenv(service.keys[0], stand_in.key)
    stand_in.refuses = 429, EMPTY
    error = await failure(f"{name}:{NAMES[name][0]}")
    assert error.no_credit
    account = f"your account at {service.title}, whose key is in {service.keys[0]}"
    assert str(error).endswith(f"(You exceeded your current quota): check the plan and the balance of {account}")


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("lists", [True, False])
async def test_an_unknown_model_says_which_there_are(stand_ins, monkeypatch, name, lists):
    service, stand_in = SERVICES[name], stand_ins[name]
    monkeypatch.setenv(service.keys[0], stand_in.key)
    monkeypatch.setattr(stand_in, "models", NAMES[name] if lists else [])
    stand_in.refuses = 404, {"error": {"message": "model 'x9' not found", "type": "not_found_error"}}
    error = await failure(f"{name}:x9")
    assert isinstance(error, ServerError)
    hint = f"the server lists {name}:{NAMES[name][0]}" if lists else f"%backend models {name} lists the models of"
    assert hint in str(error)


async def test_a_close_model_is_named_with_its_service_as_another_server_may_be_set(stand_ins, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", stand_ins["anthropic"].key)
    stand_ins["anthropic"].refuses = 404, {"error": {"message": "model: claud-a", "type": "not_found_error"}}
    error = await failure("anthropic:claud-a")
    assert str(error).endswith(": did you mean anthropic:claude-a?")
    assert error.close_models == ["anthropic:claude-a"]


async def test_what_is_forbidden_is_not_the_fault_of_the_key_alone(stand_ins, monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", stand_ins["groq"].key)
    stand_ins["groq"].refuses = 403, {"error": {"message": "This project may not use the model."}}
    assert str(await failure("groq:llama")) == (
        "Groq refused the request with the key in GROQ_API_KEY (This project may not use the model): check what its"
        " account may do, or set it again, or run %backend key groq"
    )


@pytest.mark.parametrize(
    ("name", "hint"), [("groq", "check your connection to the internet"), ("ollama", "start Ollama there")]
)
async def test_a_service_that_nobody_answers_for_says_what_to_do(monkeypatch, delays, name, hint):
    monkeypatch.setitem(SERVICES, name, replace(SERVICES[name], url="http://127.0.0.1:9/v1", url_variable=""))
    monkeypatch.setenv("GROQ_API_KEY", "some-key-0123")
    assert str(await failure(f"{name}:m")).endswith(f"(Connection refused): {hint}")


async def test_the_list_of_models_says_the_same(stand_ins, monkeypatch):
    from nb_backend.providers.catalog import listed_models

    with pytest.raises(AuthError, match="Groq needs a key: set GROQ_API_KEY or run %backend key groq"):
        await listed_models("groq")
    monkeypatch.setenv("GROQ_API_KEY", "a-wrong-key")
    with pytest.raises(AuthError, match="Groq refused the key in GROQ_API_KEY"):
        await listed_models("groq")


async def test_a_key_that_was_not_sent_because_it_is_for_another_url_is_named(stand_ins, monkeypatch):
    url = stand_ins["groq"].url
    monkeypatch.setitem(SERVICES, "groq", replace(SERVICES["groq"], url="http://elsewhere.invalid/v1"))
    error = await failure("m", url=url)
    assert str(error).endswith(": set NB_BACKEND_API_KEY to a key that it accepts, or run %backend key")
    monkeypatch.setenv("NB_BACKEND_URL", "http://elsewhere.invalid/v1")
    monkeypatch.setenv("NB_BACKEND_API_KEY", "the-key-of-elsewhere")
    error = await failure("m", url=url)
    assert str(error).endswith("NB_BACKEND_API_KEY is for NB_BACKEND_URL and was not sent here; run %backend key")
    assert "the-key-of-elsewhere" not in stand_ins["groq"].sent


@pytest.mark.parametrize("model", ["openai:", " openai: ", "antropic:claude-a", "opnai:gpt"])
async def test_a_service_without_a_model_and_a_misspelt_one_are_refused_before_anything_is_sent(model):
    with pytest.raises(ValueError, match=r"name a model of OpenAI: openai:MODEL|did you mean (anthropic:c|openai:g)"):
        Chat(model).request("Hi")


async def test_a_service_that_is_set_wants_a_model(stand_ins, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", stand_ins["anthropic"].key)
    with pytest.raises(ValueError, match="name a model of Anthropic: anthropic:MODEL; %backend models anthropic lists"):
        await Chat(url="anthropic").ask("Hi")
    assert stand_ins["anthropic"].requests == []


def test_a_tag_or_a_name_with_other_signs_is_no_misspelt_service():
    for name in ("mixtral:8x7b", "mistrall:latest", "llama3.2:1b", "deepseek-r1:free", "hf.co/a/b:Q4_K_M", "gpt-4o"):
        assert Chat(name).request("Hi").model == name
