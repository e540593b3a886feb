import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import redis
from django.conf import settings
from django.db import IntegrityError, connections, transaction
from django.utils import timezone

from accounts.models import User
from keys import lifecycle, reading, revocations
from keys.models import APIKey
from keys.secret import digest, has_valid_checksum
from tests.factories import UserFactory


def one_key() -> tuple[User, lifecycle.CreatedKey]:
    user = UserFactory.create()
    return user, lifecycle.create(user_id=user.pk, name="laptop")


@pytest.mark.django_db
def test_a_new_key_is_valid_and_only_its_digest_is_stored() -> None:
    user, created = one_key()
    assert has_valid_checksum(created.secret)
    row = APIKey.objects.values().get(pk=created.key_id)
    version, pepper = next(iter(settings.PEPPERS.items()))
    assert bytes(row["digest"]) == digest(created.secret, pepper)
    assert (row["pepper_version"], row["user_id"], row["last_four"]) == (
        version,
        user.pk,
        created.secret[-4:],
    )
    assert created.secret not in repr(row)


@pytest.mark.django_db
def test_the_name_is_trimmed() -> None:
    created = lifecycle.create(user_id=UserFactory.create().pk, name="  laptop \n")
    assert APIKey.objects.get(pk=created.key_id).name == "laptop"


@pytest.mark.django_db
def test_a_thousand_keys_may_work_at_once_and_revoking_one_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert lifecycle.MAX_ACTIVE_KEYS == 1_000
    monkeypatch.setattr(lifecycle, "MAX_ACTIVE_KEYS", 2)
    user, first = one_key()
    lifecycle.create(user_id=user.pk, name="second")
    with pytest.raises(lifecycle.TooManyKeys):
        lifecycle.create(user_id=user.pk, name="third")
    lifecycle.revoke(user_id=user.pk, key_id=first.key_id)
    lifecycle.create(user_id=user.pk, name="third")
    one_key()  # somebody else's limit is their own


@pytest.mark.django_db
def test_a_token_makes_one_key_a_user() -> None:
    token = uuid4()
    user, other = UserFactory.create(), UserFactory.create()
    lifecycle.create(user_id=user.pk, name="laptop", creation_token=token)
    with pytest.raises(lifecycle.AlreadyCreated):
        lifecycle.create(user_id=user.pk, name="laptop", creation_token=token)
    lifecycle.create(user_id=other.pk, name="laptop", creation_token=token)
    assert len(reading.listing(user.pk)) == 1


@pytest.mark.django_db
def test_a_thousand_keys_are_created_a_day_however_many_are_revoked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lifecycle.MAX_CREATED_A_DAY == 1_000
    monkeypatch.setattr(lifecycle, "MAX_CREATED_A_DAY", 2)
    user, first = one_key()
    rotate = partial(lifecycle.rotate, user_id=user.pk, grace=timedelta(0))
    second = rotate(key_id=first.key_id, creation_token=uuid4())
    with pytest.raises(lifecycle.TooManyToday):
        rotate(key_id=second.key_id, creation_token=uuid4())
    lifecycle.revoke(user_id=user.pk, key_id=second.key_id)
    with pytest.raises(lifecycle.TooManyToday):
        lifecycle.create(user_id=user.pk, name="third", creation_token=uuid4())
    lifecycle.create(user_id=user.pk, name="by an operator")
    APIKey.objects.filter(user=user).update(created_at=timezone.now() - timedelta(days=1))
    lifecycle.create(user_id=user.pk, name="tomorrow", creation_token=uuid4())


def test_parallel_requests_pass_neither_the_limit_nor_a_token(
    committed_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "MAX_ACTIVE_KEYS", 3)
    user = UserFactory.create()
    token = uuid4()
    outcomes = in_threads(
        *[lambda: lifecycle.create(user_id=user.pk, name="same form", creation_token=token)] * 4,
        *[lambda: lifecycle.create(user_id=user.pk, name="other forms")] * 4,
    )
    assert APIKey.objects.filter(user=user).count() == 3
    assert APIKey.objects.filter(user=user, creation_token=token).count() <= 1
    refused = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert {type(outcome) for outcome in refused} <= {lifecycle.TooManyKeys, lifecycle.AlreadyCreated}
    assert len(refused) == 5


def in_threads(*calls: Any) -> list[Any]:
    """What each call returned or raised, all started together."""
    outcomes: list[Any] = []
    barrier = threading.Barrier(len(calls))

    def run(call: Any) -> None:
        barrier.wait()
        try:
            outcomes.append(call())
        except Exception as error:
            outcomes.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.mark.django_db
def test_nobody_can_revoke_or_see_the_key_of_another() -> None:
    _owner, key = one_key()
    stranger = UserFactory.create()
    with pytest.raises(reading.UnknownKey):
        lifecycle.revoke(user_id=stranger.pk, key_id=key.key_id)
    with pytest.raises(reading.UnknownKey):
        reading.get(user_id=stranger.pk, key_id=key.key_id)
    assert APIKey.objects.get(pk=key.key_id).revoked_at is None


