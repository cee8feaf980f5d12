"""A call is asked about in the cell by ``input``: all of it is shown before, and what was typed decides."""

from __future__ import annotations

import pytest
from driver import Kernel, Run, one_line
from scripted_calls import results, tool_call

TOOLS = """
from nb_backend.tools import Tool
ran = []
def run_code(code):
    ran.append(code)
    return f"ran {code}"
code = {"type": "object", "properties": {"code": {"type": "string"}}}
execute = Tool("run", "Run code.", code, run_code, approve=True, scope="cell")
def drop_rows(**arguments):
    ran.append(arguments)
    return "dropped"
drop = Tool("drop", "Drop rows.", {"type": "object"}, drop_rows, approve=True)
free = Tool("free", "Needs no consent.", {"type": "object"}, lambda: "free")
"""
CODE = "import os\nos.listdir('.')  # \u202e```\nprint(2)"


@pytest.fixture(autouse=True)
def tools(kernel: Kernel) -> None:
    assert kernel.run(TOOLS + "get_ipython().user_ns['ran'].clear()\n%backend reset").error is None


def ran(kernel: Kernel) -> list[object]:
    return eval(kernel.run("ran").result or "None")


def report(run: Run) -> str:
    return "\n".join(shown["data"]["text/plain"] for shown in run.of("display_data", "execute_result"))


@pytest.mark.parametrize("prefix", ["", "%%time\n"], ids=["awaited", "waited for"])
def test_the_whole_code_is_shown_before_the_question(kernel, engine, prefix):
    engine.enqueue("I look. ", tool_call("run", code=CODE))
    engine.enqueue("Two files.")
    run = kernel.run_and_answer(f"{prefix}%%backend -T execute\nHow many files are there?", "yes")
    assert run.prompts == [
        "Let the model call run (3 lines)? [y]es, [n]o, [a]lways in this run of the cell, or write why not: "
    ]
    shown = "\n".join(run.shown_when_asked[0])
    assert "```python\nimport os" in shown or "```` python\nimport os" in shown or "````python\nimport os" in shown
    assert "The model calls" not in shown  # the step in the answer shows it
    assert "os.listdir('.')  # [U+202E]```\nprint(2)" in shown
    assert results(engine.history[-1]) == [f"ran {CODE}"]
    assert ran(kernel) == [CODE]
    assert "Two files." in run.markdown[-1]
    assert run.reply["status"] == "ok"


def test_a_no_with_a_reason_goes_to_the_model(kernel, engine):
    engine.enqueue(tool_call("drop", rows=[3]), tool_call("drop", rows=[4]))
    engine.enqueue("I will not.")
    run = kernel.run_and_answer("%%backend -T drop\nDrop rows 3 and 4.", "no, use polars", "n")
    refused = "Error: the user refused this call"
    assert results(engine.history[-1]) == [f"{refused}: use polars", refused]
    assert '"rows": [\n    3\n  ]' in "\n".join(run.shown_when_asked[0])
    assert ran(kernel) == []


def test_always_counts_for_the_session_and_for_run_within_this_run_of_the_cell(kernel, engine):
    for _ in range(2):
        engine.enqueue(tool_call("drop"), tool_call("run", code="1"))
        engine.enqueue(tool_call("drop"), tool_call("run", code="2"))
        engine.enqueue("Done.")
    cell = "%%backend -T drop -T execute\nDo it."
    first = kernel.run_and_answer(cell, "always", "a", cell="asks")
    second = kernel.run_and_answer(cell, "y", "y", cell="asks")
    assert len(first.prompts) == 2
    assert [prompt.split("?")[0] for prompt in second.prompts] == ["Let the model call run"] * 2
    kernel.run(TOOLS)  # the functions are other ones now
    engine.enqueue(tool_call("drop"))
    engine.enqueue("Done.")
    assert len(kernel.run_and_answer(cell, "y", cell="asks").prompts) == 1


