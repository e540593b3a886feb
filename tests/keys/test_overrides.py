"""Exceptions to tiers: one at a time, of a user or of a key, with a reason and an end."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from keys import lifecycle, overrides
from keys.models import APIKey, LimitOverride
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db

NOW = timezone.now()
HOUR = timedelta(hours=1)


@pytest.fixture
def user() -> User:
    made: User = UserFactory.create()
    return made


@pytest.fixture
def key(user: User) -> APIKey:
    return APIKey.objects.get(pk=lifecycle.create(user_id=user.pk, name="shop").key_id)


def override(**fields: Any) -> LimitOverride:
    usual = {
        "starts_at": NOW,
        "ends_at": NOW + HOUR,
        "reason": "a launch",
        "rpm": 5,
        "set_by": UserFactory.create(is_staff=True),
    }
    return LimitOverride(**usual | fields)


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"rpm": 0}, "limitoverride_limits_positive"),
        ({"reason": ""}, "limitoverride_has_reason"),
        ({"ends_at": NOW}, "limitoverride_ends_after_it_starts"),
        ({"user": None}, "limitoverride_of_user_or_key"),
    ],
)
def test_the_database_refuses_an_exception_that_is_none(
    user: User, fields: dict[str, Any], rule: str
) -> None:
    with pytest.raises(IntegrityError, match=rule), transaction.atomic():
        override(**{"user": user} | fields).save()


def test_the_database_refuses_one_of_a_user_and_of_a_key_in_one(user: User, key: APIKey) -> None:
    with pytest.raises(IntegrityError, match="limitoverride_of_user_or_key"), transaction.atomic():
        override(user=user, key=key).save()


def test_the_database_refuses_two_at_a_time_of_one_user(user: User) -> None:
    override(user=user).save()
    with pytest.raises(IntegrityError, match="limitoverride_one_at_a_time_of_user"), transaction.atomic():
        override(user=user, starts_at=NOW + HOUR / 2, ends_at=NOW + 3 * HOUR).save()
    override(user=user, starts_at=NOW + HOUR, ends_at=NOW + 2 * HOUR).save()  # begins as the other ends
    override(user=UserFactory.create()).save()


def test_the_database_refuses_two_at_a_time_of_one_key(user: User, key: APIKey) -> None:
    override(key=key).save()
    override(user=user).save()  # of the whole account, beside that of its key
    with pytest.raises(IntegrityError, match="limitoverride_one_at_a_time_of_key"), transaction.atomic():
        override(key=key, starts_at=NOW - HOUR, ends_at=NOW + 2 * HOUR).save()


def test_the_database_refuses_limits_of_a_model_that_limit_nothing(user: User) -> None:
    made = override(user=user)
    made.save()
    for row, rule in (
        ({"model": "a"}, "overridemodellimit_limits_something"),
        ({"model": "a", "tpd": 0}, "overridemodellimit_limits_positive"),
        ({"model": "", "tpd": 1}, "overridemodellimit_has_model"),
    ):
        with pytest.raises(IntegrityError, match=rule), transaction.atomic():
            made.model_limits.create(**row)
    made.model_limits.create(model="a", tpd=1)
    with pytest.raises(IntegrityError, match="overridemodellimit_once_each"), transaction.atomic():
        made.model_limits.create(model="a", tpd=2)


def test_one_that_overlaps_is_found_before_it_is_stored(user: User, key: APIKey) -> None:
    held = override(user=user)
    held.save()
    with pytest.raises(overrides.Overlaps) as found:
        overrides.check(override(user=user, starts_at=NOW - HOUR, ends_at=NOW + 1 * HOUR))
    assert found.value.other == held
    overrides.check(override(user=user, starts_at=NOW + HOUR, ends_at=NOW + 2 * HOUR))
    overrides.check(override(key=key))


def test_one_is_ended_early_once_and_one_that_has_not_begun_is_taken_back(user: User) -> None:
    running, later = override(user=user), override(user=user, starts_at=NOW + HOUR, ends_at=NOW + 2 * HOUR)
    running.save()
    later.save()
    assert overrides.end(override_id=running.pk, now=NOW + HOUR / 2)
    assert not overrides.end(override_id=running.pk, now=NOW + HOUR / 2)
    running.refresh_from_db()
    assert running.ends_at == NOW + HOUR / 2
    assert overrides.end(override_id=later.pk, now=NOW)
    assert not LimitOverride.objects.filter(pk=later.pk).exists()
