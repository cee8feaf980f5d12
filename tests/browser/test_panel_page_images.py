"""Images in the panel's page: pasted, dropped, chosen, uploaded in chunks, shown, and refused with a reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from panel_page import PNG, QUESTION, SETTINGS, P, PanelPage, item
from playwright.sync_api import Page


@pytest.fixture
def panel(page: Page) -> Iterator[PanelPage]:
    with PanelPage(page) as panel:
        yield panel


FILES = """
    const data = new DataTransfer();
    for (const [name, type, size] of given.files) data.items.add(new File([new Uint8Array(size)], name, {type}));
    if (given.text) data.setData('text/plain', given.text);
"""
PASTE = """const event = new ClipboardEvent('paste', {clipboardData: data, bubbles: true, cancelable: true});
    panel.querySelector('textarea').dispatchEvent(event); return event.defaultPrevented;"""


def image(key: str, **fields: object) -> dict[str, object]:
    given = {"id": key, "name": f"{key}.png", "type": "image/png", "size": 2500, "width": 640, "height": 480}
    return given | {"thumbnail": "", "note": ""} | fields


def test_images_dropped_together_keep_their_order(panel: PanelPage) -> None:
    panel.open(limits={"image": 10_000, "piece": 100})
    panel.run(FILES + PASTE, {"files": [["a.png", "image/png", 250], ["b.png", "image/png", 50]]})
    panel.asked("upload", 2)
    panel.settle()
    assert [request["name"] for request in panel.requests("upload")] == ["a.png"] * 3  # b.png waits for a.png
    panel.run("kernel.answers.upload = request => ({image: {...given, name: request.name}})", image("b"))
    first, second, third = panel.requests("upload")
    panel.reply(first)
    panel.reply(second)
    panel.reply(third, image=image("a"))
    panel.until("document.querySelectorAll('.nbb-images li').length === 2 && !document.querySelector('progress')")
    panel.box.press("Enter")
    assert panel.asked("send")["images"] == ["a", "b"]


def test_several_images_are_pasted_and_sent(panel: PanelPage) -> None:
    panel.open()
    panel.run(
        "let n = 0; kernel.answers.upload = request => ({image: {...given, id: `i${++n}`, name: request.name}})",
        image("x"),
    )
    assert panel.run(FILES + PASTE, {"files": [["a.png", "image/png", 500], ["b.png", "image/png", 900]]})
    panel.until("document.querySelectorAll('.nbb-images li').length === 2 && !document.querySelector('progress')")
    assert {request["name"] for request in panel.requests("upload")} == {"a.png", "b.png"}
    panel.box.press("Enter")
    assert panel.asked("send")["images"] == ["i1", "i2"]
    panel.settle()
    assert panel.root.locator(".nbb-images li").count() == 0


def test_a_paste_with_text_and_an_image_pastes_the_text(panel: PanelPage) -> None:
    panel.open()
    assert not panel.run(FILES + PASTE, {"files": [["a.png", "image/png", 5]], "text": "1\t2"})
    assert panel.requests("upload") == []


def test_images_are_dropped_on_a_visible_target(panel: PanelPage) -> None:
    panel.open()
    drag = (
        FILES
        + """const drag = kind => panel.dispatchEvent(
        new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));"""
    )
    files = {"files": [["a.png", "image/png", 5]]}
    panel.run(drag + "drag('dragenter'); drag('dragover')", files)
    target = panel.root.get_by_text("Drop images here")
    assert target.is_visible()
    panel.run(drag + "drag('dragleave')", files)
    assert not target.is_visible()
    panel.run(drag + "drag('dragenter'); drag('drop')", files)
    assert panel.asked("upload")["name"] == "a.png"
    assert not target.is_visible()


def test_files_are_chosen_from_the_menu(panel: PanelPage) -> None:
    panel.open()
    panel.button("Attach an image").click()
    with panel.page.expect_file_chooser() as chooser:
        panel.root.get_by_role("menuitem", name="Image files").click()
    assert chooser.value.is_multiple()
    chooser.value.set_files([{"name": "a.png", "mimeType": "image/png", "buffer": PNG}])
    request = panel.asked("upload")
    assert (request["piece"], request["pieces"], request["size"]) == (0, 1, len(PNG))
    assert panel.run("return [...new Uint8Array(kernel.buffers[given][0])]", request["id"]) == list(PNG)


def test_a_large_image_is_uploaded_in_chunks_at_most_four_at_once(panel: PanelPage) -> None:
    panel.open(limits={"image": 10_000, "piece": 100})
    panel.run(FILES + PASTE, {"files": [["a.png", "image/png", 950]]})
    panel.asked("upload", 3)
    panel.settle()
    asked = panel.requests("upload")
    assert [request["piece"] for request in asked] == [0, 1, 2, 3]
    assert {request["pieces"] for request in asked} == {10}
    panel.reply(asked[0])
    panel.asked("upload", 4)
    assert panel.root.get_by_role("progressbar", name="Uploading a.png").evaluate("bar => bar.value") == pytest.approx(
        100 / 950
    )
    assert panel.button("Send").is_disabled()
    panel.run("kernel.answers.upload = request => request.piece === 9 ? {image: given} : {}", image("i1"))
    for request in panel.requests("upload")[1:]:
        panel.reply(request)
    panel.until("!document.querySelector('progress')")
    assert len(panel.requests("upload")) == 10
    assert panel.run(
        "return kernel.sent.filter(r => r.type === 'upload').map(r => kernel.buffers[r.id][0].byteLength)"
    ) == [100] * 9 + [50]
    assert panel.button("Send").is_enabled()


def test_a_large_or_empty_file_or_one_that_is_not_an_image_is_refused_at_once(panel: PanelPage) -> None:
    panel.open(limits={"image": 2_000_000, "piece": 100})
    panel.run(
        FILES + PASTE,
        {
            "files": [
                ["large.png", "image/png", 3_000_000],
                ["notes.txt", "text/plain", 5],
                ["none.png", "image/png", 0],
            ]
        },
    )
    panel.settle()
    assert "large.png is too large: 3 MB, and the limit is 2 MB" in panel.notes()
    assert "notes.txt is not an image" in panel.notes()
    assert "none.png is empty" in panel.notes()
    assert panel.requests("upload") == []


def test_a_converted_image_shows_the_thumbnail_of_what_is_sent(panel: PanelPage) -> None:
    panel.open()
    sent = image("i1", name="scan.png", thumbnail="data:image/png;base64,c2Nhbg==", note="converted from TIFF")
    panel.run("kernel.answers.upload = request => ({image: given})", sent)
    panel.run(FILES + PASTE, {"files": [["scan.tiff", "image/tiff", 500]]})
    panel.root.locator(".nbb-images img[src='data:image/png;base64,c2Nhbg==']").wait_for(state="attached")
    panel.root.get_by_text("converted from TIFF").wait_for(state="attached")


def test_a_file_whose_type_the_browser_does_not_know_is_left_to_the_kernel(panel: PanelPage) -> None:
    panel.open()
    panel.run("kernel.answers.upload = request => ({image: given})", image("i1", name="photo.jpeg", type="image/jpeg"))
    panel.run(FILES + PASTE, {"files": [["photo.heic", "", 500]]})
    assert panel.asked("upload")["name"] == "photo.heic"


def test_a_note_says_why_the_kernel_refuses_an_image(panel: PanelPage) -> None:
    panel.open()
    panel.answers("upload", error="this is not an image")
    panel.run(FILES + PASTE, {"files": [["a.png", "image/png", 5]]})
    panel.root.locator(".nbb-note", has_text="a.png: this is not an image").wait_for()
    assert panel.root.locator(".nbb-images li").count() == 0


def test_a_note_about_an_upload_leaves_when_an_image_is_removed(panel: PanelPage) -> None:
    panel.open(images=[image("b")])
    panel.answers("upload", error="at most 1 image can be sent")
    panel.run(FILES + PASTE, {"files": [["a.png", "image/png", 5]]})
    panel.root.locator(".nbb-note", has_text="at most 1 image").wait_for()
    panel.button("Remove b.png").click()
    panel.settle()
    assert panel.notes() == ""


def test_an_image_has_name_size_and_note_and_can_be_removed(panel: PanelPage) -> None:
    panel.open(images=[image("plot", note="scaled from 8000×6000")])
    tile = panel.root.locator(".nbb-images li")
    about = tile.locator(".nbb-about").get_attribute("title")
    assert about == "plot.png, 2.5 kB, 640 × 480, scaled from 8000×6000"
    panel.button("Remove plot.png").click()
    assert panel.asked("remove")["image"] == "plot"
    panel.settle()
    assert tile.count() == 0


def test_an_upload_can_be_canceled(panel: PanelPage) -> None:
    panel.open()
    panel.run(FILES + PASTE, {"files": [["a.png", "image/png", 5]]})
    request = panel.asked("upload")
    panel.button("Remove a.png").click()
    panel.reply(request, image=image("late"))
    assert panel.asked("remove")["image"] == "late"
    assert panel.root.locator(".nbb-images li").count() == 0


def test_figures_of_recent_cells(panel: PanelPage) -> None:
    panel.open()
    panel.button("Attach an image").click()
    menu = panel.root.get_by_role("menu", name="Attach an image")
    assert "Looking for figures" in menu.inner_text()
    figure = {
        "key": "f1",
        "cell": "In [3]",
        "name": "hist.png",
        "type": "image/png",
        "size": 5,
        "width": 640,
        "height": 480,
    }
    panel.reply(panel.asked("figures"), figures=[figure | {"thumbnail": ""}])
    menu.get_by_role("menuitem", name="hist.png In [3]").click()
    request = panel.asked("attach")
    assert request["figure"] == "f1"
    panel.reply(request, image=image("hist"))
    assert panel.root.locator(".nbb-images li").count() == 1
    assert not menu.is_visible()


def test_a_note_reports_a_model_without_vision_before_sending(panel: PanelPage) -> None:
    panel.open(images=[image("plot")], settings=SETTINGS | {"vision": None})
    assert panel.notes() == ""
    panel.settings(vision=False)
    panel.settle()
    assert "gpt-4o does not accept images" in panel.notes()
    panel.settings(vision=True)
    panel.settle()
    assert panel.notes() == ""


def test_images_of_a_question_are_shown(panel: PanelPage) -> None:
    picture = {"key": "k", "name": "plot.png", "type": "image/png", "size": 5, "width": 2, "height": 2, "note": ""}
    panel.open(QUESTION | {"images": [picture]}, item("a1", "assistant", P))
    assert panel.asked("picture")["key"] == "k"
    assert panel.root.get_by_role("img", name="plot.png").count() == 1


def test_the_sound_of_a_spoken_answer_is_requested_when_it_is_in_view(panel: PanelPage) -> None:
    player = '<p><audio controls data-picture="k" aria-label="Spoken answer"></audio></p>'
    panel.open(QUESTION, item("a1", "assistant", P, player))
    assert panel.asked("picture")["key"] == "k"
