"""The sound of a spoken answer: an attachment that was checked, a line that describes it, and a player."""

from __future__ import annotations

from typing import Any, Final

from ..media.attachment import Attachment, file_name
from ..media.sniff import data_uri, format_size, media_type, parse_data_uri
from ..media.sound import wav_seconds
from ..text import duration

MAX_BYTES: Final = 32 * 2**20  # of the sound of one answer; 11 minutes of what OpenAI sends
MAX_SHOWN: Final = 2_000_000  # characters of a data URI in a cell; Jupyter drops outputs of 3 MB in 3 s


def spoken(uri: Any) -> Attachment | None:
    """Return the sound in a data URI as an attachment; ``None`` if it is anything else, or larger than 32 MB.

    What decides is the content, and not the media type that the URI names.
    """
    if not isinstance(uri, str) or not uri.startswith("data:audio/") or len(uri) * 3 // 4 > MAX_BYTES:
        return None
    try:
        _, data = parse_data_uri(uri)
    except ValueError:
        return None
    kind = media_type(data) or ""
    return Attachment(data_uri(data, kind), file_name("answer", kind)) if kind.startswith("audio/") else None


def left_out(uri: Any) -> str:
    """Return the remark about sound that ``spoken`` does not take."""
    size = len(uri) * 3 // 4 if isinstance(uri, str) else 0
    return f"its sound, {format_size(size)}, was left out"


def describe_sound(audio: Attachment) -> str:
    """Return how long a sound is, or how large, for the status line: ``spoken 3.2 s``."""
    data = audio.data
    seconds = wav_seconds(data)
    return f"spoken {format_size(len(data)) if seconds is None else duration(seconds)}"


def player(audio: Attachment) -> dict[str, str]:
    """Return a player as data of an output; a line of text if the sound is too large for an output."""
    line = describe_sound(audio)
    if len(audio.uri) > MAX_SHOWN:
        play = "IPython.display.Audio(answer.audio.data) plays it"
        return {"text/plain": f"[{line}, too large for an output: {play}]"}
    return {"text/html": f'<audio controls src="{audio.uri}"></audio>', "text/plain": f"[{line}]"}
