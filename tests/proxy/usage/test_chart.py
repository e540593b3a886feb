"""Bars and lines are in proportion, and run the way the page is read."""

import re

from proxy.usage import chart


def bars_of(path: str) -> list[tuple[int, int, int]]:
    """(left, top, height) of each bar."""
    found = re.findall(r"M(\d+) (\d+)h8v(\d+)h-8z", path)
    return [(int(left), int(top), int(height)) for left, top, height in found]


def test_bars_are_in_proportion_and_the_smallest_is_still_seen() -> None:
    drawn = chart.bars([[1_000_000, 500_000, 1, 0]], rtl=False)
    assert bars_of(drawn.paths[0]) == [(1, 0, 200), (11, 100, 100), (21, 198, 2)]
    assert (drawn.peak, drawn.width) == (1_000_000, 40)


def test_bars_are_stacked_and_the_stack_fills_the_height() -> None:
    drawn = chart.bars([[30, 10], [10, 0]], rtl=False)
    assert bars_of(drawn.paths[0]) == [(1, 50, 150), (11, 150, 50)]
    assert bars_of(drawn.paths[1]) == [(1, 0, 50)]
    assert drawn.peak == 40


def test_a_tiny_part_on_a_full_stack_does_not_leave_the_picture() -> None:
    drawn = chart.bars([[1_000_000], [1]], rtl=False)
    assert bars_of(drawn.paths[1]) == [(1, 0, 2)]


def test_time_runs_from_right_to_left_where_text_does() -> None:
    drawn = chart.bars([[1, 0, 2]], rtl=True)
    assert drawn.slots == [20, 10, 0]
    assert [left for left, _top, _height in bars_of(drawn.paths[0])] == [21, 1]


def test_a_line_goes_from_middle_to_middle_and_breaks_where_nothing_is() -> None:
    drawn = chart.lines([[100, 50, None, 25]], rtl=False)
    assert drawn.paths == ["M5 0L15 100M31 150h8"]


def test_no_values_make_no_picture() -> None:
    assert chart.bars([[0, 0]], rtl=False).paths == [""]
    assert chart.bars([], rtl=False).peak == 0
    assert chart.lines([[None, None]], rtl=True).paths == [""]
