"""Percentiles from buckets are those of the figures themselves, but for the width of a bucket."""

import bisect
import itertools
import random
from collections import Counter

import pytest

from proxy.usage.latency import BOUNDS_MS, Latency, latency


def counted(values: list[int]) -> Counter[int]:
    """As PostgreSQL's width_bucket counts them."""
    return Counter(bisect.bisect_right(BOUNDS_MS, value) for value in values)


def exact(values: list[int], percent: int) -> int:
    return sorted(values)[-(-len(values) * percent // 100) - 1]


@pytest.mark.parametrize("seed", range(20))
def test_percentiles_are_exact_to_a_bucket(seed: int) -> None:
    chance = random.Random(seed)
    values = [int(chance.lognormvariate(7, 1.5)) for _ in range(chance.randint(1, 500))]
    found = latency(counted(values))
    assert found is not None
    for percent, told in ((50, found.p50_ms), (95, found.p95_ms)):
        true = exact(values, percent)
        bucket = bisect.bisect_right(BOUNDS_MS, true)
        low = BOUNDS_MS[bucket - 1] if bucket else 0
        high = BOUNDS_MS[bucket] if bucket < len(BOUNDS_MS) else BOUNDS_MS[-1]
        assert low <= told <= high


def test_percentiles_of_many_evenly_spread_answers_are_near_the_truth() -> None:
    values = list(range(1_000, 5_000))
    found = latency(counted(values))
    assert found is not None
    assert found.p50_ms == pytest.approx(3_000, rel=0.03)
    assert found.p95_ms == pytest.approx(4_800, rel=0.03)


def test_a_bucket_is_at_most_a_fifth_wide_but_for_the_first_ones() -> None:
    for low, high in itertools.pairwise(BOUNDS_MS):
        assert 1 < high / low < (1.20 if low >= 48 else 1.22)


def test_a_single_answer_is_its_bucket_s_middle() -> None:
    assert latency(counted([1_000])) == Latency(p50_ms=990, p95_ms=990)


def test_the_shortest_and_the_longest_have_their_places() -> None:
    assert latency(counted([0])) == Latency(5, 5)
    assert latency(counted([10**9])) == Latency(BOUNDS_MS[-1], BOUNDS_MS[-1])


def test_no_answers_have_no_latency() -> None:
    assert latency({}) is None
