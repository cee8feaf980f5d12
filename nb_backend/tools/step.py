"""``ToolStep``: a tool call that was carried out or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeAlias

from .. import settings
from ..media.attachment import Attachment
from ..providers.tool_calls import ToolCall
from ..redaction import mask
from ..text import counted, safe_terminal, truncate
from ..transport.json_body import encode_json

Status: TypeAlias = Literal["asking", "running", "done"]
OPEN = ("asking", "running")
"""The status of a step that has not ended."""

STOPPED = "stopped by the user"
"""The error of a step that had not ended when the answer was stopped."""

UNREACHED = "the answer ended before it"
"""The error of a step that had not ended when the answer ended by itself."""


@dataclass(frozen=True, repr=False)
class ToolStep:
    """A call of a tool and what came of it.

    ``result`` is the text that the tool returned, at most 20 kB, ``images`` the pictures. ``error`` is why there is no
    result, in one line: the tool failed, the call was refused, or the answer was stopped; else ``None``. ``approved``
    says what the user was asked: ``True`` or ``False``, and ``None`` if no question was needed. ``seconds`` is how long
    the tool ran. ``status`` is "done", or "asking" and "running" while the answer streams.
    """

    call: ToolCall
    result: str = ""
    error: str | None = None
    approved: bool | None = None
    seconds: float = 0.0
    images: list[Attachment] = field(default_factory=list)
    status: Status = "done"

    @property
    def content(self) -> str:
        """The text that the model gets."""
        return self.result if self.error is None else f"Error: {self.error}"

    def __repr__(self) -> str:
        def shown(text: str) -> str:
            return truncate(mask(text, settings.known_keys()), 60)  # a key that is cut would not be found

        given = ", ".join(f"{name}={value!r}" for name, value in self.call.arguments.items())
        came = f"error={shown(self.error)!r}" if self.error is not None else repr(shown(self.result))
        return safe_terminal(f"<ToolStep {self.call.name}({shown(given)}): {came}>")

    def to_json(self) -> dict[str, Any]:
        """Return the step as JSON data, with its images as attachments."""
        return {
            "id": self.call.id,
            "name": self.call.name,
            "arguments": self.call.unparsed or encode_json(self.call.arguments).decode(),
            "result": self.result,
            "error": self.error,
            "approved": self.approved,
            "seconds": round(self.seconds, 3),
            **({"images": self.images} if self.images else {}),
            **({"status": self.status} if self.status != "done" else {}),
        }

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """Return the step that ``to_json`` wrote. What is missing or damaged is left out."""
        function = {"name": _text(data.get("name")), "arguments": _text(data.get("arguments"))}
        error, approved, seconds = data.get("error"), data.get("approved"), data.get("seconds")
        images = data.get("images")
        return cls(
            ToolCall.of({"id": _text(data.get("id")), "function": function}),
            _text(data.get("result")),
            error if isinstance(error, str) else None,
            approved if isinstance(approved, bool) else None,
            float(seconds) if isinstance(seconds, int | float) and 0 <= seconds < 1e9 else 0.0,
            [*_attachments(images)] if isinstance(images, list) else [],
        )


def describe_steps(steps: Sequence[ToolStep]) -> str:
    """Return for a status line how many calls there were, and what became of them: ``3 tool calls, 1 refused``."""
    errors = [step for step in steps if step.error is not None]
    refused = sum(step.approved is False for step in errors)
    unfinished = sum(step.error in (STOPPED, UNREACHED) and step.approved is not False for step in errors)
    failed = len(errors) - refused - unfinished
    counts = {"refused": refused, "failed": failed, "not finished": unfinished}
    return ", ".join(
        [counted(len(steps), "tool call"), *(f"{count} {word}" for word, count in counts.items() if count)]
    )


def _attachments(images: list[Any]) -> list[Attachment]:
    found = []
    for one in images:
        if isinstance(one, Attachment):
            found.append(one)
        elif isinstance(one, list | tuple) and len(one) in (2, 3) and all(isinstance(part, str) for part in one):
            try:
                found.append(Attachment(*one))
            except ValueError:  # a path, for example: somebody else's file must not make us send it
                continue
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
