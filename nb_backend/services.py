"""The table of services: for each its url, its dialect and the environment variables of its key.

``service:model`` names a model of a service wherever a model is named; ``NB_BACKEND_URL`` may be the name of one. A
service's key goes to the service's url and nowhere else. A row is data: a new service is a new row.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

Effort = Literal[
    "reasoning_effort",
    "none or high",
    "none or default",
    "reasoning",
    "reasoning.enabled",
    "thinking",
    "enable_thinking",
    "chat_template_kwargs",
    "",
]
"""Forms of the effort in the dialect ``openai-chat``; ``providers.chat_fields`` has a function for each."""


@dataclass(frozen=True)
class Service:
    """A service and how it is asked.

    ``api`` is its dialect, as ``registry.DIALECTS`` names them, ``keys`` the environment variables that may hold its
    key, the first one that is set counts, and ``source`` its documentation. ``url_variable`` is the environment
    variable with the url of the user's own server, for which ``url`` is the default. ``aliases`` are further names.

    The other fields are differences within the dialect ``openai-chat``: the name of the header that has the key;
    whether the limit of tokens is called ``max_completion_tokens``; whether ``stream_options`` is accepted; the form
    of the effort (``""``: none); and the url of the list of models, if it is not ``{url}/models``.
    """

    name: str
    title: str
    url: str
    api: str
    keys: tuple[str, ...]
    source: str
    aliases: tuple[str, ...] = ()
    is_local: bool = False
    url_variable: str = ""
    key_header: str = "Authorization"
    takes_max_completion_tokens: bool = False
    takes_stream_options: bool = True
    effort: Effort = "reasoning_effort"
    models_url: str = ""

    @property
    def base_url(self) -> str:
        """The url that is asked. ``ValueError`` if it is the user's own and the environment does not have it."""
        own = os.environ.get(self.url_variable, "").strip().rstrip("/") if self.url_variable else ""
        if self.name == "ollama":
            return _ollama_url(own) if own else self.url
        if self.name == "azure":
            return _azure_url(own)
        return own or self.url

    @property
    def key_variable(self) -> str:
        """The environment variable that holds the key, or the first one that may hold it; ``""`` if none may."""
        return next(filter(os.environ.get, self.keys), next(iter(self.keys), ""))

    @property
    def runs_models(self) -> bool:
        """Whether it runs models itself, on this machine, and does not pass requests on to another service."""
        return self.is_local and self.name not in ("g4f", "litellm")

    @property
    def lists_its_models(self) -> bool:
        """Whether its list has the names that it takes; Azure takes names of deployments."""
        return self.name != "azure"

    def has_url(self, url: str) -> bool:
        """Whether a url is on this service's server: its scheme, host and port are those of the service's url."""
        try:
            return _origin(self.base_url) == _origin(url)
        except ValueError:
            return False


def _cloud(name: str, title: str, url: str, key: str, source: str, **differences: object) -> Service:
    """Return the row of a service on the internet that speaks OpenAI's dialect; ``key`` may name several variables."""
    return Service(name, title, url, "openai-chat", tuple(key.split()), source, **differences)  # type: ignore[arg-type]


def _local(
    name: str,
    title: str,
    port: int,
    key: str,
    source: str,
    api: str = "openai-chat",
    effort: Effort = "reasoning_effort",
) -> Service:
    """Return the row of a server on this machine."""
    url = f"http://127.0.0.1:{port}{'' if api == 'g4f' else '/v1'}"
    variable = "OLLAMA_HOST" if name == "ollama" else ""
    keys = tuple(key.split())
    return Service(name, title, url, api, keys, source, is_local=True, url_variable=variable, effort=effort)


