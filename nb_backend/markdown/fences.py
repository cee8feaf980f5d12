"""Fenced code blocks of a text."""

from __future__ import annotations


def code_blocks(text: str) -> list[tuple[str, str]]:
    """Return the language (the first word after the fence, in small letters) and the content of each fenced block."""
    from markdown_it import MarkdownIt

    fences = [token for token in MarkdownIt("commonmark").parse(text) if token.type == "fence"]
    return [("".join(token.info.split()[:1]).lower(), token.content.removesuffix("\n")) for token in fences]
