"""Where a request goes: redirects, proxies, and nowhere else."""

from __future__ import annotations

import pytest
from wire_server import WireServer, post, status
from yarl import URL

from nb_backend.errors import ConnectionFailed
from nb_backend.transport import session as session_module
from nb_backend.transport.routing import proxy_for
from nb_backend.transport.session import StreamSession


@pytest.mark.parametrize("code", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
async def test_a_redirect_on_the_same_server_is_followed_with_the_body(wire_server, code):
    wire_server.answer(status(code, location="/there?x=1"))
    wire_server.answer(status("200 OK", b"Hi"))
    assert await post(wire_server, {"a": 1}) == (b"Hi", None)
    assert [(request.path, request.json) for request in wire_server.requests] == [
        ("/x", {"a": 1}),
        ("/there?x=1", {"a": 1}),
    ]


@pytest.mark.parametrize("location", ["http://127.0.0.1:{port}/x", "http://localhost:{port}/x", "//127.0.0.1:{port}"])
async def test_a_redirect_to_another_server_is_refused(wire_server, location):
    other = WireServer()
    other.answer(status("200 OK", b"Hi"))
    try:
        wire_server.answer(status("307 T", location=location.format(port=other.url.rpartition(":")[2])))
        _, error = await post(wire_server, {"api_key": "sk-123"})
        assert isinstance(error, ConnectionFailed)
        assert f"{wire_server.url} redirects to another server, http://" in str(error)
        assert other.requests == []
    finally:
        other.stop()


@pytest.mark.parametrize(
    "host", ["localhost.", "a.localhost", "127.0.0.1.", "127.9.9.9", "::1", "::ffff:127.0.0.1", "0.0.0.0"]
)
def test_no_name_of_this_machine_uses_the_proxy(monkeypatch, host):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert proxy_for(URL.build(scheme="http", host=host, port=80)) is None
    assert proxy_for(URL("http://elsewhere.invalid")) == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    "location", ["/x", "http://[", "http://u:pw@127.0.0.1:{port}/", "https://127.0.0.1:1/", "mailto:x@y"]
)
async def test_a_redirect_that_leads_nowhere_is_refused(wire_server, location):
    port = wire_server.url.rpartition(":")[2]
    wire_server.answer(status("308 Permanent", location=location.replace("{port}", port)))
    _, error = await post(wire_server)
    assert isinstance(error, ConnectionFailed)
    assert not error.retryable
    assert len(wire_server.requests) <= session_module.MAX_REDIRECTS


async def test_localhost_never_goes_through_a_proxy(wire_server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    wire_server.answer(status("200 OK", b"Hi"))
    assert await post(wire_server) == (b"Hi", None)


@pytest.mark.parametrize("scheme", ["http://", ""])
async def test_another_host_uses_the_proxy_unless_no_proxy_names_it(wire_server, monkeypatch, scheme):
    monkeypatch.setenv("http_proxy", scheme + wire_server.url.removeprefix("http://"))
    monkeypatch.setenv("no_proxy", "excepted.invalid")
    wire_server.answer(status("200 OK", b"Hi"))
    async with StreamSession() as session:
        async with session.post("http://server.invalid/x", json={}) as response:
            assert response.status == 200
        with pytest.raises(ConnectionFailed):
            async with session.post("http://excepted.invalid/x", json={}):
                pass
    assert [request.path for request in wire_server.requests] == ["http://server.invalid/x"]


# -- a proxy for all, and proxies that are not asked over HTTP


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("scheme", ["http://", ""])
async def test_a_proxy_for_all_is_used_unless_no_proxy_names_the_host(wire_server, monkeypatch, name, scheme):
    monkeypatch.setenv(name, scheme + wire_server.url.removeprefix("http://"))
    monkeypatch.setenv("no_proxy", "excepted.invalid")
    wire_server.answer(status("200 OK", b"Hi"))
    async with StreamSession() as session:
        async with session.post("http://server.invalid/x", json={}) as response:
            assert response.status == 200
        with pytest.raises(ConnectionFailed, match="Nobody answers"):
            async with session.post("http://excepted.invalid/x", json={}):
                pass
    assert [request.path for request in wire_server.requests] == ["http://server.invalid/x"]


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy"])
async def test_a_proxy_for_the_scheme_comes_before_the_one_for_all(wire_server, monkeypatch, name):
    monkeypatch.setenv(name, wire_server.url)
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    wire_server.answer(status("200 OK", b"Hi"))
    async with StreamSession() as session, session.post("http://server.invalid/x", json={}) as response:
        assert response.status == 200


async def test_a_proxy_for_all_opens_the_tunnel_of_https(wire_server, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", wire_server.url)
    wire_server.answer(b"HTTP/1.1 403 No\r\n\r\n")
    async with StreamSession() as session:
        with pytest.raises(ConnectionFailed, match="The proxy for https://server"):
            async with session.post("https://server.invalid/x", json={"api_key": "sk-123"}):
                pass
    assert wire_server.requests[-1].head.startswith("CONNECT server.invalid:443 HTTP/1.1")


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "SOCKS4", "socks4a", "socks"])
@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("HTTP_PROXY", "http://server.invalid/x"),
        ("http_proxy", "http://server.invalid/x"),
        ("HTTPS_PROXY", "https://server.invalid/x"),
        ("ALL_PROXY", "http://server.invalid/x"),
        ("all_proxy", "https://server.invalid/x"),
    ],
)
async def test_a_socks_proxy_is_named_and_nothing_is_sent_around_it(wire_server, monkeypatch, variable, url, scheme):
    address = wire_server.url.removeprefix("http://")
    monkeypatch.setenv(variable, f"{scheme}://user:pass-word@{address}")
    async with StreamSession() as session:
        with pytest.raises(ConnectionFailed) as caught:
            async with session.post(url, json={}):
                pass
    assert str(caught.value) == (
        f"{variable.upper()} names a SOCKS proxy, which is not supported, so nothing was sent: set {variable.upper()}"
        " to an http:// proxy, or NO_PROXY=server.invalid to connect without one"
    )
    assert not caught.value.retryable
    assert wire_server.requests == []


async def test_a_socks_proxy_is_not_asked_for_this_machine_or_what_no_proxy_names(wire_server, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    wire_server.answer(status("200 OK", b"Hi"))
    assert await post(wire_server) == (b"Hi", None)
    monkeypatch.setenv("NO_PROXY", "server.invalid")
    assert proxy_for(URL("http://server.invalid/x")) is None


@pytest.mark.parametrize("proxy", ["ftp://127.0.0.1:9", "quic://x", "http://[::1", "http://", "http://h:port"])
def test_a_proxy_that_cannot_be_asked_is_refused(monkeypatch, proxy):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(ConnectionFailed, match="nothing was sent: set HTTPS_PROXY to an http:// proxy"):
        proxy_for(URL("https://server.invalid"))


async def test_netrc_is_never_read(wire_server, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    wire_server.answer(status("200 OK", b"Hi"))
    await post(wire_server)
    assert wire_server.requests[0].header("Authorization") is None
