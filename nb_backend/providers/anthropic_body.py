"""Messages in the form of Anthropic's Messages API: content blocks of a user and an assistant in turn."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from ..media.message_parts import text_parts
from ..media.sniff import parse_data_uri
from ..text import shorten
from ..transport.json_body import encode_json
from ..typing import Messages
from .tool_calls import parse_arguments
from .tool_results import IS_ERROR
from .tool_results import RESULTS as _RESULTS

Block = dict[str, Any]

INSTRUCTIONS: Final = ("system", "developer")  # roles
LONG: Final = 4000
"""Characters from which a prefix is worth a mark: the shortest that is cached has 512 to 4,096 tokens."""
_IMAGES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
_NO_TEXTS: Final = re.compile(r"(?:image/(?!svg)|audio/|video/)")
_MARK: Final = {"cache_control": {"type": "ephemeral"}}
_MARKABLE: Final = ("text", "image", "document", "tool_use", "tool_result")
_OURS: Final = ("image", "document", "search_result", "tool_result")  # types of blocks that no answer has
_THINKING: Final = ("thinking", "redacted_thinking")
_NOT_IN_AN_ID = re.compile(r"[^a-zA-Z0-9_-]")
_ATTACHED_CHARS: Final = 4000  # what an attachment counts for, if it is not a text


def split_system(messages: Messages) -> tuple[str, Messages]:
    """Return the text of the instructions at the start of a chat, and the messages after them."""
    start = next((at for at, one in enumerate(messages) if one.get("role") not in INSTRUCTIONS), len(messages))
    texts = [text for one in messages[:start] for text in _texts(one.get("content"))]
    return "\n\n".join(texts), messages[start:]


def turns(messages: Messages) -> list[dict[str, Any]]:
    """Return the messages as turns of a user and an assistant, which alternate.

    The results of tools come first in the turn of the user. Instructions in the middle of a chat become texts of the
    user. ``ValueError`` for an attachment that the API does not take.
    """
    made: list[dict[str, Any]] = []
    open_calls: dict[str, str] = {}  # the calls of the assistant's last turn: their ids in the chat, and as sent
    used: set[str] = set()  # ids of all calls, which have to differ
    asked = 0  # index of the assistant's last turn
    for at, message in enumerate(messages):
        role = message.get("role")
        if role == "assistant":
            asked = at
            blocks = _assistant_blocks(message, at, _result_ids(messages, at))
            calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
            open_calls = {id_: f"{id_}_{at}" if id_ in used else id_ for id_ in calls}
            blocks = [{**one, "id": open_calls[one["id"]]} if one["type"] == "tool_use" else one for one in blocks]
            used.update(open_calls.values())
        elif role in _RESULTS:
            blocks = _result_blocks(message, _id(message.get("tool_call_id"), asked, at - asked - 1), open_calls)
        else:
            blocks = [*_blocks(message.get("content"))]
        role = "assistant" if role == "assistant" else "user"
        if not blocks:
            continue
        if made and made[-1]["role"] == role:
            made[-1]["content"] += blocks
        else:
            made.append({"role": role, "content": blocks})
    for turn in made:
        turn["content"].sort(key=lambda block: block["type"] != "tool_result" if turn["role"] == "user" else False)
    return made


def with_cache_marks(system: str, turns: list[dict[str, Any]]) -> tuple[str | list[Block], list[dict[str, Any]]]:
    """Return the system prompt and the turns with ``cache_control`` at the ends of long prefixes that stay the same.

    Marks are put behind a long system prompt, behind the last attachment of an earlier turn, and behind the turns
    before the last one: at most three, and none on the last turn, which is new in each request. If the user has put
    marks anywhere, there are no others.
    """
    if any("cache_control" in block for turn in turns for block in turn["content"]):
        return system, turns
    marked: str | list[Block] = [{"type": "text", "text": system, **_MARK}] if len(system) >= LONG else system
    if len(turns) < 2:
        return marked, turns
    *earlier, last = turns
    length, ends = len(system), set()
    for at, turn in enumerate(earlier):
        length += sum(map(_length, turn["content"]))
        if length >= LONG and any(block["type"] in ("image", "document") for block in turn["content"]):
            ends = {at}
    if length >= LONG:
        ends.add(len(earlier) - 1)
    return marked, [*(_marked(turn) if at in ends else turn for at, turn in enumerate(earlier)), last]


def with_tools_marked(tools: list[Any], system: Any) -> list[Any]:
    """Return long descriptions of tools with a mark, unless one behind the system prompt, which follows, holds them."""
    has_mark = isinstance(system, list) or any(isinstance(tool, dict) and "cache_control" in tool for tool in tools)
    if has_mark or not isinstance(tools[-1], dict) or len(encode_json(tools)) < LONG:
        return tools
    return [*tools[:-1], {**tools[-1], **_MARK}]


def with_tools_of_history(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body; without tools, those that the chat has called are declared, and none of them may be called.

    Anthropic refuses a chat with calls if it has no tools.
    """
    if body.get("tools") or not isinstance(body.get("messages"), list):
        return body
    blocks = [block for turn in body["messages"] if isinstance(turn.get("content"), list) for block in turn["content"]]
    names = dict.fromkeys(str(block.get("name")) for block in blocks if block.get("type") == "tool_use")
    if not names:
        return body
    tools = [{"name": name, "input_schema": {"type": "object", "properties": {}}} for name in names]
    return {**body, "tools": tools, "tool_choice": {"type": "none"}}


