"""Tab on a line of ``%backend`` or ``%%backend``: verbs, options, models, chats, variables and images."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult

from .declaration import Option, option_of
from .line import words
from .model_names import can_be_name
from .options import declared

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


_IDENTIFIER = "nb_backend"
_LINE = re.compile(r"\s*(?:[^%=\s][^%=]*=\s*)?%backend[ \t]+(?P<line>.*)|\s*%%backend[ \t]+(?P<options>.*)", re.DOTALL)
_HEAD = re.compile(r"\s*%%backend(\s|$)")
# As ``line.words`` splits a line, except that the end of the line closes every quote.
_WORD = re.compile(r"""(?:"(?:\\"|[^"])*(?:"|\Z)|'[^']*(?:'|\Z)|[^\s"'])+""")
_IMAGE_WORDS = ("@output", "@clipboard")  # of -i
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".svg", ".tif", ".tiff", ".avif", ".heic")


@dataclass(frozen=True)
class Known:
    """What a line may name. A function is called only where its names may stand, as it takes time."""

    options: Sequence[Option] = ()
    fix_options: Sequence[Option] = ()
    verbs: Sequence[str] = ()
    aliases: Sequence[str] = ()
    urls: Sequence[str] = ()
    services: Sequence[str] = ()
    dialects: Callable[[], Iterable[str]] = list
    variables: Sequence[str] = ()
    models: Callable[[], Iterable[str]] = list
    models_of: Callable[[str], Iterable[str]] = lambda service: []
    chats: Callable[[], Iterable[str]] = list
    tools: Callable[[], Iterable[str]] = list
    image_paths: Callable[[str], Iterable[str]] = lambda start: []
    local_models: Callable[[], Iterable[str]] = list
    mcp_servers: Callable[[], Iterable[str]] = list

    def values(self, source: str, start: str) -> list[str]:
        """Return the names of a source, which ``Option.completes`` names; ``start`` is what is typed of one."""
        match source:
            case "models":
                return [*self.aliases, *self.all_models(start)]
            case "images":
                return [*self.variables, *_IMAGE_WORDS, *self.image_paths(start)]
            case "variables":
                return list(self.variables)
            case "tools":
                return list(self.tools())
            case "chats":
                return list(self.chats())
        return []

    def all_models(self, start: str) -> list[str]:
        """Return the models of the server and ``SERVICE:``, or the models of the service that ``start`` names."""
        service, colon, _ = start.partition(":")
        if colon and service.lower() in self.services:
            return [*self.models(), *(f"{service}:{name}" for name in self.models_of(service))]
        return [*self.models(), *(f"{name}:" for name in self.services if start)]


class Completer:
    """Matcher for a shell's completer: on lines of ours, its names replace those of all other matchers."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell

    def match(self, context: CompletionContext) -> SimpleMatcherResult:
        """Complete the word before the cursor, if it is on a line of ours."""
        word, found = "", list[str]()
        before, after = context.text_until_cursor, context.line_with_cursor[context.cursor_position :]
        if _LINE.match(before) and not is_in_prompt(context.full_text.split("\n")[: context.cursor_line]):
            word, found = candidates(before, self._known())
        if after[:1] in ("'", '"') and word.count(after[0]) == 1:  # inserted by an editor that closes quotes
            found = [text.removesuffix(after[0]) for text in found]
        completions = [SimpleCompletion(text, type="option" if text.startswith("-") else "name") for text in found]
        return {"completions": completions, "matched_fragment": word, "suppress": bool(found), "ordered": True}

    match.matcher_identifier = _IDENTIFIER  # type: ignore[attr-defined]
    match.matcher_api_version = 2  # type: ignore[attr-defined]
    match.matcher_priority = 100  # type: ignore[attr-defined]  # before Jedi, which is then not called

    def _known(self) -> Known:
        from ... import settings
        from ...providers.catalog import known_models
        from .commands import known_verbs
        from .fix_until import FixOptions
        from .servers import names_of_services

        space, hidden = self._shell.user_ns, self._shell.user_ns_hidden
        variables = sorted(name for name in list(space) if not name.startswith("_") and name not in hidden)
        return Known(
            options=declared(),
            fix_options=declared(FixOptions),
            verbs=known_verbs(),
            aliases=sorted(settings.current.aliases),
            urls=_urls(),
            services=[*names_of_services()],
            dialects=_dialects,
            variables=variables,
            models=known_models,
            models_of=_models_of,
            chats=_chats,
            tools=lambda: _tools({name: space.get(name) for name in variables}),
            image_paths=image_paths,
            local_models=_local_models,
            mcp_servers=_mcp_servers,
        )


