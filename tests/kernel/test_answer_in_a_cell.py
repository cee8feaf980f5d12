"""``%%backend`` in a kernel: the answer grows in one output, and ends as plain Markdown with its record."""

from __future__ import annotations

import json
from html import unescape

import ipykernel
import nbformat
import pytest
from serving import TOKEN

from nb_backend import Chat
from nb_backend.media.sniff import data_uri
from nb_backend.media.sound import wav

CELL = "%%backend gpt-3.5-turbo\nWhy is the sky blue?"
WEATHER = {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
CALL = {"type": "tool_calls", "tool_calls": [WEATHER]}


def test_the_answer_grows_and_ends_as_one_markdown_output(kernel, engine):
    engine.enqueue("It is ", 0.3, "scattered ", 0.3, "light.")
    run = kernel.run(CELL)
    assert run.error is None
    updates = run.displays[1:]
    assert len({display["transient"]["display_id"] for display in run.displays}) == 1
    assert [message["msg_type"] for message in run.messages if "display" in message["msg_type"]] == [
        "display_data",
        *["update_display_data"] * len(updates),
    ]
    texts = run.markdown
    assert any("It is" in text and "scattered" not in text for text in texts), texts
    assert any("scattered" in text and "light." not in text for text in texts), texts
    assert texts[-1].startswith("It is scattered light.")
    assert "scripted, on this machine" in texts[-1]
    assert "3 tokens" in texts[-1]
    assert updates[-1]["data"]["text/plain"] == "It is scattered light."
    record = updates[-1]["metadata"]["nb_backend"]
    assert record["model"] == "scripted"
    assert record["provider"]["label"] == "scripted, on this machine"
    assert record["usage"]["completion_tokens"] == 3
    assert record["finish_reason"] == "stop"


def test_a_spoken_answer_is_played_below_its_text(kernel, engine):
    sound = data_uri(wav(bytes(96_000)), "audio/wav")
    engine.enqueue("Hi.", {"type": "audio", "audio": sound})
    run = kernel.run("%%backend m --once\nSay hi")
    text, player = run.displays[-2:]
    assert text["data"]["text/markdown"].startswith("Hi.")
    assert "spoken 2.0 s" in text["data"]["text/markdown"]
    assert text["metadata"]["nb_backend"]["finish_reason"] == "stop"
    assert player["data"]["text/html"] == f'<audio controls src="{sound}"></audio>'
    assert kernel.run("_.audio").of("execute_result")[0]["data"]["text/plain"].startswith("<Attachment answer.wav")
    engine.enqueue("Hi.", {"type": "audio", "audio": 'data:audio/wav;base64,"><script>hit()</script>'})
    assert "hit()" not in json.dumps(kernel.run("%%backend m --once\nSay hi").displays)


def test_the_prompt_arrives_byte_for_byte(kernel, engine):
    question = (
        'a {brace} $x {{{y}}} %s\n\n>>> not a prompt\n...: nor this\nIn [1]: x\n\ttab \\n \'q\' """\u2028\x0b é 🙂  '
    )
    kernel.run("%%backend some-model --once\n" + question)
    body = engine.history[-1]
    assert body["messages"] == [{"role": "user", "content": question}]
    assert body["model"] == "some-model"


def test_a_model_in_quotes_is_the_same_model(kernel, engine):
    kernel.run("%%backend 'some model'\nhi")
    assert engine.history[-1]["model"] == "some model"


def test_a_cell_of_an_exported_notebook_asks_the_same(kernel, engine, tmp_path):
    chat = Chat("some-model")
    chat.messages = [{"role": "user", "content": "Ho {{ x }}?"}, {"role": "assistant", "content": "Hm."}]
    chat.export(tmp_path / "asked.ipynb")
    cell = nbformat.read(tmp_path / "asked.ipynb", as_version=4).cells[1]
    assert kernel.run(cell.source).error is None
    assert engine.history[-1]["messages"][-1] == chat.messages[0]
    assert engine.history[-1]["model"] == "some-model"


def test_at_most_ten_repaints_a_second(kernel, engine):
    engine.enqueue(*["word ", 0.002] * 300)
    run = kernel.run(CELL)
    seconds = run.displays[-1]["metadata"]["nb_backend"]["seconds"]
    assert len(run.displays) <= 3 + 10 * seconds  # the first, the last, and one that was due


def test_the_answer_is_the_cells_value_and_is_shown_once(kernel, engine):
    engine.enqueue("forty-two")
    run = kernel.run(CELL)
    count = run.reply["execution_count"]
    assert run.of("execute_result") == []
    assert sum("forty-two" in text for text in run.markdown) == len(run.markdown) - 1  # but "waiting"
    assert kernel.run("type(_).__name__, str(_)").result == "('Answer', 'forty-two')"
    assert kernel.run(f"Out[{count}].text").result == "'forty-two'"
    shown = kernel.run(f"Out[{count}]").of("execute_result")[0]["data"]
    assert shown["text/markdown"].strip() == "forty-two"


def test_reasoning_is_open_while_it_comes_and_folded_after(kernel, engine):
    engine.enqueue({"type": "reasoning", "token": "Let me think."}, 0.3, "The answer.")
    texts = kernel.run(CELL).markdown
    assert any("<details open><summary>Reasoning</summary>\n\nLet me think" in text for text in texts), texts
    assert texts[-1].startswith("<details><summary>Reasoning</summary>\n\nLet me think.")
    assert "</details>\n\nThe answer." in texts[-1]


def test_reasoning_between_tags_is_folded_and_its_sources_are_listed(kernel, engine):
    source = {"url": "https://e.example/a", "title": "A [page]"}
    engine.enqueue("<thi", 0.3, "nk>\nLet me", 0.3, " think.\n</think>\n\n", 0.3, "1. The answer.")
    engine.enqueue("Let me think.\n</think>\n\n", "The answer.", {"type": "sources", "sources": [source]})
    texts = kernel.run(CELL).markdown
    assert any("<details open><summary>Reasoning</summary>\n\nLet me" in text for text in texts), texts
    assert not any("<thi" in text or "&lt;thi" in text for text in texts), texts
    folded = "<details><summary>Reasoning</summary>\n\nLet me think.\n\n</details>\n\n"
    assert texts[-1].startswith(f"{folded}1. The answer.")
    assert kernel.run("_.text, _.reasoning").result == "('1. The answer.', 'Let me think.')"
    last = kernel.run(f"{CELL}\n\nAgain?").markdown[-1]  # a template has put the opening tag into the prompt
    assert last.startswith(f"{folded}The answer.")
    assert "Sources:\n\n1. [A &#91;page&#93;](https://e.example/a) `e.example`\n\n<small>" in last


def test_reasoning_is_not_part_of_json(kernel, engine):
    engine.enqueue('<think>{"a": 0}</think>', '{"a": 1}')
    assert kernel.run("%%backend m -f json\nWhat is a?").error is None
    assert kernel.run("_").result == "{'a': 1}"


def test_progress_of_a_download_is_shown_until_the_answer_begins(kernel, engine):
    progress = {"label": "Fetching a model (93 MB)", "done": 25, "total": 100}
    engine.enqueue({"type": "progress", "progress": progress}, 0.3, "Ready.")
    texts = kernel.run(CELL).markdown
    assert any("Fetching a model" in text and "25%" in text for text in texts), texts
    assert "Fetching" not in texts[-1]


@pytest.mark.parametrize("done", [-5, 10**400])
def test_progress_with_odd_numbers_is_harmless(kernel, engine, done):
    engine.enqueue({"type": "progress", "progress": {"label": None, "done": done, "total": 3}}, "Ready.")
    run = kernel.run(CELL)
    assert run.error is None
    assert run.markdown[-1].startswith("Ready.")


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([{"type": "reasoning", "token": "Hmm."}], "empty answer"),
        (["  \n"], "empty answer"),
        ([{"type": "finish", "finish": {"reason": "tool_calls"}}], "asks for a tool"),
        ([CALL], "<small>asks for a tool &#40;weather&#41; · scripted"),
        (["Cut", {"type": "finish", "finish": {"reason": "length"}}], "cut off at the token limit"),
        ([{"type": "content", "urls": ["https://example.org/a.png"]}], "(https://example.org/a.png)"),
    ],
    ids=["reasoning only", "white space", "a tool", "a named tool", "cut off", "an image"],
)
def test_an_answer_that_is_not_just_text_says_what_it_is(kernel, engine, steps, words):
    engine.enqueue(*steps)
    assert words in kernel.run(CELL).markdown[-1]


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        (["Cut", {"type": "finish", "finish": {"reason": "length"}}], "cut off at the token limit"),
        (["Cut", {"type": "finish", "finish": {"reason": "SAFETY"}}], "stopped by a content filter (SAFETY)"),
        (["Cut", {"type": "finish", "finish": {"reason": "abort"}}], "ended by the server (abort)"),
        (["Cut", b"data: {broken\n\n"], "1 damaged line was skipped"),
    ],
    ids=["limit", "filter", "unknown", "damaged"],
)
def test_an_incomplete_answer_is_marked_and_recorded_as_such(kernel, engine, steps, why):
    engine.enqueue(*steps)
    run = kernel.run(CELL)
    assert run.error is None
    text, mark = run.markdown[-1].split("<small>")
    assert (text.strip(), unescape(mark).startswith(f"⚠ **incomplete** · {why} · ")) == ("Cut", True)
    assert run.displays[-1]["metadata"]["nb_backend"]["complete"] is False
    assert run.displays[-1]["data"]["text/plain"] == f"Cut\n\n[incomplete · {why}]"
    assert "incomplete" not in kernel.run(CELL).markdown[-1]
    assert kernel.run("_.complete, _.summary.split(' · ')[0]").result.startswith("(True, 'scripted")


