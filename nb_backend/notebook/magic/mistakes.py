"""Mistakes on the line of ``%%backend``: each is refused in one line that shows the correct form.

Without this, the words of a text or of a comment would be asked as models, several at once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from html import unescape
from typing import TYPE_CHECKING, Final

from ...media.source import is_address
from ...providers.key_errors import needs_model
from ...providers.unknown_model import closest_models, is_listed
from ...redaction import is_secret_name
from ...services import Service, find_service, misspelt_service
from ...text import shorten
from .declaration import option_of
from .line import KEY_ON_THE_LINE, Word
from .model_names import CONNECTING, can_be_name, can_be_quoted_name, is_alias, is_file, looks_like_name, meant_names

if TYPE_CHECKING:
    from .declaration import Option


_ENTITY = re.compile(
    r"&(?:quot|apos|nbsp|[lr][sd]?quo|[lr]aquo"
    r"|#0*(?:34|39|160|171|187|82[12]\d)|#x0*(?:22|27|a0|ab|bb|20[12][\da-f]));",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"\{\{?\s*(?P<braced>[^{}]+?)\s*\}?\}|(?<!\S)\$\{?(?P<name>[^\W\d]\w*)\}?")
_TEXT_VALUE = re.compile(r"=(?!(?:true|false|null|NaN|Infinity)\Z)[^\W\d]")  # of -p: not JSON
# options whose values often contain spaces
_FLAGS: Final = {"system": "-s", "param": "-p", "image": "-i", "schema": "--schema", "tool": "-T"}
_TAKES_CODE: Final = ("image", "param", "schema", "tool")  # options whose values may contain braces
_IN_QUOTES = re.compile(r'"[^"]*"' r"|'[^']*'")
_MAX_WORDS_OF_A_VALUE = 50
_UNUSUAL: Final = "a model whose name is unusual in quotes"


def refuse_mistakes(found: Sequence[Word], options: Sequence[Option]) -> str:
    """Raise ``ValueError`` for a mistyped option, a variable, a value without quotes, or a line that does not end.

    Return what is wrong with a line like ``-p user=bob llama`` if the server does not list ``llama``; else "".
    """
    if found and not found[-1].has_quoted_value and found[-1].endswith("\\"):
        raise ValueError("a line of %%backend has no second line: write all options in it, without the \\ at its end")
    for word in found:
        if not word.has_quoted_value and _ENTITY.search(word):
            raise ValueError(f"{shorten(word)} has HTML in place of characters: write {shorten(unescape(word))}")
    roles = _roles(found, options)
    for at, (word, role) in enumerate(zip(found, roles, strict=True)):
        if role in _TAKES_CODE and not word.has_quoted_value:
            _refuse_rest_of_code(found, roles, at, options)
    for at, word in enumerate(found):
        if word.startswith("-") and not (word.has_quoted_value and "=" not in word):
            _refuse_option(word, "".join(found[at + 1 : at + 2]), options)
    refuse_variable([word for word, role in zip(found, roles, strict=True) if role == "model"], "model")
    refuse_variable([word for word, role in zip(found, roles, strict=True) if role not in _TAKES_CODE])
    doubts = [
        _refuse_rest_of_text(found, roles, at, options)
        for at, (word, role) in enumerate(zip(found, roles, strict=True))
        if not word.has_quoted_value and (role == "system" or (role == "param" and _TEXT_VALUE.search(word)))
    ]
    return next(filter(None, doubts), "")


def refuse_variable(words: Iterable[Word], setting: str = "") -> None:
    """Raise ``ValueError`` if words without quotes contain ``{name}``, ``{{ name }}`` or ``$name``.

    ``setting`` is the setting of the magic that can take the value of a variable instead.
    """
    text = " ".join(word for word in words if not word.has_quoted_value)
    found = _VARIABLE.search(text)
    if found is None:
        return
    name, start = found["braced"] or found["name"], text[: found.start()].rpartition(" ")[2]
    value = f'f"{start}{{{name}}}"' if start and start not in ("f'", 'f"') else name
    instead = f", or run %config BackendMagics.{setting} = {shorten(value)} and leave it out here" if setting else ""
    raise ValueError(f"{shorten(start + found[0])} is not replaced on this line: write the value itself{instead}")


def refuse_text(models: Sequence[Word], form: str = "%%backend") -> None:
    """Raise ``ValueError`` if any of these words cannot be the name of a model: aliases and most texts in quotes can.

    ``form`` is what the words follow.
    """
    wrong = [word for word in models if not _can_be_model(word)]
    if len(models) > 1:
        connect = [word for word in models if word in CONNECTING and not (word.is_quoted or is_alias(word))]
        wrong = wrong or (connect if meant_names(models) else [])
    if any(_names_secret(word, len(models) > 1) for word in models):  # no message may repeat it
        raise ValueError(KEY_ON_THE_LINE)
    if not wrong or (len(models) > 1 and not all(map(str.strip, models))):  # which is another mistake
        return
    _refuse_service_alone(models, form)
    first = wrong[0]
    option, equals, value = first.partition("=")
    if is_address(first):
        raise ValueError(f"{shorten(first)} is an address: choose the server with %backend url {shorten(first)}")
    if equals and option.isidentifier() and option not in ("model", "models") and not first.is_quoted:
        raise ValueError(f"{shorten(first)} is not a model: write a parameter with -p: -p {option}={shorten(value)}")
    if is_file(first) and not first.is_quoted:
        raise ValueError(f"{shorten(first)} is a file: write -i {shorten(first)} to send it with the prompt")
    names = meant_names(models)
    is_prompt = first.is_quoted or (first.endswith(("?", "!", ".", "…")) and not any(map(looks_like_name, names)))
    if names and not is_prompt:
        named = shorten(" ".join(f'"{name}"' if " " in name else name for name in names))
        raise ValueError(
            f"{shorten(' '.join(models))} does not name a model: write {form} {named} (a name with other characters "
            f"goes in quotes)"
        )
    if form != "%%backend":
        raise ValueError(
            f"{shorten(first)!r} cannot be the name of a model: write it like {form} gpt-4o; a name with other "
            f"characters goes in quotes"
        )
    raise _text_error(models, "cannot be the name of a model")


def _refuse_service_alone(models: Sequence[Word], form: str) -> None:
    """Raise ``ValueError`` for ``openai:`` at the end of the words, or before a model."""
    for word, following in zip(models, [*models[1:], Word()], strict=True):
        service = find_service(word[:-1]) if word.endswith(":") else None
        if service is not None and not following:
            raise ValueError(needs_model(service))
        if service is not None and looks_like_name(following):
            raise ValueError(f"write {form} {word}{shorten(following)}, without a space behind the colon")


def _text_error(models: Sequence[str], reason: str, names: Collection[str] = (), model: str = _UNUSUAL) -> ValueError:
    """Return the error for words that are probably a text; the first of them may be models, as those in ``names``."""
    heads = [word.rstrip(":,") for word in models]
    known = next((at for at, head in enumerate(heads) if head not in names and not looks_like_name(head)), 0)
    line = shorten(" ".join(["%%backend", *heads[:known]]))
    text = shorten(" ".join(models[known:]), 60)
    return ValueError(
        f"{text!r} {reason}, so nothing was sent: write a prompt in the lines below {line} or after %backend ask, a "
        f'system prompt as -s "…", and {model}'
    )


def refuse_unsure(models: Sequence[str], unsure: Sequence[str]) -> None:
    """Raise ``ValueError`` if some of the models may be words of a text, and the server gave no list of its models."""
    if not unsure:
        return
    spaced = next((name for name in unsure if " " in name), "")
    if len(unsure) > 2 or spaced:
        alias = f'a model with spaces in its name with an alias: %backend alias NAME "{shorten(spaced)}"'
        reason = "may be a text, and the server gave no list of its models"
        raise _text_error(models, reason, model=alias if spaced else _UNUSUAL)
    named = " ".join(f'"{name}"' if name in unsure or " " in name else name for name in models)
    words = "words" if len(unsure) > 1 else "a word"
    raise ValueError(
        f"{_listing(unsure)} may be {words} of a text, as the server gave no list of its models; nothing was sent. Put "
        f"each model in quotes: %%backend {shorten(named)}; a prompt goes into the lines below"
    )


def refuse_like_service(names: Iterable[str], listed: Sequence[str], *, are_all: bool) -> None:
    """Raise ``ValueError`` for names that may be meant for a service, unless the server lists such models.

    A service without a model is refused if the line names nothing else there (``are_all``), and a misspelt one if the
    server lists its models; other mistakes have their own messages.
    """
    for name in names:
        if is_listed(name, listed):
            continue
        if are_all and (service := find_service(name)):
            raise ValueError(f"{needs_model(service)}. A model that is itself named {shorten(name)} goes in quotes")
        if listed and (meant := misspelt_service(name)):
            raise ValueError(f"the server does not list {shorten(name)}: did you mean {shorten(meant)}?")


def not_listed(
    models: Sequence[str], missing: Sequence[str], listed: Sequence[str], service: Service | None = None
) -> ValueError:
    """Return the error for models that the server or the service does not list, with the names that are close."""
    close = [name for wanted in missing for name in closest_models(wanted, listed, 2 if len(missing) == 1 else 1)]
    if service is not None:
        missing, close = ([f"{service.name}:{name}" for name in names] for names in (missing, close))
        hint = f"did you mean {_listing(close, 'or' if len(missing) == 1 else 'and')}?" if close else ""
        return ValueError(
            f"{service.title} does not list {_listing(missing)}, so nothing was sent: "
            f"{hint or f'%backend models {service.name} shows what it lists'}"
        )
    if len(missing) > 1 and not any(map(looks_like_name, missing)):
        return _text_error(models, "is not in the server's list of models", set(models) - set(missing))
    hint = (
        f"did you mean {_listing(close, 'or' if len(missing) == 1 else 'and')}?"
        if close
        else "%backend models shows what it lists."
    )
    return ValueError(
        f"the server does not list {_listing(missing)}, so nothing was sent: {hint} A prompt goes into the lines "
        f"below; a model that it has all the same needs an alias: %backend alias NAME {shorten(missing[0])}"
    )


def _listing(names: Sequence[str], word: str = "and") -> str:
    return f" {word} ".join(shorten(name, 60) for name in dict.fromkeys(names[:5])) + (" …" if len(names) > 5 else "")


def _roles(found: Sequence[Word], options: Sequence[Option]) -> list[str]:
    """Return what each word is: ``model``, ``option``, or the name of the option whose value the word is or has."""
    roles: list[str] = []
    expecting = ""
    for word in found:
        option, start = option_of(word, options) if word.startswith("-") and not word.is_quoted else (None, "")
        if option is not None:
            expecting = option.name if option.takes_value and not start else ""
            roles.append(option.name if option.takes_value and start else "option")
        else:
            roles.append(expecting or "model")
            expecting = ""
    return roles


def _refuse_option(word: Word, following: str, options: Sequence[Option]) -> None:
    """Refuse ``--model m``, ``-temperature 0.2`` and options that do not exist."""
    name, equals, value = word.partition("=")
    flags = [flag for option in options for flag in option.flags]
    bare = name.lstrip("-")
    if not bare[:1].isalpha():
        return
    if bare in ("h", "help"):
        raise ValueError("%%backend? shows the options, and %backend help the commands")
    if bare in ("m", "model", "models"):
        model = value if equals else following
        raise ValueError(f"no option {name}: the model comes first, %%backend {shorten(model) or 'MODEL'}")
    meant = [flag for flag in flags if flag == f"--{bare}" or (len(bare) > 2 and flag.startswith(f"--{bare}"))]
    if not name.startswith("--") and meant:
        raise ValueError(f"{shorten(name)} would be read as {name[:2]}: write {meant[0]}")
    if option_of(name, options)[0] is None and not (name.startswith("--") and meant):
        raise ValueError(f"no option {shorten(name)}: {_other_option(bare, value or following, flags)}")


def _other_option(bare: str, value: str, flags: Sequence[str]) -> str:
    """Return what to write in place of an option that does not exist."""
    if f"--{bare.removeprefix('no-')}" in flags and bare.startswith("no-"):
        return f"leave out --{bare.removeprefix('no-')}"
    if close := get_close_matches(f"--{bare}", flags, 1, 0.8):
        return f"did you mean {close[0]}?"
    from ...providers.keywords import refusal_in_cell

    field = re.sub(r"\W", "_", bare)
    if refusal := refusal_in_cell(field):
        return refusal.partition(": ")[2]
    if len(bare) == 1 or not value or value.startswith("-"):
        return "%%backend? shows all options"
    value = value if re.fullmatch(r"\d*\.?\d+|true|false", value) else "…"  # no message repeats what may be a password
    return f"write -p {field}={value} for a field of the request; %%backend? shows all options"


def option_error(message: str, found: Sequence[Word], options: Sequence[Option]) -> ValueError:
    """Return the error for a message of argparse: it names the option as it is typed, and shows a value."""
    named = re.match(r"argument (?P<flags>\S+): (?P<said>.*)", message, re.DOTALL)
    option = next((one for one in options if named and "/".join(one.flags) == named["flags"]), None)
    if named is None or option is None:
        return ValueError(f"{shorten(message, 300)}; %%backend? shows all options")
    typed = [word.partition("=")[0] for word in found]
    flag = next((flag for flag in reversed(option.flags) if flag in typed), option.flags[0])
    said = named["said"]
    if said.startswith("expected"):
        return ValueError(f"{flag} needs a value: {flag} {option.example}")
    if said.startswith("ignored"):
        return ValueError(f"{flag} takes no value: write {flag}")
    if option.choices and (wrong := re.match(r"invalid choice: (['\"]?)(?P<value>.*)\1 \(choose", said, re.DOTALL)):
        *others, last = option.choices
        close = get_close_matches(wrong["value"], option.choices, 1)
        meant = f": did you mean {close[0]}?" if close else ""
        return ValueError(f"{flag} needs {', '.join(others)} or {last}, not {shorten(wrong['value'])}{meant}")
    return ValueError(f"{flag} {shorten(said, 300)}" if said.startswith("needs ") else shorten(said, 300))


def _refuse_rest_of_code(found: Sequence[Word], roles: Sequence[str], at: int, options: Sequence[Option]) -> None:
    """Refuse ``-i f(1, 2)``, ``-p stop=["a", "b"]`` and ``-i my plot.png``: the next words belong to the value."""
    role, value, following = roles[at], _value_of(found[at], options), found[at + 1 : at + _MAX_WORDS_OF_A_VALUE]
    depth = _open_brackets(value)
    for count, word in enumerate(following if depth > 0 else (), 1):
        depth += 0 if word.has_quoted_value else _open_brackets(word)
        if depth <= 0:
            raise ValueError(f"put a value with spaces in quotes: {_in_quotes(role, value, following[:count])}")
    last = following[0] if role == "image" and roles[at + 1 : at + 2] == ["model"] else Word()
    if is_file(last) and not last.is_quoted and not is_file(value):
        one, two = _in_quotes(role, value, [last]), f"-i {value.rstrip(',')} -i {last}"
        raise ValueError(f"{shorten(last)} is a file: write {one} if its name has a space, else {shorten(two)}")


def _open_brackets(text: str) -> int:
    """Return how many more brackets a text opens than it closes, outside of quotes."""
    text = _IN_QUOTES.sub("", text)
    return sum(map(text.count, "([{")) - sum(map(text.count, ")]}"))


def _value_of(word: str, options: Sequence[Option]) -> str:
    """Return the value of an option, in its word or in the word after it."""
    start = option_of(word, options)[1] if word.startswith("-") else ""
    return word[len(start) :].removeprefix("=")


def _in_quotes(role: str, value: str, following: Iterable[Word]) -> str:
    """Return how an option is written whose value goes on in the words after it."""
    text = shorten(" ".join([value, *(f'"{word}"' if word.is_quoted else word for word in following)]))
    quote = "'" if '"' in text and "'" not in text else '"'
    escaped = text.replace('"', '\\"') if quote == '"' else text
    return f"{_FLAGS[role]} {quote}{escaped}{quote}"


def _refuse_rest_of_text(found: Sequence[Word], roles: Sequence[str], at: int, options: Sequence[Option]) -> str:
    """Refuse ``-s Answer briefly`` and ``-p stop=the very end``: the value is one word of a text, unless models follow.

    Return the refusal of a parameter that words follow which are models if the server lists them.
    """
    rest = at + 1
    while rest < len(found) and roles[rest] == "model":
        rest += 1
    following = found[at + 1 : rest]
    if all(word.is_quoted or looks_like_name(word) or is_alias(word) for word in following):
        return ""
    role, value, last = roles[at], _value_of(found[at], options), following[-1]
    may_be_models = all(map(can_be_name, following))
    named = [word for word, word_role in zip(found[:at], roles, strict=False) if word_role == "model"]
    first = f"%%backend {shorten(' '.join([*named, last]))} {_FLAGS[role]} {shorten(value)}"
    other = f"; if {last} is a model, write it first: {first}" if may_be_models and len(following) == 1 else ""
    refusal = f"put a text of several words in quotes: {_in_quotes(role, value, following)}{other}"
    if may_be_models and role == "param":
        return refusal
    raise ValueError(refusal)


def _names_secret(word: Word, is_followed: bool) -> bool:
    """Whether a word is like ``token=…`` or, if a value may follow, like ``token``."""
    name, *value = re.split("[=:]", word, maxsplit=1)
    return name.isidentifier() and bool(value or is_followed) and not is_alias(word) and is_secret_name(name)


def _can_be_model(word: Word) -> bool:
    return is_alias(word) or (can_be_quoted_name(word) if word.is_quoted else can_be_name(word))
