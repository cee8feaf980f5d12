"""The table of media types: each row is complete, and a new type is one row."""

from __future__ import annotations

import re

import pytest
from media_samples import EVERY_TYPE
from PIL import Image
from serving import TOKEN, serving

from nb_backend import Chat, attach, settings
from nb_backend.local.scripted import ScriptedEngine
from nb_backend.media import types
from nb_backend.media.formats import starts_with
from nb_backend.media.message_parts import content_part
from nb_backend.media.probe import is_truncated, pixel_size
from nb_backend.media.sniff import BITMAPS, DISPLAY_TYPES, media_type

TOY = types.MediaType(
    "image/x-toy",
    "toy",
    starts_with(b"TOY1"),
    is_truncated=lambda data: not data.endswith(b"END"),
    size=lambda data: (data[4], data[5]),
)
TOY_FILE = b"TOY1\x07\x05 pixels END"


def test_each_type_has_a_sample():
    assert EVERY_TYPE.keys() == types.TYPES.keys()


@pytest.mark.parametrize("row", types.TYPES.values(), ids=lambda row: row.name)
def test_each_row_is_complete(row):
    settings.current.max_image_side = None
    sample = EVERY_TYPE[row.name]
    assert media_type(sample) == row.name
    assert not is_truncated(sample, row.name)
    if row.name == "image/jxl":
        return
    sent = attach(sample)
    assert re.fullmatch(rf"(image|audio|video|document)\.({row.suffix}|png|jpeg)", sent.name)
    assert sent.media_type == row.name or row.is_converted or row.name == "image/svg+xml"
    assert not row.is_converted or sent.media_type in ("image/png", "image/jpeg")
    assert content_part(sent.uri, sent.name)["type"] in ("image_url", "input_audio", "file")
    is_bitmap = row.name.startswith("image/") and row.name != "image/svg+xml"
    assert (row.pillow is not None) == is_bitmap
    assert (pixel_size(sent.data, sent.media_type) is not None) == row.name.startswith("image/")
    if row.pillow:
        Image.init()
        assert row.pillow.name in Image.OPEN
        assert row.is_converted or row.pillow.name in Image.SAVE


def test_the_types_that_are_shown():
    assert DISPLAY_TYPES == ("image/png", "image/jpeg", "image/webp", "image/gif", "image/svg+xml")
    assert set(DISPLAY_TYPES) == BITMAPS | {"image/svg+xml"}


async def test_a_new_type_is_one_row(monkeypatch, tmp_path):
    (path := tmp_path / "a.bin").write_bytes(TOY_FILE)
    with pytest.raises(ValueError, match="is not an image"):
        attach(path)
    monkeypatch.setitem(types.TYPES, TOY.name, TOY)
    sent = attach(TOY_FILE)
    assert (sent.media_type, sent.name, sent.data) == ("image/x-toy", "image.toy", TOY_FILE)
    assert "image/x-toy, 7×5" in str(sent)
    assert attach(path).name == "a.toy"
    with pytest.raises(ValueError, match="is image/x-toy and cut off"):
        attach(TOY_FILE[:-1])
    with serving(ScriptedEngine()) as server:
        await Chat(url=server.url, api_key=TOKEN).ask("What is it?", TOY_FILE)
        assert server.engine.history[-1]["media"] == [[sent.uri, "image.toy"]]
    assert content_part(sent.uri) == {"type": "image_url", "image_url": {"url": sent.uri}}
