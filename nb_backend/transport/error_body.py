"""What a server says about an error, as one sentence, whatever the shape of its body.

Shapes that are read: OpenAI's ``{"error": {"message", "type", "code"}}``, g4f's and Anthropic's events, Gemini's
array with ``details``, FastAPI's ``{"detail": [{"loc", "msg"}]}``, problem details (RFC 9457), OAuth's
``error_description``, OpenRouter's ``metadata.raw``, Groq's ``failed_generation``, JSON inside a string as proxies
send it, server-sent events, plain text, and the title of a web page.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import orjson

from ..text import truncate, unicode_text, visible

_MAX_DEPTH = 12  # objects, lists and JSON texts inside each other
_MAX_ITEMS = 10  # of a list or an object that are read
_MAX_CHARS = 10_000  # characters of a text that are read
_MAX_TITLE = 8_000  # characters of a page that are searched for its title
_MAX_NAME = 80  # characters; a longer value is a sentence

_HOLDERS = ("error", "errors", "detail", "base_resp", "fault")
"""Keys whose object, list or JSON text holds the message. If they hold a short name only, a key of ``_TEXTS`` wins."""
_TEXTS = (
    *("message", "msg", "error_description", "errorMessage", "error_message", "error_msg", "Message", "status_msg"),
    *("faultstring", "detail", "details", "errors", "error", "description", "reason", "title", "status", "code"),
)
"""Keys of a message, the best first."""
_IS_ERROR = frozenset({*_HOLDERS, "message", "msg", "error_message", "error_msg"})
"""Keys of an object within a text, one of which it has if it is an error."""
_NAMES = frozenset({"code", "type", "status", "reason", "error_type", "error_code", "errorcode", "error", "name"})
_PARAMS = frozenset({"param", "parameter", "field", "property", "argument", "pointer"})
_KINDS = ("type", "status", "error_type", "error")
_NUMBERS = frozenset({"code", "status", "statuscode", "status_code", "http_status", "error_code", "http_code"})
_WAITS = {
    **dict.fromkeys(
        ("retry_after", "retryafter", "retry-after", "retry_after_seconds", "retrydelay", "retry_delay"), ""
    ),
    **dict.fromkeys(("retry_after_ms", "retry-after-ms", "retryafterms"), "ms"),
}
"""Keys of the time to wait, and the unit that belongs to their number."""
_PLAIN = (str, int, float)


def sentence(value: Any, depth: int = 0) -> str:
    """Return the message in what a server sent, without braces, quotes or a Python repr; ``""`` if there is none."""
    if depth > _MAX_DEPTH or value is None or isinstance(value, bool):
        return ""
    if isinstance(value, str):
        return _of_text(value, depth)
    if isinstance(value, list | tuple):
        return "; ".join(dict.fromkeys(filter(None, (sentence(item, depth + 1) for item in value[:_MAX_ITEMS]))))
    if isinstance(value, dict):
        return _of_object(value, depth)
    return str(value)


def body_value(body: bytes) -> Any:
    """Return what the body of an error holds: a JSON value, or a text, which is the title of a web page."""
    text = body.decode("utf-8-sig", "replace").strip()
    if text.startswith(("data:", "event:", ":")):
        data = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
        text = next((line for line in data if line != "[DONE]"), "")
    with suppress(orjson.JSONDecodeError):
        return orjson.loads(text)
    return page_title(text) if text.startswith("<") else text


def page_title(page: str) -> str:
    """Return the title of a web page, or the message of an XML document; ``""`` if it has none."""
    found = re.search(r"<(title|h1|message)\b[^>]*>(.*?)</\1", page[:_MAX_TITLE], re.IGNORECASE | re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", found[2])).split()) if found else ""


def one_line(value: Any, secrets: Iterable[str], limit: int = 300) -> str:
    """Return a server's text as one line of at most ``limit`` characters, safe for a terminal, with secrets masked."""
    text = _mask(str(value or ""), secrets)
    text = " ".join(visible(unicode_text(text[:_MAX_CHARS])).split())
    return truncate(text, limit)


