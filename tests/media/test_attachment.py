"""Attachments as the server receives them: the pixels, the name, the limits, and in later turns."""

from __future__ import annotations

import base64
import copy
import io
import logging
import threading
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.display import Image as Displayed
from matplotlib.figure import Figure
from media_samples import ARRAYS, IMAGES
from media_support import GREY, PNG, RGB, RGBA, SVG_TEXT, UNIT, encoded, on_linux, run
from PIL import Image
from serving import TOKEN, serving

from nb_backend import Attachment, Chat, attach, background, settings, to_data_uri
from nb_backend.chat import transcript
from nb_backend.local.scripted import ScriptedEngine
from nb_backend.media import source
from nb_backend.media.convert import attachments
from nb_backend.media.files import MAX_SIZE
from nb_backend.media.message_parts import content_part

URL = "https://example.org/cats/a%20cat.png?size=1"
PIXELS = np.asarray(Image.open(io.BytesIO(PNG)))
PDF = b"%PDF-1.7\n%%EOF"
JPEG = encoded("JPEG")
MP3 = b"\xff\xfb\x90\x00" + bytes(100)


@pytest.fixture(params=["", "/v1"], ids=["g4f", "openai"])
def server(request):
    with serving(ScriptedEngine(), request.param) as running:
        yield running


def received(server) -> list[tuple[str, str | None]]:
    """The attachments of the last prompt, as (uri, file name); OpenAI's format has no names of images."""
    body = server.engine.history[-1]
    if server.url.endswith("/v1"):
        *parts, text = body["messages"][-1]["content"]
        assert text == {"type": "text", "text": "What is it?"}
        assert all(part["type"] == "image_url" for part in parts)
        return [(part["image_url"]["url"], None) for part in parts]
    assert body["messages"][-1]["content"] == "What is it?"
    return [(uri, name) for uri, name in body["media"]]


async def send(server, *images):
    chat = Chat(url=server.url, api_key=TOKEN)
    await chat.ask("What is it?", images)
    return received(server)


def pixels(uri: str) -> np.ndarray:
    kind, _, code = uri.partition(";base64,")
    assert kind.startswith("data:image/")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(code, validate=True))))


def named(file: io.BytesIO, name: str) -> io.BytesIO:
    file.name = name
    return file


def figure() -> Figure:
    fig = Figure(figsize=(2, 1), dpi=50)
    fig.subplots().plot([1, 3, 2])
    return fig


def drawn(fig: Figure) -> np.ndarray:
    fig.savefig(file := io.BytesIO(), format="png", dpi="figure", bbox_inches="tight")
    return np.asarray(Image.open(file))


def pandas_plot():
    axes = pd.DataFrame({"a": [1, 2]}).plot(ax=(fig := Figure(figsize=(2, 1))).subplots())
    return axes, drawn(fig)


class Tensor:
    shape = UNIT.shape

    def __array__(self, dtype=None, copy=None):
        return UNIT


class Shows:
    def _repr_png_(self):
        return PNG


