"""What the work behind adds to the figures of /metrics.

How long tasks took is counted by the worker's processes, on its machine. What the rows of the tasks and of the proofs
say, any web process tells, wherever the worker is.
"""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from celery.signals import task_postrun, task_prerun
from prometheus_client import Histogram
from prometheus_client.core import GaugeMetricFamily

SECONDS = Histogram(
    "hamiran_task_seconds",
    "Tasks of the worker, to their end",
    ["task", "state"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 1800),
)
BY_TASK = {
    "hamiran_task_succeeded_timestamp_seconds": "When a task last ended well, as a Unix time",
    "hamiran_task_failures_in_row": "Runs of a task that have failed since one ended well",
    "hamiran_task_lag_seconds": "From beat's message to the last beginning of a task",
    "hamiran_task_is_late": "1 where a task of the schedule has not ended well for several of its periods",
}
STANDSTILL = "hamiran_tasks_silent_seconds"
PROOF_AGE, PROOF_FAULTS = "hamiran_proof_age_seconds", "hamiran_proof_faults"
ALL = {
    STANDSTILL: "Since any task has begun",
    PROOF_AGE: "Since the end of the last day whose books were proved",
    PROOF_FAULTS: "What was wrong in the books of the last day that was proved",
}

_began: dict[str, float] = {}  # by the id of a running task


def connect() -> None:
    task_prerun.connect(_begins, weak=False)
    task_postrun.connect(_has_ended, weak=False)


def _begins(task_id: str, **given: Any) -> None:
    _began[task_id] = time.perf_counter()


def _has_ended(task_id: str, task: Any, state: str | None, **given: Any) -> None:
    began = _began.pop(task_id, None)
    if began is not None and state != "IGNORED":  # another run has the task
        SECONDS.labels(task.name, (state or "unknown").lower()).observe(time.perf_counter() - began)


def of_the_work() -> Iterator[GaugeMetricFamily]:
    """Reads the database. What is not known yet is not told; silence and a proof that is missing count from ever."""
    from django.utils import timezone

    from config import proofs
    from config.models import TaskRun
    from config.tasks import watch

    now = timezone.now()
    runs = list(TaskRun.objects.order_by("name"))
    by_task = {name: GaugeMetricFamily(name, said, labels=["task"]) for name, said in BY_TASK.items()}
    periods = watch.scheduled()
    for run in runs:
        period = periods.get(run.name)
        told = (
            None if run.succeeded_at is None else run.succeeded_at.timestamp(),
            run.failures_in_row,
            run.lag_seconds,
            None if period is None else int(watch.is_late(run, period=period, now=now)),
        )
        for family, value in zip(by_task.values(), told, strict=True):
            if value is not None:
                family.add_metric([run.name], value)
    yield from by_task.values()
    proof = proofs.last()
    values = {
        STANDSTILL: _since(max((run.began_at for run in runs), default=None), now),
        PROOF_AGE: _since(None if proof is None else proof.until, now),
        PROOF_FAULTS: 0 if proof is None else proof.faults,
    }
    for name, value in values.items():
        yield GaugeMetricFamily(name, ALL[name], value=value)


def _since(moment: datetime | None, now: datetime) -> float:
    return float("inf") if moment is None else (now - moment).total_seconds()
