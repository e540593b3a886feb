"""Calls are counted by model as well or badly answered, a few minutes at a time, from the usage records.

- **Answered**: the call was completed, as the customer asked.
- **Failed**: it was not, and the customer was not the reason: status 5xx, or the upstream's 429; and streams that a
  client left after a minute in which not a word had come.
- **Neither**: what the model refused of a request, what money, limits or rules did not let through, and calls that
  their client left. None of them says how well the model answers.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.backends.utils import CursorWrapper

from proxy.usage import progress
from proxy.usage.health.models import HealthProgress, ModelHealth
from proxy.usage.latency import BOUNDS_MS
from proxy.usage.progress import SLOT_OF

LOOKED_BACK = timedelta(days=31)  # at the first run
KEPT = {"slot": timedelta(days=2), "hour": timedelta(days=40), "day": timedelta(days=400)}
LOCK = 0x6865616C  # "heal"
WAITED_IN_VAIN_MS = 60_000
ANSWERED = "outcome = 'completed'"
FAILED = f"""(
    outcome IN ('upstream_failed', 'interrupted', 'refused') AND (status >= 500 OR status = 429)
    OR outcome = 'client_left' AND stream AND first_byte_ms IS NULL AND total_ms >= {WAITED_IN_VAIN_MS}
)"""

COLUMNS = "answered, failed, first_buckets, first_counts, whole_buckets, whole_counts"
EXCLUDED = ", ".join(f"excluded.{name}" for name in COLUMNS.split(", "))
UPSERT = f"""
ON CONFLICT (period, starts_at, model) DO UPDATE SET ({COLUMNS}) = ({EXCLUDED})
WHERE ({", ".join(f"h.{name}" for name in COLUMNS.split(", "))}) IS DISTINCT FROM ({EXCLUDED})
"""
SLOTS = f"""
WITH calls AS (
    SELECT {SLOT_OF.format("created_at")} AS slot, model, stream,
        {ANSWERED} AS is_answered,
        CASE WHEN {ANSWERED} THEN
            width_bucket(CASE WHEN stream THEN first_byte_ms ELSE total_ms END, %(bounds)s::int[])
        END AS bucket,
        count(*) AS n
    FROM proxy_usagerecord
    WHERE created_at >= %(since)s AND created_at < %(until)s AND ({ANSWERED} OR {FAILED})
    GROUP BY 1, 2, 3, 4, 5
)
INSERT INTO proxy_modelhealth AS h (period, starts_at, model, {COLUMNS})
SELECT 'slot', slot, model,
    coalesce(sum(n) FILTER (WHERE is_answered), 0), coalesce(sum(n) FILTER (WHERE NOT is_answered), 0),
    coalesce(array_agg(bucket ORDER BY bucket) FILTER (WHERE stream AND bucket IS NOT NULL), '{{}}'),
    coalesce(array_agg(n ORDER BY bucket) FILTER (WHERE stream AND bucket IS NOT NULL), '{{}}'),
    coalesce(array_agg(bucket ORDER BY bucket) FILTER (WHERE NOT stream AND bucket IS NOT NULL), '{{}}'),
    coalesce(array_agg(n ORDER BY bucket) FILTER (WHERE NOT stream AND bucket IS NOT NULL), '{{}}')
FROM calls GROUP BY slot, model
{UPSERT}
"""  # noqa: S608 - put together from constants
SUMMED = """
SELECT start, model, array_agg(bucket ORDER BY bucket) AS buckets, array_agg(n ORDER BY bucket) AS counts
FROM (
    SELECT start, model, bucket, sum(n) AS n
    FROM parts, unnest({kind}_buckets, {kind}_counts) AS each(bucket, n) GROUP BY start, model, bucket
) AS summed
GROUP BY start, model
"""
LONGER = f"""
WITH parts AS (
    SELECT date_trunc(%(period)s, starts_at, %(zone)s) AS start, p.* FROM proxy_modelhealth p
    WHERE period = %(part)s AND starts_at >= date_trunc(%(period)s, %(since)s::timestamptz, %(zone)s)
      AND starts_at < %(until)s
), first AS ({SUMMED.format(kind="first")}), whole AS ({SUMMED.format(kind="whole")})
INSERT INTO proxy_modelhealth AS h (period, starts_at, model, {COLUMNS})
SELECT %(period)s, start, model, sum(answered), sum(failed),
    coalesce(any_value(first.buckets), '{{}}'), coalesce(any_value(first.counts), '{{}}'),
    coalesce(any_value(whole.buckets), '{{}}'), coalesce(any_value(whole.counts), '{{}}')
FROM parts LEFT JOIN first USING (start, model) LEFT JOIN whole USING (start, model)
GROUP BY start, model
{UPSERT}
"""  # noqa: S608 - likewise


def count(*, now: datetime | None = None) -> None:
    """Counts what has come in since the last run. Opens transactions. Late or run twice, it counts the same."""
    progress.catch_up(HealthProgress, lock=LOCK, count=_count, looked_back=LOOKED_BACK, now=now)


def _count(cursor: CursorWrapper, since: datetime, until: datetime) -> None:
    cursor.execute(SLOTS, {"since": since, "until": until, "bounds": BOUNDS_MS})
    for part, period in (("slot", "hour"), ("hour", "day")):
        cursor.execute(
            LONGER,
            {"period": period, "part": part, "since": since, "until": until, "zone": settings.TIME_ZONE},
        )
    for period, kept in KEPT.items():
        ModelHealth.objects.filter(period=period, starts_at__lt=until - kept).delete()
