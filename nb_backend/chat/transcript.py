"""A chat as a document: saved as JSON to continue later, exported as Markdown or a notebook to read.

The JSON is an object of ``format`` ("nb_backend.chat"), ``version`` (1), ``model``, ``provider``, ``system`` (strings
or null), ``title`` (a string, if the user has given one), ``params`` (an object), ``messages`` (objects of ``role``,
``content`` and the local keys that ``messages`` lists), ``about`` (for each message the object
``messages.Message.metadata``) and ``versions`` (those versions of turns that are not chosen, as
``versions.forks_to_data`` writes them; older readers leave them out). A change that older readers would misunderstand
raises the version.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, Self

from ..media.attachment import Attachment
from ..typing import Messages
from .atomic_files import write
from .jsonable import plain, without_secrets
from .saved_rounds import are_rounds
from .versions import MAX_VERSIONS

FORMAT = "nb_backend.chat"
VERSION = 1
MAX_SIZE = 256 * 2**20  # bytes of a file
_RESERVED = frozenset({"model", "messages", "media", "api_key"})  # fields of a request that ``params`` must not set


@dataclass
class Transcript:
    """The parts of a chat that go into files."""

    model: str | None = None
    provider: str | None = None
    system: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    messages: Messages = field(default_factory=list)
    about: list[dict[str, Any]] = field(default_factory=list)
    title: str | None = None
    versions: list[dict[str, Any]] = field(default_factory=list)

    def without(self, *keys: str | None) -> Self:
        """Return a copy as JSON data with the keys masked, and without parameters whose names say that they are secret.

        Raises ``ValueError`` for data that JSON cannot hold.
        """
        secrets = [key for key in keys if key]
        made: dict[str, Any] = {one.name: plain(getattr(self, one.name), secrets) for one in fields(self)}
        made |= {name: without_secrets(made[name]) for name in ("params", "about")}
        for other in _others(made["versions"]):
            other["about"] = without_secrets(other["about"])
        copy = type(self)(**made)
        if wrong := copy._wrong():
            raise ValueError(f"this chat cannot be written: {wrong}")
        return copy

    def described_messages(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yield each message with its metadata, which is empty if the file has none."""
        return zip_longest(self.messages, self.about, fillvalue={})

    def record(self) -> dict[str, Any]:
        """Return the JSON object that files and notebooks hold, of a copy that ``without`` made."""
        record = {"format": FORMAT, "version": VERSION, **asdict(self)}
        if not any(self.about):
            del record["about"]
        if self.title is None:
            del record["title"]
        if not self.versions:
            del record["versions"]
        return record

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON file. Raises ``ValueError`` if it would be too large to load."""
        text = json.dumps(self.record(), ensure_ascii=False, allow_nan=False, indent=1) + "\n"
        if (size := len(text.encode())) > MAX_SIZE:
            limit = f"only files of at most {MAX_SIZE >> 20} MB can be loaded"
            raise ValueError(f"this chat has {size >> 20} MB with its attachments, and {limit}: export it instead")
        write(expanded(path), text.encode("utf-8"))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file that ``save`` wrote. Raises ``ValueError`` if it is another kind of file, else ``OSError``."""
        where = expanded(path)
        data = _read(where)
        try:
            record = json.loads(data.decode("utf-8"))
        except (ValueError, RecursionError):
            raise _damaged(repr(str(where)), "it is not JSON") from None
        return cls.read(record, repr(str(where)))

    @classmethod
    def read(cls, record: object, where: str) -> Self:
        """Read what ``record`` returned. Raises ``ValueError``, which names ``where`` it was, for anything else."""
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise _damaged(where, f'"format" is not "{FORMAT}"')
        version = record.get("version")
        if type(version) is not int or version < 1:
            raise _damaged(where, '"version" is not a positive whole number')
        if version > VERSION:
            raise ValueError(f"{where} was saved by a newer nb_backend (format version {version}): update nb_backend")
        values: dict[str, Any] = {one.name: record.get(one.name) for one in fields(cls)}
        found = cls(**values)
        if not _is_about(found.about, found.messages):
            found.about = []  # old files have none
        if not isinstance(found.versions, list) or not all(map(_is_fork, found.versions)):
            found.versions = []
        if wrong := found._wrong():
            raise _damaged(where, wrong)
        try:
            read = found.without(None)
        except ValueError:
            raise _damaged(where, "its data is nested too deeply") from None
        try:
            for message in chain(read.messages, *(other["messages"] for other in _others(read.versions))):
                if "media" in message:
                    message["media"] = [Attachment(*one) for one in message["media"]]
        except ValueError as error:
            raise _damaged(where, str(error)) from None
        return read

    def _wrong(self) -> str:
        """Return what is wrong with the values, ``""`` if nothing is."""
        if not all(isinstance(text, str | None) for text in (self.model, self.provider, self.system, self.title)):
            return '"model", "provider", "system" and "title" have to be strings'
        params: Any = self.params
        if not isinstance(params, dict):
            return '"params" is not an object'
        if reserved := _RESERVED & params.keys():
            return f'"params" must not contain "{min(reserved)}"'
        if not isinstance(self.messages, list) or not all(map(_is_message, self.messages)):
            return '"messages" is not a list of messages'
        return ""


