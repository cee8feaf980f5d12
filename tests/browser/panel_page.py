"""The panel's page alone: the modules of widget.js and widget.css in a blank page, where the test plays the kernel.

``PanelPage`` records the requests of the page (``requests``), replies to them, and sends broadcasts (``say``)::

    panel.open()
    panel.box.fill("Hello")
    panel.box.press("Enter")
    assert panel.asked("send")["text"] == "Hello"
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from playwright.sync_api import Error, Locator, Page

import nb_backend.notebook
from nb_backend.notebook.panel.page_module import joined

PANEL = Path(nb_backend.notebook.__file__).parent / "panel"
HARNESS = Path(__file__).with_name("panel_harness.js")
LIGHT = """
    --jp-layout-color0: white; --jp-layout-color1: white; --jp-layout-color2: #eee; --jp-layout-color3: #bdbdbd;
    --jp-content-font-color1: rgba(0,0,0,.87); --jp-content-font-size1: 14px; --jp-content-link-color: #0d47a1;
    --jp-brand-color1: #1976d2; --jp-accept-color-normal: #1976d2;
"""
DARK = """
    --jp-layout-color0: #111; --jp-layout-color1: #212121; --jp-layout-color2: #424242; --jp-layout-color3: #616161;
    --jp-content-font-color1: #fff; --jp-content-font-size1: 14px; --jp-content-link-color: #64b5f6;
    --jp-brand-color1: #2196f3; --jp-accept-color-normal: #1976d2;
"""
FONTS = """
    --jp-content-font-family: system-ui, -apple-system, "Segoe UI", helvetica, arial, sans-serif;
    --jp-code-font-family: menlo, consolas, "DejaVu Sans Mono", monospace;
"""
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFklEQVR4nGP8z8DAwMDAxMDAwMDAAAANHQEDasKb6QAAAABJRU5ErkJggg=="
)
SETTINGS: dict[str, Any] = {
    "model": "gpt-4o",
    "system": "",
    "temperature": None,
    "max_tokens": None,
    "effort": None,
    "enter_sends": True,
    "vision": True,
    "server": "embedded backend",
}


def item(key: str, role: str = "assistant", *content: str, **fields: Any) -> dict[str, Any]:
    """Return an item as the kernel sends it."""
    can = ["edit", "delete", "copy"] if role == "user" else ["retry", "delete", "copy"]
    given: dict[str, Any] = {"id": key, "role": role, "content": list(content), "reasoning": [], "images": []}
    given |= {
        "status": "done",
        "who": "",
        "progress": "",
        "wait": None,
        "error": "",
        "time": 1_795_000_000_000,
        "can": can,
        "source": "",
    }
    return given | fields


class PanelPage:
    """A panel in a page, with the kernel's side of it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.manager = "undefined"  # a script for the model's widget_manager

    def __enter__(self) -> Self:
        self.page.on("pageerror", self._failed)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.page.remove_listener("pageerror", self._failed)
        if error is None:
            assert self.errors == []

    def _failed(self, error: Error) -> None:
        self.errors.append(str(error))

    def open(self, *items: dict[str, Any], theme: str = "light", width: int = 720, **state: Any) -> None:
        """Load the panel with these items into a blank page of this width in pixels; the theme may be "none"."""
        self.load(theme, width)
        self.greet(*items, **state)

    def greet(self, *items: dict[str, Any], **state: Any) -> None:
        """Answer the request ``hello`` of the page."""
        self.page.evaluate("state => kernel.state(state)", self.state(*items, **state))
        self.settle()

    def load(self, theme: str = "light", width: int = 720, before: str = "") -> None:
        """Load the panel into a blank page, after a script, without an answer of the kernel yet."""
        colours = {"light": LIGHT, "dark": DARK}.get(theme, "")
        told = f"data-jp-theme-light={str(theme == 'light').lower()}" if colours else ""
        self.page.goto("about:blank")
        self.page.set_content(
            f"<!doctype html><html lang=en><title>panel</title><style>:root {{{colours}{FONTS}}}"
            f"body {{margin: 12px; background: var(--jp-layout-color0)}} main {{max-width: {width}px}}"
            f"{(PANEL / 'widget.css').read_text()}</style><body {told}><main></main>"
        )
        self.page.add_script_tag(content=HARNESS.read_text())
        self.page.evaluate(f"() => {{ kernel.manager = {self.manager}; {before} }}")
        self.page.evaluate("source => kernel.load(source)", self.source())

    def state(self, *items: dict[str, Any], **fields: Any) -> dict[str, Any]:
        given: dict[str, Any] = {"chat": "chat", "title": "chat", "settings": SETTINGS, "draft": "", "images": []}
        given |= {
            "limits": {"image": 20_000_000, "piece": 1 << 20},
            "subshells": True,
            "finished": False,
            "items": items,
        }
        return given | fields

    def source(self) -> str:
        return joined(PANEL / "widget.js")

    def say(self, kind: str, **fields: Any) -> None:
        """Send a broadcast with the next number."""
        self.page.evaluate("message => kernel.say(message)", {"type": kind, **fields})

    def items(self, order: Sequence[str], *items: dict[str, Any]) -> None:
        self.say("items", order=list(order), items=list(items))

    def settings(self, **changed: Any) -> None:
        self.say("settings", chat="chat", title="chat", settings=SETTINGS | changed)

    def settle(self) -> None:
        """Wait until all changes are painted."""
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def requests(self, kind: str = "") -> list[dict[str, Any]]:
        """Return the requests that the page has sent so far."""
        sent: list[dict[str, Any]] = json.loads(self.page.evaluate("() => JSON.stringify(kernel.sent)"))
        return [request for request in sent if kind in ("", request["type"])]

    def asked(self, kind: str, at: int = -1) -> dict[str, Any]:
        """Wait for a request of this type and return it."""
        number = at + 1 if at >= 0 else 1
        self.page.wait_for_function(
            "([kind, n]) => kernel.sent.filter(r => r.type === kind).length >= n", arg=[kind, number]
        )
        return self.requests(kind)[at]

    def reply(self, request: Mapping[str, Any], **fields: Any) -> None:
        """Reply to a request; ``error`` refuses it."""
        self.page.evaluate("([id, fields]) => kernel.reply(id, fields)", [request["id"], fields])
        self.settle()

    def answers(self, kind: str, **fields: Any) -> None:
        """Reply to every request of this type from now on."""
        self.page.evaluate("([kind, fields]) => { kernel.answers[kind] = fields; }", [kind, fields])

    def run(self, script: str, argument: Any = None) -> Any:
        """Evaluate a script in the page, with the variables ``kernel`` and ``panel`` (the root element)."""
        return self.page.evaluate(
            f"async (given) => {{ const panel = document.querySelector('.nbb-panel'); {script} }}", argument
        )

    def until(self, condition: str, argument: Any = None) -> None:
        self.page.wait_for_function(f"(given) => {condition}", arg=argument)

    @property
    def root(self) -> Locator:
        return self.page.locator(".nbb-panel")

    @property
    def box(self) -> Locator:
        return self.root.get_by_role("textbox", name="Message")

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    def notes(self) -> str:
        return self.root.locator(".nbb-notes").inner_text()


