"""The options of ``%%backend`` in a real kernel, with either kind of server."""

from __future__ import annotations

import json

import pytest
from driver import one_line
from serving import TOKEN


@pytest.fixture(scope="module")
def server(either_server):
    return either_server


def asked(kernel, engine, cell):
    run = kernel.run(cell)
    assert run.error is None, run.error
    return engine.history[-1]


def test_parameters_go_into_the_body(kernel, engine):
    line = "%%backend m --once -t 0.2 --max-tokens 7 --effort low --provider P -p top_p=0.9 -p 'stop=[\"a b\"]'"
    body = asked(kernel, engine, f"{line}\nhi")
    expected = {"model": "m", "temperature": 0.2, "max_tokens": 7, "provider": "P", "top_p": 0.9, "stop": ["a b"]}
    assert {name: body[name] for name in expected} == expected
    body = asked(kernel, engine, "%%backend --once\nhi")
    assert not body.keys() & {"temperature", "max_tokens", "provider", "top_p", "stop"}


def test_out(kernel, engine):
    engine.enqueue("forty-two")
    kernel.run("%%backend --once -o answer\nhi")
    assert kernel.run("answer is _, answer.text").result == "(True, 'forty-two')"


# -- format


def test_only_code_of_the_kernels_language_becomes_a_cell(kernel, engine):
    engine.enqueue(
        "```bash\npip install x\n```\n\n```Python3 title=a\nx = 1\n```\n\n```pycon\n>>> x\n```\n\n```\ny = 2\n```"
    )
    run = kernel.run("%%backend --once -f code\nhi")
    assert [one["text"] for one in run.reply["payload"]] == ["x = 1\n\ny = 2"]
    assert kernel.run("_.code").result == repr(["pip install x", "x = 1", ">>> x", "y = 2"])
    engine.enqueue("```bash\nls\n```\n\n```R\nls()\n```")
    one_line(
        kernel.run("%%backend --once -f code\nhi"), "no Python code to put into a cell, only bash, r: read it above"
    )


def test_text_is_shown_as_text(kernel, engine):
    engine.enqueue("**not bold** \x1b[31mred", 0.3, " end")
    run = kernel.run("%%backend --once -f text\nhi")
    assert run.markdown == []
    shown = run.displays[-1]["data"]["text/plain"]
    assert shown.startswith("**not bold** [U+001B][31mred end\n\n[scripted")
    assert run.displays[-1]["metadata"]["nb_backend"]["finish_reason"] == "stop"
    assert kernel.run("_.text").result == repr("**not bold** \x1b[31mred end")


def test_code_goes_into_a_new_cell(kernel, engine):
    engine.enqueue("Here:\n```python\nx = 1\n```\nand\n```python\ny = 2\n```\n")
    run = kernel.run("%%backend --once -f code\nhi")
    assert run.error is None
    (payload,) = run.reply["payload"]
    assert payload == {"source": "set_next_input", "text": "x = 1\n\ny = 2", "replace": False}
    assert kernel.run("len(_.code)").result == "2"


def test_an_answer_without_code(kernel, engine):
    engine.enqueue("No code today")
    run = kernel.run("%%backend -c nocode -f code\nhi")
    one_line(run, "no code block")
    assert run.markdown[-1].startswith("No code today")
    assert run.reply.get("payload", []) == []
    assert kernel.run("import nb_backend; len(nb_backend.chats['nocode'].messages)").result == "2"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, null]}', {"a": [1, None]}),
        ('Sure:\n```json\n{"a": 1}\n```\nDone.', {"a": 1}),
        ("7", 7),
        ("null", None),
    ],
)
def test_json_is_the_value(kernel, engine, text, value):
    engine.enqueue(text)
    run = kernel.run("%%backend --once -f json -o out\nhi")
    assert run.error is None
    assert run.result is None  # it is shown once, as the answer
    assert kernel.run("_, out").result == repr((value, value))


def test_json_is_shown_as_code(kernel, engine):
    engine.enqueue('{"a": "*b*"}')
    run = kernel.run("%%backend --once -f json\nhi")
    assert run.markdown[-1].startswith('```json\n{"a": "*b*"}\n```\n')


@pytest.mark.parametrize("text", ["no", '{"a": NaN}', '{"a": 1', "[" * 5000])
def test_an_answer_that_is_not_json(kernel, engine, text):
    engine.enqueue(text)
    run = kernel.run("%%backend --once -f json -o out\nhi")
    one_line(run, "not JSON", "above")
    assert run.displays[-1]["data"]["text/plain"] == text
    assert kernel.run("out.text").result == repr(text)


# -- schema

