"""A panel in a real kernel: its turns, those of cells, and the requests about them."""

from __future__ import annotations

from html import unescape

import pytest
from panel_client import PanelPage, text_of
from serving import TOKEN
from wait import eventually
from wire_server import status

SHOW = "from nb_backend import ChatPanel, chats\npanel = ChatPanel('main')\npanel"
BROKEN = {"type": "error", "error": "Broken", "message": f"the engine broke with {TOKEN}"}


def open_page(kernel, code=SHOW, cell="p"):
    run = kernel.run(code, cell=cell)
    assert run.error is None, run.error
    return PanelPage(kernel, run).hello()


@pytest.fixture
def page(kernel, engine):
    code = "from nb_backend.notebook.panel.panel_state import *\ndrafts.clear(), last_code_settings.clear()"
    kernel.run(f"from nb_backend import chats\nfor name in list(chats): del chats[name]\n{code}")
    page = open_page(kernel)
    yield page
    page.leave()
    for message in page.raw:
        assert TOKEN not in str(message["content"])
    kernel.run("panel.close()")


def said(page):
    return [(item["role"], text_of(item)) for item in page.shown]


def check_same_as_new_page(page, kernel):
    """Check that the page shows the same as a new page."""
    other = PanelPage(kernel, page.panel).hello()
    assert other.shown == page.shown
    other.leave()
    assert page.gaps == other.gaps == 0


def pairs(*texts):
    return [("user" if at % 2 == 0 else "assistant", f"<p>{text}</p>") for at, text in enumerate(texts)]


def test_a_turn_streams_into_the_page_and_is_stopped(page, engine, kernel):
    engine.enqueue("Hel", 0.3, "lo **you**", 0.3, "!\n\nBye.", ...)
    page.ask("send", text="Hi?", images=[])
    page.until(lambda: page.shown and "Bye" in text_of(page.shown[-1]))
    assert said(page) == [("user", "<p>Hi?</p>"), ("assistant", "<p>Hello <strong>you</strong>!</p>\n<p>Bye.</p>")]
    assert page.shown[-1]["status"] == "streaming"
    assert page.refused("send", text="More?", images=[]).startswith("the answer is still being written")
    page.ask("stop")
    answer = page.last("stopped")
    assert answer["who"].startswith("scripted, on this machine")  # its status says already that it was stopped
    assert text_of(answer) == "<p>Hello <strong>you</strong>!</p>\n<p>Bye.</p>"
    assert answer["can"] == ["retry", "delete", "copy"]
    page.until(lambda: page.shown[-2]["can"] == ["edit", "delete", "copy"])
    assert kernel.run("chats['main'].messages[-1]['stopped']").result == "True"
    check_same_as_new_page(page, kernel)


def test_status_line_time_and_reasoning(page, engine, kernel):
    engine.enqueue({"type": "reasoning", "token": "Well, **so**"}, "Yes.")
    answer = page.turn("Really?")
    assert answer["who"].startswith("scripted, on this machine · 1 token")
    assert answer["reasoning"] == ["<p>Well, <strong>so</strong></p>"]
    question = page.items[page.order[0]]
    assert question["can"] == ["edit", "delete", "copy"]
    assert 1e12 < question["time"] <= answer["time"]
    assert page.ask("text", item=answer["id"])["text"] == "Yes."
    assert page.refused("text", item="i99") == "this message is no longer in the chat"
    check_same_as_new_page(page, kernel)


def test_reasoning_between_tags_and_sources(page, engine, kernel):
    source = {"url": "https://e.example/a", "title": "A page"}
    engine.enqueue("<think>Well, **so**</think>", "Yes.", {"type": "sources", "sources": [source]})
    answer = page.turn("Really?")
    assert answer["reasoning"] == ["<p>Well, <strong>so</strong></p>"]
    assert answer["content"][:2] == ["<p>Yes.</p>", "<p>Sources:</p>"]
    assert 'href="https://e.example/a"' in answer["content"][2]
    engine.enqueue("Well, so.\n</think>\n\n", "No.")
    answer = page.turn("Really not?")
    assert (answer["reasoning"], answer["content"]) == (["<p>Well, so.</p>"], ["<p>No.</p>"])
    assert "Well" not in str(engine.history[-1])
    check_same_as_new_page(page, kernel)


