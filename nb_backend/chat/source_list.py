"""The sources of an answer as a numbered list, below the text. Titles and addresses come from foreign pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from html import escape, unescape

from ..markdown.elements import code_span, escape_line
from ..markdown.links import safe_destination
from ..providers.sources import Source
from ..text import truncate, visible

MAX_SHOWN = 20
_MAX_TITLE_CHARS = 120


def sources_markdown(sources: Sequence[Source]) -> str:
    """Return the sources as a Markdown list; the address of a page is a link only if it is http or https."""
    lines = []
    for number, (title, url, host) in enumerate(_shown(sources), 1):
        name = escape_line(title).replace("www.", "www&#46;")  # renderers make a link of `www.`
        link = f"[{name}]({url}){host and f' {code_span(host)}'}"
        lines.append(f"{number}. {link if url else name or '?'}")
    more = f"\n\n{rest}" if (rest := _rest(sources)) else ""
    return "\n".join(["Sources:\n", *lines]) + more if lines else ""  # without the line, a list before would go on


def sources_html(sources: Sequence[Source]) -> list[str]:
    """Return the sources as blocks of HTML for the panel."""
    from ..markdown.html.sanitize import clean

    items = [
        f'<li><a href="{escape(unescape(url))}">{escape(title)}</a>{host and f" <code>{escape(host)}</code>"}</li>'
        if url
        else f"<li>{escape(title)}</li>"
        for title, url, host in _shown(sources)
    ]
    more = [f"<p>{rest}</p>"] if (rest := _rest(sources)) else []
    return ["<p>Sources:</p>", clean(visible(f"<ol>{''.join(items)}</ol>")), *more] if items else []


def sources_text(sources: Sequence[Source]) -> str:
    """Return the sources as lines of text."""
    lines = [f"[{at}] {title}{url and f' {url}'}" for at, (title, url, _) in enumerate(_shown(sources), 1)]
    return "\n".join([*lines, *filter(None, [_rest(sources)])])


def masked(sources: Iterable[Source], mask: Callable[[str], str]) -> list[Source]:
    """Return the sources with the keys in them masked."""
    return [replace(source, url=mask(source.url), title=mask(source.title)) for source in sources]


def _shown(sources: Iterable[Source]) -> Iterator[tuple[str, str, str]]:
    """Yield title, address and host of the first sources; no address if it is not safe, no host if the title has it."""
    for source, _ in zip(sources, range(MAX_SHOWN), strict=False):
        url, host = safe_destination(source.url) or ("", "")
        named = source.title if source.title != source.url else ""  # some services repeat the address
        title = " ".join((named or source.url.partition("://")[2] or source.url).split())
        is_in_title = title == host or title.startswith(f"{host}/")
        yield truncate(title, _MAX_TITLE_CHARS), url if host else "", "" if is_in_title else host


def _rest(sources: Sequence[Source]) -> str:
    """Return how many sources are not shown, in words."""
    return f"… and {len(sources) - MAX_SHOWN} more" if len(sources) > MAX_SHOWN else ""