REVIEW = """
import json
from typing import Literal
from pydantic import BaseModel
from nb_backend import chats

class Review(BaseModel):
    label: Literal['kind', 'angry']
    stars: int = 3

SCHEMA = {'type': 'object', 'properties': {'n': {'type': 'integer'}}, 'required': ['n']}
"""


def test_with_a_schema_the_value_is_an_instance_and_the_request_has_the_strict_form(kernel, engine):
    kernel.run(REVIEW)
    engine.enqueue('{"label": "kind", "stars": null}')
    run = kernel.run("%%backend -c one --schema Review -o found -s 'Be fair.'\nNice!")
    assert run.error is None
    assert run.markdown[-1].startswith("```json\n")
    assert kernel.run("_, found").result == "(Review(label='kind', stars=3), Review(label='kind', stars=3))"
    body = engine.history[-1]
    sent = body["response_format"]["json_schema"]
    assert (sent["name"], sent["strict"], sent["schema"]["required"]) == ("Review", True, ["label", "stars"])
    assert body["messages"][0]["content"].startswith("Be fair.\n\nAnswer with JSON that fits this schema")
    assert asked(kernel, engine, "%%backend -c one\nWhy?")["messages"][0]["content"] == "Be fair."
    assert "response_format" not in engine.history[-1]


def test_a_schema_may_be_a_dict_an_expression_or_a_file(kernel, engine, tmp_path):
    kernel.run(REVIEW)
    file = tmp_path / "my schema.json"
    file.write_text('{"type": "array", "items": {"type": "integer"}}')
    for schema, answer in (("SCHEMA", '{"n": 1}'), ("'dict(SCHEMA, required=[])'", "{}"), (f"'{file}'", "[7]")):
        engine.enqueue(answer)
        assert kernel.run(f"%%backend --once --schema {schema}\nhi").error is None
        assert kernel.run("json.dumps(_)").result == repr(answer)
    one_line(kernel.run("%%backend --once --schema nothing\nhi"), "no variable nothing, and no file")
    one_line(kernel.run("%%backend --once --schema SCHEMA['x']\nhi"), "raised KeyError")
    one_line(kernel.run("%%backend --once --schema 7\nhi"), "a pydantic class or a JSON schema")
    file.write_text("{")
    one_line(kernel.run(f"%%backend --once --schema '{file}'\nhi"), "my schema.json is not a JSON schema")
    assert len(engine.history) == 3


def test_an_answer_that_does_not_fit_is_asked_for_once_more_and_both_stay(kernel, engine):
    kernel.run(REVIEW)
    engine.enqueue('{"label": "so so"}')
    engine.enqueue('{"label": "angry", "stars": 1}')
    run = kernel.run("%%backend -c again -n --schema Review\nNice!", cell="asking")
    assert run.error is None
    first, second = [one["data"]["text/plain"] for one in run.displays if "nb_backend" in one["metadata"]]
    assert (first, second) == ('{"label": "so so"}', '{"label": "angry", "stars": 1}')
    (remark,) = next(one["metadata"]["nb_backend"] for one in run.displays if "nb_backend" in one["metadata"])[
        "remarks"
    ]
    assert remark == "does not fit: label: Input should be 'kind' or 'angry'; asked once more"
    assert any("asked once more" in shown for shown in run.markdown)
    assert kernel.run("_").result == "Review(label='angry', stars=1)"
    body = engine.history[-1]
    assert [one["content"] for one in body["messages"][1:3]] == ["Nice!", '{"label": "so so"}']
    assert body["messages"][3]["content"].startswith("That does not fit the schema: label")
    assert kernel.run("len(chats['again'].messages)").result == "4"
    engine.enqueue("no")
    engine.enqueue("never")
    run = kernel.run("%%backend -c again --schema Review -o out\nNice!", cell="asking")
    one_line(run, "the answer does not fit the schema: it is not JSON", "read it above")
    assert [one["data"]["text/plain"] for one in run.displays if "nb_backend" in one["metadata"]] == ["no", "never"]
    assert kernel.run("out.text, len(chats['again'].messages)").result == "('never', 4)"


def test_outside_every_chat_it_is_asked_for_once_more_too_and_a_failure_keeps_the_first_answer(kernel, engine):
    kernel.run(REVIEW)
    engine.enqueue("no")
    engine.enqueue('{"n": 1}')
    assert kernel.run("%%backend --once --schema SCHEMA\nhi").error is None
    assert [one["role"] for one in engine.history[-1]["messages"]] == ["system", "user", "assistant", "user"]
    engine.enqueue("no")
    engine.enqueue({"type": "error", "error": "E", "message": "it broke"})
    run = kernel.run("%%backend -c half --schema SCHEMA -o out\nhi")
    assert run.error == ("ServerError", "ServerError: it broke")
    assert kernel.run("out.text, len(chats['half'].messages)").result == "('no', 2)"


