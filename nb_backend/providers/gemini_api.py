"""The dialect of Google's Gemini API, which Vertex AI speaks too."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from .. import settings
from ..errors import BackendError
from ..media.convert import attachments
from ..transport.refusal import with_hint
from ..typing import MediaListType, Messages
from . import gemini_refusals, gemini_thinking
from .base import Provider
from .common_fields import split_extra_body
from .gemini_body import contents_of, with_parameters
from .gemini_reader import GeminiReader
from .model import Model
from .openai_api import with_media
from .refused_parameter import with_refused_parameter
from .unknown_model import with_close_models

_HOST = "generativelanguage.googleapis.com"
_VERTEX = "aiplatform.googleapis.com"
_CALL = re.compile(r"/(?:models|tunedModels)(?:/[^/]*)?$")  # with the model and the verb, or without
_MAX_PAGES = 20  # of the list of models


class GeminiApi(Provider):
    """Streams answers from ``{url}/models/{model}:streamGenerateContent``. A query of the url is kept behind it.

    The format is https://ai.google.dev/api/generate-content. The url is ``https://generativelanguage.googleapis.com``
    with ``/v1beta``, or one of Vertex AI that ends in ``/publishers/google``. The events are those of ``BackendApi``.
    """

    dialect: ClassVar[str] = "gemini"
    path: ClassVar[str] = ":streamGenerateContent"
    other_paths: ClassVar[tuple[str, ...]] = (":generateContent",)

    @classmethod
    def accepts(cls, url: str) -> bool:
        """Whether the url is that of Google's own API or of Google's models on Vertex AI, and not of ``/openai``."""
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        if host == _HOST:
            return "/openai" not in parts.path
        return _is_vertex(host) and "/publishers/google" in parts.path

    @classmethod
    def base_url(cls, url: str) -> str:
        """Return the url without the path of the call; the host alone gets the path of its API."""
        base, _, query = url.partition("?")
        base = _CALL.sub("", base.rstrip("/"))
        parts = urlsplit(base)
        if parts.path.rstrip("/") == "":
            base += {_HOST: "/v1beta", _VERTEX: "/v1/publishers/google"}.get((parts.hostname or "").lower(), "")
        elif _is_vertex(parts.hostname or "") and re.search(r"/locations/[^/]+$", parts.path):
            base += "/publishers/google"
        kept = urlencode([(name, value) for name, value in parse_qsl(query, keep_blank_values=True) if name != "alt"])
        return f"{base}?{kept}" if kept else base

    @classmethod
    async def endpoint(cls, key: settings.Secret) -> tuple[str, dict[str, str]]:
        """Return the server's url and the headers, with the key; ``ValueError`` if no url is set."""
        url = settings.url(cls.url)
        if url is None:
            raise ValueError(f"GeminiApi needs a url, like https://{_HOST}/v1beta: set NB_BACKEND_URL")
        url = cls.base_url(url)
        if not key.value:
            return url, dict(cls.headers)
        if key.value.startswith("ya29."):  # a token of OAuth, which Vertex wants
            return url, {**cls.headers, "Authorization": f"Bearer {key.value}"}
        return url, {"x-goog-api-key": key.value, **cls.headers}

    @classmethod
    def address(cls, url: str, path: str) -> str:
        """Return the address of a path below the url; the queries of both are behind it."""
        base, _, query = url.partition("?")
        path, _, own = path.partition("?")
        joined = "&".join(filter(None, (own, query)))
        return f"{base.rstrip('/')}{path}{f'?{joined}' if joined else ''}"

    @classmethod
    def call_address(cls, url: str, body: dict[str, Any]) -> str:
        """Return the address of a request, which has the name of the model in it."""
        return cls.address(cls.base_url(url), f"/{_model_path(str(body.get('model') or ''))}{cls.path}?alt=sse")

    @classmethod
    def body(cls, model: str, messages: Messages, media: MediaListType, key: settings.Secret) -> dict[str, Any]:
        """Return the body of a request, with ``media`` as parts of the last user message.

        ``model`` is not sent: ``call_address`` puts it into the address.
        """
        messages = with_media(messages, attachments((data, name) for data, name in media or []))
        return {"model": model, **contents_of(messages, model)}

    @classmethod
    def with_fields(cls, body: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
        """Return the body with the keywords of the call; a field that is ``None`` is left out.

        Fields of the generation's configuration go there, in snake case or camel case. The fields of the dict
        ``extra_body`` go into the body as they are. Raises ``ValueError`` if there is no model.
        """
        fields, extra = split_extra_body(fields)
        effort, model = fields.pop("effort", None), str(body.get("model") or "")
        if not model:
            raise ValueError("Gemini has no default model: name one, like gemini-2.5-flash")
        body = with_parameters(body, fields)
        generation = body.get("generationConfig", {})
        if "thinkingConfig" not in generation and (config := gemini_thinking.thinking_config(model, effort)):
            body["generationConfig"] = {**generation, "thinkingConfig": config}
        return body | extra

    @classmethod
    def fitted(cls, url: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the body as it is sent, without the model and without what this model is known to refuse."""
        sent = gemini_refusals.fitted(url, gemini_thinking.fitted(url, body))
        return {name: value for name, value in sent.items() if name != "model"}

    @classmethod
    async def learn(
        cls, url: str, body: dict[str, Any], sent: dict[str, Any], failure: BackendError, key: settings.Secret
    ) -> bool:
        """Remember what a model refuses of the conversation and of thinking; see ``Provider``."""
        learned = gemini_refusals.learn(url, body, sent, failure)
        return learned or gemini_thinking.learn(url, body, sent, failure)

    @classmethod
    async def explain_error(
        cls, url: str, failure: BackendError, body: dict[str, Any], key: settings.Secret
    ) -> BackendError:
        """Return the failure; it names close models if the server does not have this one, or what to leave out."""
        if unknown := await with_close_models(cls.at(url), failure, body, key):
            return unknown
        if gemini_thinking.wants_no_effort(body, failure):
            return with_hint(failure, "choose another effort (--effort), or leave it out")
        return with_refused_parameter(failure, body)

    @classmethod
    def make_reader(cls, url: str, secrets: Sequence[str]) -> GeminiReader:
        """Return a reader of responses."""
        return GeminiReader(url, secrets)

    @classmethod
    async def get_models(cls, provider: str | None = None, *, api_key: str | None = None) -> list[Model]:
        """Return the models that generate content, without ``models/`` in their names."""
        given, api_key = settings.Secret(api_key), None
        found: dict[str, Model] = {}
        path = first = "/models?pageSize=1000"
        for _ in range(_MAX_PAGES):
            models, token = await cls.get_document(path, given, _read_page)
            found |= {str(model): model for model in models}
            if not token:
                break
            path = f"{first}&pageToken={quote(token, safe='')}"
        return [*found.values()]


def _is_vertex(host: str) -> bool:
    return host.lower() == _VERTEX or host.lower().endswith(f"-{_VERTEX}")


def _model_path(model: str) -> str:
    """Return the path of a model; its name may have ``models/`` before it, or ``publishers/google/models/``."""
    kind, _, own = model.strip().partition("/")
    if kind != "tunedModels":
        kind, own = "models", model.strip().removeprefix("models/").rpartition("/models/")[2]
    return f"{kind}/{quote(own, safe='@')}"


def _read_page(document: Any) -> tuple[list[Model], str]:
    """Return the models of a page of the list, and the token of the next page, ``""`` if it is the last one."""
    listed = document.get("models") or document.get("publisherModels") or []
    models = []
    for entry in listed:
        methods = entry.get("supportedGenerationMethods")
        if isinstance(methods, list) and "generateContent" not in methods:
            continue
        name = entry["name"].rpartition("models/")[2] if "models/" in entry["name"] else entry["name"]
        models.append(Model.of(name, label=entry.get("displayName")))
    return models, str(document.get("nextPageToken") or "")
