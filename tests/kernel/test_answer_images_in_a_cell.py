"""Images of an answer in a cell: the output holds those of the server, sends large ones once, and keeps no key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from driver import Kernel
from image_serving import FILES, PNG, ImageServer, serving_images, uri
from serving import TOKEN
from wait import eventually

from nb_backend.local.scripted import ScriptedEngine

CELL = "%%backend\nDraw a dot"
LARGE = uri(FILES["large.png"])


@pytest.fixture(scope="module")
def server() -> Iterator[ImageServer]:
    with serving_images(ScriptedEngine()) as running:
        yield running


def test_the_output_holds_the_image(kernel: Kernel, server: ImageServer, engine: ScriptedEngine) -> None:
    engine.enqueue("Here. ", {"type": "content", "urls": ["/media/x.png"], "alt": "a dot"}, "![e](//e.x/y.png)")
    run = kernel.run(CELL)
    assert run.error is None
    assert f"\n\n![a dot]({uri(PNG)})\n\n" in run.markdown[-1]
    assert kernel.run("_.images").result == repr([f"{server.url}/media/x.png", "//e.x/y.png"])
    count = run.reply["execution_count"]
    shown = kernel.run(f"Out[{count}]").of("execute_result")[0]["data"]
    assert uri(PNG) in shown["text/markdown"]
    assert server.asked == ["/media/x.png"]
    assert TOKEN not in json.dumps(run.messages, default=str)


def test_an_image_is_seen_while_the_answer_comes(kernel: Kernel, engine: ScriptedEngine) -> None:
    more = [step for _ in range(600) for step in (0.1, ".")]  # each may show what has come
    engine.enqueue("Here. ", {"type": "content", "urls": ["/media/x.png"]}, *more)
    run = kernel.run_and_interrupt(CELL, lambda message: uri(PNG) in str(message["content"]))
    assert f"![image]({uri(PNG)})" in run.markdown[-1]
    assert "stopped" in run.markdown[-1]


def test_an_answer_of_an_image_alone_does_not_wait(kernel: Kernel, engine: ScriptedEngine) -> None:
    engine.enqueue({"type": "content", "urls": ["https://e.x/a.png"]}, ...)
    run = kernel.run_and_interrupt(CELL, lambda message: "https://e.x/a.png" in str(message["content"]))
    assert "waiting" not in next(text for text in run.markdown if "e.x" in text)
    assert run.markdown[-1].startswith("[image (e.x)](https://e.x/a.png)")


def test_a_large_image_is_sent_once(kernel: Kernel, engine: ScriptedEngine) -> None:
    pieces = [LARGE[start : start + 5000] for start in range(0, len(LARGE), 5000)]
    beside = {"type": "content", "urls": ["/media/large.png"]}
    engine.enqueue("![a](", *pieces, ")", beside, " done", ...)
    run = kernel.run_and_interrupt(CELL, lambda message: "kB)* done" in str(message["content"]))
    engine.enqueue("![a](", *pieces, ")", beside, " done")
    whole = kernel.run(CELL)
    assert f"![a]({LARGE}) done\n\n![image]({LARGE})" in whole.markdown[-1]
    sent = [json.dumps(display["data"]) for display in (*run.displays[:-1], *whole.displays[:-1])]
    assert max(map(len, sent)) < 2_000
    assert any("*(an image of 60 kB)*" in text for text in run.markdown)
    assert whole.displays[-1]["data"]["text/plain"] == "![a](data:image/png;base64,… (60 kB)) done"
    assert kernel.run("len(_.text)").result == str(len(f"![a]({LARGE}) done"))


def test_as_text_it_is_shortened(kernel: Kernel, engine: ScriptedEngine) -> None:
    for _ in range(2):
        engine.enqueue(f"![a]({LARGE[:30_000]}", f"{LARGE[30_000:]}) done")
    shown = kernel.run("%%backend -f text\nDraw").displays[-1]["data"]["text/plain"]
    assert shown.startswith("![a](data:image/png;base64,… (60 kB)) done")
    shell = "import types\nfrom nb_backend.notebook.cell.view import show_stream\n"
    shell += "from nb_backend.notebook.cell.terminal_view import TerminalView\nfrom nb_backend import Chat"
    printed = kernel.run(f"{shell}\nanswer = await show_stream(Chat().stream('Draw'), TerminalView())").printed
    assert printed.startswith("![a](data:image/png;base64,… (60 kB)) done\n\n[")


def test_an_interrupt_while_an_image_is_fetched(kernel: Kernel, server: ImageServer, engine: ScriptedEngine) -> None:
    engine.enqueue("Some words", {"type": "content", "urls": ["/media/slow.png"]}, "the last")

    def fetching(message: dict[str, Any]) -> bool:
        if "the last" not in str(message["content"]):
            return False
        eventually(lambda: "/media/slow.png" in server.asked)
        return True

    run = kernel.run_and_interrupt(CELL, fetching)
    assert run.stop is not None
    assert run.stop[0] == "KeyboardInterrupt"
    assert run.markdown[-1].startswith("Some wordsthe last")
    kept = kernel.run("from nb_backend import chats\nchats['main'].messages[-1]['content']").result
    assert kept == repr("Some wordsthe last")
