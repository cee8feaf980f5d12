"""A list of models is read in every shape that servers send; a server without one is there all the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_server import WireServer, status

from nb_backend import BackendApi, OpenAIApi
from nb_backend.errors import BackendError
from nb_backend.providers.catalog import does_not_list
from nb_backend.providers.model_list import read_models

A, B = {"id": "a"}, {"id": "b"}


@pytest.mark.parametrize(
    ("document", "ids"),
    [
        ({"object": "list", "data": [A, B]}, ["a", "b"]),
        ([A, B], ["a", "b"]),  # Together, GitHub Models
        (["a", "b"], ["a", "b"]),  # older g4f
        ({"models": [A, {"name": "b"}]}, ["a", "b"]),  # Cohere
        ({"models": [{"name": "models/gemini-2.5-flash"}]}, ["models/gemini-2.5-flash"]),  # Gemini takes it so
        ({"models": [{"name": "llama3.2:1b", "model": "llama3.2:1b"}]}, ["llama3.2:1b"]),  # Ollama
        ({"models": [{"name": "x", "model": "a"}], "object": "list", "data": [A]}, ["a"]),  # llama.cpp
        ({"data": None, "models": [A]}, ["a"]),
        ({"data": [], "models": [A]}, ["a"]),
        ({"data": None}, []),
        ({"data": []}, []),
        ({"models": {}}, []),
        ([], []),
        ({}, []),
        ({"data": [A, None, 7, {}, {"id": None}, {"id": 7}, {"id": ""}, " ", {"object": "model"}, B]}, ["a", "b"]),
        ({"data": [{"id": None, "name": "a"}, {"id": 7, "model": "b"}]}, ["a", "b"]),
        ({"data": {"a": {"vision": True}, "b": {"vision": False}}}, ["a", "b"]),
        ({"result": [A]}, ["a"]),  # Cloudflare
        ([{"id": "azureml://registries/x/models/gpt-4o/versions/2", "name": "gpt-4o"}], ["gpt-4o"]),
        ({"P": ["a", "b"], "Q": ["c"]}, ["a", "b", "c"]),  # g4f
        ({"P": [A], "Q": [], "R": None}, ["a"]),
        ({"P": {"models": ["a"]}, "Q": {"data": [B]}}, ["a", "b"]),
        ({"P": {"a": {"vision": True}, "b": {"vision": False}}}, ["a", "b"]),
        ([A, A, B], ["a", "b"]),
    ],
)
def test_what_can_be_read_is_read(document, ids):
    assert read_models(document) == ids


@pytest.mark.parametrize(
    "document",
    [
        None,
        7,
        "a",
        True,
        {"error": {"message": "no"}},
        {"error": []},
        {"a": 1},
        {"data": 7},
        [7],
        [{"label": "x"}],
        [[A]],
    ],
)
def test_what_is_not_a_list_of_models_is_a_type_error(document):
    with pytest.raises(TypeError):
        read_models(document)


def test_what_a_server_says_about_its_models():
    (one,) = read_models([{"id": "a", "owned_by": "o", "label": "A", "vision": True, "audio": False, "image": "no"}])
    assert (one.provider, one.label, one.vision, one.audio, one.image) == ("o", "A", True, False, None)
    assert [model.provider for model in read_models({"P": ["a"], "Q": ["a"]})] == ["P", "Q"]
    assert [model.provider for model in read_models([{"id": "a", "owned_by": "o"}], "P")] == ["P"]
    assert [model.vision for model in read_models({"P": {"a": {"vision": True}, "b": {"vision": False}}})] == [
        True,
        False,
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["data", "models", "id", "name", "model", "error", "P"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_document_is_read_or_is_a_type_error(document):
    try:
        models = read_models(document)
    except TypeError:
        return
    assert all(model.strip() for model in models)


@given(st.lists(st.sampled_from([A, B, "c", None, 7, {}, {"id": []}]), max_size=8))
def test_odd_entries_do_not_cost_the_others(entries):
    good = [entry if isinstance(entry, str) else entry["id"] for entry in entries if entry in (A, B, "c")]
    if good or not entries:
        assert read_models({"data": entries}) == [*dict.fromkeys(good)]


@pytest.mark.parametrize("path", ["", "/v1"])
@pytest.mark.parametrize(
    ("answer", "has_none"),
    [
        (status("404 Not Found", {"detail": "Not Found"}), True),
        (status("405 Method Not Allowed"), True),
        (status("501 Not Implemented"), True),
        (status("200 OK", b"<!doctype html><title>Chat</title>"), True),
        (status("200 OK", b""), True),
        (status("200 OK", {"error": "unknown path"}), True),
        (status("401 Unauthorized"), False),
        (status("500 Internal Server Error"), False),
        (b"SSH-2.0-OpenSSH_9.6\r\n", False),
        (b"", False),
    ],
)
async def test_a_server_without_a_list_differs_from_one_that_fails(wire_server: WireServer, path, answer, has_none):
    wire_server.answer(answer)
    api = type("Api", (OpenAIApi if path else BackendApi,), {"url": f"{wire_server.url}{path}"})
    with pytest.raises(BackendError) as failure:
        await api.get_models()
    assert does_not_list(failure.value) is has_none
