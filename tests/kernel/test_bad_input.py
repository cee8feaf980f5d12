"""Bad input: an error of one line that says what to do, and that stops "Run all"."""

from __future__ import annotations

import socket

import pytest
from aiohttp import web
from driver import one_line
from serving import serving_app


@pytest.fixture(scope="module")
def html_server():
    async def hello(_):
        return web.Response(text="<html>Welcome</html>", content_type="text/html")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", hello)
    with serving_app(app) as url:
        yield url


@pytest.fixture
def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("%%backend --nonsense\nhi", ["--nonsense", "%%backend?"]),
        ("%%backend one one\nhi", ["one of them twice"]),
        ("%%backend 'unclosed\nhi", ["%%backend?"]),
        ("%%backend\n", ["nothing to ask", "below"]),
        ("%%backend m\n  \n\n", ["nothing to ask", "below"]),
        ("%%backend -i no_such_thing\nhi", ["no file no_such_thing"]),
        ("%%backend -i 7\nhi", ["no file 7"]),
        ("%%backend Why is the sky blue?", ["'Why is the sky blue?' cannot be the name of a model", "below %%backend"]),
        ("%%backend -s Answer briefly\nhi", ['-s "Answer briefly"']),
        ("%%time\n%%backend -s Answer briefly\nhi", ['-s "Answer briefly"']),
        ("%%backend {model}\nhi", ["%config BackendMagics.model = model"]),
        ("%%backend m \\\n-t 0.2\nhi", ["without the \\ at its end"]),
        ("%%backend --dry-run m,\nhi", ["write %%backend m "]),
        ("%backend fix please", ["no exception to fix"]),
    ],
)
def test_a_cell_that_cannot_be_asked(kernel, engine, cell, words):
    one_line(kernel.run(cell), *words)
    assert engine.history == []


def test_an_object_that_is_not_an_image(kernel, engine):
    kernel.run("thing = object()")
    one_line(kernel.run("%%backend -i thing\nhi"), "thing is of type object", "a figure")
    one_line(kernel.run("%%backend -i thing.shape\nhi"), "no file thing.shape", "AttributeError")
    one_line(kernel.run("%%backend -i things[0]\nhi"), "no file things[0]", "no variable things")
    assert engine.history == []


def test_a_key_that_cannot_be_sent(kernel, engine):
    kernel.run("import os; key = os.environ['NB_BACKEND_API_KEY']; os.environ['NB_BACKEND_API_KEY'] = 'a\\nb'")
    try:
        one_line(kernel.run("%%backend\nhi"), "the key contains a line end")
    finally:
        kernel.run("os.environ['NB_BACKEND_API_KEY'] = key")
    assert engine.history == []


def test_a_url_that_is_not_valid(kernel):
    kernel.run("import os; before = os.environ['NB_BACKEND_URL']; os.environ['NB_BACKEND_URL'] = 'localhost:8080'")
    try:
        one_line(kernel.run("%%backend\nhi"), "localhost:8080", "http://")
    finally:
        kernel.run("os.environ['NB_BACKEND_URL'] = before")


def test_servers_that_do_not_exist_or_are_no_backend(kernel, html_server, closed_port):
    kernel.run("import os; before = dict(os.environ)")
    kernel.run("from nb_backend import BackendApi; BackendApi.max_retries = 0")
    try:
        kernel.run(f"os.environ['NB_BACKEND_URL'] = 'http://127.0.0.1:{closed_port}'")
        one_line(kernel.run("%%backend\nhi"), "ConnectionFailed", f"127.0.0.1:{closed_port}", "start the server")
        kernel.run(f"os.environ['NB_BACKEND_URL'] = '{html_server}'")
        one_line(kernel.run("%%backend\nhi"), "ProtocolError", "<html>Welcome", "check the url")
        kernel.run(
            "os.environ['NB_BACKEND_URL'] = before['NB_BACKEND_URL']; os.environ['NB_BACKEND_API_KEY'] = 'wrong'"
        )
        one_line(kernel.run("%%backend\nhi"), "AuthError", "401", "NB_BACKEND_API_KEY")
    finally:
        kernel.run("os.environ.update(before)")


def test_the_line_that_failed_leaves_no_value(kernel, engine):
    engine.enqueue("fine")
    kernel.run("%%backend\nhi")
    kernel.run("%%backend --nonsense\nhi")
    assert kernel.run("str(_)").result == "'fine'"


@pytest.mark.parametrize(
    "line", ["m # my favourite model", "m;", "m\u200b # it's", "–t 0.2 m", "-s “Be brief” m", "\u00a0m"]
)
def test_comments_and_what_editors_make_of_a_line_are_understood(kernel, engine, line):
    assert kernel.run(f"%%backend {line}\nhi").error is None
    assert [body["model"] for body in engine.history] == ["m"]


def test_a_space_that_does_not_break_behind_the_magic(kernel, engine):
    assert kernel.run("%%backend\u00a0m\nhi").error is None
    assert [body["model"] for body in engine.history] == ["m"]
