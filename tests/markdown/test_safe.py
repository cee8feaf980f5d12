"""Safe Markdown does nothing with any renderer, and harmless Markdown stays as it is."""

from __future__ import annotations

import pytest
from cpu_time import is_linear
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_oracle import FRAGMENTS, HOSTILE, INVISIBLE, Page, raw, text_only, wrong_in

from nb_backend.markdown.safe import safe_markdown
from nb_backend.text import safe_terminal


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_at_every_prefix(text: str) -> None:
    for end in range(len(text) + 1):
        assert wrong_in(text[:end]) == []


def test_the_oracle_finds_raw_html() -> None:
    found = [text for text in HOSTILE if Page(raw.render(text)).wrong]
    assert len(found) > len(HOSTILE) // 2


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=24).map("".join))
def test_random_fragments(text: str) -> None:
    assert wrong_in(text) == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=6).map("".join))
def test_random_fragments_at_every_prefix(text: str) -> None:
    for end in range(len(text)):
        assert wrong_in(text[:end]) == []


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(), max_size=200))
def test_any_text(text: str) -> None:
    assert wrong_in(text) == []
    assert not INVISIBLE.search(safe_terminal(text).replace("\n", ""))


CODE_LINES = [
    "<b>x</b>", "<script>hit()</script>", "  indented", "\ttab", "$HOME $PATH", "a = b[0](c)",
    "[x](javascript:hit())", "\\begin{align}", "\\end{align}", "`tick`", "``", "# no heading", "- no item",
    "> no quote", "", "    four", "@@0@@", "\\\\(a\\\\)", "&lt;", "</code></pre>", "~~~", "| a | b |",
    "x < y && z > w", "$$", "---", "![i](https://e.x/i.png)", "<!--", "  ", "é漢字🎉", "a\\",
]  # fmt: skip
SPANS = [
    "<b>", "$x$", "a|b", "*x*", "a_b", "\\", "&lt;", "ftp://e.x", "[a](b)", "@@1@@", "\\(x\\)", "List<int>", " a",
    "\\begin{x}", "$$",
]  # fmt: skip


@st.composite
def documents(draw: st.DrawFn, depth: int = 0) -> str:
    """Build documents with code in fences and spans, some of it in lists and quotes."""
    kind = draw(st.integers(0, 5 if depth < 3 else 2))
    if kind < 2:
        lines = draw(st.lists(st.sampled_from(CODE_LINES), min_size=1, max_size=5))
        return "\n".join(["```" + draw(st.sampled_from(["", "python", "c++"])), *lines, "```"])
    if kind == 2:
        spans = draw(st.lists(st.sampled_from(SPANS), min_size=1, max_size=3))
        return "p " + " and $5 ".join(f"`{span}`" for span in spans)
    inner = "\n\n".join(draw(st.lists(documents(depth + 1), min_size=1, max_size=2)))
    marker = draw(st.sampled_from(["> ", "- ", "1. "]))
    if marker == "> ":
        return "\n".join("> " + line for line in inner.split("\n"))
    return marker + "\n".join(line and " " * len(marker) + line for line in inner.split("\n")).lstrip()


@settings(max_examples=300, deadline=None)
@given(st.lists(documents(), min_size=1, max_size=3).map("\n\n".join))
def test_code_stays_as_it_was_written(text: str) -> None:
    written = [code.rstrip("\n") for code in Page(text_only.render(text)).code]
    shown = [code.rstrip("\n") for code in Page(raw.render(safe_markdown(text))).code]
    assert shown == written


