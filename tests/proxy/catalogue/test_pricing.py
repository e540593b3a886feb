"""Costs are exact, never negative, and never above the worst case that was held for them."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.catalogue.prices import price_shape
from proxy.catalogue.prices.price_quote import (
    ABOVE_TOKENS_MAX,
    COMPLETION,
    COMPONENTS,
    PER_PIECE,
    PLAIN,
    PROMPT,
    RIAL_PER_MILLION_MAX,
    RIAL_PER_PIECE_MAX,
    ImagePrice,
    PriceQuote,
    Tier,
)
from proxy.catalogue.prices.pricing import (
    CHARACTERS_MAX,
    COMPLETION_PARTS,
    MICRO_MAX,
    PIECES_MAX,
    PROMPT_PARTS,
    TOKENS_MAX,
    Units,
    Usage,
    affordable_output_tokens,
    cost_micro,
    itemise,
    worst_case_micro,
)
from wallet.money import MICRO_PER_RIAL

tokens = st.integers(0, TOKENS_MAX)
rial = st.integers(0, RIAL_PER_MILLION_MAX)
plain_prices = st.builds(PriceQuote, rial, rial, st.none() | rial)
pieces = st.integers(0, RIAL_PER_PIECE_MAX)
components = st.fixed_dictionaries(
    {}, optional={name: pieces if name in PER_PIECE else rial for name in COMPONENTS}
)
thresholds = st.lists(st.integers(1, 10_000) | st.integers(1, ABOVE_TOKENS_MAX), max_size=4, unique=True)


@st.composite
def whole_lists(draw: st.DrawFn) -> PriceQuote:
    own = draw(components)
    kinds = st.sampled_from([("s", ""), ("", "hd"), ("s", "hd")])
    return PriceQuote(
        own.get("input", draw(rial)),
        own.get("output", draw(rial)),
        own.get("cached_input"),  # type: ignore[arg-type]
        further={name: price for name, price in own.items() if name not in PLAIN},
        tiers=tuple(Tier(above, draw(components.filter(bool))) for above in sorted(draw(thresholds))),
        images=tuple(
            ImagePrice(draw(pieces), *kind) for kind in draw(st.lists(kinds, max_size=3, unique=True))
        ),
    )


prices = plain_prices | whole_lists()
part = st.integers(-5, 5_000) | st.integers(0, TOKENS_MAX)
few = st.integers(0, 20_000) | tokens
usages = st.builds(Usage, few, few, *([part] * (len(PROMPT_PARTS) + len(COMPLETION_PARTS))))
counts = st.integers(0, 3) | st.integers(0, PIECES_MAX)
units = st.builds(
    Units,
    st.integers(0, CHARACTERS_MAX),
    counts,
    counts,
    counts,
    image_size=st.sampled_from(["", "s", "t"]),
    image_quality=st.sampled_from(["", "hd", "low"]),
)


def test_a_cost_is_tokens_times_price() -> None:
    price = PriceQuote(
        input_rial_per_million=1_500, output_rial_per_million=6_000, cached_input_rial_per_million=375
    )
    assert (
        cost_micro(Usage(prompt_tokens=12, completion_tokens=9, cached_tokens=4), price)
        == 8 * 1_500 + 4 * 375 + 9 * 6_000
    )


def test_cached_input_costs_what_input_costs_unless_said_otherwise() -> None:
    price = PriceQuote(1_500, 6_000)
    assert price.cached_input_rial_per_million == 1_500
    assert cost_micro(Usage(12, 9, 4), price) == cost_micro(Usage(12, 9), price)


@given(usages, prices, units)
def test_a_cost_is_never_negative_and_fits_the_database(usage: Usage, price: PriceQuote, unit: Units) -> None:
    assert 0 <= cost_micro(usage, price, unit) <= MICRO_MAX


@given(usages, prices, units, few, few)
def test_a_cost_is_never_above_the_worst_case_of_bounds(
    usage: Usage, price: PriceQuote, unit: Units, more_prompt: int, more_output: int
) -> None:
    worst = worst_case_micro(
        usage.prompt_tokens + more_prompt, usage.completion_tokens + more_output, price, unit
    )
    assert cost_micro(usage, price, unit) <= worst


@given(usages, prices, units)
def test_a_cost_is_the_sum_of_its_items(usage: Usage, price: PriceQuote, unit: Units) -> None:
    items = itemise(usage, price, unit)
    assert sum(item.cost_micro for item in items) == cost_micro(usage, price, unit)
    counted = {item.component: item.quantity for item in items}
    assert sum(counted.get(name, 0) for name in PROMPT) == usage.prompt_tokens
    assert sum(counted.get(name, 0) for name in COMPLETION) == usage.completion_tokens


@given(few, few, few, few, prices, units)
def test_higher_bounds_never_hold_less(
    prompt: int, more_prompt: int, output: int, more_output: int, price: PriceQuote, unit: Units
) -> None:
    worst = worst_case_micro(prompt, output, price, unit)
    assert worst_case_micro(prompt + more_prompt, output, price, unit) >= worst
    assert worst_case_micro(prompt, output + more_output, price, unit) >= worst


@given(st.integers(0, MICRO_MAX), few, prices, units)
def test_what_is_affordable_is_covered_and_one_more_token_is_not(
    amount: int, prompt: int, price: PriceQuote, unit: Units
) -> None:
    output = affordable_output_tokens(amount, prompt, price, unit)
    if output is None:
        assert worst_case_micro(prompt, TOKENS_MAX, price, unit) == worst_case_micro(prompt, 0, price, unit)
        assert worst_case_micro(prompt, 0, price, unit) <= amount
    else:
        beyond = worst_case_micro(prompt, output + 1, price, unit)
        assert beyond > amount or beyond == MICRO_MAX
        assert output == 0 or worst_case_micro(prompt, output, price, unit) <= amount


@given(usages, plain_prices)
def test_a_plain_list_and_the_same_list_read_as_a_whole_one_cost_the_same(
    usage: Usage, price: PriceQuote
) -> None:
    # Of no size that is asked for: the list is no plain one, and costs what it cost.
    whole = replace(price, images=(ImagePrice(1, size="none"),))
    assert price.is_plain
    assert not whole.is_plain
    assert cost_micro(usage, whole) == cost_micro(usage, price)
    for count in (usage.prompt_tokens, 0):
        assert worst_case_micro(count, 7, whole) == worst_case_micro(count, 7, price)


# --- whole lists ----------------------------------------------------------------------------------------------------


WHOLE = PriceQuote(
    1_000,
    4_000,
    1_100,  # dearer than input: a cache that is paid for
    further={
        "cache_write_1h": 2_000,
        "reasoning": 3_000,
        "input_audio": 9_000,
        "character": 7,
        "image": 50,
        "page": 20,
        "audio_second": 3,
        "request": 10,
    },
    tiers=(
        Tier(200, {"input": 2_000, "output": 6_000}),
        Tier(300, {"cached_input": 500, "request": 90}),
    ),
    images=(ImagePrice(80, "1024x1024", "hd"), ImagePrice(60, "1024x1024"), ImagePrice(70, "", "hd")),
)


def test_every_component_has_its_price_and_what_has_none_costs_what_it_is_part_of() -> None:
    usage = Usage(
        prompt_tokens=100,
        completion_tokens=50,
        cached_tokens=10,
        cache_write_5m_tokens=5,
        cache_write_1h_tokens=4,
        input_audio_tokens=3,
        input_image_tokens=2,
        reasoning_tokens=20,
        output_audio_tokens=6,
        output_image_tokens=1,
    )
    prompt = 76 * 1_000 + 10 * 1_100 + 5 * 1_000 + 4 * 2_000 + 3 * 9_000 + 2 * 1_000
    completion = 23 * 4_000 + 20 * 3_000 + 6 * 4_000 + 1 * 4_000
    assert cost_micro(usage, WHOLE) == prompt + completion + 10 * MICRO_PER_RIAL


@pytest.mark.parametrize(
    ("prompt", "input_rial", "output_rial", "cached_rial", "request_rial"),
    [
        (200, 1_000, 4_000, 1_100, 10),
        (201, 2_000, 6_000, 1_100, 10),
        (300, 2_000, 6_000, 1_100, 10),
        (301, 2_000, 6_000, 500, 90),
    ],
)
def test_the_highest_tier_that_the_prompt_passes_prices_the_whole_request(
    prompt: int, input_rial: int, output_rial: int, cached_rial: int, request_rial: int
) -> None:
    cost = (prompt - 100) * input_rial + 100 * cached_rial + 9 * output_rial + request_rial * MICRO_PER_RIAL
    assert cost_micro(Usage(prompt, 9, 100), WHOLE) == cost


@pytest.mark.parametrize(
    ("size", "quality", "rial"),
    [
        ("1024x1024", "hd", 80),
        ("1024x1024", "low", 60),
        ("512x512", "hd", 70),
        ("512x512", "low", 50),
        ("", "", 50),
    ],
)
def test_an_image_costs_by_its_size_and_quality(size: str, quality: str, rial: int) -> None:
    made = Units(images=3, image_size=size, image_quality=quality)
    assert cost_micro(Usage(0, 0), WHOLE, made) == (3 * rial + 10) * MICRO_PER_RIAL


def test_units_are_charged_beside_tokens() -> None:
    used = Units(characters=100, audio_seconds=7, pages=2)
    assert cost_micro(Usage(1, 1), WHOLE, used) == 1_000 + 4_000 + 700 + (21 + 40 + 10) * MICRO_PER_RIAL


def test_a_worst_case_is_the_dearest_of_the_tiers_that_a_prompt_can_reach() -> None:
    dear_first = PriceQuote(1_000, 5_000, tiers=(Tier(100, {"input": 10, "output": 6_000}),))
    assert worst_case_micro(100, 1, dear_first) == 100 * 1_000 + 5_000
    assert worst_case_micro(5_000, 1, dear_first) == 100 * 1_000 + 5_000  # no more of it costs that much
    assert worst_case_micro(5_000, 100, dear_first) == 5_000 * 10 + 100 * 6_000
    assert affordable_output_tokens(100 * 1_000 + 6_000, 5_000, dear_first) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"further": {"input": 1}},
        {"further": {"water": 1}},
        {"further": {"reasoning": -1}},
        {"further": {"reasoning": "5"}},
        {"further": {"reasoning": True}},
        {"further": {"page": RIAL_PER_PIECE_MAX + 1}},
        {"tiers": (Tier(0, {"input": 1}),)},
        {"tiers": (Tier(ABOVE_TOKENS_MAX + 1, {"input": 1}),)},
        {"tiers": (Tier(5, {"input": 1}), Tier(5, {"output": 1}))},
        {"tiers": (Tier(6, {"input": 1}), Tier(5, {"input": 1}))},
        {"tiers": (Tier(5, {}),)},
        {"tiers": (Tier(5, {"input": 2**63}),)},
        {"images": (ImagePrice(5),)},
        {"images": (ImagePrice(5, "s"), ImagePrice(6, "s"))},
        {"images": (ImagePrice(-5, "s"),)},
    ],
)
def test_what_is_no_price_list_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"price|component|tier|given"):
        PriceQuote(1, 1, **wrong)


@given(prices)
def test_a_list_comes_back_from_its_columns_and_json_as_it_was(price: PriceQuote) -> None:
    stored = json.loads(json.dumps(price_shape.further_of(price)))
    read = price_shape.read(
        price.input_rial_per_million, price.output_rial_per_million, price.own.get("cached_input"), stored
    )
    assert read == price
    assert (read.own, read.tiers, read.images) == (price.own, price.tiers, price.images)
    assert (stored is None) is (price.is_plain)


@pytest.mark.parametrize(
    "further",
    [
        [1],
        "text",
        {"prices": {}},
        {"components": [1]},
        {"components": {"reasoning": None}},
        {"tiers": {}},
        {"tiers": [7]},
        {"tiers": [{"components": {"input": 1}}]},
        {"tiers": [{"above_tokens": "7", "components": {"input": 1}}]},
        {"images": [{"size": 5, "rial": 1}]},
        {"images": [{"size": "s"}]},
    ],
)
def test_json_of_another_shape_is_no_price_list(further: object) -> None:
    with pytest.raises(ValueError, match=r"price|component|tier|Tier|text|list"):
        price_shape.read(1, 1, None, further)


@pytest.mark.parametrize(
    "wrong", [{"images": -1}, {"pages": PIECES_MAX + 1}, {"characters": CHARACTERS_MAX + 1}]
)
def test_what_is_no_number_of_units_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no number of"):
        Units(**wrong)


def test_nothing_is_affordable_where_the_prompt_is_not() -> None:
    assert affordable_output_tokens(99, 1, PriceQuote(100, 0)) == 0
    assert affordable_output_tokens(100, 1, PriceQuote(100, 0)) is None


def test_an_absurd_worst_case_stays_a_number_that_the_database_can_compare() -> None:
    assert worst_case_micro(1, 10**30, PriceQuote(1, 1)) == MICRO_MAX


@pytest.mark.parametrize(
    "counts", [(-1, 0), (0, -1), (TOKENS_MAX + 1, 0), (1.5, 0), (None, 0), (0, "7"), (True, 0)]
)
def test_what_is_no_number_of_tokens_is_refused(counts: tuple[object, object]) -> None:
    with pytest.raises(ValueError, match="no number of tokens"):
        Usage(*counts)  # type: ignore[arg-type]


@pytest.mark.parametrize(("reported", "kept"), [(-3, 0), (None, 0), ("4", 0), (5, 5), (99, 10)])
def test_cached_tokens_are_clamped_into_the_prompt(reported: object, kept: int) -> None:
    assert Usage(10, 0, reported).cached_tokens == kept  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "price", [(-1, 0), (0, -1), (RIAL_PER_MILLION_MAX + 1, 0), (5, 0, -1), (5, 0, RIAL_PER_MILLION_MAX + 1)]
)
def test_a_price_that_makes_no_sense_is_refused(price: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="price"):
        PriceQuote(*price)
