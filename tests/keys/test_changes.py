"""Keys that are changed and replaced."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from accounts.models import User
from keys import lifecycle, reading
from keys.models import APIKey
from keys.reading import State
from keys.rules import KeyRules
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
RULES = KeyRules(
    allowed_models=("a", "b"), allowed_networks=("10.0.0.0/8",), rpm=5, tpm=6, concurrency=7, budget_id=8
)


@pytest.fixture
def user() -> User:
    return UserFactory.create()


def make(user: User, rules: KeyRules | None = None) -> int:
    return lifecycle.create(user_id=user.pk, name="laptop", rules=rules).key_id


def get(user: User, key_id: int) -> reading.ListedKey:
    return reading.get(user_id=user.pk, key_id=key_id)


def rotate(user: User, key_id: int, grace: timedelta = DAY) -> int:
    return lifecycle.rotate(user_id=user.pk, key_id=key_id, grace=grace).key_id


def end(key_id: int) -> None:
    APIKey.objects.filter(pk=key_id).update(expires_at=timezone.now())


def test_a_key_keeps_the_rules_that_it_was_given(user: User) -> None:
    assert get(user, make(user, RULES)).rules == RULES
    assert get(user, make(user)).rules == KeyRules()


def test_a_change_sets_everything_and_is_told_to_the_processes(
    user: User, django_capture_on_commit_callbacks: Any
) -> None:
    key = make(user, RULES)
    changed = KeyRules(expires_at=timezone.now() + DAY, rpm=9)
    with django_capture_on_commit_callbacks() as announcements:
        lifecycle.change(user_id=user.pk, key_id=key, name=" desktop ", rules=changed)
    assert (get(user, key).name, get(user, key).rules) == ("desktop", changed)
    assert len(announcements) == 1


def test_a_new_key_takes_over_name_and_rules_and_the_old_one_ends_after_the_grace(user: User) -> None:
    old = make(user, RULES)
    before = timezone.now()
    new = rotate(user, old)
    assert get(user, new).rules == RULES
    assert get(user, new).name == "laptop"
    assert (get(user, new).replaces, get(user, old).replaced_by) == (old, new)
    assert (get(user, new).state, get(user, old).state) == (State.WORKING, State.REPLACED)
    ends_at = get(user, old).rules.expires_at
    assert ends_at is not None
    assert before + DAY <= ends_at <= timezone.now() + DAY
    end(old)
    assert get(user, old).state is State.EXPIRED


def test_without_a_grace_the_old_key_ends_at_once(
    user: User, django_capture_on_commit_callbacks: Any
) -> None:
    old = make(user)
    with django_capture_on_commit_callbacks() as announcements:
        new = rotate(user, old, timedelta(0))
    assert get(user, old).state is State.REVOKED
    assert get(user, new).state is State.WORKING
    assert len(announcements) == 1


def test_a_grace_never_makes_a_key_live_longer(user: User) -> None:
    soon = timezone.now() + timedelta(hours=1)
    old = make(user, KeyRules(expires_at=soon))
    new = rotate(user, old, 7 * DAY)
    assert get(user, old).rules.expires_at == get(user, new).rules.expires_at == soon


def test_a_key_in_its_grace_can_be_revoked_at_once(user: User) -> None:
    old = make(user)
    rotate(user, old)
    lifecycle.revoke(user_id=user.pk, key_id=old)
    assert get(user, old).state is State.REVOKED


def test_there_are_never_more_than_two_keys_in_the_place_of_one(user: User) -> None:
    first = make(user)
    second = rotate(user, first)
    with pytest.raises(lifecycle.StillReplacing):
        rotate(user, second)
    end(first)
    third = rotate(user, second)
    with pytest.raises(lifecycle.KeyEnded):  # replaced already
        rotate(user, second)
    assert get(user, third).state is State.WORKING


def test_a_key_being_replaced_takes_no_place_among_the_active_ones(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "MAX_ACTIVE_KEYS", 2)
    first, second = make(user), make(user)
    new = rotate(user, first)
    with pytest.raises(lifecycle.TooManyKeys):
        make(user)
    end(new)
    make(user)
    assert get(user, second).state is State.WORKING


def test_nothing_is_changed_or_replaced_that_has_ended(user: User) -> None:
    revoked, expired, replaced = make(user), make(user), make(user)
    lifecycle.revoke(user_id=user.pk, key_id=revoked)
    end(expired)
    rotate(user, replaced)
    for key in (revoked, expired, replaced):
        with pytest.raises(lifecycle.KeyEnded):
            rotate(user, key)
        with pytest.raises(lifecycle.KeyEnded):
            lifecycle.change(user_id=user.pk, key_id=key, name="n", rules=KeyRules())


def test_the_key_of_another_or_of_the_playground_is_neither_changed_nor_replaced(user: User) -> None:
    for key in (make(UserFactory.create()), lifecycle.session_key(user_id=user.pk).key_id):
        with pytest.raises(reading.UnknownKey):
            rotate(user, key)
        with pytest.raises(reading.UnknownKey):
            lifecycle.change(user_id=user.pk, key_id=key, name="n", rules=KeyRules())


def test_a_budget_given_later_is_shared_with_the_key_that_is_still_being_replaced(
    user: User, django_capture_on_commit_callbacks: Any
) -> None:
    old = make(user)
    new = rotate(user, old)
    with django_capture_on_commit_callbacks() as announcements:
        lifecycle.change(user_id=user.pk, key_id=new, name="n", rules=KeyRules(budget_id=8))
    assert get(user, old).rules.budget_id == 8
    assert len(announcements) == 2


def test_a_token_makes_one_key_by_either_form(user: User) -> None:
    token = uuid4()
    old = make(user)
    lifecycle.rotate(user_id=user.pk, key_id=old, grace=DAY, creation_token=token)
    with pytest.raises(lifecycle.AlreadyCreated):
        lifecycle.rotate(user_id=user.pk, key_id=old, grace=DAY, creation_token=token)
    with pytest.raises(lifecycle.AlreadyCreated):
        lifecycle.create(user_id=user.pk, name="n", creation_token=token)


def test_ended_keys_are_listed_after_those_that_work(user: User) -> None:
    first, second, third = (make(user) for _ in range(3))
    end(third)
    fourth = rotate(user, first)
    assert [key.key_id for key in reading.listing(user.pk)] == [fourth, second, first, third]
