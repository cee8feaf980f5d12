"""Images of an answer in a real JupyterLab: the server's own are shown, others are links that are not loaded."""

from __future__ import annotations

from collections.abc import Iterator

import nbformat
import pytest
from image_serving import FILES, PNG, ImageServer, serving_images, uri
from jupyter_page import PANEL, READY, Notebook

from nb_backend.local.scripted import ScriptedEngine

ASK = "%%backend\nDraw a dot"
LARGE = uri(FILES["large.png"])
SEEN = """count => {
    const images = [...document.querySelectorAll('.jp-OutputArea .jp-RenderedMarkdown img')];
    return images.length === count && images.every(image => image.complete && image.naturalWidth > 0);
}"""


@pytest.fixture(scope="module")
def server() -> Iterator[ImageServer]:
    with serving_images(ScriptedEngine()) as running:
        yield running


@pytest.fixture(scope="module")
def lab_env(server: ImageServer) -> dict[str, str]:
    return server.env


def test_own_images_are_shown_and_saved_and_others_are_links(
    nb: Notebook, server: ImageServer, engine: ScriptedEngine
) -> None:
    engine.enqueue(
        {"type": "content", "urls": ["/media/x.png"], "alt": "a dot"},
        f"[![linked](/media/second.png)](https://e.x/) and ![in the text]({uri(PNG)}) and ",
        f"![foreign]({server.stranger}/x.png)",
        0.5,
        f" and ![large]({LARGE})",
        {"type": "content", "urls": ["/media/drawn.svg"]},
    )
    nb.open("%load_ext nb_backend", ASK)
    nb.run(0)
    nb.run(1)
    for _ in range(2):
        nb.page.wait_for_function(SEEN, arg=4)
        output = nb.output(1)
        assert output.locator("a[href='https://e.x/'] img[alt=linked]").count() == 1
        assert output.get_by_text("image: foreign (127.0.0.1)").get_attribute("href") == f"{server.stranger}/x.png"
        assert "image (127.0.0.1)" in nb.out(1)  # the drawing
        saved = nb.save()
        nb.reload()
    markdown = saved.cells[1].outputs[0].data["text/markdown"]
    assert all(f"]({image})" in markdown for image in (uri(PNG), uri(FILES["second.png"]), LARGE))

    assert nb.path is not None
    saved.cells[0].source = "# from a stranger"
    nbformat.write(saved, nb.path.with_name("untrusted.ipynb"))
    nb.page.goto(nb.lab.address("untrusted.ipynb"))
    nb.page.wait_for_function(READY)
    assert nb.page.evaluate(f"() => {PANEL}.content.widgets[1].model.trusted") is False
    nb.page.wait_for_function(SEEN, arg=4)

    assert server.strange == []
    with nb.page.expect_popup() as popup, nb.page.context.expect_event("requestfailed"):  # that server does not respond
        nb.output(1).get_by_text("image: foreign").click()
    popup.value.close()
    assert server.strange  # the click has requested it


def test_an_image_is_shown_while_the_answer_streams(nb: Notebook, engine: ScriptedEngine) -> None:
    more = [step for _ in range(300) for step in (0.1, ".")]  # each repaint may show the image
    engine.enqueue({"type": "content", "urls": ["/media/large.png", "/media/x.png"]}, "Words", *more, ..., "never")
    nb.open("%load_ext nb_backend", ASK)
    nb.run(0)
    nb.run(1, wait=False)
    nb.output(1).get_by_text("Words").wait_for()
    nb.page.wait_for_function(SEEN, arg=1)  # the large one is a link until the end
    nb.interrupt()
    nb.done(1)
    nb.page.wait_for_function(SEEN, arg=2)
