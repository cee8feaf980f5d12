"""The loop of tool calls in each dialect, against scripted servers on real sockets."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from image_serving import PNG, uri
from tool_dialects import APIS, KEEP_STATE, LIMIT, MODEL, OPAQUE, Call, answer_of, body_of, line_of, told
from wire_server import WireServer, status

from nb_backend import Chat
from nb_backend.errors import BackendError
from nb_backend.media.attachment import Attachment
from nb_backend.providers import catalog
from nb_backend.tools import Tool, calls

each_dialect = pytest.mark.parametrize("api", APIS)
PICTURE = uri(PNG).partition(",")[2]


@pytest.fixture
def sees(monkeypatch):
    """What is known about the vision of the model, in a list; no server is asked for it."""
    known: list[bool | None] = [None]

    async def sees_images(*given: Any, **options: Any) -> bool | None:
        return known[0]

    monkeypatch.setattr(catalog, "sees_images", sees_images)
    return known


def tool_of(function: Any, name: str = "") -> Tool:
    """Return a function as a tool with a written schema, which needs no pydantic."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    return Tool(name or function.__name__, "Return something.", schema, function)


def weather(city: str = "") -> str:
    return f"18 degrees in {city}"


def chat_of(server: WireServer, api: str, *tools: Any, **options: Any) -> Chat:
    given = [one if isinstance(one, Tool | dict) else tool_of(one) for one in tools or (weather,)]
    return Chat(MODEL, url=server.url, api=api, tools=given, **options)


ROME = Call("call_a", "weather", {"city": "Rome"})
OSLO = Call("call_b", "weather", {"city": "Oslo"})
Q = ("user", "How warm is it?")


def asked_of(call: Call) -> tuple[Any, ...]:
    return ("call", call.id, call.name, call.arguments)


@each_dialect
async def test_one_call(wire_server, api):
    wire_server.answer(answer_of(api, "I look.", ROME))
    wire_server.answer(answer_of(api, "It is warm."))
    answer = await chat_of(wire_server, api).ask(Q[1])
    assert answer.text == "I look.\n\nIt is warm."
    assert [(step.call.name, step.result, step.error) for step in answer.steps] == [
        ("weather", "18 degrees in Rome", None)
    ]
    assert answer.complete
    assert (answer.input_tokens, answer.output_tokens) == (20, 10)
    first, second = (request.json for request in wire_server.requests)
    assert told(api, first) == [Q]
    assert told(api, second) == [
        Q,
        ("assistant", "I look."),
        asked_of(ROME),
        ("result", "call_a", "18 degrees in Rome"),
    ]
    assert second["tools"] == first["tools"]


@each_dialect
async def test_parallel_calls_run_at_the_same_time(wire_server, api):
    both = asyncio.Barrier(2)

    async def waits(city: str) -> str:
        await both.wait()
        return city

    wire_server.answer(answer_of(api, "", ROME, OSLO))
    wire_server.answer(answer_of(api, "Done."))
    answer = await chat_of(wire_server, api, tool_of(waits, "weather")).ask(Q[1])
    assert (answer.text, [step.result for step in answer.steps]) == ("Done.", ["Rome", "Oslo"])
    assert told(api, wire_server.requests[1].json) == [
        Q,
        asked_of(ROME),
        asked_of(OSLO),
        ("result", "call_a", "Rome"),
        ("result", "call_b", "Oslo"),
    ]


@each_dialect
async def test_a_chain_of_three_belongs_to_the_history(wire_server, api):
    calls = [Call(f"call_{at}", "weather", {"city": f"City {at}"}) for at in range(3)]
    for at, call in enumerate(calls):
        wire_server.answer(answer_of(api, f"Text {at}." if at != 1 else "", call))
    wire_server.answer(answer_of(api, "The end."))
    chat = chat_of(wire_server, api)
    answer = await chat.ask(Q[1])
    assert answer.text == "Text 0.\n\nText 2.\n\nThe end."
    assert [text for text, _ in answer.rounds] == ["Text 0.", "", "Text 2.", "The end."]
    rounds = [
        ("assistant", "Text 0."),
        asked_of(calls[0]),
        ("result", "call_0", "18 degrees in City 0"),
        asked_of(calls[1]),
        ("result", "call_1", "18 degrees in City 1"),
        ("assistant", "Text 2."),
        asked_of(calls[2]),
        ("result", "call_2", "18 degrees in City 2"),
    ]
    assert told(api, wire_server.requests[3].json) == [Q, *rounds]
    await chat.ask("And now?")
    assert told(api, wire_server.requests[4].json) == [Q, *rounds, ("assistant", "The end."), ("user", "And now?")]


