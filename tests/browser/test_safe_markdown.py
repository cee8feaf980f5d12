"""Hostile answers in a real JupyterLab: nothing runs, nothing is fetched, nothing foreign stands in the page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from hostile import HOSTILE
from jupyter_page import Notebook
from playwright.sync_api import Request

from nb_backend.markdown import safe_markdown

OUTPUTS_PER_CELL = 45  # JupyterLab folds more than 50
SHOW = """
import json
from IPython.display import display
for text in json.load(open("texts.json"))[{0}:{1}]:
    display({{"text/markdown": text}}, raw=True)
"""
END = "\n\nTHEEND $z$"  # a formula in every output: when it is typeset, the output is finished
TYPESET = (
    "([i, count]) => { const outputs = [...jupyterapp.shell.currentWidget.content.widgets[i].node"
    ".querySelectorAll('.jp-RenderedMarkdown')];"
    "return outputs.length === count && outputs.every(output => output.querySelector('mjx-container')); }"
)
SHOWN = (Path(__file__).parent / "shown.js").read_text()


@contextmanager
def requests_of(nb: Notebook) -> Iterator[list[str]]:
    """Collect what the page asks of others, and of the server under a name only an answer can have given it."""
    asked: list[str] = []

    def note(request: Request) -> None:
        url = urlsplit(request.url)
        elsewhere = url.scheme not in ("data", "blob") and url.netloc != urlsplit(nb.lab.url).netloc
        if elsewhere or "pwned" in url.path + url.query:
            asked.append(request.url)

    nb.page.on("request", note)
    yield asked
    nb.page.remove_listener("request", note)


def show(nb: Notebook, texts: list[str]) -> int:
    """Display every text as the Markdown output of a cell that was just run; give the number of cells."""
    (nb.lab.root / "texts.json").write_text(json.dumps(texts))
    starts = range(0, len(texts), OUTPUTS_PER_CELL)
    nb.open(*(SHOW.format(start, start + OUTPUTS_PER_CELL) for start in starts))
    nb.page.evaluate("() => { window.hits = []; window.hit = () => { hits.push(new Error().stack); }; }")
    for i in range(len(starts)):
        nb.run(i)
    return len(starts)


def test_the_same_answers_act_when_shown_raw(nb: Notebook) -> None:
    with requests_of(nb) as asked:
        show(nb, [HOSTILE[0], HOSTILE[1], HOSTILE[3]])
        nb.page.wait_for_function("() => hits.length >= 2")
        nb.output(0).locator("img[src*='evil.test']").wait_for(state="attached")
    assert any("evil.test" in url for url in asked)


def test_nothing_acts(nb: Notebook) -> None:
    cases = [text[: len(text) * part // 4] for text in HOSTILE for part in (1, 2, 3, 4)]
    cases += [text[:-1] for text in HOSTILE]
    with requests_of(nb) as asked:
        cells = show(nb, [safe_markdown(text) + END for text in cases])
        shown = []
        for i in range(cells):
            count = min(OUTPUTS_PER_CELL, len(cases) - i * OUTPUTS_PER_CELL)
            nb.page.wait_for_function(TYPESET, arg=[i, count])
            shown += nb.page.evaluate(SHOWN, [i])
    assert {case: output["wrong"] for case, output in zip(cases, shown, strict=True) if output["wrong"]} == {}
    assert nb.page.evaluate("() => hits") == []
    assert asked == []


def test_the_text_is_readable(nb: Notebook) -> None:
    texts = {
        "before <script>hit()</script> after": "before <script>hit()</script> after",
        "see [click](javascript:hit()) here": "see [click](javascript:hit()) here",
        "a ![plot](https://evil.test/x.png) b": "a image: plot (evil.test) b",
        "it costs $5 or $6, not \\$7 & @@0@@": "it costs $5 or $6, not $7 & @@0@@",
        "`<b>&lt;</b>` and `` `tick` `` and `$x`": "<b>&lt;</b> and `tick` and $x",
        "- ```python\n  if a < b: echo('$x', \"$y\")\n  <script>\n  ```": "if a < b: echo('$x', \"$y\")\n<script>",
        "path C:\\Users\\(new) and \\begin{x}": "path C:\\Users(new) and \\begin{x}",
        "bidi \u202e here": "bidi [U+202E] here",
        "> quote\n> - <b>item": "quote\n\n<b>item",
    }
    show(nb, [safe_markdown(text) for text in texts])
    rendered = nb.output(0).locator(".jp-RenderedMarkdown")
    rendered.nth(len(texts) - 1).get_by_text("item").wait_for()
    assert [text.strip() for text in rendered.all_inner_texts()] == list(texts.values())


def test_harmless_markdown_is_rendered(nb: Notebook) -> None:
    with requests_of(nb) as asked:
        show(nb, [safe_markdown(RICH)])
        nb.page.wait_for_function(TYPESET, arg=[0, 1])
    output = nb.output(0)
    for selector, count in {
        "h1": 1, "h2": 2, "strong": 2, "em": 1, "del": 1, "table": 1, "td": 4, "blockquote": 1, "ol > li": 2,
        "ul ul > li": 1, "input[type=checkbox]": 2,
        "a[href='https://example.org/a_b?x=1&y=2'][rel~=noopener]": 1, "img": 1, "hr": 1,
        "mjx-container": 6, "mjx-container[display=true]": 3, "mjx-merror": 0,
    }.items():  # fmt: skip
        assert (selector, output.locator(selector).count()) == (selector, count)
    assert output.locator("pre code span[class]").count() > 8  # highlighted
    assert output.locator("pre").first.inner_text().strip() == CODE
    assert asked == []


DOT = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAA"
    "AHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO9TXL0Y4OHwAAAABJRU5ErkJggg=="
)
CODE = (
    'def mean(values: list[float]) -> str:\n    """<b>Not bold</b>, $not$ a formula."""\n    return f"{values[0] < 3}"'
)
RICH = f"""\
# A harmless answer

Some *emphasis*, **strong words**, ~~gone~~, `code`, snake_case_names, 5 < 6 & 7 > 3, and it costs $5.
With a [link](https://example.org/a_b?x=1&y=2), a bare https://example.org/path and a formula $e^{{i\\pi}} = -1$.

## Code

```python
{CODE}
```

1. First install it:
   ```bash
   pip install nb_backend
   ```
2. Then
   - start
     - slowly

- [ ] open task
- [x] done task

> A quote with \\(a_b < c\\).

| name | value |
| :--- | ---: |
| `a` | 1 |
| **b** | $P(A|B)$ |

## Mathematics

$$
\\begin{{aligned}}
a &= b \\\\
- c &= \\frac{{d}}{{2}}
\\end{{aligned}}
$$

\\[ \\int_0^1 f(x)\\,dx \\]

\\begin{{equation}}
E = mc^2 \\text{{ for }} m < 1
\\end{{equation}}

![a red dot]({DOT})

---

Done.
"""
