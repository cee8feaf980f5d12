"""A request that exceeds the model's context, in the words of many servers, and what only sounds like it."""

from __future__ import annotations

import json

import pytest
from wire_server import status

from nb_backend import Chat, RawResponse
from nb_backend.chat.context_limit import is_too_long
from nb_backend.errors import ServerError
from nb_backend.transport.errors import status_error

TOO_LONG = [
    # OpenAI, Azure, Anthropic, Gemini, Vertex, Mistral, Cohere, xAI, TGI, Together, vLLM, SGLang, llama.cpp, Ollama,
    # LM Studio, TabbyAPI, Poolside, Groq, Cerebras, Fireworks, DeepSeek, Bedrock, OpenRouter, Z.ai, DashScope, MiniMax,
    # LiteLLM, Copilot, Moonshot, Hugging Face, SambaNova, Cloudflare, GitHub Models, GPT4All, validation in general
    (
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 "
        "tokens. Please reduce the length of the messages."
    ),
    "Your input exceeds the context window of this model. Please adjust your input and try again.",
    (
        "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 "
        "tokens. Please reduce the length of the messages."
    ),
    (
        "Invalid 'messages[0].content': string too long. Expected a string with maximum length 10485760, "
        "but got a string with length 11111111 instead."
    ),
    (
        "Invalid 'input': string too long. Expected a string with maximum length 10485760, but got a "
        "string with length 11111111 instead."
    ),
    (
        "Invalid 'messages': array too long. Expected an array with maximum length 2048, but got an "
        "array with length 3000 instead."
    ),
    "prompt is too long: 208310 tokens > 200000 maximum",
    (
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input "
        "length or `max_tokens` and try again"
    ),
    "The input token count (1197000) exceeds the maximum number of tokens allowed (1048576).",
    "The input token count exceeds the maximum number of tokens allowed 1048576.",
    (
        "Unable to submit request because the input token count is 40000 but model only supports up to "
        "32768. Reduce the input token count and try again."
    ),
    "Request payload size exceeds the limit: 20971520 bytes.",
    "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
    "Prompt contains 40000 tokens, too large for model with 32768 maximum length",
    "too many tokens: size limit exceeded by 11326 tokens. Try using shorter or fewer inputs.",
    "Too many tokens: the total number of tokens in the prompt exceeds the limit of 4081.",
    "too many tokens: total number of tokens (prompt and prediction) cannot exceed 4096 - received 5000.",
    "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
    (
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 "
        "`inputs` tokens and 20 `max_new_tokens`"
    ),
    "Input validation error: `inputs` must have less than 1024 tokens. Given: 2000",
    (
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4000 in "
        "the messages, 1000 in the completion). Please reduce the length of the messages or completion."
    ),
    (
        "The decoder prompt (length 5000) is longer than the maximum model length of 4096. Make sure "
        "that `max_model_len` is no smaller than the number of text tokens."
    ),
    "The prompt (total length 5000) is too long to fit into the model (context length 4096).",
    (
        "You passed 5000 input tokens and requested 100 output tokens. However, the model's context "
        "length is only 4096 tokens, resulting in a maximum input length of 3996 tokens. Please reduce "
        "the length of the input messages."
    ),
    "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
    (
        "Requested token count exceeds the model's maximum context length of 4096 tokens. You requested "
        "a total of 5000 tokens"
    ),
    (
        "Input length (5000 tokens) exceeds the maximum allowed length (4090 tokens). Use a shorter "
        "input or enable --allow-auto-truncate."
    ),
    "the request exceeds the available context size. try increasing the context size or enable context shift",
    "request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it",
    "input (5000 tokens) is too large to process. increase the physical batch size (current batch size: 512)",
    "Requested tokens (5000) exceed context window of 4096",
    "input length exceeds maximum context length",
    "prompt too long; exceeded max context length by 300 tokens",
    (
        "Trying to keep the first 5000 tokens when context the overflows. However, the model is loaded "
        "with context length of only 4096 tokens, which is not enough. Try to load the model with a "
        "larger context length, or provide a shorter input"
    ),
    "Context size has been exceeded.",
    "The number of tokens to keep from the initial prompt is greater than the context length",
    "Prompt length 5000 is greater than max_seq_len 4096",
    "Context length 5000 is greater than max_seq_len 4096. Generation is aborted",
    "Input length 131393 exceeds the maximum allowed input length of 131040 tokens.",
    "Please reduce the length of the messages or completion.",
    "Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192",
    "The prompt is too long: 5000, model maximum context length: 4096",
    "Input is too long for requested model.",
    "ValidationException: The model returned the following errors: Input is too long for requested model.",
    "Too many input tokens. Max input tokens: 128000, request input token count: 150000",
    "Malformed input request: expected maxLength: 20480, actual: 23444, please reformat your input and try again.",
    (
        "This endpoint's maximum context length is 8192 tokens. However, you requested about 9000 tokens "
        "(8000 of text input, 1000 in the output)."
    ),
    "Prompt exceeds max length",
    "Prompt 超长",
    "输入内容过长",
    "Range of input length should be [1, 30720]",
    "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 129024]",
    "invalid params, context window exceeds limit (2013)",
    "token limit exceeded",
    "litellm.ContextWindowExceededError: no",
    "prompt token count of 140000 exceeds the limit of 128000",
    "Invalid request: Your request exceeded model token limit: 8192 (requested: 9000)",
    "Input token length too long",
    "Prompt tokens too long",
    "the max input characters is 20000",
    "the length of message exceeds the limit",
    "Input is too long for this model, shorten your input or use 'parameters': {'truncation': 'only_first'}",
    (
        "Requested generation length 1 is not possible! The provided prompt is 9000 tokens long, so "
        "generating 1 tokens requires a sequence length of 9001, but the maximum supported sequence "
        "length is just 8192!"
    ),
    ("The estimated number of input and maximum output tokens (5000) exceeded this model context window limit (4096)."),
    "Request body too large for gpt-4o model. Max size: 8000 tokens.",
    "The prompt size exceeds the context window size and cannot be processed.",
    "tokens in request more than max tokens allowed",
    "prompt exceeds the length limit",
    "slot unavailable, n_ctx too small",
    "body.messages: List should have at most 100 items after validation, not 250",
    "body.messages.0.content: String should have at most 32000 characters",
    "The total number of tokens in your messages exceeds the maximum.",
    "Your prompt is too large for this model",
    "Conversation too long. Start a new one",
    "The message you submitted was too long, please reload the conversation and submit something shorter.",
    "Request too large: 300000 tokens, the model allows up to 200000",
    "Number of input tokens (5000) has exceeded max_seq_length (4096) limit of the model",
    "Requested input length 9000 exceeds maximum input length 8191",
    "The sequence length 9000 is larger than the maximum 8192",
    "This request would exceed the model's maximum context length of 128k tokens",
    "The total length of input messages and max_tokens exceeds the model limit",
    "Expected the total number of tokens to be less than 32768, got 40000",
    "Total tokens of image and text exceed max message tokens",
    "The number of input tokens is greater than the model's limit",
    "InvalidParameter: Input tokens exceed limit of 32000",
    "Model context limit reached",
    "input text too long, max 8000 chars",
    "Query is too long",
    "Text input is too large",
    "Context overflow: prompt too large for the model",
    "Your messages are too long, please shorten them",
    "the prompt is longer than the context",
    "inputs tokens + max_new_tokens must be less than 2048",
    "Token count (5000) exceeds limit (4096)",
    "sequence is too long: 5000 > 4096",
    "Prompt has 9000 tokens but the context is only 8192",
    "Token indices sequence length is longer than the specified maximum sequence length for this model (5000 > 2048)",
    "message length exceeds the maximum of 100000 characters",
    "The chat history is too long to be processed",
    "Message exceeds maximum length",
    "The input exceeds the maximum length",
    "prompt_tokens (9000) + max_tokens (1000) > context_window (8192)",
    "context deadline: the conversation has too many tokens",
    "total tokens 9001 > 8192",
    "Requested tokens exceed window",
    "input must be shorter than 8192 tokens",
    "Entrée trop longue : le contexte dépasse la limite de 8192 tokens",
    "The prompt is 5,000 tokens over the limit",
    "Can only handle 8192 tokens, got 9000",
]

