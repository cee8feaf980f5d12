"""Answers inside an ``ipywidgets.Output``, which takes no updates of a display: they arrive there, and end."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from driver import TIMEOUT, Kernel

SETUP = """
import ipywidgets, nb_backend
from IPython.display import clear_output, display
def ask(line='', text='hi'):
    return get_ipython().run_cell_magic('backend', f'--once {line}', text)
"""


class FrontEnd:
    """What a front end shows in each ``Output`` and below the cell, by the rules of JupyterLab and of nbclient."""

    def __init__(self) -> None:
        self.widgets: dict[str, list[dict[str, Any]]] = {}
        self.cell: list[dict[str, Any]] = []
        self.seen: list[str] = []  # what the widgets have shown, one after another
        self._takers: dict[str, str] = {}
        self._clears: set[int] = set()

    def receive(self, message: dict[str, Any]) -> None:
        kind, content = message["msg_type"], message["content"]
        if kind.startswith("comm"):
            self._receive_comm(kind, content)
            return
        request = message["parent_header"]["msg_id"]
        taker = next((comm for comm in reversed(self._takers) if self._takers[comm] == request), None)
        shown = self.cell if taker is None else self.widgets[taker]
        if kind == "clear_output":
            self._clears.add(id(shown)) if content["wait"] else shown.clear()
        elif kind in ("display_data", "execute_result", "stream", "error"):
            if id(shown) in self._clears:
                self._clears.discard(id(shown))
                shown.clear()
            shown.append(content)
            if taker is not None:
                self.seen.append(text_of(shown))
        elif kind == "update_display_data" and taker is None:  # a widget drops it
            for one in self.cell:
                if one.get("transient", {}).get("display_id") == content["transient"]["display_id"]:
                    one.update(copy.deepcopy(content))

    def _receive_comm(self, kind: str, content: dict[str, Any]) -> None:
        comm, state = content["comm_id"], content["data"].get("state", {})
        if kind == "comm_open" and state.get("_model_name") == "OutputModel":
            self.widgets[comm] = []
        if comm in self.widgets and "msg_id" in state:
            self._takers.pop(comm, None)
            if state["msg_id"]:
                self._takers[comm] = state["msg_id"]
        if comm in self.widgets and "outputs" in state:
            self.widgets[comm][:] = state["outputs"]


def text_of(outputs: list[dict[str, Any]]) -> str:
    texts = []
    for one in outputs:
        data = one.get("data", {})
        texts.append(
            one.get("text") or data.get("text/markdown") or data.get("text/html") or data.get("text/plain") or ""
        )
    return "\n".join(texts)


class Shown(FrontEnd):
    """A notebook whose ``Output``s live on from cell to cell."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self.kernel = kernel

    def run(self, code: str) -> Any:
        self.cell = []
        return self.kernel.run(code, self.receive)

    def send(self, widget: str, data: dict[str, Any]) -> None:
        """Send what a click sends, and wait until the kernel has handled it."""
        session, client = self.kernel.client.session, self.kernel.client
        comm = str(self.kernel.run(f"{widget}.model_id").result).strip("'")
        message = session.msg("comm_msg", {"comm_id": comm, "data": data})
        client.shell_channel.send(message)
        while True:
            got = client.get_iopub_msg(timeout=TIMEOUT)
            if got["parent_header"].get("msg_id") == message["header"]["msg_id"]:
                if got["msg_type"] == "status" and got["content"]["execution_state"] == "idle":
                    return
                self.receive(got)

    def in_widget(self, number: int = -1) -> str:
        return text_of([*self.widgets.values()][number])


@pytest.fixture
def shown(kernel):
    kernel.run(SETUP)
    return Shown(kernel)


