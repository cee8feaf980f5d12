"""A key in a real kernel, whose server repeats it wherever it can: nothing that a kernel sends or writes has it."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from driver import Kernel, one_line
from jupyter_client.manager import start_new_kernel
from wire_server import CHUNKED, WireServer, chunk, content, sse, status, stream

from nb_backend.services import SERVICES

KEY = "sk-Zx81-Nobody-May-See-This"
TYPED = "sk-Typed-In-A-Line-0042"
SERVICE_KEY = "own-Zx82-key-of-a-service-4711"
VARIABLES = sorted({name for service in SERVICES.values() for name in service.keys})


@pytest.fixture
def services_server() -> Iterator[WireServer]:
    """The server of all services."""
    server = WireServer()
    yield server
    server.stop()


@pytest.fixture
def keyed_kernel(wire_server: WireServer, services_server: WireServer, tmp_path: Path) -> Iterator[Kernel]:
    """A kernel whose key is ``KEY``, with a home, and so a history, of its own."""
    folders = {"IPYTHONDIR": str(tmp_path / "ipython"), "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")}
    keys = {name: f"{SERVICE_KEY}-{name}" for name in VARIABLES}
    env = {**os.environ, **folders, **keys, "NB_BACKEND_URL": wire_server.url, "NB_BACKEND_API_KEY": KEY}
    manager, client = start_new_kernel(kernel_name="python3", env=env, cwd=str(tmp_path))
    kernel = Kernel(manager, client)
    assert kernel.run("%load_ext nb_backend\n%xmode Verbose").error is None
    at = f"{services_server.url}/v1"
    kernel.run(
        "from dataclasses import replace\nfrom nb_backend.services import SERVICES\n"
        f"SERVICES.update({{name: replace(one, url='{at}', url_variable='') for name, one in SERVICES.items()}})"
    )
    yield kernel
    client.stop_channels()
    manager.shutdown_kernel(now=True)


HALF = len(KEY) // 2
REPEATING = stream(
    *({"type": kind, kind: {"api_key": KEY}} for kind in ("log", "request", "headers", "response")),
    {"type": "provider", "provider": {"name": KEY, "label": f"the {KEY} provider", "model": KEY}},
    {"type": "reasoning", "token": f"The key is {KEY}."},
    content(f"It is {KEY[:HALF]}"),
    content(f"{KEY[HALF:]}, yes. ![x](/media/x.png?key={KEY})"),
    {"type": "usage", "usage": {"completion_tokens": 3, "note": KEY}},
)
ANTHROPIC_KEY = f"{SERVICE_KEY}-ANTHROPIC_API_KEY"
GROQ_KEY = f"{SERVICE_KEY}-GROQ_API_KEY"
REPEATED = status("401 No", {"error": {"message": f"{GROQ_KEY} is wrong", "code": GROQ_KEY}})
BLOCK = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": f"It is {ANTHROPIC_KEY}."}}
SERVICE_CELLS = [
    ("%%backend --once groq:llama\nWhat is my key?", REPEATED),
    ("%tb", b""),
    ("%%backend --once anthropic:claude\nWhat is my key?", stream(BLOCK, {"type": "message_stop"})),
    ("_.text, vars(_), _", b""),
    ("%%backend --once groq:llama mistral:large\nWhat are my keys?", REPEATED),
    ("_, [vars(one) for one in _]", b""),
    ("import nb_backend\nnb_backend.Chat('groq:llama')('Hi?')", REPEATED),
    ("%tb", b""),
    ("%%backend --dry-run groq:llama\nHi?", b""),
    ("import os", b""),
    ("%%backend --dry-run groq:llama\nIs it {{ os.environ['GROQ_API_KEY'] }}?", b""),
    ("%backend services", b""),
    ("%backend models groq", REPEATED),
    ("%backend url groq", b""),
    ("%backend", REPEATED),
    ("%backend key groq --forget", b""),
    ("nb_backend.settings.current, vars(nb_backend.settings.current)", b""),
    ("%backend url default", b""),
]
CELLS = [
    *SERVICE_CELLS,
    ("%%backend\nWhat is my key?", REPEATING),
    ("_.text, vars(_), _", b""),
    ("%%backend --once\nAgain?", status("401 No", {"error": {"message": f"{KEY} is wrong", "code": KEY}})),
    ("%tb", b""),
    ("%%time\n%%backend --once\nAgain?", CHUNKED + chunk(sse(content(KEY), {"type": "error", "message": KEY}))),
    ("%tb", b""),
    ("import nb_backend\nnb_backend.Chat()('Hi?')", status("429 Slow", KEY.encode(), retry_after="99")),
    ("%tb", b""),
    ("%backend", b""),
    ("%backend models", status("500 No", KEY.encode())),
    ("%%backend --dry-run\nHi?", b""),
    ("%backend history", b""),
    ("panel = nb_backend.ChatPanel()\npanel", status("404 No", KEY.encode())),
    ("panel.get_state()", b""),
    ("chat = nb_backend.chats['main']\nchat, vars(chat), chat.request('x'), nb_backend.settings.current", b""),
    ("import pickle\nassert pickle.loads(pickle.dumps(chat)).messages\npickle.dumps(chat)", b""),
    ("chat.save('c.json'), chat.export('c.md'), chat.export('c.ipynb')", b""),
    ("%backend fix --dry-run", b""),
    ("%who_ls\n%whos", b""),
]


def test_nothing_that_a_kernel_sends_or_writes_has_the_key(keyed_kernel, wire_server, services_server, tmp_path):
    said = []
    for cell, answer in CELLS:
        for server in (wire_server, services_server):
            server.answers_now(answer)
        run = keyed_kernel.run(cell)
        said.append((cell, json.dumps([run.messages, run.reply], default=str)))
    assert [cell for cell, messages in said if KEY in messages or f"{SERVICE_KEY}-" in messages] == []
    assert "Groq refused the key in GROQ_API_KEY (*** is wrong)" in said[0][1]
    assert "It is ***." in said[2][1]
    told = next(messages for cell, messages in said if cell == "%%backend\nWhat is my key?")
    assert "It is sk-***, yes." in told or "It is ***, yes." in told
    assert any(request.header("x-api-key") == KEY or KEY.encode() in request.body for request in wire_server.requests)

    running = psutil.Process(keyed_kernel.manager.provisioner.pid)
    for name, header in (("groq", "Authorization"), ("anthropic", "x-api-key")):
        sent = [str(request.header(header)) for request in services_server.requests]
        assert any(one.endswith(f"{SERVICE_KEY}-{name.upper()}_API_KEY") for one in sent)
    assert KEY not in str([process.cmdline() for process in (running, *running.children(recursive=True))])
    keyed_kernel.run("%history -g backend\nget_ipython().history_manager.writeout_cache()")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"c.json", "c.md", "c.ipynb", "history.sqlite"} <= {path.name for path in written}
    assert [path for path in written if KEY.encode() in path.read_bytes()] == []
    assert [path for path in written if f"{SERVICE_KEY}-".encode() in path.read_bytes()] == []
    with sqlite3.connect(tmp_path / "ipython/profile_default/history.sqlite") as history:
        assert KEY not in str(history.execute("select * from history").fetchall())
    history.close()


@pytest.mark.parametrize(
    "cell",
    [
        f"%backend key {TYPED}",
        f"%backend key={TYPED}",
        f"%%backend --key {TYPED}\nhi",
        f"%%backend --api-key {TYPED}\nhi",
        f"%%backend --api_key={TYPED} m\nhi",
        f"%%backend -p api_key={TYPED}\nhi",
        f"%%backend -p apiKey={TYPED}\nhi",
        f'%%backend -p \'headers={{"Authorization": "Bearer {TYPED}"}}\'\nhi',
        f"%backend url http://me:{TYPED}@localhost:1",
        f"%backend url http://localhost:1/?key={TYPED}",
        f"%backend api_key {TYPED}",
        f"%%backend {TYPED}\nhi",
        f"%%backend -p user={TYPED}\nhi",
        f"%backend use {TYPED}",
    ],
)
def test_a_key_on_a_line_is_refused_not_used_and_not_repeated(kernel, engine, cell):
    run = kernel.run(cell)
    one_line(run)
    given = [message["content"] for message in run.messages if message["msg_type"] != "execute_input"]
    assert TYPED not in json.dumps([given, run.reply], default=str)
    assert engine.history == []
    assert TYPED not in str(kernel.run("from nb_backend import settings\nvars(settings.current)").messages)