P = (
    "<p>Sunlight is <strong>scattered</strong> by the molecules of the air; "
    "short waves more than <em>long</em> ones.</p>"
)
CODE = (
    '<figure class="nbb-code"><figcaption>python</figcaption><pre tabindex="0"><code><span class="kn">import</span> '
    '<span class="nn">numpy</span> <span class="k">as</span> <span class="nn">np</span>\n\n'
    '<span class="k">def</span> <span class="nf">scattering</span><span class="p">(</span>'
    '<span class="n">wavelength</span>'
    '<span class="p">:</span> <span class="nb">float</span><span class="p">):</span>\n    '
    '<span class="sd">"""How much."""</span>\n'
    '    <span class="k">return</span> <span class="n">wavelength</span><span class="o">**-</span>'
    '<span class="mi">4</span>'
    '  <span class="c1"># blue wins</span>\n</code></pre></figure>'
)
TABLE = (
    '<div class="nbb-table" tabindex="0" role="region" aria-label="Table"><table><thead><tr>'
    "<th>colour</th><th>wavelength</th>"
    "</tr></thead><tbody><tr><td>blue</td><td>450 nm</td></tr><tr><td>red</td><td>650 "
    "nm</td></tr></tbody></table></div>"
)
MATH = (
    '<div class="nbb-math" tabindex="0" role="math" aria-label="formula"><math display="block">'
    "<mrow><msub><mi>I</mi><mi>s</mi>"
    "</msub><mo>∝</mo><mfrac><mn>1</mn><msup><mi>λ</mi><mn>4</mn></msup></mfrac></mrow></math></div>"
)
TASKS = (
    '<ul><li class="nbb-task"><span role="img" aria-label="done">☑</span> load the data</li>'
    '<li class="nbb-task"><span role="img" aria-label="open">☐</span> draw it</li></ul>'
)
REMOTE = (
    '<p><a class="nbb-remote" href="https://example.org/sky.png" data-remote="https://example.org/sky.png" '
    'target="_blank" '
    'rel="noopener noreferrer">image: the sky (example.org)</a></p>'
)
QUESTION = item("q1", "user", "<p>Why is the sky blue? Show me how to compute it.</p>")
ANSWER = item(
    "a1",
    "assistant",
    "<h3>Why the sky is blue</h3>",
    P,
    CODE,
    TABLE,
    "<p>In a formula:</p>",
    MATH,
    TASKS,
    "<blockquote><p>The sky is the daily bread of the eyes.</p></blockquote>",
    REMOTE,
    reasoning=["<p>The person asks about Rayleigh scattering, so a short derivation will do.</p>"],
    who="gpt-4o · 214 tokens · 3.4 s",
)
