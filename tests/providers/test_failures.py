"""Failures as ``BackendError``: kind, message, hint and seconds to wait."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from nb_backend.errors import AuthError, BackendError, RateLimitError, ServerError
from nb_backend.events import RawResponse
from nb_backend.providers.reader import event_error
from nb_backend.providers.retry import delay_before_retry
from nb_backend.transport.errors import status_error

URL = "http://server:80/some/path?with=parts"


@pytest.mark.parametrize(
    ("status", "kind", "retryable", "hint"),
    [
        (400, ServerError, False, "change the prompt or its options"),
        (401, AuthError, False, "set NB_BACKEND_API_KEY to a key that it accepts"),
        (403, AuthError, False, "set NB_BACKEND_API_KEY to a key that it accepts"),
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
    assert str(error) == f"http://server answered {status} (Words of the server): {hint}"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error": {"message": "a", "code": "context_length_exceeded"}}', "context_length_exceeded"),
        (b'{"error": {"message": "a", "code": null}, "code": 7}', "7"),
        (b'{"code": "x", "message": "a"}', "x"),
        (b'{"error": "a"}', ""),
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
        (b'{"detail": [{"loc": 1}]}', " ([{'loc': 1}])"),
        (b'{"error": {"message": {"detail": "a"}}}', " (a)"),
        (b"plain  words\n", " (plain words)"),
        (b"<!DOCTYPE html><p>No", ""),
        (b"", ""),
        (b"{}", ""),
        (b"\xff", " (\ufffd)"),
        (b"x" * 1000, f" ({'x' * 299}…)"),
        (b"[" * 10_000, f" ({'[' * 299}…)"),
        (b'{"error": ' + b"[" * 900 + b"]" * 900 + b"}", f" ({'[' * 299}…)"),
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
        ({"type": "message", "message": {"a": 1}}, ServerError, "{'a': 1}"),
        ({"type": "error", "error": 17}, ServerError, "17"),
        ({"type": "error", "error": None}, ServerError, "The server reported an error without a message: ask again"),
        ({"type": "error", "error": "E", "message": "my KEY123 is"}, ServerError, "my *** is"),
    ],
)
def test_an_event(event, kind, message):
    error = event_error(RawResponse(**event), ["KEY123"])
    assert type(error) is kind
    assert str(error).startswith(message)


@pytest.mark.parametrize("kind", BackendError.__subclasses__())
def test_an_error_is_shown_as_one_line(kind):
    error = kind("two\n lines", partial="text", retry_after=1)
    assert error._render_traceback_() == [f"{kind.__name__}: two lines"]
    assert (error.partial, error.retry_after) == ("text", 1)


def test_six_kinds_one_category_each():
    categories = {kind.category for kind in BackendError.__subclasses__()}
    assert categories == {"protocol", "connection", "timeout", "backend", "auth", "rate_limit"}
