"""How much each key of a user was used since a day began: from roll-ups, and records that are not in them yet."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import connection

from proxy.usage.rollups import rolled_up_until

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

BY_KEY = """
SELECT key_id, sum(requests)::bigint, sum(cost_micro)::bigint FROM (
    SELECT key_id, requests, cost_micro FROM proxy_rollup
    WHERE user_id = %(user_id)s AND period = 'day' AND starts_at >= %(since)s
      AND starts_at < date_trunc('day', %(rolled)s::timestamptz, %(zone)s)
  UNION ALL
    SELECT key_id, requests, cost_micro FROM proxy_rollup
    WHERE user_id = %(user_id)s AND period = 'hour' AND starts_at < %(rolled)s
      AND starts_at >= greatest(%(since)s, date_trunc('day', %(rolled)s::timestamptz, %(zone)s))
  UNION ALL
    SELECT key_id, 1, cost_micro FROM proxy_usagerecord
    WHERE user_id = %(user_id)s AND created_at >= greatest(%(since)s, %(rolled)s)
) parts GROUP BY key_id
"""


@dataclass(frozen=True, slots=True)
class KeyUsage:
    """Requests, failed ones too, and what they cost in micro-Rial."""

    requests: int = 0
    cost_micro: int = 0


def since(*, user_id: int, start: datetime) -> dict[int, KeyUsage]:
    """By key id; keys without usage are left out. `start` is a midnight of settings.TIME_ZONE."""
    rolled = rolled_up_until() or EPOCH
    parameters: dict[str, Any] = {
        "user_id": user_id,
        "since": start,
        "rolled": rolled,
        "zone": settings.TIME_ZONE,
    }
    with connection.cursor() as cursor:
        cursor.execute(BY_KEY, parameters)
        return {key_id: KeyUsage(requests, cost_micro) for key_id, requests, cost_micro in cursor.fetchall()}
