"""What happens to a key: it is created, used, revoked. Its secret leaves here once and is never stored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from accounts.models import User
from keys import revocations
from keys.models import APIKey
from keys.secret import digest, generate

MAX_ACTIVE_KEYS = 50
SESSION_LIFE = timedelta(hours=1)
SESSION_NAME = "Playground"

TOUCH = """
WITH used AS (
    SELECT * FROM unnest(%s::bigint[], %s::timestamptz[]) AS used (key_id, used_at)
), locked AS MATERIALIZED (
    SELECT id FROM keys_apikey WHERE id IN (SELECT key_id FROM used) ORDER BY id FOR NO KEY UPDATE
)
UPDATE keys_apikey k SET last_used_at = used.used_at
FROM used JOIN locked ON locked.id = used.key_id
WHERE k.id = used.key_id AND (k.last_used_at IS NULL OR k.last_used_at < used.used_at)
"""


class TooManyKeys(Exception):
    """The user has as many active keys as anybody may have."""


class AlreadyCreated(Exception):
    """This form has made its key before; what it made cannot be shown again."""


class UnknownKey(Exception):
    """The user has no such key."""


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A key at the only moment when its secret is known."""

    key_id: int
    secret: str = field(repr=False)
    last_four: str


@dataclass(frozen=True, slots=True)
class ListedKey:
    key_id: int
    name: str
    last_four: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


def create(*, user_id: int, name: str, creation_token: UUID | None = None) -> CreatedKey:
    """Makes a key and opens a transaction for it. With a `creation_token`, at most one a token and user.

    Raises TooManyKeys, AlreadyCreated, User.DoesNotExist; IntegrityError (`apikey_has_name`) without a name.
    """
    secret = generate()
    version, pepper = next(iter(settings.PEPPERS.items()))
    with transaction.atomic():
        # The user's row is locked so that neither the limit nor a token is passed by two requests at once.
        User.objects.select_for_update(no_key=True).get(pk=user_id)
        keys = APIKey.objects.filter(user_id=user_id, kind=APIKey.Kind.STANDARD)
        if creation_token and keys.filter(creation_token=creation_token).exists():
            raise AlreadyCreated
        if keys.filter(revoked_at=None).count() >= MAX_ACTIVE_KEYS:
            raise TooManyKeys
        key = APIKey.objects.create(
            user_id=user_id,
            name=name.strip(),
            digest=digest(secret, pepper),
            pepper_version=version,
            last_four=secret[-4:],
            creation_token=creation_token,
        )
    return CreatedKey(key_id=key.pk, secret=secret, last_four=key.last_four)


def session_key(*, user_id: int) -> CreatedKey:
    """A key for the playground in the user's own browser, good for SESSION_LIFE. Opens a transaction.

    A user has one, which every call replaces: the secret of the call before stops working. It is not among the keys
    that the pages list, nor counted as one. Raises User.DoesNotExist.
    """
    secret = generate()
    version, pepper = next(iter(settings.PEPPERS.items()))
    now = timezone.now()
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=user_id)
        key = APIKey.objects.filter(user_id=user_id, kind=APIKey.Kind.SESSION).first()
        if key is None:
            key = APIKey(user_id=user_id, kind=APIKey.Kind.SESSION, name=SESSION_NAME)
        else:
            transaction.on_commit(partial(revocations.announce, bytes(key.digest)))
        key.digest, key.pepper_version, key.last_four = digest(secret, pepper), version, secret[-4:]
        key.created_at, key.expires_at, key.revoked_at = now, now + SESSION_LIFE, None
        key.save()
    return CreatedKey(key_id=key.pk, secret=secret, last_four=key.last_four)


def revoke(*, user_id: int, key_id: int) -> None:
    """Ends a key for good, in a transaction of its own, and tells the web processes after the commit.

    A repeat changes nothing. Raises UnknownKey.
    """
    with transaction.atomic():
        key = APIKey.objects.select_for_update(no_key=True).filter(pk=key_id, user_id=user_id).first()
        if key is None:
            raise UnknownKey(key_id)
        if key.revoked_at is None:
            key.revoked_at = timezone.now()
            key.save(update_fields=["revoked_at"])
        transaction.on_commit(partial(revocations.announce, bytes(key.digest)))


def listing(user_id: int) -> list[ListedKey]:
    """A user's keys, newest first: those that work, then those that were revoked."""
    keys = [_listed(key) for key in APIKey.objects.filter(user_id=user_id, kind=APIKey.Kind.STANDARD)]
    return sorted(keys, key=lambda key: key.revoked_at is not None)


def get(*, user_id: int, key_id: int) -> ListedKey:
    """One key of a user. Raises UnknownKey."""
    key = APIKey.objects.filter(pk=key_id, user_id=user_id, kind=APIKey.Kind.STANDARD).first()
    if key is None:
        raise UnknownKey(key_id)
    return _listed(key)


def touch(last_used: Mapping[int, datetime]) -> None:
    """Moves keys' last use forward to the given moments, never back. Unknown keys are left out."""
    with connection.cursor() as cursor:
        cursor.execute(TOUCH, [list(last_used), list(last_used.values())])


def _listed(key: APIKey) -> ListedKey:
    return ListedKey(
        key_id=key.pk,
        name=key.name,
        last_four=key.last_four,
        created_at=key.created_at,
        last_used_at=key.last_used_at,
        revoked_at=key.revoked_at,
    )
