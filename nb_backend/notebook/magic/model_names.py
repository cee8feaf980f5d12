"""What the name of a model can look like.

Names that servers use: ``gpt-4o``, ``o3``, ``llama3.2:1b``, ``hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M``,
``@cf/meta/llama-3-8b``, ``~latest``, ``arn:aws:bedrock:us-east-1::foundation-model/…``, ``C:\\models\\x.gguf``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from ... import settings
from ...media.source import is_address
from ...services import find_service, misspelt_service
from .line import Word, plain

_ASCII = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:/@~+#%()[]*\\=")
_LAST_NOT: Final = ".:#\\=-@~(["
_PARAMETER = re.compile(r"[A-Za-z]\w*=")  # temperature=0.2
_WRAPPING: Final = "[](){}<>`'\"*_,;!?“”„‟‘’‚‛«»‹›″′…\u200b"
CONNECTING: Final = frozenset({"and", "or", "vs", "vs.", "versus", "with", "model", "models", "use"})
"""Words that people write between the names of models, or before one."""
_FILE = re.compile(r".\.(?:png|jpe?g|gif|webp|bmp|svg|tiff?|avif|heic|pdf|csv|txt|docx|xlsx|ipynb|py)\Z", re.IGNORECASE)
_MARKS_OF_A_NAME = re.compile(r"[\d:/.@\\_~-]")


def can_be_name(word: str) -> bool:
    """Whether a word without quotes can be the name of a model: it can be typed, and does not look like a text."""
    is_of_letters = any(map(str.isalpha, word)) and all(
        char in _ASCII if char.isascii() else unicodedata.category(char)[0] in "LMN" for char in word
    )
    if not is_of_letters or word[-1] in _LAST_NOT or not (word[0].isalnum() or word[0] in "@~./\\_"):
        return False
    is_other = _PARAMETER.match(word) or is_file(word) or is_address(word)
    return not is_other and unicodedata.normalize("NFKC", word) == unicodedata.normalize("NFC", word)


def is_file(word: str) -> bool:
    """Whether a word is the name of a file that is sent with a prompt, and not of a model."""
    return _FILE.search(word) is not None


def looks_like_name(word: str) -> bool:
    """Whether a word is rather a model than a word of a text: it has a digit, or one of ``-:/._@\\~`` in it."""
    return can_be_name(word) and _MARKS_OF_A_NAME.search(word) is not None


def can_be_quoted_name(text: str) -> bool:
    """Whether a text in quotes can be the name of a model: it may have spaces, but is not a sentence."""
    is_sentence = len(text.split()) > 1 and text.rstrip().endswith((".", "?", "!", "…", ":", "。", "？", "！"))
    return bool(text.strip()) and not is_sentence and "\n" not in text and len(text) <= 300


def meant_names(words: Iterable[Word]) -> Sequence[str]:
    """Return the names that were meant by words with commas, HTML entities, full-width characters or the like.

    The result is empty if the words are not clearly names.
    """
    parts = [
        part
        for word in words
        for part in ([word] if word.is_quoted else re.split("[,;|、，]", re.sub(r"\Amodels?[=:]", "", plain(word))))
    ]
    parts = [part for part in parts if part not in CONNECTING and any(map(str.isalnum, part))]
    found = [part.strip(_WRAPPING).rstrip(".:#\\=-") for part in parts]
    are_names = all(map(looks_like_name, found)) if len(found) > 1 else all(map(can_be_name, found))
    return found if are_names else ()


def split_at_commas(words: Sequence[Word]) -> Sequence[Word]:
    """Return the models of a line, where a comma between two of them separates them, as a space does.

    The words are returned as they are if they may be a text: if a part cannot be a name, if none clearly is one, or if
    nothing follows the last comma.
    """
    parts = [part for word in words for part in _parts(word)]
    if len(parts) < 2 or not (parts[0] and parts[-1]) or not any(re.search("[,，、]", word) for word in words):
        return words
    found = [part for part in parts if part]
    are_names = all(part.is_quoted or is_alias(part) or can_be_name(part) for part in found)
    is_clear = any(part.is_quoted or is_alias(part) or looks_like_name(part) for part in found)
    return found if are_names and is_clear else words


def _parts(word: Word) -> list[Word]:
    if word.is_quoted or is_alias(word):
        return [word]
    parts = [*map(Word, re.split("[,，、]", word))]
    for at, part in enumerate(parts):
        if len(part) > 2 and part[0] == part[-1] and part[0] in "\"'":
            parts[at] = Word(part[1:-1])
            parts[at].is_quoted = parts[at].has_quoted_value = True
    return parts


def is_like_service(word: Word) -> bool:
    """Whether a word may be meant for a service of the table: its name without a model, or misspelt before a model."""
    if word.is_quoted or is_alias(word):
        return False
    return find_service(word) is not None or bool(misspelt_service(word))


def is_alias(word: str) -> bool:
    """Whether the user has given a model this short name."""
    return word in settings.current.aliases
