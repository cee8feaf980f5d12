"""Talk to a model from a Jupyter notebook.

>>> %load_ext nb_backend
>>> %%backend gpt-3.5-turbo
... Why is the sky blue?

Importing the package loads nothing heavy and makes no network call; each public name is loaded on first use.

Packages, from top to bottom; each imports only from those below it, and all of them from the modules:

``batch``         many prompts: ``map``, ``compare``
``notebook``      Jupyter: the magics, the cell's output, the panel
``chat``          a chat: history, request, answer, cache, transcript
``tools``         functions that a model may call
``providers``     a class for each dialect that servers speak
``local``         the embedded backend, a server process of its own
``markdown``      untrusted Markdown made safe
``transport``     HTTP
``media``         values of the notebook become attachments

Modules:

``errors``        the exceptions
``events``        ``RawResponse``, one event of a streamed answer
``settings``      url, API key, model and cache, and where each comes from
``typing``        type aliases of the public signatures
``background``    the event loop that all streams share
``capture``       what takes the displays of a cell: ``%%capture``, output widgets
``redaction``     secrets in texts, masked
``text``          text that is safe to show
``debug``         diagnostics
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__ as __version__

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from . import tools as tools
    from .batch.api import compare as compare
    from .batch.api import map as map
    from .chat.answer import Answer as Answer
    from .chat.chat import Chat as Chat
    from .chat.named_chats import chats as chats
    from .errors import AuthError as AuthError
    from .errors import BackendError as BackendError
    from .errors import ConnectionFailed as ConnectionFailed
    from .errors import ProtocolError as ProtocolError
    from .errors import RateLimitError as RateLimitError
    from .errors import ServerError as ServerError
    from .errors import TimedOut as TimedOut
    from .events import RawResponse as RawResponse
    from .media.attachment import Attachment as Attachment
    from .media.convert import attach as attach
    from .media.convert import to_data_uri as to_data_uri
    from .notebook.panel.widget import ChatPanel as ChatPanel
    from .providers.backend_api import BackendApi as BackendApi
    from .providers.openai_api import OpenAIApi as OpenAIApi
    from .providers.tool_calls import ToolCall as ToolCall
    from .tools.step import ToolStep as ToolStep
    from .tools.tool import tool as tool

_MODULES = {
    "Answer": "chat",
    "Attachment": "media",
    "AuthError": "errors",
    "BackendApi": "providers.backend_api",
    "BackendError": "errors",
    "Chat": "chat",
    "ChatPanel": "notebook.panel.widget",
    "ConnectionFailed": "errors",
    "OpenAIApi": "providers.openai_api",
    "ProtocolError": "errors",
    "RateLimitError": "errors",
    "RawResponse": "events",
    "ServerError": "errors",
    "TimedOut": "errors",
    "ToolCall": "providers.tool_calls",
    "ToolStep": "tools.step",
    "attach": "media",
    "chats": "chat.named_chats",
    "compare": "batch.api",
    "map": "batch.api",
    "to_data_uri": "media",
    "tool": "tools.tool",
    "tools": "tools",
}

# ``from nb_backend import *`` does not replace Python's own ``map``, and brings no module
__all__ = [
    *sorted(_MODULES.keys() - {"map", "tools"}),
    "__version__",
    "load_ipython_extension",
    "unload_ipython_extension",
]


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = import_module(f".{module}", __name__)
    value = globals()[name] = found if name == module else getattr(found, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *__all__})


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add the magics to IPython; ``%load_ext nb_backend`` calls this."""
    from .notebook.magic.extension import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Remove the magics from IPython; ``%unload_ext nb_backend`` calls this."""
    from .notebook.magic.extension import unload

    unload(shell)
