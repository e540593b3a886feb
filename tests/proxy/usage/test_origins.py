"""Where a request comes from: end users by digest, with a form that people can read."""

from typing import Any

import pytest
from django.db import IntegrityError, transaction

from proxy.usage import origins
from proxy.usage.origins import DIGEST_BYTES, HINT_MAX, EndUser, Origin
from tests.proxy.factories import UsageRecordFactory


def end_user(name: str, user_id: int = 1) -> EndUser:
    found = origins.end_user(name, user_id=user_id)
    assert found is not None
    return found


def test_the_same_name_is_the_same_user_of_an_account_and_of_no_other() -> None:
    assert end_user("ali") == end_user(" ali ")
    assert end_user("ali").digest != end_user("ali", user_id=2).digest
    assert end_user("1:ali", user_id=1).digest != end_user("ali", user_id=11).digest
    assert end_user("ali").digest != end_user("Ali").digest
    assert len(end_user("ali").digest) == DIGEST_BYTES


def test_another_pepper_makes_other_digests(settings: Any) -> None:
    before = end_user("ali").digest
    settings.PEPPERS = {1: b"another pepper" * 4}
    assert end_user("ali").digest != before


@pytest.mark.parametrize("name", ["ali", "مشتری ۱۲", "می‌خواهم", "customer@example.ir", "x" * HINT_MAX])
def test_a_name_that_is_short_enough_is_shown(name: str) -> None:
    assert end_user(name).hint == name


def test_a_longer_name_is_not_kept() -> None:
    name = "0123456789" * 7
    found = end_user(name)
    assert found.hint == f"01234567890123456789…{found.digest.hex()[:8]}"
    assert end_user(name + "x").hint != found.hint


@pytest.mark.parametrize(
    ("name", "hint"),
    [("a\x00b", "ab"), ("a\u202eb", "ab"), ("a\ud83db", "ab"), ("a\nb\t", "ab"), ("\ufeffali", "ali")],
)
def test_what_cannot_be_seen_is_not_shown(name: str, hint: str) -> None:
    assert end_user(name).hint == hint


def test_a_name_of_nothing_to_see_is_shown_by_its_digest() -> None:
    found = end_user("\x00\u202e")
    assert found.hint == found.digest.hex()[:8]


@pytest.mark.parametrize("name", ["", " ", "\n\t"])
def test_no_name_is_nobody(name: str) -> None:
    assert origins.end_user(name, user_id=1) is None


def test_columns_of_an_unknown_origin_are_empty() -> None:
    assert Origin().columns() == {"client_request_id": "", "end_user": None, "end_user_hint": ""}


@pytest.mark.django_db
@pytest.mark.parametrize("fields", [{"end_user": b"x"}, {"end_user_hint": "ali"}])
def test_the_database_refuses_an_end_user_without_both_forms(fields: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match="usage_end_user_is_shown"), transaction.atomic():
        UsageRecordFactory.create(**fields)
