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
    r"context ?(?:length|window|size|limit|overflow)|prompt ?too ?long|n_ctx|context the overflows|context (?:is )?too"
    r"|reduce the length of the (?:messages|prompt|input)|exceeds? (?:the )?(?:model'?s? )?(?:maximum )?context",
    re.IGNORECASE,
)
_PROMPT = re.compile(
    r"\b(?:prompts?|inputs?|messages?|conversation|history|request|sequence length|max_seq_len|max ?length)\b",
    re.IGNORECASE,
)
_SIZE = re.compile(r"tokens?\b|length|size|\blong|large\b|\bbig|count|characters|\bmany\b|items", re.IGNORECASE)
_LIMIT = re.compile(
    r"exceed|\btoo (?:long|large|many|big)|\b(?:longer|larger|greater|bigger|more|less|fewer) than|<=|\bmax(?:imum)?"
    r"|at most|up to|\blimit|only supports|range of|shorter|reduce|shorten|not enough|overflow|tokens long",
    re.IGNORECASE,
)
_OTHER_LIMIT = re.compile(
    r"per[ -](?:min|minute|day|hour|second|month)\b|\b[TR]P[MD]\b|rate[ _-]?limit|quota|credit|billing|afford"
    r"|image|picture|photo|audio|video|\bfiles?\b|\bpdf|pixel|dimension|\burl\b|header|base64|batch size"
    r"|\.name\b|\bname\b|tool_call|\btools?\b|function|schema|metadata|\buser\b|\bstop\b|vocab|logit|logprob|\bseed\b"
    r"|input should be|queue|concurrent|content[ _](?:filter|polic)|moderation|safety",
    re.IGNORECASE,
)
_ANSWER_TOKENS = re.compile(
    r"\b(?:max(?:imum)?|completion|output|response|new|generated|thinking|reasoning|budget)[ _](?:new[ _])?tokens?\b"
    r"|\bmax_\w+_tokens\b|max_tokens",
    re.IGNORECASE,
)
_CHINESE = re.compile(r"(?:超长|过长|超[过出].{0,20}(?:长度|限制|上限))")


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
    if _OTHER_LIMIT.search(sentence):
        return False
    if _CHINESE.search(sentence):
        return True
    rest = _ANSWER_TOKENS.sub(" ", sentence)
    has_subject = _PROMPT.search(rest) or re.search(r"\btokens?\b", rest)
    return bool(has_subject and _SIZE.search(rest) and _LIMIT.search(rest))
