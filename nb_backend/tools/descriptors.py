"""Keep what the programs print that code in a kernel starts: they write past ``sys.stdout``."""

from __future__ import annotations

import codecs
import os
import threading
from collections.abc import Callable
from contextlib import suppress

_SECONDS = 2.0  # for the reader to come to the end of what was printed
_OUTPUTS = (1, 2)


def take_descriptors(add: Callable[[str], None]) -> Callable[[], None]:
    """Pass what is written to the standard output and error of the process to a function, from a thread of its own.

    The function that is returned ends this: what programs write that go on then goes where it went before.
    """
    end = b"\0nb_backend:" + os.urandom(8).hex().encode()
    before = {number: os.dup(number) for number in _OUTPUTS}
    reading, writing = os.pipe()
    for number in _OUTPUTS:
        os.dup2(writing, number)
    at_end = threading.Event()
    pump = threading.Thread(target=_pump, args=(reading, before[1], add, end, at_end), daemon=True)
    pump.name = "nb_backend output of programs"
    pump.start()

    def put_back() -> None:
        for number, copy in before.items():
            os.dup2(copy, number)
        with suppress(OSError):  # the code has closed what it found
            os.write(writing, end)
            os.close(writing)
            at_end.wait(_SECONDS)
        os.close(before[2])

    return put_back


def _pump(reading: int, before: int, add: Callable[[str], None], end: bytes, at_end: threading.Event) -> None:
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    held = b""  # may be the beginning of ``end``
    with suppress(OSError):
        while data := os.read(reading, 2**16):
            if at_end.is_set():
                os.write(before, data)
                continue
            data, found, later = (held + data).partition(end)
            held = b"" if found else data[len(data) - len(end) + 1 :] if len(data) >= len(end) else data
            add(decode(data if found else data[: len(data) - len(held)]))
            if found:
                at_end.set()
                os.write(before, later) if later else None
    at_end.set()
    for descriptor in (reading, before):
        with suppress(OSError):
            os.close(descriptor)
