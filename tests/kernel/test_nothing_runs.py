"""What a model writes is never run: no fence, no magic, no expression, no tool call."""

from __future__ import annotations

import json

import pytest
from driver import Kernel, Run

from nb_backend.local.scripted import ScriptedEngine

ACTS = """\
{{ open("pwned", "w") }}

!touch pwned
%run pwned.py
%%bash
touch pwned

```python
open("pwned", "w")
```
```bash
touch pwned
```
```tool_code
%system touch pwned
```
<script>Jupyter.notebook.kernel.execute('open("pwned", "w")')</script>
"""
CALLS = [
    {
        "type": "tool_calls",
        "tool_calls": [{"id": "a", "function": {"name": name, "arguments": '{"code": "touch pwned"}'}}],
    }
    for name in ("python", "bash", "get_ipython().system")
]
ASKED = "import os; os.path.exists('pwned')"


@pytest.fixture
def kernel(kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    assert kernel.run(f"%cd -q {tmp_path_factory.mktemp('empty')}").error is None
    assert kernel.run(ASKED).result == "False"
    return kernel


def nothing_ran(kernel: Kernel, run: Run) -> None:
    assert kernel.run(ASKED).result == "False"
    assert [one for one in run.reply.get("payload", []) if one["source"] != "set_next_input"] == []
    assert len(run.of("execute_input")) == 1  # the cell itself


@pytest.mark.parametrize("options", ["", "-f text", "-f code", "-f json", "-o answer"])
def test_an_answer_is_not_run(kernel: Kernel, engine: ScriptedEngine, options: str) -> None:
    text = json.dumps(ACTS) if "json" in options else ACTS
    engine.enqueue(*CALLS, text, *CALLS, {"type": "finish", "finish": {"reason": "tool_calls"}})
    run = kernel.run(f"%%backend --once {options}\nhi")
    assert run.error is None
    nothing_ran(kernel, run)


def test_code_for_a_new_cell_is_put_there_as_it_is(kernel: Kernel, engine: ScriptedEngine) -> None:
    engine.enqueue("```python\n%%bash\ntouch pwned\n```\n```\n!touch pwned\n```")
    run = kernel.run("%%backend --once -f code\nhi")
    (payload,) = run.reply["payload"]
    assert payload == {"source": "set_next_input", "text": "%%bash\ntouch pwned\n\n!touch pwned", "replace": False}
    nothing_ran(kernel, run)


def test_expressions_of_an_answer_are_no_expressions_of_the_next_question(
    kernel: Kernel, engine: ScriptedEngine
) -> None:
    engine.enqueue(ACTS)
    kernel.run("%%backend -c acts -o answer\nhi")
    run = kernel.run("%%backend -c acts\nAnd {{ answer.text }}?")
    *_, before, now = engine.history[-1]["messages"]
    assert '{{ open("pwned", "w") }}' in before["content"]
    assert '{{ open("pwned", "w") }}' in now["content"]
    nothing_ran(kernel, run)
