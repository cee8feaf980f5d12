"""Secrets in texts: which names mean one, what is masked, and what stays readable."""

from __future__ import annotations

import pytest
from cpu_time import cpu_time
from hypothesis import given
from hypothesis import strategies as st

from nb_backend.redaction import (
    is_secret,
    is_secret_name,
    mask,
    mask_json,
    redact,
    secrets_in,
    truncate_redacted,
    without_home,
)

SECRET = "Zq8vT2xW9k"
LONG = 300_000  # characters
pieces = st.sampled_from(
    [
        *"'\"\\{}()[],:;=?&@ \n#-*",
        "token",
        "api_key",
        "password",
        "Bearer ",
        "://",
        '"""',
        "sk-",
        "***",
        SECRET,
        "f",
        "b",
    ]
)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "OPENAI_API_KEY",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_ACCESS_KEY_ID",
            "HF_TOKEN",
            "PGPASSWORD",
            "DATABASE_PASSWORD",
        ),
        *("apiKey", "accessToken", "sessionKey", "X-Api-Key", "Authorization", "Cookie", "key", "ssh_key", "MYSQL_PWD"),
        *("DB_PASS", "GH_PAT", "client_secret", "password2", "TOKEN_2", "proof_token", "GOOGLE_CREDENTIALS", "auth"),
    ],
)
def test_names_that_mean_a_secret(name):
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("max_tokens", "tokens", "tokenizer", "token_count", "eos_token", "keyboard", "monkey", "key_column", "keys"),
        *("sort_key", "primary_key", "sortKey", "author", "authors", "secretary", "PWD", "OLDPWD", "low_pass", "PATH"),
        *("auth_url", "SSH_AUTH_SOCK", "hotkey", "keyword", "compass", "max_token", ""),
    ],
)
def test_names_that_do_not(name):
    assert not is_secret_name(name)


def test_the_name_key_means_a_secret_only_if_the_value_looks_like_one():
    assert is_secret("key", "a1b2c3d4e5f6a7b8c9")
    assert not is_secret("key", "product_name_in_full")
    assert redact('sorted(x, key="product_name")') == 'sorted(x, key="product_name")'


@pytest.mark.parametrize(
    "secret",
    [
        *(
            "sk-proj-Abcd_1234-efgh",
            "sk_live_abcdefgh12",
            "ghp_" + "a1" * 18,
            "github_pat_" + "a1" * 18,
            "hf_" + "a1" * 17,
        ),
        *("AKIAIOSFODNN7EXAMPLE", "xoxb-12345678-abcdef", "xoxp-12345678-abcdef", "AIza" + "a1_-" * 9),
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-_def",
    ],
)
def test_keys_of_well_known_services_are_recognized(secret):
    assert redact(f"(it is {secret}, so)") == "(it is ***, so)"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Bearer abcd.1234", "Bearer ***"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic ***"),
        ("postgres://u:p@ss@host/db", "postgres://u:***@host/db"),
        ("https://h/?a=1&api_key=abc&b=2", "https://h/?a=1&api_key=***&b=2"),
        ("https://h/?X-Amz-Signature=abc", "https://h/?X-Amz-Signature=***"),
        ("-----BEGIN RSA PRIVATE KEY-----\nab\ncd\n-----END RSA PRIVATE KEY-----\nx", "***\n\n\n\nx"),
        ('api_key = "hunter22"', 'api_key = "***"'),
        ("connect(user='me', password='ab')", "connect(user='me', password='***')"),
        ('{"token": "abc", "x": "y"}', '{"token": "***", "x": "y"}'),
        ('"{\\"token\\": \\"abc\\", \\"x\\": 1}"', '"{\\"token\\": \\"***\\", \\"x\\": 1}"'),
        ('body = \'{"token": "abc"}\'', 'body = \'{"token": "***"}\''),
        ('headers={"Authorization": "Bearer ab"}', 'headers={"Authorization": "Bearer ***"}'),
        ("[(b'authorization', b'x')]", "[(b'authorization', b'***')]"),
        ('os.environ["HF_TOKEN"] = "abc"', 'os.environ["HF_TOKEN"] = "***"'),
        ('os.environ.setdefault("HF_TOKEN", "abc")', 'os.environ.setdefault("HF_TOKEN", "***")'),
        ('api_key: str = "abc"', 'api_key: str = "***"'),
        ('token = (\n    "abc"\n    "def"\n)', 'token = (\n    "***"\n    "***"\n)'),
        ('api_keys = ["a", "b"]; x = "c"', 'api_keys = ["***", "***"]; x = "c"'),
        ('token=b"x", z="q"', 'token=b"***", z="q"'),
        ('password = """a\nb\n""" + x', 'password = """***\n\n""" + x'),
        ("password='cut off …", "password='***"),
        ("can't use token='abc'", "can't use token='***'"),
        ("%env HF_TOKEN=abc def\n%env A=b", "%env HF_TOKEN=***\n%env A=b"),
        ("!export HF_TOKEN=abc", "!export HF_TOKEN=***"),
        ('"host=x password=hunter2 dbname=y"', '"host=x password=*** dbname=y"'),
        ('"Server=x;Pwd=abc;Uid=y"', '"Server=x;Pwd=***;Uid=y"'),
        ('curl -H "X-Api-Key: abc"', 'curl -H "X-Api-Key: ***"'),
        ('f"Bearer {token} {x}abc"; password = f"{a}bc"', 'f"Bearer {token} {x}abc"; password = f"{a}***"'),
    ],
)
def test_a_value_next_to_a_secret_name_or_in_a_url_is_masked(text, shown):
    assert redact(text) == shown


