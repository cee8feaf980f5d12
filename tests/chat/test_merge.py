"""Turns of a record that are put back into a chat: each once, at its place, and none that was removed or re-run."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nb_backend import Chat
from nb_backend.chat import history
from nb_backend.chat import merge as merge_module
from nb_backend.chat.cell_run import from_cell
from nb_backend.chat.merge import keyed_turns, merge
from nb_backend.chat.messages import Message, count_turns
from nb_backend.chat.versions import forks_from_data, forks_to_data, reachable_forks
from nb_backend.notebook.panel.record import Restored


def turn(name: str, cell: str = "", time: float = 1.0) -> list[Message]:
    question = Message(
        {"role": "user", "content": name, **({"cell": cell} if cell else {})}, {"id": name, "time": time}
    )
    return [question, Message({"role": "assistant", "content": name.upper()})]


def chat_of(*turns: list[Message]) -> list[Message]:
    return [message for one in turns for message in one]


def names(messages) -> list[str]:
    return [one["content"] for one in messages if one["role"] == "user"]


def merged(saved: str, here: str, known=(), cells=()) -> str:
    """Merge turns written as words: "a b" are of the panel, "c.x" is the turn x of the cell c."""

    def turns(words: str):
        return chat_of(*(turn(word, word.partition(".")[0] if "." in word else "") for word in words.split()))

    return " ".join(names(merge(turns(saved), turns(here), known=known, cells=cells)))


def test_all_turns_of_a_record_come_into_an_empty_chat():
    assert merged("a c.1 b", "") == "a c.1 b"


def test_known_turns_stay_where_they_are_and_new_ones_follow():
    assert merged("a b c", "a x") == "a b c x"
    assert merged("a b c", "c x") == "a b c x"
    assert merged("a b", "x") == "a b x"
    assert merged("a b c d", "d a") == "d a b c"  # the order of the chat stays


def test_a_removed_turn_does_not_come_back():
    assert merged("a b c", "a", known={"a", "b"}) == "a c"


def test_a_cell_that_ran_again_is_represented_by_what_it_asks_now():
    assert merged("c1.old a c2.old b", "c1.new c2.new", cells={"c1", "c2"}) == "c1.new a c2.new b"
    assert merged("c1.old a c2.old b", "c1.new", cells={"c1"}) == "c1.new a c2.old b"
    assert merged("c1.old a", "", cells={"c1"}) == "a"  # it asks nothing any more
    assert merged("c1.p c1.q a", "c1.x c1.y", cells={"c1"}) == "c1.x c1.y a"


def test_of_two_records_the_newer_turn_of_a_cell_stays():
    old, new = turn("old", "c", time=1), turn("new", "c", time=2)
    assert names(merge(chat_of(old, turn("a")), new, known=(), cells=())) == ["new", "a"]
    several = chat_of(turn("one", "c", 1), turn("two", "c", 2))
    assert names(merge(several, several[:2], known=(), cells=())) == ["one", "two"]


def test_messages_without_an_id_are_compared_by_their_text():
    plain = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, {"role": "user", "content": "q"}]
    assert merge(plain, [], known=(), cells=()) == plain
    assert merge(copy.deepcopy(plain), plain, known=(), cells=()) == plain
    assert merge(plain, plain[:2], known=(), cells=()) == plain


words = st.lists(st.sampled_from("abcdefgh"), unique=True).map(" ".join)


@given(words, words, st.sets(st.sampled_from("abcdefgh")))
def test_nothing_is_lost_double_or_moved(saved, here, known):
    found = merged(saved, here, known=known).split()
    assert len({*found}) == len(found)
    assert {*found} == {*here.split()} | ({*saved.split()} - known)
    assert [word for word in found if word in here.split()] == here.split()
    added = [word for word in found if word not in here.split()]
    assert added == [word for word in saved.split() if word in added]
    assert merged(saved, " ".join(found), known=known).split() == found


@given(words, words)
def test_the_turns_of_the_chat_that_a_record_does_not_know_come_last(saved, here):
    common = [word for word in here.split() if word in saved.split()]
    if common == [word for word in saved.split() if word in here.split()]:
        new = [word for word in here.split() if word not in common]
        found = merged(saved, " ".join(common + new)).split()
        assert found == saved.split() + new


@pytest.fixture(autouse=True)
def another_process(monkeypatch):
    monkeypatch.setattr(history, "_known_turns", set())


def test_a_removed_turn_does_not_come_back_into_any_chat():
    saved = chat_of(*map(turn, "abcd"))
    chat = Chat()
    assert names(chat.restore(saved)) == ["a", "b", "c", "d"]
    chat.delete(chat.messages[2])
    assert chat.restore(saved) == []
    assert names(chat.messages) == ["a", "c", "d"]
    chat.reset()
    assert chat.restore(chat_of(*map(turn, "abcde"))) == chat.messages[:1]
    assert names(chat.messages) == ["e"]
    other = Chat()
    assert other.restore(saved) == []
    assert names(other.restore(saved, removed=True)) == ["a", "b", "c", "d"]


def test_a_chat_knows_which_cells_ran():
    chat = Chat()
    with from_cell("c") as run:
        chat.take_back(run)
    assert names(chat.restore(chat_of(turn("old", "c"), turn("a")))) == ["a"]


def test_observers_hear_of_restored_turns():
    chat, heard = Chat(), []
    chat.watch(heard.append)
    chat.restore(turn("a"))
    chat.restore(turn("a"))
    assert heard == [None]


def test_each_turn_has_a_key():
    assert [key for key, _ in keyed_turns(chat_of(turn("a"), turn("b")))] == ["a", "b"]
    assert count_turns(chat_of(turn("a"), turn("b"))) == 2


def test_a_record_of_many_cells_takes_time_in_proportion_to_its_length(monkeypatch):
    """A notebook may have any number of cells, and the lock of all chats is held meanwhile."""
    turns = chat_of(*(turn(str(number), cell=f"c{number}") for number in range(300)))
    looked_at = []
    of_turn = merge_module._cell
    monkeypatch.setattr(merge_module, "_cell", lambda turn: looked_at.append(1) or of_turn(turn))
    assert merge(turns, turns, known=(), cells=()) == turns
    assert len(looked_at) <= 10 * 300


def test_many_versions_of_a_record_take_memory_in_proportion_to_its_length():
    messages = chat_of(*(turn(str(number)) for number in range(300)))
    about = {"about": [{}, {}], "messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]}
    data = [{"path": 0, "at": 2 * number, "chosen": 0, "others": [about]} for number in range(300)]
    forks = forks_from_data(data, messages)
    assert len(forks) == len(reachable_forks(forks, [messages])) == 300
    assert sum(len(version) for fork in forks for version in fork.versions) == 3 * 300
    assert forks_to_data(forks, messages) == data


@pytest.mark.parametrize("time", [10**400, float("nan"), -1.0, "yesterday"], ids=["huge", "nan", "negative", "text"])
def test_a_time_that_a_record_cannot_have_is_not_told_to_the_page(time):
    restored = Restored()
    restored.add(Message({"role": "user", "content": "?"}, {"time": time}))
    assert restored.turns == 1
    assert restored.time == 0