def test_a_failure_after_a_call_leaves_the_step_in_the_cell(kernel, engine):
    """What the call has done stays done; the history leaves out the prompt, as after any failure."""
    engine.enqueue("I drop it. ", tool_call("drop", rows=[3]))
    engine.enqueue({"type": "error", "error": "Broken", "message": "the engine broke"})
    run = kernel.run_and_answer("%%backend -T drop\nDrop row 3.", "yes")
    assert run.error == ("ServerError", "ServerError: the engine broke")
    assert ran(kernel) == [{"rows": [3]}]
    shown = run.markdown[-1]
    assert shown.startswith("I drop it.")
    assert "<summary>⚙ <code>drop" in shown
    assert "```\ndropped\n```" in shown
    assert "broke off · 1 tool call · " in shown
    (step,) = run.displays[-1]["metadata"]["nb_backend"]["rounds"][0]["steps"]
    assert step["result"] == "dropped"
    assert kernel.run("len(__import__('nb_backend').chats['main'].messages)").result == "0"


@pytest.mark.parametrize("prefix", ["", "%%time\n"], ids=["awaited", "waited for"])
def test_an_interrupt_of_the_question_keeps_text_and_steps(kernel, engine, prefix):
    engine.enqueue("I look first. ", tool_call("free"))
    engine.enqueue("Then I act. ", tool_call("run", code="1"), tool_call("run", code="2"))
    asking = f"{prefix}%%backend -T free -T execute -o answer\nDo it."
    started = kernel.start(asking, allow_stdin=True)
    queued = kernel.start("'queued'")  # long before the interrupt: the kernel aborts only what it has received by then
    run = kernel.run_and_answer("", kernel.manager.interrupt_kernel, started=started)
    assert run.stop == ("KeyboardInterrupt", "KeyboardInterrupt: stopped; the text so far is kept")
    assert "I look first." in run.markdown[-1]
    assert "stopped" in run.markdown[-1]
    assert kernel.finish(queued).reply["status"] == "aborted"  # it waited, and does not run after an interrupt
    steps = kernel.run("[(one.call.name, one.result, one.error) for one in answer.steps]").result
    assert steps is not None
    assert " ".join(steps.split()) == str([("free", "free", None), *[("run", "", "stopped by the user")] * 2])
    assert ran(kernel) == []


@pytest.mark.parametrize("call", ["chat('Do it.')", "await chat.ask('Do it.')"])
def test_an_ordinary_cell_asks_too(kernel, engine, call):
    engine.enqueue(tool_call("drop", rows=[1]))
    engine.enqueue("Done.")
    kernel.run("import nb_backend\nchat = nb_backend.Chat(tools=[drop])")
    run = kernel.run_and_answer(f"answer = {call}", "", "y")
    assert run.prompts[0].startswith("Let the model call drop (5 lines)?")
    assert run.prompts[1] == "Answer yes, no, always, or write why not: "
    assert run.shown_when_asked[0] == ['The model calls **drop**:\n\n```json\n{\n  "rows": [\n    1\n  ]\n}\n```']
    assert ran(kernel) == [{"rows": [1]}]

    engine.enqueue("Text. ", tool_call("drop", rows=[2]))
    stopped = kernel.run_and_answer(f"answer = {call}", kernel.manager.interrupt_kernel)
    assert stopped.reply["status"] == "error"
    assert kernel.run("chat.messages[-1]['stopped'], 'Text.' in chat.messages[-1]['content']").result == "(True, True)"
    assert kernel.run("1 + 1").result == "2"


def test_a_task_that_outlives_its_cell_is_refused(kernel, engine):
    """A page drops its question, so the kernel would wait for ever."""
    engine.enqueue(tool_call("drop"))
    engine.enqueue("I was refused.")
    kernel.run_and_answer("import asyncio, nb_backend\nchat = nb_backend.Chat(tools=[drop])\nsend = asyncio.Event()")
    begin = "async def later():\n    await send.wait()\n    return await chat.ask('Do it.')\n"
    kernel.run_and_answer(f"{begin}task = asyncio.create_task(later())")
    run = kernel.run_and_answer("send.set()\n(await task).steps[0].error", "y")
    if run.prompts:  # ipykernel 6 knows only one cell, which is the running one
        assert run.result == "None" or run.result is None
    else:
        assert run.result == "'nobody can be asked here, so this call was refused'"