def _others(versions: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (other for fork in versions for other in fork["others"])


def _is_fork(fork: Any) -> bool:
    """Whether this is a fork as ``versions.forks_to_data`` writes it, with ``about`` beside its messages."""
    if not isinstance(fork, dict) or not isinstance(others := fork.get("others"), list):
        return False
    counts = [fork.get(name) for name in ("path", "at", "chosen")]
    if not all(type(count) is int and count >= 0 for count in counts) or len(others) >= MAX_VERSIONS:
        return False
    return all(isinstance(other, dict) and _is_version(other.get("messages"), other.get("about")) for other in others)


def _is_version(messages: Any, about: Any) -> bool:
    is_list = isinstance(messages, list) and bool(messages) and all(map(_is_message, messages))
    return is_list and messages[0]["role"] == "user" and _is_about(about, messages)


def _is_about(about: Any, messages: Any) -> bool:
    is_list = isinstance(about, list) and all(isinstance(one, dict) for one in about)
    return is_list and isinstance(messages, list) and len(about) == len(messages)


def _is_message(message: Any) -> bool:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        return False
    content, trimmed = message.get("content"), message.get("trimmed", 0)
    is_content = isinstance(content, str | None) or (
        isinstance(content, list) and all(isinstance(part, dict) for part in content)
    )
    texts = all(isinstance(message.get(key, ""), str) for key in ("cell", "system", "speech"))
    media, state = message.get("media", []), message.get("state", {})
    if not isinstance(state, dict) or not isinstance(state.get("items", []), list):
        return False
    images = message.get("images", {})
    if not isinstance(images, dict) or not all(isinstance(one, str) for one in images.values()):
        return False
    if not isinstance(media, list) or not all(map(_is_attachment, media)):
        return False
    if not are_rounds(message.get("rounds", []), _is_attachment):
        return False
    is_count = type(trimmed) is int and trimmed >= 0
    return is_content and is_count and texts and isinstance(message.get("stopped", False), bool)


def _is_attachment(one: Any) -> bool:
    """Whether this is ``[uri, file name]`` or ``[uri, file name, remark]``, and the uri is not a path.

    Somebody else's chat file must not make us send a file of this machine.
    """
    is_one = isinstance(one, list) and len(one) in (2, 3) and all(isinstance(item, str) for item in one)
    return is_one and one[0].startswith(("data:", "http://", "https://"))


def _damaged(where: str, why: str) -> ValueError:
    return ValueError(f"{where} is not a chat saved by nb_backend: {why}")


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return the path with ``~`` replaced by the home directory."""
    return Path(os.path.expanduser(os.fspath(path)))


def _read(path: Path) -> bytes:
    if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe or a device might never end
        raise _damaged(repr(str(path)), "it is not a regular file")
    with path.open("rb") as file:
        data = file.read(MAX_SIZE + 1)
    if len(data) > MAX_SIZE:
        raise _damaged(repr(str(path)), f"it is larger than {MAX_SIZE >> 20} MB")
    return data
