"""The body of a request in Gemini's dialect: contents, attachments, tools, parameters, thinking."""

from __future__ import annotations

from itertools import cycle, islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nb_backend import settings
from nb_backend.errors import BackendError, ServerError
from nb_backend.providers import gemini_refusals, gemini_thinking
from nb_backend.providers.gemini_api import GeminiApi
from nb_backend.providers.gemini_parts import made_up_id

FLASH, FLASH_2, PRO_3, FLASH_3 = (
    "gemini-2.5-flash",
    "gemini-2.0-flash",
    "gemini-3-pro-preview",
    "gemini-3-flash-preview",
)
HI = [{"role": "user", "content": "Hi"}]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
URI = "data:image/png;base64,iVBORw0KGgoAAAAAAAAAAA=="
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def body(messages: Any = None, model: str = FLASH_2, media: Any = None, **fields: Any) -> dict[str, Any]:
    """Return the body that is sent."""
    made = GeminiApi.request_body(model, messages or HI, media, settings.Secret(), fields)
    return GeminiApi.fitted("https://host/v1beta", made)


def contents(*messages: dict[str, Any], model: str = FLASH_2) -> list[dict[str, Any]]:
    return body([*messages], model)["contents"]


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def asked(content: Any = None, *calls: tuple[str, str, str], **more: Any) -> dict[str, Any]:
    """Return an answer with function calls."""
    made = [{"id": id_, "type": "function", "function": {"name": name, "arguments": a}} for id_, name, a in calls]
    return {"role": "assistant", "content": content, **({"tool_calls": made} if made else {}), **more}


