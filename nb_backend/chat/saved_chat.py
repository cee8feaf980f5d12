"""The part of ``Chat`` that writes it to files and shows it as a document."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self

from .. import settings
from ..typing import Messages
from .history import History
from .messages import Message, describe_length, metadata
from .transcript import Transcript


class SavedChat:
    """A chat as a document: saved as JSON, exported for people, shown in a cell."""

    model: str | None
    provider: str | None
    params: dict[str, Any]
    tools: list[Any]
    _history: History
    _system: str | None
    _title: str | None
    _api_key: settings.Secret

    if TYPE_CHECKING:

        def __init__(self, model: str | None, **options: Any) -> None: ...

        messages: Messages
        title: Any

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the chat to a JSON file that only its owner may read. The file has no key and no url."""
        self._transcript().save(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, url: str | None = None, api_key: str | None = None) -> Self:
        """Return the chat that ``save`` wrote. Raises ``ValueError`` if the file is damaged or of another kind.

        The url is never read from a file: somebody else's file could have your key sent to their server.
        """
        saved = Transcript.load(path)
        chat = cls(saved.model, url=url, api_key=api_key, provider=saved.provider, system=saved.system)
        about = saved.about or [{} for _ in saved.messages]
        chat.params, chat.messages = saved.params, [*map(Message, saved.messages, about)]
        chat.title = saved.title
        chat._history.add_versions(saved.versions, chat.messages)
        return chat

    def export(self, path: str | os.PathLike[str]) -> None:
        """Write the chat for people: as Markdown (``.md``), or as a notebook that asks it again (``.ipynb``)."""
        from . import export

        export.write(self._transcript(), path)

    def __repr__(self) -> str:  # here, as IPython takes it before a ``_repr_pretty_`` of a base class
        model = settings.model(self.model)
        return f"<Chat{f' with {model}' if model else ''}: {describe_length(self.messages)}>"

    def _repr_markdown_(self) -> str:
        from .export import to_markdown

        return to_markdown(self._transcript(), level=4)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        from ..markdown.data_uris import shorten_data_uris
        from ..text import safe_terminal
        from .export import to_markdown

        shown = to_markdown(self._transcript(), level=4, folded=False)
        printer.text(safe_terminal(shorten_data_uris(shown)))

    def _transcript(self) -> Transcript:
        keys = [settings.secret(self._api_key).value, *settings.known_keys()]
        messages = [*self.messages]
        about = [metadata(message) for message in messages]
        versions = self._history.versions_to_data()
        passed_on = [one for one in self.tools if isinstance(one, dict)]  # functions cannot be saved
        params = {**self.params, "tools": passed_on} if passed_on else self.params
        parts = (self.model, self.provider, self._system, params, messages, about, self._title, versions)
        return Transcript(*parts).without(*keys)
