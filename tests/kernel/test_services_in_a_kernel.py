"""Services in cells and commands: their models, urls, dialects and keys, over real sockets of stand-ins."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import permutations

import pytest
from by_model import columns
from driver import APART, PATIENT, TIMEOUT, Kernel, Run, aside, one_line
from jupyter_client.manager import start_new_kernel
from stand_ins import EMPTY, StandIn, standing_in

from nb_backend.services import SERVICES

MODELS = {
    "openai": ["gpt-5.4", "gpt-5.4-mini"],
    "anthropic": ["claude-a", "claude-b"],
    "gemini": ["gemini-3"],
    "groq": ["llama"],
    "ollama": ["llama3.2:1b", "mistral:7b"],
}
TYPED = "a-key-that-was-typed-0123"
RESET = (
    "settings.current = settings.Settings()\nfor name in [*chats]: del chats[name]\nos.environ.update(keys)\n"
    "os.environ.pop('GEMINI_API_KEY', None); sys.modules['keyring'] = None"
)
KEYRING = """
import types
def keyring_of(error=None, stores=True):
    ring = types.ModuleType("keyring"); ring.kept = {}; ring.looked_up = []
    def get_password(service, user):
        ring.looked_up.append((service, user))
        if error: raise error
        return ring.kept.get((service, user))
    def set_password(service, user, password):
        if error: raise error
        if stores: ring.kept[service, user] = password
    def delete_password(service, user):
        del ring.kept[service, user]
    ring.get_password, ring.set_password, ring.delete_password = get_password, set_password, delete_password
    sys.modules["keyring"] = ring
