"""``map``: answers in the order and the form of the prompts, with ``await`` and without."""

from __future__ import annotations

import asyncio
import copy
import io
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pandas as pd
import pytest
from png import png
from serving import TOKEN, serving
from tqdm import tqdm

import nb_backend
from nb_backend import Answer, ServerError, background
from nb_backend.batch import progress
from nb_backend.local.scripted import ScriptedEngine

REVIEWS = pd.DataFrame({"name": ["Ann", "Bo", None], "stars": [5, 1, 3]}, index=[10, 20, 30])


def prompts_sent(backend) -> list[str]:
    return [body["messages"][-1]["content"] for body in backend.engine.history]


def texts(answers) -> list[str]:
    return [str(answer) for answer in answers]


def wait_for_requests(backend, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(backend.engine.history) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


# what goes in, and what comes back


def test_a_list_returns_a_list_in_the_order_of_the_prompts(backend):
    backend.engine.enqueue(0.2, "late")
    answers = nb_backend.map(["one", "two", "three"])
    assert type(answers) is list
    assert texts(answers) == ["late", "two", "three"]
    assert {type(answer) for answer in answers} == {Answer}


def test_each_prompt_has_a_chat_of_its_own_with_the_options_of_a_chat(backend):
    nb_backend.map(["one", "two"], model="m", system="Be brief.", provider="P", temperature=0.5, concurrency=1)
    for body, question in zip(backend.engine.history, ["one", "two"], strict=True):
        system, user = {"role": "system", "content": "Be brief."}, {"role": "user", "content": question}
        assert body["messages"] == [system, user]
        assert (body["model"], body["provider"], body["temperature"]) == ("m", "P", 0.5)


def test_an_openai_server_is_asked_in_its_dialect():
    with serving(ScriptedEngine(), "/v1") as server:
        answers = nb_backend.map(["one", "two"], url=server.url, api_key=TOKEN, top_p=0.5)
    assert texts(answers) == ["one", "two"]
    assert {(body["stream"], body["top_p"]) for body in server.engine.history} == {(True, 0.5)}


def test_if_a_server_is_gone_the_next_one_is_asked():
    with serving(ScriptedEngine()) as server:
        urls = iter(["http://127.0.0.1:9", server.url])
        answers = nb_backend.map(["one", "two", "three"], url=urls, api_key=TOKEN)
        assert texts(answers) == ["one", "two", "three"]
        assert sorted(prompts_sent(server)) == ["one", "three", "two"]


@pytest.mark.parametrize("prompts", [("one", "two"), iter(["one", "two"]), {"one": 1, "two": 2}.keys()])
def test_any_iterable_of_texts_returns_a_list(backend, prompts):
    assert texts(nb_backend.map(prompts)) == ["one", "two"]


def test_no_prompts_return_no_answers(backend):
    assert nb_backend.map([]) == []
    assert nb_backend.map(pd.Series([], dtype=object)).empty
    assert backend.engine.history == []


def test_a_series_returns_a_series_with_its_index(backend):
    answers = nb_backend.map(pd.Series(["one", "two"], index=["a", "b"], name="questions"))
    assert (answers.index.tolist(), answers.name) == (["a", "b"], "questions")
    assert texts(answers) == ["one", "two"]
    assert isinstance(answers["a"], Answer)


def test_a_table_returns_a_series_with_its_index(backend):
    answers = nb_backend.map(REVIEWS, template="{{ name }}: {{stars}}")
    assert answers.index.tolist() == [10, 20, 30]
    assert texts(answers) == ["Ann: 5", "Bo: 1", ": 3"]
    assert texts(nb_backend.map(REVIEWS[["name"]].dropna())) == ["Ann", "Bo"]


def test_dicts_and_texts_fill_templates_too(backend):
    assert texts(nb_backend.map([{"a": 1, "b": "x"}, {"b": "y", "a": 2}], template="{{ a }}{{ b }}")) == ["1x", "2y"]
    assert texts(nb_backend.map(["sky"], template="Why is the {{ prompt }}?")) == ["Why is the sky?"]
    series = pd.Series(["sky"], name="thing")
    assert texts(nb_backend.map(series, template="{{ thing }}, {{ prompt }}")) == ["sky, sky"]


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT])
def test_a_missing_value_is_an_empty_text(backend, missing):
    table = pd.DataFrame({"a": pd.Series(["x", missing], dtype=object)})
    assert texts(nb_backend.map(table, template="<{{ a }}>")) == ["<x>", "<>"]


