"""A small MCP server for tools.ipynb: a clock that stands still, so that the notebook gives the same answer each time."""

from mcp.server import MCPServer
from mcp.types import ToolAnnotations

server = MCPServer("clock")


@server.tool(annotations=ToolAnnotations(readOnlyHint=True))
def utc_time() -> str:
    """Return the time in UTC."""
    return "2026-11-30 12:00"


if __name__ == "__main__":
    server.run()
