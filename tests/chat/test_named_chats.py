"""The chats of this process by name."""

from __future__ import annotations

import pytest
from serving import TOKEN

import nb_backend
from nb_backend import Chat
from nb_backend.chat.named_chats import NamedChats, chats


def test_one_for_the_whole_process():
    assert nb_backend.chats is chats
    assert isinstance(chats, NamedChats)


def test_a_chat_is_created_on_first_access():
    found = NamedChats()
    assert repr(found) == "<chats: none yet>"
    assert found.get("main") is None
    assert "main" not in found
    assert found.get("main", 7) == 7
    main = found["main"]
    assert isinstance(main, Chat)
    assert found["main"] is main is found.get("main")
    found["other one"] = loaded = Chat()
    assert (list(found), len(found), dict(found.items())) == (
        ["main", "other one"],
        2,
        {"main": main, "other one": loaded},
    )
    del found["main"]
    assert "main" not in found
    assert found["main"] is not main
    with pytest.raises(KeyError):
        del found["none"]


def test_chats_may_be_deleted_during_iteration():
    found = NamedChats()
    for name in "abc":
        found[name]
    for name in found:
        del found[name]
    assert len(found) == 0


@pytest.mark.parametrize("name", ["a", "Grüße", "a b", "v1.2-x", "_", "x" * 64])
def test_names(name):
    assert list({name: NamedChats()[name]}) == [name]


@pytest.mark.parametrize("name", ["", " a", "a ", "-a", "a\nb", "a\x1b[0m", "a/b", "<b>", "x" * 65, "x" * 10**6])
def test_invalid_names(name):
    found = NamedChats()
    with pytest.raises(ValueError, match=r"^.{1,200}$"):
        found[name]
    with pytest.raises(ValueError, match="cannot be the name of a chat"):
        found[name] = Chat()
    assert name not in found
    assert len(found) == 0


def test_values_that_are_not_chats():
    found = NamedChats()
    with pytest.raises(TypeError, match="not int"):
        found[7]
    with pytest.raises(TypeError, match="not str"):
        found["a"] = "b"


def test_they_show_names_and_numbers_only(backend):
    found = NamedChats()
    found["a"] = Chat("m", api_key=TOKEN, system="Secret")
    found["a"]("Hi?")
    found["b"]("Ho?")
    found["b"]("Ha?")
    found["c"]
    assert repr(found) == "<chats: a (1 turn), b (2 turns), c (0 turns)>"
