"""The memory of a stream of 200 MB: `python tests/bench/long_stream.py`.

A server in another process sends events of a kilobyte. Measured is the most memory that the client holds beyond what it
held before and beyond the text itself: for the provider alone (it keeps the text in case of a failure), and for a chat.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from many_streams import held
from measuring import HERE, child, in_process, read_request, until_stdin_ends, verdict

from nb_backend import BackendApi, Chat

SIZE, EVENT = 200_000_000, 1000
RUN = "import asyncio, sys, long_stream; asyncio.run(long_stream.run(*sys.argv[1:]))"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with the whole stream, as fast as the client reads."""
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
    events = f"event: content\ndata: {json.dumps({'type': 'content', 'content': 'w' * EVENT})}\n\n".encode() * 100
    for _ in range(SIZE // EVENT // 100):
        writer.write(events)
        await writer.drain()
    writer.write(b'event: finish\ndata: {"type": "finish", "finish": {"reason": "stop"}}\n\n')
    writer.close()


async def run(way: str, url: str) -> None:
    """Print the memory beyond the text, in MB."""
    before, most, count = held(), 0.0, 0
    api = type("Api", (BackendApi,), {"url": url})
    chat: Any = Chat("m", url=url).stream("Hi")
    events = chat if way == "chat" else api.create_async_generator("m", [{"role": "user", "content": "Hi"}])
    async for event in events:
        count += len(str(event))
        if count % 1_000_000 < EVENT:
            most = max(most, held() - before - count / 1e6)
    assert count == SIZE
    print(json.dumps(most))


def main() -> None:
    """Measure and print the table."""
    print("## A stream of 200 MB\n\n| | MB above the text kept |\n| --- | ---: |")
    with child(__file__, "serve") as url:
        found = {name: in_process(RUN, way, url) for way, name in (("api", "BackendApi"), ("chat", "Chat.stream"))}
    for name, most in found.items():
        print(f"| {name} | {most:.1f} |")
    print()
    verdict("at most 16 MB above the text kept", max(found.values()) <= 16)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    until_stdin_ends(serve) if len(sys.argv) > 1 else main()
