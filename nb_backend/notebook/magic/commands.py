"""``%backend``: show and change the settings, and manage the chats. A command is a function."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from ... import settings
from ...background import run
from ...chat.cache import AnswerCache
from ...chat.chat import Chat
from ...chat.history import describe_length
from ...chat.named_chats import chats
from ...errors import BackendError
from ...providers.catalog import available_models, listed_models
from ...text import truncate
from ..report import EMBEDDED, Report
from .line import KEY_ON_THE_LINE, refuse_key, words

if TYPE_CHECKING:
    from ...providers.model import Model


_Run: TypeAlias = Callable[[str], Report | Chat]


@dataclass(frozen=True)
class Command:
    """A command of ``%backend``: its arguments, as the help writes them, what it does, and its function."""

    arguments: str
    summary: str
    run: _Run


COMMANDS: Final[dict[str, Command]] = {}
"""The commands by their verbs, in the order of the help; the verb of ``%backend`` alone is ""."""

_ASKING = {  # what the magic does itself, as a cell's prompt
    "ask PROMPT": "Ask in one line.",
    "fix [OPTIONS]": "Ask about the last exception. The options are those of a cell: -f code adds a corrected cell.",
}
_ABILITIES = {"vision": "sees images", "audio": "audio", "image": "makes images"}


def command(line: str) -> Report | Chat:
    """Run the command of ``%backend LINE``; ``ValueError`` if there is no such command."""
    refuse_key(line)
    verb, rest = verb_of(line.strip().rstrip(";"))
    if verb not in COMMANDS:
        known = sorted([*filter(None, COMMANDS), *(usage.split()[0] for usage in _ASKING)])
        raise ValueError(f"%backend has no command {verb!r}: choose from {', '.join(known)}")
    return COMMANDS[verb].run(rest)


def verb_of(line: str) -> tuple[str, str]:
    """Split a line into its first word and the rest."""
    verb, *rest = line.split(None, 1)[:2] or [""]
    return verb, rest[0].strip() if rest else ""


def _command(usage: str) -> Callable[[_Run], _Run]:
    """Register a function as a command: its docstring is what the help says about it."""
    verb, arguments = verb_of(usage)

    def register(function: _Run) -> _Run:
        COMMANDS[verb] = Command(arguments, " ".join((function.__doc__ or "").split()), function)
        return function

    return register


@_command("")
def show_state(_: str) -> Report:
    """Show the server, whether it answers, the model, and whether a key is set."""
    urls = settings.urls()
    try:
        models = run(listed_models(settings.url()))
        named = ", ".join(_cell(model) for model in models[:3]) + (", …" if len(models) > 3 else "")
        reachable = f"reachable, {len(models)} model{'' if len(models) == 1 else 's'}: {named}"
    except BackendError as error:
        reachable = f"not reachable: {error}"
    return Report(
        f"- server: {urls[0] if urls else EMBEDDED} ({reachable})",
        *([f"- if that fails: {', '.join(urls[1:])}"] if urls[1:] else []),
        f"- model: {settings.model() or 'the choice of the server'}",
        f"- key: {'set' if settings.api_key() else 'not set'}",
        *([f"- aliases: {_aliases()}"] if settings.current.aliases else []),
        f"- chats: {chats}",
        "- more: `%backend help`, `%%backend?`",
    )


@_command("models [WORD]")
def list_models(wanted: str) -> Report:
    """List the server's models, or those with WORD in their name, and what each can do."""
    found = [model for model in run(available_models()) if wanted.lower() in f"{model.provider} {model}".lower()]
    if not found:
        return Report(f"no model has {wanted!r} in its name" if wanted else "the server lists no models")
    rows = [f"| {_cell(model)} | {_cell(model.provider)} | {_abilities(model)} |" for model in found]
    return Report("| model | provider | besides text |", "| --- | --- | --- |", *rows)


@_command("use [MODEL]")
def use_model(model: str) -> Report:
    """Ask this model in every cell that names none. Without MODEL, the server chooses again."""
    settings.current.model = " ".join(words(model)) or None
    return Report(f"cells that name no model ask {settings.model() or 'the one that the server chooses'}")


@_command("url [URL ...]")
def set_url(address: str) -> Report:
    """Ask the server at this url; of several, the next one if one fails. The word default goes back to NB_BACKEND_URL,
    or to the embedded backend.
    """
    if address:
        settings.current.url = None if address == "default" else " ".join(settings.urls(address))
    return Report(f"the server is {', or '.join(settings.urls()) or EMBEDDED}")


