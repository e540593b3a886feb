"""Bars of a small chart, as whole numbers for SVG. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

STEP, BAR, HEIGHT = 10, 8, 100


@dataclass(frozen=True, slots=True)
class Bar:
    x: int
    y: int
    height: int
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars of `bar_width` in a box of `width` x `height`; `peak` is the value of a bar that fills it."""

    bars: list[Bar]
    width: int
    height: int
    bar_width: int
    peak: int


def chart(values: Sequence[tuple[str, int]]) -> Chart:
    """One bar for each (label, value ≥ 0), from left to right. What is not nothing is never drawn as nothing."""
    peak = max((value for _label, value in values), default=0)
    bars = []
    for i, (label, value) in enumerate(values):
        height = max(value * HEIGHT // peak, 1) if value else 0
        bars.append(Bar(x=i * STEP + (STEP - BAR) // 2, y=HEIGHT - height, height=height, label=label))
    return Chart(bars=bars, width=STEP * len(values), height=HEIGHT, bar_width=BAR, peak=peak)
