"""The cost of an open panel while 20,000 tokens arrive: `python tests/bench/panel_stream.py [tokens] [tokens/s]`.

In a real JupyterLab in Chromium, with a scripted server. Measured are how busy the page's main thread is, the gaps
between frames, how the text grows from frame to frame, whether the composer moves and the layout shifts, the bytes
over the websocket compared with the size of the HTML, and whether the text is complete.
"""

from __future__ import annotations

import base64
import os
import re
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
    const seen = (window.nbSeen = {gaps: [], grown: [], composer: [], shifts: 0, shiftsAfterInput: 0});
    let last = performance.now(), counted = 0, whole = 0, length = 0, grownAt = 0;
    const begun = last;
    const visible = node => node instanceof Text ? node.length : node.hasAttribute('hidden') ? 0
        : [...node.childNodes].reduce((sum, child) => sum + visible(child), 0);
    new PerformanceObserver(list => {
        for (const {value, hadRecentInput} of list.getEntries())
            seen[hadRecentInput ? 'shiftsAfterInput' : 'shifts'] += value;
    }).observe({type: 'layout-shift'});
    const note = now => {
        seen.gaps.push([now - last, (last - begun) / 1000]);
        last = now;
        const blocks = document.querySelector('.nbb-answer .nbb-bubble .nbb-text')?.children ?? [];
        while (counted < blocks.length - 9) whole += visible(blocks[counted++]);
        let shown = whole;
        for (let k = counted; k < blocks.length; k++) shown += visible(blocks[k]);
        if (shown !== length) {
            if (length) seen.grown.push([now - grownAt, shown - length, (now - begun) / 1000]);
            [length, grownAt] = [shown, now];
        }
        const top = document.querySelector('.nbb-panel .nbb-frame')?.getBoundingClientRect().bottom;
        const scrolled = document.querySelector('.jp-WindowedPanel-outer')?.scrollTop ?? 0;
        if (length) seen.composer.push(top + scrolled);
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
            received = {"answer": 0, "all": 0}
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
            seen = page.evaluate("() => window.nbSeen")
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
    gaps = sorted(seen["gaps"], reverse=True)
    longest = ", ".join(f"{gap:.0f} ms after {at:.1f} s" for gap, at in gaps[:5])
    print(f"frames {len(gaps)}, gaps above 100 ms: {sum(gap > 100 for gap, _ in gaps)}, the longest {longest}")
    print_growth(seen["grown"])
    moved = max(seen["composer"]) - min(seen["composer"])
    shifts, after_input = seen["shifts"], seen["shiftsAfterInput"]
    print(f"the composer moved {moved:.0f} px; layout shift {shifts:.3f}, after input {after_input:.3f}")
    answer, everything = received["answer"], received["all"]
    print(f"websocket {answer:,} bytes for the answer, HTML {html:,}: {answer / html:.2f} times", end="; ")
    print(f"with all else, such as what is saved in the notebook, {everything / html:.2f} times")
    print(f"'scattered' {sent.count('scattered')} times sent, {text.count('scattered')} shown")


def print_growth(grown: list[tuple[float, int, float]]) -> None:
    """Print how often the visible text grew, and by how many characters."""
    gaps, sizes = sorted(one[0] for one in grown), sorted(one[1] for one in grown)
    at = lambda values, share: values[int(share * (len(values) - 1))]  # noqa: E731
    late = sum(gap > 200 for gap in gaps)
    longest = ", ".join(f"{gap:.0f} ms at {when:.1f} s" for gap, _, when in sorted(grown, reverse=True)[:5])
    print(
        f"text grew in {len(grown)} frames; ms between two: median {at(gaps, 0.5):.0f}, 95 % {at(gaps, 0.95):.0f}; "
        f"above 200 ms: {late}, the longest {longest}"
    )
    print(f"characters each: median {at(sizes, 0.5)}, 95 % {at(sizes, 0.95)}, most {sizes[-1]}")


def count_frame(received: dict[str, int], frame: dict) -> None:
    """Add the size of a message from the kernel; those that bring the answer to the page count apart."""
    data = frame["response"]
    message = base64.b64decode(data["payloadData"]) if data["opcode"] == 2 else data["payloadData"].encode()
    received["all"] += len(message)
    if re.search(rb'"content":{"type":"(text|meta|items)"', message):
        received["answer"] += len(message)


def busy(devtools) -> dict[str, float]:
    """Return the seconds that the page's main thread has worked so far, by kind of work."""
    metrics = {one["name"]: one["value"] for one in devtools.send("Performance.getMetrics")["metrics"]}
    return {name: metrics[f"{name}Duration"] for name in ("Task", "Script", "Layout", "RecalcStyle")}


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
