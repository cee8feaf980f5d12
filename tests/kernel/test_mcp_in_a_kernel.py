"""``%backend mcp`` and ``-T`` in a kernel."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import psutil
from driver import one_line
from scripted_calls import results, tool_call

SERVER = Path(__file__).parents[1] / "support" / "raw_mcp_server.py"


def is_the_server(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):  # it ends just now
        return str(SERVER) in process.cmdline()
    return False


def test_a_server_is_added_asked_about_called_and_removed(kernel, engine):
    added = kernel.run(f'%backend mcp add raw {sys.executable} -S "{SERVER}"')
    shown = added.of("execute_result")[0]["data"]["text/markdown"]
    assert "raw.old" in shown
    assert "`%%backend -T raw`" in shown
    (server,) = [one for one in psutil.Process().children(recursive=True) if is_the_server(one)]

    engine.enqueue("I look. ", tool_call("raw__mixed", city="Rome"))
    engine.enqueue("Done.")
    run = kernel.run_and_answer("%%backend -T raw\nLook at it", "y")
    assert run.error is None, run.error
    asked = "".join([*run.prompts, *run.shown_when_asked[0]])
    assert "raw.mixed" in asked
    assert "Rome" in asked
    sent = results(engine.history[-1])[0]
    assert "text of b" in sent
    assert "(2 pictures follow)" in sent
    assert "text of b" in run.markdown[-1]
    assert "Done." in run.markdown[-1]
    assert run.of("stream") == []

    assert kernel.run('from nb_backend import chats; chats["main"].tools').result == "[]"  # -T is for one cell
    assert "raw.old" in kernel.run("%backend mcp").of("execute_result")[0]["data"]["text/markdown"]
    assert kernel.run("%backend mcp remove raw").error is None
    assert not server.is_running()
    one_line(kernel.run("%backend mcp add raw no-such-command"), "MCP server raw: 'no-such-command' does not start")
    one_line(kernel.run("%%backend -T raw\nLook at it"), "-T raw")
