"""An MCP server written with the official SDK: ``python sdk_mcp_server.py [PORT]``, over stdio or streamable HTTP."""

import asyncio
import sys

from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Image
from mcp.types import ToolAnnotations

server = MCPServer("demo")
canceled = []


@server.tool(annotations=ToolAnnotations(readOnlyHint=True))
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def fail() -> str:
    """Fail."""
    raise ValueError("no such city")


@server.tool()
async def hang() -> str:
    """Never return."""
    try:
        await asyncio.sleep(3600)
    except BaseException:
        canceled.append("hang")
        raise
    return ""


@server.tool()
def canceled_calls() -> list[str]:
    """Return the calls that were canceled."""
    return canceled


@server.tool()
def picture() -> Image:
    """Return a picture."""
    import base64

    data = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    return Image(data=base64.b64decode(data), format="png")


@server.tool()
def large() -> str:
    """Return more than a message may have."""
    return "x" * 17 * 2**20


@server.tool()
async def authorization(context: Context) -> str:
    """Return the header of the request."""
    return str((context.headers or {}).get("authorization"))


@server.tool()
async def grow(context: Context) -> str:
    """Add a tool."""

    @server.tool()
    def grown() -> str:
        """Say that it is there."""
        return "here"

    await context.notify_tools_changed()
    return "grown"


if sys.argv[1:]:
    server.run("streamable-http", port=int(sys.argv[1]))
else:
    server.run("stdio")
