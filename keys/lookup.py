"""From the secret in a request to the identity behind it: checksum, process cache, then one SQL query.

A cached answer is at most five seconds old, so a revoked or changed key is so within that time even when Valkey is
away; with Valkey, `listen_for_revocations` drops it at once.

Random keys are each new, so no cache of answers spares the database from them: after FAILURES_PER_MINUTE of them an
address asks it only about keys that have worked in this process before.
"""

import asyncio
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2s
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import psycopg
from django.conf import settings
from django.utils import timezone
from redis.asyncio import Redis

from accounts.shared import broadcasts
from accounts.shared.address_limit import AddressLimit
from keys import allowances, networks, revocations
from keys.secret import LENGTH, digest, has_valid_checksum

logger = logging.getLogger(__name__)

MAX_AGE_SECONDS = 5.0
MAX_ENTRIES = 100_000
FETCH_TIMEOUT_SECONDS = 5.0
FAILURES_PER_MINUTE = 60

OWN_COLUMNS = 11  # of FETCH, before what the key may do

Connect = Callable[[], AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]]

FETCH = f"""
SELECT k.id, k.user_id, k.user_id AS wallet_id, t.name, k.expires_at, k.budget_id, k.project_id, k.created_by_id,
    p.budget_id, k.allowed_models, k.allowed_networks, {allowances.COLUMNS}
FROM keys_apikey k {allowances.TABLES}
LEFT JOIN accounts_user c ON c.id = k.created_by_id LEFT JOIN keys_project p ON p.id = k.project_id
WHERE k.digest = ANY(%s) AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()) AND u.is_active
    AND c.is_active IS NOT FALSE AND p.closed_at IS NULL
"""  # noqa: S608 - put together from constants


DESCRIBE = """
SELECT k.name, k.last_four, k.created_at, p.name
FROM keys_apikey k LEFT JOIN keys_project p ON p.id = k.project_id WHERE k.id = %s
"""


@dataclass(frozen=True, slots=True)
class Description:
    """How people know a key, and its project (None: it has none)."""

    name: str
    last_four: str
    created_at: datetime
    project: str | None


@dataclass(frozen=True, slots=True)
class KeyIdentity:
    """A working key, whose it is, which wallet pays, and what it may do.

    `rpm`, `tpm`, `concurrency`, and by the day `rpd` and `tpd` (None: any number) are the lower of its tier's limits,
    exceptions considered, and its own. All keys of the account together may do `account_factor` times what the tier
    allows one key (`tier_rpm` and so on). `models` has what holds for single models besides. No
    `allowed_models` and no `allowed_networks`: all of them. What it spends counts towards `budget_id`, if it has one,
    and in a project, whoever of its members made it (`member_id`; None: the owner), towards that of the project.
    """

    key_id: int
    user_id: int
    wallet_id: int
    tier_name: str
    rpm: int
    tpm: int
    concurrency: int | None
    tier_rpm: int
    tier_tpm: int
    tier_concurrency: int | None
    account_factor: int
    expires_at: datetime | None = None
    budget_id: int | None = None
    project_id: int | None = None
    member_id: int | None = None
    project_budget_id: int | None = None
    allowed_models: frozenset[str] = frozenset()
    allowed_networks: tuple[networks.Network, ...] = ()
    rpd: int | None = None
    tpd: int | None = None
    tier_rpd: int | None = None
    tier_tpd: int | None = None
    models: Mapping[str, allowances.ModelAllowance] = field(default_factory=dict, hash=False)

    @property
    def is_budgeted(self) -> bool:
        return self.budget_id is not None or self.project_budget_id is not None

    @property
    def holder(self) -> tuple[int, ...]:
        """Who of the account's people has it: a project's people need not know what another one asks there."""
        return () if self.project_id is None else (self.project_id, self.member_id or 0)

    def may_use(self, model_id: str) -> bool:
        return not self.allowed_models or model_id in self.allowed_models

    def may_come_from(self, address: str) -> bool:
        return not self.allowed_networks or networks.allow(self.allowed_networks, address)


