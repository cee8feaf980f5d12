"""Images of an answer in a cell: the output holds those of the server, sends large ones once, and keeps no key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from driver import Kernel, eventually
from image_serving import FILES, PNG, ImageServer, serving_images, uri
from serving import TOKEN

from nb_backend.local.engine import ScriptedEngine

CELL = "%%backend\nDraw a dot"
LARGE = uri(FILES["large.png"])


@pytest.fixture(scope="module")
def server() -> Iterator[ImageServer]:
    with serving_images(ScriptedEngine()) as running:
        yield running


def test_the_output_holds_the_image(kernel: Kernel, server: ImageServer, engine: ScriptedEngine) -> None:
    engine.enqueue("Here. ", {"type": "content", "urls": ["/media/x.png"], "alt": "a dot"}, 0.3, "![e](//e.x/y.png)")
    run = kernel.run(CELL)
    assert run.error is None
    assert any(f"Here.\n\n![a dot]({uri(PNG)})" in text for text in run.markdown[:-1])  # while it came
    assert f"\n\n![a dot]({uri(PNG)})\n\n" in run.markdown[-1]
    assert kernel.run("_.images").result == repr([f"{server.url}/media/x.png", "//e.x/y.png"])
    count = run.reply["execution_count"]
    shown = kernel.run(f"Out[{count}]").of("execute_result")[0]["data"]
    assert uri(PNG) in shown["text/markdown"]
    assert server.asked == ["/media/x.png"]
    assert TOKEN not in json.dumps(run.messages, default=str)


def test_an_answer_of_an_image_alone_does_not_wait(kernel: Kernel, engine: ScriptedEngine) -> None:
    engine.enqueue({"type": "content", "urls": ["https://e.x/a.png"]}, 0.3, {"type": "content", "urls": []})
    run = kernel.run(CELL)
    assert any("e.x" in text and "waiting" not in text for text in run.markdown[:-1])
    assert run.markdown[-1].startswith("[image (e.x)](https://e.x/a.png)")


def test_a_large_image_is_sent_once(kernel: Kernel, engine: ScriptedEngine) -> None:
    pieces = [LARGE[start : start + 5000] for start in range(0, len(LARGE), 5000)]
    steps = [step for piece in pieces for step in (piece, 0.03)]
    engine.enqueue("![a](", *steps, ")", 0.3, {"type": "content", "urls": ["/media/large.png"]}, 0.3, " done")
    run = kernel.run(CELL)
    assert f"![a]({LARGE}) done\n\n![image]({LARGE})" in run.markdown[-1]
    sent = [json.dumps(display["data"]) for display in run.displays[:-1]]
    assert max(map(len, sent)) < 2_000
    assert any("*(an image of 60 kB)*" in text for text in run.markdown)
    assert run.displays[-1]["data"]["text/plain"] == "![a](data:image/png;base64,… (60 kB)) done"
    assert kernel.run("len(_.text)").result == str(len(f"![a]({LARGE}) done"))


def test_as_text_it_is_shortened(kernel: Kernel, engine: ScriptedEngine) -> None:
    for _ in range(2):
        engine.enqueue(f"![a]({LARGE[:30_000]}", f"{LARGE[30_000:]}) done")
    shown = kernel.run("%%backend -f text\nDraw").displays[-1]["data"]["text/plain"]
    assert shown.startswith("![a](data:image/png;base64,… (60 kB)) done")
    shell = "import types\nfrom nb_backend.notebook.cell import show_stream, TerminalView\nfrom nb_backend import Chat"
    printed = kernel.run(f"{shell}\nanswer = await show_stream(Chat().stream('Draw'), TerminalView())").printed
    assert printed.startswith("![a](data:image/png;base64,… (60 kB)) done\n\n[")


def test_an_interrupt_while_an_image_is_fetched(kernel: Kernel, server: ImageServer, engine: ScriptedEngine) -> None:
    engine.enqueue("Some words", {"type": "content", "urls": ["/media/slow.png"]}, "never")

    def fetching(message: dict[str, Any]) -> bool:
        if "Some words" not in str(message["content"]):
            return False
        eventually(lambda: "/media/slow.png" in server.asked)
        return True

    run = kernel.run_and_interrupt(CELL, fetching)
    assert run.error is not None
    assert run.error[0] == "KeyboardInterrupt"
    assert run.markdown[-1].startswith("Some words")
    assert "stopped" in run.markdown[-1]
