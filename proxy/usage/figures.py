"""What a user used, for the pages: from roll-ups, and from the records themselves for the hours after them.

So the figures are complete at every moment, whether Celery runs or not, and stay fast over millions of records.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import add, attrgetter
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _

from accounts.shared import replica
from keys.models import APIKey
from proxy.usage.latency import BOUNDS_MS, Latency, latency
from proxy.usage.periods import Period
from proxy.usage.rollups import rolled_up_until

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Whole days come from their roll-ups, the current day from its hours, and what no hour has yet from records.
WANTED = """user_id = %(user_id)s AND (%(key_id)s::bigint IS NULL OR key_id = %(key_id)s)
      AND (%(model)s::text IS NULL OR model = %(model)s)
      AND (%(endpoint)s::text IS NULL OR endpoint = %(endpoint)s)"""
WHOLE_DAYS = f"""
    FROM proxy_rollup
    WHERE {WANTED} AND period = 'day' AND %(by)s = 'day' AND starts_at >= %(since)s
      AND starts_at < least(%(until)s, date_trunc('day', %(rolled)s::timestamptz, %(zone)s))"""
HOURS = f"""
    FROM proxy_rollup
    WHERE {WANTED} AND period = 'hour' AND starts_at >= %(since)s AND starts_at < least(%(until)s, %(rolled)s)
      AND (%(by)s = 'hour' OR starts_at >= date_trunc('day', %(rolled)s::timestamptz, %(zone)s))"""
RECORDS = f"""
    FROM proxy_usagerecord
    WHERE {WANTED} AND created_at >= greatest(%(since)s, %(rolled)s) AND created_at < %(until)s"""

GROUP = "key_id, model, endpoint"
SUMS = "requests, errors, prompt_tokens, cached_tokens, completion_tokens, cost_micro"
FIGURES = f"""
WITH slices AS (
    SELECT starts_at, {GROUP}, {SUMS} {WHOLE_DAYS}
  UNION ALL
    SELECT date_trunc(%(by)s, starts_at, %(zone)s), {GROUP}, {SUMS} {HOURS}
  UNION ALL
    SELECT date_trunc(%(by)s, created_at, %(zone)s), {GROUP}, 1,
        (outcome NOT IN ('completed', 'client_left'))::int, prompt_tokens, cached_tokens, completion_tokens,
        cost_micro {RECORDS}
)
SELECT starts_at, {GROUP},
    {", ".join(f"coalesce(sum({name}), 0)::bigint" for name in SUMS.split(", "))}
FROM slices GROUP BY GROUPING SETS ((starts_at, endpoint), (key_id, model))
"""  # noqa: S608 - put together from constants
BUCKETS = "unnest(latency_buckets) AS bucket, unnest(latency_counts) AS n"  # in step, and faster than a join
LATENCIES = f"""
SELECT extract(epoch FROM starts_at)::bigint, bucket, sum(n)::bigint FROM (
    SELECT starts_at, {BUCKETS} {WHOLE_DAYS}
  UNION ALL
    SELECT date_trunc(%(by)s, starts_at, %(zone)s), {BUCKETS} {HOURS}
  UNION ALL
    SELECT date_trunc(%(by)s, created_at, %(zone)s), width_bucket(total_ms, %(bounds)s::int[]), 1 {RECORDS}
      AND outcome = 'completed'
) AS slices GROUP BY starts_at, bucket
"""  # noqa: S608 - likewise
USED = f"""
SELECT {GROUP} {WHOLE_DAYS} UNION SELECT {GROUP} {HOURS}
UNION SELECT {GROUP} {RECORDS}
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums of requests; `cost_micro` in micro-Rial; cached tokens are among the prompt's."""

    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cost_micro: int = 0

    def __add__(self, other: "Figures") -> "Figures":
        return Figures(*map(add, _values(self), _values(other)))


NONE = Figures()
_values = attrgetter(*SUMS.split(", "))


@dataclass(frozen=True, slots=True)
class Slice:
    """One hour or day, and its endpoints; `latency` counts completed answers, None without any."""

    starts_at: datetime
    figures: Figures
    by_endpoint: Mapping[str, Figures]
    latency: Latency | None


