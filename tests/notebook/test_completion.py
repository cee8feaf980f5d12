"""What Tab offers on a line of ``%backend`` or ``%%backend``."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nb_backend.notebook.magic.completion import Known, candidates, image_paths, is_in_prompt
from nb_backend.notebook.magic.fix_until import FixOptions
from nb_backend.notebook.magic.line import words
from nb_backend.notebook.magic.options import build_parser, declared

MODELS = ["gpt-4o", "gpt-4o-mini", "llama3:8b", "@cf/meta/llama-2@v1", "o=1.5", "a b"]
KNOWN = Known(
    options=declared(),
    verbs=["models", "use", "url", "alias", "history", "reset", "key", "ask", "fix"],
    fix_options=declared(FixOptions),
    aliases=["big"],
    urls=["http://localhost:8080"],
    services=["anthropic", "ollama"],
    dialects=lambda: ["openai-chat", "anthropic"],
    models_of=lambda service: {"anthropic": ["claude-a", "claude-b"]}.get(service, []),
    variables=["figure", "frame"],
    models=lambda: MODELS,
    chats=lambda: ["main", "my chat"],
    mcp_servers=lambda: ["time"],
    tools=lambda: ["population", "run", "time.now"],
    local_models=lambda: ["default", "hf:org/repo:m-Q4_K_M.gguf", "hf:"],
    image_paths=lambda start: [name for name in ("figs/", "plot.png", "two words.png") if name.startswith(start)],
)


def offered(before, **known):
    return candidates(before, replace(KNOWN, **known))[1]


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("%backend u", ["use", "url"]),
        ("%%backend gpt-4o -T ", ["population", "run", "time.now"]),
        ("%%backend -T run --tool=ti", ["--tool=time.now"]),
        ("  answer = %backend f", ["fix"]),
        ("%backend use ", ["big", *MODELS]),
        ("%backend use llama3:", ["llama3:8b"]),
        ("%backend use @cf/meta/llama-2@", ["@cf/meta/llama-2@v1"]),
        ("%backend use a ", ["a b"]),
        ("%backend models o=", ["o=1.5"]),
        ("%backend alias ", ["big"]),
        ("%backend alias mini gpt-4o-", ["gpt-4o-mini"]),
        ("%backend url ", ["default", "http://localhost:8080", "anthropic", "ollama"]),
        ("%backend url ol", ["ollama"]),
        ("%backend url ollama ", ["--api"]),
        ("%backend url ollama --api ", ["openai-chat", "anthropic"]),
        ("%backend url --api=a", ["--api=anthropic"]),
        ("%backend url --api anthropic h", ["http://localhost:8080"]),
        ("%backend url http://local", ["http://localhost:8080"]),
        ("%backend mcp ", ["add", "remove"]),
        ("%backend mcp add ", []),
        ("%backend mcp remove ti", ["time"]),
        ("%backend history ", ["main", '"my chat"']),
        ("%backend reset 'm", ["'main'", "'my chat'"]),
        ("%backend local ", ["default", "hf:org/repo:m-Q4_K_M.gguf", "hf:"]),
        ("%backend local hf:o", ["hf:org/repo:m-Q4_K_M.gguf"]),
        ("%backend ask gpt", []),
        ("%backend key ", ["anthropic", "ollama", "--keep", "--forget"]),
        ("%backend key ollama ", ["--keep", "--forget"]),
        ("%backend key ollama --keep ", []),
        ("%backend key --forget o", ["ollama"]),
        ("%backend models a", ["a b", "anthropic"]),
        ("%backend models anthropic claude-b", ["claude-b"]),
        ("%backend use ant", ["anthropic:"]),
        ("%backend use anthropic:", ["anthropic:claude-a", "anthropic:claude-b"]),
        ("%backend alias c anthropic:claude-b", ["anthropic:claude-b"]),
        ("%%backend ant", ["anthropic:"]),
        ("%%backend gpt-4o anthropic:claude-a", ["anthropic:claude-a"]),
        ("%%backend anthropic:claude-a anthropic:", ["anthropic:claude-b"]),
        ("%%backend ollama:", []),
        ("%backend nonsense ", []),
        ("%backend fix g", ["gpt-4o", "gpt-4o-mini"]),
        ("%backend fix --fo", ["--format"]),
        ("%backend fix --un", ["--until"]),
        ("%%backend --un", []),
        ("%%backend g", ["gpt-4o", "gpt-4o-mini"]),
        ("%%backend 'a", ["'a b'", "'anthropic:"]),
        ("%%backend --effort ", ["none", "low", "medium", "high"]),
        ("%%backend --schema f", ["figure", "frame"]),
        ("%%backend -", None),
        ("%%backend --fo", ["--format"]),
        ("%%backend gpt-4o g", ["gpt-4o-mini"]),
        ("%%backend gpt-4o big -n --keep g", ["gpt-4o", "gpt-4o-mini"]),
        ("%%backend -n g", ["gpt-4o", "gpt-4o-mini"]),
        ("%%backend -c main g", ["gpt-4o", "gpt-4o-mini"]),
        ("%%backend -c ", ["main", '"my chat"']),
        ("%%backend -cm", ["-cmain"]),
        ("%%backend --chat m", ["main"]),
        ("%%backend --chat=", ["--chat=main", '--chat="my chat"']),
        ('%%backend --chat="my ', ['--chat="my chat"']),
        ('%%backend -c "', ['"main"', '"my chat"']),
        ("%%backend -f j", ["json"]),
        ("%%backend -o f", ["figure", "frame"]),
        ("%%backend -o g", []),
        ("%%backend -i f", ["figure", "frame", "figs/"]),
        ("%%backend -i ", ["figure", "frame", "@output", "@clipboard", "figs/", "plot.png", '"two words.png"']),
        ("%%backend -i@o", ["-i@output"]),
        ('%%backend --image "@', ['"@output"', '"@clipboard"']),
        ("%%backend --temperature ", []),
        ("%%backend --raw --ra", []),
        ("%%backend -i plot.png --ima", ["--image"]),
        ("%%backend", []),
        ("%%backends ", []),
        ("backend use g", []),
        ("x = 'gpt' % g", []),
        ("", []),
    ],
)
def test_what_is_offered(before, expected):
    if expected is None:
        expected = [name for option in KNOWN.options for name in option.flags]
    assert offered(before) == expected


def test_models_are_offered_before_the_options_and_each_only_once():
    first = offered("%%backend ")
    assert first[:3] == ["big", "gpt-4o", "gpt-4o-mini"]
    assert '"a b"' in first
    assert "--image" in first
    assert "-i" not in first  # only the long form
    second = offered("%%backend gpt-4o ")
    assert "--image" in second
    assert second[:2] == ["big", "gpt-4o-mini"]
    assert "gpt-4o" not in second


def test_a_name_that_the_line_would_refuse_or_read_otherwise_is_offered_in_quotes():
    found = offered("%%backend ", aliases=["best!"], models=lambda: ["temperature=1", "ok-1", "#1", "a:", "–n", "x;"])
    assert found[:7] == ["best!", '"temperature=1"', "ok-1", '"#1"', '"a:"', '"–n"', '"x;"']


@pytest.mark.parametrize("before", ["%%backend -", "%%backend -c ", "%backend ", "%backend ask x"])
def test_models_are_requested_only_where_one_may_stand(before):
    def models():
        raise AssertionError("requested")

    offered(before, models=models)


def test_names_with_control_characters_are_not_offered():
    assert offered("%backend use ", aliases=[], models=lambda: ["a\n!rm", "b\x1b[0m", "c"]) == ["c"]


names = st.text(st.characters(exclude_categories=["C"]) | st.sampled_from(" '\"=:/@-"), min_size=1, max_size=8)
lines = st.sampled_from(["%backend ", "%backend use ", "%backend alias x ", "%backend history ", "%%backend "])
typing = st.sampled_from(["-c", "-c ", "--chat=", "-i ", "-o ", "-n ", "--", "'", '"', "gpt-4o ", " "]) | names


@given(lines, st.lists(typing, max_size=4), st.lists(names, max_size=4))
def test_a_candidate_completes_what_is_typed(line, typed, named):
    before = line + "".join(typed)
    known = replace(KNOWN, variables=named, models=lambda: named, chats=lambda: named, image_paths=lambda start: named)
    word, found = candidates(before, known)
    assert before.endswith(word)
    assert all(text.startswith(word) and "\n" not in text for text in found)


@given(names, st.sampled_from(["", "'", '"']), st.sampled_from(["--chat ", "--chat=", "-c "]))
def test_the_line_means_the_name_that_was_chosen(name, quote, option):
    found = candidates(f"%%backend {option}{quote}", replace(KNOWN, chats=lambda: [name]))[1]
    for text in found:
        line = option.rpartition("--chat=")[0] + text if option.endswith("=") else option + text
        if not name.startswith("-") and not name.endswith("/"):
            assert build_parser().parse_args(words(line)).chat == name


@pytest.mark.parametrize(
    ("above", "expected"),
    [
        ([], False),
        (["", "  "], False),
        (["%%time", ""], False),
        (["x = 1"], False),
        (["%backend use x"], False),
        (["%%backend", ""], True),
        (["", " %%backend gpt-4o -c main"], True),
        (["%%time", "%%backend", "hi"], True),
        (["hi", "%%backend"], False),
    ],
)
def test_a_line_below_the_magic_belongs_to_the_prompt(above, expected):
    assert is_in_prompt(above) is expected


def test_the_images_of_a_folder(tmp_path, monkeypatch):
    for name in ("b.PNG", "a.jpeg", "notes.txt", ".hidden.png", "plots/x.svg", "plots/y.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert image_paths("") == ["a.jpeg", "b.PNG", "plots/"]
    assert image_paths("plots/") == ["plots/x.svg"]
    assert image_paths("./") == ["./a.jpeg", "./b.PNG", "./plots/"]
    assert "~/a.jpeg" in image_paths("~/")
    assert ".hidden.png" in image_paths(".")
    assert image_paths(os.path.join(tmp_path, "plots", "x")) == [f"{tmp_path}/plots/x.svg"]
    assert image_paths("none/") == image_paths("notes.txt/") == image_paths("\0/") == []
