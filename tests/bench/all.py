"""Run all measurements and write RESULTS.md: `python tests/bench/all.py [name ...]`, or `make bench`."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
SCRIPTS = (
    "event_cost", "added_latency", "live_cell", "imports", "many_streams", "long_stream", "embedded", "growth",
    "tool_rounds",
)  # fmt: skip
ON_REQUEST = ("servers",)  # asks servers of others, which are installed for it: `make servers`
PACKAGES = ("nb_backend", "aiohttp", "orjson", "markdown-it-py", "ipykernel", "ipython", "jupyterlab", "xllamacpp")


def machine() -> str:
    """Return the date and the machine."""
    cpu = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
        cpu = found[1] if found else cpu
    return f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.release()}, {os.cpu_count()} cores, {cpu}"


def about() -> str:
    """Return the head of RESULTS.md: the machine and the versions."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return (
        "# What it costs\n\nWritten by `make bench`. Ratios are medians of the ratios within one round, of rounds that "
        "alternate in one run; a machine whose pace changes changes both sides. "
        "A part that was measured alone names its own machine.\n\n"
        f"- {machine()}\n"
        f"- Python {platform.python_version()}, {versions}\n"
    )


def measured(name: str) -> str:
    """Run one script and return what it prints, or why it failed."""
    print(f"{name} ...", flush=True)
    done = subprocess.run([sys.executable, HERE / f"{name}.py"], capture_output=True, text=True, timeout=1800)
    if done.returncode:
        reason = (done.stderr.strip() or "it printed no reason").splitlines()[-1]
        return f"## {name}\n\nNot measured: {reason}\n"
    return done.stdout.strip() + "\n"


def main(*names: str) -> None:
    """Run the named scripts, or all but those on request; the earlier results of the others stay."""
    before = RESULTS.read_text() if RESULTS.exists() else ""
    parts = dict(re.findall(r"<!-- (\w+) -->\n(.*?)(?=<!-- \w+ -->|\Z)", before, re.DOTALL))
    head = before.partition("<!-- ")[0] if before and names else f"{about()}\n"
    for name in names or SCRIPTS:
        parts[name] = measured(name) + (f"\n{machine()}\n\n" if names else "\n")
        written = "".join(f"<!-- {each} -->\n{parts[each]}" for each in (*SCRIPTS, *ON_REQUEST) if each in parts)
        RESULTS.write_text(f"{head}{written}".rstrip() + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
