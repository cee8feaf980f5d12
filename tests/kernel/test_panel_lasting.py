"""The transcript of a panel, a cell that runs again, closing, and a busy kernel."""

from __future__ import annotations

import pytest
from driver import TIMEOUT
from media_support import PNG
from panel_client import WIDGET, PanelPage, new_subshell, text_of
from test_panel_turns import open_page, page, pairs, said  # noqa: F401  a fixture
from wait import eventually

from nb_backend import to_data_uri


class Outputs:
    """The current outputs of a notebook, by display id."""

    def __init__(self, kernel):
        self.kernel = kernel
        self.read = kernel.client.get_iopub_msg
        self.data, self.metadata, self.parents = {}, {}, []
        kernel.client.get_iopub_msg = self

    def __call__(self, *args, **options):
        message = self.read(*args, **options)
        if message["msg_type"] in ("display_data", "update_display_data"):
            id = message["content"]["transient"].get("display_id", "")
            self.data[id], self.metadata[id] = message["content"]["data"], message["content"]["metadata"]
            self.parents.append((message["msg_type"], message["parent_header"].get("msg_type")))
        return message

    def of(self, output):
        found = [id for id, one in self.metadata.items() if one.get("nb_backend", {}).get("output") == output]
        return self.data[found[-1]] if found else None

    @property
    def transcript(self):
        return (self.of("transcript") or {}).get("text/markdown", "")


@pytest.fixture
def outputs(kernel):
    outputs = Outputs(kernel)
    yield outputs
    kernel.client.get_iopub_msg = outputs.read


@pytest.fixture
def shown(outputs, page, kernel):  # noqa: F811
    """A page of a panel whose outputs are recorded."""
    found = open_page(kernel, cell="shown")
    yield found
    found.leave()
    kernel.run("panel.close()")


def test_the_transcript_is_updated_after_each_turn(shown, outputs, engine, kernel):
    assert WIDGET in outputs.of("panel")
    assert "run the cell" in outputs.of("panel")["text/markdown"]
    assert outputs.of("transcript") == {}
    engine.enqueue({"type": "reasoning", "token": "hm <b>"}, f"Yes <script>![dot]({to_data_uri(PNG)})")
    shown.turn("Is <i>it</i>?")
    shown.until(lambda: "1 turn<" in outputs.transcript)
    text = outputs.transcript
    assert text.startswith('<details class="nbb-saved" open><summary>Transcript: 1 turn</summary>\n\n**You** <small>20')
    assert text.endswith("\n\n</details>")
    assert "<script>" not in text
    assert "<i>" not in text
    assert "<details><summary>Reasoning</summary>\n\nhm " in text
    assert f"]({to_data_uri(PNG)})" in text
    assert "scripted, on this machine · 1 token" in text.replace("&#44;", ",")
    kernel.run("%%backend\nfrom a cell", cell="c")
    shown.until(lambda: "2 turns<" in outputs.transcript)
    version = outputs.metadata[[*outputs.metadata][-1]]
    assert outputs.parents[-1][0] == "update_display_data"
    shown.until(lambda: shown.state["transcript"] == 2)
    reply = shown.ask("transcript")
    assert b"".join(shown.pieces[reply["id"]]).decode() == outputs.transcript
    shown.ask("clear")
    shown.until(lambda: outputs.of("transcript") == {})
    assert version is not None


def test_finish_leaves_the_open_transcript(shown, outputs, engine, kernel):
    shown.turn("one")
    engine.enqueue("Half", ...)
    shown.ask("send", text="two", images=[])
    shown.last("streaming")
    shown.ask("finish")
    assert WIDGET not in outputs.of("panel")
    text = outputs.of("panel")["text/markdown"]
    assert text.startswith("**You**")
    assert "Half" in text
    assert "<small>stopped" in text
    assert outputs.of("transcript") == {}
    shown.until(lambda: shown.state["transcript"])
    assert "finished" in shown.refused("send", text="x", images=[])
    shown.until(lambda: shown.closed)
    assert kernel.run("len(panel.chat.messages)").result == "4"
    assert kernel.run("panel").error is None


def test_finish_from_code(shown, outputs, engine, kernel):
    run = kernel.run("panel.finish()\npanel.finish()")
    assert run.error is None
    assert outputs.of("panel")["text/markdown"] == "*(No messages.)*"


def test_a_cell_that_runs_again_continues_in_a_new_panel(page, engine, kernel):  # noqa: F811
    page.turn("one")
    image = page.reply(page.upload(PNG, "a.png")[-1])["image"]
    page.ask("set", enter_sends=False, model="chosen")
    engine.enqueue("Two", ...)
    page.ask("send", text="two", images=[])
    page.ask("draft", text="half a thought")
    page.last("streaming")
    again = open_page(kernel)
    page.until(lambda: page.closed)
    assert again.panel != page.panel
    assert said(again) == pairs("one", "one", "two", "Two")
    assert again.state["draft"] == "half a thought"
    assert [one["id"] for one in again.state["images"]] == [image["id"]]
    assert again.state["settings"]["enter_sends"] is False
    assert "still being written" in again.refused("send", text="x", images=[])
    again.ask("stop")
    again.last("stopped")
    again.leave()


def test_the_same_arguments_do_not_undo_what_the_user_chose(page, engine, kernel):  # noqa: F811
    code = "panel = ChatPanel('main', model='a', system='s')\npanel"
    first = open_page(kernel, code, cell="m")
    assert first.state["settings"]["model"] == "a"
    first.ask("set", model="b")
    again = open_page(kernel, code, cell="m")
    assert again.state["settings"]["model"] == "b"
    other = open_page(kernel, code.replace("'a'", "'c'"), cell="m")
    assert (other.state["settings"]["model"], other.state["settings"]["system"]) == ("c", "s")
    for one in (other, again, first):
        one.leave()


