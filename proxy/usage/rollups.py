"""Roll-ups: usage by key, model and endpoint in the hours and days of settings.TIME_ZONE, remade from the records.

An hour is summed once it is over, and again where a record of it committed late: not every few seconds while it runs,
since whoever asks for figures reads the records of the newest hour themselves.

Tehran's hours begin at half past in UTC, so an hour is cut in local time too: whole hours make a day.

Days by end user hold what lies before the last hour begun. An hour is added to its day once it is over, in the
transaction that sums it; where the hours before it have changed, the day is made anew.
"""

from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Max, Min, Sum

from keys import lifecycle
from keys.models import APIKey
from proxy.usage.latency import BOUNDS_MS
from proxy.usage.models import UsageRecord, UsageRollup

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# A record carries the time at which its settlement's transaction began and appears with its COMMIT: seconds later.
LATE = timedelta(minutes=5)
LOCK = 0x726F6C6C  # "roll": one roll-up at a time, so that an older reading never overwrites a newer one

FIGURES = "requests, errors, prompt_tokens, cached_tokens, completion_tokens, cost_micro"
SUMS = f"{FIGURES}, latency_buckets, latency_counts"
GROUP = "user_id, key_id, model, endpoint"


def _upsert(columns: str, *, once: str) -> str:
    """Writes a roll-up over the one of before, and nothing where they are equal."""
    made = ", ".join(f"excluded.{name}" for name in columns.split(", "))
    known = ", ".join(f"u.{name}" for name in columns.split(", "))
    return f"""
ON CONFLICT ({once}) DO UPDATE SET ({columns}) = ({made}) WHERE ({known}) IS DISTINCT FROM ({made})
"""


COUNTED = """count(*) AS requests, count(*) FILTER (WHERE outcome NOT IN ('completed', 'client_left')) AS errors,
        sum(prompt_tokens) AS prompt_tokens, sum(cached_tokens) AS cached_tokens,
        sum(completion_tokens) AS completion_tokens, sum(cost_micro) AS cost_micro"""
SUMMED = ", ".join(f"sum({name})" for name in FIGURES.split(", "))
UPSERT = _upsert(SUMS, once="period, starts_at, key_id, model, endpoint")
# Latency counts completed answers only: a failed or abandoned one says nothing of it.
HOURS = f"""
WITH written AS (
INSERT INTO proxy_rollup AS u (period, starts_at, {GROUP}, {SUMS})
SELECT 'hour', hour, {GROUP}, {SUMMED},
    coalesce(array_agg(bucket ORDER BY bucket) FILTER (WHERE bucket IS NOT NULL), '{{}}'),
    coalesce(array_agg(requests ORDER BY bucket) FILTER (WHERE bucket IS NOT NULL), '{{}}')
FROM (
    SELECT date_trunc('hour', created_at, %(zone)s) AS hour, {GROUP},
        CASE WHEN outcome = 'completed' THEN width_bucket(total_ms, %(bounds)s::int[]) END AS bucket, {COUNTED}
    FROM proxy_usagerecord
    WHERE created_at >= date_trunc('hour', %(since)s::timestamptz, %(zone)s) AND created_at < %(until)s
    GROUP BY hour, {GROUP}, bucket
) AS buckets
GROUP BY hour, {GROUP}
{UPSERT}
RETURNING starts_at
)
SELECT count(*) FILTER (WHERE starts_at < %(known)s) FROM written
"""  # noqa: S608 - put together from constants
NO_FIGURES = ", ".join("0" for _name in FIGURES.split(", "))
# Figures and latency come together by a union: to join them, the planner, who thinks that the newest day has one row,
# would sum up the latency of all for each hour of each key.
DAYS = f"""
WITH hours AS (
    SELECT date_trunc('day', starts_at, %(zone)s) AS day, h.*
    FROM proxy_rollup h
    WHERE period = 'hour' AND starts_at >= date_trunc('day', %(since)s::timestamptz, %(zone)s)
      AND starts_at < %(until)s
)
INSERT INTO proxy_rollup AS u (period, starts_at, {GROUP}, {SUMS})
SELECT 'day', day, {GROUP}, {SUMMED},
    coalesce(array_agg(bucket ORDER BY bucket) FILTER (WHERE bucket IS NOT NULL), '{{}}'),
    coalesce(array_agg(n ORDER BY bucket) FILTER (WHERE bucket IS NOT NULL), '{{}}')
FROM (
    SELECT day, {GROUP}, {FIGURES}, NULL AS bucket, NULL AS n FROM hours
  UNION ALL
    SELECT day, {GROUP}, {NO_FIGURES}, bucket, sum(n)
    FROM hours, unnest(latency_buckets, latency_counts) AS each(bucket, n)
    GROUP BY day, {GROUP}, bucket
) AS parts
GROUP BY day, {GROUP}
{UPSERT}
"""  # noqa: S608 - likewise
BY_END_USER = f"""
INSERT INTO proxy_enduserrollup AS u (starts_at, end_user, end_user_hint, {GROUP}, {FIGURES})
SELECT date_trunc('day', created_at, %(zone)s) AS day, end_user, any_value(end_user_hint), {GROUP}, {COUNTED}
FROM proxy_usagerecord
WHERE end_user IS NOT NULL AND created_at >= {{since}} AND created_at < least(%(until)s, %(rolled)s)
GROUP BY day, end_user, {GROUP}
"""  # noqa: S608 - likewise
ONE_END_USER = "end_user, starts_at, key_id, model, endpoint"
END_USERS = BY_END_USER.format(since="date_trunc('day', %(since)s::timestamptz, %(zone)s)") + _upsert(
    FIGURES, once=ONE_END_USER
)
ADDED = ", ".join(f"u.{name} + excluded.{name}" for name in FIGURES.split(", "))
MORE_OF_END_USERS = (
    BY_END_USER.format(since="%(known)s")
    + f"ON CONFLICT ({ONE_END_USER}) DO UPDATE SET ({FIGURES}) = ({ADDED})"
)
# What is asked for lies at the end of the table. The planner expects it anywhere, and would read from the beginning.
FROM_THE_END = "SET LOCAL enable_seqscan = off"
WITHOUT_LATENCY = """
SELECT date_trunc('day', max(starts_at), %(zone)s), date_trunc('day', max(starts_at), %(zone)s) + interval '1 day'
FROM proxy_rollup WHERE latency_counts IS NULL
"""


