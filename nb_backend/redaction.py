r"""Find secrets in texts and mask them with ``***``.

``redact`` masks three kinds: secrets that are known, texts that look like one (keys of well-known services, JWTs,
private keys, passwords and parameters of URLs), and texts next to a name that says so: ``api_key = "…"``,
``{"token": "…"}``, ``%env TOKEN …``. All of it takes linear time, because the patterns never backtrack (possessive
quantifiers).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

from .text import counted

SHORTEST_SECRET = 8
"""Characters: a shorter key is not masked, as servers that need none are given "none", "ollama" or "EMPTY"."""
_MASK = "***"

_SECRET_NAME = re.compile(
    r"auth(?!or(?!i[sz]))|(?:api|access|private).?key|secret(?!ar)|passw|passphrase|passcode|cookie|credential|bearer"
    r"|(?:db|sql|pg|smtp|mail|user|admin|root|ftp|redis|proxy)_?pass$|_pwd$|_pat$|(?:^|[._-])key$|token_?\d*$"
    r"|(?:access|refresh|api|session)_?token(?!s)"
)  # it does not match max_tokens, author and the like
_HARMLESS_NAME = re.compile(
    r"(?:^|_)(?:sort|primary|foreign|group|partition|index|cache|dict|join|merge|row|column|natural|composite|unique"
    r"|public|order|lookup|map|hot|object|search|label|legend)_?key$"
    r"|(?:^|_)(?:bos|eos|pad|unk|sep|cls|mask|stop|special|start|end|max|min)_?token$"
    r"|_(?:url|uri|path|file|filename|dir|type|method|column|col|field|name|length|len|count|min|max|hint|sock)$"
)
_CAMEL_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_SERVICE_KEYS = (  # the last one matches JWTs
    r"(?<![A-Za-z0-9])sk-(?!learn)[\w-]{8,}+",
    r"(?<![A-Za-z0-9])[sr]k_(?:live|test)_\w{8,}+",
    r"(?<![A-Za-z0-9])(?:gh[oprsu]_|github_pat_|glpat-)[\w-]{8,}+",
    r"(?<![A-Za-z0-9])A(?:KI|SI)A[A-Z0-9]{12,}+",
    r"(?<![A-Za-z0-9])xox[a-z]-[\w-]{8,}+",
    r"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{16,}+",
    r"(?<![A-Za-z0-9])AIza[\w-]{16,}+",
    r"(?<![\w-])eyJ[\w-]{8,}+\.[\w-]{4,}+(?:\.[\w-]*+)?",
)
_service_key = re.compile("|".join(_SERVICE_KEYS))
# group 1 of a pattern, if it has one, is the text before the secret, which stays
_SECRET_FORMS: list[tuple[re.Pattern[str], str]] = [
    (re.compile(pattern), rf"\g<1>{_MASK}" if re.compile(pattern).groups else _MASK)
    for pattern in (
        *_SERVICE_KEYS,
        r"((?i:\bbearer)\s{1,9}+)(?!(?i:tokens?\b|auth))[\w.~+/=-]{6,}+",
        r"((?i:\bbasic)\s{1,9}+)(?=[\w+/-]{0,99}?[\d=]|\w[a-z]{0,99}+[A-Z])[\w+/=-]{8,}+",
        r"(://[^\s/@:\"'<>]{0,300}+:)(?!\{[^{}@\n]{0,99}\}@)[^\s/\"'<>]+(?=@)",
        r"(://)[\w-]{16,}+(?=@)",
        # of a connection string, not of code, where a comma or a bracket follows
        r"((?i:(?<![a-z])(?:pass(?:word|wd)?|pwd|token|secret|accountkey|sharedaccesskey))=)"
        r"(?![bfruBFRU]{1,2}[\"'])[^\s\"',;&(){}\[\]]{1,500}+(?=;|&|[\"']| {1,9}\w{1,60}=)",
        r"((?i:(?<![\w-])(?:x-[\w-]{0,40}(?:key|token|secret)|api-key|(?:set-)?cookie(?=:[ ]?[\w.-]{1,60}=))):[ ]?)"
        r"[^\s\"'][^\"'\n]*+",
    )
]
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?:[^-`]|-(?!----END)|`(?!``))*+(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?"
)
_URL_OR_ENV_VALUE = re.compile(  # a parameter of a URL, or a line that sets an environment variable
    r"([?&](?P<query>[\w.\[\]-]{1,60}+)=)(?!\{)[^&\s\"'#<>]++"
    r"|(^[ \t]*+(?:%(?:set_)?env|!?+[ \t]*+export)[ \t]++(?P<env>\w{1,60}+)[= \t][ \t]*+)[^\n]++",
    re.MULTILINE,
)
_NAME_AND_SIGN = re.compile(
    r"(?<![\w-])(?P<name>[A-Za-z_][\w-]{0,99}+)(?P<quote>\\{0,3}+[\"'])?"
    r"(?P<sign>\]?(?:\s*+:\s*+[\w.|\[\] ]{1,60}?)?\s*+[:!=]?=(?!=)\s*+|\]?\s*+==?\s*+|\s*+:\s*+|\s*+,\s*+)"
    r"(?P<open>[(\[])?\s*+(?=(?:[bfruBFRU]{1,2})?\\{0,3}[\"'])"
)
_LITERAL = re.compile(
    r"(?P<before>(?P<prefix>[bfruBFRU]{0,2}+)(?P<quote>\"\"\"|'''|\\*+[\"'])(?:(?:bearer|basic|token|digest)[ ]+)?)",
    re.IGNORECASE,
)
_NEXT_LITERAL = {
    True: re.compile(r"\s*+,?\s*+(?=[bfruBFRU]{0,2}[\"'])"),
    False: re.compile(r"\s*+(?=[bfruBFRU]{0,2}[\"'])"),
}
_AFTER_CLOSING_QUOTE = re.compile(r"\s*+(?:[+,;%)\]}.:]|$)", re.MULTILINE)
_FSTRING_FIELD = re.compile(r"(\{[^{}]*+\})")


def is_secret_name(name: str) -> bool:
    """Whether the name of a parameter or a variable says that its value is secret."""
    snake_case = _CAMEL_CASE.sub("_", name).lower()
    return bool(_SECRET_NAME.search(snake_case)) and not _HARMLESS_NAME.search(snake_case)


def is_secret(name: str, value: str) -> bool:
    """Whether a value under this name is a secret; under the name ``key``, only if it looks like one."""
    if name.lower() in ("key", "_key"):
        return len(value) >= 16 and bool(re.search(r"\d", value)) and not re.search(r"\s", value)
    return is_secret_name(name)


def is_worth_hiding(key: str) -> bool:
    """Whether a key can be masked wherever it occurs; a short or common word cannot, as any text may contain it."""
    return len(key) >= SHORTEST_SECRET and not (len(key) < 12 and key.isascii() and key.islower() and key.isalpha())


def has_key(text: str, known: Iterable[str] = ()) -> bool:
    """Whether a text contains a known key, or one that looks like a well-known service's."""
    return bool(_service_key.search(text)) or any(is_worth_hiding(key) and key in text for key in known)


