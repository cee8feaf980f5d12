"""HTML for the panel has only allowed elements, is the same for whole and growing text, and takes linear time."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from runpy import run_path

import pytest
from cpu_time import is_linear
from html_blocks import html_blocks
from hypothesis import given, settings
from hypothesis import strategies as st

from nb_backend.markdown.html.blocks import HtmlBlocks
from nb_backend.markdown.html.code import CLASSES
from nb_backend.markdown.html.math import ATTRIBUTES, ELEMENTS

HOSTILE: list[str] = run_path(str(Path(__file__).parents[1] / "browser" / "hostile.py"))["HOSTILE"]
DOT = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAA"
    "AHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO9TXL0Y4OHwAAAABJRU5ErkJggg=="
)
WEB = r"https?://[A-Za-z0-9][^\s\"'<>`\\]*"
PLAIN = [
    "p", "h3", "h4", "h5", "h6", "ul", "blockquote", "table", "thead", "tbody", "tr", "hr", "br", "em", "strong", "del",
    "figcaption",
]  # fmt: skip
ALLOWED: dict[str, dict[str, str]] = {
    **{tag: {} for tag in PLAIN},
    **dict.fromkeys(ELEMENTS, ATTRIBUTES),
    "math": {"display": "block|inline", "alttext": "(?s).*"},
    "ol": {"start": r"\d{1,9}"},
    "th": {"align": "left|center|right"},
    "td": {"align": "left|center|right"},
    "li": {"class": "nbb-task"},
    "code": {"class": "nbb-tex(?: nbb-latex)?"},
    "figure": {"class": "nbb-code"},
    "pre": {"tabindex": "0"},
    "div": {"class": "nbb-table|nbb-math", "tabindex": "0", "role": "group|math", "aria-label": "(?s).*"},
    "span": {"class": "|".join(CLASSES), "role": "img", "aria-label": "done|open"},
    "img": {"data-picture": r"[\w.:-]+", "alt": "(?s).*"},
    "a": {
        "href": rf"{WEB}|mailto:[^\s\"'<>]+",
        "data-remote": WEB,
        "class": "nbb-remote",
        "target": "_blank",
        "rel": "noopener noreferrer",
    },
}
VOID = {"br", "hr", "img"}
INVISIBLE = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f\ud800-\udfff]"
)


class Page(HTMLParser):
    """A block of HTML as an HTML parser sees it: what is not allowed in it, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.wrong: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()
        self.wrong += self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        allowed = ALLOWED.get(tag)
        if allowed is None:
            self.wrong.append(f"<{tag}>")
            return
        for name, value in attrs:
            if name not in allowed or not re.fullmatch(allowed[name], value or ""):
                self.wrong.append(f"<{tag} {name}={value!r}>")
            if INVISIBLE.search(value or ""):
                self.wrong.append(f"<{tag} {name}={value!a}>")
        if tag == "a" and {"href", "target", "rel"} - {name for name, _ in attrs}:
            self.wrong.append(f"<a {attrs}>")
        if tag == "a" and "a" in self.open:
            self.wrong.append("a link inside a link")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.text += data
        if found := INVISIBLE.search(data):
            self.wrong.append(ascii(found[0]))

    def handle_comment(self, data: str) -> None:
        self.wrong.append(f"comment {data}")

    handle_decl = handle_pi = unknown_decl = handle_comment


def image_key(uri: str) -> str:
    return f"k{len(uri)}"


def blocks_of(text: str) -> list[str]:
    return html_blocks(text, image_key=image_key)


def wrong_in(blocks: list[str]) -> list[str]:
    return [wrong for block in blocks for wrong in Page(block).wrong] + [block for block in blocks if not block]


def stream(pieces: list[str]) -> list[str]:
    """Return the blocks of a text that comes in pieces; blocks that are reported as done must not change."""
    html = HtmlBlocks(image_key=image_key)
    text, shown, settled = "", [], 0
    for piece in pieces:
        text += piece
        first = html.update(text)
        assert first >= settled
        assert html.blocks[:first] == shown[:first]
        settled, shown = first, list(html.blocks)
        assert wrong_in(shown) == []
    first = html.finish(text)
    assert html.blocks[:first] == shown[:first]
    return html.blocks


