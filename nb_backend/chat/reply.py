"""An answer as a message of the history; ``Answer.of`` reads it."""

from __future__ import annotations

import time

from .answer import Answer
from .messages import Message


def reply_message(answer: Answer, state_owner: str) -> Message:
    """Return the message of an answer that has ended; ``state_owner`` is whose the opaque state is, if there is one."""
    about = {"time": time.time(), **answer.metadata()}
    about |= {"reasoning": answer.reasoning} if answer.reasoning else {}
    local = {"stopped": answer.stopped, "trimmed": answer.trimmed, "images": answer.stored_images()}
    local |= {"speech": answer.audio.uri} if answer.audio else {}
    local |= {"state": {"owner": state_owner, "items": answer.state}} if answer.state else {}
    local |= {"rounds": [one.to_json(state_owner) for one in answer._rounds]}
    fields = {"role": "assistant", "content": answer.text, **{key: value for key, value in local.items() if value}}
    return Message(fields, about)