class TooManyFailures(Exception):
    """Too many keys from this address were wrong: for `wait_seconds`, unknown ones are not even looked up."""

    def __init__(self, wait_seconds: float) -> None:
        super().__init__(wait_seconds)
        self.wait_seconds = wait_seconds


async def fetch(connection: psycopg.AsyncConnection[Any], secret: str) -> KeyIdentity | None:
    """What the database says now: None for a key that is unknown, revoked, expired, or of an inactive user."""
    digests = [digest(secret, pepper) for pepper in settings.PEPPERS.values()]
    cursor = await connection.execute(FETCH, [digests])
    row = await cursor.fetchone()
    if row is None:
        return None
    *plain, allowed_models, allowed_networks = row[:OWN_COLUMNS]
    allowed = allowances.Allowance.of_row(row[OWN_COLUMNS:])
    own, of_account = allowed.of_key, allowed.of_account
    return KeyIdentity(  # type: ignore[call-arg]
        *plain[:4],
        *own[:3],
        *of_account[:3],
        allowed.account_factor,
        *plain[4:],
        frozenset(allowed_models),
        tuple(networks.parse(each) for each in allowed_networks),
        *own[3:],
        *of_account[3:],
        allowed.models,
    )


async def describe(connection: psycopg.AsyncConnection[Any], key_id: int) -> Description:
    """Of a key that there is."""
    cursor = await connection.execute(DESCRIBE, [key_id])
    row = await cursor.fetchone()
    assert row is not None, "keys are never deleted"
    return Description(*row)


class _Expiring(Protocol):
    @property
    def expires_at(self) -> datetime | None: ...


Identity = TypeVar("Identity", bound=_Expiring)


