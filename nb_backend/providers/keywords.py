"""Keywords that are not fields of a request's body, and what is meant by them.

A keyword that a call does not know becomes a field of the body. So ``base_url=…``, which other libraries take, would
send the question to the server of the settings, and the address along with it. Such keywords are refused here.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final, NamedTuple

from ..text import letters_and_digits


class _Row(NamedTuple):
    """What is meant by some keywords, and what to write in Python and in a cell instead.

    ``names`` are spelled as ``letters_and_digits`` returns them. ``level`` is where the argument ``python`` belongs: to
    the "chat", to a "prompt", or to "both"; if it is "", there is no such argument and ``python`` says what to do.
    ``cell`` says what to do in a cell; "" if that is the same.
    """

    names: str
    python: str
    level: str = ""
    cell: str = ""


_SUBCLASS = "headers are set in a subclass of OpenAIApi or BackendApi"
_TABLE: Final = (
    _Row(
        "url urls ulr baseurl apibase apibaseurl apiurl openaiapibase openaibaseurl endpoint endpoints"
        " endpointurl apiendpoint azureendpoint host hosts hostname port server servers serverurl"
        " serviceurl address uri",
        "url",
        "chat",
        "use %backend url URL",
    ),
    _Row(
        "apikey key keys token apitoken authtoken auth authorization bearer password secret openaiapikey"
        " azureapikey azureadtoken azureadtokenprovider",
        "api_key",
        "chat",
        "use %backend key",
    ),
    _Row(
        "model modelname modelid engine deployment deploymentname deploymentid azuredeployment",
        "model",
        "both",
        "name the model after %%backend",
    ),
    _Row(
        "system systemprompt systemmessage systeminstruction systeminstructions instructions sysprompt",
        "system",
        "both",
        "use -s TEXT",
    ),
    _Row("provider providername", "provider", "both", "use --provider NAME"),
    _Row("cache", "cache", "both", "use --cache"),
    _Row(
        "images image img imgs imageurl picture pictures media attachment attachments file files",
        "images",
        "prompt",
        "use -i EXPRESSION_OR_PATH",
    ),
    _Row("new", "new", "prompt", "use --new"),
    _Row("keep", "keep", "prompt", "use --once, or --keep MODEL"),
    _Row("refresh", "refresh", "prompt", "use --refresh"),
    _Row("instead", "instead", "prompt", "run the cell again"),
    _Row("nested", "nested is for chat(prompt, nested=True) only", "", "a cell does not need it"),
    _Row(
        "connecttimeout connectiontimeout sockconnect",
        "connect_timeout",
        "chat",
        "use %config BackendMagics.connect_timeout = SECONDS",
    ),
    _Row(
        "idletimeout timeout timeouts timeoutseconds timeoutms readtimeout requesttimeout totaltimeout sockread",
        "idle_timeout",
        "chat",
        "use %config BackendMagics.idle_timeout = SECONDS",
    ),
    _Row(
        "messages message history chathistory conversationhistory",
        "assign chat.messages",
        "",
        "-c NAME continues a chat",
    ),
    _Row("schema", "ask with map([prompt], schema=…)", "", "use --schema EXPRESSION"),
    _Row("prompt question", "ask with chat(prompt)", "", "the prompt is in the lines below"),
    _Row(
        "headers header extraheaders defaultheaders httpheaders customheaders organization organizationid"
        " orgid openaiorganization project projectid useragent extraquery defaultquery httpclient client"
        " session",
        _SUBCLASS,
    ),
    _Row(
        "ssl sslverify verify verifyssl cert certfile certificate cafile cabundle sslcontext tls",
        "set SSL_CERT_FILE, or ssl in a subclass of OpenAIApi or BackendApi",
        "",
        "set SSL_CERT_FILE",
    ),
    _Row("proxy proxies httpproxy httpsproxy", "set HTTPS_PROXY"),
    _Row("maxretries maxretry numretries retries retry", "temporary failures are retried without it"),
    _Row("apiversion openaiapiversion", "write it into the url, ?api-version=…"),
    _Row("api apitype dialect customllmprovider", "api", "chat", "use %backend url URL --api NAME"),
    _Row(
        "params param kwargs modelkwargs",
        "write each field as a keyword: temperature=0.2",
        "",
        "write -p for each field",
    ),
    _Row("self cls", "it cannot be a field"),
)
_BY_NAME: Final = {name: row for row in _TABLE for name in row.names.split()}
_OFTEN_MISSPELT: Final = (
    *("model", "system", "systemprompt", "provider", "cache", "images", "refresh"),
    *("idletimeout", "connecttimeout", "timeout", "apikey", "baseurl", "apibase", "endpoint"),
)
_BY_LAST_WORD: Final = {
    **dict.fromkeys(("url", "uri", "endpoint", "host", "hostname", "address"), "url"),
    **dict.fromkeys(("timeout", "timeouts"), "timeout"),
    **dict.fromkeys(("header", "headers", "cookie", "cookies"), "headers"),
    **dict.fromkeys(("proxy", "proxies"), "proxy"),
    **dict.fromkeys(("cert", "certs", "ssl", "tls"), "ssl"),
    **dict.fromkeys(("retry", "retries", "attempts"), "retries"),
}
"""Names that end in these words, like ``ollama_host`` and ``stream_timeout``."""
_SERVERS_TAKE: Final = frozenset({"mode", "models", "imagesize", "callbackurl", "webhookurl"})
"""Fields that servers take although their names are close to others."""


def refuse_unknown(given: dict[str, Any], place: str, taken: Collection[str] = ("provider",)) -> None:
    """Raise ``TypeError`` in one line if a keyword is not a field of a request's body.

    ``place`` is what got the keywords, like ``Chat``; the names in ``taken`` may stand there. The line names the
    keyword and what to use instead, and has no value. ``given`` is emptied before, because a traceback may show it,
    and the value may be a key.
    """
    refusals = (_refusal(name, place) for name in given if name not in taken)
    if refusal := next(filter(None, refusals), None):
        given.clear()
        raise TypeError(refusal)


def refusal_in_cell(name: str) -> str | None:
    """Return why ``-p name=…`` is refused, and what to write in a cell; ``None`` if it is a field of the body."""
    row, is_guess = _meant(name)
    if row is None or name == "provider":
        return None
    return f"{name} is not a parameter: {f'did you mean {row.python}? ' if is_guess else ''}{row.cell or row.python}"


def _refusal(name: str, place: str) -> str | None:
    row, is_guess = _meant(name)
    if row is None:
        return None
    is_here = row.level == "both" or (row.level == "prompt") == (place == "a prompt")
    is_here |= row.python == "images" and place in ("map", "compare")
    what = row.python
    if row.level and is_here:
        what = "connect_timeout= or idle_timeout=" if name == "timeout" else f"{row.python}="
    elif row.level:
        what = f"chat(prompt, {row.python}=…)" if row.level == "prompt" else f"Chat({row.python}=…)"
    use = f"did you mean {what}?" if is_guess else f"use {what}" if row.level else what
    return f"{place} has no argument {name}: {use}"


@lru_cache(maxsize=512)  # each request checks its fields
def _meant(name: str) -> tuple[_Row | None, bool]:
    """Return the row of a keyword, and whether that is a guess; ``None`` for a field of the body."""
    plain = letters_and_digits(name)
    if row := _BY_NAME.get(plain):
        return row, False
    if plain in _SERVERS_TAKE:
        return None, False
    last_word = re.split(r"[\W_]+|(?<=[a-z])(?=[A-Z])", name.strip("_"))[-1].lower()
    if row := _BY_NAME.get(_BY_LAST_WORD.get(last_word, "")):
        return row, False
    from ..redaction import is_secret_name

    if is_secret_name(name):
        return _BY_NAME["apikey"], False
    close = get_close_matches(plain, _OFTEN_MISSPELT, 1, 0.8)
    return (_BY_NAME[close[0]] if close else None), bool(close)
