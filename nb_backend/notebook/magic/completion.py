"""Tab on a line of ``%backend`` or ``%%backend``: verbs, options, models, conversations, variables and pictures."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


_IDENTIFIER = "nb_backend"
_LINE = re.compile(r"\s*(?:[^%=\s][^%=]*=\s*)?%backend[ \t]+(?P<line>.*)|\s*%%backend[ \t]+(?P<options>.*)", re.DOTALL)
_HEAD = re.compile(r"\s*%%backend(\s|$)")


# As ``options.words`` cuts a line, but that the end of the line closes every quote.
_WORD = re.compile(r"""(?:"(?:\\"|[^"])*(?:"|\Z)|'[^']*(?:'|\Z)|[^\s"'])+""")
_NEEDS_QUOTES = re.compile(r"[\s'\"]")
_IMAGES = ("@output", "@clipboard")  # what -i names by a word of its own
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".svg", ".tif", ".tiff", ".avif", ".heic")


@dataclass(frozen=True)
class Known:
    """What a line may name. What costs something to find out is a function: it is asked only where it may stand."""

    options: Sequence[argparse.Action] = ()
    verbs: Sequence[str] = ()
    aliases: Sequence[str] = ()
    urls: Sequence[str] = ()
    variables: Sequence[str] = ()
    models: Callable[[], Iterable[str]] = list
    chats: Callable[[], Iterable[str]] = list
    pictures: Callable[[str], Iterable[str]] = lambda start: []

    def called(self, kind: str, start: str) -> list[str]:
        """Give what an option or a verb may be followed by; ``start`` is what of it is typed."""
        match kind:
            case "models" | "keep":
                return [*self.aliases, *self.models()]
            case "image":
                return [*self.variables, *_IMAGES, *self.pictures(start)]
            case "out":
                return list(self.variables)
            case "chat" | "history" | "reset":
                return list(self.chats())
        return []


class Completer:
    """Tells a shell's completer what may follow on our lines; there it then tells alone."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell

    def match(self, context: CompletionContext) -> SimpleMatcherResult:
        """Complete the word before the cursor, if it stands on a line of ours."""
        word, found = "", list[str]()
        before, after = context.text_until_cursor, context.line_with_cursor[context.cursor_position :]
        if _LINE.match(before) and not in_question(context.full_text.split("\n")[: context.cursor_line]):
            word, found = candidates(before, self._known())
        if after[:1] in ("'", '"') and word.count(after[0]) == 1:  # put there by an editor that closes quotes
            found = [text.removesuffix(after[0]) for text in found]
        completions = [SimpleCompletion(text, type="option" if text.startswith("-") else "name") for text in found]
        return {"completions": completions, "matched_fragment": word, "suppress": bool(found), "ordered": True}

    match.matcher_identifier = _IDENTIFIER  # type: ignore[attr-defined]
    match.matcher_api_version = 2  # type: ignore[attr-defined]
    match.matcher_priority = 100  # type: ignore[attr-defined]  # before Jedi, which then need not look

    def _known(self) -> Known:
        from ... import settings
        from ...providers.catalog import known_models
        from .commands import COMMANDS
        from .options import build_parser

        space, hidden = self._shell.user_ns, self._shell.user_ns_hidden
        return Known(
            options=build_parser()._actions,
            verbs=list(COMMANDS),
            aliases=sorted(settings.current.aliases),
            urls=_urls(),
            variables=sorted(name for name in list(space) if not name.startswith("_") and name not in hidden),
            models=known_models,
            chats=_chats,
            pictures=pictures,
        )


def register(shell: InteractiveShell) -> None:
    """Have a shell complete our lines; a second time changes nothing."""
    unregister(shell)
    shell.Completer.custom_matchers.append(Completer(shell).match)


def unregister(shell: InteractiveShell) -> None:
    """Take away what ``register`` added."""
    matchers = shell.Completer.custom_matchers
    matchers[:] = [matcher for matcher in matchers if getattr(matcher, "matcher_identifier", "") != _IDENTIFIER]


def in_question(above: list[str]) -> bool:
    """Tell whether what stands below these lines of a cell is the question of a ``%%backend``."""
    for line in above:
        if _HEAD.match(line):
            return True
        if line.strip() and not line.lstrip().startswith("%%"):  # what ``%%time`` has below it is a cell again
            return False
    return False


