"""Answers kept in a folder: a question that was asked before is answered from there, at once, and no server is needed.

A file for each answer, named after its question and a hash of all that was asked: ``why-is-the-sky-blue-<hash>.json``,
a JSON object of ``format`` ("nb_backend.answer"), ``version`` (1), ``recorded`` (when, in UTC, ISO 8601), ``question``
(what the hash is of: ``server``, its kind; ``model``; ``messages``, in which a file is its media type and SHA-256;
``params``), ``seconds``, ``first_token_seconds``, ``trimmed``, ``images`` (those that the server had kept, by their
addresses, as data URIs) and ``events``, one in a line, a line of the answer in each. There is no key in it, and not
where it was asked: it can be committed beside a notebook. (Caches like diskcache keep pickles in a database, which
nobody can read or compare.)
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
import time
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import debug, settings
from ..files import replace
from ..markdown.data_uris import is_bitmap
from .answer import Answer
from .jsonable import plain
from .recording import _KEPT, CachedAnswer, cache_key

FORMAT = "nb_backend.answer"
VERSION = 1
MAX_SIZE = 64 * 2**20  # bytes of a file
_STEM = 40  # characters of a question in the name of its file
_RESCAN = 256  # files written by this process before it looks what others have written
_name = re.compile(r"[a-z0-9-]{1,60}-[0-9a-f]{20}\.json")
_time = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_sizes: dict[Path, tuple[int, int]] = {}  # bytes that a folder has, as far as is known, and files written since


class AnswerCache:
    """The answers in a folder, of at most ``max_bytes``: then those that were not used for the longest time go.

    Several processes may use it at once. The folder is made when the first answer is kept.
    """

    def __init__(self, folder: Path, max_bytes: int | None = None) -> None:
        self.folder = folder
        self.max_bytes = settings.current.max_cache_bytes if max_bytes is None else max_bytes

    def get(self, question: dict[str, Any]) -> CachedAnswer | None:
        """Give the answer to a question, if there is one; a damaged file is none."""
        path = self.path(question)
        try:
            status = path.lstat()
            data = path.read_bytes() if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_SIZE else b""
        except OSError:
            return None
        try:
            found = _read(json.loads(data.decode("utf-8")), question)
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            debug.warn(f"{path.name} is damaged, or the answer to another question: it is not used")
            return None
        with suppress(OSError):
            os.utime(path)  # used now
        return found

    def put(self, question: dict[str, Any], answer: Answer, events: Iterable[dict[str, Any]]) -> None:
        """Keep an answer, in the place of an older one. ``OSError`` if it cannot be written, ``ValueError`` if it has
        more than 64 MB.
        """
        record = {
            "format": FORMAT,
            "version": VERSION,
            "recorded": answer.recorded,
            "question": question,
            "seconds": answer.seconds,
            "first_token_seconds": answer.metadata()["first_token_seconds"],
            "trimmed": answer.trimmed,
            "images": {
                url: target for url, target in answer.image_targets().items() if url != target or is_bitmap(url)
            },
        }
        lines = ",\n  ".join(_json(event) for event in events)
        text = f'{_json(record, indent=1)[:-2]},\n "events": [\n  {lines}\n ]\n}}\n'
        if len(data := text.encode()) > min(MAX_SIZE, self.max_bytes):
            raise ValueError(f"it has {len(data) >> 20} MB")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace(self.path(question), data)  # no link that a stranger has put there leads out of the folder
        self._evict(len(data))

    def path(self, question: dict[str, Any]) -> Path:
        """Give where the answer to a question is kept."""
        return self.folder / f"{_file_slug(question['messages'])}-{cache_key(question)[:20]}.json"

    def clear(self) -> int:
        """Delete all answers, and nothing else, and give how many there were."""
        count = sum(_unlink(path) for path, _ in self._files())
        _sizes.pop(self.folder, None)
        return count

    def size(self) -> tuple[int, int]:
        """Give how many answers there are, and their bytes."""
        sizes = [status.st_size for _, status in self._files()]
        return len(sizes), sum(sizes)

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if _name.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                        yield Path(entry.path), entry.stat(follow_symlinks=False)

    def _evict(self, written: int) -> None:
        size, count = _sizes.get(self.folder, (0, _RESCAN))
        if count >= _RESCAN or size + written > self.max_bytes:
            files = sorted(self._files(), key=lambda one: one[1].st_mtime)
            size, count = sum(status.st_size for _, status in files), 0
            for path, status in files[:-1] if size > self.max_bytes else ():
                size -= status.st_size if _unlink(path) else 0
                if size <= self.max_bytes * 0.9:
                    break
            written = 0
        _sizes[self.folder] = size + written, count + 1


def now() -> str:
    """Give the time as it is recorded."""
    return datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read(record: dict[str, Any], question: dict[str, Any]) -> CachedAnswer:
    """Read what ``put`` wrote; ``ValueError``, ``KeyError``, ``TypeError`` or ``AttributeError`` for anything else."""
    if record["format"] != FORMAT or record["version"] != VERSION or record["question"] != question:
        raise ValueError
    if not _time.fullmatch(record["recorded"]) or not all(isinstance(event, dict) for event in record["events"]):
        raise ValueError
    first = record["first_token_seconds"]
    return CachedAnswer(
        recorded=record["recorded"],
        events=plain([event for event in record["events"] if event["type"] in _KEPT | {"content", "reasoning"}]),
        seconds=_seconds(record["seconds"]),
        first_token_seconds=None if first is None else _seconds(first),
        trimmed=max(0, int(record["trimmed"])),
        images={str(url): target for url, target in plain(record["images"]).items() if isinstance(target, str)},
    )


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not math.isfinite(seconds):
        raise ValueError
    return max(0.0, seconds)


def _file_slug(messages: list[dict[str, Any]]) -> str:
    """Make a word for the name of a file out of the question."""
    content = next((one.get("content") for one in reversed(messages) if one.get("role") == "user"), "")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        content = next((text for text in texts if isinstance(text, str)), "")
    text = unicodedata.normalize("NFKD", str(content or "")[:400]).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", text).strip("-")
    return (words if len(words) <= _STEM else words[: _STEM + 1].rpartition("-")[0] or words[:_STEM]) or "question"


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)


def _unlink(path: Path) -> bool:
    with suppress(OSError):
        path.unlink()
        return True
    return False
