"""Whether an answer needs another request."""

from __future__ import annotations

import pytest

from nb_backend import Chat, RawResponse
from nb_backend.chat import rounds
from nb_backend.chat.answer import Answer
from nb_backend.chat.images import ImageUrl
from nb_backend.chat.rounds import Asked, Round, next_round
from nb_backend.errors import RateLimitError, ServerError

TOO_LONG_EVENT = RawResponse(type="error", error="PromptTooLongError", message="9 tokens long and m takes 8")
TOO_LONG_ERROR = ServerError("This model's maximum context length is 8192 tokens")


@pytest.mark.parametrize("failure", [TOO_LONG_EVENT, TOO_LONG_ERROR])
@pytest.mark.parametrize(
    ("trimmed", "turns", "trim"), [(0, 1, 1), (0, 4, 2), (2, 4, 3), (3, 4, 4), (0, 5, 3), (3, 5, 4)]
)
def test_half_of_the_turns_that_were_sent_are_trimmed(failure, trimmed, turns, trim):
    assert next_round(Answer(trimmed=trimmed), failure, Asked(turns)) == Round(trim=trim)


@pytest.mark.parametrize("turns", [0, 4])
def test_no_turns_are_left_to_trim(turns):
    assert next_round(Answer(trimmed=turns), TOO_LONG_ERROR, Asked(turns)) is None


@pytest.mark.parametrize(
    "failure",
    [
        None,
        RawResponse(type="error", error="ModelNotFoundError", message="no such model"),
        RawResponse(type="content", content="the prompt is too long"),
        RateLimitError("slow down"),
        ValueError("context length"),
    ],
)
def test_another_ending_needs_no_request(failure):
    assert next_round(Answer(), failure, Asked(4)) is None


@pytest.mark.parametrize("begun", [{"text": "H"}, {"reasoning": "H"}, {"images": [ImageUrl("http://a.example/1.png")]}])
def test_an_answer_that_has_begun_is_not_requested_again(begun):
    assert next_round(Answer(**begun), TOO_LONG_ERROR, Asked(4)) is None


def test_the_first_rule_that_applies_decides(monkeypatch):
    tried = []

    def rule(name, found):
        return lambda *given: tried.append((name, *given)) or found

    monkeypatch.setattr(rounds, "RULES", (rule("a", None), rule("b", Round(1)), rule("c", Round(2))))
    answer = Answer()
    assert next_round(answer, None, 3) == Round(1)
    assert tried == [("a", answer, None, 3), ("b", answer, None, 3)]


async def test_a_rule_is_asked_when_a_request_ends_normally(backend, monkeypatch):
    endings = []

    def once_more(answer, failure, asked):
        endings.append((answer.text, failure, asked))
        return Round(trim=0) if len(endings) == 1 else None

    monkeypatch.setattr(rounds, "RULES", (once_more,))
    backend.engine.enqueue("one ")
    backend.engine.enqueue("two")
    assert (await Chat().ask("Hi")).text == "one two"
    assert endings == [("one ", None, Asked(0)), ("one two", None, Asked(0))]
    assert len(backend.engine.history) == 2


REFUSED = ServerError("unknown field", status=422)
REFUSED_EVENT = RawResponse(type="error", error="E", message="failed to parse grammar")


@pytest.mark.parametrize("failure", [REFUSED, REFUSED_EVENT, ServerError("no json_schema here")])
def test_a_refused_schema_is_left_out_of_the_next_request(failure):
    assert next_round(Answer(trimmed=1), failure, Asked(4, is_formatted=True)) == Round(trim=1, drops_format=True)
    assert next_round(Answer(), failure, Asked(4)) is None
    assert next_round(Answer(text="H"), failure, Asked(4, is_formatted=True)) is None


@pytest.mark.parametrize("failure", [None, RateLimitError("slow down"), ServerError("it fell over", status=500)])
def test_another_failure_leaves_the_schema_in(failure):
    assert next_round(Answer(), failure, Asked(4, is_formatted=True)) is None


def test_a_request_with_a_schema_that_is_too_long_is_trimmed_first():
    failure = ServerError("This model's maximum context length is 8192 tokens", status=400)
    assert next_round(Answer(), failure, Asked(4, is_formatted=True)) == Round(trim=2)
