"""Hostile answers in a real cell and a real panel, streamed, saved, reopened and converted: nothing acts."""

from __future__ import annotations

import json
import re

import nbformat
import pytest
from hostile import HOSTILE
from hostile_page import STEP, WATCH, converted, hostile_sources, new_page, requests_of
from jupyter_page import Notebook
from playwright.sync_api import Page
from serving import Backend

from nb_backend.local.scripted import ScriptedEngine
from nb_backend.media.sniff import data_uri
from nb_backend.media.sound import wav

PANEL = "from nb_backend import ChatPanel\nChatPanel()"
STATE = """
import json, pathlib, ipywidgets
pathlib.Path("state.json").write_text(json.dumps(ipywidgets.Widget.get_manager_state()))
"""
ENDS = "</script><script>hit()</script> <!-- </style></textarea></title> ]]>"
ANSWER = "\n\n".join([ENDS, *HOSTILE[:12], *HOSTILE[150:170], "The last words."])
SOURCES = {"type": "sources", "sources": [one for text in HOSTILE[:12] for one in hostile_sources(text)]}
SOUND = {"type": "audio", "audio": data_uri(wav(bytes(4_800)), 'audio/wav" autoplay loop onplay="hit()')}
# elements in answers and transcripts that must not be there
FOREIGN = """() => [...document.querySelectorAll('.jp-RenderedMarkdown, .nbb-text')].flatMap(output => [
    ...output.querySelectorAll('script, iframe, form, style, object, embed, link, base, meta, ' +
    '[onload], [onerror], [onclick], [onfocus], [data-commandlinker-command], [name], img:not([src^="data:"])')])
    .map(element => element.outerHTML.slice(0, 200))"""
CELL_LINKS = """() => [...document.querySelectorAll('.jp-RenderedMarkdown a:not(.jp-InternalAnchorLink)')]
    .map(link => [link.rel, link.target])"""

# the attributes of each player; in a panel only their names, and not the address, which comes when it is in view
PLAYERS = """() => [...document.querySelectorAll('audio, video')].map(one => [...one.attributes]
    .map(({name, value}) => one.closest('.nbb-panel') ? name : `${name}=${value.slice(0, 22)}`)
    .filter(name => name !== 'src').sort().join(' '))"""
OF_A_CELL, OF_A_PANEL = "controls= src=data:audio/wav;base64,", "aria-label controls data-picture"


@pytest.fixture(scope="module")
def lab_env(server: Backend) -> dict[str, str]:
    return server.env


def pieces(text: str) -> list[str]:
    return [text[start : start + STEP] for start in range(0, len(text), STEP)]


def nothing_acted(page: Page, asked: list[str]) -> None:
    assert page.evaluate(FOREIGN) == []
    page.locator("audio[src^='data:']").wait_for(state="attached")
    players = page.evaluate(PLAYERS)
    assert (players.count(OF_A_CELL), {*players} - {OF_A_CELL, OF_A_PANEL}) == (1, set())
    assert page.evaluate("() => hits") == []
    assert asked == []


def opened(page: Page, address: str, own: str, *, alive: bool) -> None:
    """Open a notebook in a new page and look at it; a panel that is alive has folded its transcript."""
    with new_page(page, own) as (fresh, asked):
        fresh.goto(address)
        summary = fresh.locator("details[data-folded] > summary" if alive else "details > summary")
        summary = summary.filter(has_text="Transcript: 1 turn")
        summary.wait_for()
        if alive:
            summary.click()
        summary.locator("..").get_by_text("The last words.").last.wait_for()
        assert fresh.get_by_text("The last words.").count() >= 2
        nothing_acted(fresh, asked)


def test_nothing_acts_in_a_cell_and_a_panel(nb: Notebook, engine: ScriptedEngine) -> None:
    reasoning = [{"type": "reasoning", "token": piece} for piece in pieces(ANSWER)]
    for _ in range(2):
        engine.enqueue(*reasoning, *pieces(ANSWER), SOURCES, SOUND)
    nb.open("%load_ext nb_backend", "%%backend --once\nhi", PANEL, STATE)
    nb.page.evaluate(WATCH)
    with requests_of(nb.page, nb.lab.url) as asked:
        nb.run(0)
        nb.run(1)
        nb.output(1).get_by_text("The last words.").last.wait_for()
        nb.run(2)
        panel = nb.output(2).locator(".nbb-panel")
        box = panel.get_by_role("textbox", name="Message")
        box.fill(ENDS)
        box.press("Enter")
        panel.get_by_text(re.compile("on this machine")).wait_for()
        nb.output(2).get_by_text("Transcript: 1 turn").wait_for()
        nb.run(3)
        nothing_acted(nb.page, asked)
    links = panel.locator(".nbb-answer a")
    assert links.count() > 0
    assert {link.get_attribute("rel") for link in links.all()} == {"noopener noreferrer"}
    assert {tuple(link) for link in nb.page.evaluate(CELL_LINKS)} == {("noopener", "_blank")}  # set by JupyterLab
    state = (nb.lab.root / "state.json").read_text()
    assert "hit()" not in state
    saved = nb.save()
    assert nb.path is not None
    opened(nb.page, nb.lab.address(nb.path.name), nb.lab.url, alive=True)
    saved.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": json.loads(state)}
    saved.cells[0].source += "\n"  # an untrusted notebook, and no kernel has its panel
    nbformat.write(saved, nb.lab.root / "of-a-stranger.ipynb")
    opened(nb.page, nb.lab.address("of-a-stranger.ipynb"), nb.lab.url, alive=False)
    with converted(nb.page, nb.lab.root / "of-a-stranger.ipynb") as (page, asked):
        assert page.get_by_text("The last words.").count() >= 2
        nothing_acted(page, asked)
