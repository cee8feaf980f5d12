"""Images of objects that can show themselves, found without importing the object's package.

The first that fits is taken: an image of Pillow; what IPython displays; ``_repr_mimebundle_``, ``_repr_png_``,
``_repr_jpeg_``, ``_repr_svg_``; the figure of Matplotlib that the object is or is part of; what the notebook's
formatters show; a figure of plotly or a chart of altair, exported. Apart from these: an array of pixels.
"""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from .files import path_of, read, read_open
from .png import MAX_PIXELS, check_pixels, png_of_array, png_of_image, render_lock
from .probe import is_truncated
from .sniff import DISPLAY_TYPES, media_type, shown_bytes

_MAX_PARTS = 1000  # items of a list that are examined
_MAX_STEPS_UP = 8  # from an artist to its figure
# Attributes that lead from a color bar, a figure manager, an animation, a pie chart, ... towards the figure.
_TOWARDS_FIGURE = ("figure", "ax", "canvas", "_fig", "wedges", "lines")
_JPEG = ("JPEG", "MPO")  # Pillow's names; a camera writes MPO: a JPEG with more pictures behind it
_MAX_GROWTH = 4  # times the pixels of a figure; artists that would make it larger, far outside of it, are left out


def picture_of(value: Any) -> bytes | str | None:
    """Return the image of an object as bytes, or the web address where it is; ``None`` if it has none.

    Raises ``ValueError`` in half a line if it has one that cannot be read. The object's own code may raise anything.
    """
    if is_of(value, "PIL", "Image"):
        return _original_jpeg(value) or png_of_image(value)
    if is_of(value, "IPython", "Image", "SVG", "Audio"):
        return _of_display_object(value)
    if (found := _of_repr_methods(value)) is not None:
        return found
    if (figure := figure_of(value)) is not None:
        return _render_figure(figure)
    if (found := _of_formatters(value)) is not None:
        return found
    return _exported(value)


def pixels_of(value: Any) -> bytes | None:
    """Return an array of pixels as PNG; ``None`` if it is not an array. Raises what ``picture_of`` raises."""
    if is_of(value, "pandas") or is_of(value, "polars"):
        return None  # tables have __array__, and are not images
    if not isinstance(value, type) and callable(getattr(value, "__array__", None)):
        return png_of_array(value)
    return None


def is_of(value: Any, package: str, *names: str) -> bool:
    """Whether a value is an instance of a package's class of one of these names, or of any class of the package."""
    classes = [one for one in type(value).__mro__ if str(one.__module__).partition(".")[0] == package]
    return any(not names or one.__name__ in names for one in classes)


def _original_jpeg(image: Any) -> bytes | None:
    """Return the JPEG that Pillow has opened, if it has the pixels of the image; ``None`` if it is not there.

    An image that Pillow has not loaded yet is left so: its file would be closed, and could not be read again.
    ``ValueError`` if Pillow has not read the file yet and its end is missing, whatever the format: with the setting
    ``LOAD_TRUNCATED_IMAGES`` Pillow would make the rest grey.
    """
    file, kind = getattr(image, "fp", None), getattr(image, "format", None)
    if kind is None:  # it was not opened, but made
        return None
    try:
        data = read_open(file) if file is not None else read(path_of(image.filename)) if kind in _JPEG else b""
    except Exception:  # the file is closed, or gone
        return None
    found_type = media_type(data) or ""
    if file is not None and is_truncated(data, found_type):
        raise ValueError("its file is truncated: copy or save it again")
    if found_type != "image/jpeg":
        return None
    from PIL import Image

    with render_lock, Image.open(io.BytesIO(data), formats=["JPEG"]) as original:
        same = (original.mode, original.size, original.tell()) == (image.mode, image.size, image.tell())
        if same and not image.tile:  # it was loaded, and may have been drawn on since
            same = original.tobytes() == image.tobytes()
    return data if same else None


def _of_display_object(value: Any) -> bytes | str:
    """Return the data of an IPython.display Image, SVG or Audio, or the address that it links to."""
    data = value.data
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, bytes):
        return data
    if isinstance(url := getattr(value, "url", None), str):
        return url
    raise ValueError("it holds neither data nor a URL")


def _of_repr_methods(value: Any) -> bytes | None:
    """Return the first image that a repr method of the object gives; if none does, raise what the first one raised."""
    failure: Exception | None = None
    for show in _repr_methods(value):
        try:
            images = [data for data in show() if (media_type(data) or "").startswith("image/")]
        except NotImplementedError:
            continue
        except Exception as error:
            failure = failure or error
        else:
            if images:
                return images[0]
    if failure is not None:
        raise failure
    return None


