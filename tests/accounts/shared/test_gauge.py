"""How full a limit is drawn. Pure."""

import pytest

from accounts.shared.gauge import Gauge


@pytest.mark.parametrize(
    ("used", "limit", "percent", "is_high"),
    [
        (0, 60, 0, False),
        (47, 60, 78, False),
        (48, 60, 80, True),
        (60, 60, 100, True),
        (75, 60, 100, True),
        (0, 0, 100, True),
    ],
)
def test_a_gauge_is_cut_to_whole_percent_and_never_overflows(
    used: int, limit: int, percent: int, is_high: bool
) -> None:
    assert (Gauge(used, limit).percent, Gauge(used, limit).is_high) == (percent, is_high)


def test_a_gauge_can_warn_later() -> None:
    assert not Gauge(89, 100, high_percent=90).is_high
    assert Gauge(90, 100, high_percent=90).is_high