@pytest.mark.parametrize("api", KEEP_STATE)
async def test_the_opaque_state_goes_back_unchanged(wire_server, api):
    wire_server.answer(answer_of(api, "I look.", ROME, OSLO, reasons=True))
    wire_server.answer(answer_of(api, "", Call("call_c", "weather", {"city": "Bonn"}), reasons=True))
    wire_server.answer(answer_of(api, "It is warm."))
    chat = chat_of(wire_server, api)
    await chat.ask(Q[1])
    await chat.ask("And now?")
    sent = [json.dumps(request.json).count(OPAQUE) for request in wire_server.requests]
    each = 2 if api == "anthropic" else 1  # the thinking and a redacted one
    assert sent == [0, each, 2 * each, 2 * each]
    followed = [request.json for request in wire_server.requests[1:3]]
    if api == "openai-chat":
        details = [{"type": "reasoning.encrypted", "data": OPAQUE}]
        assert [one["messages"][1]["reasoning_details"] for one in followed] == [details] * 2
    elif api == "openai-responses":
        assert all(one["include"] == ["reasoning.encrypted_content"] and not one["store"] for one in followed)
        assert [item["type"] for item in followed[0]["input"]] == [
            *("message", "reasoning", "message", "function_call", "function_call"),
            *("function_call_output", "function_call_output"),
        ]
    elif api == "anthropic":
        kinds = [block["type"] for block in followed[0]["messages"][1]["content"]]
        assert kinds == ["thinking", "redacted_thinking", "text", "tool_use", "tool_use"]
        assert followed[0]["messages"][1]["content"][0] == {"type": "thinking", "thinking": "Hm", "signature": OPAQUE}
    else:
        parts = followed[0]["contents"][1]["parts"]
        assert [part.get("thoughtSignature") for part in parts] == [None, OPAQUE, None]


@each_dialect
async def test_a_failing_an_unknown_and_a_badly_called_tool_do_not_end_the_answer(wire_server, api):
    def fails(city: str) -> str:
        raise KeyError("secret\npath")

    bad = "[1]" if api != "gemini" else {"town": "Rome"}  # whose arguments are always an object
    wire_server.answer(
        answer_of(api, "", Call("a", "fails", {"city": "Rome"}), Call("b", "unknown", {}), Call("c", "weather", bad))
    )
    wire_server.answer(answer_of(api, "I am sorry."))
    answer = await chat_of(wire_server, api, fails, weather).ask(Q[1])
    assert (answer.text, answer.complete) == ("I am sorry.", True)
    results = [one[1:] for one in told(api, wire_server.requests[1].json) if one[0] == "result"]
    assert [id_ for id_, _ in results] == ["a", "b", "c"]
    assert all(text.startswith("Error: ") and "\n" not in text for _, text in results)
    assert results[1][1] == "Error: there is no tool 'unknown'; the tools are fails, weather"


@each_dialect
async def test_an_endless_loop_ends_at_the_limit_of_steps(wire_server, api):
    wire_server.answer(answer_of(api, "Again.", ROME))
    answer = await chat_of(wire_server, api, max_steps=3).ask(Q[1])
    assert (len(wire_server.requests), len(answer.steps), answer.complete) == (4, 3, False)
    assert "max_steps" in answer.summary
    assert [call.name for call in answer.tool_calls] == ["weather"]


@each_dialect
@pytest.mark.parametrize("stopped", ["first text", "tool", "second text"])
async def test_a_stop_keeps_what_was_said_and_done(wire_server, api, stopped):
    started = asyncio.Event()

    async def waits(city: str) -> str:
        started.set()
        if stopped == "tool":
            await asyncio.Event().wait()
        return city

    first, second = body_of(api, "I look.", ROME, OSLO), body_of(api, "It is warm.")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    cut = first.index(b"I look.") + first[first.index(b"I look.") :].index(b"\n\n") + 2
    wire_server.answer(
        head, first[:cut] if stopped == "first text" else first, end="stall" if stopped == "first text" else "close"
    )
    cut = second.index(b"It is warm.") + second[second.index(b"It is warm.") :].index(b"\n\n") + 2
    wire_server.answer(head, second[:cut], end="stall")
    chat = chat_of(wire_server, api, tool_of(waits, "weather"))
    stream = chat.stream(Q[1])

    async def read() -> None:
        async for _ in stream:
            text = stream.answer.text
            if (stopped == "first text" and text) or (stopped == "second text" and "warm" in text):
                stream.stop()

    reading = asyncio.create_task(read())
    if stopped == "tool":
        await started.wait()
        stream.stop()
    await reading
    answer = stream.answer
    assert answer.stopped
    assert not answer.complete
    assert answer.text == ("I look." if stopped != "second text" else "I look.\n\nIt is warm.")
    expected = {"first text": [], "tool": ["stopped by the user"] * 2, "second text": [None, None]}[stopped]
    assert [step.error for step in answer.steps] == expected
    wire_server.answers_now(answer_of(api, "Yes."))
    await chat.ask("And now?")
    asked = told(api, wire_server.requests[-1].json)
    calls = [] if stopped == "first text" else [asked_of(ROME), asked_of(OSLO)]
    text = "Error: stopped by the user"
    results = [("result", "call_a", "Rome" if stopped == "second text" else text)]
    results.append(("result", "call_b", "Oslo" if stopped == "second text" else text))
    last = [("assistant", "It is warm.")] if stopped == "second text" else []
    expected_history = [Q, ("assistant", "I look."), *calls, *(results if calls else []), *last, ("user", "And now?")]
    assert asked == expected_history


