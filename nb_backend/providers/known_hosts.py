"""Hosts of services that speak OpenAI's dialect, for urls that do not show it."""

from __future__ import annotations

from typing import Final

_PATHS: Final = {
    "api.openai.com": "/v1",
    "api.anthropic.com": "/v1",
    "generativelanguage.googleapis.com": "/v1beta/openai",
    "aiplatform.googleapis.com": "",
    "api.mistral.ai": "/v1",
    "api.deepseek.com": "",
    "api.x.ai": "/v1",
    "api.cohere.ai": "/compatibility/v1",
    "api.cohere.com": "/compatibility/v1",
    "api.perplexity.ai": "",
    "api.groq.com": "/openai/v1",
    "api.cerebras.ai": "/v1",
    "api.sambanova.ai": "/v1",
    "api.together.ai": "/v1",
    "api.together.xyz": "/v1",
    "api.fireworks.ai": "/inference/v1",
    "api.deepinfra.com": "/v1/openai",
    "api.novita.ai": "/v3/openai",
    "api.hyperbolic.xyz": "/v1",
    "api.moonshot.ai": "/v1",
    "api.moonshot.cn": "/v1",
    "api.z.ai": "/api/paas/v4",
    "open.bigmodel.cn": "/api/paas/v4",
    "openrouter.ai": "/api/v1",
    "router.huggingface.co": "/v1",
    "integrate.api.nvidia.com": "/v1",
    "models.github.ai": "/inference",
    "models.inference.ai.azure.com": "",
    "gateway.ai.cloudflare.com": "",
    "openai.azure.com": "/openai/v1",
    "cognitiveservices.azure.com": "/openai/v1",
    "services.ai.azure.com": "/openai/v1",
    "cloud.databricks.com": "/serving-endpoints",
    "gcp.databricks.com": "/serving-endpoints",
    "azuredatabricks.net": "/serving-endpoints",
}
"""The base path of the API at a host or at all hosts below it, for a url without a path."""

_AZURE: Final = ("openai.azure.com", "cognitiveservices.azure.com", "services.ai.azure.com")


def known_path(host: str) -> str | None:
    """Return the base path of the API at a host, ``""`` for none; ``None`` if the host is not known."""
    name = host.lower().rstrip(".")
    while name and name not in _PATHS:
        name = name.partition(".")[2]
    if not name and host.lower().endswith("-aiplatform.googleapis.com"):  # us-central1-aiplatform.googleapis.com
        return ""
    return _PATHS.get(name)


def takes_api_key_header(host: str, query: str) -> bool:
    """Whether a server takes the key as ``api-key`` and not as ``Authorization: Bearer``, as Azure does."""
    return "api-version=" in query or host.lower().endswith(tuple(f".{name}" for name in _AZURE))
