"""The kernel stays what it was: after many cells, a reload, an update, a fork and a restart."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from driver import Kernel
from jupyter_client.manager import start_new_kernel
from panel_client import PanelPage
from wait import eventually

import nb_backend

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="counts what POSIX knows")

CELLS = 200
SAID = "[message['content'] for message in chats['main'].messages]"
HELD = """
import os
from concurrent.futures import ThreadPoolExecutor
from nb_backend import background

# one thread for `asyncio.to_thread`: a pool that may grow starts another thread, with a pipe of its own to the front
# end, whenever a call comes before the last one's thread is free again
if "pool" not in globals():  # a second pool would leave the first one's thread to end whenever it pleases
    pool = ThreadPoolExecutor(1, thread_name_prefix="asyncio")
    pool.submit(int).result()  # its thread is there before anything is counted
    background.loop().call_soon_threadsafe(background.loop().set_default_executor, pool)

def opened(number):
    "What is open by this number; a thread may have closed it since it was listed."
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except FileNotFoundError:
        return ""

def files():
    "How many are open, without IPython's history, which a thread writes when it pleases."
    if not os.path.isdir("/proc/self/fd"):
        return 0
    profile = os.path.realpath(get_ipython().profile_dir.location)
    open_files = [opened(number) for number in os.listdir("/proc/self/fd")]
    return sum(bool(name) and not name.startswith(profile) for name in open_files)

def held():
    import asyncio, gc, threading
    from nb_backend import background
    shell, loop = get_ipython(), background.loop()
    shown = shell.display_formatter.ipython_display_formatter
    gc.collect()
    return {
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "files": files(),
        "comms": len(__import__("comm").get_comm_manager().comms),
        "tasks": len(asyncio.all_tasks(loop)),
        "events": {name: len(called) for name, called in shell.events.callbacks.items()},
        "transformers": [len(shell.input_transformers_cleanup), len(shell.input_transformers_post)],
        "tokens": len(shell.input_transformer_manager.token_transformers),
        "matchers": len(shell.Completer.custom_matchers),
        "shown": len(shown.deferred_printers) + len(shown.type_printers),
        "magics": [len(magics) for magics in shell.magics_manager.magics.values()],
        "traits": len(shell.configurables),
        "send": shell.kernel.session.send.__qualname__,
    }
"""


def value(kernel, code):
    run = kernel.run(f"import json\njson.dumps({code})")
    assert run.error is None, run.error
    return json.loads(run.result[1:-1])


def settled(kernel):
    """Return what the kernel holds, after closed objects are gone."""
    before = None
    while (now := value(kernel, "held()")) != before or now["tasks"]:
        before = now
    return now


def is_again(kernel, before) -> None:
    """Assert that the kernel holds what it held before, at the latest when closed objects are gone."""
    for _ in range(500):
        if (now := value(kernel, "held()")) == before:
            return
    assert now == before


@pytest.fixture
def clean(kernel, engine) -> Kernel:
    """The module's kernel without any chat."""
    kernel.run("%load_ext nb_backend\nfrom nb_backend import Chat, ChatPanel, background, chats")
    kernel.run("for name in list(chats): del chats[name]")
    kernel.run(HELD)
    return kernel


def test_two_hundred_cells_leave_the_kernel_as_it_was(clean, engine):
    ways = ["%%backend\nhi", "%%time\n%%backend\nhi", "%backend ask hi", "chats['main']('hi')", "%%backend --new\nhi"]
    broken = {"type": "error", "error": "Broken", "message": "the engine broke"}

    def go_through(cells: int) -> None:
        for number in range(cells):
            if number % 7 == 0:
                engine.enqueue("half ", broken)
            run = clean.run(ways[number % len(ways)], cell=f"cell-{number}")
            assert (run.error is None) == bool(number % 7), run.error

    go_through(10)
    before = settled(clean)
    go_through(CELLS)
    is_again(clean, before)


def test_panels_that_are_closed_leave_nothing(clean, engine):
    def open_and_close(panels: int) -> None:
        for number in range(panels):
            run = clean.run("panel = ChatPanel()\npanel", cell=f"panel-{number}")
            page = PanelPage(clean, run).hello()
            page.turn("hi")
            page.leave()
            clean.run("panel.close()\ndel panel")

    open_and_close(3)
    before = settled(clean)
    open_and_close(3)
    is_again(clean, before)


def test_unloaded_nothing_is_left_and_loaded_again_nothing_is_double(clean, engine):
    assert clean.run("%backend ask one", cell="a").error is None  # the first cell of a kernel opens what stays
    loaded = settled(clean)
    assert clean.run("%backend ask one", cell="a").error is None
    for code in ("%load_ext nb_backend", "%reload_ext nb_backend", "nb_backend.load_ipython_extension(get_ipython())"):
        assert clean.run(f"import nb_backend\n{code}").error is None
        is_again(clean, loaded)
    clean.run("%unload_ext nb_backend")
    without = settled(clean)
    ours = ("events", "transformers", "tokens", "matchers", "shown", "magics", "traits", "send")
    assert {*ours} <= {name for name in loaded if without[name] != loaded[name]}
    assert "UsageError" in str(clean.run("%%backend\nhi").messages)
    assert clean.run("%unload_ext nb_backend").error is None
    is_again(clean, without)
    assert clean.run("%load_ext nb_backend").error is None
    is_again(clean, loaded)
    assert clean.run("%%backend\ntwo", cell="b").error is None
    assert value(clean, SAID) == ["one", "one", "two", "two"]