def test_an_empty_prompt_is_not_sent(backend):
    first, second, third = nb_backend.map(["one", None, "  "])
    assert str(first) == "one"
    assert "nothing was sent" in str(second)
    assert "nothing was sent" in str(third)
    assert prompts_sent(backend) == ["one"]


IMPORTS = """
import sys
import nb_backend
nb_backend.map([], url="http://127.0.0.1:9/v1")
print(sorted({"pandas", "numpy", "tqdm", "jsonschema", "pydantic"} & set(sys.modules)))
"""


def test_a_list_needs_no_pandas():
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# templates; what is in one: test_template.py


@pytest.mark.parametrize(
    "text",
    ["{{ nam }}", "{{ name.upper() }}", "{{ name | upper }}", "{{ stars + 1 }}", "{{ class }}", "{{ len(name) }}"],
)
def test_an_unknown_name_is_an_error_that_lists_the_names(backend, text):
    with pytest.raises(ValueError, match=r"takes only these names: name, stars") as raised:
        nb_backend.map(REVIEWS, template=f"{{{{ name }}}} {text}")
    assert text in str(raised.value)
    assert backend.engine.history == []


def test_a_dict_without_the_name_is_an_error_before_anything_is_sent(backend):
    with pytest.raises(ValueError, match=r"\{\{ b \}\} cannot be filled in: a template takes only these names: a, c"):
        nb_backend.map([{"a": 1, "b": 2}, {"a": 1, "c": 2}], template="{{ b }}")
    assert backend.engine.history == []


# arguments that cannot be used are refused at once


