"""The request log: a user's records from the newest down, by period, key, model and outcome. Read by cursor.

A filter becomes ranges of an index, one for each pair of key and model that was used in the period (the roll-ups know
them), and the newest rows of each are merged. So a page costs the same whether the filter finds half of a million
requests or one.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from proxy.usage import figures
from proxy.usage.figures import KeyLabel
from proxy.usage.models import UsageRecord
from proxy.usage.periods import Period

PAGE = 50
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Outcome = UsageRecord.Outcome
FAILED = (Outcome.UPSTREAM_FAILED, Outcome.REFUSED, Outcome.INTERRUPTED)

BEFORE = "(created_at, id) < (%(at)s, %(id)s)"
NEWEST = "ORDER BY created_at DESC, id DESC LIMIT %(size)s"
ALL = f"""
SELECT * FROM proxy_usagerecord
WHERE user_id = %(user_id)s {{and_outcome}} AND created_at >= %(since)s AND created_at < %(until)s AND {BEFORE} {NEWEST}
"""  # noqa: S608 - put together from constants
# No user in the inner condition: a key has one, and PostgreSQL would weigh the index by user, which a rare pair
# would make it read from end to end.
OF_PAIRS = f"""
SELECT found.*
FROM unnest(%(keys)s::bigint[], %(models)s::text[]) AS pair(key_id, model) {{outcomes}}
CROSS JOIN LATERAL (
    SELECT * FROM proxy_usagerecord r
    WHERE r.key_id = pair.key_id AND r.model = pair.model {{and_outcome}}
      AND created_at >= %(since)s AND created_at < %(until)s AND {BEFORE} {NEWEST}
) AS found
WHERE found.user_id = %(user_id)s {NEWEST}
"""  # noqa: S608 - likewise
WITHOUT_FAILURES = "AND outcome = 'completed'"
OF_KEYS_AND_MODELS = OF_PAIRS.format(outcomes="", and_outcome="")
OF_OUTCOMES = OF_PAIRS.format(
    outcomes="CROSS JOIN unnest(%(outcomes)s::text[]) AS wanted(outcome)",
    and_outcome="AND r.outcome = wanted.outcome AND r.outcome <> 'completed'",
)
COMPLETED = OF_PAIRS.format(outcomes="", and_outcome=WITHOUT_FAILURES)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which requests: of a period, by one key, of one model, with one of some outcomes. None: any."""

    period: Period
    key_id: int | None = None
    model: str | None = None
    outcomes: tuple[Outcome, ...] | None = None


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
    return _labelled(user_id, list(records[:size]))


def one(*, user_id: int, request_id: uuid.UUID) -> LoggedRequest:
    """A user's request by the id that the client saw. Raises UsageRecord.DoesNotExist."""
    [request] = _labelled(user_id, [UsageRecord.objects.get(pk=request_id, user_id=user_id)])
    return request


def _labelled(user_id: int, records: list[UsageRecord]) -> list[LoggedRequest]:
    names = figures.key_names(user_id) if records else {}
    return [LoggedRequest(record, figures.key_label(names, record.key_id)) for record in records]


def _records(user_id: int, wanted: Filter, cursor: str | None, size: int) -> list[UsageRecord]:
    at, record_id = _position(cursor) or (wanted.period.until, uuid.UUID(int=0))
    parameters: dict[str, object] = {
        "user_id": user_id,
        "since": wanted.period.since,
        "until": wanted.period.until,
        "at": at,
        "id": record_id,
        "size": size,
    }
    if wanted.key_id is None and wanted.model is None and wanted.outcomes in (None, (Outcome.COMPLETED,)):
        query = ALL.format(and_outcome="" if wanted.outcomes is None else WITHOUT_FAILURES)
        return list(UsageRecord.objects.raw(query, parameters))
    pairs = figures.pairs(user_id=user_id, period=wanted.period, key_id=wanted.key_id, model=wanted.model)
    parameters["keys"] = [key_id for key_id, _model in pairs]
    parameters["models"] = [model for _key_id, model in pairs]
    if wanted.outcomes is None:
        query = OF_KEYS_AND_MODELS
    elif wanted.outcomes == (Outcome.COMPLETED,):
        query = COMPLETED
    else:
        query = OF_OUTCOMES
        parameters["outcomes"] = [outcome.value for outcome in wanted.outcomes]
    return list(UsageRecord.objects.raw(query, parameters))


def _cursor(record: UsageRecord) -> str:
    microseconds = (record.created_at - EPOCH) // timedelta(microseconds=1)
    return f"{microseconds}_{record.id.hex}"


def _position(cursor: str | None) -> tuple[datetime, uuid.UUID] | None:
    microseconds, _separator, record_id = (cursor or "").partition("_")
    try:
        return EPOCH + timedelta(microseconds=int(microseconds)), uuid.UUID(record_id)
    except (ValueError, OverflowError):
        return None
