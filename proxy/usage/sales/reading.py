"""What was sold in whole days or hours of Tehran's, summed by whatever sales are kept by."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from operator import add, attrgetter
from typing import Any, NamedTuple

from django.db import connection

from proxy.usage.periods import Period
from proxy.usage.sales.counting import SUMS
from proxy.usage.sales.models import CustomerSales, RouteSales, SalesProgress

BY: dict[str, type[RouteSales] | type[CustomerSales]] = {
    "model": RouteSales,
    "upstream_id": RouteSales,
    "user_id": CustomerSales,
}
READ = """
SELECT {group}, {sums}, count(*) OVER () FROM {table}
WHERE period = %(by)s AND starts_at >= %(since)s AND starts_at < %(until)s
GROUP BY 1 ORDER BY sum(billed_micro) DESC, sum(requests) DESC, 1 LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums of requests, as proxy.usage.sales.models.Sales has them; money in micro-Rial."""

    requests: int = 0
    client_left: int = 0
    upstream_failed: int = 0
    refused: int = 0
    interrupted: int = 0
    billed_requests: int = 0
    billed_micro: int = 0
    costed_requests: int = 0
    costed_micro: int = 0
    cost_micro: int = 0

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(*map(add, _values(self), _values(other)))

    @property
    def failed(self) -> int:
        return self.upstream_failed + self.refused + self.interrupted

    @property
    def is_cost_known(self) -> bool:
        """Of any of it, or there was nothing to know it of."""
        return not self.billed_requests or self.costed_requests > 0 or self.cost_micro > 0

    @property
    def is_cost_complete(self) -> bool:
        return self.costed_requests == self.billed_requests

    @property
    def margin_micro(self) -> int | None:
        """Of what was billed and has a known cost; None where nothing has."""
        return self.costed_micro - self.cost_micro if self.is_cost_known else None

    @property
    def margin_basis_points(self) -> int | None:
        """Hundredths of a percent of what was billed and has a known cost."""
        if not self.is_cost_known or not self.costed_micro:
            return None
        return (self.costed_micro - self.cost_micro) * 10_000 // self.costed_micro

    @property
    def costed_basis_points(self) -> int:
        """How much of what was billed has a known cost, of requests where they cost nothing; rounded down."""
        if self.billed_micro:
            return self.costed_micro * 10_000 // self.billed_micro
        return self.costed_requests * 10_000 // self.billed_requests if self.billed_requests else 0


NONE = Figures()
_values = attrgetter(*SUMS.split(", "))


class Ranked(NamedTuple):
    """Those billed most first, and how many there are beyond these."""

    rows: list[tuple[Any, Figures]]
    more: int

    def first(self, limit: int | None) -> "Ranked":
        rows = self.rows[:limit]
        return Ranked(rows, self.more + len(self.rows) - len(rows))


def by(group: str, period: Period, *, limit: int | None = None) -> Ranked:
    """One of BY: what each of them had in a period."""
    return _read(group, BY[group], period, limit=limit)


def slices(period: Period) -> list[Figures]:
    """Of each of its hours or days, in order, empty ones included."""
    found = dict(_read("starts_at", RouteSales, period).rows)
    return [found.get(start, NONE) for start in period.starts]


def counted_until() -> datetime | None:
    """None: nothing has been counted yet."""
    return SalesProgress.objects.values_list("counted_until", flat=True).first()


def has_any() -> bool:
    """Whether anything was ever used."""
    return RouteSales.objects.filter(period=RouteSales.Period.DAY).exists()


def total(figures: Iterable[Figures]) -> Figures:
    return sum(figures, NONE)


def _read(
    group: str,
    table: type[RouteSales] | type[CustomerSales],
    period: Period,
    *,
    limit: int | None = None,
) -> Ranked:
    sums = ", ".join(f"sum({name})" for name in SUMS.split(", "))
    query = READ.format(group=group, sums=sums, table=table._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(query, {"by": period.by, "since": period.since, "until": period.until, "limit": limit})
        found = cursor.fetchall()
    rows = [(key, Figures(*map(int, rest))) for key, *rest, _count in found]
    return Ranked(rows, more=found[0][-1] - len(rows) if found else 0)