FRAGMENTS = [
    *HOSTILE[:30], "<script>", "<img src=x onerror=hit()>", "<!--", "-->", "<", ">", "[", "]", "(", ")", "](",
    "](javascript:hit())", "](https://e.x/a)", "![", "![a](https://e.x/i.png)", f"![a]({DOT})", "[r]",
    "[r]: https://e.x/y\n", "[r]: javascript:hit()\n", '[r]: https://e.x/y\n"ti', '[s]: <https://e.x/z>\n', 'tle"\n',
    "[s]", "![s]", "<https://e.x/a>", "https://e.x/", "ftp://e.x", "<a@b.co>", "`", "``", "```", "````", "~~~", "~~",
    "*", "**", "_", "\n", "\n", "\n\n", "    ", "  ", " ", "\t", "> ", ">", "- ", "-", "1. ", "2", ".", "# ", "---",
    "===", "|", "\n|---|---|\n", "| a | b |", "\na | b\n---|---\n", "$", "$$", "$$\n", "$x$", "$$x$$", "$|a|$", "\\(",
    "\\)", "\\[", "\\[\n", "\\]", "\\]\n", "\\begin{align}", "\\end{align}", "{", "}", "\\$", "\\frac", "\\",
    "\\\\", "\\`", "\\<", "&lt;", "&#36;", "&#x202e;", "&", "\u202e", "\u200b", "\x1b", "\x00", "word", "x", "!", ":",
    "```python\n", "def f(): pass\n", "```mermaid\n", "[ ] ", "- [x] ", "<br>", "\xa0", "\r", "\x0b", "\x85", "\u2028",
    "é", "\ud83d", "\ude00", "<!-- generated images start -->\n", "$\\href{x}{y}$",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_at_every_prefix(text: str) -> None:
    assert stream(list(text)) == blocks_of(text)
    for end in range(len(text) + 1):
        assert wrong_in(blocks_of(text[:end])) == []


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_random_fragments(text: str) -> None:
    assert wrong_in(blocks_of(text)) == []


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(st.sampled_from(FRAGMENTS), max_size=4).map("".join), max_size=14))
def test_fragments_give_the_same_html_as_the_whole(pieces: list[str]) -> None:
    assert stream(pieces) == blocks_of("".join(pieces))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join))
def test_single_characters_give_the_same_html_as_the_whole(text: str) -> None:
    assert stream(list(text)) == blocks_of(text)


LINES = [
    "word", "word | b", "--- | ---", "| $|a|$ | b |", "---", "===", "- a", "- b", "  c", "    d", "1. a", "2. b", "2",
    "> q", "> $$", "$$", "$$ y", "x = 1", "\\[", "\\]", "\\begin{align}", "\\end{align}", "```", "~~~", "# h", "",
    "", "", "[r]: https://e.x/y", '"title', 'title"', "[r]", "[r] [s]", "[s]:", "https://e.x/z", "  $$", "  ", "* * *",
    "-", "+ a", "- [ ] t", "\t", "<!-- c", "-->", "| a |", "|---|", "- $$", "\\[ $$", "\\(", "\\)", "$x_1",
    "| $x_1 | b |",
]  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(LINES), max_size=14).map("\n".join), st.sampled_from([1, 2, 3, 7]))
def test_parts_of_lines_give_the_same_html_as_the_whole(text: str, size: int) -> None:
    assert stream([text[at : at + size] for at in range(0, len(text), size)]) == blocks_of(text)


def test_a_formula_in_a_quote_is_found_before_what_follows_it() -> None:
    text = "> $$\n> q\n> $$\n[s]:\n  $$\nword\n- t\n$$ y"
    assert stream(list(text)) == blocks_of(text)
    assert '<div class="nbb-math"' in blocks_of(text)[0]


