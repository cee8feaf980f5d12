"""A panel in a new kernel continues from what its page, or the notebook's file, says of earlier panels."""

from __future__ import annotations

import json

from media_support import PNG
from test_panel_lasting import Outputs
from test_panel_turns import open_page, page, pairs, said  # noqa: F401  a fixture

from nb_backend import to_data_uri


def chat_record(*turns, **fields):
    """Return a chat as a record has it; a turn is its id, question and answer, and what to add to each message."""
    messages, about = [], []
    for id, question, answer, *more in turns:
        asked, told, failed = (*more, {}, {}, {})[:3]
        messages += [{"role": "user", "content": question, **asked}, {"role": "assistant", "content": answer, **told}]
        about += [{"id": id, "time": 1.79e9}, {"time": 1.79e9, "model": "m", **failed}]
    record = {"format": "nb_backend.chat", "version": 1, "model": None, "provider": None, "system": None, "params": {}}
    return {**record, "messages": messages, "about": about, **fields}


def record(name, *turns, **fields):
    return {"chats": {name: chat_record(*turns, **fields)}, "shown": name, "opened": name}


def record_of(page):  # noqa: F811
    reply = page.ask("record")
    return json.loads(b"".join(page.pieces[reply["id"]]))


def restored(page, *records):  # noqa: F811
    data = json.dumps([*records]).encode() if records else b""
    return page.ask("restore", *([data] if data else [b""]), pieces=1 if data else 0)


def test_a_record_comes_back_with_all_that_was_shown(page, engine, kernel):  # noqa: F811
    shown = open_page(kernel, "kept = ChatPanel('kept')\nkept", cell="kept")
    assert shown.state["restore"] is True
    picture = {"media": [[to_data_uri(PNG), "a.png"]]}
    turns = [
        ("k1", "One?", "1", {"cell": "asking"}),
        ("k2", "Two?", "2", picture, {"stopped": True}),
        ("k3", "Three?", "half", {}, {}, {"failed": "the server is gone"}),
        ("k4", "Four?", "4"),
    ]
    saved = record(
        "kept", *turns, model="llama", params={"temperature": 0.5, "effort": "low", "base_url": "http://stranger"}
    )
    assert {"turns": 4, "lost": 0, "time": 1.79e12}.items() <= restored(shown, saved).items()
    shown.until(lambda: len(shown.shown) == 8)
    assert said(shown) == pairs("One?", "1", "Two?", "2", "Three?", "half", "Four?", "4")
    assert [one["status"] for one in shown.shown if one["role"] == "assistant"] == ["done", "stopped", "failed", "done"]
    assert shown.shown[5]["error"] == "the server is gone"
    assert shown.picture(shown.shown[2]["images"][0]["key"]) == PNG
    assert shown.state["settings"]["model"] == "llama"
    assert kernel.run("chats['kept'].params").result == "{'temperature': 0.5, 'effort': 'low'}"
    assert restored(shown, saved)["turns"] == 0

    shown.turn("On?")
    sent = [message["content"] for message in engine.history[-1]["messages"] if message["role"] == "user"]
    assert [one if isinstance(one, str) else one[-1]["text"] for one in sent] == ["One?", "Two?", "Four?", "On?"]
    shown.ask("retry", item=shown.shown[5]["id"])  # the failed one is asked as the next
    shown.until(lambda: said(shown)[-2:] == pairs("Three?", "Three?") and len(shown.shown) == 10)
    shown.ask("delete", item=shown.shown[0]["id"])
    shown.until(lambda: len(shown.shown) == 8)
    assert restored(shown, saved)["turns"] == 0  # neither the deleted turn nor the failed one comes back

    reply = shown.ask("record")
    written = json.loads(b"".join(shown.pieces[reply["id"]]))
    assert [one["content"] for one in written["chats"]["kept"]["messages"]][:2] == ["Two?", "2"]
    assert written["chats"]["kept"]["messages"][0]["media"] == [[to_data_uri(PNG), "a.png"]]
    assert kernel.run("import os; os.environ['NB_BACKEND_API_KEY']").result.strip("'") not in json.dumps(written)
    assert "http://" not in json.dumps(written)
    shown.leave()
    kernel.run("kept.close()")


