"""Answers in a folder: a request that was sent before is answered from there, without a server.

Each answer is a file, named after its prompt and a hash of the request: ``why-is-the-sky-blue-<hash>.json``. It is a
JSON object of

``format``               "nb_backend.answer"
``version``              1
``recorded``             time in UTC, ISO 8601
``question``             the hashed request: ``server``, ``model``, ``messages``, ``params``, and ``functions``, a hash
                         of the tools, if it has some (see ``cache_key_fields``)
``complete``             true, as only complete answers are stored; without it, the finish reason decides
``seconds``, ``first_token_seconds``, ``trimmed``        as in ``Answer``
``images``               images that the server sent, as data URIs by their addresses
``events``               one in a line, each with a line of the answer

There is no key in it and no url, so it can be committed beside a notebook. Libraries like diskcache keep pickles in a
database, which nobody can read or compare.
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
from ..events import RawResponse, finish_reason
from ..markdown.data_uris import is_bitmap
from ..providers.finish_reasons import is_done
from .answer import Answer
from .atomic_files import replace
from .jsonable import plain
from .recording import RECORDED, CachedAnswer, cache_key

FORMAT = "nb_backend.answer"
VERSION = 1
MAX_SIZE = 64 * 2**20  # bytes of a file
_MAX_SLUG = 40  # characters of the prompt in a file name
_RESCAN_AFTER = 256  # files written; other processes write to the folder too, so it is then measured again
_name = re.compile(r"[a-z0-9-]{1,60}-[0-9a-f]{20}\.json")
_time = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_sizes: dict[Path, tuple[int, int]] = {}  # by folder: bytes when last counted plus written, and files written since


class AnswerCache:
    """Cache of answers in a folder. Above ``max_bytes``, the least recently used answers are deleted.

    Several processes may use the same folder. It is created with the first answer.
    """

    def __init__(self, folder: Path, max_bytes: int | None = None) -> None:
        self.folder = folder
        self.max_bytes = settings.current.max_cache_bytes if max_bytes is None else max_bytes

    def get(self, question: dict[str, Any]) -> CachedAnswer | None:
        """Return the answer to a request; ``None`` if there is no file, or its answer is incomplete or damaged."""
        path = self.path(question)
        try:
            status = path.lstat()
            data = path.read_bytes() if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_SIZE else b""
        except OSError:
            return None
        try:
            found = _read(json.loads(data.decode("utf-8")), question)
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            debug.warn(f"{path.name} is damaged or answers another request: it is not used")
            return None
        if found is not None:
            with suppress(OSError):
                os.utime(path)  # marks it as used now
        return found

    def put(self, question: dict[str, Any], answer: Answer, events: Iterable[dict[str, Any]]) -> None:
        """Write an answer, in place of an older one to the same request.

        Raises ``OSError`` if it cannot be written, ``ValueError`` if it exceeds 64 MB or ``max_bytes``.
        """
        record = {
            "format": FORMAT,
            "version": VERSION,
            "recorded": answer.recorded,
            "question": question,
            "complete": True,
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
            raise ValueError(f"it has {len(data) >> 20} MB, which is too large")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace(self.path(question), data)  # a symbolic link there is replaced, not followed out of the folder
        self._evict(len(data))

    def path(self, question: dict[str, Any]) -> Path:
        """Return the file of the answer to a request."""
        return self.folder / f"{_file_slug(question['messages'])}-{cache_key(question)[:20]}.json"

    def clear(self) -> int:
        """Delete all answers, and no other files. Return how many there were."""
        count = sum(_unlink(path) for path, _ in self._files())
        _sizes.pop(self.folder, None)
        return count

    def size(self) -> tuple[int, int]:
        """Return the number of answers and their bytes."""
        sizes = [status.st_size for _, status in self._files()]
        return len(sizes), sum(sizes)

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if _name.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                        yield Path(entry.path), entry.stat(follow_symlinks=False)

    def _evict(self, written: int) -> None:
        """Delete the least recently used answers if the folder is too large, after ``written`` bytes were added."""
        size, count = _sizes.get(self.folder, (0, _RESCAN_AFTER))
        if count >= _RESCAN_AFTER or size + written > self.max_bytes:
            files = sorted(self._files(), key=lambda one: one[1].st_mtime)
            size, count = sum(status.st_size for _, status in files), 0
            for path, status in files[:-1] if size > self.max_bytes else ():
                size -= status.st_size if _unlink(path) else 0
                if size <= self.max_bytes * 0.9:
                    break
            written = 0
        _sizes[self.folder] = size + written, count + 1


def now() -> str:
    """Return the current time as ``recorded`` holds it."""
    return datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read(record: dict[str, Any], question: dict[str, Any]) -> CachedAnswer | None:
    """Parse what ``put`` wrote; ``None`` if the answer is not complete.

    Raises ``ValueError``, ``KeyError``, ``TypeError`` or ``AttributeError`` for anything else.
    """
    if record["format"] != FORMAT or record["version"] != VERSION or record["question"] != question:
        raise ValueError
    if not _time.fullmatch(record["recorded"]) or not all(isinstance(event, dict) for event in record["events"]):
        raise ValueError
    if not _is_complete(record):
        return None
    first = record["first_token_seconds"]
    return CachedAnswer(
        recorded=record["recorded"],
        events=plain([event for event in record["events"] if event["type"] in RECORDED | {"content", "reasoning"}]),
        seconds=_seconds(record["seconds"]),
        first_token_seconds=None if first is None else _seconds(first),
        trimmed=max(0, int(record["trimmed"])),
        images={str(url): target for url, target in plain(record["images"]).items() if isinstance(target, str)},
    )


def _is_complete(record: dict[str, Any]) -> bool:
    """Whether a file says that its answer is complete; of files without that mark, the finish reasons decide."""
    if "complete" in record:
        return record["complete"] is True
    reasons = [finish_reason(RawResponse(**event)) for event in record["events"] if event["type"] == "finish"]
    return bool(reasons) and all(map(is_done, reasons))


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not math.isfinite(seconds):
        raise ValueError
    return max(0.0, seconds)


def _file_slug(messages: list[dict[str, Any]]) -> str:
    """Return the start of the prompt as part of a file name."""
    content = next((one.get("content") for one in reversed(messages) if one.get("role") == "user"), "")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        content = next((text for text in texts if isinstance(text, str)), "")
    text = unicodedata.normalize("NFKD", str(content or "")[:400]).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", text).strip("-")
    return (
        words if len(words) <= _MAX_SLUG else words[: _MAX_SLUG + 1].rpartition("-")[0] or words[:_MAX_SLUG]
    ) or "question"


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)


def _unlink(path: Path) -> bool:
    with suppress(OSError):
        path.unlink()
        return True
    return False
