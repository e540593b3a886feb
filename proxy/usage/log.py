"""The request log: a user's records from the newest down, by period, key, model, endpoint, outcome, end user and the
client's own id. Read by cursor.

A filter becomes ranges of an index, one for each key, model and endpoint that were used together in the period (the
roll-ups know them), and the newest rows of each are merged. So a page costs the same whether the filter finds half of a
million requests or one.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from proxy.usage import by_end_user, figures, lookup
from proxy.usage.figures import KeyLabel, Used
from proxy.usage.models import UsageRecord, UsageRollup
from proxy.usage.periods import Period
from proxy.usage.rollups import rolled_up_until

PAGE = 50
LATELY = timedelta(days=31)  # in few partitions, before all are asked
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Outcome = UsageRecord.Outcome
FAILED = (Outcome.UPSTREAM_FAILED, Outcome.REFUSED, Outcome.INTERRUPTED)

BEFORE = "(created_at, id) < (%(at)s, %(id)s)"
NEWEST = "ORDER BY created_at DESC, id DESC LIMIT %(size)s"
ALL = f"""
SELECT * FROM proxy_usagerecord r
WHERE user_id = %(user_id)s {{more}} AND created_at >= %(since)s AND created_at < %(until)s AND {BEFORE} {NEWEST}
"""  # noqa: S608 - put together from constants
# No user in the inner condition: a key has one, and PostgreSQL would weigh the index by user, which a rare key and
# model would make it read from end to end.
OF_USED = f"""
SELECT found.*
FROM unnest(%(keys)s::bigint[], %(models)s::text[], %(endpoints)s::text[]) AS used(key_id, model, endpoint)
CROSS JOIN LATERAL (
    SELECT * FROM proxy_usagerecord r
    WHERE r.key_id = used.key_id AND r.model = used.model AND r.endpoint = used.endpoint {{more}}
      AND created_at >= %(since)s AND created_at < %(until)s AND {BEFORE} {NEWEST}
) AS found
WHERE found.user_id = %(user_id)s {NEWEST}
"""  # noqa: S608 - likewise
# What did not complete is little, and has an index by key, model and outcome. Nothing else shall decide on the index.
OF_OUTCOMES = f"""
SELECT found.*
FROM (
    SELECT DISTINCT key_id, model FROM unnest(%(keys)s::bigint[], %(models)s::text[]) AS each(key_id, model)
) AS used
CROSS JOIN unnest(%(outcomes)s::text[]) AS wanted(outcome)
CROSS JOIN LATERAL (
    SELECT * FROM proxy_usagerecord r
    WHERE r.key_id = used.key_id AND r.model = used.model
      AND r.outcome = wanted.outcome AND r.outcome <> 'completed' {{more}}
      AND created_at >= %(since)s AND created_at < %(until)s AND {BEFORE} {NEWEST}
) AS found
WHERE found.user_id = %(user_id)s {NEWEST}
"""  # noqa: S608 - likewise
BY_CLIENT = f"""
SELECT * FROM proxy_usagerecord r
WHERE user_id = %(user_id)s AND client_request_id = %(client_request_id)s AND client_request_id <> '' {{more}}
  AND created_at >= %(since)s AND created_at < %(until)s AND {BEFORE} {NEWEST}
"""  # noqa: S608 - likewise
COMPLETED = "AND r.outcome = 'completed'"
ANY_OF_OUTCOMES = "AND r.outcome = ANY (%(outcomes)s::text[])"
BY_END_USER = "AND r.end_user = %(end_user)s"
AND_END_USER = "AND (r.end_user = %(end_user)s) IS TRUE"
AT_ENDPOINT = "AND (r.endpoint = %(endpoint)s) IS TRUE"
WITH_KEY = "AND r.key_id = %(key_id)s"
OF_MODEL = "AND r.model = %(model)s"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which requests: of a period, by one key, of one model, with one of some outcomes, at one endpoint, for one end
    user (its digest), with one id of the client's. None: any."""

    period: Period
    key_id: int | None = None
    model: str | None = None
    outcomes: tuple[Outcome, ...] | None = None
    endpoint: str | None = None
    end_user: bytes | None = None
    client_request_id: str | None = None


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """A record, and how pages name its key."""

    record: UsageRecord
    key: KeyLabel


@dataclass(frozen=True, slots=True)
class LogPage:
    """Requests from the newest down, and the cursor of the page after them (None: there is none)."""

    requests: list[LoggedRequest]
    older: str | None


def page(*, user_id: int, wanted: Filter, cursor: str | None = None, size: int = PAGE) -> LogPage:
    """A page of the log. A malformed cursor gives the first page."""
    found = _records(user_id, wanted, cursor, size + 1)
    return LogPage(
        requests=_labelled(user_id, found[:size]),
        older=_cursor(found[size - 1]) if len(found) > size else None,
    )


