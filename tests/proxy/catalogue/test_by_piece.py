"""What a list charges of a request of pieces: reported tokens, pieces, or an estimate, in this order of its prices."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.catalogue.prices.by_piece import NO_TOKENS, Used, can_charge
from proxy.catalogue.prices.price_quote import ImagePrice, PriceQuote, Tier
from proxy.catalogue.prices.pricing import MICRO_MAX, NO_UNITS, Units, Usage, cost_micro, worst_case_micro
from proxy.usage import quantities
from tests.proxy.catalogue.test_pricing import few, prices, units, usages
from wallet.money import MICRO_PER_RIAL

TOKENS = Usage(50, 4_000, output_image_tokens=4_000)
TWO = Units(images=2)
BY_IMAGE = PriceQuote(0, 0, further={"image": 500})
BY_TOKEN = PriceQuote(5, 40)
BY_BOTH = PriceQuote(5, 40, further={"image": 500})
BY_KIND = PriceQuote(0, 0, images=(ImagePrice(80, "s", "hd"), ImagePrice(60, "s"), ImagePrice(70, "", "low")))


@pytest.mark.parametrize("asked", [TWO, None])
def test_tokens_are_billed_where_they_are_reported_and_the_list_prices_them(asked: Units | None) -> None:
    assert Used(TOKENS, True, asked).charged_by(BY_TOKEN)[0] == TOKENS
    assert Used(TOKENS, True, asked).charged_by(BY_BOTH) == (TOKENS, NO_UNITS)


def test_pieces_are_billed_where_no_tokens_are_reported_or_these_have_no_price() -> None:
    assert Used(TOKENS, False, TWO).charged_by(BY_BOTH) == (NO_TOKENS, TWO)
    assert Used(TOKENS, True, TWO).charged_by(BY_IMAGE) == (NO_TOKENS, TWO)
    input_alone = PriceQuote(5, 0, further={"image": 500})
    assert Used(TOKENS, True, TWO).charged_by(input_alone) == (NO_TOKENS, TWO)


def test_a_list_without_a_price_of_the_pieces_bills_an_estimate_as_of_any_other_request() -> None:
    per_request = PriceQuote(5, 40, further={"request": 3, "character": 7})
    assert Used(TOKENS, False, TWO).charged_by(per_request) == (TOKENS, TWO)
    assert cost_micro(TOKENS, per_request, TWO) == 50 * 5 + 4_000 * 40 + 3 * MICRO_PER_RIAL


def test_a_request_without_pieces_is_its_own_piece_where_it_has_a_price() -> None:
    per_request = PriceQuote(5, 0, further={"request": 3})
    charged = Used(Usage(100, 0), False, NO_UNITS).charged_by(per_request)
    assert charged == (NO_TOKENS, NO_UNITS)
    assert cost_micro(charged[0], per_request, charged[1]) == 3 * MICRO_PER_RIAL
    assert Used(Usage(100, 0), False, NO_UNITS).charged_by(PriceQuote(5, 0)) == (Usage(100, 0), NO_UNITS)


def test_a_price_of_nothing_is_a_price() -> None:
    free = PriceQuote(5, 40, further={"image": 0})
    assert Used(TOKENS, False, TWO).charged_by(free) == (NO_TOKENS, TWO)


def test_a_price_in_a_higher_tier_alone_is_none() -> None:
    tiered = PriceQuote(5, 40, tiers=(Tier(200, {"image": 900}),))
    assert Used(TOKENS, False, TWO).charged_by(tiered)[0] == TOKENS


def test_fewer_images_cost_less_and_more_cost_no_more() -> None:
    for made, billed in ((1, 1), (2, 2), (5, 2)):
        assert Used(TOKENS, False, TWO, Units(images=made)).charged_by(BY_IMAGE)[1].images == billed


@pytest.mark.parametrize(
    ("asked", "made", "rial"),
    [
        (("s", "hd"), ("", ""), 80),
        (("s", "hd"), ("t", "low"), 80),  # what was asked for is the price that the client knows
        (("", ""), ("s", "hd"), 80),
        (("", ""), ("s", "other"), 60),
        (("", ""), ("t", "low"), 70),
        (("", ""), ("", ""), 80),  # nobody says which, so the dearest
        (("", ""), ("t", "u"), 80),
        (("s", ""), ("", ""), 60),  # the list says so of any quality
        (("", "low"), ("t", ""), 70),
    ],
)
def test_images_of_a_kind_that_was_left_open_cost_what_the_answer_tells(
    asked: tuple[str, str], made: tuple[str, str], rial: int
) -> None:
    asked_units, made_units = (
        Units(images=1, image_size=size, image_quality=quality) for size, quality in (asked, made)
    )
    tokens, billed = Used(TOKENS, False, asked_units, made_units).charged_by(BY_KIND)
    assert cost_micro(tokens, BY_KIND, billed) == rial * MICRO_PER_RIAL
    assert worst_case_micro(0, 0, BY_KIND, asked_units) >= rial * MICRO_PER_RIAL


def test_an_image_of_no_known_kind_costs_what_the_list_says_of_any() -> None:
    with_base = replace(BY_KIND, further={"image": 10})
    tokens, billed = Used(TOKENS, False, Units(images=1)).charged_by(with_base)
    assert cost_micro(tokens, with_base, billed) == 10 * MICRO_PER_RIAL
    assert worst_case_micro(0, 0, with_base, Units(images=1)) == 80 * MICRO_PER_RIAL


@pytest.mark.parametrize(
    ("size", "quality", "has_price"), [("s", "x", True), ("", "", True), ("t", "", True), ("t", "hd", False)]
)
def test_a_kind_of_image_that_a_list_does_not_price_is_told_from_others(
    size: str, quality: str, has_price: bool
) -> None:
    kind = Units(images=1, image_size=size, image_quality=quality)
    assert can_charge(BY_KIND, kind) is has_price
    assert can_charge(replace(BY_KIND, further={"image": 10}), kind)
    assert can_charge(BY_TOKEN, kind)


@given(usages, prices, st.none() | units, st.none() | units, st.booleans(), few, few)
def test_what_is_charged_is_within_what_was_held_and_can_be_computed_anew(
    usage: Usage,
    price: PriceQuote,
    asked: Units | None,
    made: Units | None,
    is_reported: bool,
    more_prompt: int,
    more_output: int,
) -> None:
    tokens, pieces = Used(usage, is_reported, asked, made).charged_by(price)
    held = worst_case_micro(
        usage.prompt_tokens + more_prompt, usage.completion_tokens + more_output, price, asked or NO_UNITS
    )
    cost = cost_micro(tokens, price, pieces)
    assert 0 <= cost <= held <= MICRO_MAX
    kept = quantities.columns(tokens, price, price_list_id=1, is_billed=True, units=pieces)
    read = quantities.read(
        prompt_tokens=tokens.prompt_tokens,
        cached_tokens=tokens.cached_tokens,
        completion_tokens=tokens.completion_tokens,
        further=kept.get("quantities"),
    )
    assert cost_micro(read[0], price, read[1]) == cost
    if "quantities" not in kept:  # the database computes it from three numbers
        assert cost == (
            (tokens.prompt_tokens - tokens.cached_tokens) * kept["input_rial_per_million"]
            + tokens.cached_tokens * kept["cached_input_rial_per_million"]
            + tokens.completion_tokens * kept["output_rial_per_million"]
        )