FIG = figure()
VALUES = {  # the value, its pixels, its file name
    "bytes": (PNG, PIXELS, "image.png"),
    "bytearray": (bytearray(PNG), PIXELS, "image.png"),
    "memoryview": (memoryview(PNG), PIXELS, "image.png"),
    "with a name": ((PNG, "mine"), PIXELS, "mine"),
    "without one": ((PNG, None), PIXELS, "image.png"),
    "data URI": (f"data:image/png;base64,{base64.b64encode(PNG).decode()}", PIXELS, "image.png"),
    "percent-encoded": (f"data:,{''.join(f'%{byte:02X}' for byte in PNG)}", PIXELS, "image.png"),
    "open file": (named(io.BytesIO(PNG), "/tmp/ä b.png"), PIXELS, "ä b.png"),
    "file without a name": (io.BytesIO(JPEG), np.asarray(Image.open(io.BytesIO(JPEG))), "image.jpeg"),
    "figure": (FIG, drawn(FIG), "image.png"),
    "axes": (FIG.axes[0], drawn(FIG), "image.png"),
    "artists": (list(FIG.axes[0].lines), drawn(FIG), "image.png"),
    "plot of pandas": (*pandas_plot(), "image.png"),
    "Pillow": (Image.fromarray(RGBA), RGBA, "image.png"),
    "grey": (GREY, GREY, "image.png"),
    "rgb": (RGB, RGB, "image.png"),
    "bool": (GREY > 9, (GREY > 9) * np.uint8(255), "image.png"),
    "floats": (UNIT, np.round(UNIT * 255), "image.png"),
    "tensor": (Tensor(), np.round(UNIT * 255), "image.png"),
    "IPython's image": (Displayed(data=PNG), PIXELS, "image.png"),
    "shows itself": (Shows(), PIXELS, "image.png"),
    "ready": (attach(PNG, "ready.png"), PIXELS, "ready.png"),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
async def test_the_server_receives_the_pixels_under_a_name(server, name):
    value, wanted, file_name = VALUES[name]
    ((uri, received_name),) = await send(server, value)
    assert np.array_equal(pixels(uri), wanted)
    assert received_name in (file_name, None)


@pytest.mark.parametrize("path", ["a plot.png", "ä ü.png", "~/sub/x.png", "sub/../sub/x.png"])
@pytest.mark.parametrize("kind", [str, Path])
def test_files_go_along_under_their_own_names(server, path, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "sub").mkdir()
    file = Path(path).expanduser()
    file.write_bytes(PNG)
    ((uri, name),) = background.run(send(server, kind(path)))
    assert np.array_equal(pixels(uri), PIXELS)
    assert name in (file.name, None)


async def test_an_address_is_passed_on_and_not_fetched(server):
    ((uri, name),) = await send(server, URL)
    assert (uri, name) in ((URL, "a cat.png"), (URL, None))


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("https://example.org/", "image"),
        ("https://example.org/a/..%2Fb%0A.png", "b.png"),
        (Displayed(url="https://example.org/p.gif"), "p.gif"),
        (Image.open(io.BytesIO(encoded("JPEG"))), "image.jpeg"),
        (named(io.BytesIO(PNG), "C:\\photos\\me.PNG"), "me.PNG"),
        (named(io.BytesIO(PNG), "song.mp3"), "song.png"),
        (named(io.BytesIO(PNG), "plot.v2"), "plot.v2"),
        (named(io.BytesIO(PNG), "x" * 200), "x" * 100),
        (named(io.BytesIO(PNG), "photo.png.gz"), "photo.png"),
        (named(io.BytesIO(PNG), "photo.png.bak"), "photo.png"),
        (named(io.BytesIO(PNG), "../.."), "image.png"),
        (PDF, "document.pdf"),
        (MP3, "audio.mp3"),
        (b"\x1aE\xdf\xa3webm", "video.webm"),
    ],
)
def test_names(value, name):
    assert attach(value).name == name


def test_a_picture_that_pillow_has_opened_is_named_after_its_file(tmp_path):
    (path := tmp_path / "me.jpg").write_bytes(encoded("JPEG"))
    with Image.open(path) as image:
        assert attach(image).name == "me.jpg"
        image.putpixel((0, 0), (1, 2, 3))
        assert attach(image).name == "me.png"


def test_an_svg_is_sent_as_a_png_where_it_can_be_drawn(tmp_path, monkeypatch):
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="4"><rect width="8" height="4" fill="red"/></svg>'
    (path := tmp_path / "plan.svg").write_text(svg)
    sent = attach(path)
    assert sent.name == "plan.png"
    shown = pixels(sent.uri)
    assert shown.shape[1] == 2 * shown.shape[0]
    assert shown[shown.shape[0] // 2, shown.shape[1] // 2].tolist() == [255, 0, 0, 255]
    assert attach(svg.encode(), "mine.svg").name == "mine.png"
    monkeypatch.setattr("nb_backend.media.svg.render_svg", lambda data, side: None)
    assert attach(path) == Attachment(
        f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}", "plan.svg"
    )


@pytest.mark.parametrize(
    ("name", "kind", "stem"),
    [
        ("my scan.tiff", "TIFF", "my scan"),
        ("SCAN.TIF", "TIFF", "SCAN"),
        ("old.tga", "TGA", "old"),
        ("a.b.ppm", "PPM", "a.b"),
    ],
)
def test_a_converted_file_keeps_its_name_with_the_new_suffix(name, kind, stem, tmp_path):
    (path := tmp_path / name).write_bytes(encoded(kind))
    sent = attach(path)
    assert sent.name == attach(encoded(kind), name).name == f"{stem}.{sent.media_type.removeprefix('image/')}"
    assert f"converted from {kind}".replace("PPM", "PNM") in str(sent)


