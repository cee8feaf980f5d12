"""SVGs rendered as PNG: only what they hold themselves, even if they are hostile."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from media_support import PEAK, on_linux, opened, run, saved
from PIL import Image

from nb_backend.media import svg as svg_module
from nb_backend.media.probe import pixel_size
from nb_backend.media.svg import render_svg

NAMES = "xmlns='http://www.w3.org/2000/svg' xmlns:xlink='http://www.w3.org/1999/xlink'"
SQUARE = "<rect width='5' height='5' fill='red'/>"


def svg(body: str, attributes: str = "width='10' height='10'", before: str = "") -> bytes:
    return f"{before}<svg {NAMES} {attributes}>{body}</svg>".encode()


@pytest.mark.parametrize(
    ("attributes", "side", "size"),
    [
        ("width='10' height='10'", 2048, (1024, 1024)),
        ("width='10' height='10'", 300, (300, 300)),
        ("viewBox='0 0 1500 750'", 2048, (1500, 750)),
        ("width='1500pt' height='750pt'", 4000, (2000, 1000)),
        ("width='3000' height='1500'", 2048, (2048, 1024)),
        ("width='5' height='500'", 2048, (10, 1024)),
        ("width='1e9' height='1e9'", 2048, (2048, 2048)),
        ("width='1e999' height='1'", 2048, None),
        ("width='100%' height='100%' viewBox='0 0 200 100'", 2048, (1024, 512)),
        ("", 2048, (1024, 1024)),
    ],
)
def test_an_svg_is_rendered(attributes, side, size):
    drawn = render_svg(svg(SQUARE, attributes), side)
    if size is None:
        assert drawn is None or max(pixel_size(drawn, "image/png")) <= side
    else:
        width, height = pixel_size(drawn, "image/png")
        assert max(width, height) == max(size)
        assert abs(min(width, height) - min(size)) <= 1


def test_the_text_of_a_figure_is_rendered():
    figure = Figure(figsize=(4, 3))
    axes = figure.subplots()
    axes.imshow(np.arange(6).reshape(2, 3))
    axes.set_title("äöü")
    figure.savefig(file := io.BytesIO(), format="svg")
    drawn = opened(render_svg(file.getvalue(), 2048))
    assert drawn.size == (1024, 768)
    assert len(drawn.getcolors(10**6)) > 20
    words = svg("<text y='20' font-size='20' font-family='no such font'>words</text>", "width='60' height='30'")
    drawn = render_svg(words, 2048)
    assert drawn is None or opened(drawn).getbbox() is not None


@pytest.fixture
def secret(tmp_path):
    (path := tmp_path / "secret.png").write_bytes(saved(Image.new("RGB", (10, 10), "#12fe34"), "PNG"))
    (tmp_path / "secret.css").write_text("rect { fill: #12fe34 }")
    (tmp_path / "secret.svg").write_bytes(svg(f"<image id='a' width='10' height='10' href='{path}'/>"))
    return path


def coded(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def image(reference: str) -> bytes:
    return svg(f"<image width='10' height='10' xlink:href='{reference}'/>")


OUTSIDE = {
    "a path": lambda path: image(str(path)),
    "an URI": lambda path: image(path.as_uri()),
    "spelt": lambda path: image(str(path).replace("/", "&#x2f;")),
    "without a prefix": lambda path: svg(f"<image width='10' height='10' href='{path}'/>"),
    "another prefix": lambda path: svg(
        f"<image xmlns:x='http://www.w3.org/1999/xlink' width='10' height='10' x:href='{path}'/>"
    ),
    "an SVG in it": lambda path: image(coded(image(str(path)), "image/svg+xml")),
    "an SVG called PNG": lambda path: image(coded(image(str(path)), "image/png")),
    "an SVG in percents": lambda path: image("data:image/png,%3Csvg%3E"),
    "use": lambda path: svg(f"<use xlink:href='{path.with_suffix('.svg')}#a'/>"),
    "a base": lambda path: svg("<use xlink:href='#a'/>", f"xml:base='{path.with_suffix('.svg')}'"),
    "an import": lambda path: svg(f"<style>@import '{path.with_suffix('.css')}';</style>{SQUARE}"),
    "an import in two": lambda path: svg(f"<style>@imp<!-- -->ort '{path.with_suffix('.css')}';</style>{SQUARE}"),
    "a sheet": lambda path: svg(SQUARE, before=f"<?xml-stylesheet href='{path.with_suffix('.css')}'?>"),
    "a fill": lambda path: svg(f"<rect width='9' height='9' fill='URL( \"{path.with_suffix('.svg')}#a\")'/>"),
    "an escape": lambda path: svg(f"<rect width='9' height='9' style='fill:u\\72l({path})'/>"),
    "the web": lambda path: image("http://127.0.0.1:9/a.png"),
    "an entity": lambda path: svg("<text>&x;</text>", before=f"<!DOCTYPE svg [<!ENTITY x SYSTEM '{path.as_uri()}'>]>"),
    "a default": lambda path: svg("<image/>", before=f"<!DOCTYPE svg [<!ATTLIST image href CDATA '{path}'>]>"),
    "UTF-16": lambda path: image(str(path)).decode().encode("utf-16"),
}


@pytest.mark.parametrize("how", OUTSIDE)
def test_an_svg_that_refers_outside_is_not_rendered(how, secret, monkeypatch):
    monkeypatch.setattr(svg_module.subprocess, "run", lambda *args, **options: pytest.fail("it was drawn"))
    assert render_svg(OUTSIDE[how](secret), 2048) is None


def test_images_inside_an_svg_are_rendered(secret):
    inside = image(coded(secret.read_bytes(), "image/png"))
    assert opened(render_svg(inside, 2048)).convert("RGB").getpixel((500, 500)) == (0x12, 0xFE, 0x34)
    link = svg(f"<a xlink:href='https://example.org'>{SQUARE}</a>", before="<!DOCTYPE svg PUBLIC '-//W3C' 'http://x'>")
    assert opened(render_svg(link, 2048)).getpixel((100, 100)) == (255, 0, 0, 255)


def uses(depth: int) -> str:
    groups = (f"<g id='a{n}'>" + f"<use xlink:href='#a{n - 1}'/>" * 10 + "</g>" for n in range(1, depth))
    return f"<defs><g id='a0'>{SQUARE}</g>{''.join(groups)}</defs><use xlink:href='#a{depth - 1}'/>"


FILTER = (
    "<filter id='f' x='0' y='0' width='1' height='1'><feTurbulence baseFrequency='0.05' numOctaves='9999999'/></filter>"
)
BOMB = "".join(f"<!ENTITY a{n + 1} '{f'&a{n};' * 10}'>" for n in range(9))
HOSTILE = {
    "a billion laughs": svg("<text>&a9;</text>", before=f"<!DOCTYPE svg [<!ENTITY a0 'lol'>{BOMB}]>"),
    "deep": svg("<g>" * 100_000 + "</g>" * 100_000),
    "deep by use": svg("".join(f"<g id='a{n}'><use xlink:href='#a{n + 1}'/></g>" for n in range(5000))),
    "many by use": svg(uses(9)),
    "a slow filter": svg(f"{FILTER}<g filter='url(#f)'>{SQUARE}</g>", "width='2000' height='2000'"),
    "a large picture": image(coded(saved(Image.new("1", (20_000, 10_000)), "PNG"), "image/png")),
    "large": svg(" " * 2**23),
    "spaces": svg(SQUARE, f"style='url({' ' * 2**22}x'"),
    "compressed": b"\x1f\x8b\x08" + bytes(50),
    "negative": svg(SQUARE, "width='-1' height='5'"),
    "cut": svg(SQUARE)[:-3],
    "with words in HTML": svg("<foreignObject width='9' height='9'><p>words</p></foreignObject>"),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_svg_is_not_rendered(how, monkeypatch):
    monkeypatch.setattr(svg_module, "_RENDER_TIMEOUT", 1)
    assert render_svg(HOSTILE[how], 2048) is None


@on_linux
def test_a_hostile_svg_takes_no_memory():
    code = f"""
import resource, sys
from nb_backend.media import svg as svg_module
svg_module._RENDER_TIMEOUT = 1
print(svg_module.render_svg(sys.stdin.buffer.read(), 2048))
print({PEAK})
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 2**10)
"""
    for hostile in HOSTILE.values():
        drawn, here, there = run(code, data=hostile).split()
        assert drawn == "None"
        assert int(here) < 150
        assert int(there) < 300


def test_without_a_renderer_nothing_is_rendered(monkeypatch):
    monkeypatch.setattr(svg_module.importlib.util, "find_spec", lambda name: None)
    assert render_svg(svg(SQUARE), 2048) is None


@settings(deadline=None, max_examples=50)
@given(st.binary() | st.builds(lambda at, other: svg(SQUARE)[:at] + other, st.integers(0, 140), st.binary(max_size=20)))
def test_nothing_is_raised_whatever_it_is(data):
    render_svg(data, 100)
