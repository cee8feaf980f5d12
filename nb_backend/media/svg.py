"""SVG to PNG, by resvg_py or cairosvg if one of them is installed, in a subprocess."""

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

_MIN_SIDE, _MAX_SIDE = 1024, 3072  # pixels of the long side of the PNG
_MAX_BYTES = 8 * 2**20
_MAX_DEPTH = 100  # elements inside each other
_MAX_IMAGE_PIXELS = 2**24  # of all images inside the SVG
_RENDER_TIMEOUT = 5  # seconds
_OUTSIDE = re.compile(r"""@import|url\((?!\s*+(?:["']\s*+)?(?:#|data:(?:font|application)/))""", re.IGNORECASE)
_PIXELS_PER_UNIT = {
    "": 1, "px": 1, "pt": 4 / 3, "pc": 16, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96, "em": 16, "ex": 8,
}  # fmt: skip
_LENGTH = re.compile(r"\s*\+?([0-9.]{1,40}(?:[eE][+-]?[0-9]{1,3})?)([a-z]*)\s*")


# The renderer runs in a process of its own: a hostile SVG may crash it, fill the memory or never end. The first font
# that draws anything stands in for the families that are missing; resvg would leave their text out.
_RENDERER = """
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
    """Return an SVG as PNG, its long side 1024 to 3072 pixels and at most ``max_side``.

    ``None`` if no renderer is installed, or if it cannot be rendered. An SVG that refers to files or web addresses is
    not rendered: nothing outside of it is read.
    """
    try:
        if len(data) > _MAX_BYTES or not any(map(importlib.util.find_spec, ("resvg_py", "cairosvg"))):
            return None
        svg = _SvgCheck()
        svg.read(data)
        side = int(min(max(*svg.size, _MIN_SIDE), max_side, _MAX_SIDE))
        longer = "output_width" if svg.size[0] >= svg.size[1] else "output_height"
        command = [sys.executable, "-P", "-c", _RENDERER, longer, str(side), str(svg.has_text), *_font_folders()]
        png = subprocess.run(  # noqa: S603 - every argument is this module's own
            command,
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_RENDER_TIMEOUT,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            check=True,
        ).stdout
        return png if max(pixel_size(png, "image/png") or (math.inf,)) <= max_side else None
    except Exception:  # damaged, or not self-contained; or the renderer failed, crashed or did not end
        return None


class _SvgCheck:
    """A pass over an SVG before it is rendered: its size, whether it has text; ``ValueError`` if it is not safe."""

    def __init__(self) -> None:
        self.size = 0.0, 0.0
        self.has_text = False
        self._open_elements: list[str] = []
        self._styles: list[str] = []
        self._image_pixels = 0

    def read(self, data: bytes) -> None:
        parser = expat.ParserCreate("utf-8")  # the renderers also ignore the encoding that the SVG declares
        parser.StartDoctypeDeclHandler = self._on_doctype
        parser.ProcessingInstructionHandler = self._on_instruction
        parser.StartElementHandler = self._on_start
        parser.EndElementHandler = lambda name: self._open_elements.pop()
        parser.CharacterDataHandler = self._on_text
        parser.Parse(data, True)
        self._check_style("".join(self._styles))

    def _on_doctype(self, name: str, system: str | None, public: str | None, has_subset: int) -> None:
        if has_subset:
            raise ValueError("it declares entities")

    def _on_instruction(self, target: str, text: str) -> None:
        if target == "xml-stylesheet":
            raise ValueError("its style sheet is outside")

    def _on_start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        if not self._open_elements:
            self.size = _natural_size(attributes)
        self._open_elements.append(name)
        if len(self._open_elements) > _MAX_DEPTH:
            raise ValueError("it is nested too deeply")
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
                raise ValueError("an attribute refers to something outside")

    def _on_text(self, text: str) -> None:
        if self._open_elements[-1:] == ["style"]:
            self._styles.append(text)

    def _check_style(self, style: str) -> None:
        if "\\" in style or _OUTSIDE.search(style):  # an escape may spell "url" or "import"
            raise ValueError("its style refers to something outside")

    def _check_reference(self, value: str) -> None:
        """Accept an element of the same SVG, and a bitmap in a data URI. (An SVG in one could refer to more.)"""
        if not value or value.startswith("#"):
            return
        start, _, coded = value.partition(";base64,")
        # Strict, unlike parse_data_uri: a renderer must not decode other bytes than those that are checked here.
        data = base64.b64decode("".join(coded.split()), validate=True) if start.startswith("data:image/") else b""
        image_type = media_type(data) or ""
        width, height = pixel_size(data, image_type) or (_MAX_IMAGE_PIXELS, _MAX_IMAGE_PIXELS)
        self._image_pixels += width * height
        if image_type not in BITMAPS or self._image_pixels > _MAX_IMAGE_PIXELS:
            raise ValueError("it refers to something outside, or holds too large an image")


def _natural_size(attributes: dict[str, str]) -> tuple[float, float]:
    """Return the width and height of an SVG in pixels, 0 for one that it does not say."""
    box = re.split(r"[\s,]+", attributes.get("viewBox", "").strip())[2:4]
    width, height = (_pixels(attributes.get(side, "")) for side in ("width", "height"))
    if len(box) == 2 and not (width and height):
        width, height = map(_pixels, box)
    return width, height


def _pixels(length: str) -> float:
    found = _LENGTH.fullmatch(length)
    return float(found[1]) * _PIXELS_PER_UNIT.get(found[2], 0) if found else 0.0


def _font_folders() -> list[str]:
    """Return the folder of Matplotlib's fonts, which may be the only ones on this machine."""
    spec = importlib.util.find_spec("matplotlib")
    return [str(Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf")] if spec and spec.origin else []
