import uuid
from typing import Any

import pytest

from accounts import codes


def digest(**changes: Any) -> bytes:
    values: dict[str, Any] = {
        "pepper": b"p",
        "challenge_id": uuid.UUID(int=1),
        "mobile": "+989121234567",
        "code": "123456",
    }
    return codes.digest(**values | changes)


@pytest.mark.parametrize(
    "change",
    [{"pepper": b"q"}, {"challenge_id": uuid.UUID(int=2)}, {"mobile": "+989121234568"}, {"code": "123457"}],
)
def test_a_digest_fits_one_pepper_challenge_number_and_code(change: dict[str, Any]) -> None:
    assert codes.matches(digest(), digest())
    assert not codes.matches(digest(), digest(**change))


def test_codes_have_six_digits_and_differ() -> None:
    made = {codes.new() for _ in range(200)}
    assert all(codes.is_code(code) for code in made)
    assert len(made) > 150


@pytest.mark.parametrize("text", ["12345", "1234567", "۱۲۳۴۵۶", "12345a", "123456\n", ""])
def test_only_six_ascii_digits_are_a_code(text: str) -> None:
    assert not codes.is_code(text)


def test_the_last_line_of_the_sms_is_for_webotp() -> None:
    text = codes.sms_text(line="Your code: 123456", host="example.ir", code="123456")
    assert text.splitlines()[-1] == "@example.ir #123456"
