"""An MCP server written with the official SDK: ``python sdk_mcp_server.py [PORT]``, over stdio or streamable HTTP."""

import asyncio
import sys

from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Image
from mcp.types import ToolAnnotations

server = MCPServer("demo")
noted = []


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
    noted.append("started")
    try:
        await asyncio.sleep(3600)
    except BaseException:
        noted.append("canceled")
        raise
    return ""


@server.tool()
def ended_calls() -> str:
    """Return what became of the call that hangs."""
    return " ".join(noted)


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