@dataclass(frozen=True, slots=True, order=True)
class KeyLabel:
    """How pages name a key: its name and the end of its secret (empty if the key is unknown)."""

    name: str
    last_four: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """What one key used of one model."""

    key: KeyLabel
    model: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Used:
    """A key (its id) that used a model at an endpoint."""

    key_id: int
    model: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class PeriodUsage:
    """What was used in a period: per hour or day, empty ones included; per key and model, and per endpoint, dearest
    first; in sum."""

    slices: list[Slice]
    shares: list[Share]
    by_endpoint: Mapping[str, Figures]
    total: Figures
    latency: Latency | None


def over(
    *,
    user_id: int,
    period: Period,
    key_id: int | None = None,
    model: str | None = None,
    endpoint: str | None = None,
) -> PeriodUsage:
    """What was used in a period: by one key, of one model, at one endpoint, or (None) by, of and at all."""
    parameters = _parameters(user_id, period, key_id, model, endpoint)
    with replica.connection().cursor() as cursor:
        cursor.execute(FIGURES, parameters)
        rows = cursor.fetchall()
        cursor.execute(LATENCIES, parameters)
        latencies, latency_of_all = _latencies(cursor.fetchall())
    names = key_names(user_id)
    slices: dict[datetime, dict[str, Figures]] = {}
    shares: list[Share] = []
    endpoints: dict[str, Figures] = {}
    for starts_at, share_key_id, share_model, used_endpoint, *sums in rows:
        figures = Figures(*sums)
        if starts_at is None:
            shares.append(Share(key=key_label(names, share_key_id), model=share_model, figures=figures))
        else:
            slices.setdefault(starts_at, {})[used_endpoint] = figures
            endpoints[used_endpoint] = endpoints.get(used_endpoint, NONE) + figures
    shares.sort(
        key=lambda share: (-share.figures.cost_micro, -share.figures.requests, share.key, share.model)
    )
    return PeriodUsage(
        slices=[
            Slice(
                start,
                sum(slices.get(start, {}).values(), NONE),
                slices.get(start, {}),
                latencies.get(int(start.timestamp())),
            )
            for start in period.starts
        ],
        shares=shares,
        by_endpoint=dict(
            sorted(endpoints.items(), key=lambda each: (-each[1].cost_micro, -each[1].requests, each[0]))
        ),
        total=sum(endpoints.values(), NONE),
        latency=latency_of_all,
    )


def used(
    *,
    user_id: int,
    period: Period,
    key_id: int | None = None,
    model: str | None = None,
    endpoint: str | None = None,
) -> list[Used]:
    """Which keys used which models at which endpoints in a period, in no order."""
    with replica.connection().cursor() as cursor:
        cursor.execute(USED, _parameters(user_id, period, key_id, model, endpoint))
        return [Used(*row) for row in cursor.fetchall()]


def key_names(user_id: int) -> dict[int, KeyLabel]:
    """How pages name a user's keys, by id, newest first; with revoked ones and the playground's."""
    keys = APIKey.objects.filter(user_id=user_id).only("name", "last_four", "kind")
    return {
        key.pk: KeyLabel(_("Playground"))  # its secret has changed since
        if key.kind == APIKey.Kind.SESSION
        else KeyLabel(key.name, key.last_four)
        for key in keys
    }


def key_label(names: dict[int, KeyLabel], key_id: int) -> KeyLabel:
    return names.get(key_id) or KeyLabel(f"#{key_id}")


def _parameters(
    user_id: int, period: Period, key_id: int | None, model: str | None, endpoint: str | None
) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "key_id": key_id,
        "model": model,
        "endpoint": endpoint,
        "by": period.by,
        "since": period.since,
        "until": period.until,
        "rolled": rolled_up_until() or EPOCH,
        "zone": settings.TIME_ZONE,
        "bounds": BOUNDS_MS,
    }


def _latencies(
    rows: Iterable[tuple[int, int, int]],
) -> tuple[dict[int, Latency | None], Latency | None]:
    """The latency of each slice, by the second of its beginning, and of all."""
    slices: dict[int, dict[int, int]] = {}
    total: dict[int, int] = {}
    for starts_at, bucket, count in rows:
        slices.setdefault(starts_at, {})[bucket] = count
        total[bucket] = total.get(bucket, 0) + count
    return {start: latency(counts) for start, counts in slices.items()}, latency(total)