def goes_on_without_thinking(turns: list[dict[str, Any]]) -> bool:
    """Whether the results of calls are last, and no reasoning comes before these calls.

    Another service made them, or their request had no ``thinking``. The API then takes no budget for reasoning.
    """
    if len(turns) < 2 or not all(isinstance(turn.get("content"), list) and turn["content"] for turn in turns[-2:]):
        return False
    asked, results = turns[-2]["content"], turns[-1]["content"]
    has_results = any(isinstance(block, dict) and block.get("type") == "tool_result" for block in results)
    first = asked[0]
    return has_results and not (isinstance(first, dict) and first.get("type") in _THINKING)


def without_thinking(turns: list[dict[str, Any]], seals: set[int]) -> list[dict[str, Any]]:
    """Return the turns without the reasoning that has one of these seals."""
    kept = [
        {**turn, "content": [block for block in turn["content"] if _seal(block) not in seals]}
        if isinstance(turn.get("content"), list)
        else turn
        for turn in turns
    ]
    return [turn for turn in kept if turn.get("content")]


def seals_in(turns: list[dict[str, Any]]) -> set[int]:
    """Return a hash of each piece of reasoning that the server has signed or encrypted."""
    return {_seal(block) for turn in turns if isinstance(turn.get("content"), list) for block in turn["content"]} - {0}


def _seal(block: Any) -> int:
    if not isinstance(block, dict) or block.get("type") not in _THINKING:
        return 0
    return hash(str(block.get("signature") or block.get("data")))


def _marked(turn: dict[str, Any]) -> dict[str, Any]:
    blocks = [*turn["content"]]
    at = next((at for at in reversed(range(len(blocks))) if blocks[at]["type"] in _MARKABLE), None)
    if at is not None:
        blocks[at] = {**blocks[at], **_MARK}
    return {**turn, "content": blocks}


def _length(block: Block) -> int:
    if block["type"] in ("image", "document"):
        source = block.get("source")
        text = source.get("data") if isinstance(source, dict) and source.get("type") == "text" else None
        return len(text) if isinstance(text, str) else _ATTACHED_CHARS
    return sum(len(value) for value in block.values() if isinstance(value, str))


def _texts(content: Any) -> Iterator[str]:
    parts = content if isinstance(content, list) else [content]
    for part in parts:
        text = part.get("text") if isinstance(part, dict) else part
        if isinstance(text, str) and text.strip():
            yield text


# --- the assistant


def _assistant_blocks(message: Mapping[str, Any], at: int, results: set[str]) -> list[Block]:
    """Return the blocks of an answer: as the service has sent them, if the text is still the same.

    ``at`` is its place in the chat. Calls without one of these ``results`` are left out, as the API refuses them.
    """
    calls = [*{call["id"]: call for call in _calls(message, at) if call["id"] in results}.values()]
    texts = [*_texts(message.get("content"))]
    state = message.get("state")
    blocks = [block for block in state if _is_block(block)] if isinstance(state, list) else []
    said = "".join(block["text"] for block in blocks if block["type"] == "text")
    if not blocks or "".join(said.split()) != "".join("".join(texts).split()):
        return [*({"type": "text", "text": text} for text in texts), *calls]
    blocks = [*_without_open_calls(blocks, {call["id"] for call in calls})]
    known = {block["id"] for block in blocks if block["type"] == "tool_use"}
    blocks += [call for call in calls if call["id"] not in known]
    return blocks if any(block["type"] not in _THINKING for block in blocks) else []


def _is_block(value: Any) -> bool:
    """Whether a block can be of an answer: what a saved chat holds in place of it may be written by anybody."""
    if not isinstance(value, dict) or not isinstance(value.get("type"), str) or value["type"] in _OURS:
        return False
    return value["type"] != "text" or isinstance(value.get("text"), str)