def test_questions_of_several_models_name_them(kernel, engine):
    engine.listed = ["llama", "gpt-4o"]
    for _ in range(2):
        engine.enqueue(tool_call("drop"))
    for _ in range(2):
        engine.enqueue("Done.")
    run = kernel.run_and_answer("%%backend llama gpt-4o -T drop\nDo it.", "y", "n")
    del engine.listed
    assert sorted(prompt.split("?")[0] for prompt in run.prompts) == ["Let gpt-4o call drop", "Let llama call drop"]
    assert len(ran(kernel)) == 1


@pytest.mark.parametrize(
    "cell",
    [
        "%%backend -T drop\nDo it.",
        "import nb_backend\nnb_backend.Chat(tools=[drop])('Do it.')",
        "import nb_backend\nawait nb_backend.Chat(tools=[drop]).ask('Do it.')",
        "import nb_backend\nnb_backend.map(['Do it.'], tools=[drop])",
    ],
)
def test_where_nobody_can_answer_the_call_is_refused_and_the_cell_goes_on(kernel, engine, cell):
    engine.enqueue(tool_call("drop"))
    engine.enqueue("I was refused.")
    run = kernel.run(cell)  # without stdin, as nbclient, nbconvert and papermill run cells
    assert run.reply["status"] == "ok"
    assert results(engine.history[-1]) == ["Error: nobody can be asked here, so this call was refused"]
    assert ran(kernel) == []


def test_where_an_answer_could_be_typed_but_nobody_waits_the_call_is_refused(kernel, engine):
    cells = {
        "a thread": "import threading, nb_backend\nchat = nb_backend.Chat(tools=[drop])\n"
        "thread = threading.Thread(target=chat, args=['Do it.'])\nthread.start()\nthread.join()",
        "map": "nb_backend.map(['Do it.'], tools=[drop], progress=False)",
        "captured": "%%capture\nget_ipython().run_cell_magic('backend', '-T drop', 'Do it.')",
    }
    for cell in cells.values():
        engine.enqueue(tool_call("drop"))
        engine.enqueue("I was refused.")
        run = kernel.run_and_answer(cell, "y")
        assert (run.prompts, run.reply["status"]) == ([], "ok")
        assert results(engine.history[-1]) == ["Error: nobody can be asked here, so this call was refused"]


def test_tools_that_are_turned_off(kernel, engine):
    off = "%config BackendMagics.tools = False"
    kernel.run(off)
    one_line(kernel.run("%%backend -T drop\nDo it."), f"tools are turned off by {off}: leave out -T")
    assert f"tools: turned off by `{off}`" in report(kernel.run("%backend"))
    kernel.run("nb_backend.chats['main'].tools = [drop]")
    engine.enqueue("Without.")
    run = kernel.run("%%backend\nDo it.")
    assert "tools" not in engine.history[-1]
    assert "without tools" in run.markdown[-1]
    kernel.run("nb_backend.chats['main'].tools = []\n%config BackendMagics.tools = True")


def test_a_dry_run_lists_the_tools_and_the_calls_of_the_chat(kernel, engine):
    engine.enqueue(tool_call("free", row=3))
    engine.enqueue("Done.")
    kernel.run("%%backend -T free\nDo it.")
    shown = report(kernel.run("%%backend -T execute -T free --dry-run\nDo it."))
    assert "- tools: `run(code)` (asks first), `free()`" in shown
    assert '**assistant**\n\n```text\nfree({"row":3})\n```\n\n**tool**\n\n```text\n' in shown


def test_a_replay_calls_nothing_and_act_carries_the_calls_out_again(kernel, engine, tmp_path):
    one_line(kernel.run("%%backend -T drop --act\nDo it."), "no cache is on: add --cache")
    kernel.run(f"%backend cache on {tmp_path}\n%backend cache")
    engine.enqueue(tool_call("drop", row=3))
    engine.enqueue("Dropped.")
    cell = "%%backend --once -T drop {}\nDrop row 3."
    assert len(kernel.run_and_answer(cell.format("--cache"), "y").prompts) == 1
    asked = len(engine.history)
    replayed = kernel.run_and_answer(cell.format("--cache"), "y")
    assert (replayed.prompts, ran(kernel)) == ([], [{"row": 3}])
    acted = kernel.run_and_answer(cell.format("--cache --act"), "y")
    assert (len(acted.prompts), ran(kernel)) == (1, [{"row": 3}] * 2)
    assert "Dropped." in acted.markdown[-1]
    assert len(engine.history) == asked
    kernel.run("%backend cache off")