def test_cells_and_panels_share_their_turns(page, engine, kernel):
    page.turn("one")
    number = kernel.run("%%backend\ntwo", cell="c").reply["execution_count"]
    page.until(lambda: len(page.shown) == 4 and page.shown[-1]["status"] == "done")
    assert said(page) == pairs("one", "one", "two", "two")
    assert page.shown[2]["source"] == f"In [{number}]"
    assert page.shown[0]["source"] == ""
    page.turn("three")
    assert [one["content"] for one in engine.history[-1]["messages"]] == ["one", "one", "two", "two", "three"]
    kernel.run("%%backend\ntwo again", cell="c")
    page.until(lambda: said(page) == pairs("one", "one", "two again", "two again", "three", "three"))
    assert [one["content"] for one in engine.history[-1]["messages"]] == ["one", "one", "two again"]
    check_same_as_new_page(page, kernel)


def lines(page):
    return [item["who"] for item in page.shown if item["role"] == "removal"]


def watch_outputs(kernel):
    """Return a dict of the outputs by display id that is kept up to date while messages are read."""
    outputs, read = {}, kernel.client.get_iopub_msg

    def tapped(*args, **options):
        message = read(*args, **options)
        if message["msg_type"] in ("display_data", "update_display_data"):
            outputs[message["content"]["transient"].get("display_id")] = message["content"]
        return message

    kernel.client.get_iopub_msg = tapped  # until the page leaves
    return outputs


def test_a_cell_that_runs_again_marks_what_it_takes_back_until_that_is_put_back(page, engine, kernel):
    outputs = watch_outputs(kernel)

    def marked():
        return {id for id, one in outputs.items() if mark in unescape(str(one["data"]))}

    kernel.run("%%backend\na", cell="a")
    kernel.run("%%backend -f text\nb", cell="b")
    page.turn("one")
    engine.enqueue("\n\n".join(f"paragraph {number}" for number in range(1000)))  # has several outputs
    kernel.run("%%backend\nc", cell="c")
    before = {*outputs}
    again = kernel.run("%%backend\na again", cell="a")
    mark = f"taken back when cell [{again.reply['execution_count']}] ran again"
    page.until(lambda: len(marked()) == 2)
    assert marked() < before
    assert all(outputs[id]["metadata"]["nb_backend"]["taken_back"] is True for id in marked())
    page.until(lambda: lines(page) == [f"2 turns {mark}"])
    folded = [False, False, True, True, True, True, True, False, False]
    page.until(lambda: [item["fold"] != "" for item in page.shown] == folded)
    assert page.until(lambda: page.state["removal"])["text"] == f"2 turns {mark}"
    check_same_as_new_page(page, kernel)

    before = {*outputs}
    kernel.run("%%backend\nb again", cell="b")
    assert not marked() - before
    page.until(lambda: lines(page) == [f"1 turn {mark}"])
    kernel.run("chats['main'].undo()")
    page.until(lambda: lines(page) == [] and page.state["removal"] is None and not marked())
    texts = "[m['content'] for m in chats['main'].messages if m['role'] == 'user']"
    assert kernel.run(texts).result == "['a again', 'b again', 'one', 'c']"
    assert "can no longer be undone" in page.refused("undo", removal="x")
    check_same_as_new_page(page, kernel)


def test_versions_of_a_question_and_of_an_answer(page, engine, kernel):
    page.turn("one")
    page.turn("two")
    engine.enqueue("better")
    page.ask("retry", item=page.order[1])
    page.until(lambda: said(page) == pairs("one", "better") and page.shown[-1]["version"] == [2, 2])
    page.ask("edit", item=page.order[0], text="1", images=[])
    page.until(lambda: said(page) == pairs("1", "1") and page.shown[0]["version"] == [2, 2])
    assert page.shown[1]["version"] is None
    page.ask("version", item=page.order[0], number=1)
    page.until(lambda: said(page) == pairs("one", "better") and page.shown[1]["version"] == [2, 2])
    page.ask("version", item=page.order[1], number=1)
    page.until(lambda: said(page) == pairs("one", "one", "two", "two"))
    check_same_as_new_page(page, kernel)
    assert page.refused("version", item=page.order[1], number=3) == "this message has no version 3"
    engine.enqueue("slow", ...)
    page.ask("retry", item=page.order[1])
    page.until(lambda: page.shown[-1]["status"] == "streaming")
    assert page.refused("version", item=page.order[0], number=2).startswith("the answer is still being written")
    page.ask("stop")
    page.until(lambda: page.shown[-1]["status"] == "stopped" and page.shown[-1]["version"] == [3, 3])
    page.ask("undo", removal=page.until(lambda: page.state["removal"])["id"])
    page.until(lambda: said(page) == pairs("one", "one", "two", "two"))


