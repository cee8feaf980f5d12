"""Token counts in the usage of an answer, under the names of all known services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# OpenAI, Anthropic and OpenAI's responses, g4f, Bedrock, Gemini, Ollama, llama.cpp
INPUT = (
    *("prompt_tokens", "input_tokens", "promptTokens", "inputTokens", "promptTokenCount", "prompt_eval_count"),
    *("prompt_token_count", "inputTokenCount", "tokens_evaluated", "prompt_n"),
)
OUTPUT = (
    *("completion_tokens", "output_tokens", "completionTokens", "outputTokens", "candidatesTokenCount", "eval_count"),
    *("candidates_token_count", "outputTokenCount", "generated_tokens", "tokens_predicted", "predicted_n"),
)
CACHED = (
    *("cached_tokens", "cache_read_input_tokens", "prompt_cache_hit_tokens", "cachedContentTokenCount"),
    *(
        "cached_content_token_count",
        "cacheReadInputTokens",
        "cachedInputTokens",
        "cached_prompt_text_tokens",
        "cachedTokens",
        "cache_n",
    ),
)
_DETAILS = ("prompt_tokens_details", "input_tokens_details", "promptTokensDetails", "inputTokensDetails")
_CACHE_INPUT = ("cache_read_input_tokens", "cache_creation_input_tokens")
_TOOL_INPUT = ("toolUsePromptTokenCount", "tool_use_prompt_token_count")
_NESTED = ("tokens", "billed_units", "timings")  # Cohere, llama.cpp


def token_count(usage: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    """Return the count under one of these names, ``None`` if the service does not say.

    A service may fill several names and leave some at 0: the first count above 0 is taken.
    """
    counts = [*_counts(usage, names)]
    return next(filter(None, counts), counts[0] if counts else None)


def input_count(usage: Mapping[str, Any]) -> int | None:
    """Return the count of the whole request.

    Gemini counts what its own tools have read apart (``toolUsePromptTokenCount``), and Anthropic what is read from its
    cache or put there (``cache_read_input_tokens``, ``cache_creation_input_tokens``). Others that use these names
    beside OpenAI's ``prompt_tokens`` include them there.
    """
    count = token_count(usage, INPUT)
    is_anthropic = "input_tokens" in usage and not token_count(usage, ("prompt_tokens",))
    names = _TOOL_INPUT + (_CACHE_INPUT if is_anthropic else ())
    apart = [found for found in (token_count(usage, (name,)) for name in names) if found]
    return (count or 0) + sum(apart) if apart else count


def output_count(usage: Mapping[str, Any]) -> int | None:
    """Return the count of the answer with its reasoning.

    Gemini counts reasoning apart (``thoughtsTokenCount``), and so does xAI, whose ``total_tokens`` say so.
    """
    count = token_count(usage, OUTPUT)
    thoughts = token_count(usage, ("thoughtsTokenCount", "thoughts_token_count"))
    details = usage.get("completion_tokens_details")
    if count is not None and isinstance(details, Mapping) and (apart := token_count(details, ("reasoning_tokens",))):
        total = token_count(usage, ("total_tokens",))
        thoughts = apart if total == (token_count(usage, INPUT) or 0) + count + apart else thoughts
    return count if thoughts is None else (count or 0) + thoughts


def merged_usage(before: Mapping[str, Any], usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the usage after another event: what is empty or 0 in it does not replace what was known."""
    return {**before, **{name: value for name, value in usage.items() if value or name not in before}}


def added_usage(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return the usage of two requests of one answer: the counts are added, other values are those of the second."""
    added: dict[str, Any] = {**first, **second}
    for name in first.keys() & second.keys():
        one, other = first[name], second[name]
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            added[name] = added_usage(one, other)
        elif all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other)):
            added[name] = one + other
    return added


def _counts(usage: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[int]:
    places = [usage, *(usage[key] for key in (*_DETAILS, *_NESTED) if isinstance(usage.get(key), Mapping))]
    for place in places:
        for name in names:
            value = place.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and value == value // 1:
                yield int(value)