def test_what_is_hostile_in_a_name_or_an_answer_is_made_safe(kernel, engine):
    who = {"name": "<img src=x onerror=alert(1)>", "label": "[x](javascript:alert(1))", "model": "`m`"}
    engine.enqueue({"type": "provider", "provider": who}, "<script>alert(1)</script> ![x](https://evil.example/x.png)")
    last = kernel.run(CELL).markdown[-1]
    assert "<script" not in last
    assert "<img" not in last
    assert "](javascript" not in last
    assert "![" not in last


def test_three_cells_queued_at_once_run_in_order(kernel, engine):
    for word in ("one", "two", "three"):
        engine.enqueue(word, 0.1, "!")
    started = [kernel.start(f"%%backend\nquestion {number}") for number in (1, 2, 3)]
    runs = [kernel.finish(message_id) for message_id in started]
    assert [str(run.markdown[-1]).split("!")[0] for run in runs] == ["one", "two", "three"]
    assert [body["messages"][-1]["content"] for body in engine.history] == ["question 1", "question 2", "question 3"]


def test_a_failing_cell_stops_those_queued_after_it(kernel, engine, tmp_path):
    engine.enqueue("Some text", {"type": "error", "error": "Broken", "message": "the engine broke"})
    queued = tmp_path / "queued"
    kernel.start(f"import os, time\nwhile not os.path.exists({str(queued)!r}): time.sleep(0.01)")
    first, second = kernel.start(CELL), kernel.start("'ran'")
    queued.touch()
    failed, after = kernel.finish(first), kernel.finish(second)
    assert failed.error == ("ServerError", "ServerError: the engine broke")
    assert failed.markdown[-1].startswith("Some text")
    assert "broke off" in failed.markdown[-1]
    assert after.reply["status"] == "aborted"


