"""What programs read of a model on sale: its sizes, kinds of input and output, and all of its prices."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from proxy.catalogue import public_list
from proxy.catalogue.endpoints import ENDPOINTS
from proxy.catalogue.prices import price_shape
from proxy.catalogue.prices.dollar_basis import DollarBasis
from proxy.catalogue.prices.price_quote import ImagePrice, PriceQuote, Tier
from tests.proxy.factories import served_model

TEHRAN = timezone(timedelta(hours=3, minutes=30))
WHOLE = PriceQuote(
    300_000,
    1_800_005,
    75_000,
    further={"reasoning": 900_000, "request": 50},
    tiers=(Tier(200_000, {"input": 600_000, "request": 55}),),
    images=(ImagePrice(40_000, "1024x1024", "hd"), ImagePrice(20_000, quality="low")),
)


def pricing(price: PriceQuote, **fields: Any) -> dict[str, Any]:
    told: dict[str, Any] = public_list.facts(served_model(price=price, **fields))["pricing"]
    return told


def test_a_plain_list_is_two_prices_in_toman_from_a_moment_on() -> None:
    moment = datetime(2026, 11, 30, 3, 30, tzinfo=TEHRAN)
    assert pricing(PriceQuote(300_000, 1_800_005), price_valid_from=moment) == {
        "currency": "toman",
        "per_million": {"input": 30_000, "output": 180_000.5},
        "valid_from": "2026-11-30T00:00:00Z",
        "dollar_basis": None,
    }


def test_a_whole_list_tells_tiers_pieces_and_kinds_of_images() -> None:
    told = pricing(WHOLE)
    assert told["per_million"] == {
        "input": 30_000,
        "output": 180_000.5,
        "cached_input": 7_500,
        "reasoning": 90_000,
    }
    assert told["each"] == {"request": 5}
    assert told["tiers"] == [
        {"above_tokens": 200_000, "per_million": {"input": 60_000}, "each": {"request": 5.5}}
    ]
    assert told["images"] == [
        {"size": "1024x1024", "quality": "hd", "price": 4_000},
        {"size": None, "quality": "low", "price": 2_000},
    ]


def test_every_price_of_a_list_is_told_once() -> None:
    told = pricing(WHOLE)
    groups = [told, *told["tiers"]]
    prices = [group.get(unit, {}) for group in groups for unit in ("per_million", "each")]
    assert sum(map(len, prices)) + len(told["images"]) == len(WHOLE.prices)


def test_a_list_in_dollars_tells_what_it_is_made_of() -> None:
    dollars = price_shape.of_components({"input": 250_000, "output": 1_500_000, "image": 40_000}, {})
    basis = DollarBasis(dollars, 1_050, 1_005_000, datetime(2026, 11, 29, tzinfo=UTC))
    told = pricing(basis.in_rial(), dollar_basis=basis)
    assert told["dollar_basis"] == {
        "toman_per_dollar": 100_500,
        "rate_from": "2026-11-29T00:00:00Z",
        "markup_percent": 10.5,
        "dollars": {"per_million": {"input": 0.25, "output": 1.5}, "each": {"image": 0.04}},
    }
    assert told["per_million"]["input"] == 27_763.2  # rounded up to a whole Rial


@pytest.mark.parametrize(
    ("endpoints", "takes", "inputs", "outputs"),
    [
        (["chat", "messages"], [], ["text"], ["text"]),
        (["chat"], ["image", "tools", "file"], ["text", "image", "file"], ["text"]),
        (["completions"], ["image"], ["text"], ["text"]),
        (["embeddings"], ["image"], ["text"], ["embedding"]),
        (["images"], ["image"], ["text", "image"], ["image"]),
        (["images"], [], ["text"], ["image"]),
        (["speech"], [], ["text"], ["audio"]),
        (["transcriptions"], [], ["audio"], ["text"]),
        (["chat", "speech"], ["audio"], ["text", "audio"], ["text", "audio"]),
        (["moderations"], ["image", "audio"], ["text", "image"], ["moderation"]),
    ],
)
def test_modalities_follow_from_endpoints_and_what_a_model_takes(
    endpoints: list[str], takes: list[str], inputs: list[str], outputs: list[str]
) -> None:
    model = served_model(endpoints=frozenset(endpoints), takes=frozenset(takes))
    facts = public_list.facts(model)
    assert facts["modalities"] == {"input": inputs, "output": outputs}
    assert facts["endpoints"] == endpoints


def test_every_endpoint_has_modalities() -> None:
    assert list(public_list.MODALITIES) == list(ENDPOINTS)


def test_a_context_that_turned_out_longer_is_told() -> None:
    facts = public_list.facts(
        served_model(context_tokens=100, learned_context_tokens=120, max_output_tokens=7)
    )
    assert (facts["context_length"], facts["max_output_tokens"]) == (120, 7)
