"""Which certificates are trusted: those of the system or of SSL_CERT_FILE; all of them only with ``ssl=False``."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest
import trustme
from wire_server import CHUNKED, OK, UNTIL_CLOSE, WireServer, content, post, received, sse, status, stream

from nb_backend import BackendApi
from nb_backend.errors import ConnectionFailed

QUESTION = [{"role": "user", "content": "Hi?"}]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_server(authority: trustme.CA) -> Iterator[WireServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = WireServer(context)
    server.answer(stream(content("Hi")))
    yield server
    server.stop()


async def ask(server: WireServer, **options: object) -> tuple[str, Exception | None]:
    api = type("Api", (BackendApi,), {"url": server.url, "idle_timeout": 5, **options})
    events, error = await received(api.create_async_generator("m", QUESTION, api_key="sk-12345678"))
    return "".join(map(str, events)), error


async def test_an_untrusted_certificate_is_refused_and_nothing_is_sent(tls_server):
    said, error = await ask(tls_server)
    assert (said, type(error)) == ("", ConnectionFailed)
    assert str(error) == f"{tls_server.url} has no trusted certificate: check the url, or set SSL_CERT_FILE"
    assert tls_server.requests == []


async def test_a_certificate_that_the_environment_names_later_is_trusted(tls_server, authority, monkeypatch, tmp_path):
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    assert await ask(tls_server) == ("Hi", None)
    monkeypatch.delenv("SSL_CERT_FILE")
    assert isinstance((await ask(tls_server))[1], ConnectionFailed)


@pytest.mark.parametrize("head", [UNTIL_CLOSE, CHUNKED + b"4000\r\n", OK + b"Content-Length: 9999\r\n\r\n"])
@pytest.mark.parametrize("end", ["close", "reset"])
async def test_an_answer_ends_over_tls_as_it_does_without(tls_server, head, end):
    tls_server._answers.clear()
    tls_server.answer(head + sse(content("Hi")), end=end)
    said, error = await ask(tls_server, ssl=False)
    assert said == "Hi"
    assert error is None or (isinstance(error, ConnectionFailed) and error.partial == "Hi")
    assert error is not None or head == UNTIL_CLOSE


async def test_an_error_status_over_tls(tls_server):
    tls_server._answers.clear()
    tls_server.answer(b"HTTP/1.1 401 No\r\nConnection: close\r\n\r\nno")
    assert "answered 401 (no)" in str((await ask(tls_server, ssl=False))[1])


async def test_only_ssl_false_turns_verification_off(tls_server, authority):
    assert await ask(tls_server, ssl=False) == ("Hi", None)
    assert isinstance((await ask(tls_server, ssl=True))[1], ConnectionFailed)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    assert await ask(tls_server, ssl=context) == ("Hi", None)


async def test_a_redirect_from_https_to_http_is_refused(tls_server, wire_server):
    wire_server.answer(stream(content("Hi")))
    tls_server._answers.clear()
    tls_server.answer(status("307 T", location=wire_server.url))
    _, error = await ask(tls_server, ssl=False)
    assert f"{tls_server.url} redirects to another server, {wire_server.url}, which is not followed" in str(error)
    assert wire_server.requests == []


async def test_a_tunnel_through_the_proxy_that_the_environment_names(tls_server, wire_server, monkeypatch):
    monkeypatch.setenv("https_proxy", wire_server.url)
    wire_server.answer(b"HTTP/1.1 403 No\r\n\r\n")
    _, error = await post(wire_server)  # urls of this machine never use the proxy
    assert "403" in str(error)
    api = type("Api", (BackendApi,), {"url": "https://elsewhere.invalid"})
    _, error = await received(api.create_async_generator("m", QUESTION, api_key="sk-12345678"))
    assert "The proxy for https://elsewhere.invalid refused the connection" in str(error)
    assert wire_server.requests[-1].head.startswith("CONNECT elsewhere.invalid:443 HTTP/1.1")
    assert "sk-12345678" not in str(wire_server.requests[-1])
