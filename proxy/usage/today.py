"""What an account has used on one of Tehran's days, by key and model: what the daily limits begin from.

From roll-ups, and from records for what is not in them yet and for the day's first hour: a request belongs to the day
on which it began, and may be recorded on the next.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection as sync_connection

from proxy.limits.day import AccountDay, Recorded, Use

# Which day is meant is told by another clock (Valkey's). Where that is far from the database's own, this one's day
# counts: a clock that jumps grants no second day, and locks nobody out.
SUMS = """
WITH day AS MATERIALIZED (
    SELECT date_trunc('day', CASE WHEN %(at)s BETWEEN now() - interval '5 minutes' AND now() + interval '5 minutes'
        THEN %(at)s ELSE now() END, %(zone)s) AS since,
        (SELECT coalesce(max(starts_at), to_timestamp(0)) FROM proxy_rollup WHERE period = 'hour') AS rolled
), used AS (
    SELECT key_id, model, requests, prompt_tokens + completion_tokens AS tokens
    FROM proxy_rollup, day
    WHERE user_id = %(user_id)s AND period = 'hour'
      AND starts_at >= since + interval '1 hour' AND starts_at < rolled
  UNION ALL
    SELECT key_id, model, 1, prompt_tokens + completion_tokens
    FROM proxy_usagerecord, day
    WHERE user_id = %(user_id)s AND created_at >= since
      AND (created_at >= rolled OR created_at < since + interval '1 hour')
      AND created_at - total_ms * interval '1 millisecond' >= since
)
SELECT key_id, model, sum(requests)::bigint, sum(tokens)::bigint FROM used GROUP BY key_id, model
"""

Connect = Callable[[], AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]]


def recorded(connect: Connect) -> Recorded:
    """How a web process asks for it."""

    async def ask(user_id: int, at: datetime) -> AccountDay:
        async with connect() as connection:
            cursor = await connection.execute(SUMS, _parameters(user_id, at))
            return _found(await cursor.fetchall())

    return ask


def read(*, user_id: int, at: datetime) -> AccountDay:
    """For pages."""
    with sync_connection.cursor() as cursor:
        cursor.execute(SUMS, _parameters(user_id, at))
        return _found(cursor.fetchall())


def _parameters(user_id: int, at: datetime) -> dict[str, Any]:
    return {"user_id": user_id, "at": at, "zone": settings.TIME_ZONE}


def _found(rows: list[tuple[Any, ...]]) -> AccountDay:
    return AccountDay({(key_id, model): Use(requests, tokens) for key_id, model, requests, tokens in rows})
