"""The browser that the tests drive: one that is there, else one that gets installed.

``python tests/browser/chromium.py`` installs one if necessary and prints one line about it; the Makefile calls it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge", "msedge")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


def find() -> str | None:
    """Return the path of a browser: ``$CHROMIUM``, the system's Chromium, Chrome or Edge, Playwright's own, or None."""
    candidates = (os.environ.get("CHROMIUM"), *map(shutil.which, NAMES), *PLACES)
    for path in candidates:
        if path and Path(path).is_file():
            return path
    return _playwrights_own()


def _playwrights_own() -> str | None:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).is_file() else None


def install() -> str:
    """Install a browser if there is none; return one line that says which one is used and how it was found."""
    if there := find():
        return f"browser: {there} (already there)"
    if shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        apt = ["apt-get", "-qq"]
        ways = [[*apt, "update"], [*apt, "install", "-y", "--no-install-recommends", "chromium"]]
    else:
        ways = [[sys.executable, "-m", "playwright", "install", "chromium"]]
    for command in ways:
        ended = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        if ended.returncode:
            return f"browser: none, `{' '.join(command)}` failed ({ended.returncode}); the browser tests will not run"
    return f"browser: {find()} (installed with {Path(ways[-1][0]).name})"


if __name__ == "__main__":
    print(install())
    sys.exit(0 if find() else 1)
