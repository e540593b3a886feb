"""Every form of usage that upstreams are known to report, and whose word is believed."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.api.chat_completions.answer_stream import AnswerStream
from proxy.catalogue.prices.price_quote import PriceQuote, Tier
from proxy.catalogue.prices.pricing import Usage, cost_micro, itemise
from proxy.metering import purchase, usage_forms
from proxy.metering.bill import Bill
from proxy.metering.reported_usage import (
    PARTS_ABOVE_WHOLE,
    TOTAL_BELOW_PARTS,
    TOTAL_UNEXPLAINED,
    UNREADABLE,
    WRITES_DIFFER,
    Report,
    believed,
    combined,
    for_customers,
    read_usage,
    report_of,
)
from tests.fake_upstream import chunk

EXAMPLES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("vendor_usage.json").read_text())[
    "examples"
]
PRICE = PriceQuote(1_000, 3_000, 250)
FULL_PRICE = PriceQuote(
    1_000, 3_000, 250,
    further={
        "cache_write_5m": 1_250, "cache_write_1h": 2_000, "input_audio": 4_000, "input_image": 1_500,
        "reasoning": 3_500, "output_audio": 8_000, "output_image": 9_000,
    },
    tiers=(Tier(100_000, {"input": 2_000, "cached_input": 500, "output": 4_500}),),
)  # fmt: skip


def of(prompt: Any, completion: Any, total: Any, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, **more}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: f"{one['vendor']}: {one['from']}"[:60])
def test_every_vendors_example_is_read_and_costs_what_it_does_by_hand(example: dict[str, Any]) -> None:
    report = report_of({"usage": example["usage"]})
    assert report is not None
    assert report.usage == Usage(**example["means"])
    assert report.contradiction is None
    assert report.upstream_cost_nanodollars == example.get("nanodollars")
    assert cost_micro(report.usage, PRICE) == example["micro"] == by_hand(example["by_hand"])
    assert (
        cost_micro(report.usage, FULL_PRICE)
        == example["micro_in_full"]
        == by_hand(example["by_hand_in_full"])
    )


def by_hand(sum_of_products: str) -> int:
    """`2 × 1,000 + 3 × 250`, say."""
    terms = sum_of_products.replace(",", "").split(" + ")
    return sum(int(quantity) * int(rial) for quantity, rial in (term.split(" × ") for term in terms))


def test_every_vendor_has_an_example_that_shows_each_of_its_places() -> None:
    for name, vendor in usage_forms.VENDORS.items():
        own = [example["usage"] for example in EXAMPLES if example["vendor"] == name]
        assert own, name
        for figure, place in vendor.places.items():
            assert any(holds(usage, usage_forms.path(place)) for usage in own), (name, figure)
        assert vendor.price is None or any(holds(usage, usage_forms.path(vendor.price)) for usage in own), (
            name
        )
    assert {example["vendor"] for example in EXAMPLES} == set(usage_forms.VENDORS)


def holds(said: Any, path: tuple[str, ...]) -> bool:
    for name in path:
        said = said.get(name) if isinstance(said, dict) else None
    return said is not None


FORMS: dict[str, tuple[dict[str, Any], Usage]] = {
    "no details": (of(100, 9, 109, prompt_tokens_details=None, cached_tokens=None), Usage(100, 9)),
    "details of another kind": (of(100, 9, 109, prompt_tokens_details="many"), Usage(100, 9)),
    "details without cached": (
        of(100, 9, 109, prompt_tokens_details={"audio_tokens": 1}), Usage(100, 9, input_audio_tokens=1),
    ),
    "reasoning in the total alone": (of(100, 9, 150), Usage(100, 50, reasoning_tokens=41)),
    "reasoning beside completion, no total": (
        {"prompt_tokens": 10, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 317}},
        Usage(10, 319, reasoning_tokens=317),
    ),
    "anthropic translated, included": (of(100, 9, 109, cache_read_input_tokens=64), Usage(100, 9, 64)),
    "anthropic translated, beside": (
        of(36, 9, 129, cache_read_input_tokens=64, cache_creation_input_tokens=20),
        Usage(120, 9, 64, cache_write_5m_tokens=20),
    ),
    "cached beside, total of all": (
        of(10, 20, 1030, prompt_tokens_details={"cached_tokens": 1000}), Usage(1010, 20, 1000),
    ),
    "cached beside, and reasoning in the total": (
        of(10, 20, 1060, cached_tokens=1000), Usage(1010, 50, 1000, reasoning_tokens=30),
    ),
    "read and written beside, and reasoning": (
        of(36, 9, 129, cache_read_input_tokens=30, cache_creation_input_tokens=20,
           completion_tokens_details={"reasoning_tokens": 34}),
        Usage(86, 43, 30, cache_write_5m_tokens=20, reasoning_tokens=34),
    ),
    "cached beside, no total": (
        {"prompt_tokens": 10, "completion_tokens": 20, "cached_tokens": 1000}, Usage(1010, 20, 1000),
    ),
    "sound that came from the cache": (
        of(100, 9, 109, prompt_tokens_details={"cached_tokens": 80, "audio_tokens": 90}),
        Usage(100, 9, 80, input_audio_tokens=20),
    ),
    "whole floats": (of(100.0, 9.0, 109.0, cached_tokens=64.0), Usage(100, 9, 64)),
    "no completion": ({"prompt_tokens": 3, "total_tokens": 3}, Usage(3, 0)),
    "no total": ({"prompt_tokens": 3, "completion_tokens": 4}, Usage(3, 4)),
}  # fmt: skip
CONTRADICTIONS: dict[str, tuple[dict[str, Any], Usage, str]] = {
    "more cached than there was": (of(12, 9, 21, cached_tokens=500), Usage(12, 9, 12), PARTS_ABOVE_WHOLE),
    "more read and written than there was": (
        of(12, 9, 21, prompt_tokens_details={"cached_tokens": 8, "cache_write_tokens": 8}),
        Usage(12, 9, 8, cache_write_5m_tokens=4), PARTS_ABOVE_WHOLE,
    ),
    "more sound than there was": (
        of(12, 9, 21, prompt_tokens_details={"audio_tokens": 13}),
        Usage(12, 9, input_audio_tokens=12), PARTS_ABOVE_WHOLE,
    ),
    "more reasoning than was made": (
        of(12, 9, 21, completion_tokens_details={"reasoning_tokens": 10}),
        Usage(12, 9, reasoning_tokens=9), PARTS_ABOVE_WHOLE,
    ),
    "cached below nothing": (of(100, 9, 109, cached_tokens=-64), Usage(100, 9), UNREADABLE),
    "cached as text": (of(100, 9, 109, prompt_cache_hit_tokens="64"), Usage(100, 9), UNREADABLE),
    "half a cached token": (of(100, 9, 109, cached_tokens=0.5), Usage(100, 9), UNREADABLE),
    "cached yes": (of(100, 9, 109, prompt_tokens_details={"cached_tokens": True}), Usage(100, 9), UNREADABLE),
    "cached beyond any number": (of(100, 9, 109, cached_tokens=2**40), Usage(100, 9), UNREADABLE),
    "reasoning as text": (
        of(100, 9, 109, completion_tokens_details={"reasoning_tokens": "x"}), Usage(100, 9), UNREADABLE,
    ),
    "a total as text": (of(100, 9, "109"), Usage(100, 9), UNREADABLE),
    "a total below nothing": (of(100, 9, -1), Usage(100, 9), UNREADABLE),
    "a total below its parts": (of(100, 9, 50), Usage(100, 9), TOTAL_BELOW_PARTS),
    "a total beyond its parts": (
        of(100, 9, 150, completion_tokens_details={"reasoning_tokens": 5}),
        Usage(100, 50, reasoning_tokens=5), TOTAL_UNEXPLAINED,
    ),
    "writes that differ": (
        {"input_tokens": 10, "output_tokens": 1, "cache_creation_input_tokens": 5,
         "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 3}},
        Usage(17, 1, cache_write_5m_tokens=4, cache_write_1h_tokens=3), WRITES_DIFFER,
    ),
}  # fmt: skip
NO_REPORTS: dict[str, dict[str, Any]] = {
    "half a token": of(100.5, 9, 109.5),
    "text": of("100", "9", "109"),
    "booleans": of(True, True, 2),
    "below nothing": of(-1, 9, 8),
    "no number": of(float("nan"), 9, 9),
    "beyond any number": of(2**40, 9, 2**40),
    "a completion that is none": of(100, "9", 109),
    "together beyond any number": {"prompt_tokens": 10, "completion_tokens": 1, "cached_tokens": 2**31 - 1},
    "empty": {},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_known_form_is_read(form: str) -> None:
    said, expected = FORMS[form]
    assert read_usage(said) == (expected, None)


@pytest.mark.parametrize("kind", CONTRADICTIONS)
def test_what_contradicts_itself_is_read_as_far_as_it_can_be_true_and_says_so(kind: str) -> None:
    said, expected, contradiction = CONTRADICTIONS[kind]
    assert read_usage(said) == (expected, contradiction)


@pytest.mark.parametrize("kind", NO_REPORTS)
def test_what_says_neither_prompt_nor_completion_is_no_report(kind: str) -> None:
    assert read_usage(NO_REPORTS[kind]) is None


FIGURE = st.one_of(
    st.none(), st.integers(-5, 2_000), st.integers(), st.floats(), st.text(max_size=3), st.booleans(), st.just({}),
)  # fmt: skip


PATHS = sorted(
    {usage_forms.path(place) for one in usage_forms.VENDORS.values() for place in one.places.values()}
)


def usage_object(figures: dict[tuple[str, ...], Any]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for (*outer, name), value in figures.items():
        place = said
        for each in outer:
            place = place.setdefault(each, {})
        place[name] = value
    return said


@given(said=st.dictionaries(st.sampled_from(PATHS), FIGURE, max_size=9).map(usage_object))
def test_no_usage_object_breaks_the_reader_or_costs_less_than_nothing(said: dict[str, Any]) -> None:
    if (read := read_usage(said)) is None:
        return
    usage, _contradiction = read
    assert sum(item.cost_micro for item in itemise(usage, PRICE)) == cost_micro(usage, PRICE) >= 0
    shown = for_customers(said, Bill(usage, PRICE, cost_micro(usage, PRICE)))
    assert shown["total_tokens"] == usage.total_tokens


def test_usage_stands_in_more_than_one_place() -> None:
    said = of(100, 9, 109)
    for answer in ({"usage": said}, {"x_groq": {"id": "r", "usage": said}}):
        report = report_of(answer)
        assert report is not None
        assert report.usage == Usage(100, 9)
    assert report_of({"usage": None, "x_groq": None}) is None


def test_reports_of_choices_are_one() -> None:
    reports = [Report(Usage(100, tokens, 10), {}) for tokens in (5, 6, 7)]
    together = combined(reports)
    assert together is not None
    assert together.usage == Usage(100, 18, 10)
    assert combined([]) is None


ESTIMATED = 50, 40
ESTIMATE = Usage(*ESTIMATED)


@pytest.mark.parametrize(
    ("report", "at_least", "final", "billed"),
    [
        (Usage(12, 30, 4), 30, True, Usage(12, 30, 4)),  # honest, to the token
        (Usage(12, 29), 30, True, ESTIMATE),  # below what passed
        (Usage(0, 0), 0, True, ESTIMATE),  # no prompt is empty
        (None, 0, True, ESTIMATE),
        (Usage(12, 30, 4), 30, False, Usage(50, 40, 4)),  # the larger of each
        (Usage(60, 30), 30, False, Usage(60, 40)),
        (Usage(12, 70), 30, False, Usage(50, 70)),
        (Usage(12, 0), 1, False, ESTIMATE),
    ],
)
def test_what_is_believed(report: Usage | None, at_least: int, final: bool, billed: Usage) -> None:
    assert believed(report, ESTIMATED, at_least=at_least, at_most=(1_000, 1_000), final=final) == billed


@pytest.mark.parametrize(
    ("report", "billed"),
    [
        (Usage(1_001, 41, 1_001, reasoning_tokens=40), Usage(50, 41, reasoning_tokens=40)),
        (Usage(60, 1_001, 8, reasoning_tokens=1_001), Usage(60, 40, 8)),
        (Usage(2**31 - 1, 2**31 - 1, 2**30), ESTIMATE),
    ],
)
@pytest.mark.parametrize("final", [True, False])
def test_what_is_far_beyond_the_request_is_estimated(report: Usage, billed: Usage, final: bool) -> None:
    assert believed(report, ESTIMATED, at_least=0, at_most=(1_000, 1_000), final=final) == billed


def test_a_report_that_was_not_the_last_word_keeps_its_parts() -> None:
    report = Usage(60, 30, 8, input_audio_tokens=5, reasoning_tokens=20)
    billed = believed(report, ESTIMATED, at_least=30, at_most=(1_000, 1_000), final=False)
    assert billed == Usage(60, 40, 8, input_audio_tokens=5, reasoning_tokens=20)


TOKENS = st.integers(0, 1000)


@given(prompt=TOKENS, completion=TOKENS, at_least=TOKENS, more=TOKENS, final=st.booleans())
def test_never_less_is_billed_than_certainly_was_made(
    prompt: int, completion: int, at_least: int, more: int, final: bool
) -> None:
    estimate = 50, at_least + more  # an estimate is never below the measure
    billed = believed(
        Usage(prompt, completion), estimate, at_least=at_least, at_most=(2_000, 2_000), final=final
    )
    assert billed.completion_tokens >= at_least
    assert billed.prompt_tokens > 0


@pytest.mark.parametrize(
    ("said", "nanodollars"),
    [
        ({"cost": 0.0004}, 400_000),
        ({"cost": 0}, 0),
        ({"estimated_cost": 1e-9}, 1),
        ({"cost": {"total_cost": 0.006, "input_tokens_cost": 0.001}}, 6_000_000),
        ({"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.2}}, 210_000_000),
        ({"cost": 0.01, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.2}}, 10_000_000),
        ({"cost": "0.1"}, None), ({"cost": -1}, None), ({"cost": float("inf")}, None), ({"cost": True}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_what_it_costs_the_operator(said: dict[str, Any], nanodollars: int | None) -> None:
    assert purchase.nanodollars(said, {}) == nanodollars


def test_a_customer_sees_what_was_billed_and_nothing_of_the_purchase() -> None:
    said = of(
        10.0,
        20,
        1030,
        prompt_tokens_details={"cached_tokens": 1000, "cache_price": 1},
        completion_tokens_details={"reasoning_tokens": 5},
        cost=1,
        is_byok=True,
        cost_in_usd_ticks=7,
        upstream_inference_cost=2,
    )
    billed = Usage(1010, 20, 1000, reasoning_tokens=5)
    cost = 10 * 1_000 + 1_000 * 250 + 20 * 3_000
    assert for_customers(said, Bill(billed, PRICE, cost)) == {
        "prompt_tokens": 1010,
        "completion_tokens": 20,
        "total_tokens": 1030,
        "prompt_tokens_details": {"cached_tokens": 1000},
        "completion_tokens_details": {"reasoning_tokens": 5},
        "cost_toman": 0.032,
        "cost_details": {
            "input": {"quantity": 10, "toman": 0.001},
            "cached_input": {"quantity": 1000, "toman": 0.025},
            "output": {"quantity": 15, "toman": 0.0045},
            "reasoning": {"quantity": 5, "toman": 0.0015},
        },
    }
    assert for_customers(None, Bill(Usage(5, 6, 3), PRICE, 0))["prompt_tokens_details"] == {
        "cached_tokens": 3
    }


def test_a_customer_does_not_see_what_of_a_report_cannot_be_true() -> None:
    said = of(12, 9, 21, prompt_tokens_details={"cached_tokens": -5, "text_tokens": 12, "audio_tokens": "x"})
    usage = read_usage(said)
    assert usage is not None
    shown = for_customers(said, Bill(usage[0], PRICE, 0))
    assert shown["prompt_tokens_details"] == {"cached_tokens": 0, "text_tokens": 12, "audio_tokens": 0}


def test_what_went_beyond_the_hold_stands_in_the_details_as_not_charged() -> None:
    details = Bill(Usage(10, 20), PRICE, 50_000).cost_details()
    assert details == {
        "input": {"quantity": 10, "toman": 0.001},
        "output": {"quantity": 20, "toman": 0.006},
        "not_charged": {"toman": -0.002},
    }


@given(
    prompt=st.integers(0, 2**31 - 1), completion=st.integers(0, 2**31 - 1), cached=st.integers(0, 2**31 - 1),
    held=st.integers(0, 2**63 - 1), prices=st.tuples(*[st.integers(0, 10**6)] * 3),
)  # fmt: skip
def test_the_details_of_a_bill_are_what_was_debited(
    prompt: int, completion: int, cached: int, held: int, prices: tuple[int, int, int]
) -> None:
    usage, price = (
        Usage(prompt, completion, cached),
        PriceQuote(prices[0], prices[1], min(prices[2], prices[0])),
    )
    cost = min(cost_micro(usage, price), held)
    details = Bill(usage, price, cost).cost_details()
    items = [item for item in itemise(usage, price) if item.quantity]
    assert [details[item.component] for item in items] == [
        {"quantity": item.quantity, "toman": item.cost_micro / 10**7} for item in items
    ]
    not_charged = details.get("not_charged", {"toman": 0.0})["toman"]
    assert not_charged == (cost - sum(item.cost_micro for item in items)) / 10**7


@pytest.mark.parametrize(
    "told",
    [
        {"estimated_cost": 0.1}, {"credits_used": 3}, {"charged": 3}, {"billed_units": {"x": 1}}, {"amount_usd": 3},
        {"provider_metadata": {"gateway": {"routing": [{"cost": "0.004"}], "marketCost": "0.005"}}},
        {"metadata": [{"total_price": 1}]},
    ],
    ids=str,
)  # fmt: skip
def test_the_purchase_price_is_left_out_wherever_it_stands(told: dict[str, Any]) -> None:
    changes = purchase.changes({**told, "id": "c", "timings": {"ms": 1}, "usage": {"cost": 1}})
    assert set(changes) == set(told)
    shown = {name: value for name, value in changes.items() if value is not ...}
    assert not any(word in str(shown) for word in ("cost", "Cost", "price"))
    event = chunk({"content": "a"}, **told)
    relayed = AnswerStream(include_usage=False).feed(event)
    assert b'"content":"a"' in relayed
    assert all(name not in json.loads(relayed[6:]) for name, value in changes.items() if value is ...)
    assert b"cost" not in relayed.lower()
