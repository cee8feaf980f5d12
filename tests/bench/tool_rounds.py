"""CPU for the rounds of an answer that calls tools: `python tests/bench/tool_rounds.py`.

A server in another process asks for calls, and the answer goes on with their results. Compared with as many questions
without tools as there are requests.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncGenerator, Callable
from functools import partial

from measuring import child, ratio, rounds, table, verdict
from serving import TOKEN, serving

from nb_backend import Chat
from nb_backend.local.engine import Body, Event, finish_event, last_prompt, provider_event
from nb_backend.tools import Tool

ANSWERS = 40
TOOL = Tool("count", "Count.", {"type": "object"}, lambda **numbers: len(numbers), check=dict)


class CallingEngine:
    """Asks for calls in as many rounds as the prompt says: "3 1" is three rounds of one call, "0 0" a plain answer."""

    name, vision, limit = "calling", False, None

    async def stream(self, body: Body) -> AsyncGenerator[Event | bytes, None]:
        wanted, calls = map(int, last_prompt(body).split())
        done = sum(bool(message.get("tool_calls")) for message in body["messages"])
        yield provider_event(self.name)
        if done < wanted:
            function = {"name": TOOL.name, "arguments": '{"a": 1, "b": 2}'}
            for at in range(calls):
                call = {"id": f"{done}-{at}", "type": "function", "function": function}
                yield {"type": "tool_calls", "tool_calls": [call]}
        else:
            yield {"type": "content", "content": "Two."}
        yield finish_event("tool_calls" if done < wanted else "stop")


def asked(url: str, prompts: list[str], tools: list[Tool]) -> float:
    """Return the milliseconds of CPU for the answers to these prompts, each in a chat of its own."""
    begun = time.process_time()
    for _ in range(ANSWERS):
        for prompt in prompts:
            Chat(url=url, api_key=TOKEN, tools=tools)(prompt)
    return 1000 * (time.process_time() - begun) / ANSWERS


def main() -> None:
    """Measure and print the table."""
    print("## A round of tool calls\n")
    plain, one, four = "a question", "2 questions", "4 questions"
    in_vain, single, many = "a question with a tool, not called", "1 round of 1 call", "1 round of 8 calls"
    chain = "3 rounds of 1 call"
    with child(__file__, "serve") as url:
        contenders: dict[str, Callable[[], float]] = {
            plain: partial(asked, url, ["0 0"], []),
            in_vain: partial(asked, url, ["0 0"], [TOOL]),
            one: partial(asked, url, ["0 0"] * 2, []),
            single: partial(asked, url, ["1 1"], [TOOL]),
            many: partial(asked, url, ["1 8"], [TOOL]),
            four: partial(asked, url, ["0 0"] * 4, []),
            chain: partial(asked, url, ["3 1"], [TOOL]),
        }
        found = rounds(contenders)
    table(found, plain, "ms")
    verdict("a tool that is not called: at most 1.2 of a question", ratio(found, in_vain, plain) <= 1.2)
    verdict("1 round of 1 call: at most 1.3 of 2 questions", ratio(found, single, one) <= 1.3)
    verdict("3 rounds of 1 call: at most 1.3 of 4 questions", ratio(found, chain, four) <= 1.3)


def serve() -> None:
    """Answer until stdin ends; print the url first."""
    with serving(CallingEngine()) as server:  # type: ignore[arg-type]
        print(server.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else main()
