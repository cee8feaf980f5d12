"""The queue of a panel in a real kernel: its order, what holds it, and who else sees it."""

from __future__ import annotations

from media_support import PNG
from panel_client import PanelPage, text_of
from test_panel_turns import BROKEN, open_page, page, pairs, said  # noqa: F401  a fixture


def queued(page):  # noqa: F811
    return [one["text"] for one in page.state["queue"]["prompts"]]


def begin(page, engine, *events):  # noqa: F811
    """Ask a question whose answer has begun and goes on with these events."""
    engine.enqueue("A", *events)
    page.ask("send", text="one", images=[])
    page.until(lambda: page.shown and page.shown[-1]["status"] == "streaming")


def test_queued_questions_are_sent_in_order_when_the_answer_ends(page, engine, kernel):  # noqa: F811
    begin(page, engine, 0.5, "B")
    for text in ("two", "four"):
        page.ask("queue", text=text, images=[])
    last = page.state["queue"]["prompts"][-1]["id"]
    page.upload(PNG, "dot.png")
    image = page.until(lambda: page.replies and [r["image"] for r in page.replies.values() if "image" in r])[0]
    page.ask("queue", text="three", images=[image["id"]], before=last)
    page.until(lambda: queued(page) == ["two", "three", "four"])
    assert [one["name"] for one in page.state["queue"]["prompts"][1]["images"]] == ["dot.png"]
    assert page.state["images"] == []
    other = PanelPage(kernel, page.panel).hello()
    assert other.state["queue"] == page.state["queue"]
    other.leave()
    asked = [f"<p>{text}</p>" for text in ("one", "two", "three", "four")]
    page.until(lambda: [text_of(one) for one in page.shown if one["role"] == "user"] == asked)
    page.last()
    assert text_of(page.shown[1]) == "<p>AB</p>"
    assert [one["name"] for one in page.shown[4]["images"]] == ["dot.png"]
    assert queued(page) == []


def test_a_stop_and_a_failure_hold_the_queue_until_it_is_resumed(page, engine, kernel):  # noqa: F811
    begin(page, engine, ...)
    for text in ("two", "three", "four"):
        page.ask("queue", text=text, images=[])
    page.ask("stop")
    page.until(lambda: page.state["queue"]["waits"] == "stopped")
    assert queued(page) == ["two", "three", "four"]
    engine.enqueue("B", BROKEN)
    page.ask("resume")
    page.until(lambda: page.state["queue"]["waits"] == "failed")
    assert queued(page) == ["three", "four"]
    failed = page.last("failed")
    assert page.ask("unqueue", prompt=page.state["queue"]["prompts"][0]["id"], edit=True)["text"] == "three"
    assert page.refused("unqueue", prompt="gone") == "this question is no longer in the queue"
    page.ask("retry", item=failed["id"])  # goes on after it
    page.until(lambda: said(page) == pairs("one", "A", "two", "two", "four", "four"))
    page.last()


def test_the_queue_outlives_a_run_of_the_cell_and_a_switch_of_chats(page, engine, kernel):  # noqa: F811
    begin(page, engine, ...)
    page.ask("queue", text="two", images=[])
    page.ask("new")
    page.until(lambda: queued(page) == [])
    page.ask("switch", chat="main")
    page.until(lambda: queued(page) == ["two"])
    again = open_page(kernel)  # the same cell
    again.until(lambda: queued(again) == ["two"])
    again.ask("stop")
    again.until(lambda: again.state["queue"]["waits"] == "stopped")
    again.ask("resume")
    again.until(lambda: said(again) == pairs("one", "A", "two", "two"))
    assert text_of(again.last()) == "<p>two</p>"
    again.leave()
