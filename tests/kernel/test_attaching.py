"""Attachments by ``-i`` and ``{{ }}`` in a cell: they are sent, shown as thumbnails, and listed by a dry run."""

from __future__ import annotations

import base64
import io
import json

import pytest
from driver import one_line
from PIL import Image
from scripted_calls import tool_call

SETUP = """
import io, pathlib
import altair, matplotlib.pyplot as plt, numpy as np, pandas as pd, plotly.graph_objects as go
from PIL import Image
from nb_backend import attach, Chat, chats
rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
photo = Image.fromarray(rgb)
photo.save('a photo.jpg', quality=95)
fig, ax = plt.subplots(figsize=(2, 1), dpi=50)
lines = ax.plot([1, 3, 2])
plt.close(fig)
bars = pd.Series([1, 2]).plot.bar(ax=plt.figure(figsize=(2, 1)).subplots())
plt.close('all')
path = pathlib.Path('a photo.jpg')
text_path = 'a photo.jpg'
address = path.absolute().as_uri()
photo.save('scan.tiff')
exif = Image.Exif(); exif[0x0112] = 6
photo.save('on its side.jpg', exif=exif)
chart = altair.Chart(altair.Data(values=[{'a': 1}])).mark_bar().encode(x='a:Q')
pie = go.Figure(go.Pie(values=[1, 2]), {'width': 200, 'height': 100})
photos = [photo, path]
ready = attach(rgb, 'before.png')
blob = io.BytesIO(); photo.save(blob, 'PNG')
raw = blob.getvalue()
broken = plt.figure(); broken.subplots(1, 2)
def fail(*args): raise RuntimeError('no latex')
broken.axes[0].draw = fail
plt.close('all')
"""


@pytest.fixture(scope="module")
def server(either_server):
    return either_server


@pytest.fixture(scope="module", autouse=True)
def things(kernel, tmp_path_factory):
    assert kernel.run(f"%cd -q {tmp_path_factory.mktemp('things')}").error is None
    assert kernel.run(SETUP).error is None


def attached(kernel, engine, line, text="What is it?"):
    """Run a cell; return the images that it sends, their names, and the run."""
    run = kernel.run(f"%%backend --once {line}\n{text}")
    assert run.error is None, run.error
    body = engine.history[-1]
    content = body["messages"][-1]["content"]
    if isinstance(content, str):
        return [uri for uri, _ in body["media"]], [name for _, name in body["media"]], run
    return [part["image_url"]["url"] for part in content if part["type"] == "image_url"], None, run


def opened(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2], validate=True)))


@pytest.mark.parametrize(
    ("line", "name", "size"),
    [
        ("-i rgb", "rgb.png", (30, 20)),
        ("-i rgb[:10]", "image.png", (30, 10)),
        ("-i photo", "photo.png", (30, 20)),
        ("-i 'a photo.jpg'", "a photo.jpg", (30, 20)),
        ("-i path", "a photo.jpg", (30, 20)),
        ("-i text_path", "a photo.jpg", (30, 20)),
        ("-i address", "a photo.jpg", (30, 20)),
        ("-i {address}", "a photo.jpg", (30, 20)),
        ("-i scan.tiff", "scan.png", (30, 20)),
        ("-i 'on its side.jpg'", "on its side.jpg", (20, 30)),
        ("-i blob", "blob.png", (30, 20)),
        ("-i raw", "raw.png", (30, 20)),
        ("-i ready", "before.png", (30, 20)),
        ("-i pie", "pie.png", (200, 100)),
        ("-i 'attach(rgb)'", "image.png", (30, 20)),
    ],
)
def test_an_image_is_sent_upright_under_its_name(kernel, engine, line, name, size):
    if line == "-i {address}":  # typed by hand
        line = f"-i {kernel.run('print(address)').printed.strip()}"
    (uri,), names, run = attached(kernel, engine, line)
    assert names in ([name], None)
    assert opened(uri).size == size
    assert name in run.markdown[0]
    assert f"{size[0]}×{size[1]}" in run.markdown[0]


