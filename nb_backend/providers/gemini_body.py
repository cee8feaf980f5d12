"""Builds the body of a request in Gemini's dialect from messages and fields in OpenAI's form."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from ..events import content_text
from ..typing import Messages
from .common_fields import LIMITS
from .gemini_parts import is_made_up, parts_of_state
from .gemini_refusals import marked
from .gemini_thinking import is_at_least_3
from .tool_calls import parse_arguments
from .tool_results import IS_ERROR, RESULTS

_TYPES: Final = {"audio/mpeg": "audio/mp3", "video/quicktime": "video/mov", "application/json": "text/plain"}
"""Media types that the service calls otherwise, or takes as text only."""
_IN_RESULTS: Final = frozenset({"image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain"})
"""Media types that a result of Gemini 3 can contain; other models and types have them beside the results.

Source: https://ai.google.dev/gemini-api/docs/function-calling, "Multimodal function responses".
"""
_SPECIAL_FILES: Final = ("youtube.com", "youtu.be", "generativelanguage.googleapis.com")


def contents_of(messages: Messages, model: str) -> dict[str, Any]:
    """Return ``contents`` and, if there is a system prompt, ``systemInstruction``.

    Messages of the same role that follow each other become one, as the service wants the roles to alternate. Calls
    without a result are left out, as the service refuses them.
    """
    answered = {str(message.get("tool_call_id")) for message in messages}
    contents: list[dict[str, Any]] = []
    system: list[dict[str, Any]] = []
    names: dict[str, str] = {}  # of the functions that were called, by the id of the call
    beside: list[dict[str, Any]] = []  # pictures of results, which follow all results of a round
    for message in messages:
        role = message.get("role")
        if beside and role not in RESULTS:
            contents[-1]["parts"] += beside
            beside = []
        if role in ("system", "developer"):
            system += [part for part in _parts_of_content(message.get("content")) if part.get("text")]
            continue
        if role == "assistant":
            names |= _names_of_calls(message)
            parts = _model_parts(message, model, answered)
        elif role in RESULTS:
            result, files = _result_of(message, names, model)
            parts, beside = [result], beside + files
        else:
            parts = [*_parts_of_content(message.get("content"))]
        sent = "model" if role == "assistant" else "user"
        if contents and contents[-1]["role"] == sent:
            contents[-1]["parts"] += parts
        elif parts:
            contents.append({"role": sent, "parts": parts})
    if beside:
        contents[-1]["parts"] += beside
    return {"contents": contents} | ({"systemInstruction": {"parts": system}} if system else {})


def _parts_of_content(content: Any) -> Iterator[dict[str, Any]]:
    """Yield the parts of a message's content, a text or a list of content parts."""
    for part in content if isinstance(content, list) else [content]:
        if not isinstance(part, dict):
            if text := content_text(part):
                yield {"text": text}
            continue
        kind = part.get("type")
        if kind == "image_url":
            image = part.get("image_url")
            yield _file(str(image.get("url") if isinstance(image, dict) else image))
        elif kind == "input_audio" and isinstance(sound := part.get("input_audio"), dict):
            yield _inline(f"audio/{sound.get('format') or 'wav'}", str(sound.get("data") or ""))
        elif kind == "file" and isinstance(file := part.get("file"), dict):
            yield _file(str(file.get("file_data") or file.get("file_id") or ""))
        elif kind is None:  # a part in the service's own form
            yield part
        elif text := content_text(part):
            yield {"text": text}


def _file(uri: str) -> dict[str, Any]:
    """Return a file: its data, or the address from which the service fetches it."""
    start, mark, data = uri.partition(";base64,")
    if start.startswith("data:") and mark:
        return _inline(start.removeprefix("data:"), data)
    if not uri.startswith(("http://", "https://", "gs://", "files/")):
        raise ValueError("Gemini takes an attachment as data or as a web address: attach the file itself")
    named = mimetypes.guess_type(urlsplit(uri).path)[0]
    is_special = (urlsplit(uri).hostname or "").removeprefix("www.") in _SPECIAL_FILES or uri.startswith("files/")
    if uri.startswith("http://") and not is_special:
        raise ValueError("Gemini fetches attachments from https addresses only: attach the file itself")
    return {"fileData": {"fileUri": uri} | ({"mimeType": named} if named and not is_special else {})}


