"""The MathML of formulas shows in browsers, which know only MathML Core, what LaTeX shows."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nb_backend.markdown.html.math import mathml


def content(latex: str, *, display: bool = True) -> str:
    """Return what is in the formula's outer row."""
    shown = mathml(latex, display=display)
    assert shown is not None, latex
    found = re.fullmatch(r'<math display="\w+" alttext="[^"]*"><mrow>(.*)</mrow></math>', shown, re.DOTALL)
    assert found is not None, shown
    return found[1]


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        (r"\boldsymbol{x\mu}", "<mrow><mi>𝒙</mi><mi>𝝁</mi></mrow>"),
        (r"\mathscr{LH}", "<mrow><mi>ℒ</mi><mi>ℋ</mi></mrow>"),
        (r"\mathbb{1}", "<mrow><mn>𝟙</mn></mrow>"),
        (r"\mathit{ah}", "<mrow><mi>𝑎</mi><mi>ℎ</mi></mrow>"),
        (r"\mathrm{a}", '<mrow><mi mathvariant="normal">a</mi></mrow>'),
        (r"\textbf{é}", '<mtext mathvariant="bold">é</mtext>'),
    ],
)  # fmt: skip
def test_letters_of_a_style_are_characters(latex: str, expected: str) -> None:
    assert content(latex) == expected


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        (r"\lim_x", '<munder><mo lspace="0em" rspace="0em" movablelimits="true">lim</mo><mi>x</mi></munder>'),
        (r"\bigcup_x", "<munder><mo>⋃</mo><mi>x</mi></munder>"),
        (r"\sum_{a}", "<munder><mo>∑</mo><mrow><mi>a</mi></mrow></munder>"),
        (r"\sum\nolimits_a", "<msub><mo>∑</mo><mi>a</mi></msub>"),
        (r"\int_a", "<msub><mo>∫</mo><mi>a</mi></msub>"),
        (r"x_a", "<msub><mi>x</mi><mi>a</mi></msub>"),
    ],
)  # fmt: skip
def test_limits_are_under_the_operators_that_have_them(latex: str, expected: str) -> None:
    assert content(latex) == expected


@pytest.mark.parametrize("latex", [r"\arg\min_x", r"\operatorname*{arg\,min}_x", r"\operatorname{arg min}_x"])
def test_arg_min_is_one_operator(latex: str) -> None:
    assert ">arg min</mo><mi>x</mi></munder>" in content(latex)


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        (r"\lVert x \rVert", "‖"),
        (r"\Vert x \Vert", "‖"),
        (r"\lvert x \rvert", "|"),
        ("|x|", "|"),
    ],
)  # fmt: skip
def test_bars_have_no_space_and_stretch_beside_a_matrix_only(latex: str, expected: str) -> None:
    bar = f'<mo stretchy="false" lspace="0em" rspace="0em">{expected}</mo>'
    assert content(latex) == f"{bar}<mi>x</mi>{bar}"
    assert content(r"\begin{vmatrix}1\end{vmatrix}").count('<mo stretchy="true"') == 2


@pytest.mark.parametrize("latex", [r"\iff", r"\sim", r"\perp", r"\implies", r"\leqslant", ":", r"\pm", r"\lfloor"])
def test_operators_are_no_identifiers(latex: str) -> None:
    assert re.fullmatch("<mo[^>]*>.</mo>", content(latex))


def test_the_names_of_functions_have_space() -> None:
    assert content(r"\log x").startswith('<mo lspace="0em" rspace="0.167em">log</mo>')
    assert 'lspace="0.167em" rspace="0em">sin</mo>' in content(r"2\sin(x)")


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        (r"\Bigl\{", ">{</mo>"),
        (r"\overline{AB}", '<menclose notation="top"><mrow><mi>A</mi><mi>B</mi></mrow></menclose>'),
        (r"\vec{v}", '<mover accent="true"><mrow><mi>v</mi></mrow><mo stretchy="true">→</mo></mover>'),
        (r"\not= \not\in", "<mo>≠</mo><mo>∉</mo>"),
        (r"\label{a}x \notag", "<mi>x</mi>"),
        (r"\text{if }x", "<mtext>if\u00a0</mtext><mi>x</mi>"),
        (r"\text{a &amp; b}", "<mtext>a\u00a0&amp;\u00a0b</mtext>"),
    ],
)  # fmt: skip
def test_what_latex2mathml_shows_in_another_way(latex: str, expected: str) -> None:
    assert expected in content(latex)


@pytest.mark.parametrize("latex", [r"\foo{x}", r"\frac{1}", r"\ce{H2O}", "x" * 2001])
def test_what_it_does_not_know_is_not_converted(latex: str) -> None:
    assert mathml(latex, display=True) is None


@given(st.text(r"\{}^_&|~'ab1 <>" + "∑é", max_size=20) | st.text(max_size=20), st.booleans())
def test_any_text_is_converted_or_not(latex: str, display: bool) -> None:
    shown = mathml(latex, display=display)
    assert shown is None or shown.startswith("<math ")
