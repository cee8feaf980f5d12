"""The record of a panel's chats in the notebook: what a new kernel continues from.

A record is ``{"chats": {NAME: CHAT}, "shown": NAME, "opened": NAME}``, where CHAT is the JSON object of
``chat.transcript``: the chats that the panel has shown, the last one, and the one it was opened with. It has no key and
no url, and its images are the small ones of the transcript. ``"earlier"`` may hold a transcript of an earlier version.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from ...chat.chat import Chat
from ...chat.merge import keyed_turns, turn_id
from ...chat.messages import Message, metadata, time_of
from ...chat.named_chats import chats
from ...chat.tool_rounds import ToolRound
from ...chat.transcript import Transcript
from ...markdown.data_uris import shorten_images
from ...media.attachment import Attachment
from ...transport.json_body import encode_json
from ...typing import Messages
from .chat_settings import PARAMETERS, apply_settings
from .earlier import safe_transcript
from .items.arrange import FailedTurn
from .panel_state import failed_turns, known_failures
from .transcript_markdown import MAX_DATA_URI, MAX_IMAGE_BYTES, MAX_TOTAL_BYTES

WHERE = "the transcript in this notebook"
DAMAGED = f"{WHERE} is damaged, so it is not continued"
_MAX_CHATS = 100
_UNNAMED = "restored"  # the name of a restored chat whose own name is not one


@dataclass
class Restored:
    """What came back from a record: the number of turns, the Unix time of the last one, and what it does not have."""

    turns: int = 0
    time: float = 0
    lost: int = 0

    def add(self, question: Mapping[str, Any]) -> None:
        """Count a turn."""
        lost = metadata(question).get("lost")
        self.turns += 1
        self.time = max(self.time, time_of(question) or 0)
        self.lost += len(lost) if isinstance(lost, list) else 0


def record_of(
    shown: Mapping[str, tuple[Chat, Messages]],
    opened: str,
    images: Mapping[str, str],
    keys: Sequence[str],
    earlier: str = "",
) -> dict[str, Any]:
    """Return the record of chats and their messages by name, of which the first is shown; {} if nothing was said.

    ``images`` maps data URIs to the small ones to store. ``earlier`` is the transcript of an earlier version.
    """
    room = MAX_TOTAL_BYTES  # for attachments that are not images
    found: dict[str, Any] = {}
    for chat_name, (chat, messages) in shown.items():
        if not messages:
            continue
        small: list[Message] = []
        for message in messages:
            made, size = _small_message(message, images, room)
            small.append(made)
            room -= size
        params = {key: chat.params[key] for key in PARAMETERS if key in chat.params}
        about = [one.metadata for one in small]
        record = Transcript(
            chat.model, None, chat._system, params, [*small], about, chat._title, _versions(chat, images)
        )
        found[chat_name] = record.without(*keys).record()
    more = {"earlier": earlier} if earlier else {}
    return {"chats": found, "shown": next(iter(shown)), "opened": opened, **more} if found or more else {}


@dataclass
class Record:
    """A record that was read."""

    chats: dict[str, Transcript]
    shown: str
    opened: str
    earlier: str = ""
    """The transcript of an earlier version, made safe."""

    @classmethod
    def read(cls, record: object) -> Self:
        """Read what ``record_of`` returned. Raises ``ValueError`` if it is damaged, or of a newer version."""
        found = record if isinstance(record, dict) else {}
        chats, shown, opened = (found.get(name) for name in ("chats", "shown", "opened"))
        if not isinstance(chats, dict) or len(chats) > _MAX_CHATS or not isinstance(shown, str):
            raise ValueError(DAMAGED)
        read = {name: Transcript.read(one, WHERE) for name, one in chats.items() if isinstance(name, str)}
        earlier = found.get("earlier")
        safe = safe_transcript(earlier) if isinstance(earlier, str) and earlier else ""
        return cls(read, shown, opened if isinstance(opened, str) else "", safe)

    def restore(self, unnamed: Chat | None, restored: Restored) -> list[Chat]:
        """Put the turns into the chats of their names, and return these chats; ``restored`` counts the turns.

        ``unnamed`` is the panel's chat that has no name.
        """
        found = {name: _chat(name, unnamed) for name in self.chats}
        for name, saved in self.chats.items():
            for question in _restore_chat(found[name], saved):
                restored.add(question)
        return [*found.values()]


def _chat(name: str, unnamed: Chat | None) -> Chat:
    if unnamed is not None and name.startswith("("):
        return unnamed
    try:
        return chats[name]
    except ValueError:
        return chats[_UNNAMED]


def _restore_chat(chat: Chat, saved: Transcript) -> Iterator[dict[str, Any]]:
    """Put the turns of a record into a chat, and yield their prompts."""
    if not chat.messages and chat.model is None and chat._system is None and not chat.params:
        params = {key: value for key, value in saved.params.items() if key in PARAMETERS}
        apply_settings(chat, {"model": saved.model, "system": saved.system, **params})
        chat.title = saved.title
    kept, failed = _split(saved, {turn_id(turn.request.question) for turn in chat.live})
    yield from chat.restore(kept)
    chat._history.add_versions(saved.versions, kept)
    last_messages = {key: turn[-1] for key, turn in keyed_turns(chat.messages)}
    known = known_failures(chat)
    for before, turn in failed:
        if (id := turn_id(turn[0])) and id not in known and id not in last_messages:
            known.add(id)
            failed_turns(chat).append(FailedTurn(None, last_messages.get(before), turn))
            yield turn[0]


def _split(saved: Transcript, live: Collection[str]) -> tuple[Messages, list[tuple[str, Messages]]]:
    """Return the messages of the history, and each failed turn with the key of the turn before it.

    Turns that are ``live`` are left out: the record has the beginning of their answers.
    """
    kept: Messages = []
    failed: list[tuple[str, Messages]] = []
    before = ""
    for key, turn in keyed_turns([Message(*one) for one in saved.described_messages()]):
        if key in live:
            continue
        if any(metadata(message).get("failed") for message in turn):
            failed.append((before, turn))
        else:
            before = key
            kept += turn
    return kept, failed


def _versions(chat: Chat, images: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the versions of turns that are not chosen; of their attachments only the images in ``images``."""
    data = chat._history.versions_to_data()
    for other in (other for fork in data for other in fork["others"]):
        small = [_small_message(message, images, 0)[0] for message in other["messages"]]
        other["messages"], other["about"] = [*small], [one.metadata for one in small]
    return data


