"""``RawResponse``: its keys are attributes, its text is ``str()``, and values that may contain a key are not shown."""

from __future__ import annotations

import copy
import pickle

import pytest

from nb_backend import RawResponse
from nb_backend.events import PRIVATE_TYPES


def test_keys_are_attributes_and_get_dict_returns_them() -> None:
    data = {"type": "variant", "self": 1, "data": 2, "anything else": 3}
    event = RawResponse(**data)
    assert (event.type, event.self, event.data, getattr(event, "anything else")) == ("variant", 1, 2, 3)
    assert event.get_dict() == data
    assert event.get("missing", 4) == 4


def test_a_missing_key_raises_attribute_error_except_for_the_type() -> None:
    event = RawResponse(content="Hi")
    assert event.type == ""
    assert not hasattr(event, "missing")
    with pytest.raises(AttributeError, match="'missing'"):
        _ = event.missing


@pytest.mark.parametrize("kind", ["reasoning", "message", "error", "log", "", None, 7])
def test_only_content_adds_text(kind: object) -> None:
    assert str(RawResponse(type=kind, content="Hi", token="Hi", message="Hi")) == ""


@pytest.mark.parametrize("kind", sorted(PRIVATE_TYPES))
def test_values_that_may_contain_a_key_are_not_shown(kind: str) -> None:
    shown = repr(RawResponse(**{"type": kind, kind: {"Authorization": "sk-123"}}))
    assert (kind in shown, "sk-123" in shown) == (True, False)


def test_events_compare_and_pickle_by_value() -> None:
    event = RawResponse(type="content", content="Hi")
    assert event == RawResponse(content="Hi", type="content")
    assert event != RawResponse(type="content", content="Ho")
    assert event != "Hi"
    assert pickle.loads(pickle.dumps(event)) == copy.deepcopy(event) == event
    assert repr(event) == "RawResponse(type='content', content='Hi')"