def test_an_image_is_sent_as_a_data_uri(kernel, engine, tmp_path):
    png = bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8ffff3f0005fe02fe"
        "dccc59e70000000049454e44ae426082"
    )
    path = tmp_path / "a plot.png"
    path.write_bytes(png)
    kernel.run(f"plot = {png!r}")
    run = kernel.run(f"%%backend -i plot -i '{path}'\nWhat is it?")
    assert run.error is None
    (uri, name), (second, second_name) = engine.history[-1]["media"]
    assert uri == second
    assert uri.startswith("data:image/png;base64,")
    assert (name, second_name) == ("plot.png", "a plot.png")


def test_the_key_is_nowhere_in_what_the_kernel_sends(kernel, engine):
    engine.enqueue("fine", {"type": "error", "error": "Echo", "message": f"your key {TOKEN} is bad"})
    run = kernel.run(CELL)
    assert run.error is not None
    assert TOKEN not in json.dumps(run.messages, default=str)


@pytest.mark.parametrize("wrapped", ["%%time\n", "%%capture captured\n"])
def test_under_other_magics(kernel, engine, wrapped):
    engine.enqueue("an answer")
    run = kernel.run(wrapped + CELL)
    assert run.error is None
    assert kernel.run("type(_).__name__, str(_)").result == "('Answer', 'an answer')"
    if "capture" in wrapped:
        assert run.displays == []
        assert kernel.run("len(captured.outputs), captured.outputs[0].data['text/plain']").result == "(1, 'an answer')"
    else:
        assert run.markdown[-1].startswith("an answer")
        assert "Wall time" in run.printed


