"""Challenges in the database: issued within the limits, tried five times at most, consumed once.

While many wrong codes come in, over all numbers, each is tried three times at most: guesses that are spread over many
numbers stay below the limits of any one. Browsers that have signed in with a number before keep a part of the budget
for themselves, and are not counted with strangers of their network or with numbers like theirs.

The clock is passed in as `now`, an aware time.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_network

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Sum

from accounts import codes, message_counts
from accounts.models import Challenge

LIFETIME = timedelta(minutes=2)
MAX_TRIES = 5
MAX_TRIES_UNDER_ATTACK = 3
WRONG_CODES_OF_AN_ATTACK = 100  # in WRONG_CODES_WINDOW, over all numbers
WRONG_CODES_WINDOW = timedelta(minutes=10)
# How long to wait for the next code after the first, the second, and every further one in a row.
COOL_DOWNS = (timedelta(seconds=60), timedelta(seconds=120), timedelta(seconds=300))
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PER_NUMBER_HOUR = 5
PER_NUMBER_DAY = 10
# Strangers: browsers that have not signed in with the number before.
NETWORK_BITS = {4: 24, 6: 48}
ADDRESSES_PER_NETWORK = 5  # all strangers of a network get as many codes per hour as five addresses
NUMBER_PREFIX_LENGTH = len("+98") + 7  # a thousand numbers
PER_PREFIX_HOUR = 100
KNOWN_BROWSERS_TENTHS = 3  # of the budget, which no stranger can use up
KEPT = timedelta(days=2)


class Refused(Exception):
    """No code is sent now; the subclass says why."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__(wait)
        self.wait_seconds = max(1, -(-wait // timedelta(seconds=1)))


class TooSoon(Refused):
    """The last code went out a moment ago."""


class TooMany(Refused):
    """This number or this address has had its codes for now."""


class TooManyNearby(Refused):
    """Strangers have used up the codes of this network, or of numbers like this one, for now."""


class OverBudget(Refused):
    """All numbers together have used up the codes of the hour: this is SMS pumping, or the budget is too small."""


class NotValid(Exception):
    """The challenge can no longer be answered: expired, voided, used, tried too often, or another browser's."""


@dataclass(frozen=True, slots=True)
class Issued:
    id: uuid.UUID
    code: str
    browser_secret: str
    expires_at: datetime
    resend_at: datetime


@dataclass(frozen=True, slots=True)
class Try:
    digest: bytes
    pepper_version: int
    mobile: str
    tries_remaining: int
    max_tries: int


def issue(*, mobile: str, address: str, now: datetime, is_known_browser: bool = False) -> Issued:
    """A new challenge for an E.164 number, in a transaction of its own; it voids the number's earlier ones.

    Whether the number has an account is not even looked up. Raises TooSoon, TooMany, TooManyNearby, OverBudget.
    """
    challenge_id, code, browser_secret = uuid.uuid4(), codes.new(), codes.new_browser_secret()
    pepper_version, pepper = next(iter(settings.PEPPERS.items()))  # newest first
    with transaction.atomic():
        _lock(f"number {mobile}")
        _lock(f"address {address}")
        in_a_row = _check_number(mobile=mobile, now=now)
        _check_address(address=address, now=now)
        if not is_known_browser:
            _check_nearby(mobile=mobile, address=address, now=now)
        _check_budget(now=now, is_known_browser=is_known_browser)
        open_ones = Challenge.objects.filter(mobile=mobile, consumed_at=None, voided_at=None)
        open_ones.update(voided_at=now)
        Challenge.objects.create(
            id=challenge_id,
            mobile=mobile,
            digest=codes.digest(pepper=pepper, challenge_id=challenge_id, mobile=mobile, code=code),
            pepper_version=pepper_version,
            browser_digest=codes.browser_digest(browser_secret),
            address=address,
            is_known_browser=is_known_browser,
            created_at=now,
            expires_at=now + LIFETIME,
        )
    return Issued(challenge_id, code, browser_secret, now + LIFETIME, now + _cool_down(in_a_row + 1))


def void(*, challenge_id: uuid.UUID, now: datetime) -> None:
    """Takes back a challenge whose code was not sent. It still counts against the limits."""
    Challenge.objects.filter(id=challenge_id, consumed_at=None, voided_at=None).update(voided_at=now)


TRY = """
UPDATE accounts_challenge SET tries = tries + 1
WHERE id = %(id)s AND browser_digest = %(browser)s AND tries < %(max_tries)s
  AND consumed_at IS NULL AND voided_at IS NULL AND expires_at > %(now)s
RETURNING digest, pepper_version, mobile, tries
"""


def count_try(*, challenge_id: uuid.UUID, browser_secret: str, now: datetime) -> Try:
    """Uses up one of the tries, before anything is compared, so that guesses in parallel count like any others.

    Must not stand in a transaction that could still be rolled back. Raises NotValid.
    """
    max_tries = MAX_TRIES_UNDER_ATTACK if _are_codes_guessed(now=now) else MAX_TRIES
    values: dict[str, uuid.UUID | bytes | int | datetime] = {
        "id": challenge_id,
        "browser": codes.browser_digest(browser_secret),
        "max_tries": max_tries,
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(TRY, values)
        row = cursor.fetchone()
    if row is None:
        raise NotValid
    return Try(bytes(row[0]), row[1], row[2], max_tries - row[3], max_tries)


CONSUME = """
UPDATE accounts_challenge SET consumed_at = %(now)s
WHERE id = %(id)s AND consumed_at IS NULL AND voided_at IS NULL AND expires_at > %(now)s
RETURNING id
"""


def consume(*, challenge_id: uuid.UUID, now: datetime) -> None:
    """Marks a challenge as answered; of several at once one succeeds, the others raise NotValid."""
    with connection.cursor() as cursor:
        cursor.execute(CONSUME, {"id": challenge_id, "now": now})
        if cursor.fetchone() is None:
            raise NotValid


def purge(*, now: datetime) -> int:
    """Deletes challenges that no limit counts any more, by whole days and once they are counted; returns how many."""
    message_counts.count()
    until = message_counts.midnight(message_counts.day_of(now - KEPT))
    return Challenge.objects.filter(created_at__lt=until).delete()[0]


def _lock(name: str) -> None:
    # Held until the transaction ends. Always number before address, so that no two requests wait for each other.
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"challenge {name}"])


def _cool_down(in_a_row: int) -> timedelta:
    return COOL_DOWNS[min(in_a_row, len(COOL_DOWNS)) - 1]


def _check_number(*, mobile: str, now: datetime) -> int:
    """How many codes this number has had in a row within the hour. Raises TooSoon, TooMany."""
    sent = list(
        Challenge.objects.filter(mobile=mobile, created_at__gt=now - DAY)
        .order_by("-created_at")
        .values_list("created_at", "consumed_at")
    )
    times = [created_at for created_at, _consumed_at in sent]
    _check_window(times, limit=PER_NUMBER_DAY, window=DAY, now=now)
    last_hour = [at for at in times if at > now - HOUR]
    _check_window(last_hour, limit=PER_NUMBER_HOUR, window=HOUR, now=now)
    in_a_row = 0
    for _created_at, consumed_at in sent[: len(last_hour)]:
        if consumed_at is not None:  # the code was used: its owner is here, and the row begins anew
            break
        in_a_row += 1
    if in_a_row and now < times[0] + _cool_down(in_a_row):
        raise TooSoon(times[0] + _cool_down(in_a_row) - now)
    return in_a_row


def _check_address(*, address: str, now: datetime) -> None:
    limit = settings.CODES_PER_ADDRESS_HOUR
    recent = Challenge.objects.filter(address=address, created_at__gt=now - HOUR).order_by("-created_at")
    times = list(recent.values_list("created_at", flat=True)[:limit])
    _check_window(times, limit=limit, window=HOUR, now=now)


def _check_nearby(*, mobile: str, address: str, now: datetime) -> None:
    strangers = Challenge.objects.filter(created_at__gt=now - HOUR, is_known_browser=False)
    network = ip_network(address)
    network = network.supernet(new_prefix=NETWORK_BITS[network.version])
    in_network = strangers.extra(where=["address <<= %s::inet"], params=[str(network)])
    prefix = mobile[:NUMBER_PREFIX_LENGTH]
    for found, limit in (
        (in_network, ADDRESSES_PER_NETWORK * settings.CODES_PER_ADDRESS_HOUR),
        (strangers.filter(mobile__startswith=prefix), PER_PREFIX_HOUR),
    ):
        last = found.order_by("-created_at").values_list("created_at", flat=True)[limit - 1 : limit].first()
        if last is not None:
            raise TooManyNearby(last + HOUR - now)


def _are_codes_guessed(*, now: datetime) -> bool:
    wrong = Challenge.objects.filter(created_at__gt=now - WRONG_CODES_WINDOW, tries__gt=0).aggregate(
        wrong=Sum("tries") - Count("consumed_at")
    )["wrong"]
    return (wrong or 0) >= WRONG_CODES_OF_AN_ATTACK


def _check_window(times: list[datetime], *, limit: int, window: timedelta, now: datetime) -> None:
    """`times` are those within the window, newest first."""
    if len(times) >= limit:
        raise TooMany(times[limit - 1] + window - now)


def _check_budget(*, now: datetime, is_known_browser: bool) -> None:
    limit = settings.CODES_PER_HOUR
    if not is_known_browser:
        limit -= limit // 10 * KNOWN_BROWSERS_TENTHS
    recent = Challenge.objects.filter(created_at__gt=now - HOUR).order_by("-created_at")
    oldest_that_counts = recent.values_list("created_at", flat=True)[limit - 1 : limit].first()
    if oldest_that_counts is not None:
        raise OverBudget(oldest_that_counts + HOUR - now)