def test_a_panel_that_another_cell_also_shows_stays_open(page, engine, kernel):  # noqa: F811
    kernel.run("kept_panel = panel\nkept_panel", cell="elsewhere")
    other = open_page(kernel)
    page.turn("still here")
    assert not page.closed
    other.until(lambda: said(other) == pairs("still here", "still here"))
    other.leave()
    kernel.run("kept_panel.close()")


def test_close_leaves_nothing_behind(page, engine, kernel):  # noqa: F811
    made = open_page(kernel, "made = ChatPanel('two')\nmade._ipython_display_()", cell="made")  # not kept in Out
    engine.enqueue("A", ...)
    made.ask("send", text="a", images=[])
    made.last("streaming")
    made.leave()
    kernel.run(
        "import asyncio, gc, weakref\nfrom nb_backend import background\n"
        "from nb_backend.chat.observers import Observers"
    )
    kernel.run("kinds = weakref.ref(made._controller), weakref.ref(made)\nmade.close()\ndel made")
    eventually(lambda: engine.stopped == 1)
    kernel.run("async def count(): return len(asyncio.all_tasks()) - 1")
    left = (
        "gc.collect(), [kind() is None for kind in kinds], len(Observers.of(chats['two'])._watchers), "
        "asyncio.run_coroutine_threadsafe(count(), background.loop()).result()"
    )
    eventually(lambda: kernel.run(f"({left})[1:]").result == "([True, True], 0, 0)")


def test_answers_stream_while_a_cell_runs(page, engine, kernel):  # noqa: F811
    engine.enqueue("A", *[step for n in range(20) for step in (0.05, f" {n}")], ...)
    page.ask("send", text="a", images=[])
    kernel.start("import time\nwhile '19' not in chats['main'].live[0].answer.text: time.sleep(0.02)", cell="busy")
    for number in ("7", "19"):
        page.until(lambda number=number: page.shown and number in text_of(page.shown[-1]))
    page.ask("stop")
    page.last("stopped")


def test_stop_works_while_a_cell_runs_if_the_kernel_has_subshells(page, engine, kernel):  # noqa: F811
    subshell = new_subshell(kernel)
    assert page.hello().state["subshells"] is False  # this page does not use them
    if subshell is None:
        return
    other = PanelPage(kernel, page.panel, subshell).hello()
    assert other.state["subshells"] is True
    engine.enqueue("A", ...)
    code = "import time\nwhile not any(one.get('stopped') for one in chats['main'].messages): time.sleep(0.01)"
    message = kernel.start(code, cell="busy")
    other.ask("send", text="a", images=[])
    other.last("streaming")
    other.ask("stop")
    other.last("stopped")
    reply = kernel.client.get_shell_msg(timeout=TIMEOUT)
    while reply["parent_header"]["msg_id"] != message:
        reply = kernel.client.get_shell_msg(timeout=TIMEOUT)
    assert reply["content"]["status"] == "ok"
    other.leave()


def test_a_request_does_not_show_a_half_drawn_figure(page, engine, kernel):  # noqa: F811
    kernel.run("%matplotlib inline\nimport matplotlib.pyplot as plt")
    kernel.run("plt.ioff()\nfigure = plt.figure()")
    page.ask("draft", text="x")
    run = kernel.run("plt.get_fignums()")
    assert run.error is None


def test_a_chat_without_a_name(page, engine, kernel):  # noqa: F811
    kernel.run("from nb_backend import Chat\nmine = Chat()")
    other = open_page(kernel, "second = ChatPanel(mine)\nsecond", cell="n")
    assert other.state["chat"] == "(not in chats)"
    other.turn("one")
    assert kernel.run("len(mine.messages), 'one' in str(chats['main'].messages)").result == "(2, False)"
    other.ask("switch", chat="main")
    other.until(lambda: other.shown == [])
    other.ask("switch", chat="(not in chats)")
    other.until(lambda: said(other) == pairs("one", "one"))
    other.leave()
    kernel.run("second.close()")


def test_the_widget_has_its_module_and_style(page, engine, kernel):  # noqa: F811
    assert kernel.run("'export default' in panel.get_state()['_esm'], '.nbb-' in panel._css").result == "(True, True)"


def test_a_partial_answer_stays_in_the_transcript_until_it_is_retried_or_deleted(shown, outputs, engine):
    shown.turn("First?")
    engine.enqueue("Half an answer", RuntimeError("the model fell over"))
    shown.ask("send", text="Second?", images=[])
    shown.until(lambda: "Half an answer" in outputs.transcript)
    text = outputs.transcript
    assert text.index("First?") < text.index("Second?") < text.index("Half an answer")
    assert "broke off" in text
    assert "2 turns<" in text
    shown.ask("retry", item=shown.last("failed")["id"])
    shown.until(lambda: "Half an answer" not in outputs.transcript and "Second?" in outputs.transcript)
    engine.enqueue("Half of a third", RuntimeError("again"))
    shown.ask("send", text="Third?", images=[])
    shown.until(lambda: "Half of a third" in outputs.transcript)
    shown.until(lambda: "Half of a third" in text_of(shown.shown[-1]))
    shown.ask("delete", item=shown.last("failed")["id"])
    shown.until(lambda: "Third?" not in outputs.transcript)
