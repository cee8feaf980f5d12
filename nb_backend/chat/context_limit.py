"""Whether a server refuses a request because it exceeds the model's context.

Servers say it in dozens of wordings, so a rule decides. A failure means "too long" if its status is 413, or if a
sentence of it speaks of the context or of the length of the prompt, and of a limit. Sentences about other limits do
not count: tokens per minute, the length of the answer, images, and fields like a name.
"""

from __future__ import annotations

import re

from ..errors import ServerError
from ..events import RawResponse
from ..providers.reader import event_error
from ..transport.refusal import OTHER_PROMPT

_STATUS = (0, 400, 413, 422)
"""The HTTP statuses of such a refusal; 0 is an error inside an answer."""
_CONTEXT = re.compile(
    r"context[ _]?(?:length|window|size|limit|overflow|is only|is too)|prompt ?too ?long|n_ctx|context the overflows"
    r"|reduce the length of the (?:messages|prompt|input)|(?:exceeds?|longer than) (?:the )?(?:maximum )?context",
    re.IGNORECASE,
)
_PROMPT = re.compile(
    r"\b(?:prompts?|inputs?|messages?|conversation|history|request|query|sequence|max_seq_len|max ?length)\b",
    re.IGNORECASE,
)
_TOKENS = re.compile(r"\btokens?\b", re.IGNORECASE)
_SIZE = re.compile(r"tokens?\b|length|size|\blong|large\b|\bbig|count|characters|\bmany\b|items", re.IGNORECASE)
_LIMIT = re.compile(
    r"exceed|\btoo (?:long|large|many|big)|\b(?:longer|larger|greater|bigger|more|less|fewer) than|<=|> ?\d"
    r"|\bmax(?:imum)?|at most|up to|\blimit|only (?:support|handle|allow|accept)|range of|shorter|reduce|shorten"
    r"|not enough|overflow|tokens long",
    re.IGNORECASE,
)
_RATE = re.compile(
    r"per[ -](?:min|minute|day|hour|second|month)\b|\b[TR]P[MD]\b|rate[ _-]?limit|quota|credit|billing|afford|\btoday\b"
    r"|\bkey\b|\bplan\b|queue|concurrent|input should be|content[ _](?:filter|polic)|moderation|safety|vocab|logit",
    re.IGNORECASE,
)
"""Limits that have nothing to do with the prompt's length, also where they count tokens."""
_OTHER_FIELD = re.compile(
    r"image|picture|photo|audio|video|\bfiles?\b|\bpdf|pixel|dimension|\burl\b|header|base64|batch size|documents"
    r"|\bname\b|tool_call|\btools?\b|function|schema|metadata|\buser\b|\bstop\b|logprob|\bseed\b",
    re.IGNORECASE,
)
_ANSWER = re.compile(
    r"\b(?:max(?:imum)?|completion|output|response|new|generated|thinking|reasoning|budget)[ _](?:new[ _])?tokens?\b"
    r"|\bmax_\w+_tokens\b|\b(?:completion|output|generation|response)[ _](?:length|limit)|\bbudget\b",
    re.IGNORECASE,
)
_CHINESE = re.compile(r"超长|过长|超[过出].{0,20}(?:长度|限制|上限)")


def is_too_long(failure: RawResponse | BaseException) -> bool:
    """Whether an error event or an exception says that the request exceeds the model's context."""
    if isinstance(failure, RawResponse):
        if failure.type != "error":
            return False
        failure = event_error(failure)
    if not isinstance(failure, ServerError) or failure.no_credit:
        return False
    if failure.status == 413:
        return True
    name = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", failure.code)
    text = f"{name}\n{str(failure).removesuffix(OTHER_PROMPT)}"
    if _CONTEXT.search(text):
        return True
    return failure.status in _STATUS and any(map(_is_about_the_prompt, re.split(r"[.!?;]+\s|\n", text)))


def _is_about_the_prompt(sentence: str) -> bool:
    """Whether a sentence says that the prompt is longer than a limit."""
    if _CHINESE.search(sentence):
        return True
    rest, limits_of_answer = _ANSWER.subn(" ", sentence)
    rest = re.sub(r"_(?=tokens?\b)", " ", rest, flags=re.IGNORECASE)
    has_tokens, has_prompt = _TOKENS.search(rest), _PROMPT.search(rest)
    if _RATE.search(sentence) or (_OTHER_FIELD.search(sentence) and not has_tokens):
        return False
    has_subject = has_prompt or (has_tokens and not limits_of_answer)
    return bool(has_subject and _SIZE.search(rest) and _LIMIT.search(rest))
