"""Texts and token ids as input: how many there are, how large they may be, and what is none."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.api import text_input
from proxy.api.text_input import INPUTS_MAX, SPECIAL_TOKENS, TextInput
from proxy.errors import APIError
from proxy.http.parsing import read_payload
from tests.proxy.factories import served_model

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


def read(value: Any, **fields: Any) -> TextInput:
    return text_input.read(read_payload(orjson.dumps({"model": "m", "input": value, **fields})), "input")


@given(st.lists(TEXT, min_size=1, max_size=5))
def test_texts_are_bounded_by_their_bytes_and_estimated_below(texts: list[str]) -> None:
    given = read(texts)
    size = sum(len(text.encode()) for text in texts)
    bound = given.bound(served_model(context_tokens=10**9))
    assert given.count == len(texts)
    assert bound >= size + SPECIAL_TOKENS * len(texts)
    assert bound >= given.estimate >= max(size // 4, len(texts))


@given(st.lists(st.lists(st.integers(0, 10**6), min_size=1, max_size=30), min_size=1, max_size=5))
def test_ids_are_counted_not_measured(lists: list[list[int]]) -> None:
    given, ids = read(lists), sum(map(len, lists))
    room = len(orjson.dumps({"model": "m", "input": None})) + 64 + SPECIAL_TOKENS * len(lists)
    assert given.count == len(lists)
    assert given.estimate == ids
    assert ids <= given.bound(served_model()) <= ids + room
    assert read(lists[0]).count == 1


def test_what_stands_beside_the_input_is_bounded_too() -> None:
    model = served_model(context_tokens=10**9)
    assert read("a", suffix="b" * 1_000).bound(model) >= read("a").bound(model) + 1_000


def test_no_bound_is_longer_than_the_contexts_of_all_inputs() -> None:
    model = served_model(context_tokens=100)
    assert read("a" * 1_000).bound(model) == 100
    assert read(["a" * 1_000] * 3).bound(model) == 300
    assert read("a" * 1_000).bound(served_model(context_tokens=100, learned_context_tokens=200)) > 1_000


def test_only_what_is_longer_than_the_context_in_any_tokenizer_cannot_fit() -> None:
    assert read(["a", "ab" * 1_100]).cannot_fit(100)
    assert not read(["ab" * 750] * 20).cannot_fit(100)
    assert not read([" " * 50_000]).cannot_fit(100)  # runs of spaces have tokens of their own
    assert read([[1] * 101, [1]]).cannot_fit(100)
    assert not read([1] * 100).cannot_fit(100)


@pytest.mark.parametrize(
    "wrong",
    [None, [], {}, 5, True, ["a", 1], [1, [2]], ["a", ["b"]], [1.5], [[1.5]], [True], [None], [["a"]]],
)
def test_what_is_no_input_is_named(wrong: Any) -> None:
    with pytest.raises(APIError) as caught:
        read(wrong)
    assert (caught.value.code, caught.value.param) == ("invalid_value", "input")
    assert "list of token ids" in caught.value.message


def test_too_many_inputs_are_refused_with_their_number() -> None:
    assert read(["a"] * INPUTS_MAX).count == INPUTS_MAX
    with pytest.raises(APIError, match="at most 2,048 inputs, not 2,049"):
        read(["a"] * (INPUTS_MAX + 1))
    assert read([1] * (INPUTS_MAX + 1)).count == 1
