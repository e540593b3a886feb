"""Geometry of small charts, as whole numbers and paths for SVG. Pure.

Slots stand side by side, one per hour or day. In a right-to-left page they run from right to left, as its text
and its tables do, so that "older" is on the side where reading begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

STEP, BAR, HEIGHT = 10, 8, 200


@dataclass(frozen=True, slots=True)
class Chart:
    """`paths` is one path (`d`) for each series, `slots` the left edges; `peak` is the value that fills the height."""

    paths: list[str]
    slots: list[int]
    width: int
    peak: int


def bars(series: Sequence[Sequence[int]], *, rtl: bool) -> Chart:
    """Stacked bars: `series[0]` lies at the bottom. A value above zero always has a visible height."""
    count = len(series[0]) if series else 0
    peak = max((sum(stack) for stack in zip(*series, strict=True)), default=0)
    slots = _slots(count, rtl=rtl)
    bases = [0] * count
    paths = []
    for values in series:
        parts = []
        for number, value in enumerate(values):
            if value:
                height = max(value * HEIGHT // peak, 2)
                bases[number] = min(bases[number] + height, HEIGHT)
                left, top = slots[number] + (STEP - BAR) // 2, HEIGHT - bases[number]
                parts.append(f"M{left} {top}h{BAR}v{height}h-{BAR}z")
        paths.append("".join(parts))
    return Chart(paths=paths, slots=slots, width=STEP * count, peak=peak)


def lines(series: Sequence[Sequence[int | None]], *, rtl: bool) -> Chart:
    """Lines from one slot's middle to the next, with a gap where there is no value; a lone value is a short dash."""
    count = len(series[0]) if series else 0
    peak = max((value for values in series for value in values if value is not None), default=0)
    slots = _slots(count, rtl=rtl)
    paths = []
    for values in series:
        parts, before = [], False
        for number, value in enumerate(values):
            if value is not None:
                y = HEIGHT - (value * HEIGHT // peak if peak else 0)
                after = number + 1 < count and values[number + 1] is not None
                if before:
                    parts.append(f"L{slots[number] + STEP // 2} {y}")
                elif after:
                    parts.append(f"M{slots[number] + STEP // 2} {y}")
                else:
                    parts.append(f"M{slots[number] + (STEP - BAR) // 2} {y}h{BAR}")
            before = value is not None
        paths.append("".join(parts))
    return Chart(paths=paths, slots=slots, width=STEP * count, peak=peak)


def _slots(count: int, *, rtl: bool) -> list[int]:
    slots = [STEP * number for number in range(count)]
    return slots[::-1] if rtl else slots