def test_all_chats_that_a_panel_has_shown_are_in_its_record(page, engine, kernel):  # noqa: F811
    shown = open_page(kernel, "several = ChatPanel('several')\nseveral", cell="several")
    saved = record("several", ("s1", "Here?", "yes"))
    saved["chats"]["another"] = chat_record(("s2", "There?", "no"))
    assert restored(shown, {**saved, "shown": "another"})["turns"] == 2
    shown.until(lambda: said(shown) == pairs("There?", "no"))
    assert shown.state["chat"] == "another"  # as the panel was left
    found = Outputs(kernel)
    shown.turn("And?")
    shown.until(lambda: "Transcript of “There&#63;”: 2 turns" in found.transcript)
    assert "Transcript of “Here&#63;”: 1 turn<" in found.transcript
    reply = shown.ask("record")
    written = json.loads(b"".join(shown.pieces[reply["id"]]))
    assert {*written["chats"]} == {"several", "another"}
    assert (written["shown"], written["opened"]) == ("another", "several")
    shown.ask("retry", item=shown.shown[-1]["id"])
    shown.until(lambda: kernel.run("len(chats['another'].versions)").result != "0")
    reply = shown.ask("record")
    again = json.loads(b"".join(shown.pieces[reply["id"]]))["chats"]["another"]
    assert [one["chosen"] for one in again["versions"]] == [1]
    for about in again["about"]:
        about.pop("id", None)
    assert restored(shown, {"chats": {"versions": again}, "shown": "versions", "opened": ""})["turns"] == 2
    assert kernel.run("[*chats['versions'].versions.values()]").result == "[(2, 2)]"
    kernel.run("del chats['versions']")
    kernel.run("del chats['several']")
    reply = shown.ask("record")
    assert {*json.loads(b"".join(shown.pieces[reply["id"]]))["chats"]} == {"another"}
    kernel.client.get_iopub_msg = found.read
    shown.leave()
    kernel.run("several.close()")


def test_a_damaged_record_is_refused_and_changes_nothing(page, engine, kernel):  # noqa: F811
    shown = open_page(kernel, "damaged = ChatPanel('damaged')\ndamaged", cell="damaged")
    good = record("damaged", ("d1", "Q", "A"))
    newer = record("damaged", ("d1", "Q", "A"), version=99)
    for wrong in ({}, {"chats": 3}, {**good, "shown": None}, record("damaged", ("d1", 7, "A")), {**good, "chats": [1]}):
        assert "this notebook" in shown.refused("restore", json.dumps([wrong]).encode(), pieces=1)
    assert "newer" in shown.refused("restore", json.dumps([newer]).encode(), pieces=1)
    assert "damaged" in shown.refused("restore", b"[{", pieces=1)
    path = record("damaged", ("d1", "Q", "A", {"media": [["/etc/passwd", "a.png"]]}))
    shown.refused("restore", json.dumps([path]).encode(), pieces=1)
    assert kernel.run("len(chats['damaged'].messages)").result == "0"
    shown.leave()
    kernel.run("damaged.close()")


def test_without_a_page_that_reaches_it_the_notebook_is_read_from_its_file(page, engine, kernel, tmp_path):  # noqa: F811
    found = Outputs(kernel)
    shown = open_page(kernel, "filed = ChatPanel('filed')\nfiled", cell="filed")
    assert restored(shown)["unread"] is True
    shown.turn("Kept?")
    shown.until(lambda: "Kept?" in found.transcript)
    mark = next(one["nb_backend"] for one in reversed(found.metadata.values()) if "record" in one.get("nb_backend", {}))
    written = json.loads(json.dumps(mark["record"]).replace("Kept?", "From the file?"))
    for about in written["chats"]["filed"]["about"]:
        about.pop("id", None)
    output = {"output_type": "display_data", "data": {}, "metadata": {"nb_backend": {**mark, "record": written}}}
    cells = [{"cell_type": "code", "source": "x", "metadata": {}, "outputs": [output]}, None, {"metadata": 3}]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5}))
    kernel.run(f"__vsc_ipynb_file__ = {str(tmp_path / 'a.ipynb')!r}")
    again = open_page(kernel, "filed = ChatPanel('filed')\nfiled", cell="filed")
    assert {"turns": 1, "unread": False}.items() <= restored(again).items()
    again.until(lambda: said(again) == pairs(*["From the file?"] * 2, *["Kept?"] * 2))
    again.ask("hello", notebook=True)  # now a page keeps the record
    again.turn("Last?")
    again.until(lambda: "Last?" in found.transcript)
    marks = [one.get("nb_backend", {}) for one in found.metadata.values()]
    assert not any("record" in one for one in marks if one.get("panel") == again.panel)
    kernel.client.get_iopub_msg = found.read
    kernel.run("filed.close()\ndel __vsc_ipynb_file__")


