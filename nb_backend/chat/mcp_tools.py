"""The part of ``Chat`` that connects to MCP servers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..tools.mcp.server import McpServer


class McpTools:
    """A chat whose model may call the tools of MCP servers."""

    tools: list[Any]

    def mcp(
        self,
        command_or_url: str | Sequence[str],
        name: str | None = None,
        env: str | Iterable[str] | Mapping[str, str] | None = None,
    ) -> McpServer:
        """Connect to an MCP server, add its tools to ``tools`` as ``NAME.tool``, and return the server.

        >>> chat.mcp("uvx mcp-server-time --local-timezone UTC")
        <MCP server time: time.get_current_time, time.convert_time>
        >>> chat.mcp("https://mcp.example.com/mcp", name="example", env="EXAMPLE_TOKEN")

        The user is asked before each call of a tool, unless the server says that it only reads. A command is a text or
        a list of words; it is not run by a shell. It gets only a few variables, such as ``PATH`` and ``HOME``, and
        those that ``env`` names (a dict gives their values); at a url, the value of ``env`` is sent as a bearer token.
        ``name`` is made of the command or the url if it is not given. The server ends with the kernel, or with
        ``close()``; the same call again uses the same server.

        The calling thread blocks until the server has listed its tools, at most a minute; in a coroutine whose other
        tasks must go on, write ``await asyncio.to_thread(chat.mcp, …)``. Raises ``ValueError`` in one line if an
        argument is wrong or the server does not start, and ``ImportError`` without the package ``mcp``.
        """
        from ..tools.mcp.connections import connect

        server = connect(command_or_url, name, env)
        server.give_to(self)
        return server