@pytest.mark.django_db
def test_revoking_again_keeps_the_first_time() -> None:
    user, key = one_key()
    lifecycle.revoke(user_id=user.pk, key_id=key.key_id)
    first = reading.get(user_id=user.pk, key_id=key.key_id).revoked_at
    lifecycle.revoke(user_id=user.pk, key_id=key.key_id)
    assert reading.get(user_id=user.pk, key_id=key.key_id).revoked_at == first is not None


@pytest.mark.django_db
def test_a_revocation_is_announced_after_the_commit(django_capture_on_commit_callbacks: Any) -> None:
    user, key = one_key()
    client = redis.Redis.from_url(settings.REDIS_URL, decode_responses=True)
    with client, client.pubsub(ignore_subscribe_messages=True) as pubsub:
        pubsub.subscribe(revocations.CHANNEL)
        pubsub.get_message(timeout=5)
        with django_capture_on_commit_callbacks(execute=False) as callbacks:
            lifecycle.revoke(user_id=user.pk, key_id=key.key_id)
        [announce] = callbacks
        announce()
        message = pubsub.get_message(timeout=5)
    assert message is not None
    assert message["data"] == digest(key.secret, next(iter(settings.PEPPERS.values()))).hex()


@pytest.mark.django_db
def test_a_key_is_revoked_although_valkey_is_away(
    settings: Any, caplog: pytest.LogCaptureFixture, django_capture_on_commit_callbacks: Any
) -> None:
    settings.REDIS_URL = "unix:///nowhere.sock"
    user, key = one_key()
    with django_capture_on_commit_callbacks(execute=True):
        lifecycle.revoke(user_id=user.pk, key_id=key.key_id)
    assert "revocation not announced" in caplog.text
    assert key.secret not in caplog.text
    assert reading.get(user_id=user.pk, key_id=key.key_id).revoked_at is not None


@pytest.mark.django_db
def test_the_listing_has_working_keys_first_and_each_part_newest_first() -> None:
    user, first = one_key()
    second, third, fourth = (lifecycle.create(user_id=user.pk, name="more") for _ in range(3))
    for key in (second, fourth):
        lifecycle.revoke(user_id=user.pk, key_id=key.key_id)
    listed = [key.key_id for key in reading.listing(user.pk)]
    assert listed == [third.key_id, first.key_id, fourth.key_id, second.key_id]


@pytest.mark.django_db
def test_of_ended_keys_the_newest_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reading.ENDED_LISTED == 50
    monkeypatch.setattr(reading, "ENDED_LISTED", 2)
    user, working = one_key()
    ended = [lifecycle.create(user_id=user.pk, name="more").key_id for _ in range(3)]
    for key_id in ended:
        lifecycle.revoke(user_id=user.pk, key_id=key_id)
    assert [key.key_id for key in reading.listing(user.pk)] == [working.key_id, ended[2], ended[1]]


@pytest.mark.django_db
def test_the_newest_working_key_is_found_without_loading_the_others(
    django_assert_max_num_queries: Any,
) -> None:
    user, older = one_key()
    newer = lifecycle.create(user_id=user.pk, name="newer")
    lifecycle.session_key(user_id=user.pk)
    one_key()
    found = []
    for key in (newer, older):
        with django_assert_max_num_queries(2):
            newest = reading.newest_working(user_id=user.pk)
        found.append(newest and newest.key_id)
        lifecycle.revoke(user_id=user.pk, key_id=key.key_id)
    assert found == [newer.key_id, older.key_id]
    assert reading.newest_working(user_id=user.pk) is None


@pytest.mark.django_db
def test_last_use_moves_forward_and_never_back() -> None:
    user, used = one_key()
    untouched = lifecycle.create(user_id=user.pk, name="other")
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    for at in (noon, noon + timedelta(seconds=5), noon - timedelta(days=1)):
        lifecycle.touch({used.key_id: at, 0: at})
    assert reading.get(user_id=user.pk, key_id=used.key_id).last_used_at == noon + timedelta(seconds=5)
    assert reading.get(user_id=user.pk, key_id=untouched.key_id).last_used_at is None
    lifecycle.touch({})


@pytest.mark.django_db
def test_a_session_key_is_one_hidden_row_whose_secret_each_call_replaces(
    django_capture_on_commit_callbacks: Any,
) -> None:
    user, _key = one_key()
    first = lifecycle.session_key(user_id=user.pk)
    with django_capture_on_commit_callbacks() as announcements:
        second = lifecycle.session_key(user_id=user.pk)
    assert first.key_id == second.key_id
    assert first.secret != second.secret
    assert len(announcements) == 1
    kept = APIKey.objects.get(pk=first.key_id)
    assert bytes(kept.digest) == digest(second.secret, next(iter(settings.PEPPERS.values())))
    assert kept.expires_at is not None
    assert timedelta(minutes=59) < kept.expires_at - timezone.now() <= timedelta(hours=1)
    assert first.key_id not in [key.key_id for key in reading.listing(user.pk)]
    with pytest.raises(reading.UnknownKey):
        reading.get(user_id=user.pk, key_id=first.key_id)


