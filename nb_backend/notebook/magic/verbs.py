"""Which command a line of ``%backend`` means: its verb, the verb that a mistyped word was meant for, or a prompt."""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches
from typing import Final

from ...media.source import is_address
from ...redaction import is_secret_name
from ...text import shorten
from .line import KEY_ON_THE_LINE
from .model_names import is_alias, looks_like_name
from .options import declared

ASKING: Final = {  # what the magic does itself, as a cell's prompt
    "ask PROMPT": "Ask in one line; the word ask may be left out before a question or a sentence.",
    "continue [OPTIONS]": "Continue the last answer if it was cut off or stopped; the options are those of a cell.",
    "fix [OPTIONS]": "Ask about the last exception; with --until 3 the model may run code.",
}
_MEANT: Final = {  # words that people try, and the verb that does it
    **dict.fromkeys(("new", "clear", "restart", "delete", "forget"), "reset"),
    **dict.fromkeys(("model", "list", "ls"), "models"),
    **dict.fromkeys(("set", "select", "choose", "switch"), "use"),
    **dict.fromkeys(("server", "host", "address", "connect", "api", "dialect"), "url"),
    **dict.fromkeys(("resume", "proceed"), "continue"),
    **dict.fromkeys(("login", "auth"), "key"),
    **dict.fromkeys(("provider", "providers", "clouds"), "services"),
    **dict.fromkeys(("show", "log"), "history"),
}
_CLOSE: Final = 0.6  # of a word that is alone; "what" and "chats", "hello" and "help" are that close
_VERY_CLOSE: Final = 0.7  # of a word that others follow, which may be a prompt
_SENTENCE: Final = 3  # words after the first one, from which on "password …" is a sentence and not a setting
_PUNCTUATION: Final = ":,.!?\"'"


def verb_of(line: str) -> tuple[str, str]:
    """Split a line into its first word and the rest."""
    verb, *rest = line.split(None, 1)[:2] or [""]
    return verb, rest[0].strip() if rest else ""


def is_prompt(line: str, known: Collection[str]) -> bool:
    """Whether a line is a question or a sentence to send to the model; ``known`` are the verbs.

    It is if it has several words, or ends in a question mark, and its first word is neither a verb, nor meant for one,
    nor the name of a model or an option. A question of at least three words is one if its first word is not a verb.
    """
    verb, rest = verb_of(line)
    is_question = line.rstrip().endswith(("?", "？", "؟"))
    if verb == "continue" and (first := verb_of(rest)[0]) != rest:  # continue the story
        return not (first.startswith(("-", "#")) or is_alias(first) or looks_like_name(first))
    if verb in known or not (rest or is_question) or not _begins_prompt(verb, rest):
        return False
    if is_question and len(rest.split()) > 1:
        return True
    is_option = len(rest.split()) == 1 and any(f"--{_plain(verb)}" in option.flags for option in declared())
    return not is_option and not _meant_verb(verb, rest, known)


def _begins_prompt(word: str, rest: str) -> bool:
    """Whether a word may begin a prompt: it is not a model, an address, an option or a comment.

    It is also not the name of a secret, unless a whole sentence follows: ``Tokens and words are what?``.
    """
    name, *value = re.split("[=:]", word, maxsplit=1)
    if word.startswith(("-", "#", "%")) or (is_secret_name(name) and (value or len(rest.split()) < _SENTENCE)):
        return False
    return not (is_alias(word) or looks_like_name(word) or is_address(word))


def _meant_verb(verb: str, rest: str, known: Collection[str]) -> str:
    """Return the verb that a word was meant for; "" if there is no such verb."""
    plain = _plain(verb)
    if plain in known:
        return plain
    if plain == "model" and rest:
        return "use"
    close = get_close_matches(plain, known, 1, _VERY_CLOSE if rest else _CLOSE)
    swapped = [one for one in known if sorted(one) == sorted(plain)]  # ues, ulr
    return _MEANT.get(plain) or next(iter([*close, *swapped]), "")


def _plain(verb: str) -> str:
    return verb.lower().strip(_PUNCTUATION)


def unknown_verb(verb: str, rest: str, known: Collection[str]) -> ValueError:
    """Return the error for a word that is not a verb, with what was probably meant."""
    shown, plain = shorten(verb, 40), _plain(verb)
    if is_secret_name(verb):
        return ValueError(KEY_ON_THE_LINE)
    if verb.startswith("-"):
        return ValueError(f"options belong to a cell: write %%backend {shown} …, and the prompt in the lines below")
    ask = f"to ask in one line, write %backend ask {shown} …" if rest else ""
    if meant := _meant_verb(verb, rest, known):
        hint = f"did you mean %backend {meant}?{f' Or, {ask}' if ask and meant != 'ask' else ''}"
    elif is_address(verb):
        hint = f"to choose the server, write %backend url {shown}"
    elif is_alias(verb) or looks_like_name(verb):
        hint = (
            f"write %backend use {shown} to ask this model from now on, or %%backend {shown} with the prompt in the "
            f"lines below"
        )
    elif any(f"--{plain}" in option.flags for option in declared()):
        hint = f"it is an option of a cell, %%backend --{plain} …{f'; {ask}' if ask else ''}"
    else:
        hint = ask or f"choose from {', '.join(sorted(known))}; %backend help explains them"
    return ValueError(f"no command {shown!r}: {hint}")
