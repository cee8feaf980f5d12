"""The line under an answer."""

from __future__ import annotations

from ..chat.answer import Answer
from ..text import safe_terminal

_ENDINGS = {  # by the reason that a server gives, where a reader would wonder
    "length": "cut off at the limit of tokens",
    "max_tokens": "cut off at the limit of tokens",
    "content_filter": "cut off by the server's filter",
    "tool_calls": "asks for a tool",
}


def status_line(answer: Answer, failed: bool) -> str:
    """Say who answered, how much, how long; and how it ended if not by itself."""
    name = answer.provider.get("label") or answer.provider.get("name")
    model = answer.provider.get("model")
    parts = []
    if answer.stopped:
        parts.append("stopped")
    if failed:
        parts.append("broke off" if answer.text else "no answer")
    if not (answer.stopped or failed or answer.text.strip() or answer.images):
        parts.append("an answer without text")
    if ending := _ENDINGS.get(answer.finish_reason or ""):
        parts.append(ending)
    if answer.trimmed:
        parts.append(f"without the {f'{answer.trimmed} oldest turns' if answer.trimmed > 1 else 'oldest turn'}")
    if name:
        detail = f" ({model})" if model and str(model) not in str(name) else ""
        parts.append(f"answered by {name}{detail}" if answer.text else f"asked {name}{detail}")
    if answer.tokens is not None:
        parts.append(f"{answer.tokens} token{'' if answer.tokens == 1 else 's'}")
    parts.append(f"{answer.seconds:.1f} s")
    if answer.recorded:
        parts.append(f"replayed since {answer.recorded[:10]}")
    if answer._cache_error:
        parts.append(f"not kept: {answer._cache_error}")
    return safe_terminal(" ".join(" · ".join(parts).split()))