"""


@pytest.fixture(scope="module")
def clouds() -> Iterator[dict[str, StandIn]]:
    with standing_in(**MODELS) as running:
        running["ollama"].key = ""
        yield running


@pytest.fixture(scope="module")
def kernel(clouds: dict[str, StandIn]) -> Iterator[Kernel]:
    """A kernel whose services are at their stand-ins, with the keys of all but Gemini."""
    keys = {SERVICES[name].keys[0]: one.key for name, one in clouds.items() if one.key and name != "gemini"}
    manager, client = start_new_kernel(kernel_name="python3", env={**os.environ, **keys})
    kernel = Kernel(manager, client)
    urls = {name: one.url for name, one in clouds.items()}
    setup = (
        f"%load_ext nb_backend\n{aside(APART + PATIENT)}\n"
        "import os, sys\nfrom dataclasses import replace\n"
        "from nb_backend import chats, settings\nfrom nb_backend.services import SERVICES\n"
        f"for name, url in {urls!r}.items():\n"
        "    SERVICES[name] = replace(SERVICES[name], url=url, url_variable='')\n"
        f"keys = {keys!r}\n{KEYRING}"
    )
    assert kernel.run(setup).error is None
    yield kernel
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.fixture(autouse=True)
def fresh(kernel, clouds) -> None:
    for one in clouds.values():
        one.requests.clear()
        one.refuses = None
    assert kernel.run(RESET).error is None


def said(run: Run) -> str:
    assert run.error is None, run.error
    return run.of("execute_result")[0]["data"]["text/plain"]


def services(kernel: Kernel) -> dict[str, str]:
    """Return the rows of ``%backend services`` by the names of the services."""
    lines = said(kernel.run("%backend services")).split("\n")
    return {line.partition(":")[0]: " ".join(line.split()[1:]) for line in lines}


def typing(kernel: Kernel, line: str, key: str) -> Run:
    """Run a cell, and type a key where it asks for one."""
    started = kernel.client.execute(line, allow_stdin=True)
    assert kernel.client.get_stdin_msg(timeout=TIMEOUT)["content"]["password"] is True
    kernel.client.input(key)
    run = kernel.finish(started)
    assert key not in json.dumps(run.messages, default=str)
    return run


def keeps_its_keys(clouds: dict[str, StandIn]) -> bool:
    """Whether no key was sent to another server than its own."""
    return not any(one.key and one.key in other.sent for one, other in permutations(clouds.values(), 2))


class TestCells:
    def test_three_services_answer_and_two_fail_each_with_its_own_key(self, kernel, clouds):
        clouds["groq"].refuses = 429, EMPTY
        line = "openai:gpt-5.4 anthropic:claude-a groq:llama ollama:llama3.2:1b gemini:gemini-3"
        run = kernel.run(f"%%backend {line}\nHi")
        assert run.error is None, run.error
        shown = columns(run.markdown[-1])
        for name, column in zip(line.split(), shown, strict=True):
            assert column.startswith(f"{name}**\n\n")
        assert ["I am" in column for column in shown] == [True, True, False, True, False]
        assert "Gemini needs a key: set GEMINI_API_KEY or run %backend key gemini" in shown[4]
        assert "check the plan and the balance of your account at Groq, whose key is in GROQ_API_KEY" in shown[2]
        assert kernel.run("[getattr(one, 'text', type(one).__name__) for one in _]").result == str(
            ["I am openai.", "I am anthropic.", "ServerError", "I am ollama.", "AuthError"]
        )
        for name in ("openai", "anthropic", "groq"):
            assert clouds[name].key in clouds[name].sent
        assert [len(clouds[name].asked) for name in MODELS] == [1, 1, 0, 1, 1]
        assert clouds["gemini"].requests == []
        assert keeps_its_keys(clouds)

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("openai:", "name a model of OpenAI: openai:MODEL; %backend models openai lists them"),
            ("openai: gpt-5.4", "write %%backend openai:gpt-5.4, without a space"),
            ("openai", "name a model of OpenAI: openai:MODEL"),
            ("openai anthropic", "name a model of OpenAI: openai:MODEL"),
            ("openai:gpt-5.4 anthropic:", "name a model of Anthropic"),
            ("antropic:claude-a", "there is no service 'antropic': did you mean anthropic:claude-a?"),
            ("openai:gpt-5.4 antropic:claude-a", "did you mean anthropic:claude-a?"),
            ("openai:gpt-6 anthropic:claude-a", "OpenAI does not list openai:gpt-6, so nothing was sent"),
            ("anthropic:claude-a --keep openai:gpt-5.4", "--keep needs one of"),
            ("gemini:gemini-3", "Gemini needs a key: set GEMINI_API_KEY or run %backend key gemini"),
        ],
    )
    def test_a_mistake_is_one_line_and_asks_nobody(self, kernel, clouds, line, words):
        one_line(kernel.run(f"%%backend {line}\nHi"), words)
        assert [one.asked for one in clouds.values()] == [[]] * len(clouds)

    def test_a_key_with_a_line_break_is_one_line_that_names_its_variable(self, kernel, clouds):
        kernel.run("os.environ['OPENAI_API_KEY'] = 'the-first-half\\nthe-other'")
        for line in ("openai:gpt-5.4", "openai:gpt-5.4 anthropic:claude-a", "openai:gpt-5.4 --dry-run"):
            run = kernel.run(f"%%backend {line}\nHi")
            one_line(run, "OPENAI_API_KEY contains a line end")
            assert "half" not in run.error[1]
        kernel.run("%backend url openai")
        assert "OPENAI_API_KEY contains a line end" in said(kernel.run("%backend"))
        assert "%%backend openai:gpt-5.4" not in tab(kernel, "%%backend openai:gpt")
        assert clouds["openai"].requests == []

    def test_a_name_with_a_colon_that_the_server_has_is_its_model(self, kernel, clouds):
        kernel.run(f"%backend url {clouds['ollama'].url}")
        clouds["ollama"].models.append("antropic:claude-a")
        for name in ("mistral:7b", "antropic:claude-a", "mistral:latest"):
            assert kernel.run(f"%%backend {name}\nHi").error is None
            assert json.loads(clouds["ollama"].asked[-1])["model"] == name
        clouds["ollama"].models.remove("antropic:claude-a")
        one_line(kernel.run("%%backend opnai:gpt-5.4\nHi"), "does not list opnai:gpt-5.4: did you mean openai:gpt-5.4?")
        one_line(kernel.run("%%backend groq\nHi"), "A model that is itself named groq goes in quotes")
        assert kernel.run("%%backend 'groq'\nHi").error is None
        assert kernel.run("%%backend openai:gpt-5.4\nHi").error is None
        assert len(clouds["openai"].asked) == 1
        assert keeps_its_keys(clouds)

    @pytest.mark.parametrize("model", ["openai:gpt-5.4", "anthropic:claude-a", "gemini:gemini-3", "ollama:mistral:7b"])
    def test_a_dry_run_shows_the_server_and_the_prompt_of_each_dialect(self, kernel, clouds, model):
        name, _, named = model.partition(":")
        shown = kernel.run(f"%%backend {model} -s 'Be brief' --dry-run\nWhy?").markdown[-1].replace("\\", "")
        assert f"- to: {clouds[name].url}" in shown
        assert f"- model: {named}" in shown
        has_key = name in ("openai", "anthropic")
        assert f"- key: {f'set, {SERVICES[name].keys[0]}' if has_key else 'not set'}\n" in shown
        assert "\nBe brief\n" in shown
        assert "\nWhy?\n" in shown
        assert [one.requests for one in clouds.values()] == [[]] * len(clouds)


class TestTheState:
    def test_the_services_with_their_keys_and_the_local_ones_that_answer(self, kernel, clouds):
        rows = services(kernel)
        assert rows["openai"] == "set, OPENAI_API_KEY OpenAI"
        assert rows["gemini"] == "not set, GEMINI_API_KEY Gemini"
        assert rows["ollama"] == "not set, OLLAMA_API_KEY answers Ollama"
        assert rows["lmstudio"].endswith("LM_API_TOKEN does not answer LM Studio")
        assert {*SERVICES} <= {*rows}
        assert [bool(one.requests) for one in clouds.values()] == [False] * 4 + [True]

    def test_a_service_is_the_server_until_another_url_is_set(self, kernel, clouds):
        assert said(kernel.run("%backend url anthropic")) == f"the server is Anthropic, {clouds['anthropic'].url}"
        state = said(kernel.run("%backend"))
        assert f"- server: Anthropic, {clouds['anthropic'].url} (reachable, 2 models: claude-a, claude-b)" in state
        assert "- model: not set: name one, like `%%backend anthropic:MODEL`" in state
        assert "- dialect: anthropic\n- key: set, ANTHROPIC_API_KEY\n" in state
        assert kernel.run("%%backend claude-b\nHi").error is None
        assert json.loads(clouds["anthropic"].asked[0])["model"] == "claude-b"
        kernel.run("%backend url gemini")
        state = said(kernel.run("%backend"))
        assert f"- server: Gemini, {clouds['gemini'].url} (not asked, as it needs a key)" in state
        assert "- key: not set: set GEMINI_API_KEY or run `%backend key gemini`" in state
        one_line(kernel.run("%backend url gemeni"), "there is no service 'gemeni': did you mean gemini?")
        assert "the embedded backend" in said(kernel.run("%backend url default"))

    def test_a_model_of_a_service_is_chosen_for_all_cells(self, kernel, clouds):
        assert "ask anthropic:claude-a" in said(kernel.run("%backend use anthropic:claude-a"))
        one_line(kernel.run("%backend use anthropic:claud-a"), "did you mean anthropic:claude-a?")
        one_line(kernel.run("%backend use openai"), "name a model of OpenAI")
        assert "c = openai:gpt-5.4" in said(kernel.run("%backend alias c openai:gpt-5.4"))
        for line in ("%%backend", "%%backend c"):
            assert kernel.run(f"{line}\nHi").error is None
        assert [len(one.asked) for one in clouds.values()] == [1, 1, 0, 0, 0]
        state = said(kernel.run("%backend"))
        assert "- server: Anthropic, " in state
        assert "- model: claude-a\n- dialect: anthropic\n- key: set, ANTHROPIC_API_KEY" in state

    def test_the_models_of_a_service_and_those_of_the_server(self, kernel, clouds):
        listed = said(kernel.run("%backend models anthropic"))
        assert listed.startswith("model     besides text\n")
        assert "`%%backend anthropic:claude-a` asks one" in listed
        for line in ("openai mini", "openai:mini"):
            found = said(kernel.run(f"%backend models {line}"))
            assert "gpt-5.4-mini" in found
            assert "gpt-5.4 " not in found
        kernel.run("%backend url ollama")
        assert "mistral:7b" in said(kernel.run("%backend models mistral"))  # which has no key: a word
        assert "mistral:7b" in said(kernel.run("%backend models 'mistral'"))
        one_line(kernel.run("%backend models antropic x"), "there is no service 'antropic': did you mean anthropic?")
        one_line(kernel.run("%backend models gemini x"), "Gemini needs a key")
        one_line(kernel.run("%backend models gpt 4"), "write %backend models gpt;")


class TestTheDialectOfAUrl:
    def test_it_is_named_in_any_place_and_forgotten_with_the_url(self, kernel, clouds):
        url = clouds["anthropic"].url.replace("127.0.0.1", "localhost") + "/x/v1"
        for line in (f"{url} --api anthropic", f"--api anthropic {url}", f"--api=anthropic {url}"):
            assert "asked in the dialect anthropic" in said(kernel.run(f"%backend url {line}"))
            assert kernel.run("settings.current.api").result == "'anthropic'"
        assert "- dialect: anthropic" in said(kernel.run("%backend"))
        said(kernel.run("%backend url http://localhost:1/v1"))
        assert kernel.run("settings.current.api is None").result == "True"
        said(kernel.run("%backend url --api gemini"))
        assert kernel.run("settings.current.api").result == "'gemini'"
        said(kernel.run("%backend url default"))
        assert kernel.run("settings.current.api, settings.current.url").result == "(None, None)"

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("http://localhost:1 --api morse", "there is no dialect 'morse': use one of gemini, anthropic,"),
            ("http://localhost:1 --api", "--api needs a dialect: use one of"),
            ("--api gemini", "--api is the dialect of a url, and none is set: write %backend url URL --api NAME"),
            ("default --api gemini", "%backend url default takes no dialect"),
            ("http://localhost:1 --key x", "%backend url has no option --key"),
        ],
    )
    def test_a_mistake_is_one_line_and_changes_nothing(self, kernel, line, words):
        one_line(kernel.run(f"%backend url {line}"), words)
        assert kernel.run("settings.current == settings.Settings()").result == "True"

    def test_config_takes_a_service_and_a_dialect(self, kernel, clouds):
        kernel.run("%config BackendMagics.url = 'anthropic'")
        assert "- server: Anthropic, " in said(kernel.run("%backend"))
        kernel.run("%config BackendMagics.url = 'http://localhost:1/v1'\n%config BackendMagics.api = 'gemini'")
        assert kernel.run("settings.current.url, settings.current.api").result == "('http://localhost:1/v1', 'gemini')"
        kernel.run("%config BackendMagics.url = 'http://localhost:2/v1'")
        assert kernel.run("settings.current.api is None").result == "True"
        assert "no dialect 'morse'" in kernel.run("%config BackendMagics.api = 'morse'").printed


class TestKeys:
    def test_the_key_of_a_service_is_typed_and_goes_to_the_service_only(self, kernel, clouds):
        assert said(typing(kernel, "%backend key gemini", clouds["gemini"].key)) == "the key of Gemini is set"
        assert kernel.run("%%backend gemini:gemini-3\nHi").error is None
        assert services(kernel)["gemini"] == "set, typed Gemini"
        kernel.run("%backend url groq")
        said(typing(kernel, "%backend key", TYPED))
        assert kernel.run("[*settings.current.keys], settings.current.api_key").result == "(['gemini', 'groq'], None)"
        one_line(kernel.run("%%backend llama\nHi"), "Groq refused the key that was typed (Incorrect API key provided)")
        assert "- key: set, typed with `%backend key`" in said(kernel.run("%backend"))
        assert "is forgotten in this process; GROQ_API_KEY is set all the same" in said(
            kernel.run("%backend key groq --forget")
        )
        assert kernel.run("%%backend llama\nHi").error is None
        assert keeps_its_keys(clouds)

    def test_a_typed_key_of_a_url_does_not_go_along_to_another_server(self, kernel, clouds):
        url = clouds["ollama"].url
        kernel.run(f"%backend url {url}")
        said(typing(kernel, "%backend key", TYPED))
        assert "forgotten" not in said(kernel.run(f"%backend url {url}/"))
        assert "the key that was typed for the server before is forgotten" in said(kernel.run("%backend url openai"))
        assert kernel.run("settings.current.api_key is None").result == "True"
        kernel.run(f"%backend url {url}")
        said(typing(kernel, "%backend key", TYPED))
        kernel.run("%config BackendMagics.url = 'http://localhost:1/v1'")
        assert kernel.run("settings.current.api_key is None").result == "True"

    def test_a_typed_key_is_masked_in_what_is_asked_about_a_failure(self, kernel, clouds):
        said(typing(kernel, "%backend key gemini", TYPED))
        kernel.run("raise RuntimeError(f'denied: {settings.current.keys[\"gemini\"].value}')")
        assert kernel.run("%backend fix ollama:mistral:7b").error is None
        assert "denied: ***" in clouds["ollama"].asked[-1]
        assert TYPED not in clouds["ollama"].sent

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("key antropic", "there is no such service: did you mean anthropic?"),
            ("key openai abc-secret", "there is a key on this line"),
            ("key openai 'abc-secret", "there is a key on this line"),
            ("key openai --kep", "there is a key on this line"),
            ("key --kep", "takes the name of a service, --keep and --forget"),
            ("key --keep", "--keep wants a service"),
            ("key openai --keep --forget", "--keep or --forget, not both"),
            ("key openai=abc-secret", "there is a key on this line"),
        ],
    )
    def test_a_mistake_is_one_line_that_repeats_nothing(self, kernel, line, words):
        run = kernel.run(f"%backend {line}")
        one_line(run, words)
        assert "secret" not in run.error[1]

    def test_nobody_can_type_the_key_of_a_service(self, kernel):
        started = kernel.client.execute("%backend key gemini", allow_stdin=False)
        one_line(kernel.finish(started), "set GEMINI_API_KEY before the kernel starts")

    def test_a_key_is_kept_in_the_keyring_on_request_and_looked_up_once(self, kernel, clouds):
        one_line(kernel.run("%backend key gemini --keep"), "pip install keyring")  # where it is not installed
        kernel.run("keyring_of()")
        said(typing(kernel, "%backend key gemini", "not-the-key-0123"))
        assert kernel.run("sys.modules['keyring'].kept").result == "{}"  # nothing else writes keys
        run = typing(kernel, "%backend key gemini --keep", clouds["gemini"].key)
        assert said(run) == "the key of Gemini is set, and kept in the system keyring"
        assert kernel.run("[*sys.modules['keyring'].kept]").result == "[('nb_backend', 'gemini')]"
        kernel.run(
            "settings.current = settings.Settings(); sys.modules['keyring'].looked_up.clear()"
        )  # another process
        said(kernel.run("%backend services"))
        assert kernel.run("sys.modules['keyring'].looked_up").result == "[]"  # a list unlocks nothing
        for _ in range(2):
            assert kernel.run("%%backend gemini:gemini-3\nHi").error is None
        assert "set, in the system keyring" in said(kernel.run("%backend services"))
        kernel.run("%backend url gemini")
        assert "- key: set, in the system keyring" in said(kernel.run("%backend"))
        assert kernel.run("sys.modules['keyring'].looked_up").result == "[('nb_backend', 'gemini')]"
        assert kernel.run(f"{clouds['gemini'].key!r} in settings.known_keys()").result == "True"
        assert said(kernel.run("%backend key gemini --forget")) == (
            "the key of Gemini is forgotten in this process and removed from the system keyring"
        )
        assert kernel.run("sys.modules['keyring'].kept").result == "{}"
        one_line(kernel.run("%%backend gemini-3\nHi"), "Gemini needs a key")

    def test_a_keyring_that_fails_is_one_line_when_it_is_to_keep_and_silent_when_it_is_read(self, kernel, clouds):
        kernel.run("keyring_of(RuntimeError('no backend'))")
        run = typing(kernel, "%backend key gemini --keep", clouds["gemini"].key)
        assert "in this process only: the system keyring did not store it (RuntimeError: no backend)" in said(run)
        assert kernel.run("%%backend gemini:gemini-3\nHi").error is None
        kernel.run("settings.current = settings.Settings()")
        one_line(kernel.run("%%backend gemini:gemini-3\nHi"), "Gemini needs a key")
        assert said(kernel.run("%backend key gemini --forget")) == "the key of Gemini is forgotten in this process"
        kernel.run("keyring_of(stores=False)")
        run = typing(kernel, "%backend key gemini --keep", clouds["gemini"].key)
        assert said(run).endswith("in this process only: the system keyring stores nothing on this machine")


def tab(kernel: Kernel, before: str) -> list[str]:
    """Press Tab at the end of a line; return the line after each choice."""
    run = kernel.finish(kernel.client.complete(before, len(before)))
    return [before[: run.reply["cursor_start"]] + match for match in run.reply["matches"]]


def test_tab_offers_services_their_models_and_dialects(kernel, clouds):
    assert tab(kernel, "%%backend ant") == ["%%backend anthropic:"]
    assert tab(kernel, "%%backend anthropic:") == ["%%backend anthropic:claude-a", "%%backend anthropic:claude-b"]
    assert tab(kernel, "%backend use openai:gpt-5.4-") == ["%backend use openai:gpt-5.4-mini"]
    assert tab(kernel, "%%backend ollama:m") == ["%%backend ollama:mistral:7b"]
    assert "%%backend gemini:gemini-3" not in tab(kernel, "%%backend gemini:")  # it has no key, and is not asked
    assert clouds["gemini"].requests == []
    assert tab(kernel, "%backend key gr") == ["%backend key groq"]
    assert tab(kernel, "%backend url oll") == ["%backend url ollama"]
    assert tab(kernel, "%backend url ollama --api a") == ["%backend url ollama --api anthropic"]
    assert tab(kernel, "%backend models ant") == ["%backend models anthropic"]
    assert tab(kernel, "%backend models anthropic claude-b") == ["%backend models anthropic claude-b"]
    assert keeps_its_keys(clouds)
