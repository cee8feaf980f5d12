"""The built-in tools in a real kernel: a model looks, reads cells and runs code; the cell shows its steps only."""

from __future__ import annotations

import pytest
from driver import Kernel, one_line
from scripted_calls import results, tool_call

PROGRAMS = """
os.system("echo from a program")
os.write(2, b"and 3 bytes\\n")
subprocess.run([sys.executable, "-c", "print('x' * 3_000_000)"])
os.close(1);
"""
ENDLESS = """
kernel, content = get_ipython().kernel, {"data": {"text/plain": "begun"}, "metadata": {}}
kernel.session.send(kernel.iopub_socket, "display_data", content, parent=kernel.get_parent())
while True:
    pass
"""


@pytest.fixture(autouse=True)
def approved(kernel: Kernel, engine) -> None:
    """Let every call run without a question."""
    code = "import nb_backend\nnb_backend.chats['main'].reset()\nnb_backend.chats['main'].approve = 'always'"
    assert kernel.run(code).error is None


def asked(kernel, engine, *calls, cell="%%backend -T run -T look -T cells\nDo it."):
    """Return a run of a cell whose model makes these calls one after the other, and their results."""
    for call in calls:
        engine.enqueue(call)
    engine.enqueue("Done.")
    run = kernel.run(cell)
    assert run.error is None, run.error
    return run, results(engine.history[-1])


@pytest.mark.parametrize("cell", ["%%backend -T run -T look -T cells\nDo it.", "%%time\n%%backend -T run\nDo it."])
def test_code_runs_like_a_cell_and_only_its_variables_stay(kernel, engine, cell):
    before = kernel.run("len(In)").result
    figure = "import matplotlib.pyplot as plt\nfig = plt.plot([1, 2])[0].figure"
    run, found = asked(
        kernel,
        engine,
        tool_call("run", code="print('printed'); x_of_run = 41\nx_of_run + 1"),
        tool_call("run", code="!echo from the shell"),
        tool_call("run", code="print('before')\n1 / 0"),
        tool_call("run", code="import os\nprint('child' if os.fork() == 0 else 'parent')"),
        tool_call("run", code="input('name? ')"),
        tool_call("run", code="x_of_run?"),
        tool_call("run", code="%%backend\nhi"),
        tool_call("run", code=f"import os, subprocess, sys\n{PROGRAMS}"),
        tool_call("run", code=f"%matplotlib inline\n{figure}"),
        cell=cell,
    )
    assert found[0] == "printed\nOut: 42"
    assert found[1] == "from the shell"
    assert found[2] == "before\nZeroDivisionError: division by zero (line 2)"
    assert "parent" in found[3].splitlines()  # Python 3.12 also warns of threads in a process that forks
    assert "child" not in found[3].splitlines()
    assert found[4].startswith("EOFError: code that a model runs cannot ask for input")
    assert "Type:" in found[5]
    assert "RuntimeError: code that a model runs cannot ask a model" in found[6]
    assert found[7].splitlines()[:2] == ["from a program", "and 3 bytes"]
    assert len(found[7]) < 20_000
    assert found[8].split("\n\n") == ["[image: image.png]", "(the picture follows)"]
    shown = run.of("stream", "display_data", "execute_result", "error")
    texts = "".join(one.get("text", "") for one in shown)
    assert "printed" not in texts
    assert "from the shell" not in texts
    assert "from a program" not in texts
    assert all("image/png" not in one.get("data", {}) for one in shown)
    assert run.reply["payload"] == []
    assert kernel.run("_.text, len(In), x_of_run").result == f"('Done.', {int(before) + 2}, 41)"


def test_the_model_sees_types_and_earlier_cells(kernel, engine):
    kernel.run("api_token = 'zq8-very-secret-value'\nrows = [{'city': 'Oslo'}]\nlen(rows)")
    _, found = asked(
        kernel, engine, tool_call("look", names=["rows", "api_token"]), tool_call("cells"), tool_call("look", name=1)
    )
    assert found[0] == "rows: list of 1 item: dict\napi_token: str"
    assert "rows = [{'city': 'Oslo'}]\nlen(rows)\nOut [" in found[1]
    assert "zq8" not in found[1]
    assert found[2].startswith("Error: wrong arguments: there is no argument name")


def test_an_interrupt_ends_endless_code_and_keeps_what_was_said(kernel, engine):
    for cell in ("%%backend -T run\nDo it.", "%%time\n%%backend -T run\nDo it."):
        engine.enqueue("I try.", tool_call("run", code=ENDLESS))
        run = kernel.run_and_interrupt(cell, lambda message: message["content"].get("data") == {"text/plain": "begun"})
        assert run.reply["status"] == "error"
        assert "I try." in run.markdown[-1]
        assert kernel.run("1 + 1").result == "2"


class TestFixUntil:
    """``%backend fix --until 3``: propose, run, look, and answer."""

    def test_the_model_runs_its_correction_at_most_so_many_times(self, kernel, engine):
        kernel.run("total = 0\nfor city in {'Oslo': 1}:\n    total += city")
        run, found = asked(
            kernel,
            engine,
            tool_call("look", names=["total"]),
            tool_call("run", code="total + city"),
            tool_call("run", code="total + 1"),
            tool_call("run", code="1"),
            cell="%backend fix --until 2",
        )
        question = next(one for one in engine.history[-1]["messages"] if one["role"] == "user")["content"]
        assert "You may call run at most 2 times" in question
        assert "TypeError: unsupported operand" in question
        assert found[0] == "total: int"
        assert found[1].startswith("TypeError: ")
        assert found[1].endswith("(line 1)\n[1 run left]")
        assert found[2] == "Out: 1\n[no run is left: answer now]"
        assert found[3] == "Error: all runs are used up, 2 of 2: answer now, without another call"
        assert "Done." in run.markdown[-1]

    def test_other_cells_do_not_take_the_option(self, kernel, engine):
        engine.history.clear()
        one_line(kernel.run("%%backend --until 3\nhi"), "--until")
        kernel.run("1 / 0")
        one_line(kernel.run("%backend fix --until 0"), "--until")
        one_line(kernel.run("%backend fix --until 2 scripted, scripted2"), "one model")
        assert "call run at most 2 times" in kernel.run("%backend fix --until 2 --dry-run").markdown[-1]
        kernel.run("%config BackendMagics.tools = False")
        one_line(kernel.run("%backend fix --until 2"), "leave out --until")
        kernel.run("%config BackendMagics.tools = True")
        assert engine.history == []
