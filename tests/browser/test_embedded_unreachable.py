"""No page in a browser can talk to the embedded backend, not even one that knows its port and its token."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import chromium
import pytest
from aiohttp import web
from playwright.sync_api import Page, sync_playwright
from serving import TOKEN, serving_app

from nb_backend import background

BODY = {"model": "any", "messages": [{"role": "user", "content": "Say hi"}], "api_key": TOKEN}
REBOUND = "rebound.example"  # a host name that the browser resolves to this machine

# Every way in which a page can send a request; returns what the page could read of each response.
TRY = """async ([server, token, body]) => {
  const url = server + "/backend-api/v2/conversation", version = server + "/backend-api/v2/version"
  const keys = { "Authorization": `Bearer ${token}`, "x-api-key": token }
  const said = {}
  const ask = async (name, url, options) => {
    try {
      const response = await fetch(url, options)
      said[name] = [response.status, await response.text()]
    } catch { said[name] = null }
  }
  for (const credentials of ["omit", "include"]) {
    await ask(`post ${credentials}`, url, { method: "POST", credentials, headers: keys, body })
    await ask(`post json ${credentials}`, url,
      { method: "POST", credentials, headers: { "Content-Type": "application/json" }, body })
    await ask(`get ${credentials}`, version, { credentials, headers: keys })
    await ask(`get plain ${credentials}`, version, { credentials })
  }
  for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
    await ask(`no-cors ${type}`, url, { method: "POST", mode: "no-cors", headers: { "Content-Type": type }, body })
  await ask("no-cors get", version, { mode: "no-cors" })
  await ask("no referrer", url, { method: "POST", mode: "no-cors", referrerPolicy: "no-referrer", body })
  navigator.sendBeacon(url, body)
  const happens = (make, ...events) => new Promise((done) => {
    const made = make()
    for (const event of events) made.addEventListener(event, () => done(event))
  })
  const element = (tag, attribute, address) => () => {
    const made = document.createElement(tag)
    made[attribute] = address
    return document.body.appendChild(made)
  }
  for (const address of [version, url]) {
    said[`img ${address}`] = await happens(element("img", "src", address), "load", "error")
    said[`script ${address}`] = await happens(element("script", "src", address), "load", "error")
    const source = () => new EventSource(address, { withCredentials: true })
    said[`source ${address}`] = await happens(source, "open", "error")
    said[`socket ${address}`] = await happens(() => new WebSocket(address.replace("http", "ws")), "open", "error")
  }
  const frame = element("iframe", "name", "answer")()
  const form = element("form", "action", url)()
  Object.assign(form, { method: "POST", enctype: "text/plain", target: "answer" })
  const field = form.appendChild(document.createElement("input"))
  Object.assign(field, { name: body.slice(0, -1) + ', "ignored": "', value: '"}' })
  await new Promise((done) => { frame.onload = done; form.submit() })
  try { said.form = [200, frame.contentDocument.body.innerText] } catch { said.form = null }
  return said
}"""


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """The address of a page of another origin."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>elsewhere</title>", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    with serving_app(app) as url:
        yield url.removeprefix("http://")


@pytest.fixture(scope="module")
def page(browser_path: str) -> Iterator[Page]:
    """A page in a browser that resolves a foreign host name to this machine, as in DNS rebinding."""
    flags = [*chromium.FLAGS, f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=flags)
        yield browser.new_page()
        browser.close()


def attempts(page: Page, server: str) -> dict[str, Any]:
    said: dict[str, Any] = page.evaluate(TRY, [server, TOKEN, json.dumps(BODY)])
    assert len(said) >= 22
    return said


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", REBOUND])
def test_a_page_of_another_origin_reads_nothing_and_reaches_no_engine(engine, server, elsewhere, page, host):
    page.goto(f"http://{host}:{elsewhere.rsplit(':')[1]}/")
    for name, said in attempts(page, server.url).items():
        # An opaque response has no status and no text: the page learns only that there is a server.
        assert said in (None, "error", [0, ""]), name
    assert engine.history == []


def test_a_page_without_an_origin_reads_nothing_either(engine, server, elsewhere, page):
    page.goto(f"http://{elsewhere}/")
    page.set_content('<iframe sandbox="allow-scripts allow-forms" srcdoc="<!doctype html>"></iframe>')
    said = page.frames[-1].evaluate(TRY, [server.url, TOKEN, json.dumps(BODY)])
    assert set(map(str, said.values())) <= {"None", "error", "[0, '']"}
    assert engine.history == []


def test_a_page_whose_name_is_rebound_to_the_backend_gets_only_a_refusal(engine, server, page):
    own = f"http://{REBOUND}:{urlsplit(server.url).port}"
    answer = page.goto(f"{own}/backend-api/v2/version")
    assert answer is not None
    assert answer.status == 403
    for name, said in attempts(page, own).items():
        if isinstance(said, list) and said != [0, ""]:
            assert "answers only as 127.0.0.1 or localhost" in said[1], name
        else:
            assert said in (None, "error", [0, ""]), name
    assert engine.history == []


def test_a_program_that_is_not_a_page_gets_an_answer(engine, server):
    async def ask() -> int:
        url = f"{server.url}/backend-api/v2/conversation"
        async with (
            asyncio.timeout(30),
            aiohttp.ClientSession() as session,
            session.post(url, data=json.dumps(BODY)) as response,
        ):
            return response.status

    assert background.run(ask()) == 200
    assert len(engine.history) == 1