def _repr_methods(value: Any) -> Iterator[Callable[[], Iterator[bytes]]]:
    own_type = type(value)
    if callable(getattr(own_type, "_repr_mimebundle_", None)):
        yield lambda: _of_mimebundle(value._repr_mimebundle_(include=set(DISPLAY_TYPES), exclude=None))
    for hook in ("_repr_png_", "_repr_jpeg_", "_repr_svg_"):
        if callable(getattr(own_type, hook, None)):
            yield lambda hook=hook: iter([shown_bytes(_without_metadata(getattr(value, hook)()))])  # type: ignore[misc]


def _of_mimebundle(shown: Any) -> Iterator[bytes]:
    bundle = _without_metadata(shown)
    return (shown_bytes(bundle[kind]) for kind in DISPLAY_TYPES if isinstance(bundle, Mapping) and kind in bundle)


def _without_metadata(shown: Any) -> Any:
    return shown[0] if isinstance(shown, tuple) and shown else shown


def _of_formatters(value: Any) -> bytes | None:
    """Return the image that the notebook's formatters show for an object, registered by its type or by its name."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    # Built-in types have no image, and an object with _ipython_display_ would be displayed now.
    if shell is None or type(value).__module__ == "builtins" or hasattr(type(value), "_ipython_display_"):
        return None
    formatters = [formatter for kind in DISPLAY_TYPES if (formatter := shell.display_formatter.formatters.get(kind))]
    for formatter in formatters:
        try:
            show = formatter.lookup(value)
        except KeyError:
            continue
        data = shown_bytes(_without_metadata(show(value)))
        if (media_type(data) or "").startswith("image/"):
            return data
    return None


def _exported(value: Any) -> bytes | None:
    """Return a figure of plotly or a chart of altair as PNG."""
    if is_of(value, "plotly") and callable(getattr(value, "to_image", None)):
        _check_installed("kaleido", "plotly")
        return bytes(value.to_image(format="png"))
    if is_of(value, "altair") and callable(getattr(value, "save", None)):
        _check_installed("vl_convert", "altair")
        value.save(file := io.BytesIO(), format="png")
        return file.getvalue()
    return None


def _check_installed(renderer: str, package: str) -> None:
    if importlib.util.find_spec(renderer) is None:
        install = {"vl_convert": "vl-convert-python"}.get(renderer, renderer)
        raise ValueError(f"{package} needs {install} to make an image of it: pip install {install}")


def figure_of(value: Any) -> Any:
    """Return the figure of Matplotlib that a value is, is part of, or that all items of a list are part of.

    ``None`` if there is none. ``ValueError`` if the items belong to several figures, or to none any more.
    """
    figures = {id(figure): figure for part in islice(_parts(value, depth=4), _MAX_PARTS) for figure in _figures(part)}
    if len(figures) > 1:
        raise ValueError(f"its parts belong to {len(figures)} figures: give one of them")
    return next(iter(figures.values()), None)


def _parts(value: Any, depth: int) -> Iterator[Any]:
    """Yield the items of nested lists, dicts, Series and arrays of objects; any other value is its only part.

    ``None`` comes before the items of each list, so that empty lists count towards ``_MAX_PARTS``, too.
    """
    objects = (is_of(value, "numpy", "ndarray") or is_of(value, "pandas", "Series")) and value.dtype == object
    if not (objects or isinstance(value, Sequence | dict)) or isinstance(value, str | bytes):
        yield value
        return
    yield None
    parts = value.values() if isinstance(value, dict) else value.flat if hasattr(value, "flat") else value
    for part in parts if depth else ():
        yield from _parts(part, depth - 1)


def _figures(value: Any) -> Iterator[Any]:
    """Yield the figure that an artist, or another object of Matplotlib or seaborn, belongs to."""
    if not (is_of(value, "matplotlib") or is_of(value, "seaborn")):
        return
    current = value
    for _ in range(_MAX_STEPS_UP):
        if is_of(current, "matplotlib", "Figure"):
            yield current
            return
        names = ("figure",) if is_of(current, "matplotlib", "Artist") else _TOWARDS_FIGURE
        parents = (getattr(current, name, None) for name in names)
        parent = next((one for one in parents if one is not None and one is not current), None)
        current = parent[0] if isinstance(parent, Sequence) and parent else parent
    if is_of(value, "matplotlib", "Artist"):
        raise ValueError("it does not belong to a figure any more")


def _render_figure(figure: Any) -> bytes:
    """Return a figure as PNG, as the notebook shows it, without artists that lie far outside; it is not changed.

    Matplotlib changes a figure while it saves it, so one thread saves at a time.
    """
    file = io.BytesIO()
    width, height = (round(side * figure.dpi) for side in figure.get_size_inches())
    check_pixels(height, width)
    with render_lock:
        figure.draw_without_rendering()
        around = figure.get_tightbbox()
        most = min(_MAX_GROWTH * width * height, MAX_PIXELS)
        is_far = around.width * around.height * figure.dpi**2 > most
        figure.savefig(file, format="png", dpi="figure", bbox_inches=None if is_far else "tight")
    return file.getvalue()
