"""Images of a panel in a real kernel: uploaded in chunks, shown by key, and refused."""

from __future__ import annotations

import io
import re

import pytest
from media_support import PNG
from panel_client import PanelPage, digest, text_of
from PIL import Image
from png import png_of_size
from test_panel_turns import open_page, page, said  # noqa: F401  a fixture

from nb_backend.media.sniff import data_uri
from nb_backend.media.sound import wav

MEGA = 2**20
SHOWN = "from IPython.display import Image, display\ndisplay(Image(bytes.fromhex({!r})))"


@pytest.fixture(autouse=True)
def original_size(kernel):
    kernel.run("from nb_backend import settings\nsettings.current.max_image_bytes = None")
    yield
    kernel.run("settings.current.max_image_bytes = 8 * 2**20")


def received(kernel, at=-1):
    """Return the hashes of the attachments of a question in the kernel."""
    code = (
        f"import hashlib\n[hashlib.sha256(one.data).hexdigest() for one in chats['main'].messages[{at} - 1]['media']]"
    )
    return eval(kernel.run(code).result)


def test_an_image_of_thirty_megabytes_arrives(page, engine, kernel):  # noqa: F811
    data = png_of_size(30 * MEGA + 17)
    ids = page.upload(data, "large.png")
    assert len(ids) == 31
    image = page.reply(ids[-1])["image"]
    assert (image["name"], image["type"], image["size"]) == ("large.png", "image/png", len(data))
    assert (image["width"], image["height"], image["note"]) == (2, 2, "")
    page.turn("see?", images=(image["id"],))
    assert received(kernel) == [digest(data)]
    shown = page.shown[0]["images"][0]
    assert shown["size"] == len(data)
    assert digest(page.picture(shown["key"])) == digest(data)
    assert page.hello().state["images"] == []


def test_eight_images_at_once(page, engine, kernel):  # noqa: F811
    files = [png_of_size(3 * MEGA // 2 + number, number) for number in range(8)]
    ends = [page.upload(data, "same.png")[-1] for data in files]
    images = [page.reply(end)["image"] for end in ends]
    assert len({image["name"] for image in images}) == 8
    assert {image["id"] for image in page.hello().state["images"]} == {image["id"] for image in images}
    page.turn("see?", images=tuple(image["id"] for image in images))
    assert received(kernel) == [digest(data) for data in files]


def test_a_large_image_is_scaled_down_with_a_note(page, engine, kernel):  # noqa: F811
    Image.new("L", (4000, 300)).save(file := io.BytesIO(), "PNG")
    image = page.reply(page.upload(file.getvalue(), "wide.png")[-1])["image"]
    assert (image["width"], image["height"]) == (2048, 154)
    assert image["note"] == "scaled from 4000×300 to 2048×154"
    assert image["thumbnail"].startswith("data:image/")


def test_a_refused_image_has_a_reason(page, engine, kernel):  # noqa: F811
    def upload(data, piece=0, pieces=1, size=None, name="a.png", upload="u"):
        fields = {"upload": upload, "name": name, "piece": piece, "pieces": pieces}
        return page.send("upload", data, size=len(data) if size is None else size, **fields)

    def error_of(id):
        return page.reply(id)["error"]

    assert "is not an image" in error_of(upload(b"just text, nothing more"))
    assert "64" in error_of(upload(b"x", size=65 * MEGA, pieces=65))
    assert "is empty" in error_of(upload(b"", size=0))
    assert "no longer known" in error_of(upload(b"x", piece=1, pieces=2, size=2))
    assert "wrong size" in error_of(upload(b"xx", pieces=1, size=3))
    page.reply(upload(b"xx", pieces=3, size=6, upload="gap"))
    assert "arrived twice" in error_of(upload(b"xx", pieces=3, size=6, upload="gap"))
    assert "is missing" in error_of(upload(b"xx", piece=2, pieces=3, size=6, upload="gap"))
    page.reply(upload(PNG[:9], pieces=2, size=len(PNG), upload="cut"))
    page.hello()
    assert "no longer known" in error_of(upload(PNG[9:], piece=1, pieces=2, size=len(PNG), upload="cut"))
    for number in range(32):
        assert page.reply(upload(PNG, upload=f"n{number}"))["ok"]
    assert "at most 32 images" in error_of(upload(PNG))
    page.ask("remove", image=page.hello().state["images"][0]["id"])
    assert page.reply(upload(PNG))["ok"]


def test_figures_of_cells_are_offered(page, engine, kernel):  # noqa: F811
    number = kernel.run(SHOWN.format(PNG.hex()), cell="f").reply["execution_count"]
    (figure,) = page.ask("figures")["figures"]
    assert (figure["cell"], figure["name"]) == (f"In [{number}]", f"cell_{number}.png")
    assert figure["thumbnail"].startswith("data:image/png")
    image = page.ask("attach", figure=figure["key"])["image"]
    page.turn("see?", images=(image["id"],))
    assert received(kernel) == [digest(PNG)]
    assert "no longer" in page.refused("send", text="again", images=[image["id"]])
    assert page.refused("attach", figure="none") == "no cell shows this image any more"


def test_an_edit_keeps_the_attachments(page, engine, kernel):  # noqa: F811
    old = page.reply(page.upload(PNG, "old.png")[-1])["image"]
    page.turn("one", images=(old["id"],))
    new = page.reply(page.upload(png_of_size(500), "new.png")[-1])["image"]
    page.ask("edit", item=page.order[0], text="two", images=[page.shown[0]["images"][0]["key"], new["id"]])
    page.until(lambda: text_of(page.shown[0]) == "<p>two</p>" and page.last())
    assert received(kernel) == [digest(PNG), digest(png_of_size(500))]
    assert [one["name"] for one in page.shown[0]["images"]] == ["old.png", "new.png"]
    page.ask("retry", item=page.order[1])
    page.until(lambda: len(engine.history) == 3 and page.last())
    assert received(kernel) == [digest(PNG), digest(png_of_size(500))]


def test_images_of_an_answer_are_requested_by_key(page, engine, kernel):  # noqa: F811
    from nb_backend import to_data_uri

    engine.enqueue(f"Look: ![dot]({to_data_uri(PNG)}) and ![far](https://example.org/x.png)")
    answer = page.turn("draw")
    (key,) = re.findall(r'data-picture="([^"]+)" alt="dot"', text_of(answer))
    assert page.picture(key) == PNG
    assert 'class="nbb-remote" href="https://example.org/x.png"' in text_of(answer)
    assert page.refused("picture", key="none") == "this image is no longer available"


def test_the_sound_of_a_spoken_answer_is_requested_like_an_image(page, engine, kernel):  # noqa: F811
    sound = wav(bytes(2 * 2400))
    engine.enqueue({"type": "audio", "audio": data_uri(sound, "audio/wav")}, "Good morning.")
    answer = page.turn("say it")
    text, player = answer["content"]
    assert text == "<p>Good morning.</p>"
    (key,) = re.findall(r'<p><audio controls data-picture="([^"]+)" aria-label="Spoken answer"></audio></p>', player)
    assert page.picture(key) == sound


def test_a_second_page_sees_the_attached_images(page, engine, kernel):  # noqa: F811
    other = PanelPage(kernel, page.panel).hello()
    image = page.reply(page.upload(PNG, "a.png")[-1])["image"]
    other.until(lambda: [one["id"] for one in other.state["images"]] == [image["id"]])
    page.turn("x", images=(image["id"],))
    other.until(lambda: other.state["images"] == [] and said(other) == said(page))
    other.leave()
