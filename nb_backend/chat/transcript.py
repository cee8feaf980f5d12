"""A conversation as a file: saved as JSON to go on with, exported as Markdown or a notebook to read.

The JSON is an object of ``format`` ("nb_backend.chat"), ``version`` (1), ``model``, ``provider``, ``system`` (texts, or
null), ``params`` (an object), ``messages`` (objects of ``role``, ``content``, and the marks that ``memory`` tells of)
and ``about`` (for each message an object of what is known about it, as ``memory.Message`` has it). A change that
older readers would misread raises the version.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from ..files import write
from ..media.attachment import Attachment
from ..redaction import SHORTEST_SECRET
from ..typing import Messages
from .jsonable import plain, without_secrets

FORMAT = "nb_backend.chat"
VERSION = 1
MAX_SIZE = 256 * 2**20  # bytes of a file that is read
_OWN = frozenset({"model", "messages", "media", "api_key"})  # fields of a request that no parameter may set


@dataclass
class Transcript:
    """What of a conversation goes into files."""

    model: str | None = None
    provider: str | None = None
    system: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    messages: Messages = field(default_factory=list)
    about: list[dict[str, Any]] = field(default_factory=list)

    def without(self, key: str | None) -> Self:
        """Give a copy that is plain JSON of valid Unicode, without the key, nor parameters named like secrets.

        ``ValueError`` for what JSON cannot say.
        """
        secret = key if key and len(key) >= SHORTEST_SECRET else None
        made: dict[str, Any] = {one.name: plain(getattr(self, one.name), secret) for one in fields(self)}
        made |= {name: without_secrets(made[name]) for name in ("params", "about")}
        copy = type(self)(**made)
        if wrong := copy._wrong():
            raise ValueError(f"this conversation cannot be written: {wrong}")
        return copy

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON."""
        record = {"format": FORMAT, "version": VERSION, **asdict(self)}
        if not any(self.about):
            del record["about"]
        text = json.dumps(record, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
        if (size := len(text.encode())) > MAX_SIZE:
            most = f"{MAX_SIZE >> 20} MB is the most that is read again"
            raise ValueError(f"this conversation has {size >> 20} MB with its attachments, and {most}: export it")
        write(expanded(path), text.encode("utf-8"))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what ``save`` wrote; ``ValueError`` in one line if it is something else, ``OSError`` if it is gone."""
        where = expanded(path)
        data = _read(where)
        try:
            record = json.loads(data.decode("utf-8"))
        except (ValueError, RecursionError):
            raise _damaged(where, "it is not JSON") from None
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise _damaged(where, "it is another kind of file")
        version = record.get("version")
        if type(version) is not int or version < 1:
            raise _damaged(where, "its version is missing")
        if version > VERSION:
            raise ValueError(f"{str(where)!r} was saved by a newer nb_backend (version {version}): update this one")
        values: dict[str, Any] = {one.name: record.get(one.name) for one in fields(cls)}
        found = cls(**values)
        if not _is_about(found.about, found.messages):
            found.about = []  # as before there was any
        if wrong := found._wrong():
            raise _damaged(where, wrong)
        try:
            read = found.without(None)
        except ValueError:
            raise _damaged(where, "something in it is nested too deeply") from None
        try:
            for message in read.messages:
                if "media" in message:
                    message["media"] = [Attachment(*one) for one in message["media"]]
        except ValueError as error:
            raise _damaged(where, str(error)) from None
        return read

    def _wrong(self) -> str:
        if not all(isinstance(text, str | None) for text in (self.model, self.provider, self.system)):
            return "its model, provider and system have to be texts"
        if not isinstance(self.params, dict) or _OWN & self.params.keys():
            return "its params are none"
        if not isinstance(self.messages, list) or not all(map(_is_message, self.messages)):
            return "its messages are none"
        return ""


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
    texts = isinstance(message.get("cell", ""), str) and isinstance(message.get("system", ""), str)
    media = message.get("media", [])
    images = message.get("images", {})
    if not isinstance(images, dict) or not all(isinstance(one, str) for one in images.values()):
        return False
    if not isinstance(media, list) or not all(map(_is_attachment, media)):
        return False
    marks = type(trimmed) is int and trimmed >= 0 and texts
    return is_content and marks and isinstance(message.get("stopped", False), bool)


def _is_attachment(one: Any) -> bool:
    """Whether this is ``[uri, file name]``, perhaps with a remark, and the uri no path.

    A stranger's file must not have one of ours sent.
    """
    is_one = isinstance(one, list) and len(one) in (2, 3) and all(isinstance(item, str) for item in one)
    return is_one and one[0].startswith(("data:", "http://", "https://"))


def _damaged(path: Path, why: str) -> ValueError:
    return ValueError(f"{str(path)!r} is no conversation saved by nb_backend: {why}")


def expanded(path: str | os.PathLike[str]) -> Path:
    """Give the path, with the home that ``~`` stands for."""
    return Path(os.path.expanduser(os.fspath(path)))


def _read(path: Path) -> bytes:
    if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe or a device may never end
        raise _damaged(path, "it is no file")
    with path.open("rb") as file:
        data = file.read(MAX_SIZE + 1)
    if len(data) > MAX_SIZE:
        raise _damaged(path, f"it is larger than {MAX_SIZE >> 20} MB")
    return data