@_command("key")
def ask_for_key(typed: str) -> Report:
    """Ask for the key without showing it. It is kept in this process only."""
    if typed:
        raise ValueError(KEY_ON_THE_LINE)
    try:
        entered = settings.Secret(getpass.getpass("key: ").strip())  # a kernel replaces getpass.getpass
    except (RuntimeError, EOFError):
        raise ValueError("no key can be typed here: set NB_BACKEND_API_KEY before the kernel starts") from None
    settings.current.api_key = settings.secret(entered).value if entered.value else None
    return Report(f"the key is {'set' if settings.api_key() else 'not set'}")


@_command("alias [NAME [MODEL]]")
def set_alias(text: str) -> Report:
    """Name a model NAME for short. Without MODEL, the short name is removed."""
    name, *model = words(text) or [""]
    if model:
        settings.current.aliases[name] = " ".join(model)
    elif name:
        settings.current.aliases.pop(name, None)
    return Report(f"aliases: {_aliases() or 'none'}")


@_command("chats")
def list_chats(_: str) -> Report:
    """List the chats."""
    rows = [
        f"| {_cell(name)} | {describe_length(chat.messages)} | {_cell(_last_prompt(chat))} |"
        for name, chat in chats.items()
    ]
    if not rows:
        return Report("there is no chat yet: `%%backend` starts one")
    return Report("| chat | length | last prompt |", "| --- | --- | --- |", *rows)


@_command("history [NAME]")
def show_history(name: str) -> Chat:
    """Show a chat; without NAME, the one of the cells that name none."""
    return _chat(name)


@_command("reset [NAME]")
def reset_chat(name: str) -> Report:
    """Start a chat over: its messages are deleted, its system prompt and parameters stay."""
    chat = _chat(name)
    had = describe_length(chat.messages)
    chat.reset()
    return Report(f"the chat {name or 'main'} starts over; it had {had}")


@_command("cache [on, on FOLDER, off, clear or info]")
def use_cache(line: str) -> Report:
    """Show whether answers are stored and replayed, and where. on and off switch this, clear deletes the answers."""
    verb, folder = verb_of(line)
    if verb not in ("", "on", "off", "clear", "info") or (folder and verb != "on"):
        raise ValueError(f"%backend cache does not take {line!r}: write on, on FOLDER, off, clear or info")
    if verb in ("on", "off"):
        named = "".join(words(folder)[:1])
        settings.current.cache = str(settings.cache(named or True)) if verb == "on" else False
    active = settings.cache()
    store = AnswerCache(active or settings.cache(True))
    where = store.folder.relative_to(Path.cwd()) if store.folder.is_relative_to(Path.cwd()) else store.folder
    lines = [f"- the cache is {'on' if active else 'off'}: `{where}`"]
    if verb == "clear":
        lines.append(f"- deleted answers: {store.clear()}")
    elif verb not in ("on", "off"):  # their output is to be the same when a notebook runs again
        count, size = store.size()
        lines.append(f"- answers: {count} ({size / 2**20:.1f} of {store.max_bytes / 2**20:.0f} MB)")
        lines += ["- no server is asked: NB_BACKEND_CACHE_ONLY is set"] if settings.cache_only() else []
    return Report(*lines)


@_command("help")
def show_help(_: str) -> Report:
    """Show this table."""
    rows = {f"%backend {verb} {one.arguments}": one.summary for verb, one in COMMANDS.items()}
    rows |= {f"%backend {usage}": summary for usage, summary in _ASKING.items()}
    rows["%%backend [MODEL ...] [OPTIONS]"] = "Ask the prompt in the lines below; `%%backend?` shows the options."
    table = [f"| `{' '.join(usage.split())}` | {summary} |" for usage, summary in rows.items()]
    return Report("| command | what it does |", "| --- | --- |", *table)


def _chat(name: str) -> Chat:
    """Return the chat of this name, which may be in quotes; "main" is made if it is not there yet."""
    name = name.strip("\"'") or "main"
    if name != "main" and name not in chats:
        existing = f"choose from {', '.join(chats)}" if chats else "there are none yet"
        raise ValueError(f"there is no chat {name!r}: {existing}")
    return chats[name]


def _last_prompt(chat: Chat) -> str:
    prompts = [str(message.get("content") or "") for message in chat.messages if message["role"] == "user"]
    return truncate(prompts[-1], 60) if prompts else ""


def _abilities(model: Model) -> str:
    known = {what: getattr(model, ability) for ability, what in _ABILITIES.items()}
    if all(can is None for can in known.values()):
        return "?"
    return ", ".join(what for what, can in known.items() if can) or "–"


def _aliases() -> str:
    return ", ".join(f"{name} = {model}" for name, model in sorted(settings.current.aliases.items()))


def _cell(text: str) -> str:
    """Write a text in one line, for a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")
