"""The proof that a closed stretch of time adds up: journal, usage records, roll-ups and what upstreams charge.

An hour at a time, each in a snapshot of its own, so that it takes the same memory whatever was used, and keeps nothing
in the database from being cleaned up. `wallet.integrity` has the rules of the whole journal, for
`manage.py check_ledger`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from proxy.usage import rollups
from proxy.usage.proof_rules import BOOKED, DAILY, HOURLY, SUMS
from wallet import integrity

HOUR = timedelta(hours=1)
# What belongs together has the time of one transaction; a little more costs little.
APART = timedelta(minutes=10)
FOUND_MAX = 1_000  # violations of one rule in one hour, which is enough to know that it is broken


@dataclass(slots=True)
class Proved:
    """What was looked at, in sums, and each violation: the rule in words, and its row."""

    records: int = 0
    cost_micro: int = 0
    booked_micro: int = 0
    upstream_cost_micro: int = 0
    upstream_cost_nanodollars: int = 0
    found: list[tuple[str, integrity.Row]] = field(default_factory=list)


def prove(*, since: datetime, until: datetime) -> Proved:
    """Proves the hours from `since` up to `until`, which lie within one day of settings.TIME_ZONE. Opens transactions.

    Needs roll-ups up to then (`rollups.roll_up`), and nothing that is still to be committed there.
    """
    proved = Proved()
    start = since
    while start < until:
        end = min(start + HOUR, until)
        with integrity.snapshot():
            parameters = {"since": start, "until": end, "apart": APART}
            _sum(proved, parameters)
            proved.found += _violations(HOURLY, parameters)
        start = end
    with integrity.snapshot():
        rolled = rollups.rolled_up_until() or since
        proved.found += _violations(DAILY, {"since": since, "rolled": rolled, "zone": settings.TIME_ZONE})
    if proved.booked_micro != proved.cost_micro:
        sums = {"booked_micro": proved.booked_micro, "cost_micro": proved.cost_micro}
        proved.found.append(("the journal has booked what the usage records cost", sums))
    return proved


def _sum(proved: Proved, parameters: dict[str, Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(SUMS, parameters)
        records, cost, upstream_micro, nanodollars = cursor.fetchone()
        cursor.execute(BOOKED, parameters)
        [booked] = cursor.fetchone()
    proved.records += records
    proved.cost_micro += int(cost)
    proved.booked_micro += int(booked)
    proved.upstream_cost_micro += int(upstream_micro)
    proved.upstream_cost_nanodollars += int(nanodollars)


def _violations(
    rules: list[tuple[str, str]], parameters: dict[str, Any]
) -> Iterator[tuple[str, integrity.Row]]:
    with connection.cursor() as cursor:
        for rule, query in rules:
            cursor.execute(f"{integrity.first(query)} LIMIT {FOUND_MAX}", parameters)
            columns = [column.name for column in cursor.description]
            yield from ((rule, dict(zip(columns, row, strict=True))) for row in cursor.fetchall())