WAYS = {
    "with": "out = ipywidgets.Output()\nwith out:\n    ask()",
    "a line": "out = ipywidgets.Output()\nwith out:\n    answer = %backend ask hi\n",
    "capture": "out = ipywidgets.Output()\n@out.capture()\ndef f():\n    ask()\nf()",
    "capture and clear": "out = ipywidgets.Output()\n@out.capture(clear_output=True)\ndef f():\n    ask()\nf(); f()",
    "nested": "other, out = ipywidgets.Output(), ipywidgets.Output()\nwith other:\n    with out:\n        ask()",
    "interactive": "interactive = ipywidgets.interactive(lambda n: ask(text=f'{n}'), n=3)",
    "interact": "@ipywidgets.interact(n=3)\ndef f(n):\n    return ask(text=f'{n}')",
    "an async function": "out = ipywidgets.Output()\nasync def f():\n    with out:\n        ask()\nawait f()",
    "a thread": "import threading\nout = ipywidgets.Output()\ndef work():\n    with out:\n        ask()\n"
    "thread = threading.Thread(target=work); thread.start(); thread.join()",
    "a subclass": "class Mine(ipywidgets.Output): pass\nout = Mine()\nwith out:\n    ask()",
    "cleared by the caller": "out = ipywidgets.Output()\nwith out:\n    print('old')\n    clear_output()\n    ask()",
    "emptied by the caller": "out = ipywidgets.Output()\nout.append_stdout('old')\nout.outputs = ()\nwith out: ask()",
    "an Output that another one shows": "out, other = ipywidgets.Output(), ipywidgets.Output()\n"
    "with other: display(out)\nwith out: ask()",
    "a tab": "out = ipywidgets.Output()\nipywidgets.Tab([out])\nwith out: ask()",
    "observe": "out, text = ipywidgets.Output(), ipywidgets.Text()\n"
    "def changed(change):\n    with out:\n        ask(text=change.new)\n"
    "text.observe(changed, 'value')\ntext.value = 'hi'",
    "%%time": "%%time\nout = ipywidgets.Output()\nwith out: ask()",
    "twice": "out = ipywidgets.Output()\nfor _ in range(2):\n    with out:\n"
    "        clear_output(wait=True)\n        ask()",
}
ENDED = "an answer\n\n<small>scripted"


@pytest.mark.parametrize("code", WAYS.values(), ids=WAYS.keys())
def test_an_answer_streams_into_the_widget_and_ends(shown, engine, code):
    engine.enqueue("an", 0.15, " answer")
    engine.enqueue("an", 0.15, " answer")
    assert shown.run(code).error is None
    number = 0 if code.startswith("out, other") else -1
    assert shown.in_widget(number).startswith(ENDED)
    assert shown.in_widget(number).count("an answer") == 1
    assert "an" in [text.partition("\n")[0] for text in shown.seen]  # it was live
    assert "an answer" not in text_of(shown.cell)


def test_the_cell_ends_a_moment_after_the_answer_in_a_widget(shown, engine):
    """The reply of the cell would otherwise reach nbclient while it reports the last output, and be missed."""
    shown.run(
        "import asyncio\nfrom types import SimpleNamespace\nfrom nb_backend.notebook.magic import magics\npauses = []\n"
        "async def sleep(seconds): pauses.append(seconds)\nmagics.asyncio = SimpleNamespace(sleep=sleep)"
    )
    engine.enqueue("an answer")
    engine.enqueue("an answer")
    shown.run("ask()")
    assert shown.kernel.run("pauses").result == "[]"
    assert shown.run("out = ipywidgets.Output()\nwith out:\n    ask()").error is None
    assert shown.kernel.run("pauses == [magics._WIDGET_PAUSE]").result == "True"
    shown.kernel.run("magics.asyncio = asyncio")


