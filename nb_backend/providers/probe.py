"""Which servers on this machine answer now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from ..errors import AuthError, BackendError
from ..services import Service
from ..transport.session import StreamSession

TIMEOUT = 0.3  # seconds
# Who their lists of models name as the owner. Others may listen on the same port: on 8080 there are many.
_OWNERS = {"llamacpp": "llamacpp", "vllm": "vllm"}
_MAY_WANT_A_KEY = ("lmstudio", "vllm", "litellm")  # to list their models


async def answering(services: Iterable[Service]) -> set[str]:
    """Return the names of the services that answer at their url within 0.3 seconds. All are asked at once.

    They are asked for their models, without a key; one that may want a key answers if it refuses. Nothing is raised.
    """
    asked = [*services]
    answers = await asyncio.gather(*map(_answers, asked))
    return {service.name for service, has_answered in zip(asked, answers, strict=True) if has_answered}


async def _answers(service: Service) -> bool:
    try:
        is_g4f = service.api == "g4f"
        url = service.base_url + ("/backend-api/v2/version" if is_g4f else "/models")
        async with (
            asyncio.timeout(TIMEOUT),
            StreamSession({}, connect_timeout=TIMEOUT, idle_timeout=TIMEOUT) as session,
        ):
            found = await session.get_json(url)
    except BackendError as error:
        if service.name == "ollama":
            return error.status > 0
        return isinstance(error, AuthError) and service.name in _MAY_WANT_A_KEY
    except (TimeoutError, ValueError):
        return False
    if service.name == "ollama":  # nobody else has its port; without any model, its list is null
        return True
    if not isinstance(found, dict):
        return False
    return "version" in found if is_g4f else _is_list(found, service.name)


def _is_list(found: dict[str, Any], name: str) -> bool:
    """Whether this is a list of models of the service with this name."""
    models = found.get("data")
    if not isinstance(models, list):
        return False
    if name == "llamacpp" and isinstance(found.get("models"), list):  # which only llama.cpp has beside ``data``
        return True
    owners = [one.get("owned_by") for one in models if isinstance(one, dict)]
    return name not in _OWNERS or _OWNERS[name] in owners