async def test_several_values_have_unique_names(server):
    got = await send(server, PNG, RGB, (PNG, "a.png"), (RGB, "a.png"), attach(RGBA))
    assert [name for _, name in got] in (["image.png", "image_2.png", "a.png", "a.png", "image_3.png"], [None] * 5)


def test_later_attachments_are_renamed_if_an_earlier_one_has_their_name():
    given = [attach(PNG, name) for name in ("plot.png", "Plot.png", "plot_2.png", "plot.png", "a", "a")]
    renamed = attachments(given)
    assert [one.name for one in renamed] == ["plot.png", "Plot_2.png", "plot_2_2.png", "plot_3.png", "a", "a_2"]
    assert [one.uri for one in renamed] == [one.uri for one in given]


async def test_the_values_are_not_changed(server):
    file, array, values = io.BytesIO(PNG), RGB.copy(), [PNG, (RGB, "x.png")]
    file.seek(5)
    before = copy.copy(values)
    await Chat(url=server.url, api_key=TOKEN).ask("What is it?", values)
    await send(server, file, array, FIG)
    assert (file.tell(), file.closed) == (5, False)
    assert np.array_equal(array, RGB)
    assert len(values) == 2
    assert all(one is other for one, other in zip(values, before, strict=True))
    assert np.array_equal(drawn(FIG), drawn(figure()))


class DrawnHere:
    def __init__(self):
        self.threads = []

    def _repr_png_(self):
        self.threads.append(threading.current_thread())
        return PNG


def test_values_are_converted_once_on_the_calling_thread(server):
    value = DrawnHere()
    Chat(url=server.url, api_key=TOKEN)("What is it?", [value])
    assert value.threads == [threading.current_thread()]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("missing.png", "there is no file missing.png in "),
        (b"", "the bytes is empty"),
        (np.zeros((2, 2), complex), "the ndarray cannot be sent: it has values of complex128"),
        ((b"text", "a.png"), "a.png is not an image"),
    ],
)
async def test_a_value_that_cannot_be_sent_fails_before_the_request(server, value, message):
    with pytest.raises(ValueError, match=message):
        await send(server, PNG, value)
    assert server.engine.history == []


async def test_content_parts_in_openais_format():
    assert content_part(attach(MP3).uri) == {
        "type": "input_audio",
        "input_audio": {"data": base64.b64encode(MP3).decode(), "format": "mp3"},
    }
    document = attach(PDF, "a.pdf")
    assert content_part(document.uri, "a.pdf") == {
        "type": "file",
        "file": {"filename": "a.pdf", "file_data": document.uri},
    }


# -- the limits


async def test_a_large_image_is_scaled_with_a_warning(server, caplog):
    large = Image.linear_gradient("L").resize((3000, 1500))
    with caplog.at_level(logging.WARNING):
        ((uri, _),) = await send(server, large)
    assert pixels(uri).shape == (1024, 2048)
    (message,) = caplog.messages
    assert message.startswith("image.png was scaled from 3000×1500 to 2048×1024")
    one = attach(large)
    assert one.remark in message
    assert one.remark in str(one)


def test_the_limits_can_be_set():
    settings.current.max_image_side = 10
    assert pixels(attach(PNG).uri).shape[:2] == (10, 10)
    settings.current.max_image_side = 4096
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8))
    whole = attach(noise)
    assert whole.remark == ""
    settings.current.max_image_bytes = 50_000
    assert len(attach(noise).data) <= 50_000
    assert attach(noise).remark


def test_too_large_a_file_is_refused_without_being_read(tmp_path):
    with (tmp_path / "big.png").open("wb") as file:
        file.write(PNG)
        file.truncate(3 * 2**30)
    with pytest.raises(ValueError, match=f"big.png has 3072 MB, and at most {MAX_SIZE // 2**20} MB can be sent"):
        attach(tmp_path / "big.png")


def test_a_huge_array_is_refused_without_being_copied():
    huge = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint8), (200_000, 200_000, 3), (0, 0, 0))
    with pytest.raises(ValueError, match="200000×200000 pixels"):
        attach(huge)


# -- how it is shown


def test_the_repr_shows_a_thumbnail():
    one = attach(PNG, "a `b`.png")
    assert repr(one) == f"<Attachment a `b`.png (image/png, 64×64, {len(PNG) / 1000:.1f} kB)>"
    assert repr(attach(URL)) == f"<Attachment a cat.png ({URL})>"
    shown = attach(Image.effect_noise((2000, 1000), 90))._repr_markdown_()
    assert shown.startswith("![image](data:image/")
    assert len(shown) < 41_000
    assert "data:" not in attach(URL)._repr_markdown_()
    assert one.data == PNG
    assert attach(URL).data == b""


