"""The first word of ``%backend``: a verb, a verb with a typo, or the beginning of a prompt."""

from __future__ import annotations

import re

import pytest

from nb_backend import settings
from nb_backend.notebook.magic.commands import known_verbs
from nb_backend.notebook.magic.line import KEY_ON_THE_LINE
from nb_backend.notebook.magic.verbs import is_prompt, unknown_verb, verb_of

KNOWN = [
    *("models", "use", "url", "key", "alias", "chats", "history", "reset", "restore", "cache", "help"),
    *("ask", "continue", "fix"),
]


def hint(line: str) -> str:
    return str(unknown_verb(*verb_of(line), KNOWN)).partition(": ")[2]


PROMPTS = """
Why is the sky blue?|Why is the sky blue|What is {{ x }}|what does df.describe() do|Hello there|Tell me a joke|Why?
Where am I?|Who wrote this|Which one?|Can you help|How so?|2+2 is?|Help me with this?|Show me what df is?|Hi!  there
Is gpt-4o better than llama3.2?|Write a haiku|Почему небо голубое|为什么天空是蓝色的？|¿Por qué?|Explain: x = 1
I need a plan, in steps.|continue the story
"""
OTHERS = """
models|models gpt|help me?|models gpt-4o is?|ask Why?|fix this?|modles|modles gpt|histroy of plots|Ask hello|models?
modls?|ues gpt|ulr http://x|new chat|show it|rest|set model|model gpt-4o|gpt-4o|gpt-4o Why is the sky blue?|why
http://localhost:8080 please|# Why is it?|token abc-def|password is hunter2|secret: a b c d|password=abc is mine?
-s Brief hello|temperature 0.2|system Brief|continue|continue -t 0.2|continue gpt-4o -t 0.2|resume
"""


@pytest.mark.parametrize("line", re.split(r"[|\n]", PROMPTS.strip()))
def test_a_sentence_is_a_prompt(line):
    assert is_prompt(line, KNOWN)


@pytest.mark.parametrize("line", ["", *re.split(r"[|\n]", OTHERS.strip())])
def test_a_verb_a_typo_or_a_setting_is_not(line):
    assert not is_prompt(line, KNOWN)


def test_an_alias_is_a_model_and_not_the_beginning_of_a_prompt():
    settings.current.aliases = {"small": "llama3.2:1b"}
    assert not is_prompt("small Why is it so?", KNOWN)
    assert hint("small Why is it so?").startswith("write %backend use small to ask this model")


MEANT = {
    "models": ["modles", "modles gpt", "MODELS", "model", "list"],
    "use": ["ues", "ues gpt-4o", "model gpt-4o", "set gpt-4o"],
    "url": ["ulr http://x", "server http://x"],
    "key": ["kye", "login"],
    "history": ["histroy", "show"],
    "reset": ["new", "rest"],
    "restore": ["restor"],
    "help": ["hlep"],
    "ask": ["Ask hello"],
}


@pytest.mark.parametrize(("line", "meant"), [(line, verb) for verb, lines in MEANT.items() for line in lines])
def test_a_typo_is_told_with_the_verb_that_was_meant(line, meant):
    assert hint(line).startswith(f"did you mean %backend {meant}?")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("gpt-4o", "write %backend use gpt-4o to ask this model from now on"),
        ("http://localhost:8080", "to choose the server, write %backend url http://localhost:8080"),
        ("system Brief", "it is an option of a cell, %%backend --system …; to ask in one line, write %backend ask"),
        ("zzz", "choose from alias, ask, cache"),
        ("-s", "write %%backend -s …, and the prompt in the lines below"),
    ],
)
def test_another_word_is_told_with_what_to_write(line, words):
    assert words in str(unknown_verb(*verb_of(line), KNOWN))


def test_a_word_that_names_a_key_is_not_repeated():
    assert str(unknown_verb("token", "abc-def", KNOWN)) == KEY_ON_THE_LINE


def test_no_verb_is_mistaken_for_another():
    for verb in known_verbs():
        assert not is_prompt(f"{verb} something", known_verbs())