@pytest.mark.parametrize(
    "text",
    [
        "word\n\\[\n> $$\n\\]\nword",
        "word\n\\[\n- a $$\n\\]\nword",
        "word\n\\[\n1. $$\n> $$\n- $$\n\\]\nword",
        "word\n\\\\[\n> $$\n\\\\]\nword",
        "word\n> \\[\n> - $$\n> \\]\nword",
        "word\n\\[ $$\n```\n\\]\nword\n```\nword",
        "word\n\\[\n```\n$$\n\\]\nword",
        "word\n\\(\n> $$\n\\)\nword",
        "word\n$$\n> \\[\n$$\nword",
        "word\n$$\n\\[\n- a\n$$\n\\]\nword",
        "word\n\\begin{align}\n> $$\n\\end{align}\nword",
        "word\n# $x_1\ny$\nword",
        "word\n| $x_1 | b |\n|---|---|\nword",
        "$x_1\n| $x_1 | b |\n|---|---|\n\n- $$\nword",
    ],
)
@pytest.mark.parametrize("size", [1, 3])
def test_what_is_held_back_settles_nothing(text: str, size: int) -> None:
    assert stream([text[at : at + size] for at in range(0, len(text), size)]) == blocks_of(text)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(), max_size=200))
def test_any_text(text: str) -> None:
    assert wrong_in(blocks_of(text)) == []


LINK = 'target="_blank" rel="noopener noreferrer"'
REMOTE = '<a class="nbb-remote" href="https://e.x/i" data-remote="https://e.x/i"'


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("", []),
        ("# a\n\n## b\n###### c", ["<h3>a</h3>", "<h4>b</h4>", "<h6>c</h6>"]),
        ("a *b* **c** ~~d~~ `e`", ["<p>a <em>b</em> <strong>c</strong> <del>d</del> <code>e</code></p>"]),
        ("<b>x</b> & &lt; \\*", ["<p>&lt;b&gt;x&lt;/b&gt; &amp; &lt; *</p>"]),
        ("a  \nb\nc", ["<p>a<br>b\nc</p>"]),
        ("3. a\n4. b", ['<ol start="3"><li>a\n</li><li>b\n</li></ol>']),
        ("- a\n\n- b", ["<ul><li><p>a</p></li><li><p>b</p></li></ul>"]),
        (
            "- [x] a\n- [ ] b",
            [
                '<ul><li class="nbb-task"><span role="img" aria-label="done">☑</span> a\n</li>'
                '<li class="nbb-task"><span role="img" aria-label="open">☐</span> b\n</li></ul>'
            ],
        ),
        (
            "|a|b|\n|-|:-:|\n|1|2|",
            [
                '<div class="nbb-table" tabindex="0" role="group" aria-label="Table"><table><thead><tr><th>a</th>'
                '<th align="center">b</th></tr></thead><tbody><tr><td>1</td><td align="center">2</td></tr></tbody>'
                "</table></div>"
            ],
        ),
        (
            "```py\nx\n```",
            [
                '<figure class="nbb-code"><figcaption>py</figcaption><pre tabindex="0"><code>'
                '<span class="n">x</span>\n</code></pre></figure>'
            ],
        ),
        (
            "```mermaid x\n<b>\n```",
            [
                '<figure class="nbb-code"><figcaption>mermaid</figcaption><pre tabindex="0"><code>'
                "&lt;b&gt;\n</code></pre></figure>"
            ],
        ),
        ("[a](https://e.x/y)", [f'<p><a href="https://e.x/y" {LINK}>a</a></p>']),
        ("https://e.x/y.", [f'<p><a href="https://e.x/y" {LINK}>https://e.x/y</a>.</p>']),
        ("www.e.x a@b.co", ["<p>www.e.x a@b.co</p>"]),
        ("<a@b.co>", [f'<p><a href="mailto:a@b.co" {LINK}>a@b.co</a></p>']),
        ("[a](javascript:hit()) [b](/c)", ["<p>[a](javascript:hit()) [b](/c)</p>"]),
        ("[*a*](https://e.x) *b*", [f'<p><a href="https://e.x" {LINK}><em>a</em></a> <em>b</em></p>']),
        ("[a [b](https://e.x) c](/f)", [f'<p>[a <a href="https://e.x" {LINK}>b</a> c](/f)</p>']),
        (
            "![a *b*](https://e.x/i)",
            [f'<p>{REMOTE} {LINK}>image: a *b* (e.x)</a></p>'],
        ),
        ("[![a](https://e.x/i)](https://f.x)", [f'<p><a href="https://f.x" {LINK}>image: a (e.x)</a></p>']),
        (f"![a]({DOT})", [f'<p><img data-picture="k{len(DOT)}" alt="a"></p>']),
        ("![a](x.png)", ["<p>![a](x.png)</p>"]),
        ("a\u202eb `\x1b`", ["<p>a[U+202E]b <code>[U+001B]</code></p>"]),
        ("$\\href{x}{y}$", ['<p><code class="nbb-tex">$\\href{x}{y}$</code></p>']),
        ("$\\nope$", ['<p><code class="nbb-tex nbb-latex">$\\nope$</code></p>']),
        ("[a\\]b]\n\n[a\\]b]: https://e.x", [f'<p><a href="https://e.x" {LINK}>a]b</a></p>']),
        ("[a]\n\n[a]: https://e.x", [f'<p><a href="https://e.x" {LINK}>a</a></p>']),
        ("[ref]: javascript:hit()", ["<p>[ref]: javascript:hit()</p>"]),
        ("it costs $5 or $6", ["<p>it costs $5 or $6</p>"]),
    ],
)  # fmt: skip
def test_html_of(text: str, html: list[str]) -> None:
    assert blocks_of(text) == html