def _inline(media_type: str, data: str) -> dict[str, Any]:
    name = _TYPES.get(media_type, media_type)
    return {"inlineData": {"mimeType": "text/plain" if name.startswith("text/") else name, "data": data}}


def _calls_of(message: Mapping[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Return id, name and arguments of the function calls of an answer."""
    found = []
    for call in message.get("tool_calls") or ():
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict) and isinstance(name := function.get("name"), str):
            given = function.get("arguments")
            arguments = given if isinstance(given, dict) else parse_arguments(str(given or "")) or {}
            found.append((str(call.get("id") or ""), name, arguments))
    return found


def _names_of_calls(message: Mapping[str, Any]) -> dict[str, str]:
    return {id_: name for id_, name, _ in _calls_of(message)}


def _model_parts(message: Mapping[str, Any], model: str, answered: set[str]) -> list[dict[str, Any]]:
    """Return the parts of an answer: those of its state if they say the same, as their signatures have to go back."""
    calls = [call for call in _calls_of(message) if call[0] in answered]
    parts = [*_parts_of_content(message.get("content"))]
    text = "".join(str(part.get("text") or "") for part in parts)
    if (kept := parts_of_state(message.get("state"), text, [name for _, name, _ in calls])) is not None:
        return kept
    for id_, name, arguments in calls:
        call = {"name": name, "args": arguments} | ({"id": id_} if id_ and not is_made_up(id_) else {})
        parts.append({"functionCall": call})
    return marked({"parts": parts})["parts"] if is_at_least_3(model) else parts


def _result_of(
    message: Mapping[str, Any], names: Mapping[str, str], model: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the result of a function, and what goes beside it: pictures that it cannot contain."""
    id_ = str(message.get("tool_call_id") or "")
    name = names.get(id_) or message.get("name") or id_
    texts, inside, beside = [], [], []
    for part in _result_contents(message.get("content")):
        if "text" in part:
            texts.append(str(part["text"]))
        elif is_at_least_3(model) and part.get("inlineData", {}).get("mimeType") in _IN_RESULTS:
            inside.append(part)
        else:
            beside.append(part)
    if beside:
        beside.insert(0, {"text": f"Returned by {name}:"})
    about = "error" if message.get(IS_ERROR) is True else "result"
    result = {"name": name, "response": {about: "\n\n".join(texts)}}
    result |= ({"parts": inside} if inside else {}) | ({"id": id_} if id_ and not is_made_up(id_) else {})
    return {"functionResponse": result}, beside


def _result_contents(content: Any) -> Iterator[dict[str, Any]]:
    """Yield the parts of a result; a file that the service does not take becomes a text: the answer is going on."""
    for part in content if isinstance(content, list) else [content]:
        try:
            yield from _parts_of_content([part])
        except ValueError as error:
            yield {"text": f"({error})"}


_GENERATION: Final = frozenset(
    {
        *("temperature", "topP", "topK", "candidateCount", "maxOutputTokens", "stopSequences", "seed"),
        *("presencePenalty", "frequencyPenalty", "responseMimeType", "responseSchema", "responseJsonSchema"),
        *("responseLogprobs", "logprobs", "enableEnhancedCivicAnswers", "speechConfig", "audioTimestamp"),
        *("responseModalities", "mediaResolution", "thinkingConfig", "imageConfig", "routingConfig"),
        *("modelSelectionConfig", "modelConfig", "responseFormat", "enableAffectiveDialog"),
    }
)
"""Fields of ``GenerationConfig``: https://ai.google.dev/api/generate-content#generationconfig"""
_TOP: Final = frozenset(
    {"tools", "toolConfig", "safetySettings", "systemInstruction", "generationConfig", "cachedContent", "labels"}
    | {"serviceTier", "store", "modelArmorConfig"}
)
_THINKING: Final = frozenset({"includeThoughts", "thinkingBudget", "thinkingLevel"})
_RENAMED: Final = {
    **dict.fromkeys(LIMITS, "maxOutputTokens"),
    "stop": "stopSequences",
    "n": "candidateCount",
}
_NOT_SENT: Final = frozenset({"stream", "stream_options", "parallel_tool_calls"})  # the dialect has no such fields


def with_parameters(body: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body with the fields of a call, which may be spelled in snake case.

    A field of the generation's configuration goes there, others to the top. ``None`` leaves a field out.
    """
    config: dict[str, Any] = {}
    top: dict[str, Any] = {}
    thinking: dict[str, Any] = {}
    for name, value in fields.items():
        if value is None or name in _NOT_SENT:
            continue
        camel = _RENAMED.get(name) or re.sub(r"_([a-z])", lambda found: found[1].upper(), name)
        if camel == "stopSequences":
            config[camel] = [value] if isinstance(value, str) else [*value]
        elif name == "response_format":
            config |= _response_format(value)
        elif name == "tools":
            top["tools"] = _tools(value)
        elif name == "tool_choice":
            top["toolConfig"] = {"functionCallingConfig": _tool_choice(value)}
        elif camel == "generationConfig" and isinstance(value, Mapping):
            config |= value
        elif camel in _THINKING:
            thinking[camel] = value
        elif camel in _GENERATION:
            config[camel] = value
        else:
            top[camel if camel in _TOP else name] = value
    if thinking:
        config["thinkingConfig"] = {**config.get("thinkingConfig", {}), **thinking}
    return _with_mixed_tools(body | top | ({"generationConfig": config} if config else {}))


def _response_format(value: Any) -> dict[str, Any]:
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in ("json_object", "json_schema"):
        return {}
    schema = value["json_schema"].get("schema") if isinstance(value.get("json_schema"), dict) else None
    return {"responseMimeType": "application/json"} | ({"responseJsonSchema": schema} if schema else {})


def _tools(tools: Any) -> list[Any]:
    """Return the tools: functions in OpenAI's form become one list of declarations, others pass unchanged."""
    declared, others = [], []
    for tool in tools if isinstance(tools, list | tuple) else [tools]:
        function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
        if not isinstance(function, dict):
            others.append(tool)
            continue
        declaration = {key: function[key] for key in ("name", "description") if function.get(key)}
        parameters = function.get("parameters")
        if isinstance(parameters, dict) and parameters.get("properties"):  # without them the service wants none
            declaration["parametersJsonSchema"] = parameters
        declared.append(declaration)
    return ([{"functionDeclarations": declared}] if declared else []) + others


def _tool_choice(choice: Any) -> dict[str, Any]:
    if isinstance(choice, dict):
        function = choice.get("function")
        name = function.get("name") if isinstance(function, dict) else choice.get("name")
        return {"mode": "ANY"} | ({"allowedFunctionNames": [name]} if name else {})
    modes = {"none": "NONE", "required": "ANY", "any": "ANY"}
    return {"mode": modes.get(str(choice), "AUTO")}


def _with_mixed_tools(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body; functions beside the service's own tools need a flag, and Gemini 3 or later."""
    tools = [tool for tool in body.get("tools") or () if isinstance(tool, dict)]
    declares = [bool({"functionDeclarations", "function_declarations"} & tool.keys()) for tool in tools]
    if not (any(declares) and not all(declares) and is_at_least_3(str(body.get("model") or ""))):
        return body
    config = {"includeServerSideToolInvocations": True, **body.get("toolConfig", {})}
    return {**body, "toolConfig": config}
