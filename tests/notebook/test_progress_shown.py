"""The line under an answer that grows says what the service does until the answer goes on."""

from __future__ import annotations

from serving import TOKEN

from nb_backend import Answer, Chat, RawResponse
from nb_backend.notebook.cell.section import AnswerSection
from nb_backend.notebook.panel.items.content import answer_content

SEARCHING = RawResponse(type="progress", progress={"label": "searching the web"})


def test_between_two_texts():
    section, answer = AnswerSection(), Answer()
    shown = []
    for event in [
        SEARCHING,
        RawResponse(type="reasoning", token="Hm"),
        SEARCHING,
        RawResponse(type="content", content="Hi"),
    ]:
        answer.add(event)
        assert section.add_event(event, answer)
        shown.append(section.markdown(live=True))
    assert [one.endswith("*searching the web …*") for one in shown] == [True, False, True, False]
    assert "Hm" in shown[2]


async def test_between_two_texts_in_the_panel(server, engine):
    searching = {"type": "progress", "progress": {"label": "searching the web"}}
    engine.enqueue(searching, "I look it up.", searching, {"type": "sources", "sources": []}, "Hi")
    lines: list[str] = []
    stream = Chat("m", url=server.url, api_key=TOKEN).stream("Why?")
    async for _ in stream:
        line = answer_content(stream.turn, str, str).progress
        lines += [line] if line not in lines[-1:] else []
    assert lines == ["", "searching the web …", "", "searching the web …", ""]