def test_what_was_deleted_comes_back_with_undo(page, engine, kernel):
    page.turn("one")
    engine.enqueue("Half", BROKEN)
    failed = page.turn("two", "failed")
    shown = said(page)
    for request in ({"item": failed["id"]}, {}):
        page.ask("delete" if request else "clear", **request)
        page.until(lambda: said(page) != shown and page.state["removal"])
        page.ask("undo", removal=page.state["removal"]["id"])
        page.until(lambda: said(page) == shown)
    check_same_as_new_page(page, kernel)


def test_a_failure_stays_until_it_is_retried(page, engine, kernel):
    page.turn("one")
    engine.enqueue("Half", BROKEN)
    answer = page.turn("two", "failed")
    assert answer["error"] == "the engine broke with ***"
    assert answer["can"] == ["retry", "delete", "copy"]
    assert text_of(answer) == "<p>Half</p>"
    assert kernel.run("len(chats['main'].messages)").result == "2"
    page.turn("three")
    assert said(page) == pairs("one", "one", "two", "Half", "three", "three")
    check_same_as_new_page(page, kernel)
    page.ask("retry", item=answer["id"])
    page.until(lambda: said(page) == pairs("one", "one", "three", "three", "two", "two"))
    page.last()
    check_same_as_new_page(page, kernel)


def test_an_incomplete_answer_is_marked_in_the_page(page, engine, kernel):
    engine.enqueue("Cut", {"type": "finish", "finish": {"reason": "length"}})
    answer = page.turn("one", "incomplete")
    assert (text_of(answer), answer["error"]) == ("<p>Cut</p>", "Incomplete: cut off at the token limit.")
    assert answer["can"] == ["retry", "delete", "copy", "continue"]
    assert "on this machine" in answer["who"]
    assert "cut off" not in answer["who"]  # it is said once
    check_same_as_new_page(page, kernel)
    engine.enqueue(" and whole")
    page.ask("continue", item=answer["id"])
    whole = page.last("done")
    assert text_of(whole) == "<p>and whole</p>"
    assert engine.history[-1]["messages"][-1]["content"].startswith("Continue exactly where you stopped.")
    assert page.refused("continue", item=answer["id"]).startswith("only the last answer can be continued")
    assert page.refused("continue", item=whole["id"]) == "the last answer was not cut off: ask for more in words"


def test_a_failure_can_be_deleted_and_an_unreachable_server_is_one_line(page, engine, kernel):
    kernel.run("from nb_backend import settings\nchats['main'].url = 'http://127.0.0.1:9'")
    answer = page.turn("one", "failed")
    assert "127.0.0.1:9" in answer["error"]
    assert answer["who"] == ""
    page.ask("delete", item=answer["id"])
    page.until(lambda: page.shown == [])
    assert page.state["settings"]["server"] == "127.0.0.1:9"


def test_a_prompt_stopped_before_any_text_is_not_lost(page, engine, kernel):
    engine.enqueue(...)
    page.ask("send", text="a long question", images=[])
    page.last("waiting")
    page.until(lambda: engine.history)
    page.ask("stop")
    assert page.last("stopped")["can"] == ["retry", "delete"]
    page.ask("retry", item=page.order[0])
    page.until(lambda: said(page) == pairs("a long question", "a long question"))


def test_retry_edit_delete_clear(page, engine, kernel):
    for text in ("one", "two", "three"):
        page.turn(text)
    engine.enqueue("better")
    page.ask("retry", item=page.order[3])
    page.until(lambda: said(page) == pairs("one", "one", "two", "better"))
    page.last()
    page.ask("edit", item=page.order[2], text="2", images=[])
    page.until(lambda: said(page) == pairs("one", "one", "2", "2"))
    page.last()
    check_same_as_new_page(page, kernel)
    page.ask("delete", item=page.order[1])
    page.until(lambda: said(page) == pairs("2", "2"))
    assert kernel.run("len(chats['main'].messages)").result == "2"
    assert page.refused("edit", item=page.order[0], text=" ", images=[]).startswith("the prompt is empty")
    page.ask("clear")
    page.until(lambda: page.shown == [])
    assert kernel.run("chats['main'].messages").result == "[]"