def secrets_in(*namespaces: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts whose names say that they are secret, in namespaces such as ``os.environ`` or the user's."""
    for namespace in namespaces:
        for name, value in list(namespace.items()):
            if isinstance(name, str) and issubclass(type(value), str) and is_secret(name, text := str.__str__(value)):
                yield text.strip()


def truncate_redacted(text: str, limit: int, hide: Callable[[str], str]) -> str:
    """Mask the secrets in a text, then cut out its middle, so that the cut leaves no part of a secret.

    About ``limit`` characters are left. ``hide`` masks the secrets of a text. A very long text is first cut to ten
    times ``limit``, to save time.
    """
    for length in (10 * limit, limit):
        left_out = len(text) - length
        if left_out > 0:
            text = f"{text[: length // 2]}\n[… {counted(left_out, 'character')} left out]\n{text[-(length // 2) :]}"
        text = hide(text)
    return text


def without_home(text: str) -> str:
    """Replace the home directory in paths by ``~``."""
    home = os.path.expanduser("~").rstrip("/\\")
    for spelling in {home, home.replace("\\", "\\\\"), home.replace("\\", "/")} if home not in ("", "~") else ():
        text = re.sub(rf"(?<![\w.-]){re.escape(spelling)}(?![\w.-])", "~", text)
    return text


def mask(text: str, keys: Iterable[str]) -> str:
    """Return the text with ``***`` in place of each of the keys.

    Keys of fewer than ``SHORTEST_SECRET`` characters stay: servers that want no key are given a common word.
    """
    for key in keys:
        if len(key) >= SHORTEST_SECRET:
            text = text.replace(key, _MASK)
    return text


def mask_json(value: Any, keys: Sequence[str]) -> Any:
    """Return JSON data with ``***`` in place of the keys, and of every value whose name says that it is secret."""
    if isinstance(value, str):
        return mask(value, keys)
    if isinstance(value, dict):
        return {name: _MASK if is_secret_name(name) else mask_json(item, keys) for name, item in value.items()}
    return [mask_json(item, keys) for item in value] if isinstance(value, list | tuple) else value


def redact(text: str, known: Iterable[str] = ()) -> str:
    """Return the text with ``***`` in place of each secret: those that are known, and what looks like one.

    The number of lines stays the same, and redacting the result changes nothing more. Known secrets of fewer than
    ``SHORTEST_SECRET`` characters are ignored.
    """
    all_spellings = {spelling for secret in known if len(secret) >= SHORTEST_SECRET for spelling in spellings(secret)}
    longest_first = sorted((secret for secret in all_spellings if secret.strip("*")), key=len, reverse=True)
    known_secrets = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
    for _ in range(4):  # what a mask leaves behind may look like a secret again, hardly ever more than once
        before = text
        text = _redact_once(known_secrets.sub(_mask_lines, text) if known_secrets else text)
        if text == before:
            break
    return text


def _redact_once(text: str) -> str:
    text = _PRIVATE_KEY.sub(_mask_lines, text)
    for pattern, replacement in _SECRET_FORMS:
        text = pattern.sub(replacement, text)
    return _mask_assigned(_URL_OR_ENV_VALUE.sub(_mask_if_secret_name, text))


def spellings(secret: str) -> set[str]:
    """Return the ways to write a secret: as it is, in a Python literal, in JSON, in JSON within JSON, in a URL."""
    encoded, in_json = secret.encode("utf-8", "replace"), json.dumps(secret)[1:-1]
    return {
        secret,
        repr(secret)[1:-1],
        in_json,
        json.dumps(in_json)[1:-1],
        in_json.replace("/", "\\/"),  # as PHP writes it
        quote(encoded, safe=""),
        quote(encoded),
        quote_plus(encoded),
    }


def _mask_lines(found: re.Match[str]) -> str:
    return _MASK + "\n" * found[0].count("\n")


def _mask_if_secret_name(found: re.Match[str]) -> str:
    query = found["query"]
    secret = is_secret_name(query or found["env"]) or (query or "").lower().endswith(("sig", "signature", "pwd"))
    return f"{found[1] or found[3]}{_MASK}" if secret else found[0]


def _mask_assigned(text: str) -> str:
    """Mask the string literals that follow names of secrets, also inside literals that follow other names."""
    parts: list[str] = []
    done = at = 0
    while found := _NAME_AND_SIGN.search(text, at):
        at = found.end()
        if not (is_secret_name(found["name"]) or found["name"].lower() in ("pwd", "pass")):
            at = found.end("name") if found["sign"].strip() == "," else found.end()
            continue
        literal = _LITERAL.match(text, at)
        if literal is None or not _belongs_to_name(text, found, literal):
            continue
        follows = _NEXT_LITERAL[bool(found["open"])]
        while literal:
            content = _content(literal["quote"], text, literal.end())
            parts += [text[done : literal.end()], _masked_content(found["name"], content, literal["prefix"])]
            done = at = literal.end() + len(content)
            closed = text.startswith(literal["quote"], at)
            at += len(literal["quote"]) * closed
            more = follows.match(text, at) if closed else None
            literal = _LITERAL.match(text, more.end()) if more else None
    return "".join([*parts, text[done:]])


def _belongs_to_name(text: str, name: re.Match[str], literal: re.Match[str]) -> bool:
    """Whether a quote opens the literal of this name, instead of ending another one, as in ``print("token:", x)``."""
    sign, quoted = name["sign"].strip(), name["quote"]
    if sign == ",":  # ("Authorization", "…") is a name and its value, ["token", "count"] is not
        before = text[max(0, name.start() - 20) : name.start()]
        return bool(quoted) and bool(re.search(r"\(\s*[bB]?\\{0,3}[\"']\Z", before))
    if quoted:
        return True
    content = _content(literal["quote"], text, literal.end())
    if sign == ":" and not re.fullmatch(r"[^\s\"'(),]+", content):
        return False
    line = text[max(0, name.start() - 300) : name.start()].rpartition("\n")[2]
    in_string = line.count(literal["quote"][-1]) % 2 == 1
    return not (in_string and _AFTER_CLOSING_QUOTE.match(text, literal.end()))


_CONTENT: dict[str, Callable[[str, int], re.Match[str] | None]] = {
    '"': re.compile(r"(?:[^\"\\\n]|\\[\s\S])*+").match,
    "'": re.compile(r"(?:[^'\\\n]|\\[\s\S])*+").match,
    '"""': re.compile(r"(?:[^\"\\]|\\[\s\S]|\"(?!\"\"))*+").match,
    "'''": re.compile(r"(?:[^'\\]|\\[\s\S]|'(?!''))*+").match,
}
_ESCAPED_CONTENT = re.compile(r"[^\"'\\\n]*+").match


def _content(opening: str, text: str, at: int) -> str:
    """Return the content of a literal; if its end was cut off, that is the rest of the line."""
    found = _CONTENT.get(opening, _ESCAPED_CONTENT)(text, at)
    return found[0] if found else ""


def _masked_content(name: str, content: str, prefix: str) -> str:
    """Return what replaces the content of a literal; an empty one and the fields of an f-string stay."""
    if not content.strip() or (name.lower() == "key" and not is_secret(name, content)):
        return content
    pieces = _FSTRING_FIELD.split(content) if "f" in prefix.lower() else [content]
    return "".join(
        piece if at % 2 or not piece.strip() else _MASK + "\n" * piece.count("\n") for at, piece in enumerate(pieces)
    )
