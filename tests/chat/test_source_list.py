"""The sources of an answer are a numbered list of safe links."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt
from markdown_oracle import HOSTILE, Page, acting_in

from nb_backend.chat import Source
from nb_backend.chat.source_list import MAX_SHOWN, sources_html, sources_markdown, sources_text

PAGES = [Source("https://e.example/a?x=1&y=2", "A [page] *of* mine", "Text"), Source("http://www.f.example/b c")]
MARKDOWN = """Sources:

1. [A &#91;page&#93; &#42;of&#42; mine](https://e.example/a?x=1&y=2) `e.example`
2. [www&#46;f.example/b c](http://www.f.example/b%20c)"""
ATTRIBUTES = 'target="_blank" rel="noopener noreferrer"'
HTML = (
    f'<ol><li><a href="https://e.example/a?x=1&amp;y=2" {ATTRIBUTES}>A [page] *of* mine</a> <code>e.example</code></li>'
    f'<li><a href="http://www.f.example/b%20c" {ATTRIBUTES}>www.f.example/b c</a></li></ol>'
)
TEXT = """[1] A [page] *of* mine https://e.example/a?x=1&y=2
[2] www.f.example/b c http://www.f.example/b%20c"""


def test_the_list():
    assert sources_markdown(PAGES) == MARKDOWN
    assert sources_html(PAGES) == ["<p>Sources:</p>", HTML]
    assert sources_text(PAGES) == TEXT
    assert (sources_markdown([]), sources_html([]), sources_text([])) == ("", [], "")


def test_an_address_as_the_title_is_shown_once():
    source = Source("https://example.org/a?b=c", "https://example.org/a?b=c", "")
    assert sources_markdown([source]).endswith("1. [example.org/a?b=c](https://example.org/a?b=c)")


def test_only_the_first_are_shown():
    many = [Source(f"https://e.example/{at}") for at in range(50)]
    assert sources_markdown(many).count("https://") == MAX_SHOWN
    assert sources_markdown(many).endswith("\n\n… and 30 more")
    assert sources_html(many)[2:] == ["<p>… and 30 more</p>"]
    assert sources_text(many).splitlines()[MAX_SHOWN:] == ["… and 30 more"]
    assert "more" not in sources_markdown(many[:MAX_SHOWN]) + "".join(sources_html(many[:MAX_SHOWN]))


@pytest.mark.parametrize("title", ["e.example.org/a", "E.example", "e.exampl\u0435", "xe.example/a", ""])
def test_the_host_is_shown_unless_the_title_starts_with_it(title):
    sources = [Source("https://e.example/a", title)]
    assert ("`e.example`" in sources_markdown(sources)) == bool(title)
    assert ("<code>e.example</code>" in sources_html(sources)[1]) == bool(title)


NOT_HTTP = ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "mailto:a@e.example", "//e.example"]


@pytest.mark.parametrize("url", [*NOT_HTTP, "https://user:word@e.example"])
def test_an_address_that_is_not_http_is_not_a_link(url):
    sources = [Source(url, "A")]
    assert sources_markdown(sources) == "Sources:\n\n1. A"
    assert sources_html(sources)[1] == "<ol><li>A</li></ol>"
    assert sources_text(sources) == "[1] A"


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_titles_and_addresses_do_nothing(text):
    sources = [Source("https://e.example/a", text), Source(text, text), Source(f"https://e.example/{text}")]
    markdown = sources_markdown([*sources, Source("https://e.example/b", "B")])
    assert acting_in(markdown) == []
    tokens = [token for block in MarkdownIt("commonmark").parse(markdown) for token in block.children or []]
    links = [token.attrs["href"] for token in tokens if token.type == "link_open"]
    assert links[0] == "https://e.example/a"
    assert links[-1] == "https://e.example/b"
    assert not any(token.type in ("image", "html_inline") and "span" not in token.content for token in tokens)
    assert {*Page("".join(sources_html(sources))).wrong} == {"<a target='_blank'>", "<a rel='noopener noreferrer'>"}
