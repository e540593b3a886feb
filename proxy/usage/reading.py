"""Requests by their ids, or by those that clients gave them, as the API reads them: a statement on an index."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from proxy.catalogue.prices import price_shape
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.usage import lookup
from proxy.usage.models import UsageRecord

COLUMNS = tuple(str(field.column) for field in UsageRecord._meta.concrete_fields)
SETTLED = f"""{", ".join(f"r.{name}" for name in COLUMNS)},
    k.name AS key_name, k.last_four AS key_last_four,
    p.input_rial_per_million AS list_input, p.output_rial_per_million AS list_output,
    p.cached_input_rial_per_million AS list_cached_input, p.further AS list_further"""
OF_RECORD = """
LEFT JOIN keys_apikey k ON k.id = r.key_id
LEFT JOIN proxy_price p ON p.id = r.price_list_id AND r.quantities IS NOT NULL"""
# A settlement deletes the hold and writes the record in one statement, so that one statement finds a request once.
FIND = f"""
SELECT asked.id AS asked, h.amount_micro AS held_micro, h.created_at AS held_at, {SETTLED}
FROM unnest(%(ids)s::uuid[]) AS asked(id)
LEFT JOIN proxy_usagerecord r ON r.id = asked.id AND r.user_id = %(user_id)s
    AND r.created_at BETWEEN %(since)s AND %(until)s
LEFT JOIN wallet_hold h ON h.id = asked.id AND h.wallet_id = %(user_id)s
{OF_RECORD}
WHERE r.id IS NOT NULL OR h.id IS NOT NULL
"""  # noqa: S608 - put together from constants
# A client may give several requests the same: each try of one, say.
NEWEST_OF_CLIENT_ID = 10
FIND_BY_CLIENT_IDS = f"""
SELECT {SETTLED}
FROM unnest(%(names)s::text[]) WITH ORDINALITY AS asked(name, place)
CROSS JOIN LATERAL (
    SELECT * FROM proxy_usagerecord
    WHERE user_id = %(user_id)s AND client_request_id = asked.name AND client_request_id <> ''
    ORDER BY created_at DESC LIMIT {NEWEST_OF_CLIENT_ID}
) AS r
{OF_RECORD}
ORDER BY asked.place, r.created_at DESC
"""  # noqa: S608 - likewise


@dataclass(frozen=True, slots=True)
class KeyHint:
    name: str
    last_four: str


@dataclass(frozen=True, slots=True)
class Running:
    """A request that is not settled yet."""

    held_micro: int
    held_at: datetime


@dataclass(frozen=True, slots=True)
class Settled:
    """A record, the list that priced it (or the prices that it keeps), and the key that asked (None: unknown)."""

    record: UsageRecord
    price: PriceQuote
    key: KeyHint | None


async def key_hints(connection: psycopg.AsyncConnection[Any], *, user_id: int) -> dict[int, KeyHint]:
    """All keys of an account, those that are revoked too, by id."""
    cursor = await connection.execute(
        "SELECT id, name, last_four FROM keys_apikey WHERE user_id = %s", [user_id]
    )
    return {key_id: KeyHint(name, last_four) async for key_id, name, last_four in cursor}


async def find(
    connection: psycopg.AsyncConnection[Any], *, user_id: int, ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, Running | Settled]:
    """Requests of an account; ids that it does not have are left out."""
    found: dict[uuid.UUID, Running | Settled] = {}
    async with connection.cursor(row_factory=dict_row) as cursor:
        for since, until in lookup.spans(ids):
            if missing := [each for each in ids if each not in found]:
                await cursor.execute(
                    FIND, {"ids": missing, "user_id": user_id, "since": since, "until": until}
                )
                found |= {row["asked"]: _found(row) async for row in cursor}
    return found


async def find_by_client_ids(
    connection: psycopg.AsyncConnection[Any], *, user_id: int, names: Sequence[str]
) -> list[Settled]:
    """The newest requests of an account by each of these ids that its clients gave them; running ones have none yet."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(FIND_BY_CLIENT_IDS, {"names": list(names), "user_id": user_id})
        return [_settled(row) async for row in cursor]


def _found(row: dict[str, Any]) -> Running | Settled:
    return Running(row["held_micro"], row["held_at"]) if row["id"] is None else _settled(row)


def _settled(row: dict[str, Any]) -> Settled:
    record = UsageRecord(**{name: row[name] for name in COLUMNS})
    key = KeyHint(row["key_name"], row["key_last_four"]) if row["key_name"] else None
    return Settled(record, _price(record, row), key)


def _price(record: UsageRecord, row: dict[str, Any]) -> PriceQuote:
    if row["list_input"] is None:
        return PriceQuote(
            record.input_rial_per_million,
            record.output_rial_per_million,
            record.cached_input_rial_per_million,
        )
    return price_shape.read(
        row["list_input"], row["list_output"], row["list_cached_input"], row["list_further"]
    )
