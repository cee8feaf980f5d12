"""A text that would block a page is written so that a renderer takes linear time, and an ordinary text stays as it is.

The costs are counted, not timed: how many elements marked finds in a paragraph, and how often it searches the rest of
the paragraph for the partner of a delimiter. ``browser/test_slow_text.py`` measures the page.
"""

from __future__ import annotations

import re
from functools import cache
from html import unescape

import pytest
from cpu_time import cpu_seconds
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_oracle import HOSTILE, Page, raw, wrong_in
from slow_texts import SLOW_TEXTS, UNITS, WRAPPERS, repeated

from nb_backend.markdown import effort, emphasis, inline
from nb_backend.markdown.elements import code_block, safe_formula
from nb_backend.markdown.html.blocks import HtmlBlocks
from nb_backend.markdown.safe import safe_markdown

_delimiter = re.compile(r"(?<![\\*_~!])(?:\*+|~+|!|(?<![^\W_])_+|_+(?![^\W_]))")
_fenced = re.compile(r"^(`{3,})[^`\n]*\n.*?^\1$", re.MULTILINE | re.DOTALL)


def paragraphs(safe: str) -> list[str]:
    """Return what marked reads as the text of paragraphs, list items, cells and headings, without fences and spans."""
    text = re.sub(r"`[^`\n]+`", "code", _fenced.sub("", safe))
    text = re.sub(r"\$\$[^$]+\$\$|\$[^$]+\$", "formula", text)
    return [part for part in re.split(r"\n[> ]*\n|\n[> ]*(?:[-+*]|\d+[.)]) |^\| | \|(?:\n|\Z)| \| ", text) if part]


def pairing_work(safe: str) -> int:
    """Return an upper limit of the characters in which marked looks for the partners of delimiters."""
    return sum(len(_delimiter.findall(one)) * len(one) for one in paragraphs(safe))


@cache
def safe_slow_text(name: str) -> str:
    return safe_markdown(SLOW_TEXTS[name])


def check_cost(text: str, safe: str) -> None:
    assert len(safe) < 12 * len(text) + 1000
    assert pairing_work(safe) < 500 * len(text) + 200_000
    marked = _fenced.sub("", safe)
    assert sum(map(marked.count, effort._COUNTED)) < 3 * (1200 + len(text) / 12)
    assert marked.count("\n\n") < 1500 + len(text) / 12


@pytest.mark.parametrize("name", SLOW_TEXTS)
def test_the_cost_of_a_slow_text_is_limited(name: str) -> None:
    check_cost(SLOW_TEXTS[name], safe_slow_text(name))


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.lists(st.sampled_from(UNITS), min_size=1, max_size=4).map("".join), st.sampled_from(WRAPPERS))
@example("_a_ ```\n", "| a | b |\n|---|---|\n| {} | b |\n")  # each cell has more elements than parts
def test_the_cost_of_any_repeated_text_is_limited(unit: str, wrapper: str) -> None:
    text = wrapper.format(repeated(unit, 12_000))
    check_cost(text, safe_markdown(text))


@pytest.mark.parametrize("name", SLOW_TEXTS)
def test_a_slow_text_stays_readable(name: str) -> None:
    words = re.findall(r"[a-z]{4,}", re.sub(r"https?://|www", "", SLOW_TEXTS[name]))[:200]
    shown = Page(raw.render(safe_slow_text(name))).text
    assert [word for word in words if word not in shown] == []


@pytest.mark.parametrize("name", SLOW_TEXTS)
def test_the_time_of_a_slow_text_grows_linearly(name: str) -> None:
    def seconds(size: int) -> float:
        text = repeated(SLOW_TEXTS[name][:2000], size)
        return cpu_seconds(lambda: (safe_markdown(text), HtmlBlocks().finish(text)))

    longer = seconds(20_000)
    assert longer < 0.12 or longer < 8 * seconds(5000) or seconds(20_000) < 8 * min(seconds(5000), seconds(5000))


