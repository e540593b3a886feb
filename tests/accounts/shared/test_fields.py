import pytest
from django.forms import ValidationError

from accounts.shared.fields import TomanField
from wallet.money import micro_from_toman
from wallet.payments.forms import TopUpForm


@pytest.mark.parametrize(
    "typed",
    [
        "100000",
        "100,000",
        "100_000",
        " 100 000 ",
        "۱۰۰۰۰۰",
        "۱۰۰٬۰۰۰",
        "۱۰۰،۰۰۰",
        "١٠٠٠٠٠",
        "\u200e100,000\u200f",
        "۱۰۰\u200c۰۰۰",
    ],
)
def test_an_amount_is_read_from_any_keyboard(typed: str) -> None:
    form = TopUpForm({"amount": typed})
    assert form.is_valid()
    assert form.cleaned_data["amount"] == 100_000


@pytest.mark.parametrize(
    "typed",
    ["", " ", ",", "-5", "1.5", "1٫5", "ten", "1e5", "0x10", "²", "1" * 12, "9" * 41, "\0", "10\0", "\ud800"],
)
def test_what_is_not_an_amount_is_refused(typed: str) -> None:
    form = TopUpForm({"amount": typed})
    assert not form.is_valid()
    assert "amount" in form.errors


@pytest.mark.parametrize(
    ("typed", "amount"),
    [
        ("5,000", 5_000),
        ("+5,000", 5_000),
        ("-5,000", -5_000),
        ("−۵٬۰۰۰", -5_000),
        ("\u200e- 5", -5),
        ("0", 0),
    ],
)
def test_a_signed_amount_has_one_sign_at_most(typed: str, amount: int) -> None:
    assert TomanField(signed=True).clean(typed) == amount


@pytest.mark.parametrize(
    "typed", ["+-5000", "--5", "-+5", "−-5", "++5", "-", "+", "5-", "5-5", "−,", "1" * 12]
)
def test_a_signed_amount_with_more_signs_or_none_of_digits_is_refused(typed: str) -> None:
    with pytest.raises(ValidationError):
        TomanField(signed=True).clean(typed)


def test_the_largest_amount_that_can_be_typed_fits_the_database() -> None:
    largest = TomanField().clean("9" * 11)
    assert largest is not None
    assert micro_from_toman(largest) < 2**63
