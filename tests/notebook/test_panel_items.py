"""The items of a panel: the messages sent so far add up to what a new page gets, in few bytes."""

from __future__ import annotations

import re
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from panel_shown import Shown

from nb_backend.chat.answer import Answer
from nb_backend.chat.jsonable import plain
from nb_backend.chat.messages import Message
from nb_backend.events import RawResponse
from nb_backend.notebook.panel.items.arrange import FailedTurn, ItemSource, arrange_items
from nb_backend.notebook.panel.items.block_diff import common_length, diff_blocks, utf16_length
from nb_backend.notebook.panel.items.content import ItemContent, answer_content, message_content, question_content
from nb_backend.notebook.panel.items.image_store import ImageStore
from nb_backend.notebook.panel.items.items import ItemList
from nb_backend.notebook.panel.items.throttle import FASTEST, SLOWEST, interval
from nb_backend.notebook.panel.outbox import CHUNK_SIZE, ENVELOPE, Outbox, batches

TEXT = st.text(alphabet="ab😀é\n*`-|#", max_size=30)


def turn(text: str = "Why?", instead: Any = None) -> Any:
    request = SimpleNamespace(
        question=Message({"role": "user", "content": text}, {"time": 1e9}),
        media=[],
        cell_run=None,
        instead=instead,
        lacks_vision=False,
    )
    given = {"answer": Answer(), "ended": False, "kept": False, "error": None, "progress": None, "seconds_silent": 0.0}
    return SimpleNamespace(request=request, **given)


def content(text: str) -> RawResponse:
    return RawResponse(type="content", content=text)


