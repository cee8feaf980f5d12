"""How an option of ``%%backend`` is declared: as a field of a dataclass, with everything about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Option:
    """How an option is written on the line.

    ``flags`` are its spellings, the long one last; there are none if it is a positional argument. ``arguments`` are
    those of argparse's ``add_argument``. ``completes`` names what Tab offers for its value, a source of
    ``completion.Known``. ``in_body``: the value is sent as a field of the request's body, under the option's name.
    ``example`` is a value as it is typed, for messages.
    """

    flags: tuple[str, ...]
    arguments: Mapping[str, Any]
    completes: str
    in_body: bool
    example: str = ""
    name: str = ""

    @property
    def takes_value(self) -> bool:
        """Whether a value follows."""
        return self.arguments.get("action") != "store_true"

    @property
    def may_repeat(self) -> bool:
        """Whether the option may be given more than once."""
        return self.arguments.get("action") == "append"

    @property
    def choices(self) -> Sequence[str] | None:
        """The values that are allowed; ``None`` if any is."""
        return self.arguments.get("choices")


def option(
    *flags: str, default: Any = None, completes: str = "", in_body: bool = False, example: str = "", **arguments: Any
) -> Any:
    """Declare a field of ``Options``; the parameters are those of ``Option``."""
    metadata = {"option": Option(flags, arguments, completes, in_body, example)}
    if arguments.get("action") == "append":
        return field(default_factory=list, metadata=metadata)
    return field(default=default, metadata=metadata)


def flag(*flags: str, help: str) -> Any:
    """Declare a field of ``Options`` that is true if the option is given."""
    return option(*flags, default=False, action="store_true", help=help)


def option_of(word: str, options: Sequence[Option]) -> tuple[Option | None, str]:
    """Return the option that a word names, and the part of the word before a value: ``--chat=``, ``-c`` or ``""``.

    The beginning of a long option names it if only one begins like this.
    """
    name, equals, _ = word.partition("=")
    if not word.startswith("--"):
        name, equals = word[:2], ""
    named = [option for option in options if name in option.flags]
    if not named and len(name) > 2:
        named = [option for option in options if any(flag.startswith(name) for flag in option.flags)]
    if len(named) != 1:
        return None, ""
    return named[0], name + equals if len(word) > len(name) else ""
