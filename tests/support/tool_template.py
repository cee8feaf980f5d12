"""``TEMPLATE``: SmolLM2's chat template with a place for tools, in the form that Qwen's and Hermes' models have them.

llama.cpp learns from it how a call is written: with ``tool_choice="required"`` its grammar ends the answer in one call,
the only one, as the template shows one. The grammar allows any text before it, and so small a model writes no call of
its own. Therefore a prompt with tools begins the answer with that of a call; the result of the call does not. The empty
reasoning before it is the end of what llama.cpp takes for the fixed start of an answer: its grammar reads the rest.
"""

from __future__ import annotations

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