def test_a_silent_cell_leaves_no_value(kernel, engine):
    kernel.run("'before'")
    engine.enqueue("silence")
    run = kernel.finish(kernel.client.execute("%%backend\nhi", silent=True))
    assert run.reply["status"] == "ok"
    assert kernel.run("_").result == "'before'"


def test_a_task_that_outlives_its_cell_can_ask(kernel, engine):
    kernel.run(
        "import asyncio\ngo = asyncio.Event()\n"
        "async def later():\n    await go.wait()\n    return get_ipython().run_cell('%%backend\\nhi')\n"
        "task = asyncio.create_task(later())"
    )
    engine.enqueue("late")
    kernel.run("go.set()")
    assert kernel.run("(await task).error_in_exec, str(task.result().result)").result == "(None, 'late')"


def test_a_notebook_that_loads_the_extension_is_run_from_a_cell(kernel, engine, tmp_path):
    cells = [nbformat.v4.new_code_cell(cell) for cell in ("%reload_ext nb_backend", "%%backend\nhi", "after = 1")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "asks.ipynb")
    engine.enqueue("hello")
    run = kernel.run(f"%run {tmp_path / 'asks.ipynb'}")
    assert run.error is None
    assert run.markdown[-1].startswith("hello")
    assert kernel.run("after").result == "1"


@pytest.mark.parametrize(
    "code",
    [
        "get_ipython().run_line_magic('reload_ext', 'nb_backend')\nget_ipython().run_cell('%%backend m\\nhi');",
        "def ask():\n    get_ipython().run_cell_magic('backend', 'm', 'hi')\nask()",
        "async def ask():\n    get_ipython().run_cell_magic('backend', 'm', 'hi')\nawait ask()",
        "get_ipython().run_cell_magic('backend', 'm', 'hi')",
        "get_ipython().run_cell('%%backend m\\nhi');",
    ],
    ids=["loaded in the same cell", "function", "coroutine", "expression", "run_cell"],
)
def test_called_from_code(kernel, engine, code):
    engine.enqueue("hello")
    run = kernel.run(code)
    assert run.error is None
    assert run.markdown[-1].startswith("hello")
    assert run.result is None
    assert kernel.run("1 + 1").result == "2"


@pytest.mark.skipif(ipykernel.version_info < (7, 4), reason="older kernels handle no message while a cell runs")
def test_messages_are_handled_while_an_answer_streams(kernel, engine):
    """A message of a widget is handled in the middle of the stream: here it stops a stream that would never end."""
    kernel.run(
        "import signal\n"
        "def stop(comm, message): signal.raise_signal(signal.SIGINT)\n"
        "get_ipython().kernel.comm_manager.register_target('stop', stop)"
    )
    engine.enqueue("begin ", ...)
    sent = []

    def click(message):
        if not sent and "begin" in str(message["content"]):
            content = {"comm_id": "one", "target_name": "stop", "data": {}}
            sent.append(kernel.client.session.send(kernel.client.shell_channel.socket, "comm_open", content))

    run = kernel.run(CELL, click)
    assert run.stop is not None
    assert run.stop[0] == "KeyboardInterrupt"
    assert "begin" in run.markdown[-1]