@given(st.binary(max_size=200) | st.binary(max_size=200).map(PNG[:40].__add__))
def test_any_bytes_are_an_attachment_or_a_short_error(data):
    try:
        one = attach(data, "value")
    except ValueError as error:
        assert len(str(error)) < 200  # noqa: PT017
    else:
        assert one.data == data or one.remark or data.lstrip()[:1] == b"<"
        one._repr_markdown_()


# -- the chat


async def test_earlier_attachments_are_sent_again_with_the_next_prompt(server):
    chat = Chat(url=server.url, api_key=TOKEN)
    await chat.ask("What is it?", [(PNG, "a.png")])
    await chat.ask("And its colour?")
    first, _, last = server.engine.history[-1]["messages"]
    uri = attach(PNG).uri
    assert first["content"] == [
        {"type": "image_url", "image_url": {"url": uri}},
        {"type": "text", "text": "What is it?"},
    ]
    assert last["content"] == "And its colour?"
    assert not server.engine.history[-1].get("media")
    assert "base64" not in repr(chat.messages)


async def test_a_model_without_vision_is_refused_images_but_asked_on(server):
    server.engine.vision = False
    if server.url.endswith("/v1"):
        pytest.skip("these servers do not say it")
    chat = Chat(url=server.url, api_key=TOKEN)
    with pytest.raises(ValueError, match=r"scripted has no vision, so a\.png cannot be sent: ask a server"):
        await Chat("scripted", url=server.url, api_key=TOKEN).ask("What is it?", [(PNG, "a.png")])
    assert server.engine.history == []
    chat.messages = [
        {"role": "user", "content": "What is it?", "media": [attach(PNG), attach(PDF)]},
        {"role": "assistant", "content": "A plot."},
    ]
    await chat.ask("Sure?")
    document, text = server.engine.history[-1]["messages"][0]["content"]
    assert (document["type"], text["text"]) == ("file", "What is it?")


def test_it_is_saved_and_exported(tmp_path):
    with serving(ScriptedEngine()) as server:
        chat = Chat(url=server.url, api_key=TOKEN)
        chat("What is it?", [(PNG, "a.png"), URL])
        chat.save(tmp_path / "chat.json")
        again = Chat.load(tmp_path / "chat.json")
        assert again.messages == chat.messages
        assert [one.name for one in again.messages[0]["media"]] == ["a.png", "a cat.png"]
        for name in ("chat.md", "chat.ipynb"):
            chat.export(tmp_path / name)
            assert "a.png" in (tmp_path / name).read_text()
            assert "data:image/png;base64," in (tmp_path / name).read_text()


@pytest.mark.parametrize("media", ['"x"', '["x"]', '[["/etc/passwd", "x"]]', '[["data:,text", "x"]]', "[[1, 2]]"])
def test_a_damaged_attachment_in_a_saved_chat_is_refused(tmp_path, media):
    (path := tmp_path / "chat.json").write_text(
        '{"format": "nb_backend.chat", "version": 1, "model": null, "provider": null, "system": null, "params": {},'
        f' "messages": [{{"role": "user", "content": "x", "media": {media}}}]}}'
    )
    with pytest.raises(ValueError, match="is not a chat saved by nb_backend"):
        Chat.load(path)


def test_svg_text_is_drawn_or_sent_as_it_is():
    assert attach(SVG_TEXT.encode()).media_type in ("image/png", "image/svg+xml")


async def test_every_mode_and_array_arrives_as_it_is_converted(server):
    values = [*(value for value, _ in ARRAYS.values()), *IMAGES.values()]
    assert [uri for uri, _ in await send(server, *values)] == [to_data_uri(value) for value in values]


