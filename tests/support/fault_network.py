"""A server that tests kill and a proxy that fails: each is a process that knows which bytes arrived.

``python fault_network.py server PORT`` answers each prompt with bytes that depend only on the prompt's number;
``python fault_network.py proxy PORT SERVER_PORT SEED`` forwards to it and fails at random. Both write a line to stdout
when a prompt arrives, and for each part of its answer that the client's kernel has acknowledged: the prompt's number,
the bytes of the answer so far, and the time.
"""

from __future__ import annotations

import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any

PROMPT = re.compile(rb"fault-(\d+)-([a-z]*)(-\d+)?")
BREAKS_OFF = 7  # one in this many answers ends with an error event
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n%s\r\n"
SHORT = 3  # events of an answer whose fault the prompt names


def texts(number: int) -> list[str]:
    """Return the deltas of the answer to a prompt."""
    random_ = random.Random(number)
    signs = "abc äß€ 😀\n `<script>`\u2028"
    return [
        f"[{number}.{at}]{''.join(random_.choices(signs, k=random_.choice((3, 30, 3000))))}"
        for at in range(random_.randrange(1, 60))
    ]


def breaks_off(number: int) -> bool:
    """Whether the server ends this answer with an error event."""
    return number % BREAKS_OFF == 0


def events(number: int, openai: bool) -> list[bytes]:
    """Return the events of an answer in bytes: one for each delta, then those of the end."""
    if openai:
        said: list[Any] = [{"choices": [{"delta": {"content": text}}]} for text in texts(number)]
        end: list[Any] = [{"choices": [{"delta": {}, "finish_reason": "stop"}]}]
        failure: list[Any] = [{"error": {"message": "the model fell over"}}]
    else:
        said = [{"type": "content", "content": text} for text in texts(number)]
        end = [{"type": "finish", "finish": {"reason": "stop"}}]
        failure = [{"type": "error", "error": "Fell", "message": "the model fell over"}]
    as_text = number % 2 == 0
    written = [json.dumps(event, ensure_ascii=as_text) for event in said + (failure if breaks_off(number) else end)]
    if openai:
        return [b"data: %s\n\n" % line.encode() for line in [*written, "[DONE]"]]
    if number % 3:
        return [b"event: %s\ndata: %s\n\n" % (json.loads(line)["type"].encode(), line.encode()) for line in written]
    return [line.encode() + b"\n" for line in written]


def answer(number: int, openai: bool) -> bytes:
    """Return all bytes of an answer."""
    chunks = [b"%x\r\n%s\r\n" % (len(event), event) for event in events(number, openai)]
    return HEAD + b"".join(chunks) + b"0\r\n\r\n"


def whole_texts(number: int, openai: bool, received: int) -> str:
    """Return the text of the events that are complete in the first ``received`` bytes of an answer."""
    end, said = len(HEAD), ""
    for text, event in zip(texts(number), events(number, openai), strict=False):
        end += len(b"%x\r\n" % len(event)) + len(event)
        if end > received:
            break
        said += text
        end += 2
    return said