def test_a_schema_that_the_server_refuses_is_left_out(kernel, engine):
    kernel.run(REVIEW)
    engine.enqueue({"type": "error", "error": "E", "message": "response_format is not supported"})
    engine.enqueue('{"n": 1}')
    assert kernel.run("%%backend --once --schema SCHEMA\nhi").error is None
    assert kernel.run("_").result == "{'n': 1}"
    assert ["response_format" in body for body in engine.history] == [True, False]


def test_a_dry_run_shows_the_schema(kernel, engine):
    kernel.run(REVIEW)
    run = kernel.run("%%backend --once --schema SCHEMA --effort low --dry-run\nhi")
    assert run.error is None
    assert "Answer with JSON that fits this schema" in run.markdown[-1]
    for words in ('"strict": true', "reasoning_effort = "):
        assert words in run.markdown[-1].replace("\\", "")
    assert engine.history == []


# -- dry run


def test_a_dry_run_shows_what_would_be_sent_and_sends_nothing(kernel, engine, server):
    kernel.run("name = 'Ada'")
    kernel.run("%%backend -c dry -s 'Be brief'\nfirst?")
    engine.history.clear()
    png = "b'\\x89PNG\\r\\n\\x1a\\n' + bytes(1000)"
    kernel.run(f"plot = {png}")
    line = "%%backend gpt-9 -c dry -t 0.5 -p seed=7 -i plot"
    run = kernel.run(f"{line} --dry-run\nI am {{{{ name }}}}: `````x\n**not bold**")
    assert run.error is None
    assert engine.history == []
    (shown,) = run.markdown
    for words in (
        *("Nothing was sent", "gpt-9", "temperature = 0.5", "seed = 7", "plot.png", "(image/png, 1.0 kB)"),
        *("key: set", "Be brief", "first?", "\nI am Ada: `````x\n**not bold**\n", "dry"),
    ):
        assert words in shown
    path = "/chat/completions" if server.url.endswith("/v1") else "/backend-api/v2/conversation"
    assert f"{server.url.partition('//')[2]}{path}" in shown.replace("\\", "")
    assert TOKEN not in json.dumps(run.messages, default=str)
    body = json.loads(kernel.run("import json; print(json.dumps(_.body))").printed)
    assert asked(kernel, engine, f"{line}\nI am {{{{ name }}}}: `````x\n**not bold**") == {
        **body,
        **({} if server.url.endswith("/v1") else {"api_key": TOKEN}),
    }
    assert "which starts over" in kernel.run("%%backend -c dry -n --dry-run\nhi").markdown[0]


def test_a_dry_run_shows_the_messages_in_every_dialect(kernel, engine):
    for model in ("anthropic:claude-sonnet-5", "openai:gpt-5.4", "gemini:gemini-3-pro"):
        run = kernel.run(f"%%backend {model} --once -s 'Be brief' --effort low --dry-run\nWhat is ü?")
        assert run.error is None
        (shown,) = run.markdown
        assert "**system**\n\n```text\nBe brief\n```\n\n**user**\n\n```text\nWhat is ü?" in shown
        parameters = next(line for line in shown.splitlines() if line.startswith("- parameters:"))
        assert "low" in parameters
        assert "Be brief" not in parameters
    assert engine.history == []


def test_a_dry_run_shows_no_secret(kernel, engine):
    kernel.run(
        "import os\nfrom nb_backend import Chat, chats\nname = os.environ['NB_BACKEND_API_KEY']\n"
        "chats['sec'] = Chat('m', extra={'authorization': 'abc-secret', 'headers': {'X-Api-Key': 'def-secret'}}, "
        "api_key='own-key-0123')"
    )
    run = kernel.run("%%backend -c sec --dry-run -p x=own-key-0123\n{{ name }}")
    assert run.error is None
    shown = json.dumps(run.messages, default=str) + kernel.run("import json; print(json.dumps(_.body))").printed
    for secret in (TOKEN, "abc-secret", "def-secret", "own-key-0123"):
        assert secret not in shown.replace("-p x=own-key-0123", "")
    assert "***" in shown


def test_a_dry_run_checks_what_it_would_send(kernel, engine):
    one_line(kernel.run("%%backend --dry-run\n{{ nothing }}"), "nothing is not defined")
    one_line(kernel.run("%%backend --dry-run -i none.png\nhi"), "no file none.png")
    assert engine.history == []


# -- names of chats


def test_a_name_that_is_not_valid(kernel, engine):
    one_line(kernel.run("%%backend -c 'a/b'\nhi"), "'a/b' cannot be the name of a chat")
    assert engine.history == []