def _small_message(message: Mapping[str, Any], images: Mapping[str, str], room: int) -> tuple[Message, int]:
    """Return a copy of a message with small images, and the bytes of its other attachments, at most ``room``."""
    small, about, size = {**message}, {**metadata(message)}, 0
    lost: list[str] = []
    if "media" in message:
        media: list[Attachment] = []
        for one in message["media"]:
            made = _small_attachment(one, images, room - size)
            size += len(made.uri) * 3 // 4 if made and made.media_type and not made.is_image else 0
            media += [made] if made else []
            lost += [] if made else [one.name]
        small["media"] = media
    if isinstance(speech := message.get("speech"), str) and not _is_small(speech):
        del small["speech"]
        about["remarks"] = [*(about.get("remarks") or []), "its sound is too large for the notebook"]
    if "state" in message and len(encode_json(message["state"])) > MAX_IMAGE_BYTES:  # Gemini's holds pictures
        del small["state"]
    if isinstance(rounds := message.get("rounds"), list):
        small["rounds"] = [_small_round(one, images) for one in rounds if isinstance(one, dict)]
    if "images" in message:
        targets = {address: images.get(target, target) for address, target in message["images"].items()}
        small["images"] = {
            address: target for address, target in targets.items() if target[:5] != "data:" or _is_small(target)
        }
    if isinstance(text := message.get("content"), str) and ";base64," in text:
        small["content"] = _with_small_images(text, images)
    if lost:
        about["lost"] = lost
    return Message(small, about), size


def _small_round(data: Mapping[str, Any], images: Mapping[str, str]) -> dict[str, Any]:
    """Return a round of an answer with small images, without those that have no place, and without a large state."""
    made = {key: value for key, value in data.items() if key != "state" or len(encode_json(value)) <= MAX_IMAGE_BYTES}
    steps = ToolRound.of(data).steps
    for step in steps:
        step.images[:] = [Attachment(images[one.uri], one.name) for one in step.images if one.uri in images]
    return {**made, "steps": [step.to_json() for step in steps]}


def _small_attachment(one: Attachment, images: Mapping[str, str], room: int) -> Attachment | None:
    if one.uri in images:
        return Attachment(images[one.uri], one.name, one.remark)
    if not one.media_type or (not one.is_image and _is_small(one.uri) and len(one.uri) * 3 // 4 <= room):
        return one
    return None


def _is_small(uri: str) -> bool:
    return len(uri) * 3 // 4 <= MAX_IMAGE_BYTES + 2


def _with_small_images(text: str, images: Mapping[str, str]) -> str:
    """Return a text with its images replaced by small ones, or by a word where there is none."""
    present = {f"image-{at}-of-this-text": uri for at, uri in enumerate(images) if uri in text}
    for word, uri in present.items():
        text = text.replace(uri, word)
    text = shorten_images(text, MAX_DATA_URI)
    for word, uri in present.items():
        text = text.replace(word, images[uri])
    return text
