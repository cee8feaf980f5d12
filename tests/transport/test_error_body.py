"""What a server says about an error becomes a sentence, whatever the shape of the body."""

from __future__ import annotations

import html
import json
import re
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nb_backend.transport.error_body import ErrorBody, body_value, one_line, page_title, sentence


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "a b", "type": "t", "code": "c"}}, "a b"),
        ([{"error": {"code": 400, "message": "The key is wrong.", "status": "X"}}], "The key is wrong."),
        ({"error": "a b"}, "a b"),
        ({"error": "Not Found", "message": "no such path", "status": 404}, "no such path"),
        ({"error": "invalid_grant", "error_description": "The token has expired"}, "The token has expired"),
        ({"code": "Client specified an invalid argument", "error": "The prompt is bad."}, "The prompt is bad."),
        ({"detail": "Not Found"}, "Not Found"),
        ({"detail": {"error": {"message": "deep"}}}, "deep"),
        ({"detail": {"message": {"detail": "deeper"}}}, "deeper"),
        ({"message": {"message": "nested"}}, "nested"),
        (
            {"detail": [{"type": "x", "loc": ["body", "top_p"], "msg": "Input should be less than 1", "input": 5}]},
            "body.top_p: Input should be less than 1",
        ),
        (
            {"detail": [{"loc": ["body", "messages", 0, "role"], "msg": "Field required"}, {"loc": [], "msg": "b"}]},
            "body.messages.0.role: Field required; b",
        ),
        ({"detail": [{"loc": ["body", "config"], "message": "Field required"}]}, "body.config: Field required"),
        ({"errors": [{"message": "first"}, {"message": "second"}, {"message": "first"}]}, "first; second"),
        ({"errors": ["one", "two"]}, "one; two"),
        ({"success": False, "errors": [{"code": 7003, "message": "No route"}], "messages": []}, "No route"),
        ({"errors": {"n": ["must be 1."], "top_p": ["must be positive"]}}, "n: must be 1.; top_p: must be positive"),
        ({"temperature": ["Must be less than 2."]}, "temperature: Must be less than 2."),
        ({"type": "about:blank", "title": "Bad Request", "detail": "n is 0", "status": 400}, "Bad Request: n is 0"),
        ({"title": "Too large", "status": 413}, "Too large"),
        ({"error": {"message": '{"error": {"message": "inside", "code": 1}}'}}, "inside"),
        ({"error": {"message": '[{"error": {"message": "inside a list"}}]'}}, "inside a list"),
        ({"error": {"message": 'XException - {"error": {"message": "No such model"}}'}}, "XException: No such model"),
        (
            {"error": {"message": "Error code: 400 - {'error': {'message': \"it's bad\", 'param': None}}"}},
            "Error code: 400: it's bad",
        ),
        (
            {"error": {"message": "Provider returned error", "metadata": {"raw": '{"error":{"message":"slow down"}}'}}},
            "Provider returned error: slow down",
        ),
        ({"error": {"message": "Provider error", "metadata": {"raw": "plain words"}}}, "Provider error: plain words"),
        (
            {"error": {"message": "See 'failed_generation'.", "failed_generation": '{"name": "a", "arguments": {}}'}},
            """See 'failed_generation': {"name": "a", "arguments": {}}""",
        ),
        ({"error": {"message": "No tool was called", "failed_generation": ""}}, "No tool was called"),
        ({"base_resp": {"status_code": 1004, "status_msg": "login fail"}}, "login fail"),
        ({"fault": {"faultstring": "Invalid ApiKey", "detail": {"errorcode": "x"}}}, "Invalid ApiKey"),
        ({"__type": "ValidationException", "Message": "Input is too long"}, "Input is too long"),
        ({"error": {"message": "<html><head><title>502 Bad Gateway</title></head></html>"}}, "502 Bad Gateway"),
        ({"error": {"message": "{name} is not a placeholder"}}, "{name} is not a placeholder"),
        ({"error": {"message": "{'type': 'x'} is not a valid schema"}}, "{'type': 'x'} is not a valid schema"),
        ({"error": "Use [{'type': 'text'}] as the content"}, "Use [{'type': 'text'}] as the content"),
        ({"a": 1}, "a: 1"),
        ({"error": True}, ""),
        ([], ""),
        ({}, ""),
        (None, ""),
        (17, "17"),
    ],
)
def test_a_body_is_a_sentence(body, said):
    assert sentence(body) == said
    assert ErrorBody.of(body_value(json.dumps(body).encode())).message == said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"plain words", "plain words"),
        (b'\xef\xbb\xbf{"message": "behind a byte order mark"}', "behind a byte order mark"),
        (b'data: {"error": {"message": "as an event"}}\n\ndata: [DONE]\n\n', "as an event"),
        (b'event: error\ndata: {"message": "as a named event"}\n\n', "as a named event"),
        (b"<!DOCTYPE html>\n<html><head><title>\n 503 Service\n &amp; more</title>", "503 Service & more"),
        (b"<html><body><h1>Not <b>here</b></h1>", "Not here"),
        (b'<?xml version="1.0"?><Error><Code>X</Code><Message>Access Denied</Message></Error>', "Access Denied"),
        (b"<p>No title", ""),
        (b"", ""),
    ],
)
def test_a_body_that_is_not_json(body, said):
    assert ErrorBody.of(body_value(body)).message == said


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ({"error": {"retry_after": "1 minute 30 seconds"}}, 90),
        ({"error": {"retry_after": "1" * 60 + "!"}}, None),
        ({"error": {"retry_after": "1 " * 60 + "!"}}, None),
        ({"error": {"retry_after": 7}}, 7),
        ({"error": {"retry_after": "1.5"}}, 1.5),
        ({"retry_after_ms": 250}, 0.25),
        ({"error": {"metadata": {"headers": {"Retry-After": "9"}}}}, 9),
        ({"error": {"details": [{"@type": "x"}, {"@type": "RetryInfo", "retryDelay": "34.5s"}]}}, 34.5),
        ("Please try again in 20ms.", 0.02),
        ("Rate limit reached. Please try again in 6m0s. Visit us", 360),
        ("Please retry in 34.07s", 34.07),
        ("retry after 2 minutes", 120),
        ("Try again in 1h2m3s", 3723),
        ({"error": {"retry_after": None, "message": "try again later"}}, None),
        ({"error": {"retry_after": "soon"}}, None),
        ({"error": {"retry_after": True}}, None),
        ("try again in 3", None),
    ],
)
def test_the_time_to_wait(value, seconds):
    assert ErrorBody.of(value).wait == (None if seconds is None else pytest.approx(seconds))