def _mask(text: str, secrets: Iterable[str]) -> str:
    """Mask secrets in any spelling and case, and remove the start of a secret at the end: the body may be cut there.

    Stricter than ``redaction.mask``: also for keys of 4 to 7 characters, as servers repeat them in error messages.
    """
    for secret in secrets:
        if len(secret) > 3:
            any_spelling = "".join(map(_any_spelling, secret))
            text = re.sub(f"{re.escape(secret)}|{any_spelling}", "***", text, flags=re.IGNORECASE)
            cut = max((size for size in range(4, len(secret)) if text.endswith(secret[:size])), default=0)
            text = text[: len(text) - cut]
    return text


def _any_spelling(char: str) -> str:
    """Return a pattern for a character as it is, or as it is written in a URL, in HTML, or in JSON within JSON.

    It matches in one way only, the longest: each other way would double the time for the whole secret.
    """
    code, in_json = ord(char), json.dumps(char)[1:-1].lstrip("\\")
    in_url = "".join(f"%{byte:02x}" for byte in char.encode("utf-8", "replace"))
    entities = [f"&#x0*{code:x};", f"&#0*{code};", *({html.escape(char)} - {char})]
    escaped = "|".join(filter(None, dict.fromkeys([f"u{code:04x}", re.escape(char), re.escape(in_json)])))
    return rf"(?>{'|'.join([*entities, in_url])}|\\{{0,9}}(?:{escaped}))"


@dataclass(frozen=True)
class ErrorBody:
    """What a server says about an error.

    ``message`` is a sentence, ``code`` the server's name for the error, ``names`` all such names as lower-case words,
    ``status`` the HTTP status that is written into it (or 0), ``wait`` the seconds that it asks to wait, ``param`` the
    fields of the request that it is about.
    """

    message: str = ""
    code: str = ""
    names: str = ""
    status: int = 0
    wait: float | None = None
    param: str = ""

    @classmethod
    def of(cls, value: Any) -> Self:
        """Read a JSON value or a text."""
        fields, message = [*_fields(value)], sentence(value)
        return cls(
            message, _code(fields, message), _names(fields), _status(fields), _wait(fields, message), _param(fields)
        )


def _code(fields: list[tuple[str, Any]], message: str) -> str:
    """Return the ``code`` of an error, or another name of it if the code is missing or a number."""
    found = [(key, str(item)) for key, item in fields if isinstance(item, str | int) and item]
    codes = [text for key, text in found if key == "code"]
    names = [text for key, text in found if key in _KINDS and text not in ("error", "about:blank", message)]
    words = [text for text in codes if not text.isdigit()] + [text for text in names if re.fullmatch(r"\D\w*", text)]
    return next(iter(words + codes), "")


def _names(fields: list[tuple[str, Any]]) -> str:
    texts = [(key, item) for key, item in fields if key in _NAMES and isinstance(item, str) and len(item) <= _MAX_NAME]
    names = [text for key, text in texts if key != "error" or " " not in text.strip()]  # an "error" may be a sentence
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[_\s]+", " ", " | ".join(names)).lower()


def _param(fields: list[tuple[str, Any]]) -> str:
    """Return the fields of the request that an error names, separated by spaces; of FastAPI's ``loc`` the last part."""
    named = [item for key, item in fields if key in _PARAMS]
    named += [item[-1] for key, item in fields if key == "loc" and isinstance(item, list) and item]
    return " ".join(dict.fromkeys(name for name in named if isinstance(name, str) and 0 < len(name) <= _MAX_NAME))


def _status(fields: list[tuple[str, Any]]) -> int:
    numbers = (str(item).strip() for key, item in fields if key in _NUMBERS and isinstance(item, str | int))
    return next((int(text) for text in numbers if re.fullmatch(r"[45]\d\d", text)), 0)


def _wait(fields: list[tuple[str, Any]], message: str) -> float | None:
    named = [_duration(f"{item}{_WAITS[key]}") for key, item in fields if key in _WAITS and isinstance(item, _PLAIN)]
    said = re.search(
        r"\b(?:try again|retry|wait)(?: after| in| for)? ((?:\d+(?:\.\d+)? ?[a-z]+ ?){1,3})", message.lower()
    )
    return next((wait for wait in [*named, said and _duration(said[1])] if wait is not None), None)