@pytest.mark.parametrize(
    "code",
    [
        'print("token:", token)',
        'input("Token: ")',
        'url = "https://h?token=" + token + "&q=1"',
        'f"postgres://{user}:{password}@{host}"',
        'headers={"Authorization": f"Bearer {token}"}',
        "f(token=token, password=get(), key=os.environ['HF_TOKEN'])",
        'df[["token", "count"]]',
        "def f(cookie: str, token: str | None = None): ...",
        'client = Client(api_key="")',
        'tokenizer = "gpt2"; sort_key = "name"; max_tokens = 5',
        "import sk-learn; basic understanding; bearer authentication; task-12345678901",
    ],
)
def test_code_without_a_secret_stays(code):
    assert redact(code) == code


def test_known_secrets_are_masked_in_every_spelling():
    secret = "it's a \"ü/\n\\secret"
    import json
    from urllib.parse import quote

    in_json = json.dumps(secret)
    for text in (secret, repr(secret), in_json, json.dumps(in_json), in_json.replace("/", "\\/"), quote(secret)):
        assert "secret" not in redact(f"<{text}>", [secret])
    assert redact("abcdefghij abcdefgh", ["abcdefgh", "abcdefghij"]) == "*** ***"
    assert redact("none EMPTY", ["none", "EMPTY", ""]) == "none EMPTY"
    assert redact("one\ntwo\nthree", ["one\ntwo\nthr"]) == "***\n\nee"


@given(st.lists(pieces, max_size=40).map("".join))
def test_redacting_twice_changes_nothing_and_the_number_of_lines_stays(text):
    shown = redact(text, [SECRET])
    assert SECRET not in shown
    assert redact(shown, [SECRET]) == shown
    assert shown.count("\n") == text.count("\n")


@pytest.mark.parametrize(
    "piece",
    [
        *(
            'token="',
            "token='",
            'token="""',
            'token=\\"',
            'token=",',
            'token=["a",',
            "token: a",
            "token :a|",
            "token",
            "a=",
        ),
        *("eyJ", "eyJ-", "sk-", "://", "://a:", "a:@", "?token=", "&a=", "bearer ", "basic a", "password=", "x-a-key:"),
        *("-----BEGIN PRIVATE KEY-----", "%env ", " ", "\n", "\\", "{", "token=\n\n", "token " + " " * 999),
    ],
)
def test_a_long_text_takes_linear_time_and_keeps_its_lines(piece):
    for start in ("", "token='"):
        text = start + piece * (LONG // len(piece))
        with cpu_time(4):  # a text of 1 MB took minutes where a pattern was quadratic; these take 0.5 s at most
            assert redact(text).count("\n") == text.count("\n")


def test_mask_replaces_keys_but_not_short_ones():
    assert mask(f"a {SECRET} and none", [SECRET, "none"]) == "a *** and none"


def test_mask_json_replaces_keys_and_the_values_of_secret_names():
    data = {"text": f"<{SECRET}>", "api_key": "x", "max_tokens": 5, "list": [SECRET, None, {"token": 1}]}
    masked = {"text": "<***>", "api_key": "***", "max_tokens": 5, "list": ["***", None, {"token": "***"}]}
    assert mask_json(data, [SECRET]) == masked


def test_secrets_in_yields_the_values_of_secret_names():
    assert [*secrets_in({"HF_TOKEN": " abc ", "n": "x", "token": 7, 7: "x", "key": "column"}, {"pwd_pat": "p"})] == [
        "abc",
        "p",
    ]


def test_a_cut_leaves_no_part_of_a_secret():
    for before in range(80, 120):
        text = "x" * before + SECRET + "x" * 3000
        shown = truncate_redacted(text, 200, lambda text: redact(text, [SECRET]))
        assert len(shown) < 300
        assert SECRET[:3] not in shown
        assert "characters left out]" in shown
    assert truncate_redacted("short", 200, str) == "short"


def test_the_home_directory_is_a_tilde(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("USERPROFILE", "/home/me")
    paths = "/home/me/a.py, '/home/me', file:///home/me/b, /home/melissa/c, /mnt/home/me/d"
    assert without_home(paths) == "~/a.py, '~', file://~/b, /home/melissa/c, /mnt/home/me/d"
