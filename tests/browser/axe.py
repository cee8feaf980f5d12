"""Problems that axe-core finds in a part of a page: names, roles, contrast, sizes, keyboard order.

assert violations(page, ".nbb-panel") == []
"""

from __future__ import annotations

from typing import Any

import npm
from playwright.sync_api import Page

OPTIONS: dict[str, Any] = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    # axe itself skips the rules for a whole page (main landmark, title, first heading) if it is given an
    # element. The other rules on landmarks apply to a part too: no `main`, and no two with the same name.
    "rules": {
        "region": {"enabled": False},  # landmarks are a matter of the surrounding page
        "target-size": {"enabled": True},  # 24 by 24 pixels, or space around: a rule of WCAG 2.2, off by default
    },
    "resultTypes": ["violations"],
    "iframes": False,
}
RUN = "async (element, options) => (await axe.run(element, options)).violations"


def violations(page: Page, selector: str) -> list[str]:
    """Check the one element that the selector finds, and return a line for each problem, sorted by rule.

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
