"""A notebook and its chats compared with a model of them, after random actions; and chats under concurrency.

The promise: running a cell again takes back what it had asked, and what cells asked after it; all else stays. So
"Run all" has the same result as a restart and "Run all", provided that the first cell that asks in a chat is the one
that began it; ``NotebookMachine.begins_again`` is the exact condition. Deleting a cell removes its turns and no
others, if the front end reports it, as JupyterLab does. The kernel never learns the order of the cells, so turns of
other cells stay until the chat is reset.
"""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import count

import pytest
from chat_support import STATE, questions, run_cells, sent
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from nb_backend import Chat, background
from nb_backend.chat import cell_run
from nb_backend.chat import history as history_module
from nb_backend.chat.cell_run import CellRun, from_cell
from nb_backend.chat.messages import LOCAL_KEYS
from nb_backend.chat.named_chats import NamedChats
from nb_backend.errors import ServerError
from nb_backend.notebook.magic import question as question_module
from nb_backend.notebook.magic.options import Options
from nb_backend.notebook.magic.question import Question

BASE = {"main": "Base", "other": None}  # system prompts of the chats
MOST_CELLS = 5
TIMEOUT = 60  # seconds; only a failing test waits that long


def options_of(*, chat="main", once=False, new=False, system=None) -> Options:
    """Return the options of a magic's line with these fields and no others."""
    return Options(chat=chat, once=once, new=new, system=system, raw=True)


@dataclass(frozen=True)
class Ask:
    """A prompt of a cell; ``chat`` is ``None`` for a prompt outside of all chats."""

    text: str
    chat: str | None
    new: bool
    system: str | None


@dataclass(frozen=True)
class Cell:
    id: str
    asks: tuple[Ask, ...]


@dataclass(frozen=True)
class Said:
    """A turn in the model."""

    cell: str | None
    run: int
    ask: Ask
    answer: str
    stopped: bool
    state: int | None

    def messages(self) -> list[dict]:
        marks = {"cell": self.cell, "system": self.ask.system}
        return [
            {"role": "user", "content": self.ask.text, **{k: v for k, v in marks.items() if v is not None}},
            {"role": "assistant", "content": self.answer, **({"stopped": True} if self.stopped else {})},
        ]


@dataclass(frozen=True)
class Gone:
    """The place of a cell whose turns were taken back: they return there if only panels have asked after it."""

    cell: str


Record = list[Said | Gone]  # all turns of a chat, also those from before it was started over


def asked(record: Record) -> list[Said]:
    return [said for said in record if isinstance(said, Said)]


def taken_back(record: Record, cell: str | None, run: int) -> Record:
    """Return what is left when this run of a cell takes back what its earlier runs asked."""
    for at, said in enumerate(record):
        if cell is not None and isinstance(said, Said) and said.cell == cell and said.run != run:
            rest = [one if isinstance(one, Gone) else Gone(one.cell) if one.cell else stays(one) for one in record[at:]]
            return tidy([*record[:at], *rest])
    return record


def stays(said: Said) -> Said:
    return replace(said, ask=replace(said.ask, new=False), state=None)


def tidy(record: Record) -> Record:
    """Return the record without places at its end: what is asked next comes after them."""
    while record and isinstance(record[-1], Gone):
        record = record[:-1]
    return record


def split(record: Record, cell: str | None, run: int) -> tuple[Record, Record]:
    """Return what a prompt follows, and what stays after it."""
    if cell is None:
        return record, []
    own = [at for at, one in enumerate(record) if isinstance(one, Said) and one.cell == cell]
    begin = len(record) - len(goes_on(record))
    if own and record[own[0]].run != run:
        rest = taken_back(record, cell, run)[own[0] :]
        return record[: own[0]], rest
    places = [at for at, one in enumerate(record) if one == Gone(cell) and at >= begin]
    at = own[-1] + 1 if own and own[-1] >= begin else None
    if at is None and places and not [one for one in asked(record[places[0] :]) if one.cell]:
        at = places[0]
    return (record, []) if at is None else (record[:at], record[at:])


