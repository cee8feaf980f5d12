"""The real server of llama.cpp with the embedded model, which speaks three dialects; one for each worker of a run."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from local_support import real_weights

CONTEXT = 2048  # tokens
TEMPLATE = """
{%- if tools -%}
<|im_start|>system
You may call these functions:
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}
{%- if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}<|im_end|>
{% elif messages[0].role == 'system' -%}
<|im_start|>system
{{ messages[0].content }}<|im_end|>
{% endif %}
{%- for message in messages %}
{%- if message.role == 'tool' -%}
<|im_start|>user
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% elif message.role != 'system' -%}
<|im_start|>{{ message.role }}
{% if message.content %}{{ message.content.split('</think>')[-1] }}{% endif %}
{%- if message.tool_calls %}{% set call = message.tool_calls[0] -%}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endif -%}
<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% if tools and messages[-1].role == 'user' %}<think></think><tool_call>
{% endif %}
{%- endif %}"""
"""Chat template of the form of SmolLM2's own, which has no place for tools, with tools as Qwen's and Hermes' have them.

llama.cpp learns from it how a call is written: with ``tool_choice="required"`` its grammar ends the answer in one call,
the only one, as the template shows one. The grammar allows any text before it, and so small a model writes no call of
its own. Therefore a prompt with tools begins the answer with that of a call; the result of the call does not. The empty
reasoning before it is the end of what llama.cpp takes for the fixed start of an answer: its grammar reads the rest.
"""


@pytest.fixture(scope="session")
def llama_server() -> Iterator[str]:
    """The server's address, without a path: it answers below ``/v1``. Its model takes no images."""
    xllamacpp = pytest.importorskip("xllamacpp", exc_type=ImportError)
    try:
        weights = real_weights()
    except subprocess.CalledProcessError:
        pytest.skip("the model's file cannot be fetched")
    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.n_ctx = CONTEXT
    params.chat_template = TEMPLATE
    params.n_parallel = 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1  # several wait for each other on a busy machine
    params.warmup = False
    params.verbosity = -1
    server: Any = xllamacpp.Server(params)
    yield server.listening_address
    del server