@pytest.mark.parametrize(
    ("prompts", "options", "words"),
    [
        ("one", {}, "put it into a list"),
        (["one", 2], {}, "prompt 1 is int, not a text"),
        ([{"a": 1}], {}, "need a template"),
        (REVIEWS, {}, "needs a template; it can use name, stars"),
        (REVIEWS[["stars"]], {}, "prompt 0 is int, not a text"),
        (pd.concat([REVIEWS, REVIEWS], axis=1), {"template": "{{ name }}"}, "several columns of the same name"),
        (["one"], {"concurrency": 0}, "concurrency is 0"),
        (["one"], {"concurrency": 2.5}, "concurrency is 2.5"),
        (["one"], {"concurrency": True}, "concurrency is True"),
        (["one"], {"images": [None, None]}, "2 images for 1 prompts"),
        (["one"], {"images": "fig.png"}, "images is a single str"),
        (REVIEWS, {"template": "{{ name }}", "images": "photo"}, "no column photo for the images"),
        (pd.Series(["one"]), {"images": pd.Series([None], index=[7])}, "different indexes"),
        (["one"], {"url": "ftp://nowhere"}, "not a server's url"),
        (["one"], {"schema": 7}, "schema is 7: it has to be a pydantic class or a JSON schema"),
        (["one"], {"template": 7}, "template is int: it has to be a text"),
        (["one"], {"model": ["llama", "gpt-4o"]}, "model is ['llama', 'gpt-4o']: it has to be one name"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_at_once(backend, prompts, options, words):
    with pytest.raises((ValueError, TypeError), match=re.escape(words)):
        nb_backend.map(prompts, **options)
    assert backend.engine.history == []


# images


def test_a_prompt_has_one_image_or_several_or_none(backend):
    one, two = png(3, 2), png(5, 4)
    answers = nb_backend.map(["a", "b", "c", "d"], images=[one, [one, (two, "two.png")], None, float("nan")])
    assert [re.findall(r"(\d)×", str(answer)) for answer in answers] == [["3"], ["3", "5"], [], []]


def test_images_are_columns_of_a_table(backend):
    table = pd.DataFrame({"q": ["a", "b"], "front": [png(3, 2), png(5, 4)], "back": [None, png(7, 6)]})
    sizes = [
        re.findall(r"(\d)×", str(one)) for one in nb_backend.map(table, template="{{ q }}", images=["front", "back"])
    ]
    assert sizes == [["3"], ["5", "7"]]
    sizes = [re.findall(r"(\d)×", str(one)) for one in nb_backend.map(table, template="{{ q }}", images="back")]
    assert sizes == [[], ["7"]]
    links = ["http://localhost/a.png", "http://localhost/b.png"]
    found = nb_backend.map(table, template="{{ q }}", images=links)
    assert [link in str(one) for link, one in zip(links, found, strict=True)] == [True, True]


def test_an_image_is_converted_when_its_turn_comes_and_not_on_the_loop(backend):
    seen = []

    class Figure:
        def _repr_png_(self):
            seen.append((len(backend.engine.history), threading.current_thread().name))
            return png(3, 2)

    nb_backend.map(["a", "b", "c"], images=[Figure(), Figure(), Figure()], concurrency=1)
    assert [count for count, _ in seen] == [0, 1, 2]
    assert "nb_backend" not in {name for _, name in seen}


def test_an_object_that_is_not_an_image_fails_in_its_place(backend):
    first, second = nb_backend.map(["a", "b"], images=[object(), None])
    assert isinstance(first, (ValueError, TypeError))
    assert str(second) == "b"


# failures


def test_a_failure_stays_in_its_place_with_its_reason_and_its_text(backend):
    failure = {"type": "error", "error": "Boom", "message": "it went wrong"}
    backend.engine.enqueue("As far as it ca", failure)
    first, second = nb_backend.map(pd.Series(["a", "b"], index=[7, 8]), concurrency=1)
    assert isinstance(first, ServerError)
    assert (str(first), first.partial) == ("it went wrong", "As far as it ca")
    assert first.__traceback__ is None
    assert str(second) == "b"


def test_a_server_that_is_gone_fails_each_in_its_place(delays):
    failed = nb_backend.map(["a", "b"], url="http://127.0.0.1:9", api_key="k")
    assert [type(one).__name__ for one in failed] == ["ConnectionFailed"] * 2


# with and without await


async def test_in_a_coroutine_it_starts_at_once_and_is_awaited(backend):
    pending = nb_backend.map(["one", "two"])
    await asyncio.to_thread(wait_for_requests, backend, 2)
    assert texts(await pending) == ["one", "two"]
    assert await pending is await pending


async def test_it_can_be_gathered_made_a_task_and_waited_for_with_a_limit(backend):
    both = await asyncio.gather(nb_backend.map(["one"]), nb_backend.map(["two"]))
    assert [texts(one) for one in both] == [["one"], ["two"]]
    assert texts(await asyncio.ensure_future(nb_backend.map(["three"]))) == ["three"]
    assert texts(await asyncio.wait_for(nb_backend.map(["four"]), 30)) == ["four"]
    assert [texts(one) for one in await asyncio.gather(*(nb_backend.map([q]) for q in "ab"))] == [["a"], ["b"]]
    assert [texts(await one) for one in [nb_backend.map([q]) for q in "ab"]] == [["a"], ["b"]]
    assert texts(await (lambda: nb_backend.map(["c"]))()) == ["c"]


async def test_used_without_await_it_waits_by_itself(backend):
    assert len(nb_backend.map(["one", "two"])) == 2
    assert texts(nb_backend.map(["one"])) == texts(nb_backend.map(["one"]).result()) == ["one"]
    assert str(nb_backend.map(["one"])[0]) == "one"
    assert repr(nb_backend.map(["one"])) == "[Answer('one', model='scripted')]"
    assert nb_backend.map([]) == []
    assert nb_backend.map(pd.Series(["one"], index=[7])).index.tolist() == [7]
    assert texts(reversed(nb_backend.map(["one", "two"]))) == ["two", "one"]
    answers = nb_backend.map(["one"])
    assert answers[0] in answers
    assert type(copy.copy(answers)) is type(pickle.loads(pickle.dumps(answers))) is list
    assert "append" in dir(answers)


async def test_a_synchronous_function_in_a_coroutine_gets_the_list_itself(backend):
    def synchronous():
        return nb_backend.map(["one"])

    assert type(synchronous()) is list


async def test_on_the_background_loop_itself_it_refuses_to_block(backend):
    async def there():
        pending = nb_backend.map(["one"])
        with pytest.raises(RuntimeError, match="await it instead"):
            len(pending)
        return texts(await pending)

    assert await asyncio.wrap_future(background.Job(there()).future) == ["one"]

    def synchronous():
        return nb_backend.map(["one"])

    async def call():
        return synchronous()

    with pytest.raises(RuntimeError, match="await it instead"):
        await asyncio.wrap_future(background.Job(call()).future)


async def test_the_loop_goes_on_while_it_is_awaited(backend):
    backend.engine.enqueue(0.5, "late")
    pending, ticks = asyncio.ensure_future(nb_backend.map(["one"])), 0
    while not pending.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert ticks > 5


class CountingEngine(ScriptedEngine):
    at_once = most = 0

    async def stream(self, body):
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            async for event in super().stream(body):
                yield event
        finally:
            self.at_once -= 1


def test_concurrency_is_the_number_of_requests_at_a_time():
    with serving(CountingEngine("a", 0.02, "b")) as server:
        nb_backend.map([str(n) for n in range(40)], concurrency=7, url=server.url, api_key=TOKEN)
        assert (server.engine.most, len(server.engine.history)) == (7, 40)


# progress in a terminal; in a kernel: kernel/test_map_in_a_kernel.py


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch) -> Terminal:
    stderr = Terminal()
    # replacing sys.stderr itself does not last: pytest sets it again between a fixture and its test
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=stderr, modules=sys.modules))
    return stderr


