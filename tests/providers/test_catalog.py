"""Model lists and vision flags: fetched from the server, cached, and never a reason to delay a prompt for long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from serving import TOKEN, serving, serving_app

from nb_backend import BackendApi, OpenAIApi, background, settings
from nb_backend.local import process
from nb_backend.local.lazy_engine import LazyEngine
from nb_backend.local.scripted import ScriptedEngine
from nb_backend.providers import catalog as models
from nb_backend.providers.catalog import models_with_vision, names_listed, sees_images
from nb_backend.providers.registry import provider_for
from nb_backend.services import SERVICES

ALL = "/backend-api/v2/models"
KEY = "the-secret-key"


class Server:
    """A server that answers each path by its table (JSON, raw bytes or a status) as soon as ``gate`` is open."""

    def __init__(self) -> None:
        self.tables: dict[str, Any] = {}
        self.asked: list[str] = []
        self.keys: list[str | None] = []
        self.arrived = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        self.keys.append(request.headers.get("x-api-key") or request.headers.get("Authorization"))
        self.arrived.release()
        await asyncio.to_thread(self.gate.wait, 10)
        table = self.tables.get(request.path, 404)
        if isinstance(table, int):
            said = {"error": {"message": f"no, {self.keys[-1]}"}}
            return web.json_response(said, status=table)
        return web.Response(body=table) if isinstance(table, bytes) else web.json_response(table)

    def provides(self, **providers: list[dict[str, Any]]) -> None:
        self.tables[ALL] = {name: [model["id"] for model in listed] for name, listed in providers.items()}
        self.tables |= {f"{ALL}/{name}": listed for name, listed in providers.items()}

    @property
    def api(self) -> type[BackendApi] | type[OpenAIApi]:
        return provider_for(self.url)


@pytest.fixture
def server() -> Iterator[Server]:
    server, app = Server(), web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    with serving_app(app, shutdown_timeout=1) as url:
        server.url = url
        yield server
        server.gate.set()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch) -> Clock:
    """A clock that stands still, and an empty cache."""
    clock = Clock()
    monkeypatch.setattr(models, "clock", clock)
    monkeypatch.setattr(models, "_lists", {})
    monkeypatch.setattr(models, "_pending", {})
    return clock


def eyes(name: str, can: Any = True, **more: Any) -> dict[str, Any]:
    return {"id": name, "vision": can, **more}


# -- a server with providers


@pytest.mark.parametrize(
    ("model", "provider", "expected"),
    [
        ("a", "P", True),
        ("b", "P", False),
        ("c", "P", None),
        ("missing", "P", None),
        ("", "P", True),  # some have vision: the server picks
        ("", "Q", None),
        ("a", "Missing", None),
        ("a", "Q", False),
        ("a", None, True),  # P or Q: the server picks
        ("b", None, False),
        ("both blind", None, False),
        ("one odd", None, None),
        ("missing", None, None),
        ("", None, None),
        ("a", "", True),
    ],
)
async def test_the_flag_of_a_model(server, model, provider, expected):
    server.provides(
        P=[eyes("a"), eyes("b", False), {"id": "c"}, eyes("both blind", False), eyes("one odd", False)],
        Q=[eyes("a", False), eyes("both blind", False), eyes("one odd", "no")],
    )
    assert await sees_images(server.api, model, provider) is expected


@pytest.mark.parametrize("flag", [None, 0, 1, "true", [], {}, 1.5])
async def test_a_flag_that_is_not_a_bool_is_ignored(server, flag):
    server.provides(P=[eyes("a", flag)])
    assert await sees_images(server.api, "a", "P") is None


@pytest.mark.parametrize(("others", "expected"), [([], False), ([eyes("b")], True), ([{"id": "c"}], None)])
async def test_the_servers_choice_is_one_of_its_models(server, others, expected):
    server.provides(P=[eyes("a", False), *others])
    assert await sees_images(server.api, "") is expected


async def test_a_server_with_several_providers_may_choose_any(server):
    server.provides(P=[eyes("a", False)], Q=[eyes("b", False)])
    assert await sees_images(server.api, "") is None
    assert server.asked == [ALL]


async def test_fields_of_the_wrong_type_are_ignored(server):
    server.provides(P=[eyes("a", "yes", label=7)])
    assert await sees_images(server.api, "", "P") is None
    (model,) = await server.api.get_models("P")
    assert model.label == "a"


async def test_a_service_that_does_not_answer_is_unknown(server):
    server.provides(P=[eyes("a", False)], Q=[eyes("a", False)])
    server.tables[f"{ALL}/Q"] = 500
    assert await sees_images(server.api, "a") is None


@pytest.mark.parametrize(("count", "expected"), [(8, False), (9, None)])
async def test_not_all_of_many_services_are_asked(server, count, expected):
    server.provides(**{f"P{n}": [eyes("a", False)] for n in range(count)})
    assert await sees_images(server.api, "a") is expected
    assert len(server.asked) == (1 + count if expected is False else 1)


async def test_only_what_is_needed_is_asked(server):
    server.provides(P=[eyes("a")], Q=[eyes("b")])
    await sees_images(server.api, "a", "P")
    assert server.asked == [f"{ALL}/P"]
    await sees_images(server.api, "b")
    assert server.asked == [f"{ALL}/P", ALL, f"{ALL}/Q"]


async def test_a_service_with_an_odd_name(server):
    server.tables[f"{ALL}/A/B ?é"] = [eyes("a")]
    assert await sees_images(server.api, "a", "A/B ?é") is True
    assert await sees_images(server.api, "a", {"order": ["A"]}) is None


async def test_the_models_with_vision(server):
    server.provides(P=[eyes("p"), eyes("x"), eyes("b", False)], Q=[eyes("x"), eyes("q"), eyes("b", False), eyes("\n!")])
    assert models_with_vision(server.api, "Q") == []
    await sees_images(server.api, "b", "P")
    await sees_images(server.api, "b", "Q")
    asked = len(server.asked)
    assert models_with_vision(server.api, "Q") == ["x", "q", "p"]
    assert models_with_vision(server.api) == ["p", "x", "q"]
    assert models_with_vision(provider_for("http://127.0.0.1:9")) == []
    assert len(server.asked) == asked


# -- names


async def test_the_names_of_a_server_or_of_a_service_are_fetched_once(server):
    server.provides(P=[eyes("a"), eyes("b")], Q=[eyes("a"), eyes("c")])
    assert await names_listed(server.api) == await names_listed(server.api) == ["a", "b", "a", "c"]
    assert await names_listed(server.api, "Q") == ["a", "c"]
    assert server.asked == [ALL, f"{ALL}/Q"]
    server.provides(P=[eyes("new")])
    assert await names_listed(server.api) == ["a", "b", "a", "c"]
    assert await names_listed(server.api, fresh=True) == ["new"]


@pytest.mark.parametrize("listed", [404, 500, {}, [], None, b"<html>"])
async def test_a_server_that_lists_nothing_has_no_names(server, listed):
    server.tables[ALL] = listed
    assert await names_listed(server.api) == await names_listed(server.api, fresh=True) == []


async def test_of_the_services_at_hand_one_lists_none_and_one_fails(server, monkeypatch):
    for name, status in (("groq", 404), ("mistral", 500)):
        server.tables[f"/{name}/models"] = status
        monkeypatch.setitem(SERVICES, name, replace(SERVICES[name], url=f"{server.url}/{name}"))
    local = [name for name, one in SERVICES.items() if one.is_local]
    for name in local:  # what listens on this machine is not of this test
        monkeypatch.setitem(SERVICES, name, replace(SERVICES[name], url="http://127.0.0.1:1", url_variable=""))
    monkeypatch.setattr(settings.current, "keys", {name: settings.Secret(KEY) for name in ("groq", "mistral")})
    found, (groq, mistral) = await models.models_of_services()
    assert found == []
    assert groq == "Groq: it does not list its models: type groq:MODEL"
    assert mistral.startswith("Mistral: ")
    assert "answered 500" in mistral


async def test_a_list_that_takes_long_is_used_for_the_next_prompt(server, monkeypatch):
    monkeypatch.setattr(models, "NAMES_TIMEOUT", 0.05)
    server.provides(P=[eyes("a")])
    server.gate.clear()
    assert await names_listed(server.api) == []
    server.gate.set()
    monkeypatch.setattr(models, "NAMES_TIMEOUT", 10)
    assert await names_listed(server.api) == ["a"]
    assert server.asked == [ALL]


# -- the embedded backend


@pytest.mark.parametrize("vision", [True, False, None])
async def test_the_embedded_backend_has_one_model_whatever_name_is_sent(monkeypatch, vision):
    with serving(ScriptedEngine(vision=vision)) as embedded:

        async def ensure_running() -> process.Address:
            return process.Address(embedded.url, TOKEN)

        monkeypatch.setattr(process, "ensure_running", ensure_running)
        for model, provider in [("", None), ("gpt-4o", None), ("gpt-4o", "P")]:
            assert await sees_images(BackendApi, model, provider) is vision
        assert models_with_vision(BackendApi) == (["scripted"] if vision else [])


async def test_the_vision_flag_of_the_embedded_engine():
    assert LazyEngine().vision is False
    with serving(ScriptedEngine(vision=True)) as embedded:
        async with (
            aiohttp.ClientSession(headers={"x-api-key": TOKEN}) as client,
            client.get(f"{embedded.url}/backend-api/v2/providers") as response,
        ):
            assert [said["vision"] for said in await response.json()] == [True]


# -- an OpenAI-compatible server


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, None),
        ({"vision": True}, True),
        ({"vision": False}, False),
        ({"vision": "yes"}, None),
        ({"vision": None, "capabilities": {"vision": True}}, True),
        ({"capabilities": {"vision": False}}, False),
        ({"capabilities": {"vision": 1}}, None),
        ({"capabilities": ["vision"]}, None),
        ({"architecture": {"input_modalities": ["text", "image"]}}, True),
        ({"architecture": {"input_modalities": ["text"]}}, False),
        ({"architecture": {"input_modalities": []}}, None),
        ({"architecture": {"input_modalities": "image"}}, None),
        ({"architecture": "image"}, None),
        ({"vision": True, "provider": False}, True),  # g4f
        ({"vision": False, "provider": False}, None),  # g4f sends this for every model
        ({"vision": False, "provider": True}, False),
    ],
)
async def test_the_vision_flags_of_openai_servers(server, said, expected):
    server.url += "/v1"
    server.tables["/v1/models"] = {"data": [{"id": "m", "owned_by": ["odd"], **said}, eyes("other", not expected)]}
    assert issubclass(server.api, OpenAIApi)
    assert await sees_images(server.api, "m", "ignored") is expected
    assert await sees_images(server.api, "") is (expected is True or not expected)
    assert await sees_images(server.api, "missing") is None
    assert server.asked == ["/v1/models"]
    assert [model.provider for model in await server.api.get_models()] == ["", ""]
    assert models_with_vision(server.api) == [["m"], ["other"]][not expected]


# -- what may go wrong

ODD = [
    *(401, 404, 429, 500, b"", b"<html>", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 500 + b"1" + b"}" * 500, b"NaN"),
    *(None, 7, "a", [], {}, [[]], [None], ["a"], [{}], [{"id": 7}], [{"id": "a"}, 7]),
    *({"a": 7}, {"a": "a"}, {"a": [7]}, {"data": 7}, {"data": [7]}, {"data": [{"id": ["a"]}]}, {"data": {"id": "a"}}),
    [{"id": f"model {n}", "vision": True} for n in range(50_000)],
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("path", ["", "/v1"])
@pytest.mark.parametrize("provider", [None, "P"])
async def test_an_odd_answer_is_unknown_and_not_raised(server, odd, path, provider, caplog, capsys):
    server.url += path
    server.tables = {ALL: odd, f"{ALL}/P": odd, "/v1/models": odd}
    settings.current.url, settings.current.api_key = server.url, KEY
    for model in ("a", ""):
        assert await sees_images(server.api, model, provider) is None or (not model and "model 0" in str(odd))
    models_with_vision(server.api, provider)
    assert set(server.keys) == {f"Bearer {KEY}" if path else KEY}
    assert (caplog.text, *capsys.readouterr()) == ("", "", "")


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://127.0.0.1:9/v1", "http://nowhere.invalid", "no url"])
async def test_an_unreachable_server_is_unknown(url):
    for api in (BackendApi, OpenAIApi):
        assert await sees_images(type("Api", (api,), {"url": url}), "a") is None


async def test_an_invalid_url_and_an_invalid_key_are_unknown(server):
    assert await sees_images(OpenAIApi, "a") is None
    settings.current.url, settings.current.api_key = server.url, "a\nb"
    assert await sees_images(server.api, "a") is None
    assert server.asked == []


@pytest.mark.parametrize("path", ["", "/v1"])
async def test_the_key_of_a_chat_replaces_that_of_the_settings(server, path):
    server.url += path
    settings.current.url, settings.current.api_key = server.url, "of another server"
    await sees_images(server.api, "a", api_key=KEY)
    assert server.keys == [f"Bearer {KEY}" if path else KEY]


@pytest.mark.parametrize("answer", [401, {"P": ["a"]}])
async def test_each_key_has_its_own_models(server, answer):
    server.provides(P=[eyes("a", False)])
    server.tables[ALL] = answer
    assert await sees_images(server.api, "a", api_key="A") is (None if answer == 401 else False)
    server.provides(P=[eyes("a")])
    assert await sees_images(server.api, "a", api_key=KEY) is True
    assert await sees_images(server.api, "a", api_key="A") is (None if answer == 401 else False)
    assert models_with_vision(server.api, api_key=KEY) == ["a"]
    assert models_with_vision(server.api, api_key="A") == []
    settings.current.url, settings.current.api_key = server.url, KEY  # the same key from another source
    assert models_with_vision(server.api) == ["a"]
    assert KEY not in f"{models._lists} {models._pending}"


# -- time


@pytest.fixture(params=["", "/v1"])
def slow(server, request) -> Server:
    """A server that lists its models only when the gate opens."""
    server.url += request.param
    server.tables = {f"{ALL}/P": [eyes("a")], "/v1/models": {"data": [eyes("a")]}}
    server.gate.clear()
    return server


async def open_gate(server: Server) -> None:
    """Open the gate, and wait until all fetches have ended."""
    server.gate.set()
    for _, fetch in models._pending.values():
        await asyncio.to_thread(fetch.future.exception, 10)


async def test_a_slow_server_is_not_awaited_and_the_next_prompt_has_the_list(slow, monkeypatch, clock):
    monkeypatch.setattr(models, "VISION_TIMEOUT", 0.01)
    assert await sees_images(slow.api, "a", "P") is None
    clock.now += 100
    waits = []
    with monkeypatch.context() as patch:
        patch.setattr(models, "_wait_for", waits.append)
        assert await sees_images(slow.api, "a", "P") is None
    assert waits == []
    await open_gate(slow)
    assert await sees_images(slow.api, "a", "P") is True
    assert len(slow.asked) == 1


async def test_concurrent_prompts_fetch_once(slow):
    here = [asyncio.ensure_future(sees_images(slow.api, "a", "P")) for _ in range(5)]
    there = [asyncio.to_thread(asyncio.run, sees_images(slow.api, "a", "P")) for _ in range(5)]
    there += [asyncio.to_thread(background.run, sees_images(slow.api, "a", "P"))]
    everywhere = asyncio.gather(*here, *there)
    assert await asyncio.to_thread(slow.arrived.acquire, timeout=10)
    slow.gate.set()
    assert set(await everywhere) == {True}
    assert len(slow.asked) == 1


async def test_a_cancelled_wait_does_not_cancel_the_fetch(slow):
    asking = asyncio.ensure_future(sees_images(slow.api, "a", "P"))
    assert await asyncio.to_thread(slow.arrived.acquire, timeout=10)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await open_gate(slow)
    assert await sees_images(slow.api, "a", "P") is True
    assert len(slow.asked) == 1


@pytest.mark.parametrize("answer", [None, 500])
async def test_a_closed_loop_is_not_notified(slow, monkeypatch, caplog, capsys, answer):
    monkeypatch.setattr(models, "VISION_TIMEOUT", 0.01)
    slow.tables |= {path: answer for path in slow.tables if answer}
    assert await asyncio.to_thread(asyncio.run, sees_images(slow.api, "a", "P")) is None
    await open_gate(slow)
    assert (caplog.text, *capsys.readouterr()) == ("", "", "")


@pytest.mark.parametrize(("seconds", "asked"), [(299, 1), (301, 2)])
async def test_cached_lists_expire(server, clock, seconds, asked):
    server.provides(P=[eyes("a")])
    assert await sees_images(server.api, "a", "P") is True
    server.provides(P=[eyes("a", False)])
    clock.now += seconds
    assert await sees_images(server.api, "a", "P") is (asked == 1)
    assert models_with_vision(server.api) == (["a"] if asked == 1 else [])
    assert len(server.asked) == asked


@pytest.mark.parametrize(("seconds", "asked"), [(29, 1), (31, 2)])
async def test_a_failure_is_remembered_for_a_short_time(server, clock, seconds, asked):
    server.tables[f"{ALL}/P"] = 500
    assert await sees_images(server.api, "a", "P") is None
    server.provides(P=[eyes("a")])
    clock.now += seconds
    assert await sees_images(server.api, "a", "P") is (None if asked == 1 else True)
    assert len(server.asked) == asked


async def test_an_endless_fetch_is_replaced(slow, monkeypatch, clock):
    monkeypatch.setattr(models, "VISION_TIMEOUT", 0.01)
    assert await sees_images(slow.api, "a", "P") is None
    assert await asyncio.to_thread(slow.arrived.acquire, timeout=10)
    clock.now += models.CACHE_SECONDS
    monkeypatch.setattr(models, "VISION_TIMEOUT", 5)
    asking = asyncio.ensure_future(sees_images(slow.api, "a", "P"))
    assert await asyncio.to_thread(slow.arrived.acquire, timeout=10)
    slow.gate.set()
    assert await asking is True
    assert len(slow.asked) == 2


async def test_each_server_has_its_own_list(server):
    server.provides(P=[eyes("a")])
    settings.current.url = server.url
    assert await sees_images(BackendApi, "a", "P") is True
    assert await sees_images(server.api, "a", "P") is True
    assert await sees_images(provider_for("http://127.0.0.1:9"), "a", "P") is None
    assert len(server.asked) == 1


# -- Tab and %backend share what is known


def test_tab_uses_a_list_that_a_prompt_has_fetched(server):
    server.provides(P=[eyes("a")])
    settings.current.url = server.url
    background.run(sees_images(server.api, "a"))
    asked = len(server.asked)
    assert models.known_models() == ["a"]
    assert [model.vision for model in background.run(models.available_models())] == [True]
    assert len(server.asked) == asked + 2  # listing always fetches


def test_a_server_that_is_named_by_the_address_of_its_call_has_one_list(server):
    server.tables["/inference/models"] = ["a"]
    settings.current.url = f"{server.url}/inference/chat/completions"
    assert models.known_models() == ["a"]
    assert background.run(names_listed(provider_for(settings.url()))) == ["a"]
    assert background.run(sees_images(provider_for(settings.url()), "a")) is None
    assert server.asked == ["/inference/models"]


def test_tab_fetches_again_at_once_after_a_failure(server):
    settings.current.url = server.url
    assert background.run(sees_images(server.api, "a")) is None
    server.provides(P=[eyes("a")])
    assert models.known_models() == ["a"]
    assert background.run(sees_images(server.api, "a")) is True