def test_clicks_and_sliders(shown, engine):
    shown.run(
        "out, button = ipywidgets.Output(), ipywidgets.Button()\n"
        "@button.on_click\ndef clicked(_):\n    with out:\n"
        "        clear_output()\n        ask(text=type(_).__name__)\n"
        "manual = ipywidgets.interactive(lambda n: ask(text=f'{n}'), {'manual': True}, n=3)\n"
        "live = ipywidgets.interactive(lambda n: ask(text=f'{n}'), n=(0, 9))"
    )
    click = {"method": "custom", "content": {"event": "click"}}
    moved = {"method": "update", "state": {"value": 7}, "buffer_paths": []}
    for widget, data, asked in (
        ("button", click, "Button"),
        ("button", click, "Button"),
        ("manual.manual_button", click, "3"),
        ("live.children[0]", moved, "7"),
    ):
        engine.enqueue("an answer")
        shown.send(widget, data)
        assert engine.history[-1]["messages"][-1]["content"] == asked
    assert [text_of(one).startswith(ENDED) for one in shown.widgets.values()] == [True, True, True]
    assert [text_of(one).count("an answer") for one in shown.widgets.values()] == [1, 1, 1]


BEFORE = ("print('before')", "display('before')", "ask(text='{{ 1 }}')", "out.append_stdout('before')")


@pytest.mark.parametrize("before", BEFORE)
def test_what_the_widget_shows_already_stays(shown, engine, before):
    engine.enqueue("before") if "ask" in before else None
    engine.enqueue("an", 0.15, " answer")
    assert shown.run(f"out = ipywidgets.Output()\nwith out:\n    {before}\n    ask()").error is None
    assert "before" in shown.in_widget()
    assert ENDED in shown.in_widget()
    assert shown.in_widget().count("an answer") == 1


def test_what_a_thread_adds_meanwhile_stays(shown, engine):
    engine.enqueue("an", 0.5, " answer")
    shown.run(
        "import threading\nout = ipywidgets.Output()\n"
        "with out:\n    threading.Timer(0.2, print, ['meanwhile']).start()\n    ask()"
    )
    assert "meanwhile" in shown.in_widget()
    assert ENDED in shown.in_widget()


def test_a_widget_from_before_the_extension(shown, engine):
    shown.run("%unload_ext nb_backend")
    shown.run("out = ipywidgets.Output()\nwith out: print('before')")
    shown.run("%load_ext nb_backend")
    engine.enqueue("an", 0.15, " answer")
    shown.run("with out: ask()")
    assert shown.in_widget().startswith("before")
    assert ENDED in shown.in_widget()


def test_an_error_ends_it_with_the_text_so_far(shown, engine):
    engine.enqueue("half", RuntimeError("it broke"))
    shown.run("out = ipywidgets.Output()\nwith out:\n    ask()")
    answer, error = [*shown.widgets.values()][-1]
    assert answer["data"]["text/markdown"].startswith("half\n\n<small>")
    assert error["traceback"][0].startswith("ServerError: ")


def test_a_stop_ends_it_with_the_text_so_far(shown, engine):
    engine.enqueue("half", ...)

    code = "out = ipywidgets.Output()\nwith out:\n    ask()"
    run = shown.kernel.run_and_interrupt(code, lambda message: "half" in str(message["content"]))
    for message in run.messages:
        shown.receive(message)
    answer, error = [*shown.widgets.values()][-1]
    assert answer["data"]["text/markdown"].startswith("half\n\n<small>")
    assert "stopped" in answer["data"]["text/markdown"]
    assert error["traceback"] == ["KeyboardInterrupt: stopped; the text so far is kept"]


@pytest.mark.parametrize("line", ["-f text", "-f json", "-f code"])
def test_any_format(shown, engine, line):
    engine.enqueue('{"an": "answer"}\n', 0.15, "```python\nx = 1\n```" if "code" in line else "")
    shown.run(f"out = ipywidgets.Output()\nwith out:\n    ask('{line}')")
    assert len([*shown.widgets.values()][-1]) == 1
    assert "answer" in shown.in_widget()
    assert "on this machine" in shown.in_widget()


