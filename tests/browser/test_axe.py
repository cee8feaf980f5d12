"""axe finds the problems of a part of a page without network requests."""

from __future__ import annotations

import npm
import pytest
from axe import violations
from playwright.sync_api import Page

BAD = """
<button></button> <p style="color: #999; background: #fff">pale</p>
<span><button aria-label=one class=tiny></button><button aria-label=two class=tiny></button></span>
<main>a second one</main>
"""
GOOD = """
<section aria-label=part><h3>Part</h3><button>Send</button> <label>Message <textarea></textarea></label></section>
"""
PAGE = """
<!doctype html><html><style>.tiny {{width: 12px; height: 12px; padding: 0; border: 0}}</style>
<body><main><div id=bad>{0}</div><div id=good>{1}</div></main></body></html>
"""


@pytest.fixture(autouse=True)
def _both_parts(page: Page) -> None:
    npm.folder()
    page.set_content(PAGE.format(BAD, GOOD))


def test_problems_are_found(page: Page) -> None:
    found = violations(page, "#bad")
    rules = [line.split()[0] for line in found]
    mains = ("landmark-main-is-top-level", "landmark-no-duplicate-main")
    assert sorted(set(rules)) == ["button-name", "color-contrast", *mains, "target-size"]
    assert rules.count("target-size") == 2
    (unnamed,) = (line for line in found if line.startswith("button-name"))
    assert unnamed.startswith(
        "button-name (critical) #bad > button: Buttons must have discernible text. Fix any of the"
    )
    assert "insufficient color contrast of 2.84" in next(line for line in found if line.startswith("color-contrast"))


def test_a_good_part_of_a_bad_page_has_no_problems(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    assert violations(page, "#good") == []
    assert asked == []