def result(id_: str, content: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": content}


class TestContents:
    def test_roles_and_the_system_prompt(self):
        system = [{"role": "system", "content": "Be short"}, {"role": "developer", "content": "And kind"}]
        assert body([*system, user("Hi"), asked("Ho"), user("Hey")]) == {
            "systemInstruction": {"parts": [{"text": "Be short"}, {"text": "And kind"}]},
            "contents": [
                {"role": "user", "parts": [{"text": "Hi"}]},
                {"role": "model", "parts": [{"text": "Ho"}]},
                {"role": "user", "parts": [{"text": "Hey"}]},
            ],
        }

    def test_messages_of_one_role_become_one(self):
        assert contents(user("a"), user("b"), asked("c"), asked("d")) == [
            {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
            {"role": "model", "parts": [{"text": "c"}, {"text": "d"}]},
        ]

    def test_calls_and_results_belong_together_by_name_and_id(self):
        turns = contents(
            user("?"), asked("Hm", ("1", "f", '{"x": 1}'), ("2", "g", "")), result("2", "two"), result("1", "one")
        )
        assert turns[1:] == [
            {
                "role": "model",
                "parts": [
                    {"text": "Hm"},
                    {"functionCall": {"name": "f", "args": {"x": 1}, "id": "1"}},
                    {"functionCall": {"name": "g", "args": {}, "id": "2"}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"name": "g", "response": {"result": "two"}, "id": "2"}},
                    {"functionResponse": {"name": "f", "response": {"result": "one"}, "id": "1"}},
                ],
            },
        ]

    def test_an_id_that_was_made_up_is_not_sent(self):
        own = made_up_id("r", 1)
        turns = contents(user("?"), asked("", (own, "f", "{}")), result(own, "one"))
        assert turns[1]["parts"] == [{"functionCall": {"name": "f", "args": {}}}]
        assert turns[2]["parts"] == [{"functionResponse": {"name": "f", "response": {"result": "one"}}}]

    def test_calls_without_a_result_are_left_out(self):
        """The service refuses them; a chat goes on although nobody ran a tool."""
        turns = contents(user("?"), asked("Hm", ("1", "f", ""), ("2", "g", "")), result("2", "two"), user("Hi"))
        assert turns[1]["parts"] == [{"text": "Hm"}, {"functionCall": {"name": "g", "args": {}, "id": "2"}}]
        assert contents(user("?"), asked("Hm", ("1", "f", ""), state=STATE), user("Hi"))[1]["parts"] == [{"text": "Hm"}]

    def test_a_picture_in_a_result_goes_beside_it(self):
        shown = [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": URI}}]
        parts = contents(user("?"), asked("", ("1", "look", "{}")), result("1", shown))[-1]["parts"]
        assert parts == [
            {"functionResponse": {"name": "look", "response": {"result": "See"}, "id": "1"}},
            {"text": "Returned by look:"},
            {"inlineData": {"mimeType": "image/png", "data": URI.partition(",")[2]}},
        ]

    @pytest.mark.parametrize(("model", "signed"), [(FLASH, False), (FLASH_3, True), ("models/gemini-3.5-flash", True)])
    def test_calls_of_another_model_have_the_mark_that_gemini_3_requires(self, model, signed):
        both = result("1", ""), result("2", "")
        parts = contents(user("?"), asked("", ("1", "f", ""), ("2", "g", "")), *both, model=model)[1]["parts"]
        assert ["thoughtSignature" in part for part in parts] == [signed, False]


STATE = [{"text": "a", "thought": True}, {"text": "Hi"}, {"functionCall": {"name": "f"}, "thoughtSignature": "S"}]


class TestState:
    """The parts of a turn go back as they came, if they still say what the message says."""

    def test_it_goes_back(self):
        assert contents(user("?"), asked("Hi", ("1", "f", ""), state=STATE), result("1", ""))[1]["parts"] == STATE

    @pytest.mark.parametrize(
        "message",
        [
            asked("Edited", ("1", "f", ""), state=STATE),
            asked("Hi", ("1", "other", ""), state=STATE),
            asked("Hi", state=STATE),
            asked("Hi", ("1", "f", ""), state="text"),
            asked("Hi", ("1", "f", ""), state=[7]),
            asked("Hi", ("1", "f", ""), state=[*STATE, {"fileData": {"fileUri": "http://10.0.0.1"}}]),
        ],
    )
    def test_it_is_left_out_if_it_is_not_that_of_the_turn(self, message):
        parts = contents(user("?"), message, result("1", ""), model=FLASH)[1]["parts"]
        assert parts[0] == {"text": message["content"]}
        assert not any("thoughtSignature" in part or "fileData" in part for part in parts)


class TestAttachments:
    def test_data_is_inline_and_before_the_question(self):
        assert body(media=[(PNG, "a.png")])["contents"][0]["parts"] == [
            {"inlineData": {"mimeType": "image/png", "data": URI.partition(",")[2]}},
            {"text": "Hi"},
        ]

    @pytest.mark.parametrize(
        ("part", "kind"),
        [
            ({"type": "input_audio", "input_audio": {"data": "QQ==", "format": "mp3"}}, "audio/mp3"),
            ({"type": "file", "file": {"file_data": "data:application/pdf;base64,QQ=="}}, "application/pdf"),
            ({"type": "file", "file": {"file_data": "data:video/quicktime;base64,QQ=="}}, "video/mov"),
            ({"type": "file", "file": {"file_data": "data:text/csv;base64,QQ=="}}, "text/plain"),
        ],
    )
    def test_media_types_are_those_of_the_service(self, part, kind):
        assert contents(user([part])) == [
            {"role": "user", "parts": [{"inlineData": {"mimeType": kind, "data": "QQ=="}}]}
        ]

    @pytest.mark.parametrize(
        ("url", "file"),
        [
            ("https://host/a.png?x=1", {"fileUri": "https://host/a.png?x=1", "mimeType": "image/png"}),
            ("https://host/picture", {"fileUri": "https://host/picture"}),
            ("https://www.youtube.com/watch?v=1", {"fileUri": "https://www.youtube.com/watch?v=1"}),
        ],
    )
    def test_an_address_is_passed_on(self, url, file):
        assert contents(user([{"type": "image_url", "image_url": {"url": url}}]))[0]["parts"] == [{"fileData": file}]

    @pytest.mark.parametrize("url", ["http://host/a.png", "ftp://host/a.png", ""])
    def test_an_address_that_the_service_does_not_fetch_is_refused(self, url):
        with pytest.raises(ValueError, match="attach the file itself"):
            contents(user([{"type": "image_url", "image_url": {"url": url}}]))


class TestTools:
    def test_functions_are_declared_and_own_tools_pass(self):
        plain = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}
        sent = body(tools=[WEATHER, {"google_search": {}}, plain])
        assert sent["tools"] == [
            {
                "functionDeclarations": [
                    {
                        "name": "weather",
                        "description": "The weather",
                        "parametersJsonSchema": WEATHER["function"]["parameters"],
                    },
                    {"name": "now"},
                ]
            },
            {"google_search": {}},
        ]
        assert "toolConfig" not in sent

    def test_gemini_3_mixes_functions_and_own_tools_with_a_flag(self):
        sent = body(model=FLASH_3, tools=[WEATHER, {"google_search": {}}], tool_choice="auto")
        assert sent["toolConfig"] == {
            "includeServerSideToolInvocations": True,
            "functionCallingConfig": {"mode": "AUTO"},
        }
        assert "toolConfig" not in body(model=FLASH_3, tools=[{"google_search": {}}])

    @pytest.mark.parametrize(
        ("choice", "config"),
        [
            ("auto", {"mode": "AUTO"}),
            ("none", {"mode": "NONE"}),
            ("required", {"mode": "ANY"}),
            ({"type": "function", "function": {"name": "f"}}, {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        ],
    )
    def test_the_choice(self, choice, config):
        assert body(tools=[WEATHER], tool_choice=choice)["toolConfig"] == {"functionCallingConfig": config}


class TestParameters:
    def test_each_goes_where_the_service_wants_it(self):
        sent = body(
            max_tokens=5,
            temperature=0,
            top_p=0.5,
            top_k=3,
            stop="END",
            seed=7,
            presence_penalty=1,
            safety_settings=[],
            cachedContent="c",
            unknown_field=1,
            parallel_tool_calls=False,
            stream=True,
            stream_options=None,
            extra_body={"labels": {"a": "b"}},
        )
        assert sent.pop("contents")
        assert sent == {
            "generationConfig": {
                "maxOutputTokens": 5,
                "temperature": 0,
                "topP": 0.5,
                "topK": 3,
                "stopSequences": ["END"],
                "seed": 7,
                "presencePenalty": 1,
            },
            "safetySettings": [],
            "cachedContent": "c",
            "unknown_field": 1,
            "labels": {"a": "b"},
        }

    @pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens"])
    def test_the_limit_of_tokens_has_several_names(self, name):
        assert body(**{name: 5})["generationConfig"] == {"maxOutputTokens": 5}

    def test_a_configuration_is_merged(self):
        sent = body(generation_config={"topK": 2}, temperature=1)
        assert sent["generationConfig"] == {"topK": 2, "temperature": 1}

    @pytest.mark.parametrize(
        ("wanted", "config"),
        [
            ({"type": "text"}, None),
            ({"type": "json_object"}, {"responseMimeType": "application/json"}),
            (
                {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": {"type": "object"}}},
                {"responseMimeType": "application/json", "responseJsonSchema": {"type": "object"}},
            ),
        ],
    )
    def test_structured_answers(self, wanted, config):
        assert body(response_format=wanted).get("generationConfig") == config

    def test_extra_body_has_to_be_a_dict(self):
        with pytest.raises(TypeError, match="extra_body has to be a dict of fields, not str"):
            body(extra_body="x")

    @pytest.mark.parametrize("model", ["", "  "])
    def test_a_model_is_needed(self, model):
        with pytest.raises(ValueError, match="Gemini has no default model: name one, like"):
            body(model=model)


SHOWN = {"includeThoughts": True}
EFFORTS = [
    (FLASH, None, SHOWN),
    (FLASH, "none", {"thinkingBudget": 0}),
    (FLASH, "low", {"thinkingBudget": 1024, **SHOWN}),
    (FLASH, "high", {"thinkingBudget": 24576, **SHOWN}),
    ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
    ("gemini-2.5-pro", "medium", {"thinkingBudget": 8192, **SHOWN}),
    ("models/gemini-2.5-flash-lite", None, SHOWN),
    (FLASH_3, None, SHOWN),
    (FLASH_3, "none", {"thinkingLevel": "minimal"}),
    (FLASH_3, "medium", {"thinkingLevel": "medium", **SHOWN}),
    (PRO_3, "none", {"thinkingLevel": "low"}),
    ("gemini-3.1-pro-preview", "high", {"thinkingLevel": "high", **SHOWN}),
    ("gemini-flash-latest", "low", {"thinkingLevel": "low", **SHOWN}),
    (FLASH_2, None, None),
    (FLASH_2, "none", None),
    (FLASH_2, "low", {"thinkingBudget": 1024, **SHOWN}),
    ("gemini-2.5-flash-image", None, None),
    ("gemini-2.5-flash-preview-tts", None, None),
    ("gemma-3-27b-it", None, None),
]


class TestEffort:
    @pytest.mark.parametrize(("model", "effort", "config"), EFFORTS)
    def test_each_model_is_asked_in_its_own_way(self, model, effort, config):
        sent = body(model=model, effort=effort)
        assert sent.get("generationConfig", {}).get("thinkingConfig") == config
        assert "effort" not in sent

    def test_a_configuration_of_the_users_comes_first(self):
        assert body(model=FLASH, effort="low", thinking_budget=5)["generationConfig"] == {
            "thinkingConfig": {"thinkingBudget": 5}
        }

    def test_another_word_is_refused(self):
        with pytest.raises(ValueError, match="effort has to be none, low, medium or high, not 'max'"):
            body(effort="max")


HIGH = {"thinkingLevel": "high"}
NO_THOUGHTS = "Unable to submit request because thinking is not supported by this model"
REFUSED = [
    (FLASH, None, NO_THOUGHTS, [None]),
    (FLASH, "none", "Budget 0 is invalid. This model only works in thinking mode.", [{"thinkingBudget": 128}]),
    (FLASH_3, "none", "Thinking level MINIMAL is not supported for this model.", [{"thinkingLevel": "low"}]),
    (
        PRO_3,
        "medium",
        "Thinking level is not supported",
        [HIGH | SHOWN, HIGH],
    ),
    (FLASH_2, "low", NO_THOUGHTS, [{"thinkingBudget": 1024}]),
]


class TestRefusedThinking:
    @pytest.fixture(autouse=True)
    def forget(self, monkeypatch):
        monkeypatch.setattr(gemini_thinking, "_replaced", {})

    @pytest.mark.parametrize(("model", "effort", "said", "then"), REFUSED)
    async def test_what_a_refusal_says_is_remembered(self, model, effort, said, then):
        url, key = "https://host/v1beta", settings.Secret()
        made = GeminiApi.request_body(model, HI, None, key, {"effort": effort})
        failure = ServerError(said, status=400)
        configs = []
        while await GeminiApi.learn(url, made, GeminiApi.fitted(url, made), failure, key):
            sent = GeminiApi.fitted(url, made)
            configs.append(sent.get("generationConfig", {}).get("thinkingConfig"))
        assert configs == then
        assert GeminiApi.fitted("https://other/v1beta", made) != GeminiApi.fitted(url, made)

    @pytest.mark.parametrize(
        "failure",
        [ServerError("Request contains an invalid argument", status=400), ServerError("no thinking", status=500)],
        ids=str,
    )
    async def test_other_failures_teach_nothing(self, failure: BackendError):
        url, key = "https://host/v1beta", settings.Secret()
        made = GeminiApi.request_body(FLASH, HI, None, key, {})
        assert not await GeminiApi.learn(url, made, GeminiApi.fitted(url, made), failure, key)


class TestRefusedSignatures:
    URL, KEY = "https://host/v1beta", settings.Secret()
    HISTORY = (user("?"), asked("Hi", ("1", "f", ""), state=STATE), result("1", "x"))

    @pytest.fixture(autouse=True)
    def forget(self, monkeypatch):
        monkeypatch.setattr(gemini_refusals, "_refused", set())
        monkeypatch.setattr(gemini_refusals, "_wants_mark", set())

    async def sent_after(self, model: str, said: str, *messages: dict[str, Any]) -> list[dict[str, Any]]:
        made = GeminiApi.request_body(model, [*messages], None, self.KEY, {})
        failure = ServerError(said, status=400)
        assert await GeminiApi.learn(self.URL, made, GeminiApi.fitted(self.URL, made), failure, self.KEY)
        sent = GeminiApi.fitted(self.URL, made)
        assert not await GeminiApi.learn(self.URL, made, sent, failure, self.KEY)
        return sent["contents"][1]["parts"]

    async def test_they_are_left_out_from_then_on(self):
        parts = await self.sent_after(FLASH_3, "Corrupted thought signature.", *self.HISTORY)
        call = {"functionCall": {"name": "f"}, "thoughtSignature": "skip_thought_signature_validator"}
        assert parts == [{"text": "Hi"}, call]
        new = [*self.HISTORY, asked("Ho", state=[{"text": "Ho", "thoughtSignature": "new"}])]
        assert body(new, FLASH)["contents"][-1]["parts"] == [{"text": "Ho", "thoughtSignature": "new"}]

    async def test_a_model_that_misses_one_gets_the_mark(self):
        said = "Function call `f` in the `1.` content block is missing a `thought_signature`."
        history = user("?"), asked("", ("1", "f", ""), ("2", "g", "")), result("1", ""), result("2", "")
        parts = await self.sent_after("my-own-gemini", said, *history)
        assert [part.get("thoughtSignature") for part in parts] == ["skip_thought_signature_validator", None]

    @pytest.mark.parametrize("odd", [7, [7], [{}], [{"parts": 7}], [{"parts": [7]}], []])
    async def test_contents_of_another_form_stay_as_the_user_sent_them(self, odd):
        made = GeminiApi.request_body(FLASH_2, HI, None, self.KEY, {"extra_body": {"contents": odd}})
        failure = ServerError("System instruction is not supported; thought signature", status=400)
        await GeminiApi.learn(self.URL, made, GeminiApi.fitted(self.URL, made), failure, self.KEY)
        assert GeminiApi.fitted(self.URL, made) == {"contents": odd}


TEXTS = st.text(max_size=3)
ARGUMENTS = st.sampled_from(["", "{}", "7", "{"])
CALLS = st.lists(st.tuples(st.sampled_from("12"), st.sampled_from("fg"), ARGUMENTS), max_size=2)
MESSAGES = st.one_of(
    TEXTS.map(user),
    st.builds(lambda text, calls: asked(text, *calls), TEXTS, CALLS),
    st.builds(result, st.sampled_from("123"), TEXTS),
    TEXTS.map(lambda text: {"role": "system", "content": text}),
)


@given(st.lists(MESSAGES, max_size=8), st.sampled_from([FLASH, FLASH_3]))
def test_roles_alternate_and_each_call_has_a_result(messages, model):
    """The service refuses anything else."""
    turns = contents(user("?"), *messages, model=model)
    roles = [turn["role"] for turn in turns]
    assert roles == [*islice(cycle(["user", "model"]), len(roles))]
    assert all(turn["parts"] and all(turn["parts"]) for turn in turns)
    parts = [part for turn in turns for part in turn["parts"]]
    called = {part["functionCall"]["id"] for part in parts if "functionCall" in part}
    assert called <= {part["functionResponse"]["id"] for part in parts if "functionResponse" in part}
    texts = [message["content"] for message in messages if message["role"] != "system"]
    assert all(text in str(turns) or repr(text)[1:-1] in str(turns) for text in texts)
