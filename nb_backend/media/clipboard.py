"""What is in the clipboard and can go along with a question."""

from __future__ import annotations

from typing import Any

_WHERE = "the clipboard is that of the machine the kernel runs on"


def clipboard() -> list[Any]:
    """Give the picture in the clipboard, as one of Pillow's, or the paths of the files that were copied.

    ``ValueError`` says in one line why there is nothing to give, and what to do.
    """
    try:
        from PIL import ImageGrab, UnidentifiedImageError
    except ImportError:
        raise ValueError("Pillow reads the clipboard, and it is not installed: pip install pillow") from None
    try:
        found = ImageGrab.grabclipboard()
    except NotImplementedError:
        tools = "install wl-clipboard (Wayland) or xclip (X11)"
        raise ValueError(f"nothing on this machine can read a clipboard: {tools}; {_WHERE}") from None
    except UnidentifiedImageError:
        raise ValueError(f"what is in the clipboard is no picture that Pillow can read; {_WHERE}") from None
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"the clipboard cannot be read: {said[:200]}; {_WHERE}") from error
    if not found:
        raise ValueError(f"there is no picture in the clipboard: copy one first; {_WHERE}")
    return found if isinstance(found, list) else [found]