def test_formulas() -> None:
    [block] = blocks_of("$$\nx < 1\n$$")
    start = '<div class="nbb-math" tabindex="0" role="math" aria-label="x &lt; 1"><math display="block"'
    assert block.startswith(start)
    assert block.endswith("<mi>x</mi><mo>&lt;</mo><mn>1</mn></mrow></math></div>")
    for text in ("\\[ x \\]", "$$x$$", "\\begin{align}\nx &= 1 \\\\\ny &= 2\n\\end{align}", "> \\[\n> x\n> \\]"):
        assert '<div class="nbb-math"' in blocks_of(text)[0]
    for text in ("a $x$ b", "a \\(x\\) b", "- $x_1$", "| a |\n|---|\n| $x|y$ |"):
        assert '<math display="inline"' in blocks_of(text)[0]
    for text in ("$\\text{<img src=x onerror=hit()>}$", "$\\text{&#60;b&#62;}$", "$<b>$"):
        assert wrong_in(blocks_of(text)) == []
    assert '<code class="nbb-tex">' in blocks_of("$" + "x+" * 1001 + "x$")[0]


def test_late_definitions_and_fetched_images_change_blocks_that_are_done() -> None:
    addresses: dict[str, str] = {"/m/a.png": "https://s.x/m/a.png"}
    html = HtmlBlocks(addresses=addresses, image_key=image_key)
    text = "see [a]\n\n![i](/m/a.png)\n\nmore\n\n[a]: https://e.x\n\nend"
    html.update(text[:-20])
    assert html.blocks[0] == "<p>see [a]</p>"
    assert html.unshown_images({"https://s.x/m/a.png": "i", "https://s.x/m/b.png": "b"}) == [
        '<p><a class="nbb-remote" href="https://s.x/m/b.png" data-remote="https://s.x/m/b.png" '
        f"{LINK}>image: b (s.x)</a></p>"
    ]
    addresses["https://s.x/m/a.png"] = DOT
    assert html.finish(text) == 0
    assert html.blocks == html_blocks(text, addresses=addresses, image_key=image_key)
    assert 'href="https://e.x"' in html.blocks[0]
    assert html.blocks[1] == f'<p><img data-picture="k{len(DOT)}" alt="i"></p>'
    assert html.finish(text) == len(html.blocks)
    assert html.unshown_images({"https://s.x/m/a.png": "i"}) == []


