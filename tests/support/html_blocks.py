"""The blocks of safe HTML for a complete Markdown text."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nb_backend.markdown.html.blocks import HtmlBlocks


def html_blocks(
    text: str, *, addresses: Mapping[str, str] | None = None, image_key: Callable[[str], str] | None = None
) -> list[str]:
    html = HtmlBlocks(addresses=addresses, image_key=image_key)
    html.finish(text)
    return html.blocks