def test_a_retry_that_fails_removes_nothing(page, engine, kernel):
    page.turn("one")
    engine.enqueue(BROKEN)
    page.ask("retry", item=page.order[0])
    page.until(lambda: page.shown[-1]["status"] == "failed")
    assert said(page) == [*pairs("one", "one", "one"), ("assistant", "")]
    page.ask("retry", item=page.order[-1])
    page.until(lambda: said(page) == pairs("one", "one") and page.shown[-1]["status"] == "done")
    assert kernel.run("len(chats['main'].messages)").result == "2"


def test_settings_apply_to_every_panel_and_to_cells(page, engine, kernel):
    other = open_page(kernel, "second = ChatPanel('main')\nsecond", cell="q")
    page.ask("set", model="small", system="Be brief", temperature=0.5, max_tokens=7, effort="low")
    wanted = {"model": "small", "system": "Be brief", "temperature": 0.5, "max_tokens": 7, "effort": "low"}
    for one in (page, other):
        one.until(lambda one=one: one.state["settings"].items() >= wanted.items())
    kernel.run("%%backend\nx", cell="c")
    body = engine.history[-1]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("small", 0.5, 7)
    assert body["reasoning_effort"] == "low"
    assert body["messages"][0] == {"role": "system", "content": "Be brief"}
    page.ask("set", model=None, system=None, temperature=None, max_tokens=None, effort="")
    other.until(lambda: other.state["settings"]["model"] == "" and other.state["settings"]["temperature"] is None)
    assert "number" in page.refused("set", temperature="hot", model="never")
    assert "whole number" in page.refused("set", max_tokens=0)
    assert "none, low, medium or high" in page.refused("set", effort="extreme")
    assert kernel.run("chats['main'].model, chats['main'].params").result == "(None, {})"
    other.until(lambda: said(other) == said(page) != [])
    other.leave()
    kernel.run("second.close()")


def test_new_and_switch_keep_drafts_apart(page, engine, kernel):
    page.turn("one")
    page.ask("set", model="m")
    page.ask("draft", text="half a")
    name = page.ask("new")["chat"]
    page.until(lambda: page.state["chat"] == name and page.shown == [])
    assert page.state["draft"] == ""
    assert page.state["settings"]["model"] == "m"
    page.turn("two")
    page.ask("switch", chat="main")
    page.until(lambda: page.state["chat"] == "main" and said(page) == pairs("one", "one"))
    assert page.state["draft"] == "half a"
    assert page.refused("switch", chat="none") == "there is no chat named 'none'"
    check_same_as_new_page(page, kernel)


def test_chats_have_titles_and_are_found_renamed_and_deleted(page, engine, kernel):
    assert page.state["title"] == "main"
    engine.enqueue("Zebras", ..., "never")
    page.ask("send", text="Which animals have stripes?\n\n| a | table |", images=[])
    page.until(lambda: page.state["title"] == "Which animals have stripes?")  # while the answer is written
    page.last("streaming")
    page.ask("stop")
    page.last("stopped")
    second = page.ask("new")["chat"]
    page.until(lambda: page.state["title"] == second)
    engine.enqueue(f"It is  <b>not</b> a\nZEBRA, but a horse with the key {TOKEN}")
    page.turn("And this one?")
    page.ask("rename", chat=second, title="  Horses  ")
    page.until(lambda: page.state["title"] == "Horses")
    assert kernel.run(f"chats[{second!r}].title").result == "'Horses'"

    def listed(query=""):
        return [(one["name"], one["title"], one["found"]) for one in page.ask("chats", query=query)["chats"]]

    main = ("main", "Which animals have stripes?", None)
    assert listed() == [(second, "Horses", None), main]
    assert listed("STRIPES") == [main]
    assert listed("a zebra") == [(second, "Horses", ["It is <b>not</b> ", "a ZEBRA", ", but a horse with the key ***"])]
    assert listed(TOKEN) == listed("no such [words") == []
    assert "at most 200" in page.refused("chats", query="x" * 201)
    page.ask("delete_chat", chat=second)
    page.until(lambda: page.state["chat"] == "main" and page.shown)
    assert kernel.run("[*chats]").result == "['main']"
    assert page.ask("undelete_chat")["chat"] == second
    page.until(lambda: page.state["title"] == "Horses" and page.shown)
    assert page.refused("undelete_chat") == "no chat was deleted in this panel"
    for name in (second, "main"):
        page.ask("delete_chat", chat=name)
    page.until(lambda: page.state["title"] == "main" and page.shown == [])
    assert page.refused("delete_chat", chat="main").startswith("'main' is not in chats")


