"""Where the url, the key and the model come from, and that the key is never shown."""

from __future__ import annotations

import copy
import pickle

import pytest

from nb_backend import settings
from nb_backend.settings import Secret


@pytest.mark.parametrize(
    ("find", "field", "names"),
    [
        (settings.url, "url", ["NB_BACKEND_URL"]),
        (settings.api_key, "api_key", ["NB_BACKEND_API_KEY", "G4F_API_KEY"]),
        (settings.model, "model", ["NB_BACKEND_MODEL"]),
    ],
)
def test_argument_wins_over_setting_wins_over_environment(monkeypatch, find, field, names):
    assert not find()
    for number, name in enumerate(reversed(names)):
        monkeypatch.setenv(name, f"http://environment-{number}")
        assert find() == f"http://environment-{number}"
    setattr(settings.current, field, "http://set")
    assert find() == "http://set"
    assert find("http://argument") == "http://argument"


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://host:8080/", "http://host:8080"),
        (" https://host/v1/ ", "https://host/v1"),
        ("https://host/v1/chat/completions", "https://host/v1"),
        ("http://host/backend-api/v2/", "http://host"),
        ("http://host/g4f/backend-api/v2/conversation", "http://host/g4f"),
        ("http://[::1]:80", "http://[::1]:80"),
        ("http://host/@me", "http://host/@me"),
        ("https://host/v1/models/", "https://host/v1"),
        ("https://host/models", "https://host/models"),
        ("https://host/inference/chat/completions/", "https://host/inference/chat/completions"),
        ("https://host/openai/deployments/d?api-version=1", "https://host/openai/deployments/d?api-version=1"),
        ("https://host/v1/chat/completions?api-version=1", "https://host/v1?api-version=1"),
        ("", None),
    ],
)
def test_a_url_is_reduced_to_the_base_of_the_server(given, url):
    assert settings.url(given) == url


@pytest.mark.parametrize(
    "given",
    [
        "host:8080",
        "localhost",
        "ftp://host",
        "http://",
        "http://host:99999",
        "http://host:x",
        "http://[::1",
        "http://a b",
        "http://host?key=1",
        "http://host/#x",
        "file:///etc/passwd",
        " ",
    ],
)
def test_a_text_that_is_not_a_url_is_refused(given):
    with pytest.raises(ValueError, match="is not a server's url: write it like http://localhost:8080"):
        settings.url(given)


@pytest.mark.parametrize("given", ["http://me:hidden@host", "htp://me:hidden@host", "//hidden@host"])
def test_a_url_with_a_password_is_refused_and_not_shown(given):
    with pytest.raises(ValueError, match="set NB_BACKEND_API_KEY, or run") as refusal:
        settings.url(given)
    assert "hidden" not in str(refusal.value)


@pytest.mark.parametrize(
    "query", ["key=hidden", "api-key=hidden", "a=b&sig=hidden", "code=hidden", "x=sk-hidden-0123456"]
)
def test_a_url_with_a_key_is_refused_and_not_shown(query):
    with pytest.raises(ValueError, match="a url with a key in it is refused: set NB_BACKEND_API_KEY") as refusal:
        settings.url(f"https://host/openai?{query}")
    assert "hidden" not in str(refusal.value)


def test_a_key_is_trimmed_and_checked():
    assert settings.api_key(" key\n") == "key"
    assert settings.api_key(" ") is None
    with pytest.raises(ValueError, match="the key contains a line end") as refusal:
        settings.api_key("hidden\nkey")
    assert "hidden" not in str(refusal.value)


def test_a_secret_is_shown_nowhere():
    secret = Secret("hidden")
    assert "hidden" not in f"{secret!r} {secret} {pickle.dumps(secret)!r}"
    assert pickle.loads(pickle.dumps(secret)).value is None
    assert copy.deepcopy(secret).value == "hidden"
    assert "hidden" not in repr(settings.Settings(api_key="hidden"))