_ROWS: Final = (
    Service(
        "openai",
        "OpenAI",
        "https://api.openai.com/v1",
        "openai-responses",
        ("OPENAI_API_KEY",),
        "https://platform.openai.com/docs/api-reference/responses",
        takes_max_completion_tokens=True,
    ),
    Service(
        "anthropic",
        "Anthropic",
        "https://api.anthropic.com/v1",
        "anthropic",
        ("ANTHROPIC_API_KEY",),
        "https://docs.claude.com/en/api/messages",
        key_header="x-api-key",
    ),
    Service(
        "gemini",
        "Gemini",
        "https://generativelanguage.googleapis.com/v1beta",
        "gemini",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        "https://ai.google.dev/api/generate-content",
        aliases=("google",),
        key_header="x-goog-api-key",
    ),
    _cloud(
        "azure",
        "Azure OpenAI",
        "",
        "AZURE_OPENAI_API_KEY AZURE_API_KEY",
        "https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle",
        url_variable="AZURE_OPENAI_ENDPOINT",
        key_header="api-key",
        takes_max_completion_tokens=True,
    ),
    _cloud(
        "openrouter",
        "OpenRouter",
        "https://openrouter.ai/api/v1",
        "OPENROUTER_API_KEY",
        "https://openrouter.ai/docs/api-reference/overview",
        effort="reasoning",
    ),
    _cloud(
        "groq",
        "Groq",
        "https://api.groq.com/openai/v1",
        "GROQ_API_KEY",
        "https://console.groq.com/docs/openai",
        takes_max_completion_tokens=True,
        effort="none or default",
    ),
    _cloud(
        "mistral",
        "Mistral",
        "https://api.mistral.ai/v1",
        "MISTRAL_API_KEY",
        "https://docs.mistral.ai/api/",
        takes_stream_options=False,
        effort="none or high",
    ),
    _cloud(
        "deepseek",
        "DeepSeek",
        "https://api.deepseek.com",
        "DEEPSEEK_API_KEY",
        "https://api-docs.deepseek.com/",
        effort="thinking",
    ),
    _cloud("xai", "xAI", "https://api.x.ai/v1", "XAI_API_KEY", "https://docs.x.ai/docs/api-reference"),
    _cloud(
        "together",
        "Together",
        "https://api.together.xyz/v1",
        "TOGETHER_API_KEY TOGETHERAI_API_KEY",
        "https://docs.together.ai/docs/openai-api-compatibility",
        effort="reasoning.enabled",
    ),
    _cloud(
        "fireworks",
        "Fireworks",
        "https://api.fireworks.ai/inference/v1",
        "FIREWORKS_API_KEY",
        "https://docs.fireworks.ai/tools-sdks/openai-compatibility",
    ),
    _cloud(
        "cerebras",
        "Cerebras",
        "https://api.cerebras.ai/v1",
        "CEREBRAS_API_KEY",
        "https://inference-docs.cerebras.ai/resources/openai",
        takes_max_completion_tokens=True,
    ),
    _cloud(
        "perplexity",
        "Perplexity",
        "https://api.perplexity.ai",
        "PERPLEXITY_API_KEY PPLX_API_KEY",
        "https://docs.perplexity.ai/api-reference/chat-completions-post",
        takes_stream_options=False,
    ),
    _cloud(
        "cohere",
        "Cohere",
        "https://api.cohere.ai/compatibility/v1",
        "COHERE_API_KEY CO_API_KEY",
        "https://docs.cohere.com/docs/compatibility-api",
        effort="none or high",
    ),
    _cloud(
        "huggingface",
        "Hugging Face",
        "https://router.huggingface.co/v1",
        "HF_TOKEN HUGGING_FACE_HUB_TOKEN",
        "https://huggingface.co/docs/inference-providers/index",
    ),
    _cloud(
        "github",
        "GitHub Models",
        "https://models.github.ai/inference",
        "GITHUB_TOKEN GITHUB_API_KEY",
        "https://docs.github.com/rest/models/inference",
        models_url="https://models.github.ai/catalog/models",
    ),
    _cloud(
        "nvidia",
        "NVIDIA",
        "https://integrate.api.nvidia.com/v1",
        "NVIDIA_API_KEY",
        "https://docs.api.nvidia.com/nim/reference/llm-apis",
        effort="chat_template_kwargs",
    ),
    _cloud(
        "zai",
        "Z.ai",
        "https://api.z.ai/api/paas/v4",
        "ZAI_API_KEY Z_AI_API_KEY",
        "https://docs.z.ai/api-reference/introduction",
        effort="thinking",
    ),
    _cloud(
        "moonshot",
        "Moonshot",
        "https://api.moonshot.ai/v1",
        "MOONSHOT_API_KEY MOONSHOTAI_API_KEY",
        "https://platform.moonshot.ai/docs/api/chat",
        effort="thinking",
    ),
    _cloud(
        "dashscope",
        "DashScope",
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        "DASHSCOPE_API_KEY",
        "https://www.alibabacloud.com/help/model-studio/compatibility-of-openai-with-dashscope",
        effort="enable_thinking",
    ),
    _local("ollama", "Ollama", 11434, "OLLAMA_API_KEY", "https://docs.ollama.com/api/openai-compatibility"),
    _local("lmstudio", "LM Studio", 1234, "LM_API_TOKEN", "https://lmstudio.ai/docs/developer/openai-compat"),
    _local(
        "llamacpp",
        "llama.cpp",
        8080,
        "LLAMA_API_KEY",
        "https://github.com/ggml-org/llama.cpp/tree/master/tools/server",
        effort="chat_template_kwargs",
    ),
    _local(
        "vllm",
        "vLLM",
        8000,
        "VLLM_API_KEY",
        "https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
        effort="chat_template_kwargs",
    ),
    _local(
        "litellm", "LiteLLM", 4000, "LITELLM_API_KEY LITELLM_MASTER_KEY", "https://docs.litellm.ai/docs/simple_proxy"
    ),
    _local("g4f", "g4f", 8080, "G4F_API_KEY", "https://g4f.dev/docs/", api="g4f"),
)