@pytest.mark.parametrize("thing", ["fig", "ax", "lines", "bars", "chart"])
def test_a_plot_is_sent(kernel, engine, thing):
    (uri,), names, _ = attached(kernel, engine, f"-i {thing}")
    assert names in ([f"{thing}.png"], None)
    assert min(opened(uri).size) > 20


def test_every_image_of_a_list_is_sent(kernel, engine):
    uris, names, _ = attached(kernel, engine, "-i photos -i photos[0]")
    assert names in (["photos_0.png", "a photo.jpg"], None)
    assert len(uris) == 2
    assert attached(kernel, engine, "-i path -i 'a photo.jpg' -i lines -i fig.axes")[1] in (
        ["a photo.jpg", "lines.png"],
        None,
    )
    uris, names, _ = attached(kernel, engine, "-i [fig,bars]")
    assert names in (["image.png", "image_2.png"], None)


def test_an_address_is_sent_unchanged(kernel, engine):
    uris, names, run = attached(kernel, engine, "-i https://example.org/a/cat.png?x=1")
    assert uris == ["https://example.org/a/cat.png?x=1"]
    assert names in (["cat.png"], None)
    assert "cat.png (https://example.org/a/cat.png?x=1)" in run.markdown[0]
    kernel.run("url = 'https://example.org/a/cat.png'")
    assert attached(kernel, engine, "-i url")[0] == ["https://example.org/a/cat.png"]


def test_in_a_prompt(kernel, engine):
    text = "{{ fig }} {{ photo }} {{ attach(rgb) }} {{ attach('a photo.jpg') }} {{ ready }} {{ pie }}"
    uris, names, _ = attached(kernel, engine, "", text)
    assert names in (["fig.png", "photo.png", "image.png", "a photo.jpg", "pie.png"], None)  # two are the same
    assert len(uris) == 5
    content = engine.history[-1]["messages"][-1]["content"]
    asked = content if isinstance(content, str) else content[-1]["text"]
    order = ["fig.png", "photo.png", "image.png", "a photo.jpg", "image.png", "pie.png"]
    assert asked == " ".join(f"[image: {name}]" for name in order)


def test_by_a_chat_in_a_cell(kernel, engine):
    for how in ("Chat()('What is it?', [rgb, fig])", "await Chat().ask('What is it?', [rgb, fig])"):
        assert kernel.run(f"answer = {how}").error is None
        body = engine.history[-1]
        content = body["messages"][-1]["content"]
        assert len(body["media"] if isinstance(content, str) else content[:-1]) == 2


def test_values_and_outputs_of_cells(kernel, engine):
    number = kernel.run("photo").reply["execution_count"]
    for line in ("-i @output", f"-i Out[{number}]", "-i _"):
        kernel.run("photo") if line == "-i _" else None
        (uri,), names, _ = attached(kernel, engine, line)
        assert opened(uri).size == (30, 20)
    kernel.run("%matplotlib inline\nplt.plot([1, 2]); plt.show(); plt.plot([2, 1]); plt.show()")
    uris, names, _ = attached(kernel, engine, "-i @output")
    assert names in (["image.png", "image_2.png"], None)
    assert len(uris) == 2


def test_attachments_are_shown_above_the_answer(kernel, engine):
    kernel.run("noise = np.random.default_rng(0).integers(0, 256, (900, 1200, 3), dtype=np.uint8)")
    (uri,), _, run = attached(kernel, engine, "-i noise")
    first, *answer = run.displays
    assert len(uri) > 3_000_000
    shown = first["data"]["text/markdown"]
    assert shown.startswith("![image](data:image/")
    assert len(shown) < 41_000
    assert "noise.png (image/png, 1200×900, " in shown
    assert "noise.png" in first["data"]["text/plain"]
    assert "noise.png" not in str(answer[0])
    assert kernel.run("_").result is not None


