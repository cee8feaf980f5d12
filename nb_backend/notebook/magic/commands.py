"""``%backend``: show and change the settings, and manage the chats. A command is a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from ... import settings
from ...background import run
from ...chat.cache import AnswerCache
from ...chat.chat import Chat
from ...chat.messages import describe_length
from ...chat.named_chats import chats
from ...errors import BackendError
from ...providers.catalog import available_models, does_not_list, known_models, names_listed
from ...providers.key_errors import asked_service, missing_key, needs_model
from ...providers.registry import resolve
from ...providers.unknown_model import closest_models, is_listed
from ...services import Service, closest_services, find_service
from ...text import shorten, truncate
from ..report import Report
from .line import KEY_ON_THE_LINE, Word, refuse_key, words
from .mistakes import refuse_text, refuse_variable
from .model_names import can_be_name, is_alias, meant_names, split_at_commas
from .verbs import ASKING, unknown_verb, verb_of

if TYPE_CHECKING:
    from ...providers.model import Model


_Run: TypeAlias = Callable[..., Report | Chat]


@dataclass(frozen=True)
class Command:
    """A command of ``%backend``: its arguments, as the help writes them, what it does, and its function.

    The function takes the words after the verb, and ``most`` is how many of them; ``None`` if it checks that itself.
    """

    arguments: str
    summary: str
    run: _Run
    most: int | None


COMMANDS: Final[dict[str, Command]] = {}
"""The commands by their verbs, in the order of the help; the verb of ``%backend`` alone is ""."""

_ABILITIES = {"vision": "sees images", "audio": "audio", "image": "makes images"}


def command(line: str) -> Report | Chat:
    """Run the command of ``%backend LINE``; ``ValueError`` if there is no such command, or if its words are wrong."""
    refuse_key(line)
    verb, rest = verb_of(line.lstrip("\ufeff\u200b"))
    verb = "" if verb.startswith("#") else verb.rstrip(";")
    if verb not in COMMANDS:
        raise unknown_verb(verb, rest, known_verbs())
    try:
        found, given = COMMANDS[verb], words(rest) if verb else []
    except ValueError:
        if verb == "key":  # no message may repeat what follows, as it may be a key
            raise ValueError(KEY_ON_THE_LINE) from None
        raise
    if found.most is not None and len(given) > found.most:
        form = " ".join(["%backend", verb, *(f'"{one}"' if " " in one else one for one in given[: found.most])])
        names = "; a name with spaces goes in quotes" if found.most else ""
        raise ValueError(f"%backend {verb} takes {_COUNTS[found.most]}: write {shorten(form)}{names}")
    return found.run(*given)


def known_verbs() -> list[str]:
    """Return the verbs of all commands, also of those that ask."""
    return [*filter(None, COMMANDS), *(usage.split()[0] for usage in ASKING)]


_COUNTS = ("nothing after it", "one word", "at most two words")


def _command(usage: str, most: int | None = 0) -> Callable[[_Run], _Run]:
    """Register a function as a command: its docstring is what the help says about it."""
    verb, arguments = verb_of(usage)

    def register(function: _Run) -> _Run:
        COMMANDS[verb] = Command(arguments, " ".join((function.__doc__ or "").split()), function, most)
        return function

    return register


@_command("")
def show_state() -> Report:
    """Show the server, whether it answers, the model, the dialect, and whether a key is set."""
    from .servers import state

    return Report(
        *state(),
        *([f"- aliases: {_aliases()}"] if settings.current.aliases else []),
        f"- chats: {chats}",
        *([f"- tools: turned off by `{off}`"] if (off := settings.tools_off()) else []),
        "- more: `%backend help`, `%%backend?`",
    )


@_command("services")
def list_services() -> Report:
    """List the services, whether each has a key, and which of this machine answer now."""
    from .servers import list_all

    return list_all()


@_command("models [SERVICE] [WORD]", 2)
def list_models(named: str = "", wanted: str = "") -> Report:
    """List the models of the server or of SERVICE, or those with WORD in their name."""
    service, word = _service_and_word(named, wanted)
    api, _ = resolve("", service.name if service else None)
    try:
        models = run(available_models(service.name if service else None))
    except BackendError as error:
        if not does_not_list(error):
            raise
        models = []
    if not models:
        from .servers import no_models

        name = f"{service.name}:MODEL" if service else "MODEL"
        return Report(f"the server is reachable{no_models(api)}. Ask one by its name with `%%backend {name}`")
    found = [model for model in models if word.lower() in f"{model.provider} {model}".lower()]
    if not found:
        close = " or ".join(map(_cell, closest_models(word, map(str, models))))
        close = close or " or ".join(f"the service {name}" for name in closest_services(word))
        meant = f"did you mean {close}? " if close else ""
        all_ = f"%backend models {service.name}" if service else "%backend models"
        return Report(f"no model has {_cell(word)!r} in its name: {meant}`{all_}` lists all")
    return Report(
        *_model_table(found), *(["", f"`%%backend {service.name}:{_cell(found[0])}` asks one"] if service else [])
    )


def _model_table(models: Sequence[Model]) -> list[str]:
    """Return the rows of a table of models; services list no providers."""
    if not any(model.provider for model in models):
        return [
            "| model | besides text |",
            "| --- | --- |",
            *(f"| {_cell(one)} | {_abilities(one)} |" for one in models),
        ]
    rows = [f"| {_cell(model)} | {_cell(model.provider)} | {_abilities(model)} |" for model in models]
    return ["| model | provider | besides text |", "| --- | --- | --- |", *rows]


def _service_and_word(first: str, second: str) -> tuple[Service | None, str]:
    """Return the service whose models are to be listed, ``None`` for the server, and the word in their names.

    One word is searched for at the server that is set if it is in quotes, or the name of a service that has no key.
    """
    before, colon, rest = first.partition(":")
    if colon and not second and (service := find_service(before)):  # as in a cell, openai:gpt
        return service, rest
    service = find_service(first)
    if second and service is None:
        if close := " or ".join(closest_services(first)):
            raise ValueError(f"there is no service {shorten(first)!r}: did you mean {close}?")
        form = f"write %backend models {shorten(first)}"
        raise ValueError(f"%backend models takes one word: {form}; a name with spaces goes in quotes")
    if service is None or (isinstance(first, Word) and first.is_quoted):
        return None, first
    is_word = not (second or service.is_local or service == settings.service()) and bool(settings.urls())
    return (None, first) if is_word and not settings.service_key(service).value else (service, second)


@_command("use [MODEL]", None)
def use_model(*given: Word) -> Report:
    """Ask this model in every cell that names none; without MODEL, the server chooses again."""
    name = _model_name("use", given) if given else None
    if name and not (given[0].is_quoted or is_alias(name)):
        _refuse_unlisted(name)
    settings.current.model = name
    return Report(f"cells that name no model ask {settings.model() or 'the one that the server chooses'}")


@_command("url [SERVICE, URL ...] [--api NAME]", None)
def set_url(*given: Word) -> Report:
    """Ask this service, or the server at this url, or the next one; url default undoes this."""
    from .servers import change_url

    return change_url(given)


@_command("local [MODEL]", None)
def use_local_model(*given: Word) -> Report:
    """Run hf:ORG/REPO[:FILE] or a .gguf file in the embedded backend; local default undoes this."""
    from .local_model import local_model

    return local_model(given)


@_command("key [SERVICE] [--keep, --forget]", None)
def ask_for_key(*given: Word) -> Report:
    """Ask for a key without showing it; --keep stores it in the system keyring, too."""
    from .keys import key_command

    return key_command(given)


@_command("alias [NAME [MODEL]]", None)
def set_alias(*given: Word) -> Report:
    """Name a model NAME for short; without MODEL, the short name is removed."""
    if given[1:]:
        settings.current.aliases[str(given[0])] = _model_name(f"alias {given[0]}", given[1:])
    elif given:
        name, equals, model = given[0].partition("=")
        if equals and not (is_alias(given[0]) or given[0].is_quoted):
            raise ValueError(f"write %backend alias {shorten(name)} {shorten(model) or 'MODEL'}, without the =")
        settings.current.aliases.pop(given[0], None)
    return Report(f"aliases: {_aliases() or 'none'}")


@_command("chats")
def list_chats() -> Report:
    """List the chats."""
    rows = [
        f"| {_cell(name)} | {describe_length(chat.messages)} | {_cell(_last_prompt(chat))} |"
        for name, chat in chats.items()
    ]
    if not rows:
        return Report("there is no chat yet: `%%backend` starts one")
    return Report("| chat | length | last prompt |", "| --- | --- | --- |", *rows)


@_command("history [NAME]", None)
def show_history(*name: str) -> Chat:
    """Show a chat; without NAME, that of the cells that name none."""
    return _chat(" ".join(name))


@_command("reset [NAME]", None)
def reset_chat(*words_of_name: str) -> Report:
    """Start a chat over: its messages are deleted, its system prompt and parameters stay."""
    name = " ".join(words_of_name)
    chat = _chat(name)
    had = describe_length(chat.messages)
    chat.reset()
    return Report(f"the chat {name or 'main'} starts over; it had {had}")


@_command("restore [NOTEBOOK]", None)
def restore(*words_of_name: str) -> Report:
    """Put what the cells of the saved notebook asked back into the chats. No cell runs."""
    from .restore import restore_cells

    return restore_cells(" ".join(words_of_name))


@_command("cache [on [FOLDER], off, clear, info]", None)
def use_cache(verb: str = "", *folder: str) -> Report:
    """Show whether answers are stored and replayed, switch this, or delete the answers."""
    if verb not in ("", "on", "off", "clear", "info") or len(folder) > (verb == "on"):
        line = shorten(" ".join((verb, *folder)))
        raise ValueError(f"%backend cache does not take {line!r}: write on, on FOLDER, off, clear or info")
    if verb in ("on", "off"):
        settings.current.cache = str(settings.cache("".join(folder) or True)) if verb == "on" else False
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


@_command("mcp [add NAME COMMAND, remove NAME]", None)
def manage_mcp_servers(*given: Word) -> Report:
    """List the MCP servers, connect to one by its command or URL, or end one."""
    from .mcp_servers import mcp_command

    return mcp_command(given)


@_command("help")
def show_help() -> Report:
    """Show this table."""
    rows = {"%%backend [MODEL, ...] [OPTIONS]": "Ask the prompt in the lines below; `%%backend?` shows the options."}
    rows |= {f"%backend {usage}": summary for usage, summary in ASKING.items()}
    rows |= {f"%backend {verb} {one.arguments}": one.summary for verb, one in COMMANDS.items()}
    table = [f"| `{' '.join(usage.split())}` | {summary} |" for usage, summary in rows.items()]
    return Report("| command | what it does |", "| --- | --- |", *table)


def _chat(name: str) -> Chat:
    """Return the chat of this name; "main" is made if it is not there yet."""
    name = name or "main"
    if name != "main" and name not in chats:
        existing = f"choose from {', '.join(chats)}" if chats else "there are none yet"
        raise ValueError(f"there is no chat {name!r}: {existing}")
    return chats[name]


def _model_name(verb: str, given: Sequence[Word]) -> str:
    """Return the one model that words name; ``ValueError`` with the correct form if they do not."""
    refuse_variable(given, "model" if verb == "use" else "")
    given = split_at_commas(given)
    name, verb = str(" ".join(given)), f"%backend {shorten(verb)}"
    if len(given) == 1 and (given[0].is_quoted or can_be_name(name)):
        return name
    if is_alias(name) or name in known_models(0):
        return name
    refuse_text(given[:1], verb)
    form = f"{verb} {shorten([*meant_names(given), *given][0])}"
    raise ValueError(f"{verb} takes one model, not {shorten(name)!r}: write {form}; a name with spaces goes in quotes")


def _refuse_unlisted(model: str) -> None:
    """Raise ``ValueError`` if the server lists its models and this is not one; it has a few seconds to list them."""
    api, name = resolve(model)
    service = find_service(model)
    if service is not None and settings.url(api.url) is None:
        raise ValueError(needs_model(service))
    if settings.url(api.url) is None or settings.cache_only():
        return  # the embedded backend has one model, which answers under any name
    asked = asked_service(api)
    if (asked is not None and not asked.lists_its_models) or missing_key(api, api.key(settings.Secret())):
        return
    listed = run(names_listed(api))
    if listed and not is_listed(name, listed):
        with suppress(BackendError):  # a model may have been added
            listed = run(names_listed(api, fresh=True))
    if service is not None and not is_listed(name, listed):
        raise ValueError(needs_model(service))
    if listed and not is_listed(name, listed):
        before = model.removesuffix(name)  # the name of a service
        close = " or ".join(before + one for one in closest_models(name, listed))
        hint = f"did you mean {close}?" if close else "%backend models shows what it lists."
        raise ValueError(
            f"the server does not list {shorten(model)}: {hint} To use it all the same, write %backend use "
            f'"{shorten(model)}"'
        )


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