def newest(*, user_id: int, size: int) -> list[LoggedRequest]:
    """The newest requests of a user, however old."""
    records = UsageRecord.objects.filter(user_id=user_id).order_by("-created_at", "-id")
    found = list(records.filter(created_at__gte=timezone.now() - LATELY)[:size])
    if len(found) < size:
        found = list(records.filter(_days_of_use(user_id, size))[:size])
    return _labelled(user_id, found)


def _days_of_use(user_id: int, size: int) -> Q:
    """Where the newest requests of a user lie: in the last days that roll-ups know, or they are not in them yet."""
    days = UsageRollup.objects.filter(user_id=user_id, period=UsageRollup.Period.DAY).order_by("-starts_at")
    used = list(days.values_list("starts_at", flat=True).distinct()[:size])
    within = Q(created_at__gte=rolled_up_until() or EPOCH)
    return (
        within | Q(created_at__gte=used[-1], created_at__lt=used[0] + timedelta(days=1)) if used else within
    )


def one(*, user_id: int, request_id: uuid.UUID) -> LoggedRequest:
    """A user's request by the id that the client saw. Raises UsageRecord.DoesNotExist."""
    record = lookup.find(request_id, user_id=user_id)
    if record is None:
        raise UsageRecord.DoesNotExist(request_id)
    [request] = _labelled(user_id, [record])
    return request


def _labelled(user_id: int, records: list[UsageRecord]) -> list[LoggedRequest]:
    names = figures.key_names(user_id) if records else {}
    return [LoggedRequest(record, figures.key_label(names, record.key_id)) for record in records]


def _records(user_id: int, wanted: Filter, cursor: str | None, size: int) -> list[UsageRecord]:
    at, record_id = _position(cursor) or (wanted.period.until, uuid.UUID(int=0))
    used = _used(user_id, wanted)
    parameters: dict[str, object] = {
        "user_id": user_id,
        "since": wanted.period.since,
        "until": wanted.period.until,
        "at": at,
        "id": record_id,
        "size": size,
        "key_id": wanted.key_id,
        "model": wanted.model,
        "endpoint": wanted.endpoint,
        "end_user": wanted.end_user,
        "client_request_id": wanted.client_request_id,
        "outcomes": [outcome.value for outcome in wanted.outcomes or ()],
        "keys": [each.key_id for each in used],
        "models": [each.model for each in used],
        "endpoints": [each.endpoint for each in used],
    }
    return list(UsageRecord.objects.raw(_query(wanted), parameters))


def _has_ranges(wanted: Filter) -> bool:
    """Whether it takes more than the user's own range of time."""
    if wanted.client_request_id is not None:
        return False
    of_one = (wanted.key_id, wanted.model, wanted.endpoint, wanted.end_user)
    return any(each is not None for each in of_one) or wanted.outcomes not in (None, (Outcome.COMPLETED,))


def _used(user_id: int, wanted: Filter) -> list[Used]:
    if not _has_ranges(wanted):
        return []
    of_one: dict[str, Any] = {
        "user_id": user_id,
        "period": wanted.period,
        "key_id": wanted.key_id,
        "model": wanted.model,
        "endpoint": wanted.endpoint,
    }
    if wanted.end_user is None:
        return figures.used(**of_one)
    return by_end_user.used(**of_one, end_user=wanted.end_user)


def _query(wanted: Filter) -> str:
    conditions: list[tuple[str, bool]]
    completed = wanted.outcomes == (Outcome.COMPLETED,)
    if wanted.client_request_id is not None:
        query = BY_CLIENT
        conditions = [
            (WITH_KEY, wanted.key_id is not None),
            (OF_MODEL, wanted.model is not None),
            (AT_ENDPOINT, wanted.endpoint is not None),
            (AND_END_USER, wanted.end_user is not None),
            (ANY_OF_OUTCOMES, wanted.outcomes is not None),
        ]
    elif not _has_ranges(wanted):
        query, conditions = ALL, [(COMPLETED, completed)]
    elif wanted.outcomes is None or completed:
        query, conditions = OF_USED, [(BY_END_USER, wanted.end_user is not None), (COMPLETED, completed)]
    else:
        query = OF_OUTCOMES
        conditions = [
            (AT_ENDPOINT, wanted.endpoint is not None),
            (AND_END_USER, wanted.end_user is not None),
        ]
    return query.format(more=" ".join(condition for condition, applies in conditions if applies))


def _cursor(record: UsageRecord) -> str:
    microseconds = (record.created_at - EPOCH) // timedelta(microseconds=1)
    return f"{microseconds}_{record.id.hex}"


def _position(cursor: str | None) -> tuple[datetime, uuid.UUID] | None:
    microseconds, _separator, record_id = (cursor or "").partition("_")
    try:
        return EPOCH + timedelta(microseconds=int(microseconds)), uuid.UUID(record_id)
    except (ValueError, OverflowError):
        return None