OTHER = [
    ("Rate limit reached for gpt-4 in organization x on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000"),
    "Too many tokens per minute: limit 6000",
    ("max_tokens is too large: 5000. This model supports at most 4096 completion tokens, whereas you provided 5000."),
    "max_tokens: 300000 > 8192, which is the maximum allowed number of output tokens for claude-3-5",
    "`max_tokens` must be greater than `thinking.budget_tokens`.",
    "Range of max_tokens should be [1, 8192]",
    "max_completion_tokens exceeds the maximum of 16384",
    "The maximum number of completion tokens is 4096",
    ("Invalid 'max_output_tokens': integer above maximum value. Expected a value <= 128000, but got 999999 instead."),
    "messages.0.content.1.image.source.base64: image exceeds 5 MB maximum: 6000000 bytes > 5242880 bytes",
    "The input image is too large",
    "Image size exceeds the limit of 20 MB",
    "At most 1 image(s) may be provided in one prompt.",
    "Too many images in request: maximum 5",
    (
        "messages.3.content.0.image.source.base64.data: At least one of the image dimensions exceed max "
        "allowed size for many-image requests: 2000 pixels"
    ),
    "Input audio is too long: maximum 1500 seconds",
    (
        "Invalid 'messages[0].name': string too long. Expected a string with maximum length 64, but got "
        "a string with length 100 instead."
    ),
    "name is too long",
    (
        "Invalid 'user': string too long. Expected a string with maximum length 64, but got a string "
        "with length 70 instead."
    ),
    (
        "Invalid 'messages[2].tool_calls[0].id': string too long. Expected a string with maximum length "
        "40, but got a string with length 41 instead."
    ),
    (
        "Invalid 'tools': array too long. Expected an array with maximum length 128, but got an array "
        "with length 200 instead."
    ),
    (
        "Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with "
        "length 9 instead."
    ),
    "body.user: String should have at most 64 characters",
    "body.temperature: Input should be less than or equal to 2",
    "body.n: Input should be greater than 0",
    "body.messages.0.role: Input should be 'user', 'assistant' or 'system'",
    (
        "The response was filtered due to the prompt triggering Azure OpenAI's content management "
        "policy. Please modify your prompt and retry."
    ),
    "Your prompt violates the content policy limit",
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    "top_logprobs must be at most 20",
    "logit_bias: token id 200000 exceeds the vocabulary size",
    "temperature must be less than 2",
    'messages: first message must use the "user" role',
    "messages: at least one message is required",
    "Conversation roles must alternate user/assistant",
    "You exceeded your current quota, please check your plan and billing details.",
    (
        "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but "
        "can only afford 3000."
    ),
    "The model does not exist",
    "Invalid prompt: your prompt was flagged",
    "stream_options is only allowed when stream is true",
    "n must be at most 1 for this model",
    "thinking.budget_tokens: Input should be greater than or equal to 1024",
    "Invalid value for 'content': expected a string, got null.",
    "Jinja Exception: System message must be at the beginning",
    "Function name is too long: maximum 64 characters",
    "The request timed out after 600 seconds",
    "Too many requests",
    "metadata.user_id: string is too long (max 256)",
    "prompt_cache_key: string too long. Expected a string with maximum length 64",
    "The seed exceeds the maximum of 2**31",
    "Maximum 4 stop sequences are supported",
    "the JSON schema exceeds the maximum depth",
    "model is overloaded: too many requests in the queue",
    "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]",
    "Too many messages in the queue",
    "header is too long",
    "context canceled",
    "context deadline exceeded",
    "max_tokens must be less than or equal to 8192",
    "The maximum output length for this model is 4096",
    "response_format: schema too large",
    "Requests to this model exceed the number of tokens allowed per day",
    "Your API key has exceeded its token budget for today",
    "Request was too slow: max time 60s exceeded",
    "Message 3 has more than 20 images",
    "The number of tools exceeds the maximum of 128",
    "tools[0].description: too long",
    "messages[4].content[1].image_url.url too long",
    "Maximum number of concurrent requests exceeded",
    "Invalid 'n': at most 1 allowed",
    "stop: too many stop sequences, max 4",
    "You can include at most 100 documents in a request",
    "prompt is empty",
    "prompt must not be empty",
    "Number of messages must be odd",
    "invalid 'max_tokens': integer below minimum value",
    "The model's maximum generation length is 2048 tokens",
    "The token limit for this key is reached, upgrade your plan",
    "temperature should be in range [0, 2]",
    "thinking budget must be at most 24576 tokens",
    "Requested output tokens exceed the limit of 8192",
    "reasoning_effort 'max' is not supported",
    "prompt_tokens_details is not a field",
]