def test_a_terminal_shows_a_bar_and_then_one_line(backend, terminal):
    backend.engine.enqueue({"type": "error", "error": "Boom", "message": "it went wrong"})
    backend.engine.enqueue("one ", "two")
    backend.engine.enqueue(0.5, "three")
    threads = threading.active_count()
    nb_backend.map(["a", "b", "c"], concurrency=1)
    shown = terminal.getvalue()
    assert re.search(r"2/3 \[00:\d\d<\d\d:\d\d, .*, 1 failed: server error · [\d,]+ tokens/s\]", shown)
    last = re.split(r"[\r\n]", shown.strip())[-1].strip()
    assert re.fullmatch(r"2 answered · 1 failed: server error · 3 tokens · \d+\.\d s", last)
    assert threading.active_count() == threads


def test_a_bar_that_cannot_be_drawn_does_not_block_others(backend, terminal, monkeypatch):
    def fail(text: str) -> int:
        raise OSError("no terminal any more")

    monkeypatch.setattr(terminal, "write", fail)
    backend.engine.enqueue(0.5, "a")
    assert [str(answer) for answer in nb_backend.map(["a", "b"])] == ["a", "b"]
    another = threading.Thread(target=lambda: tqdm(total=1, file=io.StringIO()).close(), daemon=True)
    another.start()
    another.join(10)
    assert not another.is_alive()


def test_with_a_cache_the_line_is_the_same_every_time(backend, terminal, tmp_path):
    for _ in range(2):
        nb_backend.map(["a", "b"], cache=tmp_path)
    assert terminal.getvalue().count("2 answered · 2 tokens\n") == 2


async def test_while_it_is_awaited_the_bar_moves_too(backend, terminal):
    backend.engine.enqueue("a")
    backend.engine.enqueue(0.5, "b")
    await nb_backend.map(["a", "b"], concurrency=1)
    assert "1/2 [" in terminal.getvalue()


def test_an_interrupted_call_says_what_is_kept(backend, terminal):
    backend.engine.enqueue(...)
    pending = background.Job(asyncio.to_thread(wait_for_requests, backend, 1))
    pending.future.add_done_callback(lambda _: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        nb_backend.map(["a"])
    assert terminal.getvalue().endswith("stopped: 0 of 1 are kept; the same call asks for the rest\n")


async def test_the_bar_counts_from_when_the_requests_started(backend, terminal):
    backend.engine.enqueue("a")
    backend.engine.enqueue(1.5, "b")
    pending = nb_backend.map(["a", "b"], concurrency=1)
    await asyncio.sleep(1.1)
    await pending
    assert re.search(r"1/2 \[00:0[1-9]<", terminal.getvalue())
    assert "1/2 [00:00<" not in terminal.getvalue()


async def test_two_waiters_of_one_call_get_the_same_list_and_one_line(backend, terminal):
    pending = nb_backend.map(["a"])
    first, second = await asyncio.gather(asyncio.ensure_future(pending), asyncio.ensure_future(pending))
    assert first is second
    assert terminal.getvalue().count("answered") == 1


@pytest.mark.parametrize("options", [{}, {"progress": False}])
def test_without_a_terminal_nothing_is_shown(backend, terminal, options, monkeypatch):
    if not options:
        monkeypatch.setattr(terminal, "isatty", lambda: False)
    backend.engine.enqueue(0.3, "a")
    nb_backend.map(["a"], **options)
    assert terminal.getvalue() == ""


def test_a_terminal_that_fails_does_not_lose_answers(backend, terminal, monkeypatch):
    def fail(text):
        raise OSError("gone")

    monkeypatch.setattr(terminal, "write", fail)
    backend.engine.enqueue(0.5, "a")
    backend.engine.enqueue(0.3, "a")
    assert texts(nb_backend.map(["x"])) == ["a"]
