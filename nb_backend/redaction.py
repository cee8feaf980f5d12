r"""Secrets in texts: which names say that their value is one, and how one is taken out of a text.

A text is searched for the secrets that are known, for what looks like one (keys of well-known services, JWTs, private
keys, passwords and parameters of URLs), and for texts that stand next to a name which says so: ``api_key = "…"``,
``{"token": "…"}``, ``%env TOKEN …``. All of it takes linear time, as the patterns give nothing back that they took.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

SHORTEST_SECRET = 8  # characters; servers that want no key are given "none", "ollama" or "EMPTY"
_STARS = "***"

_SECRET_NAME = re.compile(
    r"auth(?!or(?!i[sz]))|(?:api|access|private).?key|secret(?!ar)|passw|passphrase|passcode|cookie|credential|bearer"
    r"|(?:db|sql|pg|smtp|mail|user|admin|root|ftp|redis|proxy)_?pass$|_pwd$|_pat$|(?:^|[._-])key$|token_?\d*$"
    r"|(?:access|refresh|api|session)_?token(?!s)"
)  # max_tokens, author and the like are none
_NO_SECRET_NAME = re.compile(
    r"(?:^|_)(?:sort|primary|foreign|group|partition|index|cache|dict|join|merge|row|column|natural|composite|unique"
    r"|public|order|lookup|map|hot|object|search|label|legend)_?key$"
    r"|(?:^|_)(?:bos|eos|pad|unk|sep|cls|mask|stop|special|start|end)_?token$"
    r"|_(?:url|uri|path|file|filename|dir|type|method|column|col|field|name|length|len|count|min|max|hint|sock)$"
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_KEYS = (  # of well-known services, and JWTs
    r"(?<![A-Za-z0-9])sk-(?!learn)[\w-]{8,}+",
    r"(?<![A-Za-z0-9])[sr]k_(?:live|test)_\w{8,}+",
    r"(?<![A-Za-z0-9])(?:gh[oprsu]_|github_pat_|glpat-)[\w-]{8,}+",
    r"(?<![A-Za-z0-9])A(?:KI|SI)A[A-Z0-9]{12,}+",
    r"(?<![A-Za-z0-9])xox[a-z]-[\w-]{8,}+",
    r"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{16,}+",
    r"(?<![A-Za-z0-9])AIza[\w-]{16,}+",
    r"(?<![\w-])eyJ[\w-]{8,}+\.[\w-]{4,}+(?:\.[\w-]*+)?",
)
_key = re.compile("|".join(_KEYS))
_FORMS: list[tuple[re.Pattern[str], str]] = [  # what is before the secret is group 1
    (re.compile(pattern), rf"\g<1>{_STARS}" if re.compile(pattern).groups else _STARS)
    for pattern in (
        *_KEYS,
        r"((?i:\bbearer)\s{1,9}+)(?!(?i:tokens?\b|auth))[\w.~+/=-]{6,}+",
        r"((?i:\bbasic)\s{1,9}+)(?=[\w+/-]{0,99}?[\d=]|\w[a-z]{0,99}+[A-Z])[\w+/=-]{8,}+",
        r"(://[^\s/@:\"'<>]{0,300}+:)(?!\{[^{}@\n]{0,99}\}@)[^\s/\"'<>]+(?=@)",
        r"(://)[\w-]{16,}+(?=@)",
        # in connection strings; in code, a comma or a bracket follows
        r"((?i:(?<![a-z])(?:pass(?:word|wd)?|pwd|token|secret|accountkey|sharedaccesskey))=)"
        r"(?![bfruBFRU]{1,2}[\"'])[^\s\"',;&(){}\[\]]{1,500}+(?=;|&|[\"']| {1,9}\w{1,60}=)",
        r"((?i:(?<![\w-])(?:x-[\w-]{0,40}(?:key|token|secret)|api-key|(?:set-)?cookie(?=:[ ]?[\w.-]{1,60}=))):[ ]?)"
        r"[^\s\"'][^\"'\n]*+",
    )
]
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?:[^-`]|-(?!----END)|`(?!``))*+(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?"
)
_NAMED = re.compile(  # in the query of a URL, and where an environment variable is set
    r"([?&](?P<query>[\w.\[\]-]{1,60}+)=)(?!\{)[^&\s\"'#<>]++"
    r"|(^[ \t]*+(?:%(?:set_)?env|!?+[ \t]*+export)[ \t]++(?P<env>\w{1,60}+)[= \t][ \t]*+)[^\n]++",
    re.MULTILINE,
)
_ASSIGNED = re.compile(
    r"(?<![\w-])(?P<name>[A-Za-z_][\w-]{0,99}+)(?P<quote>\\{0,3}+[\"'])?"
    r"(?P<sign>\]?(?:\s*+:\s*+[\w.|\[\] ]{1,60}?)?\s*+[:!=]?=(?!=)\s*+|\]?\s*+==?\s*+|\s*+:\s*+|\s*+,\s*+)"
    r"(?P<open>[(\[])?\s*+(?=(?:[bfruBFRU]{1,2})?\\{0,3}[\"'])"
)
_LITERAL = re.compile(
    r"(?P<before>(?P<prefix>[bfruBFRU]{0,2}+)(?P<quote>\"\"\"|'''|\\*+[\"'])(?:(?:bearer|basic|token|digest)[ ]+)?)",
    re.IGNORECASE,
)
_NEXT = {True: re.compile(r"\s*+,?\s*+(?=[bfruBFRU]{0,2}[\"'])"), False: re.compile(r"\s*+(?=[bfruBFRU]{0,2}[\"'])")}
_CLOSES_A_STRING = re.compile(r"\s*+(?:[+,;%)\]}.:]|$)", re.MULTILINE)
_FIELD = re.compile(r"(\{[^{}]*+\})")


def is_secret_name(name: str) -> bool:
    """Tell whether the name of a parameter, a variable or an environment variable says that its value is secret."""
    words = _HUMP.sub("_", name).lower()
    return bool(_SECRET_NAME.search(words)) and not _NO_SECRET_NAME.search(words)


def is_secret(name: str, value: str) -> bool:
    """Tell whether a text under this name is a secret; ``key`` alone is the name of much that is none."""
    if name.lower() in ("key", "_key"):
        return len(value) >= 16 and bool(re.search(r"\d", value)) and not re.search(r"\s", value)
    return is_secret_name(name)


def is_worth_hiding(key: str) -> bool:
    """Tell whether a key is to be hidden where it stands alone: not so a common word, which any text may have."""
    return len(key) >= SHORTEST_SECRET and not (len(key) < 12 and key.isascii() and key.islower() and key.isalpha())


def has_key(text: str, known: Iterable[str] = ()) -> bool:
    """Tell whether a key stands in a text: one that is known, or one that looks like a well-known service's."""
    return bool(_key.search(text)) or any(is_worth_hiding(key) and key in text for key in known)