def refused(text: str, code: int) -> Exception:
    return status_error("http://server", code, {}, json.dumps({"error": {"message": text}}).encode())


@pytest.mark.parametrize("text", TOO_LONG)
def test_a_refusal_for_length_is_recognised(text):
    assert all(is_too_long(refused(text, code)) for code in (400, 413, 422))
    assert is_too_long(RawResponse(type="error", error={"message": text}))
    assert is_too_long(RawResponse(type="error", error="BadRequestError", message=text))


@pytest.mark.parametrize("text", OTHER)
def test_another_refusal_is_not_taken_for_one(text):
    assert not any(is_too_long(refused(text, code)) for code in (400, 422, 429, 500))
    assert not is_too_long(RawResponse(type="error", error={"message": text}))


NAMES = [
    "context_length_exceeded",
    "exceed_context_size_error",
    "prompt_too_long",
    "model_max_prompt_tokens_exceeded",
    "tokens_limit_reached",
    "request_too_large",
    "model_context_window_exceeded",
]


@pytest.mark.parametrize("code", NAMES)
def test_the_name_of_the_error_is_enough(code):
    assert is_too_long(RawResponse(type="error", error={"code": code, "message": "No"}))
    assert is_too_long(RawResponse(type="error", error={"type": code, "message": "No"}))
    assert is_too_long(RawResponse(type="error", error=code, message="No"))


