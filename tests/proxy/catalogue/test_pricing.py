"""Costs are exact, never negative, and never above the worst case that was held for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.catalogue.pricing import (
    MICRO_MAX,
    RIAL_PER_MILLION_MAX,
    TOKENS_MAX,
    PriceQuote,
    Usage,
    affordable_output_tokens,
    cost_micro,
    worst_case_micro,
)

tokens = st.integers(0, TOKENS_MAX)
rial = st.integers(0, RIAL_PER_MILLION_MAX)
prices = st.builds(lambda dear, output, cheap: PriceQuote(dear, output, min(dear, cheap)), rial, rial, rial)
usages = st.builds(Usage, tokens, tokens, st.integers(-TOKENS_MAX, TOKENS_MAX))


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


@given(usages, prices)
def test_a_cost_is_never_negative_and_fits_the_database(usage: Usage, price: PriceQuote) -> None:
    assert 0 <= cost_micro(usage, price) <= MICRO_MAX


@given(usages, prices)
def test_a_cost_is_never_above_its_worst_case(usage: Usage, price: PriceQuote) -> None:
    assert cost_micro(usage, price) <= worst_case_micro(usage.prompt_tokens, usage.completion_tokens, price)


@given(st.integers(0, TOKENS_MAX - 1), st.integers(0, TOKENS_MAX - 1), tokens, prices)
def test_more_tokens_never_cost_less(prompt: int, completion: int, cached: int, price: PriceQuote) -> None:
    cost = cost_micro(Usage(prompt, completion, cached), price)
    assert cost_micro(Usage(prompt, completion + 1, cached), price) >= cost
    assert cost_micro(Usage(prompt + 1, completion, min(cached, prompt)), price) >= cost
    assert cost_micro(Usage(prompt, completion, min(cached, prompt) - 1), price) >= cost


@given(st.integers(0, MICRO_MAX), tokens, prices)
def test_what_is_affordable_is_covered_and_one_more_token_is_not(
    amount: int, prompt: int, price: PriceQuote
) -> None:
    output = affordable_output_tokens(amount, prompt, price)
    prompt_cost = prompt * price.input_rial_per_million
    if output is None:
        assert price.output_rial_per_million == 0
        assert prompt_cost <= amount
    else:
        assert prompt_cost + (output + 1) * price.output_rial_per_million > amount
        assert output == 0 or prompt_cost + output * price.output_rial_per_million <= amount


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


@pytest.mark.parametrize("price", [(-1, 0), (0, -1), (RIAL_PER_MILLION_MAX + 1, 0), (5, 0, 6), (5, 0, -1)])
def test_a_price_that_makes_no_sense_is_refused(price: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"price|Cached"):
        PriceQuote(*price)