class Client:
    """A client's connection, and how much of the answer has reached it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.number = 0
        self.fault = self.serial = b""
        self.sent = 0
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def request(self) -> bytes:
        """Read a whole request."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += _some(self.connection)
        head, _, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        while len(body) < int(length[1] if length else 0):
            body += _some(self.connection)
        number, self.fault, self.serial = PROMPT.findall(body)[-1]
        self.number = int(number)
        self._note()
        return head + b"\r\n\r\n" + body

    def send(self, data: bytes) -> None:
        """Send a piece, and note it once the other side's kernel has acknowledged it."""
        self.connection.sendall(data)
        while self._unacknowledged():
            if not self._is_open():  # what is not acknowledged yet never will be
                raise ConnectionResetError
            time.sleep(0.0005)
        if not self._is_open():  # a reset may have emptied the queue
            raise ConnectionResetError
        self.sent += len(data)
        self._note()

    def reset(self) -> None:
        """End the connection with a RST."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _unacknowledged(self) -> int:
        import fcntl  # imported here, as Windows does not have them but imports this file
        import termios

        size: int = struct.unpack("i", fcntl.ioctl(self.connection, termios.TIOCOUTQ, bytes(4)))[0]
        return size

    def _is_open(self) -> bool:
        return self.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1  # TCP_ESTABLISHED

    def _note(self) -> None:
        os.write(1, b"%d %d %f\n" % (self.number, self.sent, time.monotonic()))


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionResetError
    return data


_attempts: dict[tuple[int, bytes], int] = {}


def serve(client: Client) -> None:
    """Answer a prompt with the fault that it names; without one, refuse one in ten attempts with a 503."""
    openai = b"/chat/completions" in client.request().split(b"\r\n", 1)[0]
    question = client.number, client.serial
    attempt = _attempts[question] = _attempts.get(question, 0) + 1
    if client.fault:
        fail(client, openai, attempt)
        return
    random_ = random.Random(client.number * 100 + attempt)
    if random_.random() < 0.1:
        client.connection.sendall(BUSY % b"")
        return
    data = answer(client.number, openai)
    while data:  # cut anywhere, in a character too
        size = random_.randrange(1, 1500)
        client.send(data[:size])
        data = data[size:]
        if random_.random() < 0.3:
            time.sleep(random_.random() * 0.05)


def fail(client: Client, openai: bool, attempt: int) -> None:
    """Do what the prompt says: ``whole``, ``busy`` (only the first time), ``reset``, ``truncate`` or ``stall``."""
    if client.fault == b"busy" and attempt == 1:
        client.connection.sendall(BUSY % b"Retry-After: 0\r\n")
        return
    said = b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in events(client.number, openai)[:SHORT])
    if client.fault in (b"whole", b"busy"):
        client.send(answer(client.number, openai))
        return
    client.send(HEAD + said)
    if client.fault == b"stall":
        while client.connection.recv(65536):
            pass
    elif client.fault == b"reset":
        client.reset()


def carry(client: Client, server_port: int, random_: random.Random) -> None:
    """Forward a request and its answer until the network fails."""
    fault = random_.choice(("none", "none", "delay", "stall", "reset", "truncate", "refuse"))
    if fault == "refuse":
        client.reset()
        return
    with socket.create_connection(("127.0.0.1", server_port), 5) as server:
        server.sendall(client.request())
        left = random_.randrange(20_000) if fault in ("stall", "reset", "truncate") else sys.maxsize
        while left > 0 and (data := server.recv(2048)):
            client.send(data[:left])
            left -= len(data)
            if fault == "delay" and random_.random() < 0.1:
                time.sleep(random_.random() * 0.3)
        if left <= 0 and fault == "stall":
            while client.connection.recv(65536):
                pass
        elif left <= 0 and fault == "reset":
            client.reset()


class Process:
    """A server or a proxy in a process of its own, and the bytes that it reports as arrived."""

    def __init__(self, role: str, *arguments: object) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        self._command = [sys.executable, __file__, role, str(self.port), *map(str, arguments)]
        self.received: dict[int, list[tuple[int, float]]] = {}
        self.start()

    def start(self) -> None:
        """Start the process, or start it again on the same port."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        stdout = self._process.stdout
        assert stdout is not None
        assert stdout.readline() == b"listens\n"
        self._reader = threading.Thread(target=self._read, args=[stdout], daemon=True)
        self._reader.start()

    def kill(self) -> None:
        """Kill the process, and read the rest of its output."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self, stdout: Any) -> None:
        with stdout:
            for line in stdout:
                if line.endswith(b"\n"):
                    number, sent, when = line.split()
                    self.received.setdefault(int(number), []).append((int(sent), float(when)))


def main() -> None:
    role, port, *more = sys.argv[1:]
    random_ = random.Random(more[-1]) if more else random.Random()
    listener = socket.create_server(("127.0.0.1", int(port)), backlog=128)

    def talk(connection: socket.socket, seed: int) -> None:
        with suppress(OSError), connection:
            client = Client(connection)
            if role == "server":
                serve(client)
            else:
                carry(client, int(more[0]), random.Random(seed))

    os.write(1, b"listens\n")
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=talk, args=(connection, random_.randrange(2**32)), daemon=True).start()


if __name__ == "__main__":
    main()