def _without_open_calls(blocks: list[Block], answered: set[str]) -> Iterator[Block]:
    """Yield the blocks without the calls of tools that have no result."""
    results = {block.get("tool_use_id") for block in blocks}
    known: set[Any] = set()
    for block in blocks:
        is_own = block["type"] == "tool_use"
        if is_own and (block.get("id") not in answered or block["id"] in known):
            continue
        if is_own:
            known.add(block["id"])
        if not is_own and block["type"].endswith("tool_use") and block.get("id") not in results:
            continue
        yield block


def _calls(message: Mapping[str, Any], at: int) -> Iterator[Block]:
    calls = message.get("tool_calls")
    for number, call in enumerate(calls if isinstance(calls, list) else []):
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict) and isinstance(name := function.get("name"), str):
            given = function.get("arguments")
            arguments = given if isinstance(given, dict) else parse_arguments(given if isinstance(given, str) else "")
            yield {"type": "tool_use", "id": _id(call.get("id"), at, number), "name": name, "input": arguments or {}}


def _id(given: Any, at: int, number: int) -> str:
    """Return the id of a call in the characters that the API takes; other services send others, or none."""
    return _NOT_IN_AN_ID.sub("_", str(given or "")) or f"call_{at}_{number}"


# --- results of tools


def _result_ids(messages: Messages, at: int) -> set[str]:
    """Return the ids of the calls whose results follow the message at this place at once."""
    found: set[str] = set()
    for place in range(at + 1, len(messages)):  # a slice would copy the rest of the chat for each answer
        if messages[place].get("role") not in _RESULTS:
            break
        found.add(_id(messages[place].get("tool_call_id"), at, place - at - 1))
    return found


def _result_blocks(message: Mapping[str, Any], id_: str, open_calls: dict[str, str]) -> list[Block]:
    """Return the result of a call, which is then no longer open; one of a call that was not sent becomes a text."""
    content = message.get("content")
    blocks = [block for part in text_parts(content) for block in _result_part(part)]
    if id_ not in open_calls:
        return blocks
    result: Block = {"type": "tool_result", "tool_use_id": open_calls.pop(id_)}
    if message.get(IS_ERROR) is True:
        result["is_error"] = True
    if blocks:
        result["content"] = content if isinstance(content, str) else blocks
    return [result]


def _result_part(part: Any) -> Iterator[Block]:
    """Yield a part of a result; a file that the API does not take becomes a text, as the answer is already going on."""
    try:
        yield from _blocks([part])
    except ValueError as error:
        yield {"type": "text", "text": f"({error})"}


# --- content parts and attachments


def _blocks(content: Any) -> Iterator[Block]:
    """Yield the blocks of content parts; empty texts are left out, as the API refuses them."""
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            if part.strip():
                yield {"type": "text", "text": part}
        elif isinstance(part, dict) and (block := _block(part)) is not None:
            yield block


def _block(part: Mapping[str, Any]) -> Block | None:
    match part:
        case {"type": "text", "text": str(text)}:
            return {**part} if text.strip() else None
        case {"type": "image_url", "image_url": {"url": str(url)}} | {"type": "image_url", "image_url": str(url)}:
            return _attached(url, "the image")
        case {"type": "file", "file": {"file_data": str(uri), **more}}:
            return _attached(uri, str(more.get("filename") or "the file"))
        case {"type": "input_audio"}:
            raise ValueError("Anthropic's API takes no audio: attach its text, or ask a model that hears")
    return {**part}  # in the API's own form


def _attached(uri: str, name: str) -> Block:
    """Return a data URI or an address as a block; ``ValueError``, in one line, if the API does not take its type."""
    if not uri.startswith("data:"):
        is_pdf = urlsplit(uri).path.lower().endswith(".pdf")
        return {"type": "document" if is_pdf else "image", "source": {"type": "url", "url": uri}}
    media_type, data = parse_data_uri(uri)
    title = {} if name.startswith("the ") else {"title": name}
    if media_type in _IMAGES:
        encoded = uri.partition(",")[2]
        return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": encoded}}
    if media_type == "application/pdf":
        encoded = uri.partition(",")[2]
        source = {"type": "base64", "media_type": media_type, "data": encoded}
        return {"type": "document", "source": source, **title}
    if not _NO_TEXTS.match(media_type) and (text := _decoded(data)) is not None:
        return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}, **title}
    kinds = "PDF, text, PNG, JPEG, GIF or WebP"
    raise ValueError(f"{shorten(name)} ({media_type}) cannot be sent to Anthropic's API: attach it as {kinds}")


def _decoded(data: bytes) -> str | None:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return text if text.strip() and "\0" not in text else None
