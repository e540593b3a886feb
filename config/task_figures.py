"""What each task of Celery adds to the figures of /metrics: how long it took, how it ended, and when it last did."""

import time
from typing import Any

from celery.signals import task_postrun, task_prerun
from prometheus_client import Gauge, Histogram

SECONDS = Histogram(
    "hamiran_task_seconds",
    "Tasks of the worker, to their end",
    ["task", "state"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 1800),
)
ENDED_AT = Gauge(
    "hamiran_task_succeeded_timestamp_seconds",
    "When a task last ended well, as a Unix time",
    ["task"],
    multiprocess_mode="max",
)

_began: dict[str, float] = {}  # by the id of a running task


def connect() -> None:
    task_prerun.connect(_begins, weak=False)
    task_postrun.connect(_has_ended, weak=False)


def _begins(task_id: str, **given: Any) -> None:
    _began[task_id] = time.perf_counter()


def _has_ended(task_id: str, task: Any, state: str | None, **given: Any) -> None:
    began = _began.pop(task_id, None)
    if began is not None:
        SECONDS.labels(task.name, (state or "unknown").lower()).observe(time.perf_counter() - began)
    if state == "SUCCESS":
        ENDED_AT.labels(task.name).set(time.time())
