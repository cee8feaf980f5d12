"""What the first answers of the embedded backend mention: found beside the answer, each once, without waiting."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from nb_backend.chat.answer import Answer
from nb_backend.notebook import hints
from nb_backend.notebook.cell.section import AnswerSection
from nb_backend.services import SERVICES


@pytest.fixture(autouse=True)
def look(monkeypatch: pytest.MonkeyPatch) -> Future[set[str]]:
    """Return the future of the look for servers, which is going on."""
    future: Future[set[str]] = Future()
    monkeypatch.setattr(hints, "_shown", set())
    monkeypatch.setattr(hints, "_look", SimpleNamespace(future=future))
    return future


def stream(url: str | None = None, is_replay: bool = False) -> Any:
    return SimpleNamespace(turn=SimpleNamespace(request=SimpleNamespace(url=url)), is_replay=is_replay)


def test_an_answer_does_not_wait_for_servers_which_the_next_one_mentions(look):
    assert hints.hints_for(stream())() == []
    look.set_result({"ollama", "llamacpp"})
    assert hints.hints_for(stream())() == [
        "Ollama runs on this machine: `%%backend ollama:MODEL` asks it",
        "llama.cpp runs on this machine: `%%backend llamacpp:MODEL` asks it",
    ]
    assert hints.hints_for(stream())() == []


def test_an_answer_ends_whatever_came_of_the_look(look):
    look.set_exception(RuntimeError("the loop is closed"))
    assert hints.hints_for(stream())() == []


def test_a_key_is_mentioned_once_and_never_its_value(look, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    first = "OPENAI_API_KEY is set: `%%backend openai:MODEL` asks OpenAI"
    assert hints.hints_for(stream())() == [first]
    monkeypatch.setenv("GOOGLE_API_KEY", "sk-secret")
    assert hints.hints_for(stream())() == ["GOOGLE_API_KEY is set: `%%backend gemini:MODEL` asks Gemini"]
    assert hints.hints_for(stream())() == []


def test_a_line_names_two_keys_and_says_where_the_others_are(look, monkeypatch):
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GROQ_API_KEY"):
        monkeypatch.setenv(name, "sk-secret")
    assert hints.hints_for(stream())() == [
        "OPENAI_API_KEY is set: `%%backend openai:MODEL` asks OpenAI",
        "ANTHROPIC_API_KEY is set: `%%backend anthropic:MODEL` asks Anthropic",
        "2 more with a key: `%backend services`",
    ]
    assert hints.hints_for(stream())() == []


@pytest.mark.parametrize("other", [stream("http://127.0.0.1:8080"), stream(is_replay=True)])
def test_an_answer_of_a_server_or_of_the_cache_has_none_and_nothing_is_looked_for(look, monkeypatch, other):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setattr(hints, "_look", None)
    assert hints.hints_for(other)() == []
    assert hints._look is None


@pytest.mark.parametrize(
    ("host", "is_here"), [("", True), ("127.0.0.1:11500", True), ("0.0.0.0", True), ("http://gpu.example:11434", False)]
)
def test_only_this_machine_is_looked_at(monkeypatch, host, is_here):
    monkeypatch.setenv("OLLAMA_HOST", host)
    assert hints._is_here(SERVICES["ollama"].base_url) is is_here


def test_they_follow_the_status_line_and_are_not_in_the_answer():
    said = ["OPENAI_API_KEY is set: `%%backend openai:MODEL` asks OpenAI"]
    section = AnswerSection("text", hints=lambda: said)
    answer = Answer(model="m", text="Hi", complete=True)
    assert section.status_text != (section.end(answer, False), section.status_text)[1]
    assert section.status_text.endswith(" · OPENAI_API_KEY is set: `%%backend openai:MODEL` asks OpenAI]")
    assert section.markdown(live=False).endswith(
        "<small> · OPENAI_API_KEY is set: `%%backend openai:MODEL` asks OpenAI</small>"
    )
    assert "OPENAI" not in answer.text + answer.summary + str(answer.metadata())
