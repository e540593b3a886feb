"""Every form of usage that upstreams are known to report, and whose word is believed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.api.chat_completions.answer_stream import AnswerStream
from proxy.catalogue.pricing import Usage
from proxy.metering.reported_usage import (
    Report,
    believed,
    combined,
    for_customers,
    purchase_changes,
    purchase_nanodollars,
    read_usage,
    report_of,
)
from tests.fake_upstream import chunk


def of(prompt: Any, completion: Any, total: Any, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, **more}


FORMS: dict[str, tuple[dict[str, Any], Usage | None]] = {
    "openai": (of(100, 9, 109, prompt_tokens_details={"cached_tokens": 64}), Usage(100, 9, 64)),
    "deepseek": (of(100, 9, 109, prompt_cache_hit_tokens=64, prompt_cache_miss_tokens=36), Usage(100, 9, 64)),
    "moonshot": (of(100, 9, 109, cached_tokens=64), Usage(100, 9, 64)),
    "no details": (of(100, 9, 109, prompt_tokens_details=None, cached_tokens=None), Usage(100, 9)),
    "details without cached": (of(100, 9, 109, prompt_tokens_details={"audio_tokens": 1}), Usage(100, 9)),
    "reasoning beside completion": (of(100, 9, 150), Usage(100, 50)),
    "anthropic translated, included": (of(100, 9, 109, cache_read_input_tokens=64), Usage(100, 9, 64)),
    "anthropic translated, beside": (
        of(36, 9, 129, cache_read_input_tokens=64, cache_creation_input_tokens=20), Usage(120, 9, 64),
    ),
    "cached beside, total of all": (
        of(10, 20, 1030, prompt_tokens_details={"cached_tokens": 1000}), Usage(1010, 20, 1000),
    ),
    "cached beside, and reasoning": (of(10, 20, 1060, cached_tokens=1000), Usage(1010, 50, 1000)),
    "cached beside, no total": (
        {"prompt_tokens": 10, "completion_tokens": 20, "cached_tokens": 1000}, Usage(1010, 20, 1000),
    ),
    "more cached than there was": (of(12, 9, 21, cached_tokens=500), Usage(12, 9, 12)),
    "anthropic": (
        {"input_tokens": 36, "output_tokens": 9, "cache_read_input_tokens": 64, "cache_creation_input_tokens": 20},
        Usage(120, 9, 64),
    ),
    "responses": (
        {"input_tokens": 100, "output_tokens": 9, "total_tokens": 109, "input_tokens_details": {"cached_tokens": 64}},
        Usage(100, 9, 64),
    ),
    "whole floats": (of(100.0, 9.0, 109.0, cached_tokens=64.0), Usage(100, 9, 64)),
    "no completion": ({"prompt_tokens": 3, "total_tokens": 3}, Usage(3, 0)),
    "no total": ({"prompt_tokens": 3, "completion_tokens": 4}, Usage(3, 4)),
    "half a token": (of(100.5, 9, 109.5), None),
    "text": (of("100", "9", "109"), None),
    "booleans": (of(True, True, 2), None),
    "below nothing": (of(-1, 9, 8), None),
    "no number": (of(float("nan"), 9, 9), None),
    "beyond any number": (of(2**40, 9, 2**40), None),
    "a completion that is none": (of(100, "9", 109), None),
    "empty": ({}, None),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_known_form_is_read(form: str) -> None:
    said, expected = FORMS[form]
    assert read_usage(said) == expected


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


ESTIMATE = Usage(50, 40)


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
    assert believed(report, ESTIMATE, at_least=at_least, final=final) == billed


TOKENS = st.integers(0, 1000)


@given(prompt=TOKENS, completion=TOKENS, at_least=TOKENS, more=TOKENS, final=st.booleans())
def test_never_less_is_billed_than_certainly_was_made(
    prompt: int, completion: int, at_least: int, more: int, final: bool
) -> None:
    estimate = Usage(50, at_least + more)  # an estimate is never below the measure
    billed = believed(Usage(prompt, completion), estimate, at_least=at_least, final=final)
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
    assert purchase_nanodollars(said, {}) == nanodollars


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
    assert for_customers(said, Usage(1010, 20, 1000), 0.5) == {
        "prompt_tokens": 1010,
        "completion_tokens": 20,
        "total_tokens": 1030,
        "prompt_tokens_details": {"cached_tokens": 1000},
        "completion_tokens_details": {"reasoning_tokens": 5},
        "cost_toman": 0.5,
    }
    assert for_customers(None, Usage(5, 6, 3), 0)["prompt_tokens_details"] == {"cached_tokens": 3}


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
    changes = purchase_changes({**told, "id": "c", "timings": {"ms": 1}, "usage": {"cost": 1}})
    assert set(changes) == set(told)
    shown = {name: value for name, value in changes.items() if value is not ...}
    assert not any(word in str(shown) for word in ("cost", "Cost", "price"))
    event = chunk({"content": "a"}, **told)
    relayed = AnswerStream(include_usage=False).feed(event)
    assert b'"content":"a"' in relayed
    assert all(name not in json.loads(relayed[6:]) for name, value in changes.items() if value is ...)
    assert b"cost" not in relayed.lower()