@pytest.mark.parametrize(
    "code", ["%reload_ext nb_backend\n%backend ask two", "%backend ask two\n%reload_ext nb_backend"]
)
def test_a_cell_that_reloads_keeps_what_it_asks(clean, engine, code):
    clean.run("%backend ask one", cell="a")
    for _ in range(2):  # the second run takes back what the first had said
        assert clean.run(code, cell="b").error is None
        assert value(clean, SAID) == ["one", "one", "two", "two"]


@pytest.mark.parametrize("how", ["%unload_ext nb_backend", "%reload_ext nb_backend"])
def test_an_answer_goes_on_while_the_extension_goes_and_comes(clean, engine, how):
    engine.enqueue("one ", *["more ", 0.02] * 25)
    clean.run("job = background.Job(chats['main'].ask('hi'))")
    assert clean.run(how).error is None
    assert clean.run("%load_ext nb_backend\njob.wait()").error is None
    assert value(clean, SAID) == ["hi", "one " + "more " * 25]


FORKED = """
import multiprocessing, os, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
job = background.Job(chats["main"].ask("Parent?"))
while not (chats["main"].live and chats["main"].live[0].answer.text):
    time.sleep(0.01)
how = {how!r}
if how == "os.fork":
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write, Chat()("Child").text.encode())
        os._exit(0)
    os.waitpid(child, 0)
    print(os.read(read, 100).decode())
else:
    with multiprocessing.get_context(how).Pool(1) as pool:
        print(pool.apply(Chat(), ("Child",)))
        pool.close()
        pool.join()
turn = chats["main"].live[0]
had = len(turn.answer.text)
while len(turn.answer.text) == had:
    time.sleep(0.01)
turn.stop()
print(job.wait().text[:8])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("how", ["os.fork", "fork", "forkserver", "spawn"])
def test_a_child_of_the_kernel_asks_by_itself_while_an_answer_of_the_kernel_goes_on(clean, engine, how):
    engine.enqueue("one ", *["more ", 0.02] * 2000)
    run = clean.run(FORKED.format(how=how))
    assert run.error is None, run.error
    assert run.printed.splitlines() == ["Child", "one more"]
    assert clean.run("%%backend\nAnd now?").error is None
    assert value(clean, SAID)[2:] == ["And now?", "And now?"]
    eventually(lambda: engine.stopped == 1)


@pytest.fixture
def own_kernel(server, tmp_path) -> Iterator[Kernel]:
    """A kernel that has the package from a folder of its own, where it may be changed."""
    package = Path(nb_backend.__file__).parent
    shutil.copytree(package, tmp_path / "nb_backend", ignore=shutil.ignore_patterns("__pycache__"))
    env = {**os.environ, **server.env, "PYTHONPATH": str(tmp_path)}
    manager, client = start_new_kernel(kernel_name="python3", env=env)
    yield Kernel(manager, client)
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def update(folder: Path, at: float) -> None:
    """Change every file of the package, as an update does."""
    for file in (folder / "nb_backend").rglob("*.py"):
        file.write_text(
            f"{file.read_text(encoding='utf-8')}\n\ntry:\n    UPDATED = {at}\nfinally:\n    pass\n", "utf-8"
        )
        os.utime(file, (at, at))


@pytest.mark.parametrize(("first", "mode"), [("autoreload", "all"), ("nb_backend", "complete")])
def test_autoreload_leaves_the_package_alone_when_its_files_change(own_kernel, engine, tmp_path, first, mode):
    second = {"autoreload": "nb_backend", "nb_backend": "autoreload"}[first]
    own_kernel.run(f"%load_ext {first}\n%load_ext {second}\n%autoreload {mode}")
    own_kernel.run("import nb_backend, sys\nfrom nb_backend import Chat, ChatPanel, background, chats, settings")
    assert own_kernel.run("nb_backend.__file__").result == repr(str(tmp_path / "nb_backend" / "__init__.py"))
    own_kernel.run(HELD)
    key = "settings.current.api_key = os.environ.pop('NB_BACKEND_API_KEY')"
    own_kernel.run(f"import os\n{key}\nsettings.current.model = 'm'\nloop = background.loop()")
    page = PanelPage(own_kernel, own_kernel.run("panel = ChatPanel('main')\npanel")).hello()
    page.turn("one")
    before = settled(own_kernel)
    own_kernel.run("modules = [module for name, module in sys.modules.items() if name.startswith('nb_backend')]")
    for asked, at in enumerate((2e9, 3e9), 1):
        update(tmp_path, at)
        assert own_kernel.run("%%backend\ntwo", cell="c").error is None
        page.turn("three")
        # the cell's turn is replaced, and what is asked in the panel stays
        assert value(own_kernel, SAID) == ["one", "one", "two", "two", *["three", "three"] * asked]
    assert value(own_kernel, "[module.__name__ for module in modules if hasattr(module, 'UPDATED')]") == []
    assert value(own_kernel, "[background.loop() is loop, isinstance(chats['main'], Chat), settings.model()]") == [
        True,
        True,
        "m",
    ]
    is_again(own_kernel, before)
    page.leave()


def test_a_restart_in_the_middle_of_an_answer_stops_it_and_the_kernel_asks_anew(own_kernel, engine):
    own_kernel.run("%load_ext nb_backend")
    engine.enqueue("What was said so far", ...)

    def restart(message) -> None:
        if "said so far" in str(message["content"].get("data", "")):
            raise InterruptedError

    with pytest.raises(InterruptedError):
        own_kernel.run("%%backend\nhi", restart)
    own_kernel.manager.restart_kernel(now=True)
    own_kernel.client.wait_for_ready(timeout=60)
    eventually(lambda: engine.stopped == 1)
    own_kernel.run("%load_ext nb_backend\nfrom nb_backend import chats")
    assert own_kernel.run("%%backend\nhi again").error is None
    assert value(own_kernel, SAID) == ["hi again", "hi again"]
