"""An answer as Markdown and as text, with its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..markdown.data_uris import MAX_LIVE_BYTES
from ..markdown.elements import incomplete_note, join_blocks
from ..markdown.images import answer_markdown
from .answer_images import AnswerImages

if TYPE_CHECKING:
    from ..tools.step import ToolStep


class ShownAnswer(AnswerImages):
    """The part of ``Answer`` that shows it."""

    if TYPE_CHECKING:

        @property
        def rounds(self) -> list[tuple[str, list[ToolStep]]]:
            """See ``Answer``."""

        @property
        def shortcomings(self) -> list[str]:
            """See ``Answer``."""

    def to_markdown(self, *, live: bool = False, growing: bool = False) -> str:
        """Return the answer as safe Markdown with its images and its steps, which are folded.

        ``live=True`` shortens large images to a word or a link; ``growing=True`` holds back a formula that is open.
        """
        return join_blocks(*(block for part in self.parts(live=live, growing=growing) for block in part))

    def parts(self, *, live: bool = False, growing: bool = False) -> list[tuple[str, str]]:
        """Return the Markdown of each round: its text, and the steps that follow it; see ``to_markdown``."""
        limit = MAX_LIVE_BYTES if live else None
        if len(rounds := self.rounds) > 1:
            from .shown_steps import rounds_markdown

            return rounds_markdown(rounds, self.image_targets(), self.alts, limit, growing=growing)
        return [(answer_markdown(rounds[0][0], self.image_targets(), self.alts, limit, growing=growing), "")]

    def to_text(self) -> str:
        """Return the text with a line for each step at its place."""
        if len(rounds := self.rounds) == 1:
            return rounds[0][0]
        from .shown_steps import rounds_text

        return rounds_text(rounds)

    def _repr_markdown_(self) -> str:
        why = " · ".join(self.shortcomings)
        return join_blocks(self.to_markdown(), incomplete_note(why)) if why else self.to_markdown()
