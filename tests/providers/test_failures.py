"""Failures as ``BackendError``: kind, message, hint and seconds to wait."""

from __future__ import annotations

import json
import time
from email.utils import formatdate

import pytest
from multidict import CIMultiDict
from wire_server import status as reply

from nb_backend import Chat
from nb_backend.errors import AuthError, BackendError, ConnectionFailed, ProtocolError, RateLimitError, ServerError
from nb_backend.events import RawResponse
from nb_backend.providers.reader import event_error
from nb_backend.providers.retry import delay_before_retry
from nb_backend.transport.errors import not_an_answer, status_error

URL = "http://server:80/some/path?with=parts"


@pytest.mark.parametrize(
    ("status", "kind", "retryable", "hint"),
    [
        (400, ServerError, False, "change the prompt or its options"),
        (401, AuthError, False, "set NB_BACKEND_API_KEY to a key that it accepts, or run %backend key"),
        (403, AuthError, False, "set NB_BACKEND_API_KEY to a key that it accepts, or run %backend key"),
        (404, ServerError, False, "check the url and the model"),
        (405, ServerError, False, "check the url"),
        (413, ServerError, False, "send less: a shorter text, or smaller images"),
        (422, ServerError, False, "change the prompt or its options"),
        (429, RateLimitError, True, "ask again later"),
        (500, ServerError, True, "ask again later"),
        (501, ServerError, False, "ask again later"),
        *((status, ServerError, True, "ask again later") for status in (502, 503, 504, 529)),
        *((status, ServerError, True, "ask again later") for status in (408, 409)),
    ],
)
def test_a_status(status, kind, retryable, hint):
    error = status_error(URL, status, {}, b'{"error": {"message": "Words  of\\nthe server"}}')
    assert (type(error), error.retryable) == (kind, retryable)
    path = " for /some/path" if status in (404, 405) else ""
    assert str(error) == f"http://server answered {status}{path} (Words of the server): {hint}"


@pytest.mark.parametrize(
    "message",
    [
        "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        "Audio input is unsupported",
        "This model does not support image inputs",
        "vision not supported by this model",
        "Invalid content type. image_url is only supported by certain models",
        "messages[0].content must be a string",
        "messages[0]: unknown variant `image_url`, expected `text`",
        "Image input is not enabled for this model",
        "No endpoints found that support image input",
        "this model is missing data required for image input",
        "m is not a multimodal model",
        "At most 0 image(s) may be provided in one request",
        "messages.0.content.1.type: 'image_url' not allowed",
    ],
)
def test_a_model_that_takes_no_images_is_not_asked_again(message):
    error = status_error(URL, 500, {}, json.dumps({"error": {"code": 500, "message": message}}).encode())
    assert not error.retryable
    assert (
        str(error)
        == f"http://server answered 500 ({message}): name a model that takes such attachments, or ask without them"
    )
    busy = status_error(URL, 500, {}, b'{"error": {"message": "image server is busy"}}')
    assert busy.retryable