def test_another_text_is_rendered_anew() -> None:
    html = HtmlBlocks()
    html.update("a\n\nb\n\nc")
    assert html.update("x\n\nb") == 0
    assert html.blocks == ["<p>x</p>", "<p>b</p>"]


def test_an_image_without_a_key_is_its_alt_text() -> None:
    def fail(uri: str) -> str:
        raise OSError

    assert html_blocks(f"![a]({DOT})", image_key=fail) == ["<p>image: a</p>"]
    assert html_blocks(f"![a]({DOT})") == ["<p>image: a</p>"]


def test_an_incomplete_image_is_a_word() -> None:
    html = HtmlBlocks(image_key=image_key)
    html.update("a\n\n![i](data:image/png;base64," + "A" * 40_000)
    assert html.blocks[1] == "<p><em>(an image of 30 kB)</em></p>"


def code_in(block: str) -> str:
    return Page(block.partition("<pre")[2].partition(">")[2].removesuffix("</pre></figure>")).text


@pytest.mark.parametrize("language", ["python", "py", "html", "console", "brainfuck", "nope", ""])
def test_code_stays_as_it_was_written(language: str) -> None:
    code = "\n\n def f(x):\n\treturn '<b>' && x  \n\n$ a\n>>> é\n\n"
    [block] = blocks_of(f"````{language}\n{code}````")
    assert code_in(block) == code
    for slow in ("a" * 2000 + "\n", "\n" * 200, "x = 1\n" * 10_000):
        [block] = blocks_of(f"````{language}\n{slow}````")
        assert "<span" not in block
        assert code_in(block) == slow


def test_deep_text_is_not_lost() -> None:
    for text in ("> " * 500 + "end\n\nlast", "- " * 500 + "end\n\nlast", "*a _b " * 2000 + "end\n\nlast"):
        blocks = blocks_of(text)
        assert wrong_in(blocks) == []
        assert "end" in blocks[0]
        assert blocks[-1] == "<p>last</p>"


BLOWUPS = [
    "[", "![", "]", "[](", "[a](", "[a](https://e.x)", "![a](https://e.x)", "<", "<a", "&", "*", "**a ", "`", "``a`",
    "> ", "> > a\n", "|", "| a ", "$", "$a$ ", "$$", "\\(", "\\[\n", "$$\n", "\\begin{align}\n", "\\", "@", "[a]: b\n",
    "[a]\n", "https://", "www.a.b/", "~~~\n", "\u202e", "\x00", "[a](<", '[a](x "', "![[a](", "\t", " ", "- a\n",
    "*a _b ", "```php\n", "```python\n'''",
    "https://a.b/)", "\\[\n\\] y\n", "$$\n# h\n", "[[a](https://e.x)", "- \n", "1. $$\n", "~~a ", "[a]: b\n'c\n", "#\n",
]  # fmt: skip


@pytest.mark.parametrize("fragment", BLOWUPS)
def test_linear_time(fragment: str) -> None:
    def work(size: int) -> None:
        html_blocks((fragment * (size // len(fragment) + 1))[:size])

    assert is_linear(work, 10_000)


def test_blocks_that_are_done_are_not_parsed_again() -> None:
    def work(count: int) -> None:
        html, text = HtmlBlocks(), ""
        for i in range(count):
            text += f"Paragraph {i} with *words*.\n\n" if i % 2 else f"# Heading {i}\n- item\n"
            html.update(text)

    assert is_linear(work, 300)


def test_references_do_not_multiply() -> None:
    text = "[a]: https://e.x/" + "x" * 4000 + "\n\n" + "[a]\n\n" * 20_000
    assert sum(map(len, html_blocks(text))) < 10 * len(text)


def test_the_oracle_finds_forbidden_html() -> None:
    for text in (
        "<script>",
        '<p style="x">',
        "<a href='javascript:x'>",
        "<p>",
        "<!-- -->",
        '<span class="evil"></span>',
    ):
        assert Page(text).wrong
