"""``map`` with a schema: asks for JSON, checks it, asks once more, and returns objects or columns."""

from __future__ import annotations

import enum
import json
import socket
import subprocess
import sys
from typing import Literal
from unittest.mock import ANY

import pandas as pd
import pytest
from aiohttp import web
from pydantic import BaseModel, Field, field_validator
from serving import put_before

import nb_backend
from nb_backend.chat.schema import Schema, SchemaError
from nb_backend.local.engine import error_event

GOOD = '{"label": "kind", "stars": 4}'
SCHEMA = {
    "title": "Review of ours",
    "type": "object",
    "properties": {"label": {"enum": ["kind", "angry"]}, "stars": {"type": "integer"}},
    "required": ["label", "stars"],
}


class Review(BaseModel):
    label: Literal["kind", "angry"]
    stars: int = Field(ge=1, le=5)


def enqueue(backend, *answers: str) -> None:
    for answer in answers:
        backend.engine.enqueue(answer)


@pytest.mark.parametrize(("schema", "name"), [(Review, "Review"), (SCHEMA, "Review_of_ours")])
def test_the_schema_is_sent_as_a_parameter_and_in_the_system_prompt(backend, schema, name):
    enqueue(backend, GOOD)
    nb_backend.map(["Nice!"], schema=schema, system="Be fair.")
    body = backend.engine.history[0]
    plain = schema if isinstance(schema, dict) else schema.model_json_schema()
    sent = body["response_format"]["json_schema"]
    assert body["response_format"] == {"type": "json_schema", "json_schema": ANY}
    assert (sent["name"], sent["strict"]) == (name, True)
    assert sent["schema"]["additionalProperties"] is False
    assert sent["schema"]["properties"]["stars"]["type"] == "integer"
    assert "maximum" not in str(sent)
    system, user = (message["content"] for message in body["messages"])
    assert system.startswith("Be fair.\n\n")
    assert json.dumps(plain) in system
    assert user == "Nice!"


def test_a_class_returns_instances_and_a_dict_returns_plain_json(backend):
    enqueue(backend, GOOD, GOOD)
    assert nb_backend.map(["Nice!"], schema=Review) == [Review(label="kind", stars=4)]
    assert nb_backend.map(["Nice!"], schema=SCHEMA) == [{"label": "kind", "stars": 4}]


class Remark(BaseModel):
    text: str
    stars: int = 3


def test_a_null_in_place_of_an_optional_field_is_its_default(backend):
    enqueue(backend, '{"text": "Nice!", "stars": null}', '{"text": "Bah!", "stars": 1}')
    found = nb_backend.map(["a", "b"], schema=Remark, concurrency=1)
    assert found == [Remark(text="Nice!", stars=3), Remark(text="Bah!", stars=1)]
    sent = backend.engine.history[0]["response_format"]["json_schema"]["schema"]
    assert sent["required"] == ["text", "stars"]
    assert len(backend.engine.history) == 2


def test_a_series_returns_a_series_of_objects(backend):
    enqueue(backend, GOOD)
    found = nb_backend.map(pd.Series(["Nice!"], index=[7]), schema=Review)
    assert (found.index.tolist(), found[7]) == ([7], Review(label="kind", stars=4))


def test_a_table_returns_the_columns_of_the_schema(backend):
    enqueue(backend, GOOD, '{"stars": 1, "label": "angry"}')
    reviews = pd.DataFrame({"text": ["Nice!", "Bah!"]}, index=[7, 9])
    found = nb_backend.map(reviews, template="{{ text }}", schema=Review, concurrency=1)
    assert found.index.tolist() == [7, 9]
    assert found.columns.tolist() == ["label", "stars"]
    assert found.to_dict("list") == {"label": ["kind", "angry"], "stars": [4, 1]}
    assert reviews.join(found).columns.tolist() == ["text", "label", "stars"]


@pytest.mark.parametrize("schema", [Review, SCHEMA])
def test_rows_that_failed_are_empty_and_have_an_error(backend, schema):
    backend.engine.enqueue(error_event(ValueError("it went wrong")))
    enqueue(backend, GOOD)
    found = nb_backend.map(pd.DataFrame({"text": ["Nice!", "Bah!"]}), schema=schema, concurrency=1)
    assert found.columns.tolist() == ["label", "stars", "error"]
    assert found["label"].isna().tolist() == [True, False]
    assert found["error"].tolist() == ["it went wrong", None]


