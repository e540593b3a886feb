"""What a record keeps of a request is all that its cost depends on."""

import json

import pytest
from hypothesis import given

from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.prices.pricing import Units, Usage, cost_micro
from proxy.usage import quantities
from tests.proxy.catalogue.test_pricing import prices, units, usages


@given(usages, prices, units)
def test_a_cost_computed_anew_from_a_record_is_the_cost_that_was_charged(
    usage: Usage, price: PriceQuote, unit: Units
) -> None:
    rates = price.rates_for(usage.prompt_tokens).rial
    kept = quantities.further(usage, rates, unit)
    stored = json.loads(json.dumps(kept))
    read = quantities.read(
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        completion_tokens=usage.completion_tokens,
        further=stored,
    )
    assert cost_micro(read[0], price, read[1]) == cost_micro(usage, price, unit)
    if kept is None:  # then the rule of the database holds: tokens times the three prices
        plain = PriceQuote(rates["input"], rates["output"], rates["cached_input"])
        assert cost_micro(usage, plain) == cost_micro(usage, price, unit)


def test_a_plain_request_keeps_nothing_more() -> None:
    price = PriceQuote(1, 2, 3)
    assert quantities.further(Usage(5, 6, 2), price.rates_for(5).rial) is None
    assert quantities.further(Usage(5, 6, 2, reasoning_tokens=3), price.rates_for(5).rial) == {"reasoning": 3}


@pytest.mark.parametrize("further", [{"reasoning": 9}, {"cache_write_1h": -1}, {"image": -1}])
def test_parts_that_cannot_be_are_refused(further: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"more than the whole|no number"):
        quantities.read(prompt_tokens=1, cached_tokens=0, completion_tokens=1, further=further)
