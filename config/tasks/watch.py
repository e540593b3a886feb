"""What the rows of the tasks say: which are late, and whether anything has begun lately at all.

For whoever shows it: `standstill()` gives the time since which no task has begun, or None while all is well, in one
query; the admin's pages say it where a template has `{% include "admin/standstill.html" with standstill=… %}`, which
is empty for None.
"""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from config.models import TaskRun

logger = logging.getLogger(__name__)

# The busiest task is sent every five seconds: where none has begun for so long, beat, worker or Valkey stand still.
SILENCE = timedelta(minutes=2)
PERIODS_MISSED = 3
LOOK_SECONDS = 60.0


class State(StrEnum):
    RUNNING = "running"
    WELL = "well"
    FAILING = "failing"
    LATE = "late"
    UNSCHEDULED = "unscheduled"


STATES = {
    State.RUNNING: _("running"),
    State.WELL: _("well"),
    State.FAILING: _("failing"),
    State.LATE: _("late"),
    State.UNSCHEDULED: _("not in the schedule"),
}


@dataclass(frozen=True, slots=True)
class Standstill:
    """`since`: when the last task began; None: none ever has."""

    since: datetime | None


def scheduled() -> Mapping[str, timedelta]:
    """How often each task of the schedule is sent, by the name of its row."""
    entries: Mapping[str, dict[str, Any]] = settings.CELERY_BEAT_SCHEDULE
    return {
        " ".join((entry["task"], *map(str, entry.get("args", ())))): timedelta(seconds=entry["schedule"])
        for entry in entries.values()
    }


def standstill(*, now: datetime | None = None) -> Standstill | None:
    last = TaskRun.objects.aggregate(last=Max("began_at"))["last"]
    if last is not None and (now or timezone.now()) - last <= SILENCE:
        return None
    return Standstill(since=last)


def state(run: TaskRun, *, now: datetime) -> State:
    period = scheduled().get(run.name)
    if period is None:
        return State.UNSCHEDULED
    if is_late(run, period=period, now=now):
        return State.LATE
    if run.failures_in_row:
        return State.FAILING
    return State.RUNNING if run.run_id else State.WELL


def is_late(run: TaskRun, *, period: timedelta, now: datetime) -> bool:
    """Whether it has neither ended well nor been under way for longer than a few runs take."""
    last = max(filter(None, (run.succeeded_at, run.began_at if run.run_id else None)), default=None)
    return last is None or now - last > PERIODS_MISSED * period + SILENCE


def begin() -> None:
    """Lets this process, the worker's or beat's, say in its log when no task begins any more, as long as it is so.

    Each watches the other: where beat has died the worker says it, and where no worker is left beat does.
    """
    threading.Thread(target=_watch, name="task-watch", daemon=True).start()


def _watch() -> None:
    pause = threading.Event()
    while not pause.wait(LOOK_SECONDS):
        look()
        connection.close()


def look() -> None:
    try:
        found = standstill()
    except Exception:  # the database is away, which others say
        logger.warning("tasks not looked at", exc_info=True)
    else:
        if found is not None:
            logger.error(
                "no task begins: beat, the worker or Valkey stands still", extra={"since": found.since}
            )
