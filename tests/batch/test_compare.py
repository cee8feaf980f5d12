"""``compare``: a DataFrame with a row for each prompt and model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest
from stand_ins import standing_in

import nb_backend
from nb_backend.local.scripted import ScriptedEngine
from nb_backend.services import SERVICES

COLUMNS = ["prompt", "model", "answer", "tokens", "seconds", "error"]


def test_each_prompt_and_model_is_a_row(backend):
    found = nb_backend.compare(["one two", "three"], ["a", "b"])
    assert found.columns.tolist() == COLUMNS
    assert found["prompt"].tolist() == ["one two", "one two", "three", "three"]
    assert found["model"].tolist() == ["a", "b", "a", "b"]
    assert found["answer"].tolist() == found["prompt"].tolist()
    assert found["tokens"].tolist() == [2, 2, 1, 1]
    assert (found["seconds"] > 0).all()
    assert found["error"].tolist() == [None] * 4
    assert sorted((body["model"], body["messages"][0]["content"]) for body in backend.engine.history) == [
        ("a", "one two"),
        ("a", "three"),
        ("b", "one two"),
        ("b", "three"),
    ]


def test_one_text_is_one_prompt_and_one_name_one_model(backend):
    assert nb_backend.compare("one", "a")["answer"].tolist() == ["one"]
    assert nb_backend.compare("one", "a, b")["model"].tolist() == ["a", "b"]


def test_a_failure_keeps_its_row_with_the_text_that_arrived(backend):
    failure = {"type": "error", "error": "Boom", "message": "it went wrong"}
    backend.engine.enqueue("As far as it ca", failure)
    found = nb_backend.compare("one", ["a", "b"], concurrency=1)
    assert found["answer"].tolist() == ["As far as it ca", "one"]
    assert found["error"].tolist() == ["it went wrong", None]
    assert found["tokens"].isna().tolist() == [True, False]
    assert found["tokens"].dtype == "Int64"  # integers, although one is missing
    assert found["seconds"].notna().all()


def test_the_options_are_those_of_map(backend):
    table = pd.DataFrame({"thing": ["sky", "sea"]})
    found = nb_backend.compare(
        table, ["a"], template="Why is the {{ thing }} blue?", system="Be brief.", temperature=0.5
    )
    assert found["prompt"].tolist() == ["Why is the sky blue?", "Why is the sea blue?"]
    body = backend.engine.history[0]
    assert (body["temperature"], body["messages"][0]["content"]) == (0.5, "Be brief.")


def test_a_schema_checks_the_answers(backend):
    for text in ("7", "seven", "eight"):
        backend.engine.enqueue(text)
    found = nb_backend.compare("Which?", ["a", "b"], schema={"type": "integer"}, concurrency=1)
    assert found["answer"].tolist() == ["7", "eight"]
    assert [error and error[:38] for error in found["error"]] == [None, "the answer does not fit the schema: it"]


async def test_in_a_coroutine_it_is_awaited_or_waits_by_itself(backend):
    assert (await nb_backend.compare("one", ["a"])).columns.tolist() == COLUMNS
    assert nb_backend.compare("one", ["a"])["answer"].tolist() == ["one"]


def test_an_interrupt_keeps_what_is_done(backend, monkeypatch):
    stream = ScriptedEngine.stream

    async def interrupting(self, body):
        if len(self.history) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        async for event in stream(self, body):
            yield event

    monkeypatch.setattr(ScriptedEngine, "stream", interrupting)
    prompts, models = [str(number) for number in range(10)], ["a", "b"]
    with pytest.raises(KeyboardInterrupt, match=r"stopped: (\d+) of 20 are kept") as raised:
        nb_backend.compare(prompts, models, concurrency=1)
    kept, before = int(str(raised.value).split()[1]), len(backend.engine.history)
    monkeypatch.undo()
    found = nb_backend.compare(prompts, models, url=backend.url, api_key=backend.env["NB_BACKEND_API_KEY"])
    assert found["answer"].tolist() == [prompt for prompt in prompts for _ in models]
    assert len(backend.engine.history) - before == 20 - kept


def test_a_replay_is_the_same_to_the_last_digit(backend, tmp_path):
    first = nb_backend.compare(["one", "two"], ["a", "b"], cache=tmp_path)
    assert nb_backend.compare(["one", "two"], ["a", "b"], cache=tmp_path).equals(first)
    assert len(backend.engine.history) == 4


def test_arguments_that_cannot_be_used_are_refused_at_once(backend):
    with pytest.raises(ValueError, match="models is empty"):
        nb_backend.compare("one", [])
    with pytest.raises(TypeError, match="takes models"):
        nb_backend.compare("one", ["a"], model="b")
    assert backend.engine.history == []


def test_models_of_several_services_get_their_own_keys_and_no_common_one(monkeypatch):
    with standing_in(openai=["gpt"], anthropic=["claude"], ollama=["phi"]) as clouds:
        clouds["ollama"].key = ""
        for name, one in clouds.items():
            monkeypatch.setitem(SERVICES, name, replace(SERVICES[name], url=one.url, url_variable=""))
            monkeypatch.setenv(SERVICES[name].keys[0], one.key)
        models = ["openai:gpt", "anthropic:claude", "ollama:phi"]
        found = nb_backend.compare("Hi", models, progress=False)
        assert found["answer"].tolist() == ["I am openai.", "I am anthropic.", "I am ollama."]
        assert not any(
            one.key and one.key in other.sent
            for one in clouds.values()
            for other in clouds.values()
            if one is not other
        )
        with pytest.raises(ValueError, match=r"api_key is for one: leave it out, and set OPENAI_API_KEY, or %backend"):
            nb_backend.compare("Hi", models, api_key="one-key-for-all-0123")
        assert "one-key-for-all" not in str([one.sent for one in clouds.values()])
        table = nb_backend.compare("Hi", ["openai:gpt"], api_key=clouds["openai"].key, progress=False)
        assert table["answer"].tolist() == ["I am openai."]
        answers = nb_backend.map(["Hi"], model="claude", url=clouds["anthropic"].url, api="anthropic", progress=False)
        assert [str(one) for one in answers] == ["I am anthropic."]
        assert [str(one) for one in nb_backend.map(["Hi"], model="openai:gpt", progress=False)] == ["I am openai."]


def test_without_pandas_the_error_says_what_to_install():
    code = "import sys; sys.modules['pandas'] = None; import nb_backend; nb_backend.compare('one', ['a'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (
        done.stderr.splitlines()[-1] == "ValueError: compare returns a DataFrame and needs pandas: pip install pandas"
    )
