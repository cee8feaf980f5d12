"""SVGs drawn as PNG, by resvg_py or cairosvg where one of them is installed, in a process of their own."""

from __future__ import annotations

import base64
import importlib.util
import math
import re
import subprocess
import sys
from pathlib import Path
from xml.parsers import expat

from .probe import pixel_size
from .sniff import BITMAPS, media_type

_DRAWN_LEAST, _DRAWN_MOST = 1024, 3072  # pixels of the long side of an SVG
_SVG_MOST = 8 * 2**20  # bytes
_SVG_DEEPEST = 100  # elements inside each other
_SVG_PIXELS = 2**24  # of the pictures in it
_DRAWING_TIME = 5  # seconds
_OUTSIDE = re.compile(r"""@import|url\((?!\s*+(?:["']\s*+)?(?:#|data:(?:font|application)/))""", re.IGNORECASE)
_UNITS = {"": 1, "px": 1, "pt": 4 / 3, "pc": 16, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96, "em": 16, "ex": 8}
_LENGTH = re.compile(r"\s*\+?([0-9.]{1,40}(?:[eE][+-]?[0-9]{1,3})?)([a-z]*)\s*")


# What draws runs alone: what is hostile may crash a renderer, fill the memory or never end. Of the fonts, the first one
# that draws anything is taken for the families that are not there, for which resvg would leave the text out.
_DRAW = """
import sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (2**28, 2**28))
except (ImportError, ValueError, OSError):
    pass
longer, side, has_text, *folders = sys.argv[1:]
side = int(side)
svg = sys.stdin.buffer.read().decode("utf-8-sig")
try:
    from resvg_py import svg_to_bytes
except ImportError:
    from cairosvg.surface import PNGSurface
    from cairosvg.url import fetch

    def inside(url, kind):
        if not url.startswith("data:"):
            raise ValueError
        return fetch(url, kind)

    png = PNGSurface.convert(svg.encode(), url_fetcher=inside, **{longer: side})
else:
    options = {"font_dirs": folders, "dpi": 96}  # without it, lengths in points and millimetres are 0
    if has_text == "True":
        probe = "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><text y='9' %s</text></svg>"
        drawn = lambda text: svg_to_bytes(probe % text, font_dirs=folders)
        draws = lambda font: drawn(f"font-family='{font}'>M") != drawn(">")
        font = next(filter(draws, ("Arial", "DejaVu Sans", "Liberation Sans", "Noto Sans", "Ubuntu", "Cantarell")))
        if font != "Arial":
            families = ("font_family", "sans_serif_family", "serif_family", "monospace_family")
            options |= dict.fromkeys(families, font)
    png = svg_to_bytes(svg, width=side, height=side, **options)
sys.stdout.buffer.write(png)
"""


def render_svg(data: bytes, max_side: int) -> bytes | None:
    """Draw an SVG as PNG, of 1024 pixels or more a side; ``None`` if no renderer is installed, or it cannot be drawn.

    Only what holds all that it shows is drawn: no file is read and nothing is fetched.
    """
    try:
        if len(data) > _SVG_MOST or not any(map(importlib.util.find_spec, ("resvg_py", "cairosvg"))):
            return None
        svg = _Svg()
        svg.read(data)
        side = int(min(max(*svg.size, _DRAWN_LEAST), max_side, _DRAWN_MOST))
        longer = "output_width" if svg.size[0] >= svg.size[1] else "output_height"
        command = [sys.executable, "-P", "-c", _DRAW, longer, str(side), str(svg.has_text), *_font_folders()]
        drawn = subprocess.run(  # noqa: S603 - no word of it comes from anybody else
            command,
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_DRAWING_TIME,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            check=True,
        ).stdout
        return drawn if max(pixel_size(drawn, "image/png") or (math.inf,)) <= max_side else None
    except Exception:  # it is damaged or not self-contained, or the renderer failed, crashed or did not end
        return None


class _Svg:
    """What is to be known of an SVG before it is drawn; ``ValueError`` if it is not to be drawn."""

    def __init__(self) -> None:
        self.size = 0.0, 0.0
        self.has_text = False
        self._open: list[str] = []
        self._styles: list[str] = []
        self._pixels = 0

    def read(self, data: bytes) -> None:
        parser = expat.ParserCreate("utf-8")  # as the renderers do, whatever it says of itself
        parser.StartDoctypeDeclHandler = self._doctype
        parser.ProcessingInstructionHandler = self._instruction
        parser.StartElementHandler = self._start
        parser.EndElementHandler = lambda name: self._open.pop()
        parser.CharacterDataHandler = self._text
        parser.Parse(data, True)
        self._check_style("".join(self._styles))

    def _doctype(self, name: str, system: str | None, public: str | None, has_subset: int) -> None:
        if has_subset:
            raise ValueError("it declares entities")

    def _instruction(self, target: str, text: str) -> None:
        if target == "xml-stylesheet":
            raise ValueError("its style is elsewhere")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        if not self._open:
            self.size = _natural_size(attributes)
        self._open.append(name)
        if len(self._open) > _SVG_DEEPEST:
            raise ValueError("it is nested too deep")
        if name == "foreignObject":
            raise ValueError("it holds HTML, which no renderer draws")
        self.has_text = self.has_text or name == "text"
        for key, value in attributes.items():
            key = key.rpartition(":")[2]
            if key in ("src", "base") or (key == "href" and name != "a"):
                self._check_reference(value.strip())
            elif key == "style":
                self._check_style(value)
            elif _OUTSIDE.search(value):
                raise ValueError("it refers to something else")

    def _text(self, text: str) -> None:
        if self._open[-1:] == ["style"]:
            self._styles.append(text)

    def _check_style(self, style: str) -> None:
        if "\\" in style or _OUTSIDE.search(style):  # an escape may spell anything
            raise ValueError("its style refers to something else")

    def _check_reference(self, value: str) -> None:
        """Let pass what is in the same SVG, and a picture whose bytes stand here: not an SVG, which may refer on."""
        if not value or value.startswith("#"):
            return
        start, _, coded = value.partition(";base64,")
        data = base64.b64decode("".join(coded.split()), validate=True) if start.startswith("data:image/") else b""
        kind = media_type(data) or ""
        width, height = pixel_size(data, kind) or (_SVG_PIXELS, _SVG_PIXELS)
        self._pixels += width * height
        if kind not in BITMAPS or self._pixels > _SVG_PIXELS:
            raise ValueError("it refers to something else, or holds too large a picture")


def _natural_size(attributes: dict[str, str]) -> tuple[float, float]:
    """Give the width and the height of an SVG in pixels, each 0 if it does not say."""
    box = re.split(r"[\s,]+", attributes.get("viewBox", "").strip())[2:4]
    width, height = (_pixels(attributes.get(side, "")) for side in ("width", "height"))
    if len(box) == 2 and not (width and height):
        width, height = map(_pixels, box)
    return width, height


def _pixels(length: str) -> float:
    found = _LENGTH.fullmatch(length)
    return float(found[1]) * _UNITS.get(found[2], 0) if found else 0.0


def _font_folders() -> list[str]:
    """Give where matplotlib has its fonts, which may be the only ones."""
    spec = importlib.util.find_spec("matplotlib")
    return [str(Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf")] if spec and spec.origin else []