class SecretCache(Generic[Identity]):
    """One process's memory of keys of one kind, good and bad, by digest; it never holds a secret. For one event loop.

    `connect` gives a connection for the length of an `async with` (a pool's `connection`).
    """

    length: ClassVar[int]  # of every key of the kind

    @staticmethod
    def looks_right(text: str) -> bool:
        """Whether it has the shape and the checksum of the kind."""
        raise NotImplementedError

    @staticmethod
    async def fetch(connection: psycopg.AsyncConnection[Any], secret: str) -> Identity | None:
        """What the database says now."""
        raise NotImplementedError

    def __init__(
        self,
        connect: Connect,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._max_entries = max_entries
        self._pepper = next(iter(settings.PEPPERS.values()))
        self._one_pepper = len(settings.PEPPERS) == 1
        # All entries live equally long, so the oldest is always the first to expire and the one to evict.
        self._entries: OrderedDict[bytes, tuple[float, Identity | None]] = OrderedDict()
        self._fetching: dict[bytes, asyncio.Task[Identity | None]] = {}
        # Keys that have worked here, by last use, revoked ones too: a neighbour's guesses never delay their look-ups.
        self._have_worked: OrderedDict[bytes, None] = OrderedDict()
        # Digests of keys that have worked, by a quicker hash with a secret of this process. They say nothing of whether
        # a key works now, so a revocation need not reach them.
        self._tagging = blake2s(key=os.urandom(32), digest_size=16)
        self._digests: OrderedDict[bytes, bytes] = OrderedDict()
        self._failures = AddressLimit(per_minute=FAILURES_PER_MINUTE, clock=clock)

    def __len__(self) -> int:
        return len(self._entries)

    async def authenticate(self, secret: str, *, address: str = "") -> Identity | None:
        """The identity behind a secret that came from an address; None: refuse it.

        Raises TooManyFailures, and psycopg.Error when nobody can tell.
        """
        key = self._digest(secret)
        if key is None:
            return None
        entry = self._entries.get(key)
        if entry is not None and self._clock() < entry[0]:
            return entry[1]
        if key not in self._have_worked and (wait_seconds := self._failures.wait_seconds(address)):
            raise TooManyFailures(wait_seconds)
        task = self._fetching.get(key)
        if task is None:
            task = self._fetching[key] = asyncio.create_task(self._fetch(key, secret))
            task.add_done_callback(_retrieve)
        # A caller that is cancelled does not take the answer from others that wait for it.
        await asyncio.wait([task], timeout=FETCH_TIMEOUT_SECONDS)
        if not task.done() or task.cancelled():
            # A connection can fall silent without breaking. Cancelled, it is closed, and the next caller asks anew.
            task.cancel()
            if self._fetching.get(key) is task:
                del self._fetching[key]
            raise psycopg.OperationalError("the database does not answer")
        identity = task.result()
        if identity is None:
            self._failures.count(address)
        return identity

    def _digest(self, secret: str) -> bytes | None:
        """The digest that the database stores, computed once for a key that works; None: no key looks like this."""
        if len(secret) != self.length:
            return None
        hashing = self._tagging.copy()
        hashing.update(secret.encode("utf-8", "surrogatepass"))
        tag = hashing.digest()
        known = self._digests.get(tag)
        if known is None and self.looks_right(secret):
            known = digest(secret, self._pepper)
            if known in self._have_worked:
                self._digests[tag] = known
                if len(self._digests) > self._max_entries:
                    self._digests.popitem(last=False)
        return known

    def forget(self, revoked: bytes) -> None:
        """Drops one digest as the database stores it, and any answer about it that is still on its way."""
        if self._one_pepper:
            self._entries.pop(revoked, None)
            self._fetching.pop(revoked, None)
        else:  # a key may be stored under an older pepper than the one that entries are kept by
            self.clear()

    def clear(self) -> None:
        self._entries.clear()
        self._fetching.clear()

    async def _fetch(self, key: bytes, secret: str) -> Identity | None:
        task = asyncio.current_task()
        asked_at = self._clock()  # the age counts from before the question, not from the answer
        try:
            async with self._connect() as connection:
                identity = await self.fetch(connection, secret)
            if self._fetching.get(key) is task:
                self._remember(key, asked_at + _keeps_seconds(identity), identity)
            return identity
        finally:
            if self._fetching.get(key) is task:
                del self._fetching[key]

    def _remember(self, key: bytes, until: float, identity: Identity | None) -> None:
        if identity is not None:
            self._have_worked[key] = None
            self._have_worked.move_to_end(key)
            if len(self._have_worked) > self._max_entries:
                self._have_worked.popitem(last=False)
        self._entries[key] = (until, identity)
        self._entries.move_to_end(key)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)


class KeyCache(SecretCache[KeyIdentity]):
    """Of the keys that call models."""

    length = LENGTH
    looks_right = staticmethod(has_valid_checksum)
    fetch = staticmethod(fetch)


def _keeps_seconds(identity: _Expiring | None) -> float:
    """How long an answer may be believed: never beyond the moment when the key expires."""
    if identity is None or identity.expires_at is None:
        return MAX_AGE_SECONDS
    return min(MAX_AGE_SECONDS, (identity.expires_at - timezone.now()).total_seconds())


def _retrieve(task: "asyncio.Task[Any]") -> None:
    """Keeps asyncio quiet about a failure that no caller waits for any more; callers that do get it raised."""
    if not task.cancelled():
        task.exception()


async def listen_for_revocations(client: Redis, *caches: SecretCache[Any]) -> None:
    """Drops revoked keys from the caches, for ever, coming back with growing pauses while Valkey is away.

    Each beginning empties them: messages may have been missed before it.
    """

    def begin() -> None:
        for cache in caches:
            cache.clear()

    def heard(message: str) -> None:
        for cache in caches:
            cache.forget(bytes.fromhex(message))

    await broadcasts.follow(client, revocations.CHANNEL, on_start=begin, on_message=heard)