def roll_up(*, since: datetime | None = None) -> datetime | None:
    """Sums what is not summed yet, and the hour before that once more; returns since when. Opens transactions.

    It misses nothing however long ago it last ran, and changes nothing if run twice, also where a run was killed in
    the middle. None: there is nothing to sum. `since` is for records that were made with an earlier time.
    """
    is_anew, made = since is not None, since
    until: datetime | None = None
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            cursor.execute(FROM_THE_END)
            since = since or _not_summed_since()
            if since is None:
                return None
            known = rolled_up_until()
            is_anew = is_anew or known is None
            made = made or since
            until = _midnight_after(until or since)
            _remake(cursor, since=since, until=until, known=None if is_anew else known)
            # A day in each transaction, however many there are to make up for.
            until = _first_record(until, until + DAY) or _first_record(until + DAY, None)
            if until is None:
                return made
            # What an end user had of the last hour comes in with what follows it.
            since = min(until, rolled_up_until() or until)


def _first_record(since: datetime, until: datetime | None) -> datetime | None:
    records = UsageRecord.objects.order_by().filter(created_at__gte=since)
    if until is not None:  # all that remain would be read for the first of them
        records = records.filter(created_at__lt=until)
    first: datetime | None = records.aggregate(at=Min("created_at"))["at"]
    return first


def _midnight_after(moment: datetime) -> datetime:
    zone = ZoneInfo(settings.TIME_ZONE)
    day = moment.astimezone(zone).date() + DAY
    return datetime.combine(day, time.min, zone)


def _not_summed_since() -> datetime | None:
    records = UsageRecord.objects.order_by()
    last = rolled_up_until()
    if last is None:
        first: datetime | None = records.aggregate(first=Min("created_at"))["first"]
        return first
    before = last - HOUR
    # Counted: for one row of many the planner would take an index by user, and read all of it where there is none.
    if records.filter(created_at__gte=last + HOUR).count():
        return before
    if records.filter(created_at__range=(last + LATE, last + 2 * LATE)).count():
        return None  # what of the hour before the last was late has come, or comes in with the next hour
    summed = UsageRollup.objects.filter(
        period=UsageRollup.Period.HOUR, starts_at__gte=before, starts_at__lt=last
    ).aggregate(requests=Sum("requests", default=0))["requests"]
    return None if records.filter(created_at__gte=before, created_at__lt=last).count() == summed else before


def add_latency() -> datetime | None:
    """Remakes the newest day whose roll-ups date from before latencies; returns it. Opens a transaction.

    None: no such day remains.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        cursor.execute(WITHOUT_LATENCY, {"zone": settings.TIME_ZONE})
        day, until = cursor.fetchone()
        if day is None:
            return None
        _remake(cursor, since=day, until=until)
        # A roll-up whose records are gone stays as it is, and is not tried again.
        UsageRollup.objects.filter(
            starts_at__gte=day, starts_at__lt=until, latency_counts__isnull=True
        ).update(latency_buckets=[], latency_counts=[])
    made: datetime = day
    return made


def _remake(
    cursor: CursorWrapper, *, since: datetime, until: datetime, known: datetime | None = None
) -> None:
    """`known`: up to when hours have been summed and days by end user hold them; None: all is made anew."""
    parameters: dict[str, Any] = {
        "since": since,
        "until": until,
        "known": known,
        "zone": settings.TIME_ZONE,
        "bounds": BOUNDS_MS,
    }
    cursor.execute(HOURS, parameters)
    [changed] = cursor.fetchone()
    cursor.execute(DAYS, parameters)
    if (rolled := rolled_up_until()) is not None:
        is_more = known is not None and not changed
        cursor.execute(MORE_OF_END_USERS if is_more else END_USERS, parameters | {"rolled": rolled})


def rolled_up_until() -> datetime | None:
    """The start of the last hour with a roll-up: all before it is summed, the hour itself is not yet."""
    last: datetime | None = UsageRollup.objects.filter(period=UsageRollup.Period.HOUR).aggregate(
        last=Max("starts_at")
    )["last"]
    return last


def flush_last_used() -> Mapping[int, datetime]:
    """Tells `keys` when each key was last used, from the records after the last use it knows; returns those times."""
    records = UsageRecord.objects.order_by()
    known = APIKey.objects.aggregate(last=Max("last_used_at"))["last"]
    if known is not None:
        records = records.filter(created_at__gte=known - LATE)
    used = dict(records.values_list("key_id").annotate(last=Max("created_at")))
    lifecycle.touch(used)
    return used
