"""Safe Markdown in a real JupyterLab: hostile text acts if shown raw and is readable if made safe; the rest renders."""

from __future__ import annotations

import json

from hostile import HOSTILE
from hostile_page import READ, WATCH, as_read, requests_of
from jupyter_page import Notebook

from nb_backend.markdown.safe import safe_markdown

SHOW = """
import json
from IPython.display import display
for text in json.load(open("texts.json")):
    display({"text/markdown": text}, raw=True)
"""
TYPESET = "() => document.querySelector('.jp-Notebook mjx-container')"


def show(nb: Notebook, texts: list[str]) -> None:
    """Display every text as a Markdown output of a cell that has just run."""
    (nb.lab.root / "texts.json").write_text(json.dumps(texts))
    nb.open(SHOW)
    nb.page.evaluate(WATCH)
    nb.run(0)


def test_the_same_answers_act_when_shown_raw(nb: Notebook) -> None:
    with requests_of(nb.page, nb.lab.url) as asked:
        show(nb, [HOSTILE[0], HOSTILE[1], HOSTILE[3]])
        nb.page.wait_for_function("() => hits.length >= 2")
        nb.output(0).locator("img[src*='evil.test']").wait_for(state="attached")
    assert any("evil.test" in url for url in asked)


def test_the_text_is_readable(nb: Notebook) -> None:
    texts = READ | {
        "- ```python\n  if a < b: echo('$x', \"$y\")\n  <script>\n  ```": "if a < b: echo('$x', \"$y\") <script>",
        "> quote\n> - <b>item": "quote <b>item",
    }
    show(nb, [safe_markdown(text) for text in texts])
    rendered = nb.output(0).locator(".jp-RenderedMarkdown")
    rendered.nth(len(texts) - 1).get_by_text("item").wait_for()
    assert dict(zip(texts, map(as_read, rendered.all_inner_texts()), strict=True)) == texts


def test_harmless_markdown_is_rendered(nb: Notebook) -> None:
    with requests_of(nb.page, nb.lab.url) as asked:
        show(nb, [safe_markdown(RICH)])
        nb.page.wait_for_function(TYPESET)
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
