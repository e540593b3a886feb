"""From the secret of an admin key to what it may do, remembered as `keys.lookup` remembers keys."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from django.conf import settings
from django.utils import timezone

from keys import networks
from keys.lookup import Connect, SecretCache
from keys.models import AdminKey
from keys.secret import ADMIN_LENGTH, digest, has_valid_admin_checksum

LAST_USED_EXACT_TO = timedelta(minutes=1)

FETCH = """
SELECT k.id, k.user_id, k.name, k.expires_at, k.last_used_at, k.scopes, k.allowed_networks
FROM keys_adminkey k JOIN accounts_user u ON u.id = k.user_id
WHERE k.digest = ANY(%s) AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()) AND u.is_active
"""
TOUCH = """
UPDATE keys_adminkey SET last_used_at = %(now)s
WHERE id = %(id)s AND (last_used_at IS NULL OR last_used_at < %(stale)s)
"""


@dataclass(frozen=True, slots=True)
class AdminIdentity:
    """A working admin key, whose account it manages, and what it may do there. No `allowed_networks`: all of them."""

    admin_key_id: int
    user_id: int
    name: str
    expires_at: datetime | None
    last_used_at: datetime | None
    scopes: frozenset[str]
    allowed_networks: tuple[networks.Network, ...] = ()

    def may(self, scope: AdminKey.Scope) -> bool:
        return scope in self.scopes

    def may_come_from(self, address: str) -> bool:
        return not self.allowed_networks or networks.allow(self.allowed_networks, address)


async def fetch(connection: psycopg.AsyncConnection[Any], secret: str) -> AdminIdentity | None:
    """What the database says now: None for a key that is unknown, revoked, expired, or of an inactive user."""
    digests = [digest(secret, pepper) for pepper in settings.PEPPERS.values()]
    cursor = await connection.execute(FETCH, [digests])
    row = await cursor.fetchone()
    if row is None:
        return None
    *plain, scopes, allowed = row
    return AdminIdentity(*plain, frozenset(scopes), tuple(networks.parse(each) for each in allowed))  # type: ignore[call-arg]


async def touch(connect: Connect, key: AdminIdentity) -> None:
    """Notes that a key is used, to the minute."""
    now = timezone.now()
    stale = now - LAST_USED_EXACT_TO
    if key.last_used_at is None or key.last_used_at < stale:
        async with connect() as connection:
            await connection.execute(TOUCH, {"id": key.admin_key_id, "now": now, "stale": stale})


class AdminKeyCache(SecretCache[AdminIdentity]):
    """Of the keys that manage keys."""

    length = ADMIN_LENGTH
    looks_right = staticmethod(has_valid_admin_checksum)
    fetch = staticmethod(fetch)