@pytest.mark.parametrize("code", [401, 402, 403, 404, 429, 503])
def test_other_statuses_are_not_about_length(code):
    assert not is_too_long(refused("Input is too long for requested model.", code))


# -- in a chat

HI = status("200 OK", {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]})
LONG = "Input length 131393 exceeds the maximum allowed input length of 131040 tokens."


@pytest.mark.parametrize(
    "refusal",
    [
        status("400 Bad Request", {"message": LONG}),
        status("422 Unprocessable", {"detail": [{"loc": ["body", "messages"], "msg": LONG}]}),
        status("413 Too Large", b"<html><title>413 Request Entity Too Large</title>"),
        status("413 Too Large"),
        status("200 OK", {"error": {"message": LONG, "code": 400}}),
        status("200 OK", b'event: error\ndata: {"error": {"message": "%s"}}\n\n' % LONG.encode()),
    ],
    ids=["400", "422", "413 with a page", "413", "200", "event"],
)
async def test_the_oldest_turns_are_trimmed(wire_server, refusal):
    for answer in (HI, HI, refusal, HI):
        wire_server.answer(answer)
    chat = Chat("m", url=f"{wire_server.url}/v1")
    for question in ("0", "1"):
        await chat.ask(question)
    assert (await chat.ask("2")).trimmed == 1
    assert [message["content"] for message in wire_server.requests[-1].json["messages"]] == ["1", "Hi", "2"]


async def test_without_a_history_a_413_is_an_error(wire_server):
    wire_server.answer(status("413 Too Large"))
    with pytest.raises(ServerError, match="413: send less"):
        await Chat("m", url=f"{wire_server.url}/v1").ask("long")
    assert len(wire_server.requests) == 1