def secrets_in(*namespaces: Mapping[str, Any]) -> Iterator[str]:
    """Give the texts that have names of secrets in the environment, or among variables."""
    for namespace in namespaces:
        for name, value in list(namespace.items()):
            if isinstance(name, str) and issubclass(type(value), str) and is_secret(name, text := str.__str__(value)):
                yield text.strip()


def truncate_redacted(text: str, most: int, hide: Callable[[str], str]) -> str:
    """Take the secrets out of a text and then its middle, so that no part of a secret is left at the cut."""
    for limit in (10 * most, most):
        left_out = len(text) - limit
        if left_out > 0:
            text = f"{text[: limit // 2]}\n[… {left_out:,} characters left out]\n{text[-(limit // 2) :]}"
        text = hide(text)
    return text


def without_home(text: str) -> str:
    """Write the home directory in paths as ``~``."""
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
            text = text.replace(key, _STARS)
    return text


def mask_json(value: Any, keys: Sequence[str]) -> Any:
    """Return JSON data with ``***`` in place of the keys, and of each value whose name says that it is secret."""
    if isinstance(value, str):
        return mask(value, keys)
    if isinstance(value, dict):
        return {name: _STARS if is_secret_name(name) else mask_json(item, keys) for name, item in value.items()}
    return [mask_json(item, keys) for item in value] if isinstance(value, list | tuple) else value


def redact(text: str, known: Iterable[str] = ()) -> str:
    """Give the text with ``***`` for each secret in it: those that are known, and what looks like one.

    The number of lines stays, and to redact twice changes no more. A known secret of less than 8 characters is none.
    """
    spelt = {spelling for secret in known if len(secret) >= SHORTEST_SECRET for spelling in spellings(secret)}
    longest_first = sorted((secret for secret in spelt if secret.strip("*")), key=len, reverse=True)
    of_known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
    for _ in range(4):  # what is left may read as a secret again; hardly ever more than once
        before = text
        text = _once(of_known.sub(_hidden, text) if of_known else text)
        if text == before:
            break
    return text