@pytest.mark.parametrize(
    "message", ["You uploaded an unsupported image. It has to have one of the formats: png", "Invalid image data"]
)
def test_an_image_that_cannot_be_read_is_not_taken_for_a_model_without_vision(message):
    error = status_error(URL, 400, {}, json.dumps({"error": {"message": message}}).encode())
    assert str(error).endswith(": change the prompt or its options")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error": {"message": "a", "code": "context_length_exceeded"}}', "context_length_exceeded"),
        (b'{"error": {"message": "a", "code": null}, "code": 7}', "7"),
        (b'{"code": "x", "message": "a"}', "x"),
        (b'{"error": "a"}', ""),
        (b'{"error": {"message": "a", "type": "overloaded_error", "code": null}}', "overloaded_error"),
        (b'{"error": {"message": "a", "status": "UNAVAILABLE", "code": 503}}', "UNAVAILABLE"),
        (b'{"type": "error", "error": {"message": "a", "type": "api_error"}}', "api_error"),
        (b'{"error": "invalid_grant", "error_description": "a"}', "invalid_grant"),
        (b"plain", ""),
    ],
)
def test_the_code_of_the_server(body, code):
    assert status_error(URL, 400, {}, body).code == code


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": "a"}', " (a)"),
        (b'{"message": "a"}', " (a)"),
        (b'{"detail": [{"loc": 1}]}', " (loc: 1)"),
        (b'{"error": {"message": {"detail": "a"}}}', " (a)"),
        (b"plain  words\n", " (plain words)"),
        (b"<!DOCTYPE html><p>No", ""),
        (b"", ""),
        (b"{}", ""),
        (b"\xff", " (\ufffd)"),
        (b"x" * 1000, f" ({'x' * 299}…)"),
        (b"[" * 10_000, f" ({'[' * 299}…)"),
        (b'{"error": ' + b"[" * 900 + b"]" * 900 + b"}", ""),
        (b"\x1b[31m \x1b]8;;x\x07 \xe2\x80\xae", " ([U+001B][31m [U+001B]]8;;x[U+0007] [U+202E])"),
    ],
)
def test_the_message_of_the_server(body, said):
    assert str(status_error(URL, 400, {}, body)).startswith(f"http://server answered 400{said}: ")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": " 1.5 "}, 1.5),
        ({"Retry-After": "7", "retry-after-ms": "250"}, 0.25),
        ({"Retry-After": formatdate(time.time() - 100, usegmt=True)}, 0),
        *(({"Retry-After": text}, 366 * 86_400) for text in ("9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT")),
        *(({"Retry-After": text}, None) for text in ("soon", "", "-1", "nan", "inf", "1e3", ".", "Fri, 99 Xxx 9999")),
        *(({"retry-after-ms": text}, None) for text in ("nan", "-5", "")),
    ],
)
def test_retry_after(headers, seconds):
    assert status_error(URL, 429, headers, b"").retry_after == seconds


def test_retry_after_a_date():
    error = status_error(URL, 503, {"Retry-After": formatdate(time.time() + 1000, usegmt=True)}, b"")
    assert 900 < error.retry_after <= 1000
    assert not error.retryable
    assert "answered 503: ask again in " in str(error)


def test_the_delay_before_a_retry():
    for attempt, most in enumerate([0.5, 1, 2, 4, 8, 8, 8]):
        assert 0.75 * most <= delay_before_retry(attempt, ServerError("x")) <= most
    assert delay_before_retry(0, RateLimitError("x", retry_after=33)) == 33


@pytest.mark.parametrize(
    ("event", "kind", "message"),
    [
        ({"type": "error", "error": "E", "message": "m\nn"}, ServerError, "m n"),
        ({"type": "error", "error": "MissingAuthError", "message": "m."}, AuthError, "m: set NB_BACKEND_API_KEY"),
        ({"type": "error", "error": "RateLimitError", "message": "m"}, RateLimitError, "m: ask again later"),
        ({"type": "error", "error": {"message": "m", "code": 429}}, RateLimitError, "m: ask"),
        (
            {"type": "error", "error": {"message": "m", "type": "invalid_request", "code": "invalid_api_key"}},
            AuthError,
            "m:",
        ),
        ({"type": "auth", "auth": "E"}, AuthError, "E: set"),
        ({"type": "message", "message": {"a": 1}}, ServerError, "a: 1"),
        ({"type": "error", "error": 17}, ServerError, "17"),
        ({"type": "error", "error": "The internal state of the model is broken"}, ServerError, "The internal state"),
        ({"type": "error", "error": "No permission to read the file"}, ServerError, "No permission to read the file"),
        ({"type": "error", "error": None}, ServerError, "The server reported an error without a message: ask again"),
        ({"type": "error", "error": "E", "message": "my KEY123 is"}, ServerError, "my *** is"),
    ],
)
def test_an_event(event, kind, message):
    error = event_error(RawResponse(**event), ["KEY123"])
    assert type(error) is kind
    assert str(error).startswith(message)


