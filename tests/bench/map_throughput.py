"""How many prompts `nb_backend.map` gets answered per second: `python tests/bench/map_throughput.py`.

1,000 prompts, 50 at once, to a scripted server in another process. Compared in the same run with bare aiohttp tasks
that send the same, read the body and decode each line with orjson. Rounds alternate, and medians are compared.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))

import aiohttp
import orjson
from serving import TOKEN, serving

import nb_backend
from nb_backend.local.scripted import ScriptedEngine

COUNT, CONCURRENCY, ROUNDS = 1000, 50, 5
WORDS = ["The", "sky", "is", "blue", "because", "light", "of", "short", "waves", "scatters", "most."]
PROMPTS = [f"Question number {number}?" for number in range(COUNT)]


def serve(path: str, wait: float) -> None:
    """Serve until stdin ends."""
    steps = [step for word in WORDS for step in (f"{word} ", *([wait] if wait else []))]
    with serving(ScriptedEngine(*steps), path) as server:
        print(server.url, flush=True)
        sys.stdin.read()


async def bare(url: str) -> list[str]:
    """Ask with aiohttp alone."""
    is_openai = url.endswith("/v1")
    path = "/chat/completions" if is_openai else "/backend-api/v2/conversation"
    answers = [""] * COUNT
    left = iter(range(COUNT))

    async def work(session: aiohttp.ClientSession) -> None:
        for number in left:
            messages = [{"role": "user", "content": PROMPTS[number]}]
            body = {"model": "", "messages": messages, "stream": True, "media": None, "api_key": TOKEN}
            async with session.post(url + path, json=body) as response:
                for line in (await response.read()).splitlines():
                    if line.startswith(b"data: {"):
                        event = orjson.loads(line[6:])
                        if is_openai:
                            answers[number] += "".join(
                                choice["delta"].get("content", "") for choice in event.get("choices", ())
                            )
                        elif event["type"] == "content":
                            answers[number] += event["content"]

    headers = {"Authorization": f"Bearer {TOKEN}"} if is_openai else {}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session:
        await asyncio.gather(*(work(session) for _ in range(CONCURRENCY)))
    return answers


def mapped(url: str) -> list[str]:
    """Ask with map."""
    answers = nb_backend.map(PROMPTS, concurrency=CONCURRENCY, url=url, api_key=TOKEN, progress=False)
    return [answer.text for answer in answers]


def timed(ask: Callable[[str], list[str]], url: str) -> tuple[float, float]:
    """Return the seconds and the CPU seconds that all prompts take."""
    begun, cpu = time.perf_counter(), time.process_time()
    assert ask(url) == ["".join(f"{word} " for word in WORDS)] * COUNT
    return time.perf_counter() - begun, time.process_time() - cpu


def main() -> None:
    """Measure and print the table."""
    print("| server | ms a token | bare, questions/s | map, questions/s | of bare | CPU, ms a question: bare | map |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for path, wait in (("", 0.0), ("/v1", 0.0), ("", 0.01), ("/v1", 0.01)):
        command = [sys.executable, __file__, "serve", path, str(wait)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            url = server.stdout.readline().strip()
            mapped(url)
            rounds = [(timed(lambda url: asyncio.run(bare(url)), url), timed(mapped, url)) for _ in range(ROUNDS)]
            server.stdin.close()
        of_bare = statistics.median(one[0] / two[0] for one, two in rounds)
        speeds = [COUNT / statistics.median(one[at][0] for one in rounds) for at in (0, 1)]
        cpu = [1000 * statistics.median(one[at][1] for one in rounds) / COUNT for at in (0, 1)]
        kind = "/v1" if path else "g4f"
        print(
            f"| {kind} | {wait * 1000:.0f} | {speeds[0]:.0f} | {speeds[1]:.0f} | {of_bare:.0%} "
            f"| {cpu[0]:.2f} | {cpu[1]:.2f} |"
        )


if __name__ == "__main__":
    serve(sys.argv[2], float(sys.argv[3])) if sys.argv[1:2] == ["serve"] else main()
