"""What the file of a model says: whether the model was made to call tools."""

from __future__ import annotations

import pytest
from local_support import gguf, real_weights

from nb_backend.local.gguf_metadata import read_fields, takes_tools

WITH = "{% if tools %}{{ tools }}{% endif %}{{ messages }}"
WITHOUT = "{{ messages }} {# toolset #}"


@pytest.mark.parametrize(
    ("templates", "expected"),
    [
        ({"tokenizer__chat_template": WITH}, True),
        ({"tokenizer__chat_template": WITHOUT}, False),
        ({"tokenizer__chat_template": WITHOUT, "tokenizer__chat_template__tool_use": WITH}, True),
        ({"tokenizer__other": WITH}, False),
        ({}, False),
    ],
)
def test_tools_are_taken_if_a_template_has_a_place_for_them(tmp_path, templates, expected):
    path = tmp_path / "a.gguf"
    path.write_bytes(gguf({"<s>": 3, "a": 1}, **templates))
    assert takes_tools(path) is expected


def test_those_of_the_real_model_are_not():
    assert takes_tools(real_weights()) is False


def test_a_file_that_is_cut_says_nothing(tmp_path):
    path = tmp_path / "a.gguf"
    whole = gguf({"<s>": 3}, tokenizer__chat_template=WITH)
    for data in (b"", b"no model", *(whole[:at] for at in range(8, len(whole) - 101, 7))):
        path.write_bytes(data)
        assert takes_tools(path) is False
    assert read_fields(tmp_path / "missing.gguf", ["general.name"]) == {}