SERVICES: Final[dict[str, Service]] = {row.name: row for row in _ROWS}
"""The services by name, in the order in which they are shown."""

_TAG = re.compile(r"latest|[ex]?\d+(?:x\d+)?(?:\.\d+)?[bm](?:-[\w.-]+)?", re.IGNORECASE)


def find_service(word: str) -> Service | None:
    """Return the service of a name or an alias, in any case; ``None`` if the table does not have it."""
    name = word.strip().lower()
    return SERVICES.get(name) or next((one for one in SERVICES.values() if name in one.aliases), None)


def split_model(named: str, *, has_url: bool = False) -> tuple[Service | None, str]:
    """Return the service before the first colon of a model's name, and the name of the model there.

    Without a service of the table the name is the model's. ``has_url`` says that a server is set: ``mistral:7b`` is
    then a model with a tag, as Ollama names them, and not a model of the service Mistral.

    >>> split_model("ollama:llama3.2:1b")[1]
    'llama3.2:1b'
    """
    before, colon, model = named.partition(":")
    service = find_service(before) if colon else None
    if service is None or (has_url and not service.is_local and _TAG.fullmatch(model.strip())):
        return None, named
    return service, model.strip()


def service_of_url(url: str | None) -> Service | None:
    """Return the service on the internet that a url is the server of, or ``None``.

    What listens on a port of this machine is not known by its url.
    """
    return next((one for one in SERVICES.values() if not one.is_local and one.has_url(url)), None) if url else None


def closest_services(word: str, most: int = 2) -> list[str]:
    """Return the names of services that a wrong name was probably meant for, the best first."""
    from difflib import get_close_matches  # only for a wrong name, and services are loaded with the magics

    names = {name: one.name for one in SERVICES.values() for name in (one.name, *one.aliases)}
    found = get_close_matches(word.strip().lower(), names, most, 0.72)
    return [*dict.fromkeys(names[name] for name in found)]


def misspelt_service(named: str) -> str:
    """Return the model ``antropic:claude`` with the name of the service that was meant; ``""`` if none clearly was.

    A tag behind the colon is not a model of a service.
    """
    before, colon, model = named.partition(":")
    if not colon or not model.strip() or not before.strip().isalpha() or _TAG.fullmatch(model.strip()):
        return ""
    close = [] if find_service(before) else closest_services(before, 1)
    return f"{close[0]}:{model.strip()}" if close else ""


def services_with_key() -> Iterator[Service]:
    """Yield the services on the internet whose key is in the environment."""
    return (one for one in SERVICES.values() if not one.is_local and any(map(os.environ.get, one.keys)))


def _ollama_url(host: str) -> str:
    """Return the url for a value of ``OLLAMA_HOST``: a host, a port, both, or a url; 0.0.0.0 is this machine."""
    scheme, mark, rest = host.partition("://")
    if not mark:
        scheme, rest = "http", host
    name, colon, port = rest.partition("/")[0].rpartition(":")
    name, port = (name, port) if colon and port.isdigit() else (rest.partition("/")[0], "11434")
    return f"{scheme}://{name if name not in ('', '0.0.0.0', '[::]') else '127.0.0.1'}:{port}/v1"  # noqa: S104


def _azure_url(endpoint: str) -> str:
    """Return the url of an Azure resource; a dated ``OPENAI_API_VERSION`` wants each model's own path."""
    if not endpoint:
        raise ValueError("azure needs the url of your resource: set AZURE_OPENAI_ENDPOINT")
    version = os.environ.get("AZURE_OPENAI_API_VERSION") or os.environ.get("OPENAI_API_VERSION") or ""
    path = urlsplit(endpoint).path.rstrip("/")
    if version[:2] == "20" and "/openai" not in path:
        return f"{endpoint}/openai/deployments/{{model}}?api-version={version}"
    mark = f"?api-version={version}" if version else ""
    return f"{endpoint}{'' if '/openai' in path else '/openai/v1'}{mark}"


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    host = "127.0.0.1" if host in ("localhost", "::1") else host
    return parts.scheme, host, parts.port or {"https": 443, "http": 80}.get(parts.scheme)