def candidates(before: str, known: Known) -> tuple[str, list[str]]:
    """Give the word at the end of ``before``, a line up to the cursor, and what may stand in its place.

    Each begins with that word. Where nothing of ours may stand, there are none.
    """
    found = _LINE.match(before)
    if found is None:
        return "", []
    if found["line"] is None:
        return _argument(found["options"], known)
    verb, space, rest = found["line"].partition(" ")
    rest = rest.lstrip()
    if not space:
        return _fitting(verb, [*filter(None, known.verbs), "ask", "fix"])
    match verb:
        case "fix":
            return _argument(rest, known)
        case "use":
            return _fitting(rest, known.called("models", rest))
        case "models":  # finds names that have a word within, and aliases are none
            return _fitting(rest, known.models())
        case "url":
            return _fitting(rest, ["default", *known.urls])
        case "alias":
            name, space, model = rest.partition(" ")
            return _fitting(model.lstrip(), known.models()) if space else _fitting(name, known.aliases)
    return _fitting(rest, _written(known.called(verb, rest), rest))


def pictures(start: str) -> list[str]:
    """Give the paths that begin so and are a picture, by its suffix, or a folder, which ends with a slash."""
    hidden = os.path.basename(start).startswith(".")
    folder = start[: len(start) - len(os.path.basename(start))]
    found = []
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:
            for entry in entries:
                name = entry.name + ("/" if entry.is_dir() else "")
                if name.lower().endswith((*_PICTURES, "/")) and (hidden or not name.startswith(".")):
                    found.append(folder + name)
    except (OSError, ValueError):  # no folder, or none that may be read, or no name for one
        return []
    return sorted(found)


def _argument(text: str, known: Known) -> tuple[str, list[str]]:
    """Complete the last word of what stands behind the magic, as argparse would read it."""
    *words, word = _words(text)
    option, start = _option(word, known.options)
    if option is not None and start and option.nargs != 0:  # --chat=NAME, -cNAME
        values = _values(option, word[len(start) :], known)
        if not start.endswith("="):  # only a whole word, or what follows its "=", is quoted
            values = [value for value in values if not _NEEDS_QUOTES.search(value)]
        return _fitting(word, [start + value for value in values])
    given: list[argparse.Action] = []
    waiting: argparse.Action | None = None  # for its value
    positions = [option for option in known.options if not option.option_strings]
    for earlier in words:
        option, start = _option(earlier, known.options)
        if option is not None:
            given.append(option)
            waiting = option if option.nargs != 0 and not start else None
        elif waiting is not None:
            waiting = None
    if waiting is not None:
        return _fitting(word, _values(waiting, word, known))
    positions = [] if word.startswith("-") else positions
    found = [name for option in positions for name in _values(option, word, known) if name not in words]
    for option in known.options:
        if option not in given or isinstance(option, argparse._AppendAction):  # which may be repeated
            found += option.option_strings if word else option.option_strings[-1:]
    return _fitting(word, found)


def _option(word: str, options: Sequence[argparse.Action]) -> tuple[argparse.Action | None, str]:
    """Give the option that a word names, and what of the word is before a value in it: ``--chat=``, ``-c``, or "" ."""
    name, equals, _ = word.partition("=")
    if not word.startswith("--"):
        name, equals = word[:2], ""
    for option in options:
        if name in option.option_strings:
            return option, name + equals if len(word) > len(name) else ""
    return None, ""


def _values(option: argparse.Action, word: str, known: Known) -> list[str]:
    if option.choices is not None:
        return [str(choice) for choice in option.choices]
    return _written(known.called(option.dest, word.lstrip("'\"")), word)


def _words(text: str) -> list[str]:
    """Cut a line into words; the last one, "" after a space, is the one being typed."""
    found = list(_WORD.finditer(text))
    ends_in_word = bool(found) and found[-1].end() == len(text)
    return [word[0] for word in found] + ([] if ends_in_word else [""])


def _written(names: Iterable[str], word: str) -> list[str]:
    """Write names as words of the line: in the quote that the word begins with, else in one if they need it."""
    begun = word[:1] if word[:1] in ("'", '"') else ""
    found = []
    for name in names:
        quote = begun or ("" if not _NEEDS_QUOTES.search(name) else "'" if '"' in name else '"')
        if not quote or not (quote in name or "\\" in name):
            found.append(quote + name + ("" if name.endswith("/") else quote))  # a folder goes on
    return found


def _fitting(word: str, names: Iterable[str]) -> tuple[str, list[str]]:
    """Keep the names that begin with a word; one with a line end in it, which a server may have sent, is none."""
    return word, list(dict.fromkeys(name for name in names if name.startswith(word) and name.isprintable()))


def _urls() -> list[str]:
    from ... import settings

    try:
        url = settings.url()
    except ValueError:  # the one in the environment is none
        return []
    return [url] if url else []


def _chats() -> list[str]:
    from ...chat.named_chats import chats

    return list(chats)
