"""The work behind, and what it has proved, as the database has it."""

import time

from django.utils import timezone

from accounts.shared.formats import TEHRAN
from config import proofs
from config.doctor.findings import Found, Level, ok
from config.models import TaskRun
from config.tasks import watch

FIRST_TASK_SECONDS = 10
FAILURES_IN_ROW = 3


def tasks() -> Found:
    found = watch.standstill()
    deadline = time.monotonic() + FIRST_TASK_SECONDS
    while found is not None and time.monotonic() < deadline:  # the service may have been started this moment
        time.sleep(0.5)
        found = watch.standstill()
    if found is not None:
        since = "ever" if found.since is None else f"since {found.since:%Y-%m-%d %H:%M:%S} UTC"
        yield (
            Level.PROBLEM,
            f"none has begun {since}",
            "Where a worker answers (see Celery above), beat has died: start it again (`celery -A config beat`).",
        )
        return
    now, periods = timezone.now(), watch.scheduled()
    bad = [
        run
        for run in TaskRun.objects.filter(name__in=periods).order_by("name")
        if run.failures_in_row >= FAILURES_IN_ROW or watch.is_late(run, period=periods[run.name], now=now)
    ]
    for run in bad:
        yield (
            Level.PROBLEM,
            f"{run.name} has failed {run.failures_in_row} times in a row, or is late: {run.last_error or 'no error'}",
            "Tasks in the admin, and the worker's log, say more.",
        )
    if not bad:
        yield ok(f"{len(periods)} in the schedule, all run")


def proof() -> Found:
    last, now = proofs.last(), timezone.now()
    if last is None:
        yield ok("no day has been proved yet; the first is, an hour after a midnight")
    elif last.faults:
        yield (
            Level.PROBLEM,
            f"the books of {last.since.astimezone(TEHRAN):%Y-%m-%d} do not add up: {last.faults} faults",
            "Proofs of the books in the admin, and `manage.py check_ledger`, say which.",
        )
    elif now - last.until > proofs.OVERDUE:
        yield (
            Level.PROBLEM,
            f"the last day proved ended {(now - last.until).days} days ago",
            "Tasks in the admin, config.prove_books, says why.",
        )
    else:
        yield ok(
            f"{last.since.astimezone(TEHRAN):%Y-%m-%d} adds up: {last.records} requests, {last.rules} rules"
        )