def register(shell: InteractiveShell) -> None:
    """Add the matcher to a shell; a second call changes nothing."""
    unregister(shell)
    shell.Completer.custom_matchers.append(Completer(shell).match)


def unregister(shell: InteractiveShell) -> None:
    """Remove the matcher from a shell."""
    matchers = shell.Completer.custom_matchers
    matchers[:] = [matcher for matcher in matchers if getattr(matcher, "matcher_identifier", "") != _IDENTIFIER]


def is_in_prompt(above: list[str]) -> bool:
    """Whether the line below these lines of a cell belongs to the prompt of a ``%%backend``."""
    for line in above:
        if _HEAD.match(line):
            return True
        if line.strip() and not line.lstrip().startswith("%%"):  # below ``%%time`` begins a cell of its own
            return False
    return False


def candidates(before: str, known: Known) -> tuple[str, list[str]]:
    """Return the word at the end of ``before``, a line up to the cursor, and the words that can replace it.

    Each of them begins with that word. There are none if nothing of ours can stand there.
    """
    found = _LINE.match(before)
    if found is None:
        return "", []
    if found["line"] is None:
        return _complete_argument(found["options"], known)
    verb, space, rest = found["line"].partition(" ")
    rest = rest.lstrip()
    if verb != "ask" and (verb.startswith("#") or re.search(r"(?:^|\s)#", rest)):  # in a comment
        return "", []
    if not space:
        return _fitting(verb, known.verbs)
    match verb:
        case "fix":
            return _complete_argument(rest, replace(known, options=known.fix_options or known.options))
        case "continue":
            return _complete_argument(rest, known)
        case "use":
            return _fitting(rest, known.values("models", rest))
        case "models":  # which lists names of the server: an alias finds nothing
            service, space, word = rest.partition(" ")
            if space and service in known.services:
                return _fitting(word.lstrip(), known.models_of(service))
            return _fitting(rest, [*known.models(), *known.services])
        case "local":
            return _fitting(rest, known.local_models())
        case "url":
            return _complete_url(rest, known)
        case "key":
            *earlier, word = _split(rest)
            options = ["--keep", "--forget"] if not {"--keep", "--forget"} & {*earlier} else []
            return _fitting(word, [*(known.services if not {*earlier} & {*known.services} else ()), *options])
        case "alias":
            name, space, model = rest.partition(" ")
            return (
                _fitting(model.lstrip(), known.all_models(model.lstrip())) if space else _fitting(name, known.aliases)
            )
        case "mcp":
            verb, space, name = rest.partition(" ")
            names = known.mcp_servers() if verb == "remove" else ()
            return _fitting(name.lstrip(), names) if space else _fitting(verb, ["add", "remove"])
        case "history" | "reset":
            return _fitting(rest, _quoted(known.values("chats", rest), rest))
    return "", []


def image_paths(start: str) -> list[str]:
    """Return the paths that begin with ``start`` and have the suffix of an image; folders too, with a slash behind."""
    hidden = os.path.basename(start).startswith(".")
    folder = start[: len(start) - len(os.path.basename(start))]
    found = []
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:
            for entry in entries:
                name = entry.name + ("/" if entry.is_dir() else "")
                if name.lower().endswith((*_IMAGE_SUFFIXES, "/")) and (hidden or not name.startswith(".")):
                    found.append(folder + name)
    except (OSError, ValueError):  # no such folder, or it may not be read
        return []
    return sorted(found)


def _complete_url(text: str, known: Known) -> tuple[str, list[str]]:
    """Complete the last word of ``%backend url``: a url or a service, ``--api``, or a dialect."""
    *earlier, word = _split(text)
    if earlier[-1:] == ["--api"]:
        return _fitting(word, known.dialects())
    if word.startswith("--api="):
        return _fitting(word, [f"--api={name}" for name in known.dialects()])
    has_api = any(one.startswith("--api") for one in earlier)
    if word.startswith("-") or (earlier and not has_api):
        return _fitting(word, [] if has_api else ["--api"])
    return _fitting(word, ["default", *known.urls, *known.services])