def forgotten(record: Record, cell: str) -> Record:
    """Return what is left when a cell is deleted. A server state for other messages is dropped."""
    left = [said for said in record if said.cell != cell]
    if goes_on(left) != goes_on(record):
        left = [replace(said, state=None) if isinstance(said, Said) else said for said in left]
    return tidy(left)


def goes_on(record: Record) -> Record:
    """Return the turns since the chat was last started over."""
    starts = [at for at, said in enumerate(record) if isinstance(said, Said) and said.ask.new]
    return record[starts[-1] :] if starts else record


def request_of(record: Record, ask: Ask, base: str | None) -> list[dict]:
    """Return the messages that a prompt is sent with."""
    prompts = [base, *(said.ask.system for said in asked(record)), ask.system]
    system = [prompt for prompt in prompts if prompt is not None][-1:]
    told = [
        {k: v for k, v in message.items() if k in ("role", "content")}
        for s in asked(record)
        for message in s.messages()
    ]
    return [
        *({"role": "system", "content": prompt} for prompt in system if prompt),
        *told,
        {"role": "user", "content": ask.text},
    ]


asks = st.builds(
    Ask,
    text=st.integers(0, 99).map("q{}".format),
    chat=st.sampled_from(["main", "main", "main", "main", "other", "other", None]),
    new=st.sampled_from([False] * 5 + [True]),
    system=st.sampled_from([None] * 5 + ["", "Brief", "Long"]),
).map(lambda ask: replace(ask, new=ask.new and ask.chat is not None))
questions_of_a_cell = st.lists(asks, min_size=1, max_size=2).map(tuple)
positions = st.integers(0, MOST_CELLS - 1)
endings = st.sampled_from(["failed", "failed at once", "stopped", "stopped without text"])