def _of_object(value: dict[str, Any], depth: int) -> str:
    told = value.get("msg", value.get("message"))  # g4f renames FastAPI's key
    if isinstance(value.get("loc"), list) and told is not None:
        place, said = ".".join(map(str, value["loc"][:_MAX_ITEMS])), sentence(told, depth + 1)
        return f"{place}: {said}" if place else said
    title, detail = value.get("title"), value.get("detail")
    if isinstance(title, str) and isinstance(detail, str) and title and detail and title not in detail:
        return f"{title.rstrip('.:')}: {sentence(detail, depth + 1)}"
    read: dict[str, str] = {}

    def found_in(key: str) -> str:
        if key not in read:  # to read objects within objects more than once would take exponential time
            read[key] = sentence(value.get(key), depth + 1)
        return read[key]

    for key in _HOLDERS:
        holds = isinstance(value.get(key), list if key == "detail" else dict | list)
        if holds and (found := found_in(key)):
            return found
    for key in _TEXTS:
        if found := found_in(key):
            raw = value["metadata"].get("raw") if isinstance(value.get("metadata"), dict) else None
            more = sentence(raw or value.get("failed_generation"), depth + 1)
            return f"{found.rstrip('.')}: {more}" if more and more not in found else found
    pairs = ((key, found_in(key)) for key in list(value)[:_MAX_ITEMS])
    return "; ".join(f"{key}: {found}" for key, found in pairs if found)


def _of_text(text: str, depth: int) -> str:
    """Return a text; a web page, JSON within it or the repr of a Python object is replaced by its message."""
    if text.lstrip().startswith("<"):
        return page_title(text) or re.sub(r"<[^<>]*>", " ", text)
    start, inner = _embedded(text)
    first = inner[0] if isinstance(inner, list) and inner else inner
    if start < 0 or not (isinstance(first, dict) and _IS_ERROR.intersection(first)):
        return text  # what is in braces may be what the sentence is about
    before = text[:start].rstrip(" \t\n:-'\"=([<").removesuffix(" b").rstrip(" :-")
    found = sentence(inner, depth + 1)
    return f"{before}: {found}" if before and found else before or found


def _embedded(text: str) -> tuple[int, Any]:
    """Return the place and the value of an object or list at the end of a text; the place is -1 if there is none."""
    text = text[:_MAX_CHARS]
    found = re.search(r"\{\s*[\"']|\[\s*\{|\[\s*[\"']", text)
    if found is None or text.count("{") + text.count("[") > 100:
        return -1, None
    start = found.start()
    for load in (_decoded, _literal):
        with suppress(ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            return start, load(text[start:])
    return -1, None


def _decoded(text: str) -> Any:
    return json.JSONDecoder(strict=False).raw_decode(text)[0]


def _literal(text: str) -> Any:
    import ast
    import warnings

    with warnings.catch_warnings():  # about the escapes in it
        warnings.simplefilter("ignore")
        return ast.literal_eval(text[: max(text.rfind("}"), text.rfind("]")) + 1])


def _fields(value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield the keys, in lower case, and values of an error and of the objects within it, the outer ones first."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, str):
        value = _embedded(value)[1]
    items: list[Any] = [value] if isinstance(value, dict) else value[:_MAX_ITEMS] if isinstance(value, list) else []
    inner: list[Any] = []
    for item in items:
        if isinstance(item, dict):
            for key, content in list(item.items())[:50]:
                yield str(key).lower(), content
                if isinstance(content, dict | list) or (isinstance(content, str) and "{" in content):
                    inner.append(content)
        elif isinstance(item, list):
            inner.append(item)
    for content in inner:
        yield from _fields(content, depth + 1)


_UNITS = {"ms": 0.001, "mi": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
"""Seconds of a unit, by its first two letters or its first one; ``mi`` is ``milliseconds``."""


def _duration(text: str) -> float | None:
    """Return the seconds of ``"34"``, ``"34.07s"``, ``"20ms"``, ``"6m0s"`` or ``"2 minutes"``; else ``None``."""
    text = text.strip().lower().replace("min", "m")
    if not re.fullmatch(r"(?:\d{1,9}+(?:\.\d++)? ?+[a-z]*+ ?+)++", text):  # possessive: it never backtracks
        return None
    seconds = 0.0
    for number, unit in re.findall(r"(\d+(?:\.\d+)?) ?([a-z]*)", text):
        seconds += float(number) * (_UNITS.get(unit[:2]) or _UNITS.get(unit[:1] or "s", 0.0))
    return seconds
