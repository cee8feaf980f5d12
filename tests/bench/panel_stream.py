"""The cost of an open panel while 20,000 tokens arrive: `python tests/bench/panel_stream.py [tokens] [tokens/s]`.

In a real JupyterLab in Chromium, with a scripted server. Measured are how busy the page's main thread is, the gaps
between frames, the bytes over the websocket compared with the size of the HTML, and whether the text is complete.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))
sys.path.insert(0, str(Path(__file__).parent.parent / "browser"))

import chromium
from html_blocks import html_blocks
from jupyter_page import Lab, Notebook
from playwright.sync_api import sync_playwright
from serving import serving

from nb_backend.local.scripted import ScriptedEngine

PROSE = "The sky is **blue** since short waves are scattered `more` than long ones, as Rayleigh found in 1871. "
CODE = "```python\ndef share(wave: float) -> float:\n    return wave**-4  # blue wins\n```"
TABLE = "| colour | nm |\n| --- | ---: |\n| blue | 450 |\n| red | 650 |"
PARTS = (
    f"{PROSE * 3}\n\n",
    f"## A heading\n\n- {PROSE}\n- {PROSE}\n\n",
    f"{CODE}\n\n",
    f"{TABLE}\n\n",
    "$$x^2 + y^2$$\n\n",
)
FRAMES = """() => {
    const gaps = (window.nbGaps = []);
    let last = performance.now();
    const begun = last;
    const note = now => {
        gaps.push([now - last, (last - begun) / 1000]);
        last = now;
        window.nbWatch && requestAnimationFrame(note);
    };
    window.nbWatch = true;
    requestAnimationFrame(note);
}"""
DONE = "marker-of-the-end"


def tokens(count: int) -> list[str]:
    """Return an answer of ``count`` tokens of five characters each, about as long as in English."""
    text = ""
    while len(text) < count * 5:
        text += "".join(PARTS)
    pieces = [text[start : start + 5] for start in range(0, count * 5, 5)]
    return [*pieces[: count - 1], f"\n```\n\n{DONE}"]


def main(count: int = 20_000, rate: int = 200) -> None:
    """Measure and print the figures."""
    engine = ScriptedEngine()
    batch = max(1, rate // 100)
    pieces = tokens(count)
    steps = []
    for start in range(0, len(pieces), batch):
        steps += ["".join(pieces[start : start + batch]), batch / rate]
    engine.enqueue(*steps)
    browser_path = chromium.find()
    assert browser_path, "no browser"
    with serving(engine) as server, tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=list(chromium.FLAGS))
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        with Lab(Path(home), {**os.environ, **server.env}) as lab:
            notebook = Notebook(lab, page)
            notebook.open("from nb_backend import ChatPanel\nChatPanel()")
            notebook.run(0)
            box = page.get_by_role("textbox", name="Message")
            box.fill("Go")
            devtools = page.context.new_cdp_session(page)
            received = [0]
            devtools.on("Network.webSocketFrameReceived", lambda frame: count_frame(received, frame))
            devtools.send("Network.enable")
            devtools.send("Performance.enable")
            page.evaluate(FRAMES)
            before = busy(devtools)
            page.wait_for_timeout(5000)
            idle = (busy(devtools)["Task"] - before["Task"]) / 5
            before, begun = busy(devtools), time.monotonic()
            box.press("Enter")
            page.locator(".nbb-answer").get_by_text(DONE).wait_for(timeout=1000 * count / rate * 3)
            seconds, after = time.monotonic() - begun, busy(devtools)
            page.evaluate("() => { window.nbWatch = false; }")
            gaps = sorted(page.evaluate("() => window.nbGaps"), reverse=True)
            text = page.evaluate(
                "() => document.querySelector('.nbb-answer .nbb-text:not(.nbb-reasoning *)').textContent"
            )
            notebook.close()
        browser.close()
    sent = "".join(pieces)
    html = sum(len(block.encode()) for block in html_blocks(sent))
    print(f"{count} tokens in {seconds:.0f} s; asked for {rate} a second: {count / rate:.0f} s")
    shares = {name: 100 * (spent - before[name]) / seconds for name, spent in after.items()}
    print(f"main thread busy {shares.pop('Task'):.1f} %:", *(f"{name} {share:.1f}" for name, share in shares.items()))
    print(f"and before the question, with the same count of frames, {100 * idle:.1f} %")
    longest = ", ".join(f"{gap:.0f} ms after {at:.1f} s" for gap, at in gaps[:5])
    print(f"frames {len(gaps)}, gaps above 100 ms: {sum(gap > 100 for gap, _ in gaps)}, the longest {longest}")
    print(f"websocket {received[0]:,} bytes, HTML {html:,}: {received[0] / html:.2f} times")
    print(f"'scattered' {sent.count('scattered')} times sent, {text.count('scattered')} shown")


def count_frame(received: list[int], frame: dict) -> None:
    data = frame["response"]
    received[0] += len(data["payloadData"]) * 3 // 4 if data["opcode"] == 2 else len(data["payloadData"].encode())


def busy(devtools) -> dict[str, float]:
    """Return the seconds that the page's main thread has worked so far, by kind of work."""
    metrics = {one["name"]: one["value"] for one in devtools.send("Performance.getMetrics")["metrics"]}
    return {name: metrics[f"{name}Duration"] for name in ("Task", "Script", "Layout", "RecalcStyle")}


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