@pytest.mark.parametrize("schema", [Review, SCHEMA])
def test_the_columns_are_there_even_if_all_failed_or_there_are_no_rows(backend, schema):
    backend.engine.enqueue(error_event(ValueError("it went wrong")))
    table = pd.DataFrame({"text": ["Nice!"]})
    assert nb_backend.map(table, schema=schema).columns.tolist() == ["label", "stars", "error"]
    assert nb_backend.map(table[:0], schema=schema).columns.tolist() == ["label", "stars"]


def test_a_schema_with_a_field_named_error_keeps_it(backend):
    schema = {"type": "object", "properties": {"error": {"type": "string"}}}
    backend.engine.enqueue(error_event(ValueError("it went wrong")))
    enqueue(backend, '{"error": "a typo"}')
    found = nb_backend.map(pd.DataFrame({"text": ["a", "b"]}), schema=schema, concurrency=1)
    assert found.columns.tolist() == ["error", "error_"]
    assert found["error"][1] == "a typo"


def test_answers_that_are_not_objects_are_one_column(backend):
    enqueue(backend, "[1, 2]", "[]")
    found = nb_backend.map(pd.DataFrame({"text": ["a", "b"]}), schema={"type": "array"}, concurrency=1)
    assert found["answer"].tolist() == [[1, 2], []]


@pytest.mark.parametrize(
    "answer",
    [
        f"```json\n{GOOD}\n```",
        f"Here it is:\n\n```\n{GOOD}\n```\nI hope that helps.",
        f"The answer is {GOOD}, I think.",
        'First `{"a": 1}`?\n\n```json\n{"no": 1}\n```\n\n```json\n' + GOOD + "\n```",
    ],
)
@pytest.mark.parametrize("schema", [Review, SCHEMA])
def test_json_may_be_in_a_code_block_or_between_other_text(backend, answer, schema):
    enqueue(backend, answer)
    (found,) = nb_backend.map(["Nice!"], schema=schema)
    assert found == (GOOD and json.loads(GOOD) if schema is SCHEMA else Review(label="kind", stars=4))
    assert len(backend.engine.history) == 1


@pytest.mark.parametrize(
    "thought", ['<think>{"label": "no", "stars": 0}</think>\n\n', 'Is it {"stars": 0}?\n</think>\n\n']
)
def test_reasoning_between_tags_is_not_part_of_the_object(backend, thought):
    enqueue(backend, thought + GOOD)
    assert nb_backend.map(["Nice!"], schema=Review) == [Review(label="kind", stars=4)]


def test_a_byte_order_mark_is_ignored(backend):
    enqueue(backend, "\ufeff7\n")
    assert nb_backend.map(["How many?"], schema={"type": "integer"}) == [7]


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ("I like it.", "it is not JSON"),
        ('{"label": "kind"', "it is not JSON"),
        ('{"label": "kind", "stars": NaN}', "NaN is not allowed in JSON"),
        ("[" * 100_000, "it is not JSON"),
        ('{"label": "so so", "stars": 4}', "label"),
        ('{"label": "kind", "stars": "many"}', "stars"),
        ("4", "4 is not of type 'object'"),
    ],
)
def test_if_an_answer_does_not_fit_the_model_is_asked_once_more_in_the_same_chat(backend, answer, complaint):
    enqueue(backend, answer, GOOD)
    assert nb_backend.map(["Nice!"], schema=SCHEMA) == [json.loads(GOOD)]
    first, again = backend.engine.history
    *before, said, asked = again["messages"]
    assert before == first["messages"]
    assert said == {"role": "assistant", "content": answer}
    assert complaint in asked["content"]
    assert asked["content"].startswith("That does not fit the schema: ")
    assert "\n" not in asked["content"]
    assert len(asked["content"]) < 500
    assert again["response_format"] == first["response_format"]


def test_after_an_empty_answer_the_complaint_follows_the_prompt(backend):
    enqueue(backend, "", GOOD)
    assert nb_backend.map(["Nice!"], schema=SCHEMA) == [json.loads(GOOD)]
    first, again = backend.engine.history
    *before, asked = again["messages"]
    assert before == first["messages"][:-1]
    assert asked["content"].startswith("Nice!\n\nThat does not fit the schema: it is not JSON")


def test_the_complaint_of_a_class_is_one_line_without_links(backend):
    enqueue(backend, '{"label": "so so", "stars": 9}', GOOD)
    nb_backend.map(["Nice!"], schema=Review)
    asked = backend.engine.history[1]["messages"][-1]["content"]
    assert "label: Input should be 'kind' or 'angry'; stars: Input should be less than or equal to 5." in asked
    assert "http" not in asked


