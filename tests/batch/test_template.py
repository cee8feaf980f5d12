"""Templates: names become values, and other text stays as a cell's prompt would leave it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nb_backend.batch.template import Template


@given(st.dictionaries(st.from_regex(r"[a-z]{1,3}", fullmatch=True), st.text(), min_size=1, max_size=4), st.data())
def test_a_template_fills_in_values_and_keeps_all_other_text(values, data):
    plain = st.text(st.characters(exclude_characters="{}\\^", exclude_categories=["Cs"]))
    parts = data.draw(st.lists(st.tuples(plain, st.sampled_from(sorted(values)))))
    text = "".join(f"{before}{{{{ {name} }}}}" for before, name in parts)
    assert Template(text, values).fill(values) == "".join(before + values[name] for before, name in parts)


@given(st.text("{}\\ab^ \n.,:\"'#", max_size=40))
def test_any_text_is_refused_or_keeps_all_but_its_names(text):
    try:
        template = Template(text, ["a"])
    except ValueError:
        return
    kept = re.sub(r"\{\{\s*a\s*\}\}", "{{a}}", text).replace("\\", "")
    assert template.fill({"a": "{{a}}"}).replace("\\", "") in (kept, text.replace("\\", ""))


@pytest.mark.parametrize(
    "text",
    [
        "{x}, {{{x}}}, {{{{x}}}}",
        '{"x": {"y": {{"z": 1}}}}',
        r"\frac{{x}}{{y}} a^{{x}} \sum_{{x}}",
        "{{0}} {{1, 2}} {{ x, y }} {{ .Name }} {{#if x}} {{}} {{ }}",
        "{{ x",
        "x }}",
        "{{ x }",
        "{{ x\n\n }} {{ (x +\n\n y) }}",
        '{{ "x" }}',
        "{{ # x }}",
    ],
)
def test_braces_around_something_else_stay(text):
    assert Template(text, ["x", "y"]).fill({"x": 1, "y": 2}) == text


def test_a_backslash_escapes_the_braces_and_is_removed():
    template = Template(r"\{{ x }} \\{{ x }} \{{ no }} \{{0}} \n{{ x }}", ["x"])
    assert template.fill({"x": 1}) == r"{{ x }} \\1 {{ no }} \{{0}} \n1"


def test_braces_in_a_value_are_not_filled():
    assert Template("{{ a }}{{ b }}", ["a", "b"]).fill({"a": "{{ b }}", "b": r"\{{ a }}"}) == r"{{ b }}\{{ a }}"


def test_a_column_may_have_any_name():
    assert Template("{{ Review Text }}/{{ 7 }}/{{ a.b }}", ["Review Text", "7", "a.b"]).names == [
        "Review Text",
        "7",
        "a.b",
    ]
