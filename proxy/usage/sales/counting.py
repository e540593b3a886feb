"""Sales are counted from the usage records, a few minutes at a time, and can be counted anew from any day on.

- **Upstream's cost**: what the record says in Rial, or in dollars at the exchange rate that held at its time, rounded
  up to whole micro-Rial record by record, so that sums over models and over customers agree.
- Days are kept for ever. A day whose records are gone stays as it is.
"""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Min

from proxy.usage import progress
from proxy.usage.models import UsageRecord
from proxy.usage.progress import SLOT_OF
from proxy.usage.sales.models import CustomerSales, RouteSales, Sales, SalesProgress

KEPT = {"slot": timedelta(days=2), "hour": timedelta(days=40)}
LOCK = 0x73616C65  # "sale"
TABLES: dict[type[RouteSales] | type[CustomerSales], str] = {
    RouteSales: "model, upstream_id",
    CustomerSales: "user_id",
}
SUMS = (
    "requests, client_left, upstream_failed, refused, interrupted, "
    "billed_requests, billed_micro, costed_requests, costed_micro, cost_micro"
)
SUMMED = ", ".join(f"sum({name}) AS {name}" for name in SUMS.split(", "))
EXCLUDED = ", ".join(f"excluded.{name}" for name in SUMS.split(", "))
KNOWN = ", ".join(f"s.{name}" for name in SUMS.split(", "))


def _into(table: type[RouteSales] | type[CustomerSales], period: str, start: str, source: str) -> str:
    """Writes sums over the ones of before, and nothing where they are equal."""
    groups = TABLES[table]
    return f"""
INSERT INTO {table._meta.db_table} AS s (period, starts_at, {groups}, {SUMS})
SELECT {period}, {start} AS start, {groups}, {SUMMED} FROM {source} GROUP BY start, {groups}
ON CONFLICT (period, starts_at, {groups}) DO UPDATE SET ({SUMS}) = ({EXCLUDED})
WHERE ({KNOWN}) IS DISTINCT FROM ({EXCLUDED})
"""  # noqa: S608 - put together from constants


# Records with what their upstreams charge for them.
COSTED = """
rates AS MATERIALIZED (
    SELECT * FROM (
        SELECT rial_per_dollar, valid_from, lead(valid_from, 1, 'infinity') OVER (ORDER BY valid_from) AS valid_until
        FROM proxy_exchangerate
    ) AS all_rates WHERE valid_from < {until} AND valid_until > {since}
), costed AS (
    SELECT created_at, user_id, model, upstream_id, outcome, cost_micro AS billed_micro,
        billed_by <> 'nothing' AS is_billed,
        coalesce(
            upstream_cost_micro, ceil(upstream_cost_nanodollars::numeric * rates.rial_per_dollar / 1000)
        ) AS cost_micro
    FROM proxy_usagerecord LEFT JOIN rates
        ON upstream_cost_nanodollars IS NOT NULL AND created_at >= valid_from AND created_at < valid_until
    WHERE created_at >= {since} AND created_at < {until}
)
"""
COUNTED = """count(*) AS requests,
        count(*) FILTER (WHERE outcome = 'client_left') AS client_left,
        count(*) FILTER (WHERE outcome = 'upstream_failed') AS upstream_failed,
        count(*) FILTER (WHERE outcome = 'refused') AS refused,
        count(*) FILTER (WHERE outcome = 'interrupted') AS interrupted,
        count(*) FILTER (WHERE is_billed) AS billed_requests,
        sum(billed_micro) AS billed_micro,
        count(*) FILTER (WHERE is_billed AND cost_micro IS NOT NULL) AS costed_requests,
        coalesce(sum(billed_micro) FILTER (WHERE is_billed AND cost_micro IS NOT NULL), 0) AS costed_micro,
        coalesce(sum(cost_micro), 0) AS cost_micro"""
SLOTS = f"""
WITH {COSTED.format(since="%(since)s", until="%(until)s")}, counted AS MATERIALIZED (
    SELECT {SLOT_OF.format("created_at")} AS slot, user_id, model, upstream_id, {COUNTED}
    FROM costed GROUP BY slot, user_id, model, upstream_id
), routes AS ({_into(RouteSales, "'slot'", "slot", "counted")})
{_into(CustomerSales, "'slot'", "slot", "counted")}
"""  # noqa: S608 - likewise
PARTS = """
(SELECT * FROM {table} WHERE period = %(part)s AND starts_at < %(until)s
    AND starts_at >= date_trunc(%(period)s, %(since)s::timestamptz, %(zone)s)) AS parts
"""
LONGER = [
    _into(
        table,
        "%(period)s",
        "date_trunc(%(period)s, starts_at, %(zone)s)",
        PARTS.format(table=table._meta.db_table),
    )
    for table in TABLES
]


def count(*, now: datetime | None = None) -> None:
    """Counts what has come in since the last run. Opens transactions. Late, twice or at once, it counts the same."""
    progress.catch_up(SalesProgress, lock=LOCK, count=_count, now=now)


def rebuild(*, since: datetime) -> int:
    """Counts each day anew from the records, from the day of `since` on; returns how many. A transaction per day.

    Days before the first record stay as they are, and so does its own where there were days before it: retention may
    have taken the rest of it.
    """
    first = UsageRecord.objects.order_by().aggregate(at=Min("created_at"))["at"]
    if first is None or not SalesProgress.objects.exists():
        return 0  # nothing to count, or all of it is counted by the first run
    had_days = RouteSales.objects.filter(period=Sales.Period.DAY, starts_at__lt=_midnight(_day(first)))
    first_day = _day(first) + timedelta(days=1 if had_days.exists() else 0)
    day = begun = max(_day(since), first_day)
    while _rebuild(day):
        day += timedelta(days=1)
    return (day - begun).days


def _rebuild(day: date) -> bool:
    """Whether the day has begun, as far as is counted; then it is counted anew."""
    start, end = _midnight(day), _midnight(day + timedelta(days=1))
    with transaction.atomic(), connection.cursor() as cursor:
        progress.locked(cursor, LOCK)
        reached = SalesProgress.objects.get()
        if start >= reached.counted_until:
            return False
        for table in TABLES:
            table.objects.filter(starts_at__gte=start, starts_at__lt=end).delete()
        _count(cursor, start, min(end, reached.counted_until))
        SalesProgress.objects.filter(since__gt=start).update(since=start)
    return True


def _count(cursor: CursorWrapper, since: datetime, until: datetime) -> None:
    span: dict[str, datetime | str] = {"since": since, "until": until, "zone": settings.TIME_ZONE}
    cursor.execute(SLOTS, span)
    for part, period in (("slot", "hour"), ("hour", "day")):
        for statement in LONGER:
            cursor.execute(statement, {**span, "part": part, "period": period})
    for period, kept in KEPT.items():
        for table in TABLES:
            table.objects.filter(period=period, starts_at__lt=until - kept).delete()


def _day(moment: datetime) -> date:
    return moment.astimezone(ZoneInfo(settings.TIME_ZONE)).date()


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=ZoneInfo(settings.TIME_ZONE))
