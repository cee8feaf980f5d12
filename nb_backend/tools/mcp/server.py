"""A server that runs: one long-lived task of the background loop connects, lists, and waits for the end."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import httpx2
from mcp import types
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from ... import background, settings
from ..._version import __version__
from ...redaction import mask, redact
from ...text import shorten
from ..tool import Tool, ToolFailed
from .http import http_transport
from .listing import MAX_TOOLS, Listing
from .process import ProcessTransport
from .results import value_of
from .streams import TransportError

START_SECONDS = 60.0
"""Until a server has started and listed its tools: ``uvx`` and ``npx`` may have to download it first."""
CALL_SECONDS = 120.0
"""How long a call may take without a sign of progress."""
_MAX_PAGES = 50
_SECONDS_BETWEEN_LISTINGS = 0.2
for _name in ("mcp", "client"):  # loggers of the SDK: without a handler, their warnings are printed into the cell
    logging.getLogger(_name).addHandler(logging.NullHandler())
_ABOUT_US = types.Implementation(name="nb_backend", version=__version__)


@dataclass(frozen=True, repr=False)
class Target:
    """What a server is connected by: a command, or a url, with the values of the variables that it gets."""

    command: tuple[str, ...]
    url: str
    env: Mapping[str, str]
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<{self}>"

    def __str__(self) -> str:
        """What is shown of it: the command, or the url without its query."""
        return redact(" ".join(self.command) or self.url.partition("?")[0], self.hidden())

    def hidden(self) -> list[str]:
        """Return the texts that are never to be shown."""
        return [*self.secrets, *settings.known_keys()]

    def transport(
        self, listing: Listing, ended: Callable[[], None]
    ) -> ProcessTransport | AbstractAsyncContextManager[Any]:
        """Return the streams to the server, not yet entered."""
        if self.command:
            return ProcessTransport(self.command, self.env, listing.screen, ended)
        return http_transport(self.url, self.env, listing.screen)


class McpServer:
    """A server whose tools a model may call.

    ``tools`` are its tools as they are listed now, named ``NAME.tool``; ``problems`` has a line for each one that was
    left out. A server that has ended starts again with the next call. ``close`` ends it.
    """

    def __init__(self, name: str, target: Target, close: Callable[[str], None]) -> None:
        self.name = name
        self._close = close
        self.tools: list[Tool] = []
        self.target = target
        self._listing = Listing(name)
        self._client: Client | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._wake = asyncio.Event()
        self._changed = self._gone = self._removed = False
        self._end_reason = ""
        self._listed: dict[str, types.Tool] = {}
        self._made: WeakSet[Tool] = WeakSet()
        self._users: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()  # chats, and whether they get new tools, too

    @property
    def problems(self) -> list[str]:
        """A line for each tool that the server lists and that is left out."""
        return [*self._listing.problems]

    @property
    def is_connected(self) -> bool:
        """Whether the server runs; if not, it starts again with the next call."""
        return self._client is not None

    def __repr__(self) -> str:
        names = ", ".join(tool.name for tool in self.tools) or "no tools"
        return f"<MCP server {self.name}: {shorten(names, 300)}>"

    def close(self) -> None:
        """End the server. Its tools are taken out of the chats that have them."""
        if not self._removed:  # another server may have the name since
            self._close(self.name)

    def give_to(self, chat: Any) -> None:
        """Add the tools to the list ``tools`` of a chat, and keep it as the server lists them."""
        self._users[chat] = True
        wanted = {tool.name for tool in self.tools}
        kept = [tool for tool in chat.tools if not (isinstance(tool, Tool) and tool.name in wanted)]
        chat.tools[:] = [*kept, *self.tools]

    def follow(self, chat: Any) -> None:
        """Keep those of the tools that a chat has as the server lists them."""
        self._users.setdefault(chat, False)

    async def start(self) -> None:
        """Connect, if there is no connection; ``ToolFailed`` in one line if that fails. On the background loop."""
        if self._removed:
            raise ToolFailed(f"MCP server {self.name} was removed")
        if self._task is not None and self._gone:
            await asyncio.wait([self._task])  # it ends right now
        if self._task is None or self._task.done() or self._ready is None:
            self._ready = asyncio.get_running_loop().create_future()
            self._ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())
            self._wake, self._gone = asyncio.Event(), False
            serving = self._serve(self._ready)
            self._task = asyncio.create_task(serving, context=contextvars.Context())
        await asyncio.shield(self._ready)

    async def stop(self) -> None:
        """End the connection, and wait until the process has ended. On the background loop."""
        self._removed = True
        if self._task is not None and self._ready is not None:
            if not self._gone:
                self._task.cancel()
            await asyncio.wait([self._task])
        self._show([])

    def forget_connection(self) -> None:
        """Drop the connection, in a forked child: the loop that serves it runs in the parent."""
        self._client = self._task = self._ready = None

    async def _serve(self, ready: asyncio.Future[None]) -> None:
        transport: Any = None
        try:
            transport = self.target.transport(self._listing, self._note_end)
            async with (
                asyncio.timeout(START_SECONDS) as limit,
                Client(transport, message_handler=self._heard, client_info=_ABOUT_US, cache=None) as client,
            ):
                await self._list(client)
                limit.reschedule(None)
                self._client = client
                ready.set_result(None)
                async with _watching(client, self._note_change):
                    await self._attend(client)
            self._end_reason = self._reason(transport, "it has ended")
        except asyncio.CancelledError:
            self._end_reason = "it was stopped"
        except TimeoutError:
            self._end_reason = f"it does not answer: no list of tools within {START_SECONDS:.0f} s"
        except BaseException as error:
            self._end_reason = self._reason(transport, self._describe(error))
        finally:
            self._client = None
            if not ready.done():
                ready.set_exception(ToolFailed(self._line(self._end_reason)))

    def _reason(self, transport: Any, otherwise: str) -> str:
        return transport.reason if isinstance(transport, ProcessTransport) and self._gone else otherwise

    async def _attend(self, client: Client) -> None:
        """Wait for the end of the server or of the connection; list the tools again whenever they change."""
        while not self._gone:
            await self._wake.wait()
            self._wake.clear()
            if self._changed and not self._gone:
                self._changed = False
                async with asyncio.timeout(START_SECONDS):
                    await self._list(client)
                await asyncio.sleep(_SECONDS_BETWEEN_LISTINGS)

    async def _heard(self, message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self._note_change()

    def _note_change(self) -> None:
        self._changed = True
        self._wake.set()

    def _note_end(self) -> None:
        self._gone = True
        self._wake.set()

    async def _list(self, client: Client) -> None:
        found: list[types.Tool] = []
        cursor: str | None = None
        self._listing.begin()
        for _ in range(_MAX_PAGES):
            page = await client.list_tools(cursor=cursor)
            found += page.tools
            cursor = page.next_cursor
            if not cursor or len(found) >= MAX_TOOLS:
                break
        self._show(found)

    def _show(self, found: Sequence[types.Tool]) -> None:
        """Replace the tools by these, here and in the chats that use them. A tool that is the same stays."""
        had = {tool.name: tool for tool in self.tools}
        listed = {tool.name: tool for tool in found}
        tools = [
            had.get(self._full_name(name)) or self._tool(tool) if self._listed.get(name) == tool else self._tool(tool)
            for name, tool in listed.items()
        ]
        self._listed, self.tools = listed, tools
        now = {tool.name: tool for tool in tools}
        for chat, wants_new in [*self._users.items()]:
            kept = [now.get(one.name) if self._has_made(one) else one for one in chat.tools]
            new = [tool for name, tool in now.items() if wants_new and name not in had]
            chat.tools[:] = [*(one for one in kept if one is not None), *new]

    def _has_made(self, tool: Any) -> bool:
        return isinstance(tool, Tool) and tool in self._made

    def _full_name(self, name: str) -> str:
        return f"{self.name}.{name}"

    def _tool(self, listed: types.Tool) -> Tool:
        async def call(**arguments: Any) -> Any:
            if background.is_on_loop():
                return await self._call(listed, arguments)
            return await background.Job(self._call(listed, arguments)).wait_async()

        only_reads = listed.annotations is not None and listed.annotations.read_only_hint is True
        made = Tool(
            self._full_name(listed.name), listed.description or "", listed.input_schema, call, approve=not only_reads
        )
        self._made.add(made)
        return made

    async def _call(self, listed: types.Tool, arguments: dict[str, Any]) -> Any:
        try:
            await self.start()
            if self._listed.get(listed.name) != listed:
                raise ToolFailed("the server has changed this tool since the model was told about it: ask again")
            result = await self._result(listed.name, arguments)
            return await asyncio.to_thread(value_of, result, self.target.hidden())
        except ToolFailed as error:
            raise ToolFailed(mask(str(error), self.target.hidden())) from None

    async def _result(self, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
        loop, client = asyncio.get_running_loop(), self._client
        if client is None:
            raise ToolFailed(self._line(self._end_reason or "it has ended"))

        async def note_progress(progress: float, total: float | None, message: str | None) -> None:
            limit.reschedule(loop.time() + CALL_SECONDS)

        try:
            async with asyncio.timeout(CALL_SECONDS) as limit:
                return await client.call_tool(name, arguments, progress_callback=note_progress)
        except TimeoutError:
            raise ToolFailed(self._line(f"no result within {CALL_SECONDS:.0f} s; the call was canceled")) from None
        except Exception as error:
            with suppress(asyncio.CancelledError, TimeoutError):
                if self._gone and self._task is not None:  # the reason is known once the connection has ended
                    await asyncio.wait([self._task], timeout=START_SECONDS)
            raise ToolFailed(self._line(self._end_reason if self._gone else self._describe(error))) from None

    def _line(self, reason: str) -> str:
        return redact(f"MCP server {self.name}: {shorten(reason, 400)}", self.target.hidden())

    def _describe(self, error: BaseException) -> str:
        """Return why a connection or a call has failed, without the class names of the SDK."""
        while isinstance(error, BaseExceptionGroup) and error.exceptions:
            error = error.exceptions[0]
        if isinstance(error, ValidationError):
            return "it sent what the protocol does not allow"
        if isinstance(error, MCPError):
            return error.error.message or f"error {error.error.code}"
        if isinstance(error, TransportError | ToolFailed):
            return str(error)
        if isinstance(error, httpx2.TransportError):
            return f"{self.target} does not answer ({shorten(str(error) or type(error).__name__)})"
        return f"{type(error).__name__}: {error}".rstrip(": ")


@asynccontextmanager
async def _watching(client: Client, changed: Callable[[], None]) -> AsyncIterator[None]:
    """Listen to changes of the tools meanwhile: servers of 2026 and later tell only those who listen."""

    async def listen() -> None:
        with suppress(Exception):
            async with client.listen(tools_list_changed=True) as events:
                async for _ in events:
                    changed()

    capabilities = client.server_capabilities.tools
    task = asyncio.create_task(listen()) if capabilities is not None and capabilities.list_changed else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