def test_a_second_answer_that_does_not_fit_is_an_error_that_holds_the_answer(backend):
    enqueue(backend, "I like it.", '{"label": "so so", "stars": 4}')
    (found,) = nb_backend.map(["Nice!"], schema=SCHEMA)
    assert type(found) is SchemaError
    assert isinstance(found, ValueError)
    assert str(found) == "the answer does not fit the schema: $.label: 'so so' is not one of ['kind', 'angry']"
    assert found.answer.text == found.partial == '{"label": "so so", "stars": 4}'
    assert len(backend.engine.history) == 2


class Broken(BaseModel):
    label: str

    @field_validator("label")
    @classmethod
    def fails(cls, label: str) -> str:
        return {"kind": "good"}[label]  # KeyError, which pydantic lets through


NESTED = f'{{"a": {"[" * 400}{"]" * 400}}}'


@pytest.mark.parametrize(
    ("schema", "answer", "complaint"),
    [
        (Broken, '{"label": "odd"}', "KeyError: 'odd'"),
        ({"items": {"$ref": "#"}, "properties": {"a": {"$ref": "#"}}}, NESTED, "it is nested too deeply"),
    ],
)
def test_a_validator_that_raises_something_else_keeps_the_text(backend, schema, answer, complaint):
    enqueue(backend, answer, answer)
    (found,) = nb_backend.map(["Nice!"], schema=schema)
    assert type(found) is SchemaError
    assert found.complaint == complaint
    assert found.partial == answer


def test_the_images_are_sent_again_with_the_second_request(backend):
    enqueue(backend, "A dot.", GOOD)
    dot = b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
    assert nb_backend.map(["What is it?"], images=[dot], schema=SCHEMA) == [json.loads(GOOD)]
    again = backend.engine.history[1]
    assert "image" in json.dumps(again["messages"][1]["content"]) + json.dumps(again["media"])


def test_a_stricter_class_asks_again_for_an_answer_that_was_kept(backend):
    enqueue(backend, GOOD)
    backend.engine.enqueue(error_event(ValueError("it went wrong")))
    nb_backend.map(["a", "b"], schema=Review, concurrency=1)
    old = Review

    class Strict(BaseModel):
        label: Literal["kind", "angry"]
        stars: int = Field(ge=1, le=5)

        @field_validator("stars")
        @classmethod
        def odd(cls, value):
            assert value % 2
            return value

    Strict.__name__, Strict.model_json_schema = "Review", old.model_json_schema
    enqueue(backend, GOOD.replace("4", "3"), GOOD.replace("4", "5"))
    assert [one.stars for one in nb_backend.map(["a", "b"], schema=Strict, concurrency=1)] == [3, 5]


@pytest.fixture
def refusing(monkeypatch, request):
    """A server that refuses ``response_format``; counts how often."""
    refused = []

    @web.middleware
    async def refuse(request: web.Request, handler) -> web.StreamResponse:
        if "response_format" in await request.json():
            refused.append(1)
            return web.json_response({"error": {"message": "unknown field"}}, status=status)
        return await handler(request)

    status = request.param
    put_before(refuse, monkeypatch)
    return refused


@pytest.mark.parametrize("refusing", [400, 422], indirect=True)
def test_a_server_that_refuses_the_parameter_is_asked_without_it_from_then_on(refusing, backend, tmp_path, monkeypatch):
    enqueue(backend, *[GOOD] * 5)
    assert nb_backend.map(list("abcde"), schema=SCHEMA, concurrency=1, cache=tmp_path) == [json.loads(GOOD)] * 5
    assert len(refusing) == 1
    monkeypatch.setenv("NB_BACKEND_CACHE_ONLY", "1")  # the answers without the parameter are found in the cache
    assert nb_backend.map(list("abcde"), schema=SCHEMA, cache=tmp_path) == [json.loads(GOOD)] * 5
    assert (len(refusing), len(backend.engine.history)) == (1, 5)


@pytest.mark.parametrize("refusing", [400], indirect=True)
def test_a_request_refused_without_the_parameter_too_fails_with_the_reason(refusing, backend):
    backend.engine.enqueue(error_event(ValueError("it went wrong")))
    enqueue(backend, GOOD)
    failed, found = nb_backend.map(["a", "b"], schema=SCHEMA, concurrency=1)
    assert str(failed) == "it went wrong"
    assert found == json.loads(GOOD)
    assert len(refusing) == 2


def test_an_engine_that_cannot_use_the_schema_is_asked_without_it(backend):
    backend.engine.enqueue(error_event(ValueError("the model refuses the request: failed to parse grammar")))
    enqueue(backend, GOOD)
    assert nb_backend.map(["a"], schema=SCHEMA) == [json.loads(GOOD)]
    assert "response_format" not in backend.engine.history[1]


