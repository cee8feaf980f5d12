"""Which GGUF file of a repository is meant."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nb_backend.local.gguf_files import HubModel, NoSuchFileError, choose, model_name, shards

ONE = ["README.md", "M-Q2_K.gguf", "M-Q4_K_M.gguf", "M-Q4_K_S.gguf", "M-Q8_0.gguf", "M-f16.gguf"]
PARTS = [f"Q4_K_M/M-Q4_K_M-0000{n}-of-00003.gguf" for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("text", "repo", "file"),
    [
        ("hf:org/repo", "org/repo", ""),
        ("hf:Qwen/Qwen3-1.7B-GGUF:Q8_0", "Qwen/Qwen3-1.7B-GGUF", "Q8_0"),
        ("hf:org/repo:sub/m.gguf", "org/repo", "sub/m.gguf"),
    ],
)
def test_a_name_is_read_and_written(text, repo, file):
    model = HubModel.parse(text)
    assert (model.repo, model.file, str(model)) == (repo, file, text)


@pytest.mark.parametrize(
    "text",
    [
        *("hf:", "hf:repo", "hf:org/repo/x", "hf:org/repo:", "hf:../x", "hf:org/..", "hf:org/repo:../../x.gguf"),
        *("hf:org/repo:/etc/x.gguf", "hf:org/re po", "hf:org/repo:a:b", "hf:o/r:a\\b", "hf:o/r:a?b", "hf:o/r:a\nb"),
    ],
)
def test_another_form_is_refused_in_one_line(text):
    with pytest.raises(ValueError, match="does not name a model on the Hugging Face hub: write hf:ORG/REPO") as error:
        HubModel.parse(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("file", "paths", "chosen"),
    [
        ("", ONE, ["M-Q4_K_M.gguf"]),
        ("", ["m.q4_k_m.gguf", "m.q8_0.gguf"], ["m.q4_k_m.gguf"]),
        ("", ["sub/m_q4_k_m.gguf", "m-q8_0.gguf"], ["sub/m_q4_k_m.gguf"]),
        ("", ["M-UD-Q4_K_M.gguf", "M-Q4_K_M.gguf"], ["M-Q4_K_M.gguf"]),
        ("", ["M-UD-Q4_K_M.gguf", "M-Q8_0.gguf"], ["M-UD-Q4_K_M.gguf"]),
        ("", ["mmproj-M-Q4_K_M.gguf", "M-Q4_K_M.gguf"], ["M-Q4_K_M.gguf"]),
        ("", ["imatrix.gguf", "model.gguf"], ["model.gguf"]),
        ("", [*PARTS[::-1], "M-Q8_0.gguf"], PARTS),
        ("q8_0", ONE, ["M-Q8_0.gguf"]),
        ("Q4_K_M", ONE, ["M-Q4_K_M.gguf"]),
        ("M-Q2_K.gguf", ONE, ["M-Q2_K.gguf"]),
        ("m-q2_k", ONE, ["M-Q2_K.gguf"]),
        ("b.gguf", ["a/b.gguf", "c.gguf"], ["a/b.gguf"]),
        ("b.gguf", ["a/b.gguf", "b.gguf"], ["b.gguf"]),
        (PARTS[1], PARTS, PARTS),
    ],
)
def test_the_file_that_is_meant(file, paths, chosen):
    assert choose(HubModel("org/repo", file), paths) == chosen


@pytest.mark.parametrize(
    ("file", "paths", "line"),
    [
        (
            "",
            ["M-Q8_0.gguf", "M-Q2_K.gguf"],
            "org/repo has no file for Q4_K_M: write hf:org/repo:FILE with one of M-Q2_K.gguf, M-Q8_0.gguf",
        ),
        (
            "",
            ["A-Q4_K_M.gguf", "B-Q4_K_M.gguf", "C-Q8_0.gguf"],
            "has 2 files for Q4_K_M: write hf:org/repo:FILE with one of A-Q4_K_M.gguf, B-Q4_K_M.gguf$",
        ),
        ("Q4_K", ONE, "has no file for Q4_K: "),
        ("Q3_K_M", ["M-IQ3_K_M.gguf"], "has no file for Q3_K_M: "),
        ("mmproj.gguf", ["mmproj.gguf", "M.gguf"], "no file for mmproj.gguf: .* one of M.gguf$"),
        ("", ["model.safetensors", "mmproj.gguf"], "org/repo has no GGUF files"),
        ("", PARTS[:2], "org/repo has no GGUF files"),
        ("", [f"M{n}.gguf" for n in range(100)], "and 80 more"),
    ],
)
def test_what_there_is_to_choose_from_is_listed_in_one_line(file, paths, line):
    with pytest.raises(NoSuchFileError, match=line) as error:
        choose(HubModel("org/repo", file), paths)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("M-Q4_K_M.gguf", "M-Q4_K_M"),
        ("M-Q4_K_M-00001-of-00003.gguf", "M-Q4_K_M"),
        ("SmolLM2.Q4_1.GGUF", "SmolLM2.Q4_1"),
    ],
)
def test_the_name_of_a_model(file, name):
    assert model_name(file) == name


@given(
    st.lists(st.text(max_size=30) | st.from_regex(r"[a-b/]{0,3}Q4_K_M(-0000[12]-of-00002)?\.gguf"), max_size=8),
    st.text(max_size=10),
)
def test_whatever_a_hub_lists_only_its_own_models_are_chosen(paths, file):
    chosen: list[str] = []
    with suppress(NoSuchFileError):
        chosen = choose(HubModel("org/repo", file), paths)
    assert set(chosen) <= set(paths)
    assert all(path.lower().endswith(".gguf") and shards(path) == chosen for path in chosen)
