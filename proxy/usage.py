"""What a user used, for the pages: roll-ups for what is past, the records themselves for the hours after them.

So the figures are complete at every moment, whether Celery runs or not, and stay fast over millions of records.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection
from django.db.models import Q

from keys.models import APIKey
from proxy.models import UsageRecord
from proxy.rollups import rolled_up_until

LOG_PAGE = 50
# Periods that a page offers: what they are cut into, and how many of those.
PERIODS = {"24h": ("hour", 24), "48h": ("hour", 48), "7d": ("day", 7), "30d": ("day", 30), "90d": ("day", 90)}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Days: whole days from their roll-ups, the day that is under way from its hours, what no hour has yet from records.
SLICES = """
WITH slices AS (
    SELECT starts_at, key_id, model, requests, errors, prompt_tokens, completion_tokens, cost_micro
    FROM proxy_usagerollup
    WHERE user_id = %(user_id)s AND period = 'day' AND %(by)s = 'day'
      AND starts_at >= %(since)s AND starts_at < date_trunc('day', %(rolled)s::timestamptz, %(zone)s)
  UNION ALL
    SELECT date_trunc(%(by)s, starts_at, %(zone)s), key_id, model, requests, errors, prompt_tokens,
        completion_tokens, cost_micro
    FROM proxy_usagerollup
    WHERE user_id = %(user_id)s AND period = 'hour' AND starts_at >= %(since)s AND starts_at < %(rolled)s
      AND (%(by)s = 'hour' OR starts_at >= date_trunc('day', %(rolled)s::timestamptz, %(zone)s))
  UNION ALL
    SELECT date_trunc(%(by)s, created_at, %(zone)s), key_id, model, 1,
        (outcome NOT IN ('completed', 'client_left'))::int, prompt_tokens, completion_tokens, cost_micro
    FROM proxy_usagerecord
    WHERE user_id = %(user_id)s AND created_at >= greatest(%(since)s, %(rolled)s)
)
SELECT starts_at, key_id, model, coalesce(sum(requests), 0)::bigint, coalesce(sum(errors), 0)::bigint,
    coalesce(sum(prompt_tokens), 0)::bigint, coalesce(sum(completion_tokens), 0)::bigint,
    coalesce(sum(cost_micro), 0)::bigint
FROM slices GROUP BY GROUPING SETS ((starts_at), (key_id, model), ())
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums of requests; `cost_micro` in micro-Rial."""

    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_micro: int = 0


@dataclass(frozen=True, slots=True)
class Slice:
    """One hour or day."""

    starts_at: datetime
    figures: Figures


@dataclass(frozen=True, slots=True, order=True)
class KeyLabel:
    """How a key is called on pages: its name and the end of its secret (empty where the key is not known)."""

    name: str
    last_four: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """What one key used of one model."""

    key: KeyLabel
    model: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Usage:
    """A period: every hour or day of it in order, empty ones too; shares from the dearest down; the sum."""

    slices: list[Slice]
    shares: list[Share]
    total: Figures


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """A record, and how its key is called."""

    record: UsageRecord
    key: KeyLabel


@dataclass(frozen=True, slots=True)
class LogPage:
    """Requests from the newest down, and the cursor of the page after them (None: there is none)."""

    requests: list[LoggedRequest]
    older: str | None


def over(*, user_id: int, period: str, now: datetime) -> Usage:
    """Usage over one of PERIODS, cut by the clocks of settings.TIME_ZONE; the hour or day under way is the last."""
    by, count = PERIODS[period]
    if by == "hour":
        this_hour = now.astimezone(_zone()).replace(minute=0, second=0, microsecond=0).astimezone(UTC)
        starts = [this_hour - timedelta(hours=back) for back in range(count - 1, -1, -1)]
    else:
        starts = [_midnight(now, -back) for back in range(count - 1, -1, -1)]
    return _usage(user_id=user_id, by=by, starts=starts)


def since(*, user_id: int, start: datetime) -> Figures:
    """Everything from the beginning of a day on. `start` must be such a beginning (`day_start`)."""
    return _usage(user_id=user_id, by="day", starts=[start]).total


def day_start(now: datetime) -> datetime:
    """The last midnight of settings.TIME_ZONE, in UTC."""
    return _midnight(now, 0)


def log(*, user_id: int, cursor: str | None = None, size: int = LOG_PAGE) -> LogPage:
    """A page of the request log. A cursor that makes no sense gives the first page."""
    records = UsageRecord.objects.filter(user_id=user_id).order_by("-created_at", "-id")
    position = _position(cursor)
    if position is not None:
        created_at, record_id = position
        records = records.filter(created_at__lte=created_at).filter(
            Q(created_at__lt=created_at) | Q(id__lt=record_id)
        )
    page = list(records[: size + 1])
    names = key_names(user_id) if page else {}
    return LogPage(
        requests=[
            LoggedRequest(record, names.get(record.key_id, KeyLabel(f"#{record.key_id}")))
            for record in page[:size]
        ],
        older=_cursor(page[size - 1]) if len(page) > size else None,
    )


def key_names(user_id: int) -> dict[int, KeyLabel]:
    """How a user's keys are called on pages, by id; revoked ones too."""
    keys = APIKey.objects.filter(user_id=user_id).only("name", "last_four")
    return {key.pk: KeyLabel(key.name, key.last_four) for key in keys}


def _usage(*, user_id: int, by: str, starts: list[datetime]) -> Usage:
    rolled = rolled_up_until() or EPOCH
    with connection.cursor() as cursor:
        cursor.execute(
            SLICES,
            {"user_id": user_id, "by": by, "since": starts[0], "rolled": rolled, "zone": settings.TIME_ZONE},
        )
        rows = cursor.fetchall()
    names = key_names(user_id)
    filled: dict[datetime, Figures] = {}
    shares: list[Share] = []
    total = Figures()
    for starts_at, key_id, model, *sums in rows:
        figures = Figures(*sums)
        if starts_at is not None:
            filled[starts_at] = figures
        elif key_id is not None:
            shares.append(Share(key=names.get(key_id, KeyLabel(f"#{key_id}")), model=model, figures=figures))
        else:
            total = figures
    shares.sort(
        key=lambda share: (-share.figures.cost_micro, -share.figures.requests, share.key, share.model)
    )
    return Usage(
        slices=[Slice(start, filled.get(start, Figures())) for start in starts], shares=shares, total=total
    )


def _midnight(moment: datetime, days: int) -> datetime:
    local = moment.astimezone(_zone()).replace(hour=0, minute=0, second=0, microsecond=0)
    return (local + timedelta(days=days)).astimezone(UTC)


def _zone() -> ZoneInfo:
    return ZoneInfo(settings.TIME_ZONE)


def _cursor(record: UsageRecord) -> str:
    microseconds = (record.created_at - EPOCH) // timedelta(microseconds=1)
    return f"{microseconds}_{record.id.hex}"


def _position(cursor: str | None) -> tuple[datetime, uuid.UUID] | None:
    microseconds, _separator, record_id = (cursor or "").partition("_")
    try:
        return EPOCH + timedelta(microseconds=int(microseconds)), uuid.UUID(record_id)
    except (ValueError, OverflowError):
        return None
