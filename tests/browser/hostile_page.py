"""Hostile answers in a page: their prefixes, their readable words, and the requests that the page sends."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from hostile import HOSTILE
from playwright.sync_api import Page, Request

CONVERTED = "https://converted.test/"
OWN = re.compile(r"https://(cdnjs\.cloudflare\.com|unpkg\.com|cdn\.jsdelivr\.net)/")  # loaded by nbconvert
STEP = 7  # characters between two prefixes


def prefixes(text: str) -> list[str]:
    """Return the prefixes of a text, each seven characters longer, up to the whole text."""
    return [text[:end] for end in range(STEP, len(text), STEP)] + [text]


PREFIXES = list(dict.fromkeys(prefix for text in HOSTILE for prefix in prefixes(text)))
WATCH = "() => { window.hits = []; window.hit = () => { hits.push(new Error().stack); }; }"
READ = {  # what a cell and the panel show of a text
    "before <script>hit()</script> after": "before <script>hit()</script> after",
    "see [click](javascript:hit()) here": "see [click](javascript:hit()) here",
    "see [click](https://example.org/'x') here": "see click here",
    "a ![plot](https://evil.test/x.png) b": "a image: plot (evil.test) b",
    "it costs $5 or $6, not \\$7 & @@0@@": "it costs $5 or $6, not $7 & @@0@@",
    "`<b>&lt;</b>` and `` `tick` `` and `$x`": "<b>&lt;</b> and `tick` and $x",
    "path C:\\Users\\(new) and \\begin{x}": "path C:\\Users(new) and \\begin{x}",
    "bidi \u202e here": "bidi [U+202E] here",
    "\x1b[31mred\x1b[0m and \x9b2J and tag\U000e0061": "[U+001B][31mred[U+001B][0m and [U+009B]2J and tag[U+E0061]",
    "a\u200fb \u05e9\u05dc\u05d5\u05dd\u200f a\ufe0fb \u2764\ufe0f": (
        "a[U+200F]b \u05e9\u05dc\u05d5\u05dd\u200f a[U+FE0F]b \u2764\ufe0f"
    ),
    "java&Tab;script: &lt;b&gt; &#8238;x &copy;": "java script: <b> [U+202E]x \u00a9",
    "<plaintext>all <!-- that --> follows ]]> </textarea>": "<plaintext>all <!-- that --> follows ]]> </textarea>",
    "%%bash\nrm -rf pwned": "%%bash rm -rf pwned",
    '<button data-commandlinker-command="x">Press</button>': '<button data-commandlinker-command="x">Press</button>',
    "https://example.org@evil.test/x [d](https://evil.test:99999/)": (
        "https://example.org@evil.test/x [d](https://evil.test:99999/)"
    ),
}


def hostile_sources(text: str, count: int = 1) -> list[dict[str, str]]:
    """Return pages that an answer names: a hostile title, a hostile address, and so many addresses that end in it."""
    pages = [f"https://example.org/{number or ''}{text}" for number in range(count)]
    return [{"url": url, "title": text} for url in ("https://example.org", text, *pages)]


def as_read(text: str) -> str:
    """Return the words that a page shows, without regard to layout."""
    return " ".join(text.split())


@contextmanager
def requests_of(page: Page, own: str = "") -> Iterator[list[str]]:
    """Collect the page's requests to other hosts, and those to its own server that only an answer can cause."""
    asked: list[str] = []

    def note(request: Request) -> None:
        url = urlsplit(request.url)
        elsewhere = url.scheme not in ("data", "blob", "about") and url.netloc != urlsplit(own).netloc
        if elsewhere or "pwned" in url.path + url.query:
            asked.append(request.url)

    page.on("request", note)
    yield asked
    page.remove_listener("request", note)


def missing_words(text: str, read: str) -> list[str]:
    """Return the words of an answer that are not shown; none if its Markdown hides some on purpose."""
    if re.search(r"[$\\&`~|*_]|\][(\[:]|\[\w+\]|[\x80-\U0010ffff]|[\x00-\x08\x0b-\x1f]|<https?:", text):
        return []
    return [word for word in re.findall(r"\w{2,}", text) if word not in read]


@contextmanager
def new_page(page: Page, own: str) -> Iterator[tuple[Page, list[str]]]:
    """Return a new page that records the scripts that run and its requests."""
    assert page.context.browser is not None
    fresh = page.context.browser.new_page()
    fresh.add_init_script(f"({WATCH})()")
    with requests_of(fresh, own) as asked:
        yield fresh, asked
    fresh.close()


@contextmanager
def converted(page: Page, path: Path) -> Iterator[tuple[Page, list[str]]]:
    """Convert a notebook to HTML, and open it in a new page without network."""
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--stdout", str(path)]
    html = subprocess.run(command, capture_output=True, check=True).stdout
    with new_page(page, CONVERTED) as (fresh, asked):
        fresh.route("**/*", lambda route: route.abort())
        fresh.route(CONVERTED, lambda route: route.fulfill(body=html, content_type="text/html"))
        fresh.goto(CONVERTED)
        yield fresh, [url for url in asked if not OWN.match(url)]
