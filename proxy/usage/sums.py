"""Usage summed by any groups, as the API reads it: from roll-ups, and from records that are not in them yet.

One statement, since roll-ups may be made anew at any moment. Rows come in the order of their groups, which a page
begins behind.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from django.conf import settings

from proxy.usage.figures import SUMS, Figures

# What can be asked for, as the statement has it. None of them is NULL, so that they can be compared.
GROUPS = {
    "day": "date_trunc('day', at, %(zone)s)",
    "hour": "date_trunc('hour', at, %(zone)s)",
    "key": "key_id",
    "model": "model",
    "endpoint": "endpoint",
    "user": "coalesce(end_user, '')",
}
TYPES = {"day": "timestamptz", "hour": "timestamptz", "key": "bigint", "user": "bytea"}
EACH = "key_id, model, endpoint"
# A key stays in its project.
WANTED = """user_id = %(user_id)s AND (%(project_id)s::bigint IS NULL
      OR key_id IN (SELECT id FROM keys_apikey WHERE project_id = %(project_id)s))"""
OF_DAYS = f"{WANTED} AND starts_at >= %(since)s AND starts_at < %(until)s"
NEGATED = ", ".join(f"-{name}" for name in SUMS.split(", "))
SLICES = f"""
WITH rolled AS MATERIALIZED (
    SELECT coalesce(max(starts_at), to_timestamp(0)) AS until,
        date_trunc('day', coalesce(max(starts_at), to_timestamp(0)), %(zone)s) AS today
    FROM proxy_rollup WHERE period = 'hour'
), slices AS (
    SELECT starts_at AS at, {EACH}, NULL::bytea AS end_user, '' AS hint, {SUMS}
    FROM proxy_rollup WHERE {OF_DAYS} AND period = 'day' AND NOT %(by_hour)s AND starts_at < (SELECT today FROM rolled)
  UNION ALL
    SELECT starts_at, {EACH}, NULL, '', {SUMS}
    FROM proxy_rollup WHERE {OF_DAYS} AND period = 'hour' AND starts_at < (SELECT until FROM rolled)
      AND (%(by_hour)s OR starts_at >= (SELECT today FROM rolled))
  UNION ALL
    SELECT created_at, {EACH}, end_user, end_user_hint, 1, (outcome NOT IN ('completed', 'client_left'))::int,
        prompt_tokens, cached_tokens, completion_tokens, cost_micro
    FROM proxy_usagerecord WHERE {WANTED} AND created_at >= %(since)s AND created_at < %(until)s
      AND created_at >= (SELECT until FROM rolled)
  {{of_end_users}}
)"""  # noqa: S608 - put together from constants
# Roll-ups of all usage do not tell end users apart: theirs are added, and taken off where there is none.
OF_END_USERS = f"""
  UNION ALL
    SELECT starts_at, {EACH}, end_user, end_user_hint, {SUMS} FROM proxy_enduserrollup WHERE {OF_DAYS}
  UNION ALL
    SELECT starts_at, {EACH}, NULL, '', {NEGATED} FROM proxy_enduserrollup WHERE {OF_DAYS}
"""  # noqa: S608 - likewise


@dataclass(frozen=True, slots=True)
class Sum:
    """What was used in one group. `groups`: its values, in the order asked for; `hint`: how an end user is shown."""

    groups: tuple[Any, ...]
    hint: str
    figures: Figures


async def read(
    connection: psycopg.AsyncConnection[Any],
    *,
    user_id: int,
    project_id: int | None = None,
    since: datetime,
    until: datetime,
    groups: Sequence[str],
    after: Sequence[Any] | None,
    limit: int,
) -> list[Sum]:
    """Up to `limit` groups (some of GROUPS) of an account or of one of its projects, behind the values of one.

    `since` and `until` are midnights. Not by `user` and `hour` at once: hours by end user are not kept.
    """
    cursor = await connection.execute(
        *statement(
            user_id=user_id,
            project_id=project_id,
            since=since,
            until=until,
            groups=groups,
            after=after,
            limit=limit,
        )
    )
    return [found(row, groups) async for row in cursor]


def statement(
    *,
    user_id: int,
    project_id: int | None = None,
    since: datetime,
    until: datetime,
    groups: Sequence[str],
    after: Sequence[Any] | None,
    limit: int,
) -> tuple[str, dict[str, Any]]:
    """What is asked of the database, with its parameters."""
    parameters = {
        "user_id": user_id,
        "project_id": project_id,
        "since": since,
        "until": until,
        "zone": settings.TIME_ZONE,
        "by_hour": "hour" in groups,
        "limit": limit,
        **{f"after_{number}": value for number, value in enumerate(after or ())},
    }
    return _query(groups, has_place=after is not None), parameters


def found(row: tuple[Any, ...], groups: Sequence[str]) -> Sum:
    count = len(groups)
    return Sum(row[:count], row[count], Figures(*row[count + 1 :]))


def _query(groups: Sequence[str], *, has_place: bool) -> str:
    columns = [f"g{number}" for number in range(len(groups))]
    named = "".join(f"{GROUPS[name]} AS {column}, " for name, column in zip(groups, columns, strict=True))
    sums = ", ".join(f"coalesce(sum({name}), 0)::bigint AS {name}" for name in SUMS.split(", "))
    slices = SLICES.format(of_end_users=OF_END_USERS if "user" in groups else "")
    listed = ", ".join(columns)
    place = ", ".join(f"%(after_{number})s::{TYPES.get(name, 'text')}" for number, name in enumerate(groups))
    return f"""{slices}
SELECT * FROM (
    SELECT {named}coalesce(min(hint), '') AS hint, {sums} FROM slices {f"GROUP BY {listed}" if groups else ""}
) AS summed
WHERE {f"({listed}) > ({place})" if has_place else "TRUE"} {"AND requests > 0" if groups else ""}
{f"ORDER BY {listed}" if groups else ""} LIMIT %(limit)s
"""  # noqa: S608 - likewise
