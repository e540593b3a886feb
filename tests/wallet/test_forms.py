import pytest

from wallet.forms import TopUpForm


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
    ["", " ", ",", "-5", "1.5", "1٫5", "ten", "1e5", "0x10", "²", "1" * 13, "9" * 41, "\0", "10\0", "\ud800"],
)
def test_what_is_not_an_amount_is_refused(typed: str) -> None:
    form = TopUpForm({"amount": typed})
    assert not form.is_valid()
    assert "amount" in form.errors
