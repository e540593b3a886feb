"""Roll-ups: usage summed by key and model over the hours and days of settings.TIME_ZONE, remade from the records.

Tehran's hours begin at half past in UTC, so an hour is cut in local time too: whole hours make a day.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max

from keys import lifecycle
from keys.models import APIKey
from proxy.models import UsageRecord, UsageRollup

# A record appears with its settlement's COMMIT, at most moments after the time that it carries; an hour is ample.
LATE = timedelta(hours=1)
LOCK = 0x726F6C6C  # "roll": one roll-up at a time, so that an older reading never overwrites a newer one

SUMS = "requests, errors, prompt_tokens, cached_tokens, completion_tokens, cost_micro"
UPSERT = f"""
ON CONFLICT (period, starts_at, key_id, model) DO UPDATE SET ({SUMS}) = (
    excluded.requests, excluded.errors, excluded.prompt_tokens, excluded.cached_tokens,
    excluded.completion_tokens, excluded.cost_micro)
WHERE (u.requests, u.errors, u.prompt_tokens, u.cached_tokens, u.completion_tokens, u.cost_micro) IS DISTINCT FROM (
    excluded.requests, excluded.errors, excluded.prompt_tokens, excluded.cached_tokens,
    excluded.completion_tokens, excluded.cost_micro)
"""
HOURS = f"""
INSERT INTO proxy_usagerollup AS u (period, starts_at, user_id, key_id, model, {SUMS})
SELECT 'hour', date_trunc('hour', created_at, %(zone)s) AS hour, user_id, key_id, model,
    count(*), count(*) FILTER (WHERE outcome NOT IN ('completed', 'client_left')),
    sum(prompt_tokens), sum(cached_tokens), sum(completion_tokens), sum(cost_micro)
FROM proxy_usagerecord
WHERE created_at >= date_trunc('hour', %(since)s::timestamptz, %(zone)s)
GROUP BY hour, user_id, key_id, model
{UPSERT}
"""  # noqa: S608 - put together from constants
DAYS = f"""
INSERT INTO proxy_usagerollup AS u (period, starts_at, user_id, key_id, model, {SUMS})
SELECT 'day', date_trunc('day', starts_at, %(zone)s) AS day, user_id, key_id, model,
    sum(requests), sum(errors), sum(prompt_tokens), sum(cached_tokens), sum(completion_tokens), sum(cost_micro)
FROM proxy_usagerollup
WHERE period = 'hour' AND starts_at >= date_trunc('day', %(since)s::timestamptz, %(zone)s)
GROUP BY day, user_id, key_id, model
{UPSERT}
"""  # noqa: S608 - likewise


def roll_up() -> datetime | None:
    """Sums what came in since the hour before the last one that is rolled up; returns that moment. Own transaction.

    However long it was not called, nothing is left out; called twice, it changes nothing. None: nothing was used yet.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        last = rolled_up_until()
        if last is not None:
            since: datetime | None = last - LATE
        else:
            since = UsageRecord.objects.order_by("created_at").values_list("created_at", flat=True).first()
        if since is not None:
            cursor.execute(HOURS, {"since": since, "zone": settings.TIME_ZONE})
            cursor.execute(DAYS, {"since": since, "zone": settings.TIME_ZONE})
    return since


def rolled_up_until() -> datetime | None:
    """The beginning of the last hour that has a roll-up: what came before it is summed, it itself may not be yet."""
    last: datetime | None = UsageRollup.objects.filter(period=UsageRollup.Period.HOUR).aggregate(
        last=Max("starts_at")
    )["last"]
    return last


def flush_last_used() -> Mapping[int, datetime]:
    """Tells `keys` when each key was last used, from the records since the last use that it knows; returns that."""
    records = UsageRecord.objects.order_by()
    known = APIKey.objects.aggregate(last=Max("last_used_at"))["last"]
    if known is not None:
        records = records.filter(created_at__gte=known - LATE)
    used = dict(records.values_list("key_id").annotate(last=Max("created_at")))
    lifecycle.touch(used)
    return used
