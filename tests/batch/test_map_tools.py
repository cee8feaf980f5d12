"""The prompts of ``map`` may have tools: each answer has its own calls, and nobody is asked about them."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from pydantic import BaseModel
from scripted_calls import results, tool_call
from serving import Backend

import nb_backend
from nb_backend import tool
from nb_backend.tools import schema as schemas

PEOPLE = {"Rome": 2_800_000, "Oslo": 700_000}


def population(city: str) -> int:
    """Return how many people live in a city."""
    return PEOPLE[city]


class City(BaseModel):
    name: str
    people: int


async def test_each_answer_has_its_own_calls(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    made = []
    original = schemas.parameters_of
    monkeypatch.setattr(schemas, "parameters_of", lambda *given: made.append(given) or original(*given))
    for city in PEOPLE:
        backend.engine.enqueue(tool_call("population", city=city))
        backend.engine.enqueue(f"Many live in {city}.")
    answers = await nb_backend.map([*PEOPLE], tools=[population], concurrency=1, progress=False)
    assert [answer.text for answer in answers] == [f"Many live in {city}." for city in PEOPLE]
    assert [[step.result for step in answer.steps] for answer in answers] == [["2800000"], ["700000"]]
    assert results(backend.engine.history[1]) == ["2800000"]
    assert len(made) == 1  # not once for each prompt


async def test_a_call_that_needs_consent_is_refused(backend: Backend, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("builtins.input", lambda *args: pytest.fail("it asked"))
    backend.engine.enqueue(tool_call("population", city="Rome"))
    backend.engine.enqueue("I may not.")
    (answer,) = await nb_backend.map(["Rome"], tools=tool(population, approve=True), progress=False)
    (step,) = answer.steps
    assert (answer.text, step.approved, step.result) == ("I may not.", False, "")
    assert results(backend.engine.history[1]) == [step.content] == [f"Error: {step.error}"]

    backend.engine.enqueue(tool_call("population", city="Rome"))
    backend.engine.enqueue("Many.")
    (answer,) = await nb_backend.map(
        ["Rome?"], tools=[tool(population, approve=True)], approve=lambda call: True, progress=False
    )
    assert answer.steps[0].result == "2800000"


async def test_a_schema_and_tools_together(backend: Backend):
    for city, people in PEOPLE.items():
        backend.engine.enqueue("I look. ", tool_call("population", city=city))
        backend.engine.enqueue(json.dumps({"name": city, "people": people}))
    table = pd.DataFrame({"city": [*PEOPLE]})
    found = await nb_backend.map(
        table, template="{{ city }}", tools=[population], schema=City, concurrency=1, progress=False
    )
    assert found.to_dict("list") == {"name": [*PEOPLE], "people": [*PEOPLE.values()]}
    assert all(body["tools"] and body["response_format"] for body in backend.engine.history)


async def test_a_wrong_tool_is_refused_before_anything_is_sent(backend: Backend):
    with pytest.raises(TypeError, match="a tool is a function, not str"):
        await nb_backend.map(["a"], tools=["population"], progress=False)
    assert backend.engine.history == []