@pytest.mark.parametrize(
    "text",
    [
        '# Heading\n\nSome *emphasis*, **strong**, ~~gone~~, `code`, snake_case_name, 5 < 6 & 7 > 3, "quoted" 10%',
        "A [link](https://example.org/a_b?x=1&y=2), <https://example.org/>, https://example.org/bare and mail a@b.org.",
        "```python\ndef f(a: list[int]) -> str:\n    return f\"<b>{a}</b>\" if a[0] < 3 else '$x$'\n```",
        "````\n```\nfence in a fence\n```\n````",
        "1. one\n   ```bash\n   pip install x\n   ```\n2. two\n   - nested *item*\n     - deeper",
        "- [ ] open\n- [x] done",
        "- loose\n\n- items\n\n  with two paragraphs",
        "> quote\n> two lines\n>\n> and a paragraph",
        "| a | b |\n| --- | --- |\n| `x` | $x^2$ |\n| [l](https://e.org) |  |",
        "Inline $e^{i\\pi} = -1$ and\n\n$$\n\\begin{aligned}\na &= b \\\\\n- c &= d\n\\end{aligned}\n$$",
        "one  \ntwo\\\nthree",
        "![dot](data:image/png;base64,iVBORw0KGgo=)",
        "a\n\n---\n\nb",
        "family 👩‍👩‍👧 می‌خواهم क्‍ष ❤️ arrays[0] and [1, 2] (3) f(x) 3*4*5 **",
    ],
)
def test_harmless_stays_as_it_is(text: str) -> None:
    assert safe_markdown(text) == text


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("![plot](https://evil/x.png)", "[image: plot (evil)](https://evil/x.png)"),
        ("![](http://evil:80/x.png)", "[image (evil)](http://evil:80/x.png)"),
        ("[![a](https://e.x/i)](https://e.y)", "[image: a (e.x)](https://e.y)"),
        ("[r]\n\n[r]: https://e.x/y 'title'", "[r](https://e.x/y)"),
        ("[a\\]b]\n\n[a\\]b]: https://e.x", "[a&#93;b](https://e.x)"),
        ("[a](javascript:hit())", "[a]&#40;javascript:hit())"),
        ("![a](x.png)", "![a]&#40;x.png)"),
        ("<b>", "&lt;b>"),
        ("`<b>`", "<code>&#60;b&#62;</code>"),
        ("```mermaid\ngraph", "```text\ngraph\n```"),
        ('```py"><img>\nx\n```', "```py\nx\n```"),
        ("\\(x\\) \\[y\\] \\\\(z\\\\)", "$x$ $$y$$ $z$"),
        ("$\\href{x}{y}$", "<code>&#36;&#92;href&#123;x&#125;&#123;y&#125;&#36;</code>"),
        ("$a<b$", "$a< b$"),
        ("it costs $5", "it costs \\$5"),
        ("$5 or $6", "<span>&#36;</span>5 or <span>&#36;</span>6"),
        ("| a |\n|---|\n| $P(A|B)$ |\n| $\\|x$ |", "| a |\n| --- |\n| $P(A\\vert B)$ |\n| $\\Vert x$ |"),
        ("a\u202eb", "a[U+202E&#93;b"),
        ("`a\u202eb\x1b`", "`a[U+202E]b[U+001B]`"),
        ("\ud83d\ude00 \ud800", "😀 \ufffd"),
        ("[a](https://münchen.de/ü)", "[a](https://xn--mnchen-3ya.de/%C3%BC)"),
        ("[a](https://user@e.x)", "[a]&#40;https://user@e.x)"),
        ("", ""),
    ],
)
def test_safe_text(text: str, safe: str) -> None:
    assert safe_markdown(text) == safe


def test_control_characters_are_visible_in_a_terminal() -> None:
    assert safe_terminal("a\x1b[31m\tb\r\nc\x9b\u202e\x07") == "a[U+001B][31m\tb\nc[U+009B][U+202E][U+0007]"


BLOWUPS = [
    "[", "![", "]", "[](", "[a](", "[a](https://e.x)", "![a](https://e.x)", "<", "<a", "&", "*", "**a ", "`", "``a`",
    "> ", "> > a\n", "|", "| a ", "$", "$a$ ", "$$", "\\(", "\\[\n", "$$\n", "\\begin{align}\n", "\\", "@", "[a]: b\n",
    "[a]\n", "https://", "www.a.b/", "~~~\n", "\u202e", "\x00", "[a](<", '[a](x "', "![[a](", "\t", " ", "- a\n",
]  # fmt: skip


def test_a_formula_begins_no_image_and_an_address_has_a_host() -> None:
    assert "![" not in safe_markdown("[$![$](http://t)")
    assert "<https://" not in safe_markdown("](https:///e.x/a\ufffd)")


@pytest.mark.parametrize("fragment", BLOWUPS)
def test_linear_time(fragment: str) -> None:
    def work(size: int) -> None:
        assert len(safe_markdown((fragment * (size // len(fragment) + 1))[:size])) < 20 * size

    assert is_linear(work, 10_000)


def test_references_do_not_multiply() -> None:
    text = "[a]: https://e.x/" + "x" * 4000 + "\n\n" + "[a]" * 50_000
    assert len(safe_markdown(text)) < 10 * len(text)