def _once(text: str) -> str:
    text = _PRIVATE_KEY.sub(_hidden, text)
    for pattern, shown in _FORMS:
        text = pattern.sub(shown, text)
    return _without_assigned(_NAMED.sub(_without_named, text))


def spellings(secret: str) -> set[str]:
    """Give a secret as it may stand in a text: as it is, in a literal, in JSON, in a URL."""
    safe = secret.encode("utf-8", "replace")
    return {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(safe, safe=""), quote(safe), quote_plus(safe)}


def _hidden(found: re.Match[str]) -> str:
    return _STARS + "\n" * found[0].count("\n")


def _without_named(found: re.Match[str]) -> str:
    query = found["query"]
    secret = is_secret_name(query or found["env"]) or (query or "").lower().endswith(("sig", "signature", "pwd"))
    return f"{found[1] or found[3]}{_STARS}" if secret else found[0]


def _without_assigned(text: str) -> str:
    """Hide the literals after names of secrets; what a literal under another name holds is looked through as well."""
    parts: list[str] = []
    done = at = 0
    while found := _ASSIGNED.search(text, at):
        at = found.end()
        if not (is_secret_name(found["name"]) or found["name"].lower() in ("pwd", "pass")):
            at = found.end("name") if found["sign"].strip() == "," else found.end()
            continue
        literal = _LITERAL.match(text, at)
        if literal is None or not _is_literal(text, found, literal):
            continue
        follows = _NEXT[bool(found["open"])]
        while literal:
            content = _content(literal["quote"], text, literal.end())
            parts += [text[done : literal.end()], _stars(found["name"], content, literal["prefix"])]
            done = at = literal.end() + len(content)
            closed = text.startswith(literal["quote"], at)
            at += len(literal["quote"]) * closed
            more = follows.match(text, at) if closed else None
            literal = _LITERAL.match(text, more.end()) if more else None
    return "".join([*parts, text[done:]])


def _is_literal(text: str, name: re.Match[str], literal: re.Match[str]) -> bool:
    """Tell whether a quote opens a text that belongs to the name, and ends none: ``print("token:", x)`` has none."""
    sign, quoted = name["sign"].strip(), name["quote"]
    if sign == ",":  # ("Authorization", "…") is one, ["token", "count"] is none
        before = text[max(0, name.start() - 20) : name.start()]
        return bool(quoted) and bool(re.search(r"\(\s*[bB]?\\{0,3}[\"']\Z", before))
    if quoted:
        return True
    content = _content(literal["quote"], text, literal.end())
    if sign == ":" and not re.fullmatch(r"[^\s\"'(),]+", content):
        return False
    line = text[max(0, name.start() - 300) : name.start()].rpartition("\n")[2]
    inside = line.count(literal["quote"][-1]) % 2 == 1
    return not (inside and _CLOSES_A_STRING.match(text, literal.end()))


_ENDS: dict[str, Callable[[str, int], re.Match[str] | None]] = {
    '"': re.compile(r"(?:[^\"\\\n]|\\[\s\S])*+").match,
    "'": re.compile(r"(?:[^'\\\n]|\\[\s\S])*+").match,
    '"""': re.compile(r"(?:[^\"\\]|\\[\s\S]|\"(?!\"\"))*+").match,
    "'''": re.compile(r"(?:[^'\\]|\\[\s\S]|'(?!''))*+").match,
}
_END_OF_ESCAPED = re.compile(r"[^\"'\\\n]*+").match


def _content(opening: str, text: str, at: int) -> str:
    """Give what a literal holds; one that was cut off holds the rest of its line."""
    found = _ENDS.get(opening, _END_OF_ESCAPED)(text, at)
    return found[0] if found else ""


def _stars(name: str, content: str, prefix: str) -> str:
    """Give what stands for a literal: nothing secret is in an empty one, nor in the fields of an f-string."""
    if not content.strip() or (name.lower() == "key" and not is_secret(name, content)):
        return content
    pieces = _FIELD.split(content) if "f" in prefix.lower() else [content]
    return "".join(
        piece if at % 2 or not piece.strip() else _STARS + "\n" * piece.count("\n") for at, piece in enumerate(pieces)
    )