# -- a key, an account, and others that stand before the server


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, {"error": {"message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT"}}),
        (400, {"error": {"message": "Bad", "details": [{"reason": "API_KEY_INVALID"}]}}),
        (400, {"error": {"message": "Incorrect API key provided: x", "code": "invalid_api_key"}}),
        (400, {"error": "invalid api key"}),
        (400, {"error": "Unauthorized"}),
        (400, {"detail": "Could not validate credentials"}),
        (400, {"message": "No API key found in request"}),
        (400, {"error": {"type": "authentication_error", "message": "invalid x-api-key"}}),
        (400, "Authorization header is missing"),
        (422, {"detail": "Missing Authentication header"}),
        (500, {"error": {"message": "litellm.AuthenticationError: Authentication Error, wrong"}}),
        (401, {}),
        (403, {"error": "model not allowed"}),
    ],
)
def test_a_wrong_key_is_an_auth_error_whatever_the_status(status, said):
    error = status_error(URL, status, {}, json.dumps(said).encode())
    assert isinstance(error, AuthError)
    assert not error.retryable
    assert str(error).endswith(": set NB_BACKEND_API_KEY to a key that it accepts, or run %backend key")


@pytest.mark.parametrize(
    "said",
    [
        "max_tokens must be at least 1",
        "invalid token in the prompt",
        "The tool 'unauthorized_access' has no description",
        "Unknown parameter: 'api_key'",
        "no such model",
    ],
)
def test_another_400_is_not_an_auth_error(said):
    assert type(status_error(URL, 400, {}, json.dumps({"error": {"message": said}}).encode())) is ServerError


NO_CREDIT = [
    (429, {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}),
    (429, {"error": {"message": "You exceeded your current quota, please check your plan and billing details."}}),
    (403, {"error": {"message": "no", "type": "insufficient_quota", "code": None}}),
    (401, {"error": {"message": "You exceeded your current quota", "type": "insufficient_quota"}}),
    (400, {"error": {"message": "Billing hard limit has been reached", "code": "billing_hard_limit_reached"}}),
    (429, {"error": {"message": "Your account is not active", "code": "billing_not_active"}}),
    (402, {"error": {"message": "Insufficient Balance", "code": "invalid_request_error"}}),
    (402, {}),
    (402, {"error": {"message": "This request requires more credits, or fewer max_tokens.", "code": 402}}),
    (400, {"error": {"type": "invalid_request_error", "message": "Your credit balance is too low to access the API."}}),
    (403, {"error": "Your team has either used all available credits or reached its monthly spending limit."}),
    (429, {"error": {"code": "1113", "message": "Insufficient balance or no resource package. Please recharge."}}),
    (429, {"error": {"type": "exceeded_current_quota_error", "message": "Your account is suspended"}}),
    (429, {"error": {"message": "Your prepayment credits are depleted.", "status": "RESOURCE_EXHAUSTED"}}),
    (403, {"error": {"code": "insufficient_user_quota", "message": "no"}}),
    (400, {"error": {"message": "Budget has been exceeded! Current cost: 2", "type": "budget_exceeded"}}),
    (403, {"code": 30001, "message": "Sorry, your account balance is insufficient"}),
    (503, {"error": {"message": "insufficient_quota"}}),
]


@pytest.mark.parametrize(("status", "said"), NO_CREDIT)
def test_an_account_without_credit_is_pointed_to_and_not_asked_again(status, said):
    errors = [status_error(URL, status, {}, json.dumps(said).encode())]
    if isinstance(said.get("error"), dict):
        errors.append(event_error(RawResponse(type="error", error={"status": status, **said["error"]})))
    for error in errors:
        assert error.no_credit
        assert not error.retryable
        assert not isinstance(error, RateLimitError | AuthError)
        assert str(error).endswith(": check your plan and balance with the provider")


@pytest.mark.parametrize(
    "said",
    [
        {
            "message": "You exceeded your current quota, please check your plan and billing details. Retry in 9s.",
            "status": "RESOURCE_EXHAUSTED",
        },
        {"message": "Rate limit reached on tokens per min. Add a payment method to your account to increase it."},
        {
            "message": "Quota exceeded for quota metric 'requests' and limit 'per minute'",
            "status": "RESOURCE_EXHAUSTED",
        },
        {"message": "check your plan and billing details", "code": "rate_limit_exceeded"},
    ],
)
def test_a_limit_for_some_time_is_not_an_empty_account(said):
    error = status_error(URL, 429, {}, json.dumps({"error": said}).encode())
    assert isinstance(error, RateLimitError)
    assert error.retryable


