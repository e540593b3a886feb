"""A key is found by what people know of it."""

import pytest

from keys import hints, lifecycle
from tests.factories import UserFactory
from tests.proxy.factories import APIKeyFactory

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("hint", ["Ab3x", " Ab3x ", "…Ab3x", "hm-…Ab3x", "hm-...Ab3x", "hm-admin-…Ab3x"])
def test_a_key_is_found_by_the_end_of_its_secret(hint: str) -> None:
    key = APIKeyFactory.create(last_four="Ab3x")
    APIKeyFactory.create(last_four="aB3X")
    assert hints.owners(hint) == [key.user_id]


def test_a_key_is_found_by_its_number_and_by_a_whole_secret() -> None:
    user = UserFactory.create()
    made = lifecycle.create(user_id=user.pk, name="shop")
    assert user.pk in hints.owners(str(made.key_id))
    assert hints.owners(made.secret) == [user.pk]


@pytest.mark.parametrize("hint", ["", "b3x", "ab3x", "Ab3x'", "hm-", "9" * 30, "فروشگاه", "Ab3x\0"])
def test_what_is_no_hint_finds_nobody(hint: str) -> None:
    APIKeyFactory.create(last_four="Ab3x")
    assert hints.owners(hint) == []


def test_accounts_with_the_same_end_are_all_found_and_each_once() -> None:
    one, other = APIKeyFactory.create(last_four="Ab3x"), APIKeyFactory.create(last_four="Ab3x")
    APIKeyFactory.create(user=one.user, last_four="Ab3x")
    assert sorted(hints.owners("Ab3x")) == sorted([one.user_id, other.user_id])
