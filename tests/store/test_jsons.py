"""JSON columns: what goes in comes out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpid.store.jsons import from_json_text, json_text

texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_json_comes_back_as_it_went_in_whatever_the_text(value: Any) -> None:
    assert from_json_text(json_text(value)) == value
    assert json.loads(json_text(value)) == value


@given(values)
def test_json_of_the_standard_library_is_read(value: Any) -> None:
    assert from_json_text(json.dumps(value)) == value
    assert from_json_text(json.dumps(value).encode()) == value


def test_order_of_keys_is_kept() -> None:
    assert list(from_json_text(json_text({"b": 1, "a": 2}))) == ["b", "a"]


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        from_json_text("{")
