"""The life of an admin key, and what the database refuses of one."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import User
from keys import admin_keys, changes, lifecycle, reading
from keys.actors import Actor, Kind
from keys.models import AdminKey, StoredAnswer
from keys.secret import (
    ADMIN_LENGTH,
    checksum,
    digest,
    generate,
    generate_admin,
    has_valid_admin_checksum,
    has_valid_checksum,
)
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    made: User = UserFactory.create()
    return made


@pytest.fixture
def create(user: User) -> Callable[..., lifecycle.CreatedKey]:
    def make(**given: Any) -> lifecycle.CreatedKey:
        given = {"name": "ci", "scopes": ["keys:read"], "allowed_networks": (), "expires_at": None, **given}
        token = given.pop("creation_token", None) or uuid4()
        by = Actor(Kind.DASHBOARD, user_id=user.pk)
        return admin_keys.create(user_id=user.pk, creation_token=token, by=by, **given)

    return make


def test_the_two_kinds_of_secrets_are_told_apart_by_their_looks() -> None:
    admin, plain = generate_admin(), generate()
    assert admin.startswith("hm-admin-")
    assert len(admin) == ADMIN_LENGTH
    assert has_valid_admin_checksum(admin)
    assert not has_valid_checksum(admin)
    assert not has_valid_admin_checksum(plain)
    body = "a1" * 15
    assert has_valid_admin_checksum(f"hm-admin-{body}{checksum(body)}")
    assert not has_valid_admin_checksum(f"hm-admin-{body}{checksum(body[::-1])}")
    assert not has_valid_admin_checksum(f"hm-admin-{body}{checksum(body)}\n")


def test_only_its_digest_is_stored(create: Callable[..., lifecycle.CreatedKey]) -> None:
    created = create(name=" ci ", scopes=["usage:read", "keys:read"])
    row = AdminKey.objects.values().get(pk=created.key_id)
    version, pepper = next(iter(settings.PEPPERS.items()))
    assert bytes(row["digest"]) == digest(created.secret, pepper)
    assert (row["pepper_version"], row["name"], row["scopes"]) == (
        version,
        "ci",
        ["keys:read", "usage:read"],
    )
    assert created.secret not in repr(row)
    assert created.secret not in repr(created)


def test_a_token_makes_one_key(user: User, create: Callable[..., lifecycle.CreatedKey]) -> None:
    token = uuid4()
    create(creation_token=token)
    with pytest.raises(lifecycle.AlreadyCreated):
        create(creation_token=token)
    assert len(admin_keys.listing(user.pk).working) == 1


def test_so_many_work_at_once_and_are_made_in_a_day(
    user: User, create: Callable[..., lifecycle.CreatedKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin_keys, "MAX_ACTIVE", 2)
    monkeypatch.setattr(admin_keys, "MAX_CREATED_A_DAY", 3)
    first = create()
    create()
    with pytest.raises(lifecycle.TooManyKeys):
        create()
    revoke = partial(admin_keys.revoke, user_id=user.pk, by=Actor(Kind.DASHBOARD, user_id=user.pk))
    revoke(key_id=first.key_id)
    third = create()
    revoke(key_id=third.key_id)
    with pytest.raises(lifecycle.TooManyToday) as refused:
        create()
    assert timedelta(hours=23) < refused.value.until - timezone.now() <= timedelta(hours=24)


def test_none_is_given_out_after_a_changed_number(
    user: User, create: Callable[..., lifecycle.CreatedKey]
) -> None:
    user.no_new_keys_until = timezone.now() + timedelta(hours=1)
    user.save(update_fields=["no_new_keys_until"])
    with pytest.raises(lifecycle.NoNewKeys):
        create()


def test_revoking_ends_it_for_good_and_tells_the_processes(
    user: User, create: Callable[..., lifecycle.CreatedKey], django_capture_on_commit_callbacks: Any
) -> None:
    key = create().key_id
    by = Actor(Kind.DASHBOARD, user_id=user.pk)
    with django_capture_on_commit_callbacks() as announcements:
        admin_keys.revoke(user_id=user.pk, key_id=key, by=by)
    assert len(announcements) == 1
    first = AdminKey.objects.get(pk=key).revoked_at
    admin_keys.revoke(user_id=user.pk, key_id=key, by=by)
    assert AdminKey.objects.get(pk=key).revoked_at == first
    listed = admin_keys.listing(user.pk)
    assert (listed.working, [ended.pk for ended in listed.ended]) == ([], [key])
    with pytest.raises(reading.UnknownKey):
        admin_keys.get_working(user_id=user.pk, key_id=key)
    with pytest.raises(reading.UnknownKey):
        admin_keys.revoke(user_id=UserFactory.create().pk, key_id=key, by=by)


def test_its_life_is_written_down(user: User, create: Callable[..., lifecycle.CreatedKey]) -> None:
    key = create(allowed_networks=["192.0.2.0/24"])
    admin_keys.revoke(user_id=user.pk, key_id=key.key_id, by=Actor(Kind.DASHBOARD, user_id=user.pk))
    revoked, created = changes.page(user_id=user.pk).rows
    assert (created.subject, created.subject_id, created.last_four) == (
        "admin_key",
        key.key_id,
        key.last_four,
    )
    assert created.changes == {"scopes": [[], ["keys:read"]], "allowed_networks": [[], ["192.0.2.0/24"]]}
    assert (revoked.action, revoked.actor_user_id) == ("revoked", user.pk)


@pytest.mark.parametrize(
    ("field", "value", "constraint"),
    [
        ("name", "", "adminkey_has_name"),
        ("last_four", "ab", "adminkey_last_four"),
        ("scopes", [], "adminkey_scopes_known"),
        ("scopes", ["keys:read", "wallet:write"], "adminkey_scopes_known"),
        ("allowed_networks", ["192.0.2.0/24"] * 51, "adminkey_networks_bounded"),
        ("allowed_networks", ["here"], "adminkey_networks_are_cidr"),
    ],
)
def test_the_database_refuses_bad_rows(
    create: Callable[..., lifecycle.CreatedKey], field: str, value: Any, constraint: str
) -> None:
    key = AdminKey.objects.filter(pk=create().key_id)
    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        key.update(**{field: value})
    assert constraint in str(refused.value)


def test_the_database_refuses_a_second_row_of_its_kind(create: Callable[..., lifecycle.CreatedKey]) -> None:
    key = AdminKey.objects.get(pk=create().key_id)
    other = AdminKey.objects.get(pk=create().key_id)
    with pytest.raises(IntegrityError, match="adminkey_created_once"), transaction.atomic():
        AdminKey.objects.filter(pk=other.pk).update(creation_token=key.creation_token)
    keep = partial(
        StoredAnswer.objects.create,
        admin_key=key,
        idempotency_key="a",
        request_digest=b"",
        answer_encrypted=b"",
    )
    keep()
    with pytest.raises(IntegrityError, match="storedanswer_once"), transaction.atomic():
        keep()
