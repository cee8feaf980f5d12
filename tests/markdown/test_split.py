"""Each piece of an answer's Markdown reads as it does within the whole, however the text grows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nb_backend.markdown import split
from nb_backend.markdown.images import answer_markdown, piece_markdown
from nb_backend.markdown.safe import safe_markdown
from nb_backend.markdown.split import (
    MAX_UNSPLIT_CHARS,
    MIN_PIECE_CHARS,
    StreamingMarkdown,
    min_piece_size,
    split_points,
    split_text,
)

LINES = [
    "word", "word | b", "--- | ---", "| $|a|$ | b |", "---", "===", "- a", "- b", "  c", "    d", "1. a", "2. b", "2",
    "> q", "> $$", "$$", "$$ y", "x = 1", "\\[", "\\]", "\\begin{align}", "\\end{align}", "```", "~~~", "# h", "",
    "", "", "", "'title'", "$$ a $$", "  $$", "  ", "* * *", "-", "+ a", "- [ ] t", "\t", "<!-- c", "-->", "| a |",
    "|---|", "<div>", "</div>", "``", "**b", "b**",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(LINES), max_size=16).map("\n".join)


def split_everywhere(text: str) -> list[str]:
    """Split the text at all split points."""
    points = [0, *split_points(text), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(points)]


@settings(max_examples=700, deadline=None)
@given(TEXTS)
def test_the_pieces_read_as_the_whole_text(text: str) -> None:
    found = [safe_markdown(part) for part in split_everywhere(text)]
    assert "\n\n".join(filter(None, found)) == safe_markdown(text)


@settings(max_examples=500, deadline=None)
@given(TEXTS, st.data())
def test_a_split_point_stays_one_when_the_text_grows(text: str, data: st.DataObject) -> None:
    begun = text[: data.draw(st.integers(0, len(text)))]
    found = split_points(begun)
    assert found == [at for at in split_points(text) if at <= len(begun)][: len(found)]


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("a\r\n\t -#`$\u2028\x0b\ud83d🙂"), max_size=60))
def test_no_text_is_lost(text: str) -> None:
    assert "".join(split_everywhere(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "```\na\n\nb\n\nc\n```\n",
        "- a\n\n- b\n\n  c\n\n- d\n",
        "> a\n>\n> b\n",
        "| a |\n|---|\n| b |\n| c |\n",
        "1. a\n\n   ```\n   x\n\n   y\n   ```\n",
        "    code\n\n    more\n",
        "one\ntwo\nthree\n",
    ],
    ids=["fence", "list", "quote", "table", "fence in a list", "indented", "paragraph"],
)
def test_a_block_is_not_split(text: str) -> None:
    assert split_points(text) == []
    assert split_points(f"{text}\nend\n") == [len(text) + 1]


def prose(size: int) -> str:
    return "".join(itertools.islice(paragraphs(), size // 100 + 1))


def paragraphs() -> Iterator[str]:
    for number in itertools.count():
        yield f"Paragraph {number:06} of an answer that is long. {'It goes on and on. ' * 3}\n\n"


def test_a_short_text_is_one_piece_and_a_long_one_has_fewer_than_jupyterlab_shows() -> None:
    assert split_text(prose(MAX_UNSPLIT_CHARS - 500)) == [prose(MAX_UNSPLIT_CHARS - 500)]
    found = split_text(prose(50_000))
    assert "".join(found) == prose(50_000)
    *pieces, parts, rest = found
    assert all(
        min_piece_size(number) <= len(piece) < min_piece_size(number) + 200 for number, piece in enumerate(pieces)
    )
    assert len(parts) + len(rest) < MIN_PIECE_CHARS + 200
    assert 50_000 // MIN_PIECE_CHARS <= len(found) <= 50_000 // MIN_PIECE_CHARS + 2
    assert len(split_text(prose(1_000_000))) == 48
    assert (
        min_piece_size(0)
        == min_piece_size(15)
        == MIN_PIECE_CHARS
        < min_piece_size(16)
        == min_piece_size(41)
        < min_piece_size(42)
        < min_piece_size(45)
        < min_piece_size(46)
        == min_piece_size(47)
    )


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 60_000), st.integers(1, 3_000))
def test_a_growing_text_has_the_outputs_of_the_whole(size: int, step: int) -> None:
    text = prose(size)[:size]
    growing, outputs = StreamingMarkdown(), [""]
    for start in range(0, size, step):
        growing.append(text[start : start + step])
        for _, shown, grows in growing.finished_parts({}, {}):
            outputs[-2 if grows else -1] = shown
            outputs += [] if grows else [""]
    outputs[-1] = text[len("".join(outputs)) :]
    if size > MAX_UNSPLIT_CHARS:
        assert outputs == split_text(text)
    assert "".join(outputs) == text


def test_a_label_is_known_in_every_piece_and_an_image_is_there_once() -> None:
    dot = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA="
    texts = ["See [the source][s] ![a](/a.gif)\n\n", "![a](/a.gif) [more][s]\n\n", "[s]: https://example.org/x\n"]
    first, second, last = piece_markdown(texts, {"/a.gif": dot}, {"/b.gif": "beside"})
    assert first == f"See [the source](https://example.org/x) ![a]({dot})"
    assert "(https://example.org/x)" in second
    assert dot not in second
    assert "beside" in last
    assert "\n\n".join([first, second, last]) == answer_markdown("".join(texts), {"/a.gif": dot}, {"/b.gif": "beside"})


def test_a_long_block_is_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "MAX_UNSPLIT_CHARS", 100)
    monkeypatch.setattr(split, "MIN_PIECE_CHARS", 10)
    code = f"```\n{prose(300)}```\n\n"
    assert split_text(f"Some words before.\n\n{code}After.\n") == ["Some words before.\n\n", code, "After.\n"]
