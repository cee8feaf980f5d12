"""Chats exported for people: as Markdown, and as notebooks that ask the prompts again."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_serving import uri
from png import png

from nb_backend import Chat

in_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def chat_of(*said: str, **fields) -> Chat:
    chat = Chat(**fields)
    chat.messages = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(said)]
    return chat


def exported(path: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    return notebook


@pytest.mark.parametrize("name", ["chat.html", "chat", "chat.md.txt", ".md"])
def test_another_suffix(tmp_path, name):
    with pytest.raises(ValueError, match=r"must end in \.md or \.ipynb"):
        chat_of("a").export(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_markdown(tmp_path):
    chat = chat_of(
        "Why **blue**?", "# Light\n\n```python\n# no heading\n```\n\nHa", "More", "Hm", model="gpt-4o", system="S"
    )
    chat.messages[1]["stopped"] = True
    chat.messages[3]["trimmed"] = 1
    chat.messages.append({"role": "tool", "content": [{"type": "image_url"}, {"type": "text", "text": "7"}]})
    chat.export(tmp_path / "chat.MD")
    assert (tmp_path / "chat.MD").read_text(encoding="utf-8") == (
        "# Conversation\n\nModel: `gpt-4o`\n\n## Instructions\n\nS\n\n## You\n\nWhy **blue**?\n\n## Answer\n\n"
        "### Light\n\n```python\n# no heading\n```\n\nHa\n\n*(stopped early)*\n\n"
        "## You\n\nMore\n\n## Answer\n\nHm\n\n*(sent without the oldest turn)*\n\n## `tool`\n\n(an attachment)\n\n7\n"
    )


def test_an_answer_cannot_imitate_other_roles_or_run_anything(tmp_path):
    chat = chat_of("Hi", "x\n\n## You\n\nI agree\n===\n<script>alert(1)</script> ![a](http://evil/a.png)")
    for name in ("chat.md", "chat.ipynb"):
        chat.export(tmp_path / name)
    text = (tmp_path / "chat.md").read_text(encoding="utf-8")
    assert text.count("\n## You\n") == 1
    shown = exported(tmp_path / "chat.ipynb").cells[1].outputs[0].data["text/markdown"]
    for markdown in (text, shown):
        assert "<script" not in markdown
        assert "![a](http" not in markdown


def test_a_notebook(tmp_path):
    chat = chat_of(
        "Hi?", "**Hello**", "Ho {{ x }}?\n", "Hm", model="gpt-4o", provider="P", system="S\n'", temperature=0.5
    )
    chat.messages[3] |= {"stopped": True, "trimmed": 2}
    chat.messages.append({"role": "system", "content": "Now"})
    chat.messages.append({"role": "assistant", "content": "Yes"})
    chat.export(tmp_path / "chat.ipynb")
    setup, first, second, system, unasked = exported(tmp_path / "chat.ipynb").cells
    assert setup.source == (
        "%load_ext nb_backend\nfrom nb_backend import chats\n\n"
        'chats["main"].provider = \'P\'\nchats["main"].system = "S\\n\'"\nchats["main"].params = {\'temperature\': 0.5}'
    )
    assert first.source == "%%backend gpt-4o\nHi?"
    assert first.outputs[0].output_type == "display_data"
    assert first.outputs[0].data == {"text/markdown": "**Hello**", "text/plain": "**Hello**"}
    assert first.outputs[0].metadata == {"nb_backend": {}}
    assert second.source == "%%backend gpt-4o --raw\nHo {{ x }}?\n\n"
    assert second.outputs[0].metadata == {"nb_backend": {"stopped": True, "trimmed": 2}}
    assert second.outputs[0].data["text/markdown"] == (
        "Hm\n\n<small>stopped early; sent without the 2 oldest turns</small>"
    )
    assert (system.cell_type, system.source) == ("markdown", "**Instructions**\n\nNow")
    assert (unasked.cell_type, unasked.source) == ("markdown", "**Answer**\n\nYes")


def test_nothing_in_it_steers_a_terminal(tmp_path):
    chat_of("Hi?", "\x1b[31mred\u202e").export(tmp_path / "chat.ipynb")
    shown = exported(tmp_path / "chat.ipynb").cells[1].outputs[0].data
    assert shown["text/plain"] == "[U+001B][31mred[U+202E]"


def test_a_system_prompt_that_a_question_has_set(tmp_path):
    chat = chat_of("Hi?", "Hello", "Ho?", "Yo")
    chat.messages[2]["system"] = "Be brief"
    for name in ("chat.md", "chat.ipynb"):
        chat.export(tmp_path / name)
    text = (tmp_path / "chat.md").read_text(encoding="utf-8")
    assert "Hello\n\n## Instructions\n\nBe brief\n\n## You\n\nHo?" in text
    setup, _, system, _ = exported(tmp_path / "chat.ipynb").cells
    assert setup.source == '%load_ext nb_backend\nfrom nb_backend import chats\n\nchats["main"].system = None'
    assert system.source == "chats[\"main\"].system = 'Be brief'"


@pytest.mark.parametrize("model", ["a b", "-x", "x\n!ls", "x'", '"', "{y}", "$y", "x #"])
def test_a_model_whose_name_does_not_fit_on_the_line(tmp_path, model):
    chat_of("Hi?", "Ho", model=model).export(tmp_path / "chat.ipynb")
    setup, question = exported(tmp_path / "chat.ipynb").cells
    assert question.source == "%%backend\nHi?"
    assert setup.source.splitlines()[3:] == [f'chats["main"].model = {model!r}']


@in_folder
@given(st.text(min_size=1))
def test_the_notebook_asks_exactly_what_was_asked(tmp_path, prompt):
    chat_of(prompt, model="m").export(tmp_path / "chat.ipynb")
    source = exported(tmp_path / "chat.ipynb").cells[1].source
    line, _, body = (source if source.endswith("\n") else source + "\n").partition("\n")  # as IPython does
    assert body.removesuffix("\n") == prompt  # as the magic does
    assert line == "%%backend m" + (" --raw" if "{{" in prompt else "")


def test_an_empty_chat(tmp_path):
    for name in ("chat.md", "chat.ipynb"):
        Chat().export(tmp_path / name)
    assert (tmp_path / "chat.md").read_text(encoding="utf-8") == "# Conversation\n"
    assert [cell.source for cell in exported(tmp_path / "chat.ipynb").cells] == ["%load_ext nb_backend"]


def test_large_images_are_in_files_but_not_in_the_shown_markdown(tmp_path):
    small, large = uri(png()), uri(png(filler=bytes(300_000)))
    chat = chat_of("Draw", f"![a]({large}) ![b]({small}) ![c](/x.png)")
    chat.messages[1]["images"] = {"/x.png": "http://h/x.png", "http://h/x.png": large}
    shown = chat._repr_markdown_()
    assert f"*(an image of 300 kB)* ![b]({small}) [image: c (h)](http://h/x.png)" in shown
    assert len(shown) < 1000
    chat.export(tmp_path / "chat.md")
    assert f"![a]({large}) ![b]({small}) ![c]({large})" in (tmp_path / "chat.md").read_text(encoding="utf-8")
    chat.export(tmp_path / "chat.ipynb")
    data = exported(tmp_path / "chat.ipynb").cells[1].outputs[0].data
    assert f"![a]({large}) ![b]({small}) ![c]({large})" in data["text/markdown"]
    assert data["text/plain"] == f"![a](data:image/png;base64,… (300 kB)) ![b]({small}) ![c](/x.png)"


def test_an_image_that_the_text_only_mentions_is_exported(tmp_path):
    chat = chat_of("Draw", "It is `/x.png`, not ![a](/x.png?id=10)")
    chat.messages[1]["images"] = {"/x.png": "http://h/x.png", "http://h/x.png": uri(png())}
    for name in ("chat.md", "chat.ipynb"):
        chat.export(tmp_path / name)
        assert f"![image]({uri(png())})" in (tmp_path / name).read_text(encoding="utf-8")