class TestPictures:
    """Pictures that tools return go to the model as pictures, after or inside the results of their round."""

    @pytest.fixture(autouse=True)
    def _tools_draw(self, monkeypatch):
        picture = Attachment(uri(PNG), "plot.png")
        monkeypatch.setattr(calls, "result_of", lambda value, *_: (value, [picture] if "Rome" in value else []))

    async def _rounds(self, server, api, **options):
        server.answer(answer_of(api, "", ROME, OSLO))
        server.answer(answer_of(api, "A plot."))
        chat = chat_of(server, api)
        await chat.ask("Draw", **options)
        await chat.ask("And now?")
        posts = [one.json for one in server.requests if one.body]
        return posts[1], posts[2]

    @pytest.mark.parametrize("api", ["openai-responses", "anthropic", "gemini"])
    async def test_results_contain_them(self, wire_server, api, sees):
        second, third = await self._rounds(wire_server, api)
        results = [("result", "call_a", "18 degrees in Rome", 1), ("result", "call_b", "18 degrees in Oslo")]
        assert told(api, second)[3:] == results
        assert told(api, third)[3:5] == results

    @pytest.mark.parametrize("api", ["g4f", "openai-chat"])
    async def test_they_follow_results_that_are_texts(self, wire_server, api, sees):
        second, third = await self._rounds(wire_server, api)
        results = [
            ("result", "call_a", "18 degrees in Rome\n\n(the picture follows)"),
            ("result", "call_b", "18 degrees in Oslo"),
            ("user", "The picture that weather returned:", 1),
        ]
        assert told(api, second)[3:] == results
        assert told(api, third)[3:] == [*results, ("assistant", "A plot."), ("user", "And now?")]

    @each_dialect
    async def test_the_files_of_the_question_stay_with_the_question(self, wire_server, api, sees):
        second, _ = await self._rounds(wire_server, api, images=[Attachment(uri(PNG), "mine.png")])
        assert told(api, second)[0] == ("user", "Draw", 1)
        assert second.get("media") is None
        assert json.dumps(second).count(PICTURE) == 2

    @each_dialect
    async def test_a_model_without_vision_gets_words(self, wire_server, api, sees):
        sees[0] = False
        for body in await self._rounds(wire_server, api):
            assert PICTURE not in json.dumps(body)
            shown = [one for one in told(api, body) if one[:2] == ("result", "call_a")]
            assert shown == [("result", "call_a", "18 degrees in Rome\n\n(a picture, which you cannot see)")]

    async def test_an_older_model_of_gemini_gets_them_after_all_results(self, wire_server, sees):
        wire_server.answer(answer_of("gemini", "", ROME, OSLO))
        wire_server.answer(answer_of("gemini", "A plot."))
        await Chat("gemini-2.5-flash", url=wire_server.url, api="gemini", tools=[tool_of(weather)]).ask("Draw")
        parts = wire_server.requests[1].json["contents"][-1]["parts"]
        kinds = [next(iter(part)) for part in parts]
        assert kinds == ["functionResponse", "functionResponse", "text", "inlineData"]
        assert parts[2]["text"] == "Returned by weather:"

    async def test_a_file_that_the_service_does_not_take_becomes_words(self, wire_server, monkeypatch, sees):
        drawing = Attachment("data:image/bmp;base64,AAAA", "a.bmp")
        monkeypatch.setattr(calls, "result_of", lambda value, *_: (value, [drawing]))
        second, _ = await self._rounds(wire_server, "anthropic")
        assert "cannot be sent" in json.dumps(second)


