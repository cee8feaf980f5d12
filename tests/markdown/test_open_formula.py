"""While an answer grows, a formula that is still open is not shown raw, and a price is not held back for long."""

from __future__ import annotations

import re

import pytest
from html_blocks import html_blocks
from hypothesis import given
from hypothesis import strategies as st

from nb_backend.markdown.html.blocks import HtmlBlocks
from nb_backend.markdown.safe import safe_markdown

FORMULAS = [
    "$$x^2 + \\frac{1}{2}$$",
    "$$\na &= b \\\\\n+ c\n- d\n$$",
    "\\[\n\\sum_{i} x_i\n\\]",
    "\\begin{align*}\na &= b \\\\\n  &= c\n\\end{align*}",
    "Before\n\n$$\\sqrt{2}$$\n\nbetween $e^{i\\pi}$ and after.",
    "The value $x_1 = \\text{if it rains}$ is",
    "The value \\(x_1\\) is",
    "- one\n- $$x^2$$\n- $y_2$ end",
    "> $$\n> x^2\n> $$",
    "| a | b |\n|---|---|\n| $x^2$ | $y_2$ |",
]
NOT_HELD = [
    "It costs $5 and",
    "It costs $5, then we",
    "from $5 to $6 or so",
    "$HOME is set to",
    "a $ b",
    "`$x^2",
    "`$x` and `y",
    "```\n$$x^2",
    "```\na\n\n$$x^2\n```",
    "    $$x^2",
    "$$x^2\n\nnext",
    "$x^2\n\n",
    "\\$x^2",
    "$" + "x+" * 30,
    "$x^2" + "+x" * 300,
    "$$" + "x+" * 1001,
    "\\[\n> $$\n\\]",
    "> \\[\n> - $$\n> \\]",
    "word\n\\[ $$ \\]",
]


def live_html(text: str) -> str:
    html = HtmlBlocks()
    html.update(text)
    return "".join(html.blocks)


@pytest.mark.parametrize("text", FORMULAS)
def test_no_prefix_shows_a_raw_formula(text: str) -> None:
    for end in range(1, len(text)):
        shown = live_html(text[:end])
        outside = re.sub(r'(?s)<math.*?</math>|aria-label="[^"]*"', "", shown)
        assert not {*"$\\^_{"} & {*outside}, (text[:end], shown)
        live = safe_markdown(text[:end], growing=True)
        outside = re.sub(r"(?s)\$\$.*?\$\$|\$.*?\$", "", live)
        assert not {*"$^_"} & {*outside}, (text[:end], live)


@pytest.mark.parametrize("text", NOT_HELD)
def test_what_is_no_formula_is_shown(text: str) -> None:
    assert live_html(text) == "".join(html_blocks(text))
    assert safe_markdown(text, growing=True) == safe_markdown(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a $x", "a …"),
        ("a $$", "a …"),
        ("a $", "a"),
        ("It costs $5 m", "It costs"),
        ("a \\", "a"),
        ("a \\(x", "a …"),
        ("$$\nx\n+ y", "…"),
        ("text\n\n\\begin{al", "text"),
        ("\\begin{align}", "…"),
        ("$a$ and `$` and $b", "$a$ and `$` and …"),
    ],
)  # fmt: skip
def test_a_placeholder_stands_for_it(text: str, shown: str) -> None:
    assert safe_markdown(text, growing=True) == shown


def test_it_is_raw_if_nothing_more_comes() -> None:
    html = HtmlBlocks()
    html.update("a $x^2")
    assert html.blocks == ["<p>a …</p>"]
    html.finish("a $x^2")
    assert html.blocks == ["<p>a $x^2</p>"]


PIECES = [
    "$", "$$", "x", "^2", " ", "\n", "\n\n", "\\(", "\\)", "\\[", "\\]", "\\", "`", "```", "- ", "> ", "5", "# ",
    "word ", "\\begin{align}", "\\end{align}", "| a |\n|--|\n",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES)))
def test_whatever_was_held_the_whole_text_is_shown_in_the_end(pieces: list[str]) -> None:
    html, text, settled = HtmlBlocks(), "", 0
    for piece in pieces:
        text += piece
        before = html.blocks[:settled]
        settled = html.update(text)
        assert html.blocks[: len(before)] == before or settled < len(before)
    html.finish(text)
    assert html.blocks == html_blocks(text)
