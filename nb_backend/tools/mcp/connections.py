"""Connect to MCP servers by a command or a url, and keep them by their names."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ... import background, settings
from ...redaction import has_key, is_secret_name
from ...text import shorten
from .. import BUILT_IN
from ..tool import Tool, ToolFailed

if TYPE_CHECKING:
    from .server import McpServer, Target

_INSTALL = "MCP servers need the package mcp: pip install 'nb_backend[mcp]'"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_AFFIXES = re.compile(r"^(mcp|server)[-_]+|[-_]+(mcp|server)$")

servers: dict[str, McpServer] = {}
"""The servers that are connected, by their names."""


def connected() -> dict[str, list[Tool]]:
    """Return the tools of the servers that are connected, by the names of the servers."""
    return {name: [*server.tools] for name, server in servers.items()}


def follow(chat: Any) -> None:
    """Keep the tools of servers that a chat has as the servers list them: replaced if they change, and removed."""
    for server in servers.values():
        server.follow(chat)


def connect(
    command_or_url: str | Sequence[str],
    name: str | None = None,
    env: str | Iterable[str] | Mapping[str, str] | None = None,
) -> McpServer:
    """Connect to a server, and return it once it has listed its tools; it ends with the kernel.

    The same call again returns the same server. ``name`` is made of the command or the url if it is not given. The
    server gets the variables of ``env``, and otherwise only such as ``PATH`` and ``HOME``; at a url, the value of
    ``env`` is sent as a bearer token. Raises ``ValueError`` in one line if an argument is wrong, or if the server does
    not start or does not list its tools.
    """
    if off := settings.tools_off():
        raise ValueError(f"no MCP server is connected: tools are turned off by {off}")
    target, name = _target(command_or_url, env), name or name_of(command_or_url)
    if not _NAME.fullmatch(name):
        raise ValueError(f"{shorten(name)!r} cannot name an MCP server: write letters, digits, _ and -, such as time")
    if name in BUILT_IN:
        raise ValueError(f"{name} is a tool of nb_backend: give the MCP server another name")
    server = servers.get(name)
    if server is not None and server.target != target:
        raise ValueError(
            f"there is another MCP server {name}, {shorten(str(server.target))}: choose another name, or end that one "
            f"with %backend mcp remove {name}"
        )
    if server is None:
        from .server import McpServer

        server = servers[name] = McpServer(name, target, disconnect)
    try:
        background.run(server.start())
    except BaseException as error:
        disconnect(name)
        if isinstance(error, ToolFailed):
            raise ValueError(str(error)) from None
        raise
    return server


def disconnect(name: str) -> None:
    """End a server; ``ValueError`` if none has this name."""
    server = servers.pop(name, None)
    if server is None:
        known = f"connected are {', '.join(servers)}" if servers else "none is connected"
        raise ValueError(f"there is no MCP server {shorten(name)!r}: {known}")
    background.run(server.stop())


def _target(command_or_url: str | Sequence[str], env: str | Iterable[str] | Mapping[str, str] | None) -> Target:
    try:
        from mcp.client.stdio import get_default_environment

        from .server import Target
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] in ("mcp", "mcp_types"):
            raise ImportError(_INSTALL) from None
        raise
    words = [command_or_url] if isinstance(command_or_url, str) else [*command_or_url]
    if not words or not all(isinstance(word, str) and word.strip() for word in words):
        raise TypeError("an MCP server is a command, as a text or a list of words, or a url")
    given = _variables(env)
    secrets = tuple(value for key, value in given.items() if is_secret_name(key) or has_key(value))
    if len(words) == 1 and is_url(words[0]):
        return Target((), _checked_url(words[0].strip()), _token(given), tuple(given.values()))
    if isinstance(command_or_url, str):
        words = _split(command_or_url)
    variables = get_default_environment()
    # a kernel may run in an environment that was never activated: its programs are found, and python is its own
    variables["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), variables.get("PATH", os.defpath)])
    variables |= given
    words[0] = shutil.which(words[0], path=variables["PATH"]) or words[0] if os.name == "nt" else words[0]  # npx.cmd
    return Target(tuple(words), "", variables, secrets)


def is_url(text: str) -> bool:
    """Whether a text is the url of a server, and not a command."""
    return bool(re.match(r"\s*[A-Za-z][A-Za-z0-9+.-]+://", text))


def _split(command: str) -> list[str]:
    try:
        return shlex.split(command, posix=os.name != "nt")
    except ValueError as error:
        raise ValueError(f"the command of an MCP server cannot be split into words: {error}") from None


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise ValueError("an MCP server is at an http or https url, such as https://host/mcp")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the url of an MCP server must not hold a password: name a variable with env instead")
    return url


def _variables(env: str | Iterable[str] | Mapping[str, str] | None) -> dict[str, str]:
    """Return the values of the named variables."""
    if isinstance(env, Mapping):
        return {str(name): str(value) for name, value in env.items()}
    names = [env] if isinstance(env, str) else [*(env or ())]
    if wrong := next((name for name in names if not (isinstance(name, str) and name.isidentifier())), None):
        is_long = not isinstance(wrong, str) or "=" in wrong or len(wrong) > 40
        raise ValueError(f"env takes names of environment variables{'' if is_long else f', not {shorten(wrong)!r}'}")
    if unset := next((name for name in names if name not in os.environ), None):
        raise ValueError(f"the environment variable {unset} is not set")
    return {name: os.environ[name] for name in names}


def _token(given: Mapping[str, str]) -> dict[str, str]:
    if len(given) > 1:
        raise ValueError("at a url, env takes one variable: its value is sent as a bearer token")
    token = "".join(given.values()).strip()
    return {"Authorization": f"Bearer {token}"} if token else {}


def name_of(command_or_url: str | Sequence[str]) -> str:
    """Return a name for a server: ``time`` for "uvx mcp-server-time", ``example`` for https://mcp.example.com/.

    "mcp" if nothing of it can be a name, as of http://127.0.0.1:8000/mcp.
    """
    if isinstance(command_or_url, str) and is_url(command_or_url):
        labels = (urlsplit(command_or_url.strip()).hostname or "").split(".")
        name = next((one for one in labels if one not in ("mcp", "www", "api")), "")
    else:
        words = _split(command_or_url) if isinstance(command_or_url, str) else [*command_or_url]
        plain = [word for word in words if not word.startswith("-")]
        scripts = [word for word in plain if re.search(r"mcp|server", os.path.basename(word))]
        name = os.path.basename((scripts or plain[-1:] or [""])[0])
        name = re.sub(r"@[\w.-]*$|\.(py|js|exe)$", "", name)
    for _ in range(2):
        name = _AFFIXES.sub("", name)
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:32]
    return name if _NAME.fullmatch(name) else "mcp"


def _forget_connections() -> None:
    for server in servers.values():
        server.forget_connection()


background.on_fork(_forget_connections)
