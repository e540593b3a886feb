"""What a user's own users used: from the days of their roll-ups, and from records that are not in them yet.

For periods of whole days: hours by end user are not kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from accounts.shared import replica
from proxy.usage.figures import GROUP, SUMS, WANTED, Figures, Used
from proxy.usage.periods import Period
from proxy.usage.rollups import rolled_up_until

ROLLED = """
WITH rolled AS MATERIALIZED (
    SELECT coalesce(max(starts_at), '-infinity') AS at FROM proxy_rollup WHERE period = 'hour'
)
"""
DAYS = f"""
    FROM proxy_enduserrollup
    WHERE {WANTED} AND starts_at >= date_trunc('day', %(since)s::timestamptz, %(zone)s)
      AND starts_at < %(until)s"""
# In one statement with the roll-ups, which go on at any moment. `near` is how far they were before it, as a figure by
# which the planner leaves out all months but the last.
RECORDS = f"""
    FROM proxy_usagerecord
    WHERE {WANTED} AND end_user IS NOT NULL AND created_at >= %(since)s AND created_at < %(until)s
      AND created_at >= %(near)s AND created_at >= (SELECT at FROM rolled)"""  # noqa: S608 - put together from constants
BY_END_USER = f"""{ROLLED}
SELECT end_user, any_value(end_user_hint), {", ".join(f"sum({name})::bigint" for name in SUMS.split(", "))}
FROM (
    SELECT end_user, end_user_hint, {SUMS} {DAYS}
  UNION ALL
    SELECT end_user, end_user_hint, 1, (outcome NOT IN ('completed', 'client_left'))::int, prompt_tokens,
        cached_tokens, completion_tokens, cost_micro {RECORDS}
) AS parts
GROUP BY end_user ORDER BY sum(cost_micro) DESC, sum(requests) DESC, end_user LIMIT %(size)s
"""  # noqa: S608 - likewise
# Compared so that no index by end user is taken for it, in which what is new lies anywhere.
USED = f"""{ROLLED}
SELECT {GROUP} {DAYS} AND end_user = %(end_user)s
UNION SELECT {GROUP} {RECORDS} AND (end_user = %(end_user)s) IS TRUE
"""


@dataclass(frozen=True, slots=True)
class EndUserShare:
    """What was used for one end user. `digest`: hexadecimal; `hint`: how pages name it."""

    digest: str
    hint: str
    figures: Figures

    @property
    def asked_for(self) -> str:
        """What finds it in the log (proxy/usage/forms.py)."""
        return f"user:{self.digest}"


def shares(
    *,
    user_id: int,
    period: Period,
    key_id: int | None = None,
    model: str | None = None,
    endpoint: str | None = None,
    size: int | None = None,
) -> Iterator[EndUserShare]:
    """The dearest end users of whole days, `size` at most (None: all); by one key, of one model, at one endpoint."""
    parameters = _parameters(user_id, period, key_id=key_id, model=model, endpoint=endpoint)
    with replica.connection().cursor() as cursor:
        cursor.execute(BY_END_USER, {**parameters, "size": size})
        for digest, hint, *sums in cursor.fetchall():
            yield EndUserShare(bytes(digest).hex(), hint, Figures(*sums))


def used(
    *,
    user_id: int,
    period: Period,
    end_user: bytes,
    key_id: int | None = None,
    model: str | None = None,
    endpoint: str | None = None,
) -> list[Used]:
    """Which keys used which models at which endpoints for an end user, in the days that a period touches."""
    parameters = _parameters(user_id, period, key_id=key_id, model=model, endpoint=endpoint)
    with replica.connection().cursor() as cursor:
        cursor.execute(USED, {**parameters, "end_user": end_user})
        return [Used(*row) for row in cursor.fetchall()]


def _parameters(user_id: int, period: Period, **only: int | str | None) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "since": period.since,
        "until": period.until,
        "zone": settings.TIME_ZONE,
        "near": rolled_up_until() or period.since,
        **only,
    }
