"""Requests about tools: which there are, whether one may be used, and whether a call may run."""

from __future__ import annotations

from typing import Any

from .... import settings
from ....tools.consent import Consent
from ..controller import PanelController
from ..tool_switches import switch_tool, switches
from .page_request import Request

_MAX_REASON = 2_000  # characters


async def list_tools(panel: PanelController, request: Request) -> dict[str, Any]:
    """Return the tools that can be switched."""
    mask = panel.watcher.mask
    off = settings.tools_off()
    found = [{**one, "about": mask(one["about"])} for one in switches(panel.chat, panel.shell)]
    return {"tools": found, "off": f"Tools are turned off by {off}." if off else ""}


async def switch(panel: PanelController, request: Request) -> None:
    """Switch a tool on or off."""
    switch_tool(panel.chat, panel.shell, request.text("tool", 200), _truth(request, "on"))
    panel.notify_settings_changed()


async def consent(panel: PanelController, request: Request) -> None:
    """Answer the open question whether a call may run."""
    reason = panel.watcher.mask(" ".join(request.text("reason", _MAX_REASON).split()))
    always = request.fields.get("always") is True
    given = Consent(True, always=always) if _truth(request, "approve") else Consent(False, reason)
    panel.questions.answer(request.text("question", 100), request.text("step"), given)


def _truth(request: Request, name: str) -> bool:
    value = request.fields.get(name)
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false")
    return value