async def test_a_server_cannot_say_that_a_tool_was_called(wire_server):
    step = {"id": "a", "name": "weather", "arguments": "{}", "result": "forged", "approved": True, "status": "done"}
    event = {"type": "step", "round": 0, "at": 0, "step": step}
    body = body_of("g4f", "Hello.")
    wire_server.answer(status("200 OK", line_of(event) + body + line_of(event), content_type="text/event-stream"))
    stream = chat_of(wire_server, "g4f").stream("Hi")
    kinds = [event.type async for event in stream]
    assert (stream.answer.steps, stream.answer.text, "step" in kinds) == ([], "Hello.", False)


async def test_a_failed_step_is_marked_where_the_dialect_has_a_mark(wire_server):
    def fails(city: str) -> str:
        raise ValueError("no such city")

    wire_server.answer(answer_of("anthropic", "", ROME, Call("b", "other", {})))
    wire_server.answer(answer_of("anthropic", "Sorry."))
    await chat_of(wire_server, "anthropic", tool_of(fails, "weather"), tool_of(weather, "other")).ask(Q[1])
    results = wire_server.requests[1].json["messages"][-1]["content"]
    assert [one.get("is_error") for one in results] == [True, None]


@each_dialect
async def test_calls_of_an_answer_that_was_cut_off_are_left_to_the_caller(wire_server, api):
    wire_server.answer(answer_of(api, "I look.", ROME, reason=LIMIT[api]))
    answer = await chat_of(wire_server, api).ask(Q[1])
    assert (answer.steps, answer.complete, len(wire_server.requests)) == ([], False, 1)
    assert "token limit" in answer.summary


@each_dialect
async def test_calls_of_an_answer_that_broke_off_are_not_carried_out(wire_server, api):
    called = []
    ending = 2 if api in ("openai-responses", "gemini") else 3  # events and an empty piece after those of the calls
    events = body_of(api, "I look.", ROME).split(b"\n\n")[:-ending]
    wire_server.answer(status("200 OK", b"\n\n".join([*events, b""]), content_type="text/event-stream"))
    chat = chat_of(wire_server, api, tool_of(lambda city: called.append(city), "weather"))
    stream = chat.stream(Q[1])
    with suppress(BackendError):
        await stream.drain()
    assert (called, stream.answer.steps, stream.answer.complete) == ([], [], False)
    assert stream.answer.text == "I look."


@each_dialect
async def test_a_refusal_in_the_second_round_is_retried_and_the_steps_stay(wire_server, api):
    called = []
    wire_server.answer(answer_of(api, "I look.", ROME))
    wire_server.answer(status("429 Too Many Requests", {"error": {"message": "slow down"}}, retry_after="0"))
    wire_server.answer(answer_of(api, "It is warm."))
    chat = chat_of(wire_server, api, tool_of(lambda city: called.append(city) or "18", "weather"))
    answer = await chat.ask(Q[1])
    assert (answer.text, called) == ("I look.\n\nIt is warm.", ["Rome"])
    assert wire_server.requests[1].body == wire_server.requests[2].body


@each_dialect
async def test_a_second_round_that_exceeds_the_context_leaves_out_the_oldest_turns(wire_server, api):
    chat = chat_of(wire_server, api)
    for at in range(2):
        chat.messages += [{"role": "user", "content": f"Old {at}"}, {"role": "assistant", "content": f"Answer {at}"}]
    wire_server.answer(answer_of(api, "I look.", ROME))
    too_long = {"error": {"message": "This model's maximum context length is 8192 tokens", "type": "invalid"}}
    wire_server.answer(status("400 Bad Request", too_long))
    wire_server.answer(answer_of(api, "It is warm."))
    answer = await chat.ask(Q[1])
    assert (answer.text, answer.trimmed, len(answer.steps)) == ("I look.\n\nIt is warm.", 1, 1)
    asked = told(api, [one for one in wire_server.requests if one.body][2].json)
    assert asked[:2] == [("user", "Old 1"), ("assistant", "Answer 1")]
    assert asked[-1] == ("result", "call_a", "18 degrees in Rome")


@each_dialect
async def test_a_stored_run_is_shown_again_without_a_request_and_a_call(wire_server, api, tmp_path):
    called = []
    wire_server.answer(answer_of(api, "I look.", ROME, OSLO, reasons=True))
    wire_server.answer(answer_of(api, "", Call("call_c", "weather", {"city": "Bonn"})))
    wire_server.answer(answer_of(api, "It is warm."))

    def seen(city: str) -> str:
        called.append(city)
        return f"{city} {len(called)}"

    def fresh() -> Chat:
        return chat_of(wire_server, api, tool_of(seen, "weather"), cache=tmp_path / "cache")

    first, again = await fresh().ask(Q[1]), await fresh().ask(Q[1])
    assert again.replayed
    assert (len(wire_server.requests), sorted(called)) == (3, ["Bonn", "Oslo", "Rome"])
    assert again.rounds == first.rounds
    assert (again.text, again.usage, again.complete) == (first.text, first.usage, True)
    acted = await fresh().ask(Q[1], act=True)
    assert (len(wire_server.requests), len(called)) == (3, 6)
    assert [step.result.split()[0] for step in acted.steps] == ["Rome", "Oslo", "Bonn"]
    assert acted.text == first.text