def test_quotes_that_end_at_once_take_linear_time() -> None:
    text = "*a " + "-\n~~a~~\n> " * 3000
    assert cpu_seconds(lambda: safe_markdown(text)) < 10  # 27 s when each quote looked at all lines after it


# -- emphasis


@pytest.fixture
def all_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write every text as if it were slow, with all emphasis."""
    write_all_slow(monkeypatch)


def write_all_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inline, "_MAX_FAST_CHARS", -1)
    monkeypatch.setattr(emphasis, "_MAX_WORK", -1)
    monkeypatch.setattr(emphasis, "_MAX_WORD_WORK", -1)
    monkeypatch.setattr(emphasis, "_MAX_DEPTH", 10_000)


MARKS = st.lists(
    st.sampled_from(["*", "**", "***", "_", "__", "a", "b c", " ", ".", "é", "\n", "`x`", "!", "\\*", "5", "&amp;"]),
    max_size=24,
).map("".join)


@settings(max_examples=200, deadline=None)
@given(MARKS)
def test_emphasis_written_as_tags_is_that_of_commonmark(text: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        as_it_is = raw.render(safe_markdown(text))
        write_all_slow(monkeypatch)
        assert raw.render(safe_markdown(text)) == as_it_is


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["~", "~~", "~~~", "*", "a", " ", "[b *c](https://e.x)", "*", "~~"]), max_size=20))
def test_deleted_text_and_links_keep_their_words(parts: list[str]) -> None:
    text = f"x {''.join(parts)}"
    with pytest.MonkeyPatch.context() as monkeypatch:
        write_all_slow(monkeypatch)
        html = raw.render(safe_markdown(text))
    assert re.sub(r"[~*\s]", "", Page(html).text) == re.sub(r"[~*\s]|\[|\]\(https://e.x\)", "", text)
    assert html.count("<del>") == html.count("</del>")
    assert wrong_in(text) == []


@pytest.mark.usefixtures("all_slow")
@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("a *b **c** d* e", "a <em>b <strong>c</strong> d</em> e"),
        ("***a***", "<em><strong>a</strong></em>"),
        ("*a **b", "&#42;a &#42;&#42;b"),
        ("~~a~~ ~b~ ~~c~", "<del>a</del> <del>b</del> &#126;&#126;c&#126;"),
        ("snake_case_name 3 * 4", "snake&#95;case&#95;name 3 &#42; 4"),
        ("*a [b* c](https://e.x)*", "<em>a [b&#42; c](https://e.x)</em>"),
        ("![a] !b", "![a] &#33;b"),
        ("a\\b \\* \\_", "a&#92;b &#42; &#95;"),
    ],
)
def test_a_slow_text_has_tags_and_entities(text: str, safe: str) -> None:
    assert safe_markdown(text) == safe


@pytest.mark.usefixtures("all_slow")
def test_hostile_texts_written_as_slow_ones_do_nothing() -> None:
    assert [text for text in HOSTILE if wrong_in(text)] == []


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 30), st.integers(20, 30))
def test_deep_emphasis_is_closed(depth: int, length: int) -> None:
    text = "*a **b " * depth + "c** d* " * depth + "word " * length * 100
    html = raw.render(safe_markdown(text))
    for tag in ("em", "strong"):
        assert html.count(f"<{tag}>") == html.count(f"</{tag}>")
    assert Page(html).text.split()[-1] == "word"


# -- ordinary texts


ORDINARY = """\
## Loading the data