def test_with_a_cache_the_second_answer_is_replayed_too(backend, tmp_path, monkeypatch):
    enqueue(backend, "I like it.", GOOD)
    for _ in range(2):
        assert nb_backend.map(["Nice!"], schema=Review, cache=tmp_path) == [Review(label="kind", stars=4)]
        monkeypatch.setenv("NB_BACKEND_CACHE_ONLY", "1")
    assert len(backend.engine.history) == 2


@pytest.mark.parametrize(
    ("chat", "is_strict"),
    [
        ({}, False),
        ({"model": "ollama:llama3.2:1b"}, False),
        ({"model": "vllm:m"}, False),
        ({"url": "http://127.0.0.1:9/v1"}, True),
        ({"model": "litellm:m"}, True),
        ({"model": "openai:m"}, True),
    ],
)
def test_an_engine_on_this_machine_gets_the_schema_as_it_is_and_a_service_its_strict_form(chat, is_strict):
    request = nb_backend.Chat(**chat).request("Hi?").expect(Schema(Review))
    sent = request.params["response_format"]["json_schema"]
    assert sent.get("strict", False) is is_strict
    assert (sent["schema"] == Review.model_json_schema()) is not is_strict


def test_the_cache_knows_a_request_by_the_schema_as_it_was_given():
    """Answers that were stored before schemas had a strict form are found, and so are those of another strict form."""
    schema = Schema(SCHEMA)
    plain = {"type": "json_schema", "json_schema": {"name": "Review_of_ours", "schema": SCHEMA}}
    stored = nb_backend.Chat("m", system=schema.instructions("Be fair.")).request("Hi?", response_format=plain)
    assert nb_backend.Chat("m", system="Be fair.").request("Hi?").expect(schema).digest == stored.digest


def test_an_interrupted_call_or_one_with_failures_keeps_objects_too(backend):
    enqueue(backend, GOOD)
    backend.engine.enqueue(error_event(ValueError("it went wrong")))
    enqueue(backend, GOOD)
    nb_backend.map(["a", "b"], schema=Review, concurrency=1)
    assert nb_backend.map(["a", "b"], schema=Review) == [Review(label="kind", stars=4)] * 2
    assert len(backend.engine.history) == 3


class Mood(enum.Enum):
    GOOD = "good"


class Nested(BaseModel):
    mood: Mood
    reviews: list[Review] = Field(alias="all")


def test_classes_within_classes_and_other_names(backend):
    enqueue(backend, f'{{"mood": "good", "all": [{GOOD}]}}')
    found = nb_backend.map(pd.DataFrame({"text": ["a"]}), schema=Nested)
    assert found.columns.tolist() == ["mood", "reviews"]
    assert (found["mood"][0], found["reviews"][0]) == (Mood.GOOD, [Review(label="kind", stars=4)])


def test_a_schema_that_is_not_valid_is_refused_at_once(backend):
    missing = {"properties": {"label": {"$ref": "#/$defs/label"}}}
    for schema, words in [
        ({"type": "nothing"}, "not a valid JSON schema"),
        (int, "a pydantic class"),
        ("x", "schema is 'x'"),
        (missing, "refers to #/.defs/label, which is not in it"),
    ]:
        with pytest.raises(ValueError, match=words):
            nb_backend.map(["a"], schema=schema)
    assert backend.engine.history == []


def test_references_of_a_schema_are_inside_it_and_are_never_fetched(backend):
    label = {"$defs": {"label": {"enum": ["kind", "angry"]}}, "properties": {"label": {"$ref": "#/$defs/label"}}}
    enqueue(backend, GOOD)
    assert nb_backend.map(["Nice!"], schema=label) == [json.loads(GOOD)]
    asked = len(backend.engine.history)
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        url = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/label.json"
        with pytest.raises(ValueError, match=f"refers to {url}, which is not in it: nothing is fetched"):
            nb_backend.map(["Nice!"], schema={"properties": {"label": {"$ref": url}}})
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody has connected
            elsewhere.accept()
    assert len(backend.engine.history) == asked


def test_without_jsonschema_a_dict_is_refused_and_a_class_works(monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(ValueError, match="pip install jsonschema"):
        Schema(SCHEMA)
    assert Schema(Review).columns == ["label", "stars"]


def test_pydantic_is_not_needed():
    code = (
        "import sys; sys.modules['pydantic'] = None\n"
        "from nb_backend.chat.schema import Schema; Schema({'type': 'object'})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