def test_a_scaled_image_is_marked(kernel, engine):
    kernel.run("large = np.zeros((100, 4000), np.uint8)")
    (uri,), _, run = attached(kernel, engine, "-i large")
    assert opened(uri).size == (2048, 51)
    assert "scaled from 4000×100 to 2048×51" in run.markdown[0]
    assert run.printed == ""
    run = kernel.run("%config BackendMagics.max_image_side = 100\n%config BackendMagics.max_image_side")
    assert run.result == "100"
    assert opened(attached(kernel, engine, "-i large")[0][0]).size[0] == 100
    kernel.run("%config BackendMagics.max_image_side = 2048")


def test_a_dry_run_lists_them(kernel, engine):
    engine.history.clear()
    run = kernel.run("%%backend --dry-run -i rgb -i https://example.org/cat.png\n{{ fig }}")
    assert engine.history == []
    (shown,) = run.markdown
    assert "rgb.png (image/png, 30×20, " in shown
    assert "fig.png (image/png, " in shown
    assert "cat.png (https://example.org/cat.png)" in shown
    assert "data:image" not in shown


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-i 'rgb * 2.5'", ["rgb * 2.5 cannot be sent", "have to be in 0..1"]),
        ("-i 'rgb.astype(int)'", ["values of int64", "uint8"]),
        ("-i 'rgb.T'", ["put the channels last"]),
        ("-i missing.png", ["no file missing.png"]),
        ("-i str(path)+'x'", ["str(path)+'x' is a text that does not name a file"]),
        ("-i [rgb,1]", ["[rgb,1][1] is of type int"]),
        ("-i len", ["len is of type"]),
        ("-i .", ["is a folder"]),
        ("-i raw[:-60]", ["cut off"]),
        ("-i [photo]*21", ["[photo]*21 has 21 items, but at most 20 can be sent"]),
        ("-i broken.axes", ["broken.axes cannot be sent: ", "RuntimeError: no latex"]),
    ],
)
def test_a_value_that_cannot_be_sent_is_one_line_and_nothing_is_sent(kernel, engine, line, words):
    engine.history.clear()
    one_line(kernel.run(f"%%backend {line}\nhi"), *words)
    assert engine.history == []


def test_a_model_without_vision_is_not_sent_images(kernel, engine, server):
    if server.url.endswith("/v1"):
        pytest.skip("these servers do not say it")
    engine.vision = False
    forget = "import nb_backend.providers.catalog as catalog; catalog._lists.clear(); catalog._pending.clear()"
    kernel.run(forget)
    run = kernel.run("%%backend scripted -i rgb\nhi")
    one_line(run, "scripted has no vision", "rgb.png cannot be sent")
    assert run.displays == []
    assert engine.history == []
    engine.vision = True
    kernel.run(forget)
    assert kernel.run("%%backend scripted -i rgb\nhi").error is None


def test_what_a_tool_prints_is_in_the_cell_and_a_figure_that_it_returns_goes_to_the_model_alone(kernel, engine):
    kernel.run(
        "plt.close('all')\n"
        "def plot():\n    print('on a thread')\n    return plt.subplots(figsize=(1, 1))[0]\n"
        "async def count():\n    print('on the loop')"
    )
    engine.enqueue(tool_call("plot"), tool_call("count"))
    engine.enqueue("A plot.")
    run = kernel.run("%%backend m --once -T plot -T count\nPlot.")
    assert run.error is None
    assert "on a thread" in run.printed
    assert "on the loop" in run.printed
    assert not any("image/png" in display["data"] for display in run.displays)
    assert "data:image/png" in json.dumps(engine.history[-1])
    assert kernel.run("plt.get_fignums()").of("execute_result")[0]["data"]["text/plain"] == "[]"
