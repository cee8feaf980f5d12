"""The user is asked about a call only after a view has taken its step."""

from __future__ import annotations

from nb_backend.providers.tool_calls import ToolCall
from nb_backend.tools.calls import carry_out
from nb_backend.tools.consent import Consent, Consents
from nb_backend.tools.tool import Tool


async def test_a_question_comes_once_its_step_was_taken_and_after_the_one_before():
    shown: list[str] = []
    asked: list[tuple[str, list[str]]] = []

    async def ask(call: ToolCall, tool: Tool) -> Consent:
        asked.append((call.id, [*shown]))
        return Consent(True)

    drop = Tool("drop", "", {}, lambda: "dropped", approve=True)
    calls = [ToolCall("a", "drop"), ToolCall("b", "drop")]
    async for at, step in carry_out(calls, {"drop": drop}, Consents(asker=ask)):
        shown.append(f"{at} {step.status}")
    assert asked[0] == ("a", ["0 asking"])
    assert asked[1][0] == "b"
    assert asked[1][1][-1] == "1 asking"
    assert sorted(shown) == [f"{at} {status}" for at in (0, 1) for status in ("asking", "done", "running")]
