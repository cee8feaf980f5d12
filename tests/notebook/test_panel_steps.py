"""Steps in a panel: each at its place, live and in the history, harmless whatever a model or a tool says."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nb_backend.chat.answer import Answer
from nb_backend.chat.messages import Message
from nb_backend.chat.reply import reply_message
from nb_backend.chat.tool_rounds import step_event
from nb_backend.events import RawResponse
from nb_backend.media.attachment import Attachment
from nb_backend.notebook.panel.items.arrange import ItemSource
from nb_backend.notebook.panel.items.content import answer_content, message_content
from nb_backend.notebook.panel.items.image_store import ImageStore
from nb_backend.notebook.panel.items.items import RenderedItem
from nb_backend.notebook.panel.items.steps import MAX_ARGUMENTS, MAX_RESULT, question_html, step_html
from nb_backend.notebook.panel.questions import Questions
from nb_backend.providers.tool_calls import ToolCall
from nb_backend.tools.consent import Consent, Consents
from nb_backend.tools.step import ToolStep
from nb_backend.tools.tool import Tool

PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFklEQVR4nGP8z8DAwMDAxMDAwMDAAAANHQEDasKb6QAAAABJ"
    "RU5ErkJggg=="
)
RUN = ToolCall("c1", "run", {"code": "print(1)"})


def turn() -> Any:
    question = Message({"role": "user", "content": "Why?"}, {"time": 1e9})
    request = SimpleNamespace(question=question, media=[], cell_run=None, instead=None, lacks_vision=False)
    given = {"ended": False, "kept": False, "error": None, "progress": None, "seconds_silent": 0.0}
    return SimpleNamespace(request=request, answer=Answer(), **given)


def said(text: str) -> RawResponse:
    return RawResponse(type="content", content=text)


def rendered(content: Any) -> dict[str, Any]:
    item = RenderedItem("i1", ItemSource(("a", 1)), ImageStore())
    item.render(content)
    return item.to_dict()


def test_steps_stand_between_the_texts_while_they_run_and_in_the_history():
    asked = turn()
    answer = asked.answer
    answer.add(said("First *look*."))
    answer.add(step_event(0, 0, ToolStep(RUN, status="running")))
    live = rendered(answer_content(asked, str, str))
    assert live["status"] == "streaming"
    assert live["progress"] == "Running run"
    assert live["content"][0] == "<p>First <em>look</em>.</p>"
    assert "running …" in live["content"][1]
    answer.add(step_event(0, 0, ToolStep(RUN, "68", approved=True, seconds=1.25, images=[Attachment(PNG, "p.png")])))
    answer.add(said("\n\n"))
    answer.add(said("So it is 68."))
    first, step, last = rendered(answer_content(asked, str, str))["content"]
    assert (first, last) == ("<p>First <em>look</em>.</p>", "<p>So it is 68.</p>")
    assert "allowed · 1.2 s" in step
    assert "data-picture=" in step
    answer.end()
    kept = message_content(reply_message(answer, ""), str, str)
    assert rendered(kept)["content"] == [first, step, last]
    assert kept.ask is None


def test_a_step_that_asks_in_a_cell_says_so():
    asked = turn()
    asked.answer.add(step_event(0, 0, ToolStep(RUN, status="asking")))
    assert "asked in another panel" in rendered(answer_content(asked, str, str))["content"][0]
    asked.request.cell_run = SimpleNamespace(cell="c")
    assert "asked in the cell" in rendered(answer_content(asked, str, str))["content"][0]


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_what_a_tool_says_is_text(name: str, value: str, result: str):
    hostile = "</code></pre><button>Allow</button><form><script>alert(1)</script><img src=x onerror=y>"
    call = ToolCall("c", name + hostile, {value + hostile: hostile, "code": hostile + value})
    for step in (ToolStep(call, hostile + result), ToolStep(call, error=hostile + result)):
        html = step_html(step, str, None) + "".join(question_html(call, str))
        for tag in ("<script", "<button", "<form", "<img", "<input", "onerror=y>" + "<"):
            assert tag not in html.lower()
        assert "\u202e" not in html


def test_invisible_characters_are_shown_and_keys_are_not():
    call = ToolCall("c", "run", {"code": "x = 1 \u202e\x1b[2K # secret-key"})
    (html,) = question_html(call, lambda text: text.replace("secret-key", "***"))
    assert "[U+202E]" in html
    assert "[U+001B]" in html
    assert "secret-key" not in html


def test_a_step_is_cut_and_the_question_shows_all():
    call = ToolCall("c", "run", {"code": "a" * 1_000_000 + "z"})
    html = step_html(ToolStep(call, "r" * 20_000), str, None)
    assert len(html) < MAX_ARGUMENTS + MAX_RESULT + 2000
    assert "16,000 more characters" in html
    assert "aaz" in question_html(call, str)[0]


async def opened(questions: Questions, asked: Any) -> asyncio.Task[Consent | None]:
    """Ask, and return the task that waits for the answer."""
    asked.request.consents = Consents()
    questions.ask_about(asked)
    task = asyncio.ensure_future(asked.request.consents.asker(RUN, Tool("run", "", {}, print, approve=True)))
    await asyncio.sleep(0)
    return task


async def test_only_an_open_question_of_this_panel_is_answered_and_only_once():
    changed: list[Any] = []
    here, elsewhere = Questions(changed.append), Questions(changed.append)
    asked = turn_object()
    task = await opened(here, asked)
    is_here, question = here.about(asked)
    assert is_here
    assert question is not None
    assert changed == [asked]
    assert question.fields(str)["always"] == "Always allow run until the kernel ends"
    for panel, id, step in ((elsewhere, question.id, "c1"), (here, "c1", "c1"), (here, question.id, "c2")):
        with pytest.raises(ValueError, match="no longer open"):
            panel.answer(id, step, Consent(True))
    here.answer(question.id, "c1", Consent(False, "not now"))
    with pytest.raises(ValueError, match="no longer open"):
        here.answer(question.id, "c1", Consent(True))
    assert await task == Consent(False, "not now")
    assert here.about(asked) == (True, None)


async def test_a_panel_that_closes_refuses_or_leaves_the_question_to_its_heir():
    first, heir = Questions(lambda turn: None), Questions(lambda turn: None)
    asked = turn_object()
    task = await opened(first, asked)
    first.close(heir)
    assert first.about(asked) == (False, None)
    question = heir.about(asked)[1]
    assert question is not None
    heir.answer(question.id, "c1", Consent(True))
    assert await task == Consent(True)
    assert heir.about(asked) == (True, None)
    again = asyncio.ensure_future(asked.request.consents.asker(RUN, Tool("run", "", {}, print, approve=True)))
    await asyncio.sleep(0)
    assert heir.about(asked)[1] is not None
    heir.close(None)
    assert await again is None
    assert await asked.request.consents.asker(RUN, Tool("run", "", {}, print, approve=True)) is None


class turn_object:
    """A turn to which weak references can be made."""

    def __init__(self) -> None:
        self.request = SimpleNamespace(consents=Consents())