def of_a_panel(text, id, output="transcript", data=(), **mark):
    """Return a cell that a panel of an earlier version has left in a file."""
    data = {"text/markdown": text, **dict(data)}
    metadata = {"nb_backend": {"panel": "p", "output": output, "version": 3, **mark}}
    outputs = [{"output_type": "display_data", "data": data, "metadata": metadata}]
    return {"cell_type": "code", "id": id, "source": "x", "metadata": {}, "outputs": outputs}


def test_a_transcript_that_no_record_continues_is_shown_again(page, engine, kernel, tmp_path):  # noqa: F811
    old = '<details class="nbb-saved" open><summary>Transcript: 1 turn</summary>'
    old = f"{old}\n\n**You** <small>2026-01-02 03:04</small>\n\nOld? <script>\n\n</details>"
    path = tmp_path / "old.ipynb"
    path.write_text(json.dumps({"cells": [of_a_panel("Other!", "other"), of_a_panel([old], "old"), {"outputs": [3]}]}))
    found = Outputs(kernel)
    kernel.run(f"__vsc_ipynb_file__ = {str(path)!r}")
    shown = open_page(kernel, "old = ChatPanel('old')\nold", cell="old")
    assert {"turns": 0, "unread": False, "earlier": True}.items() <= restored(shown).items()
    shown.until(lambda: "Old?" in found.transcript)
    kept = "**Transcript&#58; 1 turn**\n\n**You** 2026-01-02 03:04\n\nOld? &lt;script>"
    earlier = f"<summary>Transcript of an earlier version</summary>\n\n{kept}\n\n</details>"
    assert found.transcript == f"<details open>{earlier}"
    assert restored(shown)["earlier"] is False
    shown.turn("New?")
    shown.until(lambda: "New?" in found.transcript)
    assert found.transcript.endswith(f'</details>\n\n<details class="nbb-saved" open>{earlier}')
    written = record_of(shown)
    assert written["earlier"] == kept

    again = open_page(kernel, "old = ChatPanel('old')\nold", cell="old")
    again.until(lambda: shown.closed and earlier in found.transcript)
    kernel.run("old.close()\nimport os; os.remove(__vsc_ipynb_file__)")
    last = open_page(kernel, "new = ChatPanel('new')\nnew", cell="new")
    reply = restored(last, {**written, "chats": {}, "opened": "new", "earlier": f"{kept} <img>"})
    assert (reply["turns"], reply["earlier"]) == (0, False)
    last.until(lambda: f"{kept} &lt;img>" in found.transcript)
    kernel.client.get_iopub_msg = found.read
    kernel.run("new.close()\ndel __vsc_ipynb_file__")


def test_the_transcript_of_a_record_that_cannot_be_read_is_shown_again(page, engine, kernel, tmp_path):  # noqa: F811
    path = tmp_path / "damaged.ipynb"
    path.write_text(json.dumps({"cells": [of_a_panel("Kept?", "d", record={"chats": 3})]}))
    kernel.run(f"__vsc_ipynb_file__ = {str(path)!r}")
    found = Outputs(kernel)
    shown = open_page(kernel, "d = ChatPanel('d')\nd", cell="d")
    assert shown.refused("restore", b"[{}]", pieces=1, own=True).endswith("is not continued; it is kept below")
    shown.until(lambda: "Kept?" in found.transcript)
    kernel.client.get_iopub_msg = found.read
    kernel.run("d.close()\ndel __vsc_ipynb_file__")