def _complete_argument(text: str, known: Known) -> tuple[str, list[str]]:
    """Complete the last word of what follows the magic: a value of an option, a model, or an option."""
    *earlier, word = _split(text)
    if any(one.startswith("#") for one in (*earlier, word)):  # in a comment
        return "", []
    option, start = option_of(word, known.options)
    if option is not None and start and option.takes_value:  # --chat=NAME, -cNAME
        values = _values_of(option, word[len(start) :], known)
        if not start.endswith("="):  # only a whole word, or what follows its "=", is quoted
            values = [value for value in values if not _needs_quotes(value)]
        return _fitting(word, [start + value for value in values])
    given, expects_value = _options_in(earlier, known.options)
    if expects_value is not None:
        return _fitting(word, _values_of(expects_value, word, known))
    found: list[str] = []
    for option in known.options:
        if not option.flags and not word.startswith("-"):
            found += [name for name in _values_of(option, word, known) if name not in earlier]
    for option in known.options:
        if option not in given or option.may_repeat:
            found += option.flags if word else option.flags[-1:]
    return _fitting(word, found)


def _options_in(typed: Iterable[str], options: Sequence[Option]) -> tuple[list[Option], Option | None]:
    """Return the options that words name, and the last one if the next word is its value."""
    given: list[Option] = []
    expects_value: Option | None = None
    for word in typed:
        option, start = option_of(word, options)
        if option is not None:
            given.append(option)
            expects_value = option if option.takes_value and not start else None
        else:
            expects_value = None
    return given, expects_value


def _values_of(option: Option, word: str, known: Known) -> list[str]:
    if option.choices is not None:
        return list(option.choices)
    found = known.values(option.completes, word.lstrip("'\""))
    begun = [name for name in found if name.endswith(":") and name[:-1] in known.services]  # a model follows
    names = _quoted([name for name in found if name not in begun], word)
    if option.completes != "models":
        return names
    names = [name if can_be_name(name) or name in known.aliases else _in_quotes(name) for name in names]
    quote = word[: len(word) - len(word.lstrip("'\""))]
    return [*names, *(quote + name for name in begun)]


def _split(text: str) -> list[str]:
    """Split a line into words; the last one is being typed, and is "" after a space."""
    found = list(_WORD.finditer(text))
    ends_in_word = bool(found) and found[-1].end() == len(text)
    return [word[0] for word in found] + ([] if ends_in_word else [""])


def _quoted(names: Iterable[str], word: str) -> list[str]:
    """Quote names: with the quote that the word begins with, else only if they need it."""
    typed = word[:1] if word[:1] in ("'", '"') else ""
    found = []
    for name in names:
        quote = typed or ("" if not _needs_quotes(name) else "'" if '"' in name else '"')
        if not quote or not (quote in name or "\\" in name):
            found.append(quote + name + ("" if name.endswith("/") else quote))  # a folder's path continues
    return found


def _in_quotes(name: str) -> str:
    return name if name[:1] in ("'", '"') else f'"{name}"'


def _needs_quotes(name: str) -> bool:
    """Whether the line reads a name as something else if it is not in quotes."""
    try:
        return words(name) != [name] or bool(re.search("['\"]", name))
    except ValueError:  # a quote is not closed
        return True


def _fitting(word: str, names: Iterable[str]) -> tuple[str, list[str]]:
    """Keep the names that begin with the word; not those with control characters, which a server may have sent."""
    return word, list(dict.fromkeys(name for name in names if name.startswith(word) and name.isprintable()))


def _urls() -> list[str]:
    from ... import settings

    try:
        url = settings.url()
    except ValueError:  # NB_BACKEND_URL is not a url
        return []
    return [url] if url else []


def _dialects() -> list[str]:
    from ...providers.registry import DIALECTS

    return [*DIALECTS]


def _models_of(service: str) -> list[str]:
    """Return the models of a service, if it is on this machine or has a key."""
    from ...providers.catalog import known_models
    from ...providers.key_errors import missing_key
    from ...providers.registry import resolve
    from ...settings import Secret

    try:
        api, _ = resolve("", service)
        return [] if missing_key(api, api.key(Secret())) else known_models(url=service)
    except ValueError:  # a setting of the service is wrong
        return []


def _local_models() -> list[str]:
    from .local_model import names_of_models

    return names_of_models()


def _tools(variables: dict[str, Any]) -> list[str]:
    from .named_tools import tool_names

    return [*tool_names(variables)]


def _chats() -> list[str]:
    from ...chat.named_chats import chats

    return list(chats)


def _mcp_servers() -> list[str]:
    from .mcp_servers import names_of_servers

    return names_of_servers()