def test_a_new_chat_under_the_same_name_is_shown(page, engine, kernel):
    page.turn("one")
    kernel.run("from nb_backend import Chat\nother = Chat()\nother('two')\nchats['main'] = other")
    page.until(lambda: said(page) == pairs("two", "two"))
    kernel.run("del chats['main']")
    page.until(lambda: page.shown == [])
    page.turn("three")
    assert kernel.run("len(chats['main'].messages)").result == "2"
    kernel.run(
        "chats['main'].messages.append({'role': 'system', 'content': '\\ud800 x'}); chats['main'].take_back('no')"
    )
    page.until(lambda: said(page) == [*pairs("three", "three"), ("system", "<p>� x</p>")])


def test_models_export_and_invalid_requests(page, engine, kernel, tmp_path):
    models = page.ask("models", refresh=False)["models"]
    assert [(one["name"], one["vision"]) for one in models] == [("scripted", None)]
    page.turn("one")
    kernel.run(f"%cd -q {tmp_path}")
    assert [page.ask("export", format="md")["path"] for _ in range(2)] == ["main.md", "main_2.md"]
    assert page.ask("export", format="ipynb")["path"] == "main.ipynb"
    assert "# Conversation" in (tmp_path / "main_2.md").read_text()
    assert "md or ipynb" in page.refused("export", format="exe")
    assert "does not know the request 'dance'" in page.refused("dance")
    assert page.refused("send", text=3, images=[]).startswith("text must be")
    assert page.refused("send", text="x", images=["no"]) == "an image is no longer attached: attach it again"
    assert page.refused("set", enter_sends="yes") == "enter_sends must be true or false"
    for broken in ({}, {"id": 3, "client": page.client}, {"type": "hello"}):
        data = {"comm_id": page.panel, "data": {"method": "custom", "content": broken}}
        kernel.client.shell_channel.send(kernel.client.session.msg("comm_msg", data))
    page.hello()


def test_a_server_that_does_not_list_its_models_is_not_an_error(page, engine, kernel, wire_server):
    wire_server.answer(status("404 Not Found"))
    wire_server.answer(status("500 Internal Server Error"))
    kernel.run(f"chats['main'].url = '{wire_server.url}/v1'")
    assert page.ask("models", refresh=True)["models"] == []
    assert "500" in page.refused("models", refresh=True)


def test_a_page_that_missed_messages_gets_the_whole_state(page, engine, kernel):
    page.leave()
    kernel.run("%%backend\nunheard", cell="c")
    page.__init__(kernel, page.panel)
    page.hello()
    assert said(page) == pairs("unheard", "unheard")
    page.turn("next")
    check_same_as_new_page(page, kernel)


def test_two_panels_ask_at_once_and_a_new_page_joins(page, engine, kernel):
    other = open_page(kernel, "second = ChatPanel('main')\nsecond", cell="q")
    engine.enqueue("A", ...)
    engine.enqueue("B", ...)
    page.ask("send", text="a", images=[])
    page.until(lambda: len(engine.history) == 1)
    other.ask("send", text="b", images=[])
    for one in (page, other):
        one.until(lambda one=one: {"<p>A</p>", "<p>B</p>"} <= {text_of(item) for item in one.shown})
    third = PanelPage(kernel, page.panel).hello()
    assert third.shown == page.shown
    other.ask("stop")
    for one in (page, other, third):
        one.until(lambda one=one: [item["status"] for item in one.shown].count("stopped") == 2)
    third.leave()
    other.leave()
    kernel.run("second.close()")
    eventually(lambda: engine.stopped == 2)


def test_a_misspelt_argument_and_a_closed_panel(page, kernel):
    assert kernel.run("ChatPanel(modell='x')").error[0] == "TypeError"
    assert kernel.run("ChatPanel(3)").error[0] == "TypeError"
    assert kernel.run("ChatPanel('no/name')").error[0] == "ValueError"
    kernel.run("panel.close(); panel.close()")
    page.until(lambda: page.closed)
    assert kernel.run("panel").error is None
    assert kernel.run("panel.chat is chats['main']").result == "True"
