"""What axe-core finds wrong with a part of a page: names, roles, contrast, sizes, the keyboard's order.

assert violations(page, ".nbb-panel") == []
"""

from __future__ import annotations

from typing import Any

import npm
from playwright.sync_api import Page

OPTIONS: dict[str, Any] = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    # What is asked of the whole page (a main, a title, a first heading) axe leaves out itself when it is given an
    # element. The other rules on landmarks hold for a part as well: it brings no `main`, and no two of one name.
    "rules": {
        "region": {"enabled": False},  # that everything stands in a landmark is for the page around it to see to
        "target-size": {"enabled": True},  # 24 by 24 pixels or room around: the one rule of WCAG 2.2, off by default
    },
    "resultTypes": ["violations"],
    "iframes": False,
}
RUN = "async (element, options) => (await axe.run(element, options)).violations"


def violations(page: Page, selector: str) -> list[str]:
    """Judge the one element that the selector finds; give a line for each thing that is wrong, sorted by rule.

    What axe cannot decide (the contrast on a picture, say) is not among them.
    """
    if not page.evaluate("() => Boolean(window.axe?.run)"):
        page.evaluate((npm.folder() / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    found = page.locator(selector).evaluate(RUN, OPTIONS)
    return [_line(rule, element) for rule in sorted(found, key=lambda rule: rule["id"]) for element in rule["nodes"]]


def _line(rule: dict[str, Any], element: dict[str, Any]) -> str:
    target = " ".join(part if isinstance(part, str) else " >>> ".join(part) for part in element["target"])
    summary = "; ".join(line.strip() for line in element["failureSummary"].splitlines() if line.strip())
    return (
        f"{rule['id']} ({element['impact'] or rule['impact']}) {target}: {rule['help']}. {summary.replace(':;', ':')}"
    )