@pytest.mark.parametrize(
    "value",
    [
        PNG,
        bytearray(PNG),
        RGB,
        Image.fromarray(RGB),
        FIG,
        "a.png",
        Path("a.png"),
        io.BytesIO(PNG),
        attach(PNG),
        Shows(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_value_needs_no_list(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_bytes(PNG)
    (alone,) = attachments(value)
    for several in ([value], (value,), iter([value]), {"a": value}.values()):
        assert attachments(several) == [alone]
    assert attachments([]) == attachments(()) == []


@pytest.mark.parametrize("uri", ["data:image/png,abc", "data:image/png;base64", "a.png", "", "file:///a.png", "DATA:,"])
def test_an_attachment_is_ready_to_be_sent(uri):
    with pytest.raises(ValueError, match="is neither a data URI in base64 nor a web address"):
        Attachment(uri, "a.png")


def test_a_property_that_fails_is_one_line():
    class Failing:
        @property
        def filename(self):
            raise RuntimeError("one\ntwo")

    with pytest.raises(ValueError, match=r"^the Failing cannot be sent: RuntimeError: one two$"):
        attach(Failing())


@pytest.mark.parametrize("bound", [0, -5, "x", 1.5])
def test_a_wrong_limit_is_refused(bound):
    settings.current.max_image_side = bound
    with pytest.raises(ValueError, match=r"max_image_side is .*: it has to be a whole number of at least 1"):
        attach(PNG)
    settings.current.max_image_side = None
    assert attach(PNG).remark == ""


@given(st.text(st.sampled_from("%0A9fz;,+ "), max_size=40), st.integers(3, 9))
def test_percent_encoding_is_decoded_piece_by_piece(text, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "_DECODED_AT_ONCE", block)
        assert b"".join(map(unquote_to_bytes, source._unquotable_blocks(text))) == unquote_to_bytes(text)


@on_linux
def test_a_long_percent_encoded_uri_takes_little_memory():
    limit = "import resource; resource.setrlimit(resource.RLIMIT_DATA, (2**30, 2**30))"
    code = f"{limit}\nfrom nb_backend import attach\ntry: attach('data:image/png,' + '%41' * 2**24)\n" + (
        "except ValueError as error: print(error)"
    )
    assert "is not an image" in run(code)


def test_a_saved_conversation_is_read_as_it_was_sent(tmp_path):
    svg = f"data:image/svg+xml;base64,{base64.b64encode(SVG_TEXT.encode()).decode()}"
    chat = Chat()
    chat.messages = [{"role": "user", "content": "x", "media": [Attachment(svg, "plan.svg"), attach(PNG)]}]
    chat.save(tmp_path / "chat.json")
    settings.current.max_image_side = 8
    assert Chat.load(tmp_path / "chat.json").messages == chat.messages


@pytest.mark.parametrize("name", ["\x1b]0;title\x07\x1b[2J", "\u202egnp.x", "a\nb\x00c", "\ud800"])
def test_a_name_cannot_control_a_terminal(name):
    for message in (str(attach(PNG, name)), repr(attach(PNG, name))):
        assert message.isprintable()
    with pytest.raises(ValueError, match="is not an image") as refusal:
        attach(b"text", name)
    assert str(refusal.value).isprintable()


def test_a_name_has_to_be_a_string():
    with pytest.raises(TypeError, match="the file name has to be a string, not bytes"):
        attach(PNG, b"x")


def test_an_address_with_a_password_is_not_passed_on():
    with pytest.raises(ValueError, match="with a password in it is not sent") as refusal:
        attach("https://me:secret@example.org/a.png")
    assert "secret" not in str(refusal.value)


def test_a_large_svg_that_cannot_be_drawn_is_refused(monkeypatch):
    monkeypatch.setattr("nb_backend.media.svg.render_svg", lambda data, side: None)
    settings.current.max_image_bytes = 1000
    with pytest.raises(
        ValueError, match=r"has 1\.0 kB, and an SVG that cannot be rendered here can have at most 1\.0 kB"
    ):
        attach(SVG_TEXT.encode() + b" " * 1000 + b">")


def test_a_remark_is_saved(tmp_path):
    chat = Chat()
    chat.messages = [{"role": "user", "content": "x", "media": [attach(Image.new("L", (4000, 10)))]}]
    chat.save(tmp_path / "chat.json")
    assert Chat.load(tmp_path / "chat.json").messages == chat.messages


def test_what_could_not_be_loaded_is_not_saved(tmp_path, monkeypatch):
    chat = Chat()
    chat.save(tmp_path / "chat.json")
    before = (tmp_path / "chat.json").read_text()
    monkeypatch.setattr(transcript, "MAX_SIZE", 2**20)
    chat.messages = [{"role": "user", "content": "x", "media": [attach(b"%PDF-" + bytes(2**20) + b"%%EOF")]}]
    with pytest.raises(
        ValueError, match="this chat has 1 MB with its attachments, and only files of at most 1 MB can be loaded"
    ):
        chat.save(tmp_path / "chat.json")
    assert (tmp_path / "chat.json").read_text() == before
