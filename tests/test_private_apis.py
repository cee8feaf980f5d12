"""Every private or undocumented name of other packages that this one uses: an upgrade that changes one fails here.

``PRIVATE`` lists the names that begin with an underscore, and the modules that use them; a new one has to be added
here, with a test of what is expected of it. The tests below hold that the names exist and do what the code expects.
What the front ends are asked for without a documented name is in ``FRONT_END``; the tests in a browser use it.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import threading
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import anywidget
import comm.base_comm
import pytest
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import BaseConnector
from ipykernel.inprocess.ipkernel import InProcessKernel
from ipykernel.ipkernel import IPythonKernel
from ipykernel.zmqshell import ZMQDisplayPublisher, ZMQInteractiveShell
from IPython.core.completer import IPCompleter
from IPython.core.displayhook import DisplayHook
from IPython.core.interactiveshell import InteractiveShell
from ipywidgets import Widget
from jupyter_client.session import Session
from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline

import nb_backend

PACKAGE = Path(nb_backend.__file__).parent

PRIVATE = {
    "_acquired": {"transport/connection.py"},  # aiohttp: the connections that are in use
    "_create_connection": {"transport/connection.py"},  # aiohttp: overridden, to see each new connection
    "_exit": {"local/__main__.py", "tools/run_code.py"},  # os: documented in spite of its name
    "_getframe": {"batch/api.py", "notebook/magic/transform.py"},  # sys: documented in spite of its name
    "_instances": {"capture.py"},  # ipywidgets: all widgets; ``Widget.widgets``, which has no underscore, warns
    "_last_traceback": {"capture.py"},  # ipykernel: what the reply of a cell that failed has
    "_msg_callback": {"notebook/panel/comm.py"},  # comm: the function that takes a message
    "_render_traceback_": {"batch/awaitable.py", "capture.py"},  # IPython: how an exception shows itself
    "_repr_mimebundle_": {"media/from_object.py", "notebook/panel/widget.py"},  # IPython: how an object shows itself
    "_TokenType": {"markdown/html/code.py"},  # Pygments: the type of a token
}

FRONT_END = {
    "page/record.js": {
        "widget_manager",  # of a widget's model: leads to the notebook that shows it
        "jp-OutputArea-child",  # JupyterLab: the element around one output of a cell
    },
    "page/store.js": {
        "widget_manager",
        "connectionStatus",  # of a JupyterLab kernel
    },
    "page/notebook.js": {
        "widget_manager",
        "sharedModel",  # of a JupyterLab notebook: its cells
        "data-windowed-list-index",  # of a cell's element: its index
        "jp-mod-active",  # the active cell's class; a cell becomes active when its element gets the focus
    },
    "page/cell_code.js": {
        "widget_manager",
        "jp-RenderedMarkdown",  # the class of an output of Markdown
    },
    "page/dock.js": {
        "widget_manager",
        "createRenderer",  # of JupyterLab's rendermime: makes a widget of Lumino
        "addSibling",  # of a JupyterLab document's context: puts a widget beside it
        "multiple-document",  # the mode of Lumino's dock panel, in its data-mode
        "#main",  # the element of the whole application, in JupyterLab and Notebook 7
    },
    "page/formulas.js": {
        "widget_manager",
        "rendermime",  # of a widget manager of JupyterLab: how outputs are rendered
        "latexTypesetter",  # of rendermime: MathJax; ``typeset`` replaces the formulas in an element
        "mjx-merror",  # MathJax: a formula that it cannot show
    },
    "page/view.js": {
        "data-lm-suppress-shortcuts",  # Lumino: no shortcut of JupyterLab while the panel has the focus
    },
}


def own_names(trees: list[ast.Module]) -> set[str]:
    """The names that this package gives to anything itself."""
    found = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
    return found


def test_no_other_private_name_is_used():
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}
    own = own_names([*trees.values()]) - PRIVATE.keys()
    used = defaultdict(set)
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = {alias.name for alias in node.names}
            elif isinstance(node, ast.Attribute) and not (
                isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
            ):
                names = {node.attr}
            else:
                continue
            for name in names - own:
                if name.startswith("_") and not name.endswith("__"):
                    used[name].add(path.relative_to(PACKAGE).as_posix())
    assert dict(used) == PRIVATE


# aiohttp


async def test_a_connector_of_aiohttp_makes_its_connections_in_one_method():
    assert inspect.iscoroutinefunction(aiohttp.TCPConnector._create_connection)
    connector = aiohttp.TCPConnector()
    assert not connector._acquired
    assert hasattr(connector, "force_close")
    await connector.close()
    assert isinstance(inspect.getattr_static(BaseConnector, "closed"), property)  # why ours is ``connection_closed``


async def test_a_protocol_of_aiohttp_is_fed_and_closed_by_methods_that_an_instance_can_replace():
    protocol = ResponseHandler(asyncio.get_running_loop())
    for name in ("data_received", "connection_lost"):
        setattr(protocol, name, getattr(protocol, name))
        delattr(protocol, name)
    assert protocol.should_close in (True, False)
    assert protocol.closed is None or isinstance(protocol.closed, asyncio.Future)


async def test_a_reader_of_aiohttp_gives_what_it_holds_once_its_exception_is_taken_away():
    reader = aiohttp.StreamReader(ResponseHandler(asyncio.get_running_loop()), 2**16, loop=asyncio.get_running_loop())
    reader.feed_data(b"the tail")
    reader.set_exception(ConnectionResetError())
    with pytest.raises(ConnectionResetError):
        reader.read_nowait()
    reader.set_exception(None)
    assert reader.read_nowait() == b"the tail"


def test_names_of_the_http_stack_that_are_not_documented():
    from asyncio.trsock import TransportSocket

    from aiohttp.http_exceptions import HttpProcessingError  # noqa: F401

    assert {"shutdown", "fileno"} <= {*dir(TransportSocket)}


# IPython and ipykernel


def test_a_cell_that_may_await_is_run_by_the_runner_of_asyncio():
    shell = InteractiveShell.instance()
    assert callable(shell.loop_runner_map["asyncio"][0])
    assert {"loop_runner", "autoawait"} <= {*dir(shell)}
    assert inspect.isfunction(InteractiveShell.transform_cell)
    assert "transform_cell" in inspect.getsource(IPythonKernel.do_execute)


def test_the_value_of_a_cell_is_set_by_the_display_hook():
    assert {"update_user_ns", "fill_exec_result", "exec_result"} <= {
        *dir(DisplayHook(shell=InteractiveShell.instance()))
    }


def test_what_is_loaded_can_be_taken_away_again():
    shell = InteractiveShell.instance()
    assert {"line", "cell"} <= shell.magics_manager.magics.keys()
    assert isinstance(shell.magics_manager.registry, dict)
    assert isinstance(shell.configurables, list)
    assert isinstance(shell.input_transformers_cleanup, list)
    assert isinstance(IPCompleter(shell=shell).custom_matchers, list)


def test_the_history_of_cells_and_the_names_of_their_files_are_known():
    shell = InteractiveShell.instance()
    assert isinstance(shell.history_manager.input_hist_raw, list)
    assert callable(shell.compile.format_code_name)
    assert isinstance(shell.user_ns_hidden, dict)


def test_outputs_are_published_with_a_transient_display_id():
    parameters = inspect.signature(ZMQDisplayPublisher.publish).parameters
    assert {"data", "metadata", "transient", "update"} <= parameters.keys()
    assert {"parent_header", "register_hook", "unregister_hook"} <= {*dir(ZMQDisplayPublisher)}


def test_a_message_is_sent_by_the_session_of_the_kernel():
    parameters = inspect.signature(Session.send).parameters
    assert [*parameters][1:4] == ["stream", "msg_or_type", "content"]
    assert {"parent", "ident", "buffers", "metadata"} <= parameters.keys()
    assert {"iopub_socket", "session", "kernel_info"} <= {*dir(InProcessKernel)}
    assert callable(ZMQInteractiveShell.get_parent)
    assert callable(IPythonKernel.get_parent)


# ipywidgets and comm


def test_a_widget_opens_its_comm_in_one_method():
    assert callable(Widget.open)
    assert "comm" in Widget.class_traits()
    assert isinstance(__import__("ipywidgets.widgets.widget").widgets.widget.__protocol_version__, str)
    assert callable(anywidget.AnyWidget._repr_mimebundle_)


def test_an_output_widget_is_among_all_widgets_and_names_the_request_whose_outputs_it_takes():
    import ipywidgets.widgets.widget

    out = ipywidgets.Output()
    assert out in ipywidgets.widgets.widget._instances.values()
    assert {"msg_id", "outputs"} <= {*out.get_state()}
    out.close()
    assert out not in ipywidgets.widgets.widget._instances.values()


def test_a_comm_calls_the_function_that_takes_its_messages():
    taken = []
    made = comm.base_comm.BaseComm.__new__(comm.base_comm.BaseComm)
    made._msg_callback = None
    made.on_msg(taken.append)
    assert made._msg_callback == taken.append


# Markdown, code, progress


def test_the_state_of_a_markdown_parser():
    state = StateInline("a *b* c", MarkdownIt(), {}, [])
    assert isinstance(state.delimiters, list)
    assert isinstance(state.tokens_meta, list)
    assert {"before", "after", "push"} <= {*dir(MarkdownIt().inline.ruler2)}


def test_the_types_of_pygments_have_parents():
    from pygments.token import Name, _TokenType

    assert isinstance(Name.Function, _TokenType)
    assert Name.Function.parent is Name


def test_a_bar_of_tqdm_has_a_lock_that_a_subclass_can_replace():
    from tqdm import tqdm
    from tqdm.notebook import tqdm_notebook

    own = type("Own", (tqdm,), {"monitor_interval": 0, "_lock": threading.RLock()})
    bar = own(total=3, disable=False, file=SimpleNamespace(write=str, flush=lambda: None))
    assert bar.start_t > 0
    bar.refresh(nolock=True)
    bar.close()
    assert "container" in inspect.getsource(tqdm_notebook)


# the front ends


@pytest.mark.parametrize("name", FRONT_END)
def test_what_the_panel_asks_the_front_end_for(name):
    source = (PACKAGE / "notebook" / "panel" / name).read_text(encoding="utf-8")
    assert {word for word in FRONT_END[name] if re.search(rf"(?<!\w){word}\b", source)} == FRONT_END[name]