KEYS = ["error", "message", "detail", "loc", "msg", "code", "x"]
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=30,
)


@given(_json)
def test_any_value_has_a_text_and_never_raises(value):
    said = ErrorBody.of(value)
    assert isinstance(said.message, str)
    assert said.status in (0, *range(400, 600))


@given(st.binary(max_size=300))
def test_any_body_is_read(body):
    assert isinstance(ErrorBody.of(body_value(body)).message, str)


@pytest.mark.parametrize(
    "piece", ["{", "[{", '{"', "<title>", "<h1>", "!", " b'", '{"error":"{', "retry in 1 ", "a: {'b': [", "<", "\\\\"]
)
def test_a_hostile_body_takes_no_time(piece):
    body = piece * (65536 // len(piece))
    started = time.process_time()
    for value in (body, {"error": {"message": body}}, [{"error": body}] * 10):
        ErrorBody.of(value)
    page_title(body)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("piece", ["a", "A", "\\", "\\a", "%61", "&#x61;", "&#", "u0061"])
def test_a_text_that_is_nearly_a_key_takes_no_time(piece):
    started = time.process_time()
    one_line(piece * (10_000 // len(piece)), ["a" * 40 + "1"])
    assert time.process_time() - started < 5


def test_errors_within_errors_are_read_once():
    value: dict = {"error": ""}
    for _ in range(12):
        value = {"error": value, "detail": [value]}
    started = time.process_time()
    assert ErrorBody.of(value).message == ""
    assert time.process_time() - started < 5


KEY = 'sk-Ab/c+d"é\\x&9=1'


@pytest.mark.parametrize(
    "spelled",
    [
        KEY,
        KEY.upper(),
        repr(KEY)[1:-1],
        json.dumps(KEY)[1:-1],
        json.dumps(KEY).replace("/", "\\/")[1:-1],
        json.dumps(json.dumps(KEY)),
        json.dumps(json.dumps(json.dumps(KEY))),
        "".join(f"\\u{ord(char):04x}" for char in KEY),
        quote(KEY, safe=""),
        quote(KEY, safe="").lower(),
        html.escape(KEY),
        "".join(f"&#{ord(char)};" for char in KEY),
        "".join(f"&#x{ord(char):X};" for char in KEY),
    ],
)
def test_a_key_is_masked_in_any_spelling(spelled):
    line = one_line(f"no such key: {spelled}.", [KEY])
    assert re.fullmatch(r"""no such key: [\\"]*\*\*\*[\\"]*\.""", line)
