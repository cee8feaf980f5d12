"""The time to import the package and to load the extension: `python tests/bench/imports.py`.

In fresh processes, in turns, with compiled files: `import nb_backend` and `import IPython`, `%load_ext nb_backend` and
jupyter-ai's magics. In fresh kernels: `%load_ext nb_backend`, and how much longer the first prompt takes than the
second.
"""

from __future__ import annotations

import compileall
import statistics
from functools import partial
from pathlib import Path

from first_token import Kernel
from jupyter_client.manager import start_new_kernel
from measuring import in_process, peer, rounds, table, verdict
from serving import TOKEN, serving

import nb_backend
from nb_backend.local.scripted import ScriptedEngine

TIMED = """
import json, time
begun = time.perf_counter()
import {0}
print(json.dumps(1000 * (time.perf_counter() - begun)))
"""
LOAD_IN_PROCESS = """
import json, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
begun = time.perf_counter()
shell.run_line_magic("load_ext", {0!r})
print(json.dumps(1000 * (time.perf_counter() - begun)))
"""
LOAD = """
import time
begun = time.perf_counter()
get_ipython().run_line_magic("load_ext", {0!r})
1000 * (time.perf_counter() - begun)
"""
AIOHTTP = "import time\nbegun = time.perf_counter()\nimport aiohttp\n1000 * (time.perf_counter() - begun)"
ASK = """
import time
import nb_backend
def timed():
    begun = time.perf_counter()
    nb_backend.Chat(url={0!r}, api_key={1!r})("Hi")
    return 1000 * (time.perf_counter() - begun)
first, second = timed(), timed()
first - second
"""


def in_kernel(code: str, before: str = "1") -> float:
    """Run code in a fresh kernel, and return its value as a number."""
    manager, client = start_new_kernel(kernel_name="python3")
    kernel = Kernel(manager, client)
    kernel.run(before)
    run = kernel.run(code)
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    if run.result is None:
        raise RuntimeError(str(run.error))
    return float(run.result)


def main() -> None:
    """Measure and print the tables."""
    compileall.compile_dir(Path(nb_backend.__file__).parent, quiet=1)  # as after an installation by pip
    print("## Import\n")
    contenders = {name: partial(in_process, TIMED.format(name)) for name in ("IPython", "aiohttp", "nb_backend")}
    for name in ("openai", "chatlas"):
        if python := peer(name):
            contenders[name] = partial(in_process, TIMED.format(name), python=python)
    mine, theirs = "%load_ext nb_backend", "%load_ext jupyter_ai_magic_commands"
    contenders[mine] = partial(in_process, LOAD_IN_PROCESS.format("nb_backend"))
    if python := peer("jupyter-ai-magic-commands"):
        contenders[theirs] = partial(in_process, LOAD_IN_PROCESS.format("jupyter_ai_magic_commands"), python=python)
    found = rounds(contenders, 7)
    table(found, "IPython", "ms")
    verdict("`import nb_backend` at most 15 ms", statistics.median(found["nb_backend"]) <= 15)
    print("\n## In a running kernel\n")
    with serving(ScriptedEngine()) as server:
        ask = ASK.format(server.url, TOKEN)
        found = rounds(
            {
                "import aiohttp": partial(in_kernel, AIOHTTP),
                "%load_ext nb_backend": partial(in_kernel, LOAD.format("nb_backend")),
                "the first question, above the second": partial(in_kernel, ask, "%load_ext nb_backend"),
            },
            5,
        )
    table(found, "import aiohttp", "ms")
    loads, aiohttp, first = (statistics.median(found[name]) for name in (
        "%load_ext nb_backend", "import aiohttp", "the first question, above the second"))  # fmt: skip
    verdict("`%load_ext nb_backend` at most 30 ms", loads <= 30)
    verdict("the first use at most 60 ms above `import aiohttp`", first - aiohttp <= 60)


if __name__ == "__main__":
    main()
