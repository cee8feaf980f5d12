"""A chat with a model: its history, its requests and its answers.

``chat``           ``Chat``: settings and history, ``stream``, ``ask``, ``save``
``prompt_text``    what may be a prompt
``placeholders``   finds ``{{ }}`` in a text
``reply``          an answer as a message
``history``        which messages a request follows, what a re-run of a cell takes back, and how it comes back
``removals``       what was removed from a chat and can come back
``versions``       versions of turns that were edited or asked again
``messages``       messages and turns
``wire``           messages as they are sent
``merge``          puts the turns of a record back
``cell_run``       the cell run that prompts belong to: ``from_cell``
``request``        one request, ready to send: messages, parameters, server
``stream``         ``AnswerStream``: the events of an answer
``rounds``         whether an answer needs another request
``tool_rounds``    the rounds of an answer that ended in tool calls
``context_limit``  whether a request exceeds the model's context
``answer``         ``Answer``: text, images, usage, status line
``answer_images``  the images of an answer by their addresses
``source_list``    the sources of an answer as a list
``token_counts``   token counts under the names of all services
``text_buffer``    text attribute that collects deltas
``json_answer``    JSON in an answer
``repaired_json``  almost-JSON repaired by json-repair, if that is installed
``schema``         the schema that an answer must fit
``strict_schema``  a schema made to fit the strict structured outputs of services
``images``         fetches the images of an answer
``turn``           a turn in progress, as observers see it
``observers``      functions that are called when a chat changes
``named_chats``    ``chats``: the chats of this process by name
``cache``          answers in a folder
``recording``      an answer as the cache stores it
``transcript``     a chat as a JSON file
``saved_chat``     the part of ``Chat`` that saves, exports and shows it
``mcp_tools``      the part of ``Chat`` that connects to MCP servers
``atomic_files``   atomic file writes
``export``         a chat as Markdown and as a notebook
``jsonable``       values as JSON data
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..providers.sources import Source as Source
    from ..providers.tool_calls import ToolCall as ToolCall
    from .answer import Answer as Answer
    from .cell_run import from_cell as from_cell
    from .chat import Chat as Chat
    from .named_chats import chats as chats
    from .stream import AnswerStream as AnswerStream

_HOMES = {
    "Answer": ".answer",
    "AnswerStream": ".stream",
    "Chat": ".chat",
    "Source": "..providers.sources",
    "ToolCall": "..providers.tool_calls",
    "chats": ".named_chats",
    "from_cell": ".cell_run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name], __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
