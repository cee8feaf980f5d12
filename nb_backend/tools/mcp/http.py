"""A server at a url: streamable HTTP, as the SDK speaks it, with a limit for the size of an answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from mcp.client.streamable_http import streamable_http_client

from .streams import MAX_MESSAGE, Screen, Screened, TransportError


@asynccontextmanager
async def http_transport(url: str, headers: Mapping[str, str], screen: Screen) -> AsyncIterator[tuple[Screened, Any]]:
    """Connect to a server at a url."""
    timeout = httpx2.Timeout(30, read=None)  # a call has a limit of its own
    async with httpx2.AsyncClient(headers={**headers, "Accept-Encoding": "identity"}, timeout=timeout) as client:
        client.event_hooks = {"response": [_limit_body]}
        streams = streamable_http_client(url, http_client=client, max_sse_event_size=MAX_MESSAGE)
        async with streams as (reading, writing):
            yield Screened(screen, reading), writing


async def _limit_body(response: httpx2.Response) -> None:
    """Make the body of a response end with an error once it is too large; the events of a stream have a limit each.

    ``TransportError`` if the server wants a token, or another one: the SDK does not say so.
    """
    if response.status_code in (401, 403):
        raise TransportError(f"it answered {response.status_code}: name the variable with its token (env=, or -e)")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise httpx2.DecodingError("the answer is compressed", request=response.request)
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        response.stream = _Limited(response.stream)


class _Limited(httpx2.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MAX_MESSAGE
        async for chunk in self._stream:
            left -= len(chunk)
            if left < 0:
                raise httpx2.StreamError(f"it sent more than {MAX_MESSAGE // 2**20} MB in one message")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