class Panel:
    """The items and one page, with a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.items = ItemList(ImageStore(), clock=lambda: self.now)
        self.page = Shown()
        self.sent: list[int] = []
        self.rendered = 0
        self.outbox = Outbox(lambda message, _: self.page.take(message))

    def content_of(self, source: ItemSource) -> ItemContent:
        self.rendered += 1
        if source.turn is None:
            return message_content(source.message or {}, str, str)
        if not source.is_answer:
            return question_content(source.turn, str, str)
        return answer_content(source.turn, str, str)

    def update(self, messages: Any, live: Any = (), failed: Any = ()) -> None:
        self.items.update(arrange_items(messages, live, failed), AllTurns())
        assert self.items.render(self.content_of, 1e9)
        for message in self.items.changes():
            size = self.outbox.broadcast(message)
            self.sent.append(size)
            if "item" in message:
                self.items.add_bytes_sent(message["item"], size)

    def fresh(self) -> list[dict[str, Any]]:
        return plain(self.items.whole())


class AllTurns:
    def __contains__(self, turn: object) -> bool:
        return turn is not None and not turn.ended


@given(st.lists(TEXT, max_size=5), st.lists(TEXT, max_size=5))
def test_a_diff_turns_one_list_of_blocks_into_the_other(before, after):
    diff = diff_blocks(before, after)
    page = Shown()
    page.items = {"i": {"content": before}}
    if diff is not None:
        page._text({"item": "i", "part": "content", **diff})
    assert page.items["i"]["content"] == after
    assert (diff is None) == (before == after)


@given(TEXT, TEXT)
def test_the_common_prefix_of_two_texts(one, other):
    same = common_length(one, other)
    assert one[:same] == other[:same]
    assert same == min(len(one), len(other)) or one[same] != other[same]
    assert utf16_length(one) == len(one.encode("utf-16-le")) // 2


ACTS = ["ask", "grow", "keep", "fail", "stop", "retry", "delete", "clear", "again", "hello", "wait", "search"]
ACTIONS = st.lists(st.tuples(st.sampled_from(ACTS), TEXT), max_size=25)


@settings(deadline=None, max_examples=60)
@given(ACTIONS)
def test_an_updated_page_shows_the_same_as_a_new_page(actions):
    panel, messages, live, failed = Panel(), [], [], []
    panel.update(messages)
    for act, text in actions:
        if act == "ask":
            live.append(turn(text))
        elif act == "retry" and messages:
            live.append(turn(text, next(one for one in messages if one["role"] == "user")))
        elif act == "grow" and live:
            live[0].answer.add(content(text))
        elif act in ("keep", "stop") and live:
            one = live.pop(0)
            one.answer.end(stopped=act == "stop")
            one.ended = one.kept = True
            if (old := one.request.instead) is not None:
                at = next((at for at, message in enumerate(messages) if message is old), len(messages))
                messages = messages[:at]
            reply = {"role": "assistant", "content": one.answer.text, **({"stopped": True} if act == "stop" else {})}
            messages = [*messages, one.request.question, Message(reply, {"time": 1e9, "seconds": 1})]
        elif act == "fail" and live:
            one = live.pop(0)
            one.ended, one.error = True, ValueError(text)
            failed.append(FailedTurn(one, messages[-1] if messages else None))
        elif act == "delete" and messages:
            messages = messages[2:]
        elif act == "clear":
            messages, failed = [], []
        elif act == "again":
            failed = failed[1:]
        elif act == "wait":
            panel.now += 1
        elif act == "search" and live:
            live[0].progress = RawResponse(type="progress", progress={"label": text})
        elif act == "hello":
            panel.page.items = {item["id"]: item for item in panel.fresh()}
            panel.page.order = panel.items.order
        panel.update(messages, live, failed)
        before = [dict(item) for item in panel.page.shown]
        assert [item["id"] for item in before] == panel.items.order
    panel.now += 10
    panel.update(messages, live, failed)
    before = panel.page.shown
    assert panel.page.gaps == 0
    assert panel.fresh() == before
    said = [re.sub(r"\s", "", item["text"]) if "text" in item else item["role"] for item in before]
    assert len(said) == len(messages) + 2 * len(failed) + 2 * len(live) or any(one.request.instead for one in live)


def test_unchanged_items_are_not_rendered_or_sent_again():
    panel = Panel()
    messages = []
    for number in range(500):
        messages += [
            Message({"role": "user", "content": f"{number}?"}),
            Message({"role": "assistant", "content": "Yes"}),
        ]
    panel.update(messages)
    assert panel.rendered == 1000
    assert len(panel.sent) == 1
    one = turn()
    panel.update(messages, [one])
    for number in range(5):
        one.answer.add(content(f"{number} "))
        panel.now += 1
        panel.update(messages, [one])
    assert panel.rendered == 1000 + 2 + 5
    assert len(panel.page.items) == 1002
    assert sum(panel.sent[1:]) < 40_000  # the order once, and the text in pieces
    panel.update([{"role": "user", "content": "0?"}, *messages[1:]])
    assert panel.rendered == 1000 + 2 + 5 + 2  # another question, and so another answer


PROSE = "The sky is **blue** since short waves are scattered `more` than long ones, as Rayleigh found in 1871. "
CODE = "```python\ndef share(wave: float) -> float:\n    return wave**-4  # blue wins\n```"
TABLE = "| colour | nm |\n| --- | ---: |\n| blue | 450 |\n| red | 650 |"
MIXED = f"{PROSE * 3}\n\n## A heading\n\n- {PROSE}\n- {PROSE}\n\n{CODE}\n\n{TABLE}\n\n$$x^2 + y^2$$\n\n"


@pytest.mark.parametrize(
    ("text", "rate"),
    [(MIXED, 60), (MIXED, 200), (f"{PROSE}\n\n", 200), (f"- {PROSE}\n", 200), ("plain words and no more ", 200)],
    ids=["mixed, slow", "mixed", "prose", "list", "one"],
)
def test_the_bytes_of_an_answer_are_in_proportion_to_its_html(text, rate):
    tokens = 6_000
    text = (text * (5 * tokens // len(text) + 1))[: 5 * tokens]
    if len(set(text.split())) < 10:
        text = re.sub(r"(.{4000})", r"\1\n\n", text)
    panel, one = Panel(), turn()
    panel.update([], [one])
    panel.sent.clear()
    updates, seconds = 0, []
    for at in range(0, len(text), 5 * rate // 40):  # one update in 25 ms
        one.answer.add(content(text[at : at + 5 * rate // 40]))
        panel.now += 0.025
        before = len(panel.sent)
        panel.update([], [one])
        if len(panel.sent) > before:
            updates += 1
            seconds.append(panel.now)
    one.ended = one.kept = True
    panel.update([one.request.question, Message({"role": "assistant", "content": one.answer.text})])
    html = sum(len(block.encode()) for block in panel.page.shown[-1]["content"])
    assert seconds[0] == pytest.approx(0.025)
    gaps = [after - before for before, after in pairwise(seconds)]
    assert max(gaps) < SLOWEST + 0.03
    assert all(after < 1.2 * before + 0.06 for before, after in pairwise(gaps))  # the page reveals each until the next
    assert sum(panel.sent) < 2.4 * html
    assert updates > len(text) / 5 / rate


def test_the_interval_grows_with_the_bytes_sent():
    assert interval(0, 0) == FASTEST
    assert interval(3_000, 10) == FASTEST
    assert interval(10**6, 10) == SLOWEST
    assert FASTEST < interval(93_000, 55_000) < SLOWEST


def test_items_are_sent_in_batches():
    items = [{"id": str(number), "content": ["x" * 300_000]} for number in range(10)]
    found = list(batches(items))
    assert [item for batch in found for item in batch] == items
    assert all(len(orjson.dumps(batch)) <= CHUNK_SIZE + ENVELOPE for batch in found)
    assert list(batches([])) == [[]]


def test_everything_sent_is_valid_json():
    strange = {"a": float("nan"), "b": ["\ud83d\ude00", "\ud800"], 3: (1, float("-inf")), "d": None}
    assert plain(strange) == {"a": None, "b": ["😀", "�"], "3": [1, None], "d": None}
    orjson.dumps(plain(strange))


def test_chunks_and_sequence_numbers():
    sent = []
    outbox = Outbox(lambda message, buffers: sent.append((message, buffers)))
    assert outbox.pieces("c", "r", bytes(2 * CHUNK_SIZE + 1)) == 3
    assert [len(buffers[0]) for _, buffers in sent] == [CHUNK_SIZE, CHUNK_SIZE, 1]
    outbox.reply("c", "r", ok=True)
    assert [outbox.broadcast({"type": "x"}) > ENVELOPE for _ in range(2)] == [True, True]
    assert [message.get("seq") for message, _ in sent[-3:]] == [None, 1, 2]
