"""What a key may do at this moment, as the database says it: the limits of its tier, in whose place exceptions stand,
and its own where they are lower.

An exception of the key comes before one of its user, and either before the tier, limit by limit. What all keys of the
account may do together follows the user's.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.db import connection

HOLDS = "now() >= {0}.starts_at AND now() < {0}.ends_at"
# For a statement that reads `keys_apikey k`.
TABLES = f"""
JOIN accounts_user u ON u.id = k.user_id JOIN accounts_tier t ON t.id = u.tier_id
LEFT JOIN keys_limitoverride uo ON uo.user_id = k.user_id AND {HOLDS.format("uo")}
LEFT JOIN keys_limitoverride ko ON ko.key_id = k.id AND {HOLDS.format("ko")}
"""
LIMITS = ("rpm", "tpm", "concurrency", "rpd", "tpd")
OF_MODEL = f"model, {', '.join(LIMITS)}"


def _of_account(name: str) -> str:
    return f"coalesce(uo.{name}, t.{name})"


def _of_key(name: str) -> str:
    limit = f"coalesce(ko.{name}, uo.{name}, t.{name})"
    return limit if name in ("rpd", "tpd") else f"least({limit}, k.{name})"


OF_KEY = ", ".join(_of_key(name) for name in LIMITS)
OF_ACCOUNT = ", ".join(_of_account(name) for name in LIMITS)
# What holds for single models: the tier's first, then what stands in its place.
OF_MODELS = f"""(
    SELECT jsonb_agg(jsonb_build_array(rank, {OF_MODEL}) ORDER BY rank) FROM (
        SELECT 0 AS rank, {OF_MODEL} FROM accounts_tiermodellimit WHERE tier_id = t.id
        UNION ALL SELECT 1, {OF_MODEL} FROM keys_overridemodellimit WHERE override_id = uo.id
        UNION ALL SELECT 2, {OF_MODEL} FROM keys_overridemodellimit WHERE override_id = ko.id
    ) AS each
)"""  # noqa: S608 - put together from constants
COLUMNS = f"{OF_KEY}, {OF_ACCOUNT}, t.account_factor, {OF_MODELS}"

OF_ALL = f"SELECT k.id, {COLUMNS} FROM keys_apikey k {TABLES} WHERE k.user_id = %s AND k.revoked_at IS NULL"  # noqa: S608
OF_ONE = f"SELECT {COLUMNS} FROM keys_apikey k {TABLES} WHERE k.id = %s"  # noqa: S608


class Allowed(NamedTuple):
    """What one key may do; None: any number."""

    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    rpd: int | None = None
    tpd: int | None = None


@dataclass(frozen=True, slots=True)
class ModelAllowance:
    """Of one model: for the key, and for each key of the account, of which `account_factor` times that is for all."""

    key: Allowed
    account: Allowed


@dataclass(frozen=True, slots=True)
class Allowance:
    """`of_key` and `of_account` (what one key of it may do, before its own limits) have RPM and TPM always."""

    of_key: Allowed
    of_account: Allowed
    account_factor: int
    models: Mapping[str, ModelAllowance] = field(default_factory=dict)

    @classmethod
    def of_row(cls, row: Iterable[Any]) -> "Allowance":
        """Of COLUMNS."""
        *plain, factor, models = row
        count = len(LIMITS)
        return cls(Allowed(*plain[:count]), Allowed(*plain[count:]), factor, of_models(models))


def of_models(rows: str | Iterable[Any] | None) -> Mapping[str, ModelAllowance]:
    """Of OF_MODELS, which Django's connection reads as text."""
    read: Iterable[Any] = json.loads(rows) if isinstance(rows, str) else rows or ()
    found: dict[str, ModelAllowance] = {}
    for rank, model, *limits in read:
        known = found.get(model, ModelAllowance(Allowed(), Allowed()))
        key = _over(known.key, limits)
        found[model] = ModelAllowance(key, _over(known.account, limits) if rank < 2 else known.account)
    return found


def _over(below: Allowed, limits: Iterable[int | None]) -> Allowed:
    return Allowed(*(low if high is None else high for low, high in zip(below, limits, strict=True)))


def of_keys(*, user_id: int) -> dict[int, Allowance]:
    """What each key of an account that was not revoked may do now, for pages."""
    with connection.cursor() as cursor:
        cursor.execute(OF_ALL, [user_id])
        return {key_id: Allowance.of_row(row) for key_id, *row in cursor.fetchall()}


def of_key(*, key_id: int) -> Allowance:
    """Of a key that there is, whether it still works or not."""
    with connection.cursor() as cursor:
        cursor.execute(OF_ONE, [key_id])
        return Allowance.of_row(cursor.fetchone())