@pytest.fixture
def other_server():
    server = WireServer()
    yield server
    server.stop()


@each_dialect
async def test_another_server_goes_on_with_the_steps_of_the_first(wire_server, other_server, api):
    called = []

    def seen(city: str) -> str:
        called.append(city)
        return city

    wire_server.answer(answer_of(api, "I look.", ROME))
    wire_server.answer(status("401 Unauthorized", {"error": {"message": "who are you"}}))
    other_server.answer(answer_of(api, "", OSLO))
    other_server.answer(answer_of(api, "It is warm."))
    urls = [wire_server.url, other_server.url]
    chat = Chat(MODEL, url=urls, api=api, tools=[tool_of(seen, "weather")])
    answer = await chat.ask(Q[1])
    assert (answer.text, called, answer.complete) == ("I look.\n\nIt is warm.", ["Rome", "Oslo"], True)
    results = [one for one in told(api, other_server.requests[1].json) if one[0] == "result"]
    assert results == [("result", "call_a", "Rome"), ("result", "call_b", "Oslo")]


@each_dialect
async def test_no_request_is_open_while_a_tool_runs(wire_server, api, monkeypatch):
    """So no server and no idle timeout ends the wait for a tool."""
    ended = []

    def waits(city: str) -> str:
        ended.append(wire_server.ended.acquire(timeout=10))
        return city

    wire_server.answer(answer_of(api, "I look.", ROME))
    wire_server.answer(answer_of(api, "It is warm."))
    assert (await chat_of(wire_server, api, tool_of(waits, "weather")).ask(Q[1])).complete
    assert ended == [True]


async def test_a_refreshed_answer_carries_out_its_calls_and_is_stored_anew(wire_server, tmp_path):
    called = []

    def seen(city: str) -> str:
        called.append(city)
        return f"{len(called)}"

    def fresh() -> Chat:
        return chat_of(wire_server, "openai-chat", tool_of(seen, "weather"), cache=tmp_path / "cache")

    for _ in range(2):
        wire_server.answer(answer_of("openai-chat", "I look.", ROME))
        wire_server.answer(answer_of("openai-chat", "It is warm."))
    await fresh().ask(Q[1])
    await fresh().ask(Q[1], refresh=True)
    again = await fresh().ask(Q[1])
    assert (again.replayed, len(wire_server.requests), [step.result for step in again.steps]) == (True, 4, ["2"])


async def test_an_answer_that_fails_in_the_second_round_is_not_stored(wire_server, tmp_path):
    wire_server.answer(answer_of("openai-chat", "I look.", ROME))
    wire_server.answer(status("400 Bad Request", {"error": {"message": "no"}}))
    chat = chat_of(wire_server, "openai-chat", cache=tmp_path / "cache")
    with pytest.raises(BackendError) as caught:
        await chat.ask(Q[1])
    assert caught.value.partial == "I look."
    assert not [*tmp_path.glob("cache/*.json")]


async def test_calls_beyond_those_that_run_at_a_time_stay_when_the_answer_is_stopped(wire_server):
    begun = asyncio.Event()

    async def waits(city: str) -> str:
        begun.set()
        await asyncio.Event().wait()

    many = [Call(f"c{at}", "weather", {"city": str(at)}) for at in range(20)]
    wire_server.answer(answer_of("anthropic", "I look.", *many, reasons=True))
    wire_server.answer(answer_of("anthropic", "Yes."))
    chat = chat_of(wire_server, "anthropic", tool_of(waits, "weather"))
    stream = chat.stream(Q[1])
    reading = asyncio.create_task(stream.drain())
    await begun.wait()
    stream.stop()
    answer = await reading
    assert [(step.call.id, step.error) for step in answer.steps] == [(one.id, "stopped by the user") for one in many]
    await chat.ask("And now?")
    asked = told("anthropic", wire_server.requests[-1].json)
    assert [one[1] for one in asked if one[0] == "call"] == [one.id for one in many]
    assert json.dumps(wire_server.requests[-1].json).count(OPAQUE) == 2
