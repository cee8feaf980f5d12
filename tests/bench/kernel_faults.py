"""The part of the fault run that kills the embedded backend of a kernel while its cells run."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from pathlib import Path

import psutil
from driver import Kernel
from fault_figures import KINDS, Figures
from jupyter_client.manager import start_new_kernel


def kernel(seconds: float, seed: int, figures: Figures, folder: Path) -> None:
    """Run cells while the kernel's embedded backend is killed, and check what they show and what the chat holds."""
    random_ = random.Random(seed)
    words = [f"word{at} " for at in range(60)]
    script = folder / "script.json"
    script.write_text(json.dumps([step for word in words for step in (word, 0.01)]))
    env = {name: value for name, value in os.environ.items() if not name.startswith(("NB_BACKEND", "G4F"))}
    manager, client = start_new_kernel(kernel_name="python3", env={**env, "NB_BACKEND_SCRIPT": str(script)})
    try:
        cells = Kernel(manager, client)
        cells.run("%load_ext nb_backend\nfrom nb_backend import chats\nimport threading")
        pid = manager.provisioner.pid
        deadline = time.monotonic() + seconds
        turns, threads = 0, 0
        while time.monotonic() < deadline:
            timer = threading.Timer(random_.random() * 1.5, _kill_backend, [pid, figures])
            if figures["cells"] % 3:
                timer.start()
            began = time.monotonic()
            run = cells.run("%%backend\nGo on.", cell=f"cell-{figures['cells']}")
            figures.longest = max(figures.longest, time.monotonic() - began)
            timer.cancel()
            if timer.is_alive():
                timer.join()
            figures["cells"] += 1
            shown = [display["data"]["text/plain"] for display in run.displays if "text/plain" in display["data"]]
            lines = all("".join(words).startswith(text) for text in shown)
            figures.check(lines and shown == sorted(shown, key=len), "a cell lost text that it had shown")
            if run.error is None:
                turns += 1
                figures["cells answered"] += 1
                figures.check(shown[-1] == "".join(words), "half an answer passes for a whole one in a cell")
            else:
                figures[f"cells failed: {run.error[0]}"] += 1
                figures.check(run.error[0] in KINDS and "\n" not in run.error[1], f"a cell says {run.error}")
            counted = json.loads(cells.run("[len(chats['main'].messages), threading.active_count()]").result or "[]")
            figures.check(counted[0] == 2 * turns, "the conversation of the cells has something else")
            threads = threads or counted[1]
            figures.check(counted[1] <= threads + 3, f"{counted[1]} threads in the kernel, {threads} at first")
        time.sleep(0.5)
        figures.check(len(_children(pid)) <= 1, "processes of embedded backends are left")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    gone = psutil.wait_procs(_children(os.getpid()), 10)[1]
    figures.check(not gone, f"processes outlived the kernel: {gone}")


def _children(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def _kill_backend(kernel_pid: int, figures: Figures) -> None:
    for child in _children(kernel_pid):
        child.kill()
        figures["embedded backends killed"] += 1
