from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from accounts.shared import formats

LATE_EVENING = datetime(2026, 11, 23, 21, 5, tzinfo=UTC)  # already the 24th in Tehran


def test_figures_in_english_are_left_as_they_are() -> None:
    assert formats.figure_text("-1,234.5", language="en") == "-1,234.5"
    assert formats.number_text(1_234_567, language="en") == "1,234,567"


def test_figures_in_persian_have_persian_digits_and_separators() -> None:
    assert formats.number_text(1_234_567, language="fa") == "۱٬۲۳۴٬۵۶۷"
    assert formats.figure_text("0.42", language="fa") == "۰٫۴۲"


def test_a_negative_figure_in_persian_keeps_its_sign_on_the_left() -> None:
    assert formats.figure_text("-5.5", language="fa") == "\u2066-۵٫۵\u2069"


@given(st.integers())
def test_no_ascii_digit_is_left_in_persian(number: int) -> None:
    assert not any(char.isascii() and char.isdigit() for char in formats.number_text(number, language="fa"))


def test_times_are_tehrans_by_the_calendar_of_the_language() -> None:
    assert formats.date_text(LATE_EVENING, language="en") == "24 Nov 2026"
    assert formats.datetime_text(LATE_EVENING, language="en") == "24 Nov 2026, 00:35"
    assert formats.date_text(LATE_EVENING, language="fa") == "۳ آذر ۱۴۰۵"
    assert formats.datetime_text(LATE_EVENING, language="fa") == "۳ آذر ۱۴۰۵، ۰۰:۳۵"


def test_the_persian_year_turns_at_nowruz() -> None:
    assert formats.date_text(datetime(2027, 3, 20, 12, tzinfo=UTC), language="fa") == "۲۹ اسفند ۱۴۰۵"
    assert formats.date_text(datetime(2027, 3, 21, 12, tzinfo=UTC), language="fa") == "۱ فروردین ۱۴۰۶"


def test_a_number_or_an_address_is_kept_from_left_to_right_in_persian_alone() -> None:
    for text in ("+989121234567", "2001:db8::1", "https://hooks.example.com/…"):
        assert formats.ltr_text(text, language="fa") == f"\u2066{text}\u2069"
        assert formats.ltr_text(text, language="en") == text
    for text in ("-", "", "کتاب +98", "۱٬۲۰۰ تومان"):
        assert formats.ltr_text(text, language="fa") == text
    note = formats.ltr_text("+989121234567: یادداشت", language="fa")
    assert note == "\u2066+989121234567\u2069: یادداشت"
