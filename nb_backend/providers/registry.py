"""The provider class for a server's url."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from .. import settings

if TYPE_CHECKING:
    from .backend_api import BackendApi
    from .openai_api import OpenAIApi


Api: TypeAlias = "type[BackendApi] | type[OpenAIApi]"


@lru_cache(maxsize=64)
def provider_for(*urls: str | None) -> Api:
    """Choose the provider by the server's url, or several to be tried in turn, one that tells its waits and leaves it
    to the answer to keep the text; without a url the embedded backend's.
    """
    from .backend_api import BackendApi
    from .openai_api import OpenAIApi

    named = [*filter(None, urls)]
    api = OpenAIApi if named and settings.is_openai(named[0]) else BackendApi
    return type(
        api.__name__,
        (api,),
        {"reports_retries": True, "collects_partial": False, **({"url": " ".join(named)} if named else {})},
    )
