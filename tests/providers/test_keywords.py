"""A keyword that cannot be a field of the body is refused with the right name; what servers take goes through."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nb_backend.providers.keywords import refusal_in_cell, refuse_unknown

URL = [
    "base_url",
    "api_base",
    "URLs",
    "endpoint",
    "host",
    "server",
    "azure_endpoint",
    "openai_api_base",
    "Base-URL",
    "baseURL",
]
KEY = [
    "openai_api_key",
    "key",
    "token",
    "api_token",
    "authorization",
    "access_token",
    "my_secret",
    "AZURE_OPENAI_API_KEY",
]
TIME = ["timeout", "request_timeout", "idle_timeout", "read_timeout", "time_out", "stream_timeout"]


@pytest.mark.parametrize(
    ("names", "in_chat", "with_a_prompt"),
    [
        (URL, "use url=", "use Chat(url=…)"),
        (KEY, "use api_key=", "use Chat(api_key=…)"),
        (["timeout"], "use connect_timeout= or idle_timeout=", "use Chat(idle_timeout=…)"),
        (TIME[1:], "use idle_timeout=", "use Chat(idle_timeout=…)"),
        (["connection_timeout", "connect_timeout"], "use connect_timeout=", "use Chat(connect_timeout=…)"),
        (["model_name", "engine", "deployment"], "use model=", "use model="),
        (["system_prompt", "instructions", "SystemMessage"], "use system=", "use system="),
        (["image", "media", "attachments", "files"], "use chat(prompt, images=…)", "use images="),
        (["new", "keep", "refresh"], "use chat(prompt, ", "use "),
        (["history", "messages"], "assign chat.messages", "assign chat.messages"),
        (
            ["headers", "default_headers", "organization", "cookies"],
            "in a subclass of OpenAIApi",
            "in a subclass of OpenAIApi",
        ),
        (["ssl", "verify", "cert", "ca_certs"], "set SSL_CERT_FILE", "set SSL_CERT_FILE"),
        (["proxy", "proxies"], "set HTTPS_PROXY", "set HTTPS_PROXY"),
        (["schema"], "ask with map([prompt], schema=…)", "ask with map([prompt], schema=…)"),
        (["max_retries", "max_attempts"], "temporary failures are retried", "temporary failures are retried"),
        (["api_version"], "?api-version=", "?api-version="),
        (["modle", "cahce", "systm", "idle_timout", "base_ur"], "did you mean ", "did you mean "),
    ],
)
def test_a_keyword_with_another_meaning_is_refused_in_one_line_with_the_right_name(names, in_chat, with_a_prompt):
    for name in names:
        for place, wanted in (("Chat", in_chat), ("map", in_chat), ("a prompt", with_a_prompt)):
            if place == "map" and "images" in in_chat:
                wanted = "use images="
            given_ = {"top_p": 1, name: "sk-secret-value"}
            with pytest.raises(TypeError) as refusal:
                refuse_unknown(given_, place)
            line = str(refusal.value)
            assert line.startswith(f"{place} has no argument {name}: ")
            assert wanted in line
            assert "\n" not in line
            assert "secret-value" not in line
            assert given_ == {}  # a traceback that shows variables shows no key
        assert (refusal_in_cell(name) or "").startswith(f"{name} is not a parameter: ")


SERVERS_TAKE = re.findall(
    r"\w+",
    """
temperature top_p top_k min_p typical_p tfs_z seed max_tokens max_completion_tokens n stop presence_penalty
frequency_penalty repeat_penalty repetition_penalty logit_bias logprobs top_logprobs tools tool_choice user stream
parallel_tool_calls response_format service_tier reasoning_effort reasoning modalities audio prediction verbosity
web_search_options safety_identifier prompt_cache_key prompt_cache_retention functions function_call metadata store
stream_options mirostat mirostat_tau grammar json_schema n_predict cache_prompt id_slot samplers keep_alive options
think thinking enable_thinking chat_template chat_template_kwargs guided_json guided_regex guided_choice
guided_decoding_backend structured_outputs best_of use_beam_search length_penalty ignore_eos min_tokens
skip_special_tokens add_generation_prompt continue_final_message documents echo priority request_id route models
include_stop_str_in_output truncate_prompt_tokens prompt_logprobs mm_processor_kwargs transforms plugins usage
include_reasoning session_id trace safe_prompt random_seed prompt_mode search_domain_filter return_images search_mode
return_related_questions search_recency_filter disable_search search_options compound_custom include_domains country
exclude_domains enable_search incremental_output translation_options web_search ignore action aspect_ratio
conversation conversation_id download_media width height tool_calls extra_body mode character instruction_template
negative_prompt guidance_scale context_length_exceeded_behavior raw_output prompt_truncate_len fallbacks mock_response
tags guardrails drop_params format suffix template citations deferred search_parameters language type thinking_budget
google safety_settings cached_content regex ebnf lora_path separate_reasoning user_id client_id end_user data_sources
image_config image_size cache_control context_management bos_token stop_token effort provider
    """,
)


@pytest.mark.parametrize("place", ["Chat", "map", "a prompt"])
def test_what_servers_take_goes_through(place):
    fields = dict.fromkeys(SERVERS_TAKE, 1)
    refuse_unknown(fields, place)
    assert [*fields] == SERVERS_TAKE
    assert [*filter(refusal_in_cell, SERVERS_TAKE)] == []


@given(st.text())
def test_any_name_is_either_a_field_or_a_type_error(name):
    with suppress(TypeError):
        refuse_unknown({name: 1}, "Chat")