def test_the_record_has_a_turn_from_its_question_on(page, engine, kernel):  # noqa: F811
    found = Outputs(kernel)
    shown = open_page(kernel, "live = ChatPanel('live')\nlive", cell="live")
    recorded = lambda: [one["content"] for one in record_of(shown)["chats"]["live"]["messages"]]  # noqa: E731
    engine.enqueue("Yes")
    shown.turn("First?")
    shown.until(lambda: "First?" in found.transcript)
    engine.enqueue(...)
    shown.ask("send", text="Asked?", images=[])
    shown.until(lambda: recorded() == ["First?", "Yes", "Asked?", ""])
    first = record_of(shown)
    assert restored(shown, first)["turns"] == 0  # it is still being written
    shown.ask("stop")
    shown.last("stopped")
    assert restored(shown, first)["turns"] == 0
    assert recorded() == ["First?", "Yes", "Asked?", ""]

    kernel.run("from nb_backend.notebook.panel import watcher\nwatcher.RECORD_INTERVAL = 0")
    engine.enqueue("Half an answer", ...)
    shown.ask("send", text="And?", images=[])
    shown.until(lambda: recorded() == ["First?", "Yes", "Asked?", "", "And?", "Half an answer"])
    grown = record_of(shown)
    kernel.run("watcher.RECORD_INTERVAL = 10.0")
    assert "And?" not in found.transcript
    shown.ask("stop")
    shown.last("stopped")
    assert restored(shown, grown)["turns"] == 0
    shown.until(lambda: "And?" in found.transcript)

    saved = grown["chats"]["live"]
    saved["about"] = [one | ({"id": f"{one['id']}0"} if "id" in one else {}) for one in saved["about"]]
    other = open_page(kernel, "lived = ChatPanel('lived')\nlived", cell="lived")
    assert restored(other, {"chats": {"lived": saved}, "shown": "lived", "opened": "lived"})["turns"] == 3
    other.until(lambda: len(other.shown) == 6)
    assert said(other)[:3] == pairs("First?", "Yes", "Asked?", "")[:3]
    assert said(other)[4:] == pairs("And?", "Half an answer")
    assert [one["status"] for one in other.shown[1::2]] == ["done", "failed", "incomplete"]
    assert other.shown[3]["error"] == "no answer had arrived"
    other.leave()
    shown.leave()
    kernel.client.get_iopub_msg = found.read
    kernel.run("live.close()\nlived.close()")


def saved_cell(kernel, code, cell):
    """Run a cell and return it as a notebook's file has it."""
    run = kernel.run(code, cell=cell)
    assert run.error is None
    outputs = {}
    for display in run.displays:
        outputs[display["transient"].get("display_id", len(outputs))] = display
    shown = [
        {"output_type": "display_data", "data": one["data"], "metadata": one["metadata"]} for one in outputs.values()
    ]
    return {"cell_type": "code", "id": cell, "source": code.splitlines(keepends=True), "metadata": {}, "outputs": shown}


def test_the_conversation_of_cells_comes_back_from_the_file(kernel, engine, tmp_path):
    kernel.run("from nb_backend import chats\nfor name in list(chats): del chats[name]\nsky = 'sky'")
    engine.enqueue("Long words. " * 2000)
    engine.enqueue("Because")
    engine.enqueue("Plain")
    for text in ("elsewhere", "alone", "no JSON", "[7]"):
        engine.enqueue(text)
    cells = [
        saved_cell(kernel, "%%backend\nWrite.", "c1"),
        saved_cell(kernel, "%%backend\nWhy is the {{ sky }} blue?", "c2"),
        saved_cell(kernel, "%%backend -f text\nPlainly?", "c3"),
        saved_cell(kernel, "%%backend --chat other\nElsewhere?", "c4"),
        saved_cell(kernel, "%%backend --once\nAlone?", "c5"),
        saved_cell(kernel, "1 + 1", "c6"),
        saved_cell(kernel, "%%backend --schema {'type':'array'}\nTwice?", "c7"),
    ]
    path = tmp_path / "my notes.ipynb"
    path.write_text(json.dumps({"cells": [*cells, None, {"cell_type": "code", "source": 3, "outputs": 4}]}))
    state = "[[(m['role'], m['content'].strip(), m.get('cell')) for m in chats[n].messages] for n in ('main', 'other')]"
    before = kernel.run(state).result
    assert "Why is the sky blue?" in before
    assert "That does not fit the schema" in before
    again = kernel.run(f"%backend restore {path}")
    assert "all its turns are here" in str(again.result)
    kernel.run(
        "for name in list(chats): del chats[name]\nfrom nb_backend.chat import history\nhistory._known_turns.clear()"
    )
    asked = len(engine.history)
    run = kernel.run(f"%backend restore {path}")
    assert "6 turns restored from my notes.ipynb, saved 20" in str(run.result)
    assert kernel.run(state).result == before
    assert len(engine.history) == asked
    kernel.run("%%backend\nWrite.", cell="c1")  # a restored turn is taken back as any other
    assert kernel.run("[m.get('cell') for m in chats['main'].messages].count('c1')").result == "1"


def test_a_restore_that_finds_no_notebook_says_so(kernel, engine, tmp_path):
    assert "does not say where the notebook is" in kernel.run("%backend restore").error[1]
    assert "there is no notebook" in kernel.run(f"%backend restore {tmp_path}/none.ipynb").error[1]
    (tmp_path / "bad.ipynb").write_text("{}")
    assert "is not a notebook" in kernel.run(f"%backend restore {tmp_path}/bad.ipynb").error[1]
