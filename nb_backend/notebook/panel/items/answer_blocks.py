"""The text of an item as blocks of HTML, with the steps of the answer at their places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ....markdown.html.block import ImageKey
from ....markdown.html.blocks import HtmlBlocks
from ....tools.step import ToolStep
from .steps import Mask, step_html

Rounds = Sequence[tuple[str, Sequence[ToolStep]]]


class AnswerBlocks:
    """A text that grows, in parts, each with the steps that follow it. Only what is new is rendered.

    ``addresses`` and ``image_key`` are those of ``HtmlBlocks``.
    """

    def __init__(self, addresses: Mapping[str, str], image_key: ImageKey) -> None:
        self._addresses = addresses
        self._image_key = image_key
        self._texts: list[HtmlBlocks] = []
        self._steps: dict[tuple[int, int], tuple[ToolStep, str, str]] = {}  # with where it is asked, and the HTML

    def render(self, rounds: Rounds, mask: Mask, asked: str, *, growing: bool) -> list[str]:
        """Return the blocks; ``growing``: more may come. ``asked`` says where the user is asked about a call."""
        blocks: list[str] = []
        for number, (text, steps) in enumerate(rounds):
            if number == len(self._texts):
                self._texts.append(HtmlBlocks(addresses=self._addresses, image_key=self._image_key))
            renderer = self._texts[number]
            if growing and number == len(rounds) - 1:
                renderer.update(text)
            else:
                renderer.finish(text)
            blocks += renderer.blocks
            blocks += [self._step(number, at, step, mask, asked) for at, step in enumerate(steps)]
        del self._texts[len(rounds) :]
        return blocks

    def unshown_images(self, alts: Mapping[str, str]) -> list[str]:
        """Return a block for each image that came beside the text and is not in it; ``alts``: address to alt text."""
        first, *others = [renderer.unshown_images(alts) for renderer in self._texts] or [[]]
        return [block for block in first if all(block in one for one in others)]

    def _step(self, number: int, at: int, step: ToolStep, mask: Mask, asked: str) -> str:
        known = self._steps.get((number, at))
        if known is None or known[0] is not step or known[1] != asked:
            known = self._steps[number, at] = step, asked, step_html(step, mask, self._image_key, asked)
        return known[2]
