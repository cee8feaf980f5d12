"""The ``BackendError`` for what a server says: its kind, the next step, and whether the request is worth a retry."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from ..errors import AuthError, BackendError, RateLimitError, ServerError
from ..text import counted
from .error_body import ErrorBody, one_line

RETRYABLE_STATUS = frozenset({408, 409, 429, 500, 502, 503, 504, 529})
MAX_RETRY_AFTER = 60  # seconds; if a server asks to wait longer, there is no automatic retry
_MAX_CHARS = 10_000  # of a message that are searched

NEW_KEY = "set NB_BACKEND_API_KEY to a key that it accepts, or run %backend key"
CREDIT = "check your plan and balance with the provider"
LATER = "ask again later"
OTHER_PROMPT = "change the prompt or its options"
NO_TOOLS = "this model cannot call tools here: name one that can, or ask without tools"
WITH_RESPONSES = "ask with --api openai-responses, or with --effort none"
OTHER_MODEL = "name a model that takes such attachments, or ask without them"
STATUS_HINTS = {
    401: NEW_KEY,
    403: NEW_KEY,
    404: "check the url and the model",
    405: "check the url",
    413: "send less: a shorter text, or smaller images",
    429: LATER,
}


def refusal(
    message: str, said: ErrorBody, *, status: int = 0, wait: float | None = None, secrets: Iterable[str] = ()
) -> BackendError:
    """Return the ``BackendError`` for what a server says; its text is the message and the next step.

    ``status`` is 0 if the server said it inside an answer; it is then taken from the error's number, its names or its
    words. ``wait`` is the seconds of the header ``Retry-After``.
    """
    is_event = not status
    status = status or said.status or _status_of_words(said)
    wait = said.wait if wait is None else wait
    kind: type[BackendError] = ServerError
    hint, is_temporary = STATUS_HINTS.get(status), status >= 500 or status in RETRYABLE_STATUS
    no_credit = _has_no_credit(said, status, wait)
    if no_credit:
        hint, is_temporary = CREDIT, False
    elif status in (401, 403) or (status in (0, 400, 422, 500) and _names_a_wrong_key(said)):
        kind, hint, is_temporary = AuthError, NEW_KEY, False
    elif status == 429:
        kind = RateLimitError
    elif status in (0, 400, 404, 422, 500, 501) and _TAKES_NO_FILES.match(said.message[:_MAX_CHARS]):
        hint, is_temporary = OTHER_MODEL, False
    elif status in (0, 400, 404, 422, 500, 501) and (tools := _hint_about_tools(said.message[:_MAX_CHARS])):
        hint, is_temporary = tools, False
    if is_temporary:
        hint = LATER if not wait else f"ask again in {_seconds(wait)}"
    elif hint is None and not is_event:
        hint = OTHER_PROMPT
    return kind(
        f"{message.rstrip('.')}: {hint}" if hint else message,
        retry_after=wait,
        retryable=is_temporary and status in RETRYABLE_STATUS and (wait or 0) <= MAX_RETRY_AFTER,
        code=one_line(said.code, secrets, 60),
        status=status,
        no_credit=no_credit,
        param=one_line(said.param, secrets),
    )


def with_hint(failure: BackendError, hint: str) -> BackendError:
    """Return the failure with another next step in place of the one that its status stands for."""
    failure.args = (f"{without_hint(failure)}: {hint}",)
    return failure


def without_hint(failure: BackendError) -> str:
    """Return the message of a failure without the next step that its status stands for."""
    text = str(failure)
    for known in (OTHER_PROMPT, OTHER_MODEL, NO_TOOLS, WITH_RESPONSES, CREDIT, *STATUS_HINTS.values()):
        text = text.removesuffix(f": {known}")
    return text


def _hint_about_tools(message: str) -> str:
    """Return what to do if a message says that a model takes no tools, ``""`` if it does not say that."""
    if _TOOLS_WITHOUT_REASONING.search(message):
        return WITH_RESPONSES
    return NO_TOOLS if _TAKES_NO_TOOLS.match(message) else ""


def _seconds(wait: float) -> str:
    return f"{math.ceil(wait)} s" if wait <= 120 else counted(math.ceil(wait / 60), "minute")


def _status_of_words(said: ErrorBody) -> int:
    """Return the HTTP status that the names of an error, else its message, stand for; 0 if they stand for none."""
    message = said.message[:_MAX_CHARS]
    named = next((status for status, names in _NAMES if names.search(said.names)), 0)
    if named not in (0, 500):  # "server_error" is often the only name that a server has
        return named
    if written := _WRITTEN_STATUS.search(message):
        return int(written[1] or written[2])
    return next((status for status, words in _WORDS if words.search(message)), named)


def _has_no_credit(said: ErrorBody, status: int, wait: float | None) -> bool:
    """Whether the account is empty. Words decide only if neither a wait nor a name says that it is a rate limit."""
    if status == 402 or _NO_CREDIT.search(said.names):
        return True
    is_rate_limit = wait is not None or "rate limit" in said.names
    return not is_rate_limit and _NO_CREDIT.search(said.message[:_MAX_CHARS].replace("_", " ")) is not None


def _names_a_wrong_key(said: ErrorBody) -> bool:
    return _WRONG_KEY.search(f"{said.names} | {said.message[:_MAX_CHARS]}") is not None


_NO_CREDIT = re.compile(
    r"insufficient (?:\w+ )?(?:quota|balance|credit|fund)|exceed(?:ed)? (?:your )?current quota"
    r"|(?:balance|credits?|funds?)\b[^.;]{0,30}\b(?:too low|insufficient|not enough|exhausted|depleted|used up)"
    r"|\b(?:not enough|no|out of|all|available|requires more|purchase|monthly included) (?:credits?|balance|funds)\b"
    r"|billing (?:hard limit|not active|error|(?:is )?disabled)"
    r"|(?:requires|enable) billing|payment required|budget ?(?:has been )?exceeded|exceeded (?:\w+ )?budget"
    r"|spending limit|credit limit|arrear|account ?overdue|plan (?:and|&) billing|\brecharge\b|\btop up\b"
    r"|余额不足|额度不足|欠费",
    re.IGNORECASE,
)
"""An account without credit, in the words of OpenAI, Anthropic, DeepSeek, OpenRouter, xAI, Moonshot and LiteLLM."""
_WRONG_KEY = re.compile(
    r"api[ _-]?key[^.;|]{0,40}?\b(?:not valid|invalid|incorrect|expired|missing|not found|required|revoked|disabled)"
    r"|\b(?:invalid|incorrect|wrong|expired|missing|bad|malformed|revoked|no)\b[^.;|]{0,20}?\bapi[ _-]?key"
    r"|\b(?:invalid|incorrect|wrong|expired|missing|bad|malformed)\W+(?:(?:access|auth|bearer|authorization)\W+)?"
    r"(?:credentials?|authentication|authorization|x-api-key|bearer|access token|auth token)"
    r"|authentication ?(?:error|fail|required)|could not validate credentials|authorization header|login fail"
    r"|(?:^|[|:]\s*)(?:unauthori[sz]ed|unauthenticated|not authenticated)\b|\bmissing auth",
    re.IGNORECASE,
)
"""A key that is refused with another status than 401, as Gemini does."""
_FILES = r"\b(?:images?(?:_url)?|(?:input_)?audio|videos?|vision|multi-?modal)\b"
_NOT = r"(?:\bnot |n't |\bun)support"
_TAKES_NO_FILES = re.compile(
    r"(?!.*\b(?:formats?|decod\w*|corrupt\w*)\b)"
    rf"(?:.*?{_FILES}[^.;]{{0,40}}(?:{_NOT}|\bnot (?:enabled|allowed|accepted)|\bonly support)"
    rf"|.*?{_NOT}\w*(?: \w+){{0,2}} {_FILES}|.*?\bfound that support {_FILES}|.*?\bat most 0 {_FILES}"
    rf"|.*?\bnot a {_FILES} model|.*?\bunknown variant .?{_FILES}|.*?\brequired for image input"
    r"|.*?\bcontent must be a string|.*?\bmmproj\b)",
    re.IGNORECASE | re.DOTALL,
)
"""A model that takes no images, in the words of OpenAI, OpenRouter, DeepSeek, Groq, Mistral, xAI, vLLM, Ollama and
llama.cpp, which says so with status 500."""
_TOOLS = r"(?:tools?(?:[ _-](?:use|call(?:s|ing)?))?|functions?[ _-]call(?:s|ing)?|function[ _-]tools?)"
_TAKES_NO_TOOLS = re.compile(
    rf"(?!.*\b(?:parallel|strict)\b).*?(?:{_NOT}\w*(?: \w+){{0,2}} [`'\"]*{_TOOLS}\b"
    rf"|\b{_TOOLS}\b[^.;:]{{0,40}}(?:{_NOT}|\b(?:not|isn't) (?:\w+ )?enabled)"
    rf"|\bunsupported param(?:eter)?s?\W+tools\b|\btools param requires\b|enable-auto-tool-choice"
    rf"|\bfound that support (?:the provided )?[`'\"]*tool\b)",
    re.IGNORECASE | re.DOTALL,
)
"""A model, or a server, that calls no tools, in the words of Ollama, vLLM, llama.cpp, OpenAI, OpenRouter, Groq, Gemini
and DeepSeek."""
_TOOLS_WITHOUT_REASONING = re.compile(r"\btools? with reasoning\w*[^.]*\bnot supported\b.*/v1/responses", re.IGNORECASE)
"""A model of OpenAI that calls functions while it reasons in the other dialect only."""
_NAMES = tuple(
    (status, re.compile(names))
    for status, names in (
        (429, r"rate ?limit|too ?many ?requests|resource ?exhausted|throttl"),
        (529, r"\boverloaded"),
        (503, r"unavailable|no ?capacity|over ?capacity|engine ?overload"),
        (504, r"time ?out|timed ?out|deadline ?exceeded"),
        (502, r"bad ?gateway|\bupstream|provider error"),
        (401, r"\bauth|api ?key|unauthori|unauthenticated|permission|credential"),
        (500, r"server ?error|\binternal\b|\bapi error\b"),
    )
)
"""What the names of an error stand for, like ``overloaded_error`` or ``RESOURCE_EXHAUSTED``."""
_WORDS = tuple(
    (status, re.compile(words, re.IGNORECASE))
    for status, words in (
        (429, r"\brate[- ]limit|too many requests"),
        (529, r"\boverloaded\b"),
        (503, r"\b(?:service|temporarily) unavailable\b|try again later"),
        (502, r"\bbad gateway\b"),
        (504, r"\bgateway time-?out\b"),
    )
)
"""What the words of a message stand for."""
_WRITTEN_STATUS = re.compile(
    r"^(408|429|50[0234]|529)(?=\W*$|\s*[^\w\s]|\s+(?-i:[A-Z]))"
    r"|\b(?:status(?: code)?|code|response|http(?:/[\d.]+)?|error)\W{1,4}(408|429|50[0234]|529)\b",
    re.IGNORECASE,
)
