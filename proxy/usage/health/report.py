"""How well each model has answered, in shares and times: what the status page and /public/status.json tell.

Never in numbers of calls, which are the operator's business, and never by upstream.
"""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from time import monotonic

from django.utils import timezone

from proxy.catalogue import served as catalogue
from proxy.usage import periods
from proxy.usage.health.models import HealthProgress, ModelHealth
from proxy.usage.latency import Latency, latency
from proxy.usage.progress import SLOT

KEPT_SECONDS = 30
MIN_CALLS = 10  # of fewer nothing is said
DEGRADED_BELOW, DOWN_BELOW = 0.98, 0.5
NOW = timedelta(minutes=15)  # what a model's state is judged by, where there are enough calls; else an hour
BEHIND = timedelta(minutes=10)
Period = ModelHealth.Period


class State(StrEnum):
    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"  # too few calls to say


@dataclass(frozen=True, slots=True)
class Row:
    """Calls of one model in one slot, hour or day."""

    starts_at: datetime
    answered: int
    failed: int
    first_buckets: Sequence[int]
    first_counts: Sequence[int]
    whole_buckets: Sequence[int]
    whole_counts: Sequence[int]


@dataclass(frozen=True, slots=True)
class Figures:
    """`per_mille` of the calls were answered, rounded down; None: too few calls to say. Likewise the times."""

    state: State
    per_mille: int | None
    first_byte: Latency | None
    whole: Latency | None


@dataclass(frozen=True, slots=True)
class Mark:
    """An hour or a day of the strip."""

    starts_at: datetime
    state: State
    per_mille: int | None


@dataclass(frozen=True, slots=True)
class ModelReport:
    """`hours` and `days` from the oldest on."""

    model_id: str
    state: State
    last_hour: Figures
    last_day: Figures
    last_month: Figures
    hours: list[Mark]
    days: list[Mark]


@dataclass(frozen=True, slots=True)
class Report:
    """`since` is that of the first call counted; None: there was none. `counted_until`: calls since then are not in."""

    made_at: datetime
    since: datetime | None
    counted_until: datetime | None
    models: list[ModelReport]

    @property
    def is_behind(self) -> bool:
        return self.counted_until is None or self.made_at - self.counted_until > BEHIND

    @property
    def state(self) -> State:
        """Of the whole: down only where everything is."""
        states = {model.state for model in self.models}
        for state in (State.DOWN, State.DEGRADED, State.UP):
            if state in states:
                return State.DEGRADED if state is State.DOWN and State.UP in states else state
        return State.UNKNOWN


class _Kept:
    """One report for all readers of a process, made anew when it is asked for and old; one at a time.

    Where it cannot be made, or while it is, the one before is given, which says of when it is.
    """

    def __init__(self) -> None:
        self._report: Report | None = None
        self._until = 0.0
        self._turn = threading.Lock()

    def get(self, make: Callable[[], Report]) -> Report:
        report = self._report
        if report is not None and (monotonic() < self._until or self._turn.locked()):
            return report
        with self._turn:
            if self._report is None or monotonic() >= self._until:
                self._report = make()
                self._until = monotonic() + KEPT_SECONDS
            return self._report

    def forget(self) -> None:
        self._report = None


kept = _Kept()


def current() -> Report:
    """At most KEPT_SECONDS old. Raises what the database raises, where there is none yet."""
    return kept.get(lambda: make(timezone.now()))


def make(now: datetime) -> Report:
    progress = HealthProgress.objects.first()
    hours, days = (periods.preset(name, now=now).starts for name in ("24h", "30d"))
    slots = _by_model(Period.SLOT, since=now - timedelta(hours=1) - SLOT)
    by_hour, by_day = _by_model(Period.HOUR, since=hours[0]), _by_model(Period.DAY, since=days[0])
    return Report(
        made_at=now,
        since=progress.since if progress else None,
        counted_until=progress.counted_until if progress else None,
        models=[
            _report(
                model_id,
                slots.get(model_id, {}),
                by_hour.get(model_id, {}),
                by_day.get(model_id, {}),
                now=now,
                hours=hours,
                days=days,
            )
            for model_id in catalogue.load(now)
        ],
    )


Rows = Mapping[datetime, Row]


def _by_model(period: ModelHealth.Period, *, since: datetime) -> dict[str, dict[datetime, Row]]:
    found: dict[str, dict[datetime, Row]] = {}
    rows = ModelHealth.objects.filter(period=period, starts_at__gte=since)
    for model, *figures in rows.values_list("model", *Row.__slots__):
        row = Row(*figures)
        found.setdefault(model, {})[row.starts_at] = row
    return found


def _report(
    model_id: str,
    slots: Rows,
    by_hour: Rows,
    by_day: Rows,
    *,
    now: datetime,
    hours: Sequence[datetime],
    days: Sequence[datetime],
) -> ModelReport:
    last_hour = _figures([row for start, row in slots.items() if start > now - timedelta(hours=1) - SLOT])
    lately = _state([row for start, row in slots.items() if start > now - NOW - SLOT])
    return ModelReport(
        model_id=model_id,
        state=lately if lately is not State.UNKNOWN else last_hour.state,
        last_hour=last_hour,
        last_day=_figures(by_hour.values()),
        last_month=_figures(by_day.values()),
        hours=[_mark(start, by_hour.get(start)) for start in hours],
        days=[_mark(start, by_day.get(start)) for start in days],
    )


def _figures(rows: Collection[Row]) -> Figures:
    return Figures(
        state=_state(rows),
        per_mille=_per_mille(rows),
        first_byte=_latency((row.first_buckets, row.first_counts) for row in rows),
        whole=_latency((row.whole_buckets, row.whole_counts) for row in rows),
    )


def _mark(start: datetime, row: Row | None) -> Mark:
    rows = [row] if row is not None else []
    return Mark(starts_at=start, state=_state(rows), per_mille=_per_mille(rows))


def _state(rows: Collection[Row]) -> State:
    answered, calls = _counts(rows)
    if calls < MIN_CALLS:
        return State.UNKNOWN
    share = answered / calls
    return State.DOWN if share < DOWN_BELOW else State.DEGRADED if share < DEGRADED_BELOW else State.UP


def _per_mille(rows: Collection[Row]) -> int | None:
    answered, calls = _counts(rows)
    return answered * 1000 // calls if calls >= MIN_CALLS else None


def _counts(rows: Collection[Row]) -> tuple[int, int]:
    answered = sum(row.answered for row in rows)
    return answered, answered + sum(row.failed for row in rows)


def _latency(measured: Iterable[tuple[Sequence[int], Sequence[int]]]) -> Latency | None:
    counts: Counter[int] = Counter()
    for buckets, numbers in measured:
        for bucket, number in zip(buckets, numbers, strict=True):
            counts[bucket] += number
    return latency(counts) if counts.total() >= MIN_CALLS else None
