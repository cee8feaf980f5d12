"""The line under an answer that grows says what the service does until the answer goes on."""

from __future__ import annotations

from nb_backend import Answer, RawResponse
from nb_backend.notebook.cell.section import AnswerSection

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