def test_help_and_loading_twice_and_unloading(kernel, engine):
    shown = kernel.run("%%backend?").reply["payload"][0]["data"]["text/plain"]
    assert "gpt-3.5-turbo" in shown
    assert "--image" in shown
    kernel.run("%reload_ext nb_backend")
    engine.enqueue("once")
    assert kernel.run(CELL).markdown[-1].startswith("once")
    assert len(engine.history) == 1
    kernel.run("%unload_ext nb_backend")
    assert "not found" in kernel.run(CELL).printed
    kernel.run("%load_ext nb_backend")
    assert kernel.run(CELL).error is None


def long_answer(size: int) -> list[str]:
    paragraph = "It scatters the short waves more than the long ones, as Rayleigh found. " * 5 + "\n\n"
    text = (paragraph * (size // len(paragraph) + 1))[:size]
    return [text[start : start + 40] for start in range(0, size, 40)]


def outputs_of(run) -> list[dict]:
    """The outputs that a front end shows in the end, after all updates and clears."""
    held: dict[object, dict] = {}
    clears = False
    for message in run.messages:
        kind, content = message["msg_type"], message["content"]
        if kind == "clear_output":
            clears = True
        elif kind in ("display_data", "update_display_data", "stream"):
            if clears and kind != "update_display_data":
                held.clear()
                clears = False
            held[content.get("transient", {}).get("display_id") or object()] = content
    return [*held.values()]


def slowly(pieces: list[str]) -> list[str | float]:
    """Add pauses, in which the cell repaints."""
    return [step for at, piece in enumerate(pieces) for step in ([piece] if at % 60 else [0.11, piece])]


def test_a_short_answer_ends_as_one_output(kernel, engine):
    pieces = long_answer(10_000)
    engine.enqueue(*slowly(pieces))
    run = kernel.run("%%backend\nhi")
    assert len({display["transient"]["display_id"] for display in run.displays}) > 2  # it was in pieces while it came
    (output,) = outputs_of(run)
    assert output["data"]["text/plain"] == "".join(pieces)
    assert "</small>" in output["data"]["text/markdown"]
    assert output["metadata"]["nb_backend"]["usage"]


def test_what_else_a_cell_shows_stays_when_an_answer_ends(kernel, engine):
    engine.enqueue(*slowly(long_answer(10_000)))
    printed, *shown = outputs_of(kernel.run("print('mine')\n%backend ask hi"))
    assert printed["text"] == "mine\n"
    assert [bool(output["data"]) for output in shown] == [True] + [False] * (len(shown) - 1)


def test_a_long_answer_stays_in_pieces(kernel, engine):
    pieces = long_answer(30_000)
    engine.enqueue(*slowly(pieces))
    outputs = outputs_of(kernel.run("%%backend\nhi"))
    assert len(outputs) > 5
    assert "".join(output["data"]["text/plain"] for output in outputs) == "".join(pieces)
    assert [bool(output["metadata"]) for output in outputs] == [False] * (len(outputs) - 1) + [True]


def test_a_long_answer_that_is_stopped_keeps_its_text(kernel, engine):
    pieces = [*long_answer(20_000), "And here it stalls."]
    engine.enqueue(*slowly(pieces), ..., "never")
    run = kernel.run_and_interrupt("%%backend\nhi", lambda message: "it stalls" in str(message["content"]))
    outputs = outputs_of(run)
    assert "".join(output["data"]["text/plain"] for output in outputs) == "".join(pieces)
    assert "stopped" in outputs[-1]["data"]["text/markdown"]
