"""What settled calls add to /metrics."""

import asyncio
from typing import Any

import pytest
from prometheus_client import REGISTRY

from proxy.metering import figures

RECORD: dict[str, Any] = {
    "model": "figures",
    "endpoint": "chat",
    "outcome": "completed",
    "billed_by": "usage",
    "stream": True,
    "total_ms": 1_500,
    "first_byte_ms": 300,
    "prompt_tokens": 100,
    "cached_tokens": 40,
    "completion_tokens": 20,
    "upstream_cost_micro": 7,
}


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"endpoint": "chat", **labels})


async def test_a_call_is_counted_by_its_model_endpoint_and_end() -> None:
    figures.count(RECORD | {"model": "plain"}, cost_micro=30)
    figures.count(RECORD | {"model": "plain"}, cost_micro=30)
    figures.tell()
    assert value("hamiran_calls_total", model="plain", outcome="completed") == 2
    assert value("hamiran_cost_micro_total", model="plain") == 60
    assert value("hamiran_upstream_cost_micro_total", model="plain") == 14
    assert value("hamiran_call_seconds_sum", model="plain") == 3
    assert value("hamiran_first_byte_seconds_count", model="plain") == 2
    tokens = {kind: value("hamiran_tokens_total", model="plain", kind=kind) for kind in ("input", "output")}
    assert tokens == {"input": 120, "output": 40}
    assert value("hamiran_tokens_total", model="plain", kind="cached_input") == 80


async def test_nothing_is_counted_twice() -> None:
    figures.count(RECORD | {"model": "once"}, cost_micro=1)
    figures.tell()
    figures.tell()
    assert value("hamiran_calls_total", model="once", outcome="completed") == 1


@pytest.mark.parametrize("outcome", ["client_left", "upstream_failed", "refused", "interrupted"])
async def test_what_did_not_come_whole_says_nothing_of_latency_and_what_is_free_nothing_of_tokens(
    outcome: str,
) -> None:
    record = RECORD | {"model": f"ends {outcome}", "outcome": outcome, "billed_by": "nothing"}
    figures.count(record, cost_micro=0)
    figures.tell()
    assert value("hamiran_calls_total", model=f"ends {outcome}", outcome=outcome) == 1
    assert value("hamiran_call_seconds_count", model=f"ends {outcome}") is None
    assert value("hamiran_tokens_total", model=f"ends {outcome}", kind="input") is None


async def test_a_second_later_it_is_told_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    told = asyncio.Event()
    monkeypatch.setattr(figures, "TELL_SECONDS", 0.01)
    monkeypatch.setattr(figures, "tell", told.set)
    figures._sums.clear()
    figures.count(RECORD | {"model": "by itself"}, cost_micro=1)
    await told.wait()
    figures._sums.clear()
