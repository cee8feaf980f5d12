"""The part of the fault run that saves chats to a full disk, from processes that are killed."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fault_figures import Figures

from nb_backend import Chat


def disk(seconds: float, seed: int, figures: Figures, folder: Path) -> None:
    """Save chats to a full disk from processes that are killed, and check what is on the disk after each kill."""
    deadline = time.monotonic() + seconds
    random_ = random.Random(seed)
    with small_disk(folder, mounted=seconds >= 60) as (small, how):
        figures[f"full disks were {how}"] = 1
        paths = [small / "chat.json", small / "chat.md", small / "chat.ipynb"]
        _save(Chat(), paths)
        while time.monotonic() < deadline:
            command = [sys.executable, __file__, str(small), str(random_.random())]
            saver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert saver.stdout is not None
            assert saver.stdout.readline() == "saves\n"
            time.sleep(random_.random() * 0.7)
            saver.send_signal(signal.SIGKILL)
            outcomes = saver.communicate()[0].split("\n")[:-1]
            figures["savers killed"] += 1
            figures["saves"] += outcomes.count("saved")
            figures["saves to a full disk"] += outcomes.count("full")
            figures.check({*outcomes} <= {"saved", "full"}, f"a save says {outcomes[-1:]}")
            try:
                loaded = Chat.load(paths[0]).messages
                figures.check(not loaded or loaded[-1]["content"].endswith("the end"), "a saved chat lacks its end")
                figures.check(paths[1].read_text(encoding="utf-8").startswith("# Conversation"), "Markdown was cut")
                json.loads(paths[2].read_text(encoding="utf-8"))
            except (ValueError, OSError) as error:
                figures.check(False, f"after a kill: {error}")
            for part in small.glob(".nb_backend-*.part"):  # the killed process could not remove it
                figures["part files of killed savers"] += 1
                part.unlink()


def save_on(folder: Path, seed: str) -> None:
    """Save chats of all sizes until killed, and print how each save ended."""
    random_ = random.Random(seed)
    limit = resource.RLIM_INFINITY if os.path.ismount(folder) else 300_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    print("saves", flush=True)
    while True:
        chat = Chat()
        size = random_.choice((10, 1000, 50_000, 600_000))
        chat.messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y" * size + "the end"}]
        for name in ("chat.json", "chat.md", "chat.ipynb"):
            try:
                _save(chat, [folder / name])
                outcome = "saved"
            except OSError as error:
                parts = [*folder.glob(".nb_backend-*.part")]
                outcome = f"left {parts}" if parts else "full" if "\n" not in str(error) else repr(error)
            except Exception as escaped:
                outcome = repr(escaped)
            print(outcome, flush=True)


def _save(chat: Chat, paths: list[Path]) -> None:
    for path in paths:
        (chat.save if path.suffix == ".json" else chat.export)(path)


@contextmanager
def small_disk(folder: Path, *, mounted: bool) -> Iterator[tuple[Path, str]]:
    """Yield a folder on a disk of 300 kB and what it is.

    Without ``mounted``, or without the right to mount one, it is a folder in which files are limited to that size.
    """
    small = folder / "small"
    small.mkdir()
    mount = shutil.which("mount")
    command = [mount or "", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(small)]
    if not mounted or mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        yield small, "a limit on the size of files"
        return
    try:
        yield small, "a tmpfs of 300 kB"
    finally:
        subprocess.run(["umount", str(small)], check=True)


if __name__ == "__main__":
    save_on(Path(sys.argv[1]), sys.argv[2])
