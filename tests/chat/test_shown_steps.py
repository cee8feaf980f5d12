"""The steps of an answer as people read them: at their place, folded, and harmless whatever is in them."""

from __future__ import annotations

import re

import markdown_oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_oracle import FRAGMENTS, HOSTILE, acting_in
from png import png
from tool_answers import step, tool_answer, tool_events

from nb_backend import to_data_uri
from nb_backend.chat.answer import Answer
from nb_backend.chat.shown_steps import describe_call, question_text, step_line, step_markdown
from nb_backend.chat.tool_rounds import BREAK
from nb_backend.events import RawResponse
from nb_backend.media.attachment import Attachment
from nb_backend.providers.tool_calls import ToolCall
from nb_backend.tools.asking import arguments_block
from nb_backend.tools.step import STOPPED, ToolStep
from nb_backend.tools.tool import Tool

FOLD = '<details style="margin-bottom:0.4em">'
KEY = "sk-a-key-of-the-tests-0123456789"
texts = st.lists(st.sampled_from(FRAGMENTS), max_size=8).map("".join) | st.text(max_size=60)


@pytest.fixture(autouse=True)
def folds(monkeypatch):
    monkeypatch.setattr(markdown_oracle, "TAGS", markdown_oracle.TAGS | {"details", "summary", "small", "div"})
    styled = {("details", "style"), ("div", "style")}
    monkeypatch.setattr(markdown_oracle, "ATTRIBUTES", markdown_oracle.ATTRIBUTES | styled)
    monkeypatch.setitem(markdown_oracle.VALUES, "style", r"margin(-bottom:0\.4em|:0\.4em 0)")


def hostile_step(text: str, **about) -> ToolStep:
    return ToolStep(ToolCall(text, text, {text: text, "code": text}), text, **about)


@pytest.mark.parametrize("status", ["asking", "running", "done"])
def test_nothing_of_a_hostile_call_or_result_acts(status):
    for text in HOSTILE:
        assert acting_in(step_markdown(hostile_step(text, status=status))) == []
    for text in HOSTILE:
        assert acting_in(step_markdown(hostile_step("", error=text))) == []
        run = ToolStep(ToolCall("", "run", {"code": text}, ""), text, status=status)
        unparsed = ToolStep(ToolCall("", "f", {}, text or "x"), text, status=status)
        assert [*acting_in(step_markdown(run)), *acting_in(step_markdown(unparsed))] == []


@given(texts, texts, texts, st.sampled_from(["asking", "running", "done"]))
def test_no_text_ends_the_block_of_a_step(name, code, result, status):
    one = ToolStep(ToolCall("", name, {"code": code}), result, status=status)
    shown = step_markdown(one)
    assert acting_in(shown) == []
    assert len(re.findall("<details[^>]*>|</details>", markdown_oracle.raw.render(shown))) == (
        0 if status == "asking" else 2
    )
    for line in (step_line(one), question_text(one)):
        assert not markdown_oracle.INVISIBLE.search(line.replace("\n", ""))
    assert "\n" not in step_line(one)


def test_a_step_says_what_was_called_and_what_came_of_it():
    assert step_line(step(seconds=0.21)) == "⚙ weather(city='Rome') → rain · 0.2 s"
    assert step_line(step(error="refused: too slow", approved=False)) == "⚙ weather(city='Rome') ✗ refused: too slow"
    assert step_line(step(status="running")) == "⚙ weather(city='Rome') · running …"
    assert step_line(step(result="")) == "⚙ weather(city='Rome') → nothing"
    shown = step_markdown(step(seconds=0.21, approved=True))
    assert shown.startswith(f"{FOLD}<summary>⚙ <code>weather")
    for part in ('```json\n{"city": "Rome"}\n```', "```\nrain\n```", "consent: yes<"):
        assert part in shown
    assert shown.count("0.2 s") == 1
    assert "consent: no<" in step_markdown(step(error="refused", approved=False))
    assert "not asked for · under 0.1 s<" in step_markdown(step(seconds=0.01))
    assert "consent" not in step_markdown(step(error=STOPPED))  # the user may have stopped the question


def test_what_consent_is_asked_for_is_whole_and_not_folded():
    code = "x = 1\u202e\n" * 5_000 + "print('the end')"
    one = ToolStep(ToolCall("", "run", {"code": code}), status="asking")
    shown = step_markdown(one)
    assert "<details" not in shown
    assert "asks for your consent" in shown
    assert "```python\nx = 1[U+202E]\n" in shown
    assert shown.count("[U+202E]") == question_text(one).count("[U+202E]") == 5_000
    assert "print('the end')" in shown


@pytest.mark.parametrize(("name", "scope"), [("run", "cell"), ("files.delete", "session")])
@given(texts)
def test_what_the_asker_asks_about_is_on_the_page(name, scope, text):
    call = ToolCall("", name, {"code": text})
    asked = arguments_block(call, Tool(name, "", {}, print, scope=scope))
    assert asked in step_markdown(ToolStep(call, status="asking"))


def test_a_long_result_is_cut_and_says_so():
    shown = step_markdown(step(result="word " * 4_000 + "THE END"))
    assert len(shown) < 6_000
    assert "characters left out" in shown
    assert "THE END" in shown
    assert len(step_markdown(step(arguments={"text": "word " * 200_000}))) < 15_000


