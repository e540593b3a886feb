"""CSV files open in a spreadsheet as they are, whatever somebody wrote into a cell."""

import csv
import io

import pytest

from accounts.shared import downloads


def test_a_separator_of_any_kind_separates_nothing() -> None:
    row = ("a;b", "c,d", 'e"f', "g\nh", "i\tj")
    text = downloads.csv_bytes([row]).decode()
    assert [tuple(cells) for cells in csv.reader(io.StringIO(text))] == [row]
    assert text.startswith('"a;b","c,d","e""f"')


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_what_a_spreadsheet_would_reckon_with_becomes_text(text: str) -> None:
    assert downloads.harmless(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "shop", "فروشگاه", "a=b", "1-2"])
def test_other_text_stays_as_it_is(text: str) -> None:
    assert downloads.harmless(text) == text
