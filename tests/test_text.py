"""Numbers as people read them."""

from __future__ import annotations

import pytest

from nb_backend.text import counted, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (60.96, "1 min 1 s"),
        (3599.6, "1 h 0 min"),
        (3600 * 1234 + 59, "1,234 h 0 min"),
    ],
)
def test_a_time_is_written_in_at_most_two_units(seconds, text):
    assert duration(seconds) == text


def test_a_number_agrees_with_its_noun():
    assert [counted(count, "token") for count in (0, 1, 2, 1234)] == ["0 tokens", "1 token", "2 tokens", "1,234 tokens"]
