"""Finish reasons of all services: which ones mean that the answer is complete, and words for the others.

The words are those of OpenAI, Anthropic, Gemini, Cohere, Mistral, DeepSeek, Zhipu, Bedrock, vLLM, llama.cpp, Ollama and
Text Generation Inference, in any case and spelling.
"""

from __future__ import annotations

from ..text import letters_and_digits, truncate

_TOOLS = {"toolcalls", "toolcall", "tooluse", "functioncall", "functioncalls"}
_DONE = _TOOLS | {
    *("stop", "stopped", "stopsequence", "stopsequences", "stopword", "stoptoken", "stopcriteria"),
    *("eos", "eostoken", "endoftext", "endofsequence", "endofstream", "eot", "eotid", "end", "endturn", "endofturn"),
    *("done", "finish", "finished", "complete", "completed", "success", "succeeded", "normal"),
}
_LIMIT = {
    *("length", "maxtokens", "maxtoken", "maxoutputtokens", "maxcompletiontokens", "maxlength", "maxnewtokens"),
    *("modellength", "limit", "tokenlimit", "errorlimit", "lengthlimit", "contextlength", "contextlengthexceeded"),
    *("maxcontextlength", "modelcontextwindowexceeded", "contextwindowexceeded", "truncated"),
}
_FILTER = {
    *("contentfilter", "contentfiltered", "filtered", "filter", "safety", "recitation", "blocklist", "blocked", "spii"),
    *("prohibitedcontent", "imagesafety", "imageprohibitedcontent", "imagerecitation", "language", "errortoxic"),
    *(
        "guardrailintervened",
        "guardrail",
        "guardrails",
        "refusal",
        "refused",
        "sensitive",
        "moderation",
        "flagged",
        "modelarmor",
    ),
}
_ERROR = {*("error", "failed", "failure", "exception", "networkerror"), *("servererror", "internalerror")}
_USUAL = {"length", "maxtokens", "contentfilter"}  # the status line does not repeat these


def is_done(reason: str) -> bool:
    """Whether a finish reason means that the answer is complete."""
    return _plain(reason) in _DONE


def is_limit(reason: str) -> bool:
    """Whether a finish reason means that the answer reached a limit of tokens."""
    return _plain(reason) in _LIMIT


def is_error(reason: str) -> bool:
    """Whether a finish reason means that the server failed."""
    return _plain(reason) in _ERROR


def describe(reason: str) -> str:
    """Return how an answer with this finish reason ended, for the status line; ``""`` for an ordinary end.

    >>> describe("SAFETY")
    'stopped by a content filter (SAFETY)'
    """
    plain = _plain(reason)
    if plain in _DONE:
        return "asks for a tool" if plain in _TOOLS else ""
    if plain == "maxsteps":
        return "stopped at the limit of tool calls (max_steps)"
    word = truncate(" ".join(reason.split()), 60)
    detail = "" if plain in _USUAL else f" ({word})"
    if plain in _LIMIT:
        return f"cut off at the token limit{detail}"
    if plain in _FILTER:
        return f"stopped by a content filter{detail}"
    return f"ended by the server ({word})"


def _plain(reason: str) -> str:
    letters = letters_and_digits(reason)
    return letters.removeprefix("finishreason").removeprefix("stopreason") or letters