def test_captured_within_a_widget_and_around_it(shown, engine):
    engine.enqueue("an answer")
    code = "out = ipywidgets.Output()\nwith out:\n    with capture_output() as kept:\n        ask()"
    run = shown.run(f"from IPython.utils.capture import capture_output\n{code}\nkept.outputs[0].data['text/plain']")
    assert run.result == "'an answer'"
    assert shown.in_widget() == ""
    assert shown.run("len(kept.outputs)").result == "1"


def test_a_long_answer(shown, engine):
    engine.enqueue(*("A paragraph of this answer.\n\n" * 100 for _ in range(10)))
    shown.run("out = ipywidgets.Output()\nwith out:\n    ask()")
    assert shown.in_widget().count("A paragraph of this answer.") == 1000
    assert shown.in_widget().count("on this machine") == 1


def test_attachments(shown, engine):
    engine.enqueue("an answer")
    shown.run(
        "import numpy\ndots = numpy.eye(9, dtype=bool)\n"
        "out = ipywidgets.Output()\nwith out:\n    ask('-i dots', text='hi')"
    )
    attached, answer = [*shown.widgets.values()][-1]
    assert "dots.png" in attached["data"]["text/markdown"]
    assert answer["data"]["text/markdown"].startswith(ENDED)


def test_a_dry_run_and_a_report(shown, engine):
    report = "get_ipython().run_line_magic('backend', 'url')"
    shown.run(f"out = ipywidgets.Output()\nwith out:\n    ask('--dry-run')\n    display({report})")
    assert shown.in_widget().startswith("**Nothing was sent.**")
    assert "127" in shown.in_widget()
    assert engine.history == []


@pytest.mark.parametrize("call", ["map(['one', 'two', 'three'])", "compare(['one'], ['a', 'b', 'c'])"])
def test_the_progress_of_many_prompts(shown, engine, call):
    for _ in range(3):
        engine.enqueue("an", 0.3, " answer")
    assert shown.run(f"out = ipywidgets.Output()\nwith out:\n    found = nb_backend.{call}").error is None
    assert shown.in_widget().rpartition("\r")[2].startswith("3 answered · ")
    assert "0/3" in shown.in_widget()  # the bar
    assert {one["name"] for one in [*shown.widgets.values()][-1]} == {"stdout"}
    assert shown.cell == []


class TestTheSameAnswerAgain:
    def test_in_another_widget(self, shown, engine):
        engine.enqueue("an answer")
        shown.run(
            "one, two = ipywidgets.Output(), ipywidgets.Output()\nwith one: answer = ask()\nwith two: display(answer)"
        )
        assert [text_of(one).startswith("an answer") for one in shown.widgets.values()] == [True, True]

    def test_below_the_cell(self, shown, engine):
        engine.enqueue("an answer")
        shown.run("out = ipywidgets.Output()\nwith out: answer = ask()\nanswer")
        assert text_of(shown.cell).startswith("an answer")

    def test_after_it_was_cleared(self, shown, engine):
        engine.enqueue("an answer")
        shown.run("out = ipywidgets.Output()\nwith out:\n    answer = ask()\n    clear_output()\n    display(answer)")
        assert shown.in_widget().startswith("an answer")

    def test_appended_to_a_widget(self, shown, engine):
        engine.enqueue("an answer")
        shown.run("answer = ask()\nout = ipywidgets.Output()\nout.append_display_data(answer)")
        assert shown.in_widget().startswith("an answer")

    def test_in_a_callback(self, shown, engine):
        engine.enqueue("an answer")
        shown.run(
            "answer = ask()\nout, button = ipywidgets.Output(), ipywidgets.Button()\n"
            "@button.on_click\ndef clicked(_):\n    with out: display(answer)"
        )
        shown.send("button", {"method": "custom", "content": {"event": "click"}})
        assert shown.in_widget().startswith("an answer")

    def test_not_in_the_same_widget(self, shown, engine):
        engine.enqueue("an answer")
        shown.run("out = ipywidgets.Output()\nwith out:\n    answer = ask()\n    display(answer)")
        assert shown.in_widget().count("an answer") == 1
