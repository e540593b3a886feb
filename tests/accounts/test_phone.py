"""Properties of the phone normaliser."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts import phone
from accounts.shared.digits import ascii_digits

PERSIAN = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
subscriber = st.from_regex(r"91[0-9]{8}", fullmatch=True)
prefix = st.sampled_from(["0", "+98", "0098", "98", "+98 (0)", ""])
script = st.sampled_from([None, PERSIAN, ARABIC])
invisible = st.sampled_from(["", "\u200c", "\u200e", "\u200f", "\u2066", "\u202a", " "])


@given(subscriber, prefix, script, invisible, st.integers(1, 9))
def test_every_usual_way_to_write_a_number_gives_the_same_one(
    number: str, before: str, digits: dict[int, int] | None, mark: str, place: int
) -> None:
    typed = before + number[:place] + mark + number[place:]
    assert phone.normalise(typed.translate(digits) if digits else typed) == "+98" + number


@given(st.text(max_size=60))
def test_any_text_gives_a_storable_number_or_a_refusal(text: str) -> None:
    try:
        mobile = phone.normalise(text)
    except phone.InvalidMobile:
        return
    assert mobile.startswith("+989")
    assert len(mobile) == 13
    assert mobile.isascii()


@given(subscriber)
def test_normalising_again_changes_nothing(number: str) -> None:
    mobile = phone.normalise(number)
    assert phone.normalise(mobile) == mobile
    assert phone.normalise(phone.local(mobile)) == mobile


@pytest.mark.parametrize(
    "typed",
    [
        "", " ", "0912", "02188776655", "+12025550123", "+989121234567;ext=3", "09121234567 x3", "0912123456789",
        "tel:09121234567", "0912CALLNOW", "09121234567/09131234567", "\x00", "9" * 300, "+98+989121234567",
    ],
)  # fmt: skip
def test_what_is_no_iranian_mobile_number_is_refused(typed: str) -> None:
    with pytest.raises(phone.InvalidMobile):
        phone.normalise(typed)


def test_digits_of_every_script_become_ascii() -> None:
    assert ascii_digits("۱۲۳ ٤٥٦ 789 ०१ abc") == "123 456 789 01 abc"


def test_a_log_sees_only_the_ends_of_a_number() -> None:
    assert phone.masked("+989121234567") == "0912***4567"