@pytest.mark.django_db
def test_a_session_key_is_not_counted_and_comes_back_after_a_revocation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lifecycle, "MAX_ACTIVE_KEYS", 1)
    user = UserFactory.create()
    session = lifecycle.session_key(user_id=user.pk)
    lifecycle.create(user_id=user.pk, name="the one")
    lifecycle.revoke(user_id=user.pk, key_id=session.key_id)
    lifecycle.session_key(user_id=user.pk)
    assert APIKey.objects.get(pk=session.key_id).revoked_at is None


@pytest.mark.django_db
def test_the_end_of_a_session_key_is_told_once_and_touches_no_other_key(
    django_capture_on_commit_callbacks: Any,
) -> None:
    user, key = one_key()
    stranger = UserFactory.create()
    session, theirs = (lifecycle.session_key(user_id=each.pk) for each in (user, stranger))
    with django_capture_on_commit_callbacks() as announcements:
        for _ in range(2):
            lifecycle.end_session_key(user_id=user.pk)
    assert len(announcements) == 1
    ended = APIKey.objects.exclude(revoked_at=None).filter(pk__in=[session.key_id, theirs.key_id, key.key_id])
    assert [each.pk for each in ended] == [session.key_id]


def test_session_keys_asked_for_at_once_are_one_row(committed_db: None) -> None:
    user = UserFactory.create()
    made = in_threads(*[lambda: lifecycle.session_key(user_id=user.pk)] * 6)
    assert len({key.key_id for key in made}) == 1


def test_of_many_rotations_at_once_one_is_carried_out(committed_db: None) -> None:
    user, key = one_key()
    rotate = partial(lifecycle.rotate, user_id=user.pk, key_id=key.key_id, grace=timedelta(days=1))
    outcomes = in_threads(*[rotate] * 6)
    assert sum(isinstance(outcome, lifecycle.CreatedKey) for outcome in outcomes) == 1
    assert {type(outcome) for outcome in outcomes} == {lifecycle.CreatedKey, lifecycle.KeyEnded}


def row(**changes: Any) -> APIKey:
    fields = {"user": UserFactory.create(), "name": "n", "digest": uuid4().bytes * 2, "pepper_version": 1}
    return APIKey(**{**fields, "last_four": "abcd", **changes})


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"name": ""}, "apikey_has_name"),
        ({"last_four": "ab"}, "apikey_last_four"),
        ({"last_four": "ab-d"}, "apikey_last_four"),
        ({"kind": "session"}, "apikey_session_expires"),
        ({"rpm": 0}, "apikey_rpm_positive"),
        ({"tpm": 0}, "apikey_tpm_positive"),
        ({"concurrency": 0}, "apikey_concurrency_positive"),
        ({"allowed_models": ["m"] * 101}, "apikey_models_bounded"),
        ({"allowed_networks": ["10.0.0.0/8"] * 51}, "apikey_networks_bounded"),
        ({"allowed_networks": ["10.0.0.0/8", "anywhere"]}, "apikey_networks_are_cidr"),
        ({"allowed_networks": ["10.0.0.1"]}, "apikey_networks_are_cidr"),
    ],
)
def test_the_database_refuses_a_bad_row(changes: dict[str, Any], constraint: str) -> None:
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        row(**changes).save()
    assert broken_constraint(refusal.value) == constraint


@pytest.mark.django_db
def test_the_database_refuses_a_second_key_of_one_form_successor_session_or_digest() -> None:
    user, token, twice = UserFactory.create(), uuid4(), b"d" * 32
    row(
        user=user, creation_token=token, digest=twice, allowed_networks=["10.0.0.0/8", "2001:db8::/32"]
    ).save()
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        row(user=user, creation_token=token).save()
    assert broken_constraint(refusal.value) == "apikey_created_once"
    old = row(user=user)
    old.save()
    row(user=user, replaces=old).save()
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        row(user=user, replaces=old).save()
    assert broken_constraint(refusal.value) == "apikey_replaced_once"
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        APIKey.objects.filter(pk=old.pk).update(replaces=old)
    assert broken_constraint(refusal.value) == "apikey_replaces_another"
    hour = timezone.now() + timedelta(hours=1)
    row(user=user, kind="session", expires_at=hour).save()
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        row(user=user, kind="session", expires_at=hour).save()
    assert broken_constraint(refusal.value) == "apikey_one_session_a_user"
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        row(digest=twice).save()
    assert "digest" in str(broken_constraint(refusal.value))


def broken_constraint(error: IntegrityError) -> str | None:
    cause = error.__cause__
    assert isinstance(cause, psycopg.Error)
    return cause.diag.constraint_name