def test_a_picture_is_shown_as_a_thumbnail_and_an_address_is_not_fetched():
    picture = Attachment(to_data_uri(png(20, 20)), "plot.png")
    elsewhere = Attachment("https://evil.test/x.png", "x.png")
    one = step(result="", images=[picture, elsewhere])
    assert step_markdown(one).count("![image](data:image/png;base64,") == 1
    assert acting_in(step_markdown(one)) == []
    assert "2 pictures" in step_line(one)


def test_no_key_is_shown(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    text = f"key {KEY} " + "x" * 100
    for one in (hostile_step(text), hostile_step(text, status="asking"), hostile_step("", error=text)):
        for shown in (step_markdown(one), step_line(one), question_text(one)):
            assert KEY[:12] not in shown
            assert KEY[-12:] not in shown


def test_a_call_is_short_in_one_line():
    call = ToolCall("", "f" * 200, {name: ["deep", {"er": list(range(1000))}] for name in "abcdefgh"})
    assert len(describe_call(call)) < 150
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    assert "nested too deeply" in describe_call(ToolCall("", "f", {"x": deep}))


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("x = 1", "run(x = 1)"),
        ("\n# approved by the user\nx = 1\ny", "run(x = 1 …)"),
        ("# only a comment\n# and more", "run(# only a comment …)"),
        ("", "run()"),
        (f"x = '{'long ' * 100}'\ny", f"run(x = 'long {'long ' * 9}long…)"),
    ],
)
def test_code_is_described_by_its_first_line(code, shown):
    assert describe_call(ToolCall("", "run", {"code": code})) == shown


def test_a_long_call_and_a_long_result_are_cut_at_their_end():
    names = ToolCall("", "look", {"names": [f"variable_{number}" for number in range(20)]})
    assert describe_call(names) == 'look(names=["variable_0", "variable_1", "variable_…)'
    line = step_line(step(result="cities: pandas.DataFrame,\n" + "3 rows × 2 columns, " * 10, seconds=2))
    assert line.startswith("⚙ weather(city='Rome') → cities: pandas.DataFrame, 3 rows × 2 columns, ")
    assert line.endswith("3 rows × 2 co… · 2.0 s")


def test_a_picture_is_named_in_one_line_as_it_is_after_the_notebook_was_saved():
    picture = Attachment(to_data_uri(png(20, 20)), "image.png")
    line = step_line(step(result="Out: 5\n[image: image.png]", images=[picture]))
    assert line == "⚙ weather(city='Rome') → Out: 5 [picture]"
    assert step_line(step(result="Out: 5\n[image: image.png]\n[1 picture, not kept]")) == line


@pytest.mark.parametrize(
    ("result", "language"), [('{"a": [1]}', "json"), ("[image: image.png]", ""), ("[]", "json"), ("{x}", "")]
)
def test_only_json_is_marked_as_json(result, language):
    assert f"```{language}\n{result}\n```" in step_markdown(step(result=result))


# --- an answer with steps


def test_steps_are_at_their_place_in_the_answer():
    answer = tool_answer("Let me look.", [step()], "Rain. And now?", [step(result="sun"), step("f")], "**Sun.**")
    places = [answer.to_markdown().index(part) for part in ("Let me", "rain", "Rain. And", "sun", "**Sun.**")]
    assert places == sorted(places)
    assert answer.to_text().split("\n\n") == [
        "Let me look.",
        "⚙ weather(city='Rome') → rain",
        "Rain. And now?",
        "⚙ weather(city='Rome') → sun",
        "⚙ f(city='Rome') → rain",
        "**Sun.**",
    ]
    assert answer.text == "Let me look.\n\nRain. And now?\n\n**Sun.**"


def test_a_definition_in_a_later_round_resolves_a_link_before_the_step():
    answer = tool_answer("See [here][a].", [step()], "Text\n\n[a]: https://example.org/x\n")
    assert "[here](https://example.org/x)" in answer.to_markdown()


def test_a_fence_that_is_open_before_a_step_does_not_hide_it():
    assert acting_in(tool_answer("```python\nx = 1", [step()], "after").to_markdown()) == []


@given(st.lists(texts | st.lists(texts.map(hostile_step), min_size=1, max_size=3), max_size=5), st.integers(0, 30))
def test_at_each_event_the_rounds_are_the_text_and_the_steps(parts, count):
    answer = Answer()
    for event in [*tool_events(*parts)][:count]:
        answer.add(event)
    rounds = answer.rounds
    assert [one for _, steps in rounds for one in steps] == answer.steps
    position = 0
    for text, _ in rounds:
        position = answer.text.index(text, position) + len(text)
    assert answer.text[position:] in ("", BREAK)
    assert acting_in(answer.to_markdown(live=True, growing=True)) == []


def test_the_status_line_counts_steps():
    answer = tool_answer("Look.", [step(), step(error="refused", approved=False), step(error="it broke")], "Done.")
    assert answer.summary.startswith("3 tool calls, 1 refused, 1 failed · ")
    stopped = Answer()
    for event in [*tool_events("Look.", [step(), step(status="running")])]:
        stopped.add(event)
    stopped.end(stopped=True)
    assert stopped.summary.startswith("stopped · 2 tool calls, 1 not finished · ")
    assert tool_answer("Look.", [step()]).summary.startswith("no text after the tool calls · 1 tool call · ")
    assert tool_answer([step()], "Text.").summary.startswith("1 tool call · ")
    assert "empty answer" in tool_answer().summary
    left = tool_answer([step()], RawResponse(type="tool_calls", tool_calls=[{"id": "b", "name": "clock"}]))
    assert left.summary.startswith("1 tool call · asks for a tool (clock)")
