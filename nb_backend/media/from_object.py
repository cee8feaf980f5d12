"""Objects that show themselves as pictures: their bytes, without importing what did not bring the object.

By the first that fits: a picture of Pillow; what IPython displays; ``_repr_mimebundle_``, ``_repr_png_``,
``_repr_jpeg_``, ``_repr_svg_``; the figure of matplotlib that a thing is or is part of; what the notebook's formatters
show; a figure of plotly or a chart of altair, drawn. Besides: an array of pixels.
"""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from .png import MOST_PIXELS, check_size, png_of_array, png_of_image, render_lock
from .sniff import DISPLAY_TYPES, media_type, shown_bytes

_MOST_PARTS = 1000  # things of a list that are looked at
_MOST_STEPS = 8  # from an artist to its figure
_WAYS_UP = ("figure", "ax", "canvas", "_fig", "wedges", "lines")  # of a colour bar, a manager, an animation, a pie ...
_FAR = 4  # times the pixels of a figure: with more of them, what is drawn outside of it is left out


def picture_of(value: Any) -> bytes | str | None:
    """Give the bytes of an object's picture, or the address where it is; ``None`` if it has none.

    ``ValueError`` says in half a line why it cannot be given; somebody else's code may raise whatever it likes.
    """
    if is_of(value, "PIL", "Image"):
        return png_of_image(value)
    if is_of(value, "IPython", "Image", "SVG", "Audio"):
        return _displayed(value)
    if (found := _shown(value)) is not None:
        return found
    if (figure := figure_of(value)) is not None:
        return _drawn(figure)
    if (found := _in_notebook(value)) is not None:
        return found
    return _exported(value)


def pixels_of(value: Any) -> bytes | None:
    """Give an array of pixels as PNG; ``None`` if it is none. The errors are those of ``picture_of``."""
    if is_of(value, "pandas") or is_of(value, "polars"):
        return None  # a table is no picture, even though it is an array
    if not isinstance(value, type) and callable(getattr(value, "__array__", None)):
        return png_of_array(value)
    return None


def is_of(value: Any, package: str, *names: str) -> bool:
    """Tell whether a value is of one of a package's classes, or of any of them, without importing the package."""
    kinds = [kind for kind in type(value).__mro__ if str(kind.__module__).partition(".")[0] == package]
    return any(not names or kind.__name__ in names for kind in kinds)


def _displayed(value: Any) -> bytes | str:
    """Give what IPython.display.Image, SVG or Audio holds: its data, or the address that it links to."""
    data = value.data
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, bytes):
        return data
    if isinstance(url := getattr(value, "url", None), str):
        return url
    raise ValueError("there is nothing in it")


def _shown(value: Any) -> bytes | None:
    """Give the picture that an object's own methods give; raise what they raised if none of them gives one."""
    failure: Exception | None = None
    for show in _ways(value):
        try:
            found = [data for data in show() if (media_type(data) or "").startswith("image/")]
        except NotImplementedError:
            continue
        except Exception as error:
            failure = failure or error
        else:
            if found:
                return found[0]
    if failure is not None:
        raise failure
    return None


def _ways(value: Any) -> Iterator[Callable[[], Iterator[bytes]]]:
    kind = type(value)
    if callable(getattr(kind, "_repr_mimebundle_", None)):
        yield lambda: _best(value._repr_mimebundle_(include=set(DISPLAY_TYPES), exclude=None))
    for hook in ("_repr_png_", "_repr_jpeg_", "_repr_svg_"):
        if callable(getattr(kind, hook, None)):
            yield lambda hook=hook: iter([shown_bytes(_without_metadata(getattr(value, hook)()))])  # type: ignore[misc]


def _in_notebook(value: Any) -> bytes | None:
    """Give what the notebook's formatters show for an object, registered for its type or by its name."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    # what is built in has no picture, and what displays itself would do it now
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
    """Draw what has no picture to show, but knows how to make one: plotly's figures and altair's charts."""
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
        raise ValueError(f"{package} draws it as a picture only with {install}: pip install {install}")


def _best(shown: Any) -> Iterator[bytes]:
    bundle = _without_metadata(shown)
    return (shown_bytes(bundle[kind]) for kind in DISPLAY_TYPES if isinstance(bundle, Mapping) and kind in bundle)


def _without_metadata(shown: Any) -> Any:
    return shown[0] if isinstance(shown, tuple) and shown else shown


def figure_of(value: Any) -> Any:
    """Give the figure that a value is, is part of, or that all the parts of a list are part of; ``None`` if none is.

    ``ValueError`` if they are of several figures, or of none any more.
    """
    figures = {id(figure): figure for part in islice(_parts(value, depth=4), _MOST_PARTS) for figure in _figures(part)}
    if len(figures) > 1:
        raise ValueError(f"its parts belong to {len(figures)} figures: give one of them")
    return next(iter(figures.values()), None)


def _parts(value: Any, depth: int) -> Iterator[Any]:
    """Give what is in lists within lists, dicts, Series and arrays of objects, after each ``None``; else the value."""
    objects = (is_of(value, "numpy", "ndarray") or is_of(value, "pandas", "Series")) and value.dtype == object
    if not (objects or isinstance(value, Sequence | dict)) or isinstance(value, str | bytes):
        yield value
        return
    yield None
    parts = value.values() if isinstance(value, dict) else value.flat if hasattr(value, "flat") else value
    for part in parts if depth else ():
        yield from _parts(part, depth - 1)


def _figures(value: Any) -> Iterator[Any]:
    """Go up from an artist, or whatever of matplotlib has to do with a figure, to the whole of it."""
    if not (is_of(value, "matplotlib") or is_of(value, "seaborn")):
        return
    figure = value
    for _ in range(_MOST_STEPS):
        if is_of(figure, "matplotlib", "Figure"):
            yield figure
            return
        names = ("figure",) if is_of(figure, "matplotlib", "Artist") else _WAYS_UP
        ways = (getattr(figure, name, None) for name in names)
        up = next((way for way in ways if way is not None and way is not figure), None)
        figure = up[0] if isinstance(up, Sequence) and up else up
    if is_of(value, "matplotlib", "Artist"):
        raise ValueError("it belongs to no figure any more")


def _drawn(figure: Any) -> bytes:
    """Draw a figure as it is shown in the notebook, or without what lies far outside; it stays open, and as it was.

    Matplotlib changes a figure while it saves it: threads take turns.
    """
    file = io.BytesIO()
    width, height = (round(side * figure.dpi) for side in figure.get_size_inches())
    check_size(height, width)
    with render_lock:
        figure.draw_without_rendering()
        around = figure.get_tightbbox()
        most = min(_FAR * width * height, MOST_PIXELS)
        is_far = around.width * around.height * figure.dpi**2 > most
        figure.savefig(file, format="png", dpi="figure", bbox_inches=None if is_far else "tight")
    return file.getvalue()
