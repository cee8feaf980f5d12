"""Requests about turns: send, queue, stop, retry, edit, delete, clear, undo, versions, and the text of an item."""

from __future__ import annotations

from typing import Any

from ....chat.continuation import continuation
from ....chat.messages import metadata
from ....media.attachment import Attachment
from ....media.message_parts import text_of
from ..controller import PanelController
from ..filled_prompt import FilledPrompt, about_prompt, has_expressions
from ..items.arrange import ItemSource
from ..panel_state import QueuedPrompt, failed_turns
from .page_request import Request


async def send(panel: PanelController, request: Request) -> dict[str, Any] | None:
    """Send a prompt. One whose expressions must wait until a cell ends is queued."""
    prompt = _new_prompt(panel, request)
    if panel.cells.is_busy and not prompt.raw and has_expressions(prompt.text):
        await queue(panel, request)
        return {"queued": True}
    panel.check_free()
    panel.ask(await panel.fill_in(prompt.text, [*prompt.images.values()], prompt.raw))
    await _sent(panel, prompt)
    return None


async def queue(panel: PanelController, request: Request) -> None:
    """Queue a prompt; ``before`` is the id of the queued one that comes after it."""
    prompt = _new_prompt(panel, request)
    prompt.shown = [await panel.attached_image(id, image) for id, image in prompt.images.items()]
    panel.queue.add(prompt, request.fields.get("before"))
    await _sent(panel, prompt)


async def unqueue(panel: PanelController, request: Request) -> dict[str, Any]:
    """Take a prompt out of the queue; with ``edit``, its images go back to the draft. Return its text."""
    prompt = panel.queue.take(request.text("prompt", 100))
    if request.fields.get("edit"):
        panel.draft.images |= prompt.images
    panel.pages.send_settings(images=await panel.attached())
    return {"text": prompt.text}


async def resume(panel: PanelController, request: Request) -> None:
    """Send the queued prompts that a stop or a failure holds."""
    panel.queue.resume()


def _new_prompt(panel: PanelController, request: Request) -> QueuedPrompt:
    """Return the prompt that a page sends, with its images of the draft."""
    text, ids = request.text("text"), _image_ids(request)
    if any(id not in panel.draft.images for id in ids):
        raise ValueError("an image is no longer attached: attach it again")
    images = {id: panel.draft.images[id] for id in ids}
    _check_not_empty(text, [*images.values()])
    return QueuedPrompt(request.id, text, images, raw=request.fields.get("raw") is True)


async def _sent(panel: PanelController, prompt: QueuedPrompt) -> None:
    """Remove from the draft what is sent or queued."""
    for id in prompt.images:
        panel.draft.images.pop(id, None)
    panel.draft.text = ""
    panel.pages.send_settings(images=await panel.attached(), draft="")


async def stop(panel: PanelController, request: Request) -> None:
    """Stop all answers of the chat."""
    await panel.stop()


async def retry(panel: PanelController, request: Request) -> None:
    """Send the prompt of an item again."""
    panel.check_free()
    source = _source(panel, request)
    question, instead, images = _question(source)
    panel.draft.held = ""  # the reason why the queue waits is being repaired
    panel.ask(FilledPrompt(text_of(question), images, about_prompt(metadata(question))), instead)
    panel.watcher.drop_failed(source.failed)


async def edit(panel: PanelController, request: Request) -> None:
    """Replace the prompt of an item by another one."""
    panel.check_free()
    source = _source(panel, request)
    _, instead, _ = _question(source)
    text, ids = request.text("text"), _image_ids(request)
    images = [panel.draft.images.get(id) or panel.pages.images.attachment(id) for id in ids]
    _check_not_empty(text, images)
    if panel.cells.is_busy and has_expressions(text):
        raise ValueError("a cell is running: save again when it has ended, because {{ }} is evaluated between cells")
    prompt = await panel.fill_in(text, images, request.fields.get("raw") is True)
    panel.ask(prompt, instead)
    panel.watcher.drop_failed(source.failed)
    for id in ids:
        panel.draft.images.pop(id, None)
    panel.pages.send_settings(images=await panel.attached())


async def continue_answer(panel: PanelController, request: Request) -> None:
    """Ask the model to continue an answer that was cut off, if nothing follows it."""
    panel.check_free()
    messages = panel.chat.messages
    if not messages or _source(panel, request).message is not messages[-1]:
        raise ValueError("only the last answer can be continued: ask for more in words")
    panel.draft.held = ""
    panel.ask(FilledPrompt(continuation(messages)[0], []))


async def delete(panel: PanelController, request: Request) -> None:
    """Delete the turn of an item."""
    source = _source(panel, request)
    if panel.watcher.drop_failed(source.failed):
        panel.request_update(True)
        return
    _check_ended(source)
    if (message := source.question or source.message) is not None:
        panel.chat.delete(message)  # type: ignore[arg-type]


async def clear(panel: PanelController, request: Request) -> None:
    """Delete all turns."""
    await panel.stop()
    failed = [one for one in failed_turns(panel.chat) if one.is_shown]
    if panel.chat.messages:
        panel.chat.reset()
        for one in failed:
            one.removal = panel.chat.removals[-1][0]
    else:
        panel.watcher.drop_failed(*failed)


async def undo(panel: PanelController, request: Request) -> None:
    """Undo a removal."""
    id = request.text("removal", 40)
    removal = next((one for one, _ in panel.chat.removals if one.id == id), None)
    if removal is None:
        raise ValueError("this can no longer be undone")
    if removal.replaced is not None:
        _check_no_answer_grows(panel)
    panel.chat.undo(removal)


async def version(panel: PanelController, request: Request) -> None:
    """Show another version of an item, and what followed it."""
    source = _source(panel, request)
    _check_no_answer_grows(panel)
    if source.message is None:
        raise ValueError("this message has no other version")
    panel.chat.choose_version(source.message, request.count("number"))  # type: ignore[arg-type]


async def text(panel: PanelController, request: Request) -> dict[str, Any]:
    """Return the text of an item as Markdown, and as it was typed if it had expressions."""
    source = _source(panel, request)
    if source.message is not None:
        return {"text": text_of(source.message), **about_prompt(metadata(source.message))}
    return {"text": panel.watcher.content_of(source).text}


def _check_no_answer_grows(panel: PanelController) -> None:
    if panel.chat.live:
        raise ValueError("the answer is still being written: stop it, or wait until it ends")


def _source(panel: PanelController, request: Request) -> ItemSource:
    return panel.pages.items.find(request.fields.get("item")).source


def _image_ids(request: Request) -> list[str]:
    ids = request.fields.get("images") or []
    if not isinstance(ids, list) or not all(isinstance(id, str) for id in ids):
        raise ValueError("images must be a list of the ids of attached images")
    return ids


def _check_not_empty(text: str, images: list[Attachment]) -> None:
    if not text.strip() and not images:
        raise ValueError("the prompt is empty: write something first")


def _check_ended(source: ItemSource) -> None:
    if source.turn is not None and not source.turn.ended:
        raise ValueError("the answer is still being written: stop it first")


def _question(source: ItemSource) -> tuple[dict[str, Any], dict[str, Any] | None, list[Attachment]]:
    """Return the question of an item, the message that a new prompt replaces, and the attachments."""
    _check_ended(source)
    if source.turn is not None:
        request = source.turn.request
        return request.question, request.instead, request.media
    question = source.question or source.message
    if question is None or question.get("role") != "user":
        raise ValueError("there is no prompt before this message")
    images = [one for one in question.get("media", ()) if isinstance(one, Attachment)]
    return question, None if source.failed else question, images  # type: ignore[return-value]
