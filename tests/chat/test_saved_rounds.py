"""Steps in documents: saved and loaded, exported, restored, continued; and rounds in somebody else's file."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from png import png
from tool_answers import step, tool_answer

from nb_backend import Chat, to_data_uri
from nb_backend.chat.answer import Answer
from nb_backend.chat.continuation import continuation
from nb_backend.chat.json_answer import readings
from nb_backend.chat.messages import Message
from nb_backend.chat.reply import reply_message
from nb_backend.chat.saved_rounds import notebook_rounds, restored_text
from nb_backend.chat.wire import wire_messages
from nb_backend.media.attachment import Attachment

KEY = "sk-a-key-of-the-tests-0123456789"
PICTURE = Attachment(to_data_uri(png(20, 20)), "plot.png")
PARTS = (
    "# Let me look.",
    [step(seconds=0.25), step("run", arguments={"code": "1/0"}, approved=True, error="ZeroDivisionError", id="2")],
    "And now?",
    [step("plot", images=[PICTURE], id="3"), step(error="refused: no", approved=False, id="4")],
    "# It rains.",
)


def chat_of(answer: Answer) -> Chat:
    chat = Chat("m")
    chat.messages = [Message({"role": "user", "content": "Hi?"}), reply_message(answer, "owner")]
    return chat


def saved(chat: Chat, path) -> Chat:
    chat.save(path)
    return Chat.load(path)


def test_a_loaded_chat_has_the_same_steps_and_sends_the_same(tmp_path):
    answer = tool_answer(*PARTS)
    chat = chat_of(answer)
    loaded = saved(chat, tmp_path / "chat.json")
    again = Answer.of(loaded.messages[1])
    assert again.rounds == answer.rounds
    assert again.steps[2].images == [PICTURE]
    assert wire_messages(loaded.messages) == wire_messages(chat.messages)
    assert [message["role"] for message in wire_messages(loaded.messages)] == [
        "user", "assistant", "tool", "tool", "assistant", "tool", "tool", "assistant",
    ]  # fmt: skip


texts = st.text(max_size=12)
steps = st.builds(step, texts, texts, st.none() | texts, id=texts, approved=st.none() | st.booleans())


@given(st.lists(texts | st.lists(steps, min_size=1, max_size=3), max_size=6))
def test_rounds_come_back_from_json(parts):
    answer = tool_answer(*parts)
    message = json.loads(json.dumps(reply_message(answer, "owner")))
    assert Answer.of(message).rounds == answer.rounds


def of_others(tmp_path, change) -> Chat:
    """Return the chat of a file that somebody else has changed."""
    path = tmp_path / "chat.json"
    chat_of(tool_answer(*PARTS)).save(path)
    record = json.loads(path.read_text(encoding="utf-8"))
    change(record["messages"][1]["rounds"])
    path.write_text(json.dumps(record), encoding="utf-8")
    return Chat.load(path)


DAMAGE = {
    "a path as a picture": lambda rounds: rounds[1]["steps"][0].update(images=[["/etc/passwd", "x.png"]]),
    "a file address": lambda rounds: rounds[1]["steps"][0].update(images=[["file:///etc/passwd", "x.png"]]),
    "a number as the result": lambda rounds: rounds[0]["steps"][0].update(result=5),
    "arguments that are an object": lambda rounds: rounds[0]["steps"][0].update(arguments={"a": 1}),
    "steps that are a text": lambda rounds: rounds[0].update(steps="all of them"),
    "a round that is a text": lambda rounds: rounds.append("x"),
    "a text that is a list": lambda rounds: rounds[0].update(text=["x"]),
    "a state that is a text": lambda rounds: rounds[0].update(state="x"),
    "items of a state that are a text": lambda rounds: rounds[0].update(state={"owner": "o", "items": "x"}),
}


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE)
def test_damaged_rounds_of_a_file_are_refused(tmp_path, change):
    with pytest.raises(ValueError, match='"messages" is not a list of messages'):
        of_others(tmp_path, change)


def test_odd_values_of_a_file_are_left_out(tmp_path):
    def change(rounds):
        rounds[0]["steps"][0] |= {"approved": "yes", "seconds": 1e300, "arguments": "[" * 50_000, "status": "asking"}
        rounds[0]["text"] = "not the text"
        rounds[0]["thought"] = -5

    answer = Answer.of(of_others(tmp_path, change).messages[1])
    first = answer.steps[0]
    assert (first.approved, first.seconds, first.call.arguments, first.status) == (None, 0.0, {}, "done")
    assert answer.rounds[-1][0] == answer.text  # all of it comes last
    assert answer.to_markdown()


def test_a_markdown_export_shows_the_steps_and_keeps_the_order_of_headings(tmp_path):
    chat = chat_of(tool_answer(*PARTS))
    chat.export(tmp_path / "chat.md")
    text = (tmp_path / "chat.md").read_text(encoding="utf-8")
    places = [text.index(part) for part in ("### Let me look.", "ZeroDivisionError", "And now?", "refused", "### It")]
    assert places == sorted(places)
    assert text.count("<details style") == text.count("</details>") == 4
    assert "![image](data:image/png" in text
    assert chat._repr_markdown_().count("<details style") == 4


def test_a_terminal_shows_the_steps_of_a_chat_as_lines(capsys):
    from IPython.lib.pretty import pretty

    shown = pretty(chat_of(tool_answer(*PARTS)))
    assert "\n⚙ weather(city='Rome') → rain · 0.2 s\n" in shown
    assert "<details" not in shown
    assert pretty(tool_answer(*PARTS)).split("\n\n")[1] == "⚙ weather(city='Rome') → rain · 0.2 s"


def test_an_exported_notebook_has_the_steps_and_restores_them(tmp_path):
    from nb_backend.notebook.magic.restore import turns_in

    answer = tool_answer(*PARTS)
    chat_of(answer).export(tmp_path / "chat.ipynb")
    cells = json.loads((tmp_path / "chat.ipynb").read_text(encoding="utf-8"))["cells"]
    (output,) = cells[-1]["outputs"]
    assert "".join(output["data"]["text/markdown"]).count("<details style") == 4
    (messages,) = turns_in(cells).values()
    again = Answer.of(messages[1])
    assert again.text == answer.text
    assert [text for text, _ in again.rounds] == [text for text, _ in answer.rounds]
    assert [one.call for one in again.steps] == [one.call for one in answer.steps]
    assert again.steps[2].result == "rain\n[1 picture, not kept]"


def test_rounds_in_a_notebook_have_no_keys_pictures_or_states(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    answer = tool_answer("Look.", [step(result=KEY, images=[PICTURE], arguments={"key": KEY})], "Done.")
    answer.tool_rounds[0].state = [{"type": "reasoning"}]
    kept = json.dumps(notebook_rounds(answer.tool_rounds))
    assert KEY not in kept
    assert "base64" not in kept
    assert "reasoning" not in kept


@given(st.lists(texts | st.lists(steps, min_size=1, max_size=3), max_size=6))
def test_the_last_text_is_found_behind_the_lines_of_the_steps(parts):
    answer = tool_answer(*parts)
    *before, (last, _) = answer.rounds
    found = restored_text(answer.to_text(), answer.tool_rounds)
    expected = [*(text for text, _ in before), last.strip("\n")]
    assert found == "\n\n".join(filter(None, expected))


def test_lines_that_another_version_wrote_are_left_out_too():
    answer = tool_answer("Look.", [step()], "It rains.\n\nAll day.")
    shown = "Look.\n\n⚙ weather in other words\n\nIt rains.\n\nAll day."
    assert restored_text(shown, answer.tool_rounds) == answer.text


def test_an_answer_that_was_stopped_in_the_middle_of_tools_can_be_continued():
    answer = tool_answer([step()])
    with pytest.raises(ValueError, match="not cut off"):
        continuation(chat_of(answer).messages)
    answer.stopped = True
    assert continuation(chat_of(answer).messages)[0].startswith("Continue exactly")
    out_of_steps = tool_answer("Look.", [step()])
    out_of_steps.finish_reason = "max_steps"
    assert continuation(chat_of(out_of_steps).messages)[0].startswith("Continue exactly")


def test_json_is_what_the_model_says_after_the_tool_calls():
    answer = tool_answer("Let me look: {", [step()], '{"rain": true}')
    assert next(one.value for one in readings(answer) if not one.error) == {"rain": True}
