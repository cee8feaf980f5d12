"""``%backend key``: no message repeats what was typed behind it, as it may be a key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nb_backend.notebook.magic.commands import command
from nb_backend.services import SERVICES

KEYS = st.from_regex(r"[A-Za-z0-9_.=+/-]{8,40}", fullmatch=True)
NEAR = st.builds(
    "{}{}".format, st.sampled_from([*SERVICES]), st.sampled_from(["", "x", "-key", "1", "_", "=", " s3cret9"])
)


@given(
    st.one_of(KEYS, NEAR),
    st.sampled_from(["{}", "'{}'", "'{}", "openai {}", "{} --keep", "--forget {}", "{} # x", "«{}"]),
)
def test_no_message_repeats_a_word_that_is_not_a_service(word, form):
    line = form.format(word)
    if word in SERVICES:
        return
    with pytest.raises(ValueError, match=r"key|service") as refusal:
        command(f"key {line}")
    said = str(refusal.value)
    assert word not in said
    assert "s3cret9" not in said
    assert "\n" not in said