First, **load the file** with `pandas.read_csv` and look at its *columns* ([docs](https://pandas.pydata.org/docs/)).
The names are snake_case_names, `a_b`, and 3*4 is 12! See https://example.org/path?x=1 or write to a@b.org.

```python
def f(a: list[int]) -> str:
    return f"<b>{a}</b>" if a[0] < 3 else "$x$"
```

- **start**: when it began, e.g. `2024-01-01`
- *value*: measured in $m^2$
  - deeper

1. Check with `df.isna().sum()`.
2. Drop duplicates.

> A quote with $e^{i\\pi} = -1$.

| name | type | meaning |
| --- | --- | --- |
| `start` | date | begin |
| **end** | date | $\\frac{a}{b}$ |

$$
\\begin{aligned}
a &= b \\\\
c &= \\frac{d}{2}
\\end{aligned}
$$"""


@pytest.mark.parametrize("times", [1, 20, 100])
def test_an_ordinary_answer_stays_as_it_is(times: int) -> None:
    text = "\n\n".join([ORDINARY] * times)
    assert safe_markdown(text) == text


def test_a_long_paragraph_of_named_lines_keeps_its_emphasis() -> None:
    text = "\n".join(f"**Speaker {n}**: words of the *play* in a line, with `code` in it" for n in range(300))
    html = raw.render(safe_markdown(text))
    assert html.count("<strong>") == html.count("<em>") == html.count("<code>") == 300


def test_a_large_table_and_a_long_list_stay() -> None:
    table = "| a | b | c | d | e |\n| --- | --- | --- | --- | --- |\n" + "\n".join(
        ["| 1.25 | name | x | y | z |"] * 800
    )
    list_ = "\n".join(f"- item {number} of a list with some words" for number in range(600))
    assert safe_markdown(table) == table
    assert safe_markdown(list_) == list_


# -- what is too much for one page


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("- a\n" * 9000, "- a\n- a"),
        ("a\n\n" * 9000, "a\n\na"),
        ("|a" * 3000 + "\n" + "|-" * 3000 + "\n" + "|a\n" * 3000, "|a|a"),
        ("> - a\n" * 9000, "> - a"),
    ],
    ids=["list", "paragraphs", "table", "quote"],
)
def test_blocks_with_too_many_parts_are_code(text: str, kept: str) -> None:
    safe = safe_markdown(text)
    assert "\n```" in f"\n{safe}"
    assert kept in safe
    assert len(safe) < 4 * len(text)


def test_text_before_and_after_a_large_block_is_as_it_was() -> None:
    large = "- a\n" * 9000
    safe = safe_markdown(f"**before**\n\n{large}\n**after**")
    assert safe.startswith("**before**\n\n```\n- a")
    assert safe.endswith("- a\n```\n\n**after**")


def test_formulas_beyond_the_effort_are_shown_as_their_source() -> None:
    safe = safe_markdown("\n\n".join(["Some words and $x^2$."] * 3000))
    assert 100 < safe.count("$x^2$") < 1500
    assert unescape(re.sub(r"<.*?>", "", safe)).count("$x^2$") == 3000


@pytest.mark.parametrize("opening", ["\\frac{1}{", "{", "\\sqrt{"])
def test_a_formula_nested_too_deeply_is_code(opening: str) -> None:
    closing = "}" * opening.count("{") if opening != "\\frac{1}{" else "}"
    assert safe_formula(opening * 20 + "x" + closing * 20, display=False) is not None
    assert safe_formula(opening * 100 + "x" + closing * 100, display=False) is None
    assert safe_formula("\\left(" * 100 + "x" + "\\right)" * 100, display=True) is None


@pytest.mark.parametrize("code", ["(" * 5000, "{\n" * 5000, "x" * 5000], ids=["line", "depth", "long line"])
def test_code_that_is_slow_to_color_is_not_colored(code: str) -> None:
    assert next(code_block(code, "python", nested=False)) == "```text"
    assert next(code_block("x = 1", "python", nested=False)) == "```python"


def test_code_with_many_backticks_in_a_line_is_written_with_entities() -> None:
    assert next(code_block("`a" * 200, "python", nested=False)).startswith("<pre><code>&#96;a")
    assert next(code_block("`a`\n" * 200, "", nested=False)) == "```"
