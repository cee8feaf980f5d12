"""Images and files from the clipboard."""

from __future__ import annotations

from typing import Any

_WHERE = "the clipboard is that of the machine the kernel runs on"


def clipboard() -> list[Any]:
    """Return the image in the clipboard, as one of Pillow's, or the paths of the files that were copied.

    Raises ``ValueError`` with one line if there is nothing to attach: why, and what to do.
    """
    try:
        from PIL import ImageGrab, UnidentifiedImageError
    except ImportError:
        raise ValueError("reading the clipboard needs Pillow: pip install pillow") from None
    try:
        found = ImageGrab.grabclipboard()
    except NotImplementedError:
        tools = "install wl-clipboard (Wayland) or xclip (X11)"
        raise ValueError(f"this machine has no program that reads the clipboard: {tools}; {_WHERE}") from None
    except UnidentifiedImageError:
        raise ValueError(f"the clipboard holds something that Pillow cannot read as an image; {_WHERE}") from None
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"the clipboard cannot be read: {reason[:200]}; {_WHERE}") from error
    if not found:
        raise ValueError(f"there is no image in the clipboard: copy one first; {_WHERE}")
    return found if isinstance(found, list) else [found]
