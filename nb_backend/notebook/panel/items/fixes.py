"""What a press of a button can do about a failed turn: ask another model, or enter a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....errors import AuthError, BackendError
from ....providers.catalog import models_with_vision
from ....providers.unknown_model import as_written, closest_models

if TYPE_CHECKING:
    from ....chat.turn import Turn
    from ....providers.base import Provider


def fixes(turn: Turn) -> list[dict[str, str]]:
    """Return the buttons for a failed turn: a label, and the model to ask instead, "" if a key is to be entered."""
    error, request = turn.error, turn.request
    if isinstance(error, AuthError):
        return [{"label": "Enter a key", "model": ""}]
    if isinstance(error, BackendError):
        return [{"label": f"Did you mean {name}?", "model": name} for name in error.close_models]
    if error is not None and request.lacks_vision and any(one.is_image for one in request.media):
        service, key = request.params.get("provider"), request.api_key.value
        if name := model_with_vision(request.provider, request.model, service, key):
            return [{"label": f"Switch to {name}", "model": name}]
    return []


def hint(turn: Turn) -> str:
    """Return the end of the error's message that the buttons say as well; "" if there is none."""
    close = turn.error.close_models if isinstance(turn.error, BackendError) else ()
    return f": did you mean {' or '.join(close)}?" if close else ""


def model_with_vision(api: type[Provider], model: str, service: str | None, api_key: str | None) -> str:
    """Return a model with vision, the one whose name is the closest; "" if no list that was fetched has one."""
    names = models_with_vision(api, service, api_key=api_key)
    return next((as_written(api, name) for name in [*closest_models(model, names, 1), *names]), "")