class NotebookMachine(RuleBasedStateMachine):
    def __init__(self, backend, monkeypatch, folder):
        super().__init__()
        self.backend, self.monkeypatch, self.folder = backend, monkeypatch, folder
        self.cells: list[Cell] = []
        self.numbers = count(1)
        self.checked = 0
        self.restart()

    def restart(self) -> None:
        self.chats = NamedChats()
        for name, system in BASE.items():
            self.chats[name] = Chat(system=system)
        self.monkeypatch.setattr(question_module, "chats", self.chats)
        self.records: dict[str, Record] = {name: [] for name in BASE}

    # -- running a cell

    def run(self, cell: Cell, ending: str = "", at: int = 0, *, with_id: bool = True) -> bool:
        """Run a cell whose prompt at this position ends this way. Whether all ended well; a failure ends the cell."""
        number = next(self.numbers)
        with from_cell(cell.id if with_id else None):
            for place, ask in enumerate(cell.asks):
                how = ending if place == min(at, len(cell.asks) - 1) else ""
                if not self.ask(ask, cell.id if with_id else None, number, how):
                    return False
        return True

    def ask(self, ask: Ask, cell: str | None, run: int, ending: str) -> bool:
        engine, state, answer = self.backend.engine, next(self.numbers), f"to {ask.text}"
        hears = {"type": "conversation", "conversation": {"scripted": {"id": state}}}
        half = {"failed": ("Half", RuntimeError("m")), "failed at once": (RuntimeError("m"),), "stopped": ("Half", ...)}
        engine.enqueue(*{"": (hears, answer), "stopped without text": (...,), **half}[ending])
        base = BASE[ask.chat] if ask.chat else None
        record, after = split(self.records[ask.chat], cell, run) if ask.chat else ([], [])
        before = [] if ask.new else asked(goes_on(record))

        sent_before, as_it_was = len(engine.history), self.looks()
        kept = self.really_ask(ask, ending)
        (body,) = engine.history[sent_before:]
        self.check_request(body)
        assert body["messages"] == request_of(before, ask, base)
        if "conversation" in body:  # only the state of the last turn is sent, never one of undone turns
            assert body["conversation"] == {"id": before[-1].state}

        assert kept == (ending in ("", "stopped"))
        if not kept:
            assert self.looks() == as_it_was
            return False
        said = Said(cell, run, ask, "Half" if ending else answer, bool(ending), None if ending else state)
        if ending and "conversation" in body:
            said = replace(said, state=body["conversation"]["id"])
        if ask.chat:
            self.records[ask.chat] = [*(record if asked(after) else tidy(record)), said, *after]
        self.records = {name: taken_back(record, cell, run) for name, record in self.records.items()}
        self.check_chats()
        return not ending

    def really_ask(self, ask: Ask, ending: str) -> bool:
        """Ask as the magic does. Whether the turn was kept."""
        options = options_of(chat=ask.chat or "main", once=ask.chat is None, new=ask.new, system=ask.system)
        question = Question(options, self.chats[ask.chat] if ask.chat else Chat(), ask.text)

        async def answered() -> bool:
            stream = question.stream()
            try:
                async with aclosing(stream):
                    async for event in stream:
                        if ending.startswith("stopped") and (str(event) or ending != "stopped"):
                            break
            finally:
                if stream.kept:
                    question.record_answer(stream.answer, {})
            return stream.kept

        if ending.startswith("failed"):
            with pytest.raises(ServerError):
                background.run(answered())
            return False
        return background.run(answered())

    # -- invariants

    def looks(self) -> dict:
        """Return all that is visible of the chats: their messages, and what each cell would send next."""
        looks = {}
        for name, chat in self.chats.items():
            nexts = [chat.request("next?").body()]
            for cell in self.cells:
                with from_cell(cell.id):
                    nexts.append(chat.request("again?").body())
            looks[name] = (copy.deepcopy(chat.messages), chat.system, nexts)
        return looks

    @staticmethod
    def check_request(body: dict) -> None:
        system, talk = body["messages"][:1], body["messages"]
        if system[0]["role"] == "system":
            talk = talk[1:]
        assert [message["role"] for message in talk] == ["user", "assistant"] * (len(talk) // 2) + ["user"]
        assert not [message for message in body["messages"] if LOCAL_KEYS & message.keys() - {"role", "content"}]

    def check_chats(self) -> None:
        assert set(self.chats) == set(self.records)
        for name, record in self.records.items():
            chat = self.chats[name]
            assert chat.messages == [message for said in asked(goes_on(record)) for message in said.messages()]
            for asks_next in [None, *(cell.id for cell in self.cells)]:
                with from_cell(asks_next):
                    request = chat.request("next?")
                self.check_request({"messages": request.messages(0)})
                ask = Ask("next?", name, False, None)
                left = goes_on(split(record, asks_next, 0)[0])
                assert request.messages(0) == request_of(left, ask, BASE[name])

    def begins_again(self) -> bool:
        """Whether "Run all" now has the same result as after a restart.

        In each chat that cells ask in, the first of them, and those that ask elsewhere before it, have to take
        back all that was said.
        """
        for name, record in self.records.items():
            if not all(said.cell for said in asked(record)):
                return False
            for cell in self.cells:
                record = asked(split(record, cell.id, 0)[0])
                if any(ask.chat == name for ask in cell.asks):
                    if record:
                        return False
                    break
        return True

    def requests_of_all(self) -> list[list[dict]]:
        before = len(self.backend.engine.history)
        for cell in self.cells:
            assert self.run(cell)
        return [body["messages"] for body in self.backend.engine.history[before:]]

    def check_run_all(self) -> None:
        """Run all cells, once more, and in a new kernel, and compare the requests."""
        begins_again = self.begins_again()
        once = self.requests_of_all()
        if not begins_again:
            return
        said = {name: [s.messages() for s in asked(goes_on(record)) if s.cell] for name, record in self.records.items()}
        twice, lived = self.requests_of_all(), (self.chats, self.records)
        self.restart()
        assert once == twice == self.requests_of_all()
        asked_in = {ask.chat for cell in self.cells for ask in cell.asks}
        for name in asked_in - {None}:
            assert said[name] == [s.messages() for s in asked(goes_on(self.records[name]))]
        self.chats, self.records = lived
        self.monkeypatch.setattr(question_module, "chats", self.chats)
        self.checked += len(once)

    # -- actions of a user

    @precondition(lambda self: len(self.cells) < MOST_CELLS)
    @rule(at=positions, asks=questions_of_a_cell)
    def insert(self, at, asks):
        self.cells.insert(at, Cell(f"cell-{next(self.numbers)}", asks))

    @precondition(lambda self: len(self.cells) < MOST_CELLS)
    @rule(asks=questions_of_a_cell)
    def append_and_run(self, asks):
        self.cells.append(Cell(f"cell-{next(self.numbers)}", asks))
        self.run(self.cells[-1])

    @precondition(lambda self: self.cells)
    @rule(at=positions, asks=questions_of_a_cell)
    def edit(self, at, asks):
        at %= len(self.cells)
        self.cells[at] = replace(self.cells[at], asks=asks)

    @precondition(lambda self: self.cells)
    @rule(at=positions)
    def delete(self, at):
        cell = self.cells.pop(at % len(self.cells))
        self.chats.forget(cell.id)
        self.records = {name: forgotten(record, cell.id) for name, record in self.records.items()}
        self.check_chats()

    @precondition(lambda self: len(self.cells) > 1)
    @rule(at=positions, to=positions)
    def move(self, at, to):
        self.cells.insert(to % len(self.cells), self.cells.pop(at % len(self.cells)))

    @precondition(lambda self: self.cells)
    @rule(at=positions)
    def run_one(self, at):
        assert self.run(self.cells[at % len(self.cells)])

    @precondition(lambda self: self.cells)
    @rule(at=positions, place=st.integers(0, 1), ending=endings)
    def run_one_that_does_not_end(self, at, place, ending):
        assert not self.run(self.cells[at % len(self.cells)], ending, place)

    @precondition(lambda self: self.cells)
    @rule(upto=positions)
    def run_above(self, upto):
        for cell in self.cells[: upto + 1]:
            assert self.run(cell)

    @precondition(lambda self: self.cells)
    @rule()
    def run_all(self):
        self.check_run_all()

    @precondition(lambda self: self.cells)
    @rule()
    def restart_and_run_all(self):
        self.restart()
        assert self.begins_again()
        self.check_run_all()

    @precondition(lambda self: self.cells)
    @rule()
    def reset_and_run_all(self):
        self.reset()
        assert self.begins_again()
        self.check_run_all()

    @rule(asks=questions_of_a_cell)
    def run_without_an_id(self, asks):
        assert self.run(Cell("", asks), with_id=False)

    @rule(name=st.sampled_from(sorted(BASE)))
    def take_back_by_hand(self, name):
        for cell in self.cells[1:]:
            self.chats[name].take_back(cell.id)
            self.records[name] = taken_back(self.records[name], cell.id, 0)
        self.check_chats()

    @rule()
    def reset(self):
        for chat in self.chats.values():
            chat.reset()
        self.records = {name: [] for name in BASE}
        self.check_chats()

    @rule(name=st.sampled_from(sorted(BASE)))
    def save_and_load(self, name):
        path = self.folder / f"{name}.json"
        before = self.chats[name]
        before.save(path)
        self.chats[name] = loaded = Chat.load(path)
        bodies = [chat.request("next?").body() for chat in (before, loaded)]
        assert {**bodies[0], "conversation": None} == {**bodies[1], "conversation": None}
        self.records[name] = goes_on(self.records[name])  # turns from before it was started over are not saved
        self.check_chats()


def test_a_notebook_after_any_history(backend, monkeypatch, tmp_path):
    checked = []

    def machine() -> NotebookMachine:
        checked.append(NotebookMachine(backend, monkeypatch, tmp_path))
        return checked[-1]

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert sum(one.checked for one in checked) > 20  # otherwise the condition holds too rarely to show anything


# -- where the kernel cannot know what the notebook shows


@pytest.mark.parametrize(
    ("ran", "notebook", "once_more"),
    [
        ("b a", "a b", ["b?"]),  # cells run in another order
        ("a b", "b a", ["a?"]),  # a cell moved
        ("a b", "x a b", ["a?", "b?"]),  # a cell inserted before the first
        ("a b c", "b c", ["a?", "b?", "c?"]),  # the first cell deleted, which the front end does not report
    ],
)
async def test_turns_of_other_cells_stay_until_a_reset(backend, ran, notebook, once_more):
    chat = Chat()
    await run_cells(chat, *ran.split(), *notebook.split())
    assert questions(chat) == once_more
    chat.reset()
    for _ in range(2):
        await run_cells(chat, *notebook.split())
        assert questions(chat) == [f"{cell}?" for cell in notebook.split()]


# -- a cell is deleted, which the front end reports


async def started_over(backend):
    """Return a chat with the turns a, b, then started over with c, d; the server wants a state back after d."""
    chat = Chat(system="S")
    await run_cells(chat, "a")
    with from_cell("b"):
        await chat.ask("b?", system="T")
    with from_cell("c"):
        await chat.ask("c?", new=True, system="U")
    backend.engine.enqueue(STATE, "d?")
    await run_cells(chat, "d")
    return chat


def state_of(chat):
    return chat.request("next?").body().get("conversation")


@pytest.mark.parametrize(
    ("deleted", "system", "left"),
    [
        ("d", "U", ["c?"]),  # the last
        ("c", "T", ["a?", "b?", "d?"]),  # the cell that started over and had set a system prompt
        ("cd", "T", ["a?", "b?"]),  # and all after it
        ("dc", "T", ["a?", "b?"]),
        ("bc", "S", ["a?", "d?"]),
        ("cb", "S", ["a?", "d?"]),
        ("abc", "S", ["d?"]),
        ("abcd", "S", []),
    ],
)
async def test_deleting_a_cell_removes_its_turns_and_no_others(backend, deleted, system, left):
    chat = await started_over(backend)
    assert state_of(chat) == {"id": 7}
    for cell in deleted:
        chat.forget(cell)
    assert questions(chat) == left
    assert state_of(chat) is None
    assert all(told["content"] == question["content"] for question, told in pairs(chat))
    assert chat.system == system
    await run_cells(chat, "x")
    assert "conversation" not in backend.engine.history[-1]
    assert sent(backend) == [system, *(text for text in left for _ in range(2)), "x?"]


@pytest.mark.parametrize("deleted", ["a", "b", "ab", "ba", "x"])
async def test_deleting_another_cell_leaves_the_messages_as_they_are(backend, deleted):
    chat = await started_over(backend)
    as_it_was, messages = copy.deepcopy(chat.messages), chat.messages
    for cell in deleted:
        chat.forget(cell)
    assert chat.messages is messages
    assert messages == as_it_was
    assert [] not in chat._history._previous
    assert chat.system == "U"
    assert state_of(chat) == {"id": 7}
    await run_cells(chat, "c")  # does not start over any more
    assert sent(backend) == {
        "a": ["T", "b?", "b?", "c?"],
        "b": ["S", "a?", "a?", "c?"],
        "x": ["T", "a?", "a?", "b?", "b?", "c?"],
    }.get(deleted, ["S", "c?"])


async def test_deleting_a_cell_in_the_middle_keeps_later_turns(backend):
    chat = Chat()
    await run_cells(chat, "a", "b", "c")
    chat.forget("b")
    assert questions(chat) == ["a?", "c?"]
    await run_cells(chat, "c")
    assert sent(backend) == ["a?", "a?", "c?"]


async def test_deleting_one_of_several_cells_that_started_over(backend):
    chat = Chat()
    for cell in "abcd":
        with from_cell(cell):
            await chat.ask(f"{cell}?", new=True)
    await run_cells(chat, "e")
    chat.forget("b")
    assert questions(chat) == ["d?", "e?"]
    chat.forget("d")
    assert questions(chat) == ["c?", "e?"]
    chat.forget("c")
    assert questions(chat) == ["a?", "e?"]
    await run_cells(chat, "a")
    assert questions(chat) == ["a?"]


# -- concurrency


async def begun(chat, text, **options):
    """Send a prompt and leave the answer waiting."""
    stream = chat.stream(text, **options)
    await anext(stream)
    return stream


async def rest_of(stream):
    async for _ in stream:
        pass
    return stream.answer


async def test_concurrent_prompts_are_all_kept_as_whole_turns(backend):
    chat = Chat(system="S")
    await asyncio.gather(*(chat.ask(str(number)) for number in range(8)))
    assert sorted(questions(chat)) == [str(number) for number in range(8)]
    assert [message["role"] for message in chat.messages] == ["user", "assistant"] * 8
    assert all(told["content"] == question["content"] for question, told in pairs(chat))
    assert {tuple(sent(backend, at)) for at in range(8)} == {("S", str(number)) for number in range(8)}


def pairs(chat):
    return list(zip(chat.messages[::2], chat.messages[1::2], strict=True))


@pytest.mark.parametrize("cell", [None, "a"])
async def test_from_several_threads_and_a_loop_at_once(backend, cell):
    chat, torn, done = Chat(), [], threading.Event()

    def watch():
        while not done.is_set():
            if len([*chat.messages]) % 2:
                torn.append([*chat.messages])

    watcher = threading.Thread(target=watch)
    watcher.start()
    with from_cell(cell):
        threads = (asyncio.to_thread(lambda at: [chat(f"{at}.{n}") for n in range(4)], at) for at in range(4))
        await asyncio.gather(*threads, *(chat.ask(f"4.{n}") for n in range(4)))
    done.set()
    watcher.join()
    assert torn == []
    assert sorted(questions(chat)) == [f"{at}.{n}" for at in range(5) for n in range(4)]
    assert all(told["content"] == question["content"] for question, told in pairs(chat))


async def test_a_panel_and_a_cell_at_once(backend):
    chat = Chat()
    await run_cells(chat, "a")
    panel = await begun(chat, "panel?")
    await run_cells(chat, "b")
    await rest_of(panel)
    assert sent(backend, -2) == ["a?", "a?", "panel?"]
    assert sent(backend) == ["a?", "a?", "b?"]
    assert questions(chat) == ["a?", "b?", "panel?"]
    await run_cells(chat, "b")
    assert questions(chat) == ["a?", "b?", "panel?"]


async def test_a_cell_that_runs_again_while_others_are_answered(backend):
    chat = Chat()
    await run_cells(chat, "a", "b")
    with from_cell("c"):
        slow = await begun(chat, "c?")
    await run_cells(chat, "a")
    assert questions(chat) == ["a?"]
    await rest_of(slow)
    assert questions(chat) == ["a?", "c?"]  # its turn comes after that


@pytest.mark.parametrize("new", [False, True])
async def test_a_late_answer_to_an_earlier_run_is_dropped(backend, new):
    chat = Chat()
    await run_cells(chat, "x")
    with from_cell("a"):
        late = await begun(chat, "first?", system="late", new=new)
    with from_cell("a"):
        await chat.ask("second?")
    await run_cells(chat, "b")
    assert (await rest_of(late)).text == "first?"  # its own caller still gets it
    assert questions(chat) == ["x?", "second?", "b?"]
    assert chat.system is None
    await run_cells(chat, "a")
    assert questions(chat) == ["x?", "a?"]


async def test_a_late_answer_takes_nothing_back_anywhere(backend, monkeypatch):
    chats = NamedChats()
    monkeypatch.setattr(question_module, "chats", chats)
    main, plots = chats["main"], chats["plots"]
    with from_cell("a"):
        late = await begun(main, "first?")
        earlier = cell_run.cell_run.get()
    with from_cell("a"):
        answer = await plots.ask("second?")
        settle(plots, answer)
    with from_cell(earlier):
        settle(main, await rest_of(late))
    assert (questions(main), questions(plots)) == ([], ["second?"])


def settle(chat, answer):
    Question(options_of(), chat, "").record_answer(answer, {})


async def test_no_state_is_sent_to_a_server_that_has_not_seen_all_turns(backend):
    chat = Chat()
    backend.engine.enqueue(STATE, "Hm")
    slow = await begun(chat, "slow?")
    backend.engine.enqueue(STATE, "Hi")
    await chat.ask("quick?")
    await rest_of(slow)
    await chat.ask("next?")
    assert "conversation" not in backend.engine.history[-1]
    assert sent(backend) == ["quick?", "Hi", "slow?", "Hm", "next?"]


async def test_a_request_that_is_sent_again_has_the_same_history(backend):
    chat = Chat()
    await chat.ask("1")
    await chat.ask("2")
    backend.engine.enqueue({"type": "error", "error": "PromptTooLongError", "message": "9 tokens"})
    request, stream = chat.request("look?"), await begun(chat, "long?")
    await chat.ask("meanwhile?")
    await rest_of(stream)
    assert sent(backend) == ["2", "2", "long?"]
    assert [message["content"] for message in request.messages(0)] == ["1", "1", "2", "2", "look?"]


def test_one_thread_takes_back_while_another_commits(backend, monkeypatch):
    chat = Chat()
    for cell in "ab":
        with from_cell(cell):
            chat(f"{cell}?")
    lock, history_before = history_module._lock, history_module.history_before_cell
    asked, may_end, waits_or_ended = threading.Event(), threading.Event(), threading.Event()

    class Watched:
        def __enter__(self):
            if not lock.acquire(blocking=False):
                waits_or_ended.set()
                lock.acquire()

        def __exit__(self, *_):
            lock.release()

    async def say():
        stream = await begun(chat, "panel?")
        asked.set()
        await asyncio.to_thread(may_end.wait)
        await rest_of(stream)

    def slow(histories, cell):
        found = history_before(histories, cell)
        may_end.set()  # another thread may run now
        assert waits_or_ended.wait(TIMEOUT)
        return found

    panel = background.Job(say())
    panel.future.add_done_callback(lambda _: waits_or_ended.set())
    assert asked.wait(TIMEOUT)
    monkeypatch.setattr(history_module, "_lock", Watched())
    monkeypatch.setattr(history_module, "history_before_cell", slow)
    chat.take_back("b")
    panel.future.result(TIMEOUT)
    assert questions(chat) == ["a?", "panel?"]


# -- copies of a chat within a run, and runs of another process


async def test_a_copy_goes_on_within_the_run(backend):
    chat = Chat()
    with from_cell("a"):
        await chat.ask("1")
        other = copy.deepcopy(chat)
        await other.ask("2")
        await chat.ask("3")
    assert questions(other) == ["1", "2"]
    assert questions(chat) == ["1", "3"]


async def test_a_run_of_another_process_counts_as_earlier(backend):
    chat = Chat()
    run = CellRun("a")
    run.number = 10**9  # that process had run many cells
    with from_cell(run):
        await chat.ask("1")
    tuesday = pickle.loads(pickle.dumps(chat))
    with from_cell("a"):
        await tuesday.ask("2")
    assert questions(tuesday) == ["2"]


async def test_setting_the_system_prompt_overrides_those_of_earlier_turns(backend):
    chat = Chat()
    with from_cell("a"):
        await chat.ask("a?", system="S")
    with from_cell("b"):
        await chat.ask("b?", new=True)
    chat.system = "T"
    await run_cells(chat, "b")
    assert sent(backend) == ["T", "a?", "a?", "b?"]


def test_views_of_the_chats_create_none():
    found = NamedChats()
    first, second = found["a"], found["b"]
    for views in (found.values(), found.items()):
        seen = iter(views)
        next(seen)
        del found["b"]
        assert len(list(seen)) <= 1
        assert list(found) == ["a"]
        found["b"] = second
    assert list(found.values()) == [first, second]