@pytest.mark.parametrize(
    "body",
    [
        b"<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head>",
        b"Client sent an HTTP request to an HTTPS server.\n",
        b"<title>400 Bad Request</title>Reason: You're speaking plain HTTP to an SSL-enabled server port.",
        b"Bad Request\r\nThis combination of host and port requires TLS.\r\n",
    ],
)
def test_plain_http_on_a_port_for_tls_names_https(body):
    error = status_error(URL, 400, {}, body)
    assert isinstance(error, ConnectionFailed)
    assert str(error).endswith("write its url with https://")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"cf-mitigated": "challenge"}, b""),
        ({}, b"<!DOCTYPE html><html><head><title>Just a moment...</title>"),
        ({"Server": "cloudflare"}, b"<!DOCTYPE html><title>Access denied</title>"),
        ({}, b"<html><title>Attention Required! | Cloudflare</title>"),
        ({}, b"error code: 1020"),
    ],
)
@pytest.mark.parametrize("status", [403, 503])
def test_a_check_of_cloudflare_is_named_and_not_retried(status, headers, body):
    error = status_error(URL, status, CIMultiDict(headers), body)
    assert isinstance(error, ProtocolError)
    assert not error.retryable
    assert f"answered {status} with Cloudflare's check for browsers: use the url" in str(error)


def test_json_behind_cloudflare_is_the_server_s_own_error():
    error = status_error(URL, 503, CIMultiDict(Server="cloudflare"), b'{"error": "loading"}')
    assert "answered 503 (loading): ask again later" in str(error)


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (
            "<html><title>Just a moment...</title>",
            "sent Cloudflare's check for browsers: use the url",
        ),
        ("<!doctype html><title>Sign in - Corp</title>", "(it sent the login page 'Sign in - Corp'): log in"),
        ("<html><head><title>Squid proxy</title>", "(it sent the web page 'Squid proxy'): check the url"),
        ("<p>Hi", "(it sent '<p>Hi'): check the url"),
    ],
)
def test_a_web_page_in_place_of_an_answer_is_named(page, said):
    assert said in str(not_an_answer(URL, page.encode()))


@pytest.mark.parametrize("path", ["", "/v1"])
@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("Just a moment...", "Cloudflare's check for browsers: use the url of the server's API"),
        ("Log in to the network", "the login page 'Log in to the network'): log in with a browser"),
        ("Open WebUI", "the web page 'Open WebUI'): check the url"),
    ],
)
async def test_a_page_with_status_200_is_named(wire_server, path, title, said):
    head = f"<!doctype html>\n<html>\n<head>\n{'<meta charset=utf-8>' * 60}\n<title>{title}</title></head><body>Hi"
    wire_server.answer(reply("200 OK", head.encode(), content_type="text/html"))
    with pytest.raises(ProtocolError) as caught:
        await Chat("m", url=wire_server.url + path).ask("Hi?")
    assert said in str(caught.value)
    assert len(wire_server.requests) == 1


def test_a_404_names_the_path_without_the_query_and_without_a_key():
    error = status_error("http://server/k/KEY123/v1?api-key=KEY123", 404, {}, b"", ["KEY123"])
    assert str(error) == "http://server answered 404 for /k/***/v1: check the url and the model"


@pytest.mark.parametrize("kind", BackendError.__subclasses__())
def test_an_error_is_shown_as_one_line(kind):
    error = kind("two\n lines", partial="text", retry_after=1)
    assert error._render_traceback_() == [f"{kind.__name__}: two lines"]
    assert (error.partial, error.retry_after) == ("text", 1)


def test_six_kinds_one_category_each():
    categories = {kind.category for kind in BackendError.__subclasses__()}
    assert categories == {"protocol", "connection", "timeout", "backend", "auth", "rate_limit"}
