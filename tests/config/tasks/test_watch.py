"""What the rows of the tasks say, and where it is said."""

import logging
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from config.models import TaskRun
from config.tasks import runs, watch
from config.tasks.watch import State
from tests.admin_browser import admin_browser

pytestmark = pytest.mark.django_db
SWEEP = "wallet.sweep_expired_holds"


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    TaskRun.objects.all().delete()


def ran(name: str = SWEEP, *, ago: timedelta = timedelta(0), **fields: Any) -> TaskRun:
    at = timezone.now() - ago
    made: TaskRun = TaskRun.objects.create(
        name=name, **{"began_at": at, "ended_at": at, "succeeded_at": at, "seconds": 0.1, "runs": 1, **fields}
    )
    return made


def state(run: TaskRun) -> State:
    return watch.state(run, now=timezone.now())


def test_a_task_that_ran_lately_is_well_and_one_that_has_not_is_late() -> None:
    assert state(ran(ago=timedelta(seconds=30))) is State.WELL
    assert state(ran("proxy.roll_up_usage", ago=timedelta(minutes=5))) is State.LATE
    assert state(ran("accounts.purge_sessions", ago=timedelta(minutes=5))) is State.WELL
    assert state(ran("a task of before")) is State.UNSCHEDULED


def test_a_task_that_fails_says_so_until_it_is_late() -> None:
    failing = ran(failures=1, failures_in_row=1, last_error="ValueError: x")
    assert state(failing) is State.FAILING
    failing.succeeded_at = failing.began_at - timedelta(minutes=5)
    assert state(failing) is State.LATE


def test_a_run_of_its_first_hour_is_not_late() -> None:
    running = ran("accounts.purge_sessions", succeeded_at=None, run_id=uuid4(), leased_until=timezone.now())
    assert state(running) is State.RUNNING


def test_one_run_has_a_task_until_its_lease_is_over() -> None:
    first, second = str(uuid4()), str(uuid4())
    assert runs.claim("t", run_id=first, seconds=60, lag_seconds=0.5)
    assert not runs.claim("t", run_id=second, seconds=60, lag_seconds=0.5)
    runs.succeed(run_id=second)  # which has nothing
    assert not runs.claim("t", run_id=second, seconds=60, lag_seconds=0.5)
    runs.succeed(run_id=first)
    runs.fail(run_id=first, error=ValueError("late"))  # a repeat
    row = TaskRun.objects.get(pk="t")
    assert (row.runs, row.failures, row.run_id, row.lag_seconds) == (1, 0, None, 0.5)


def test_a_run_that_was_lost_is_counted_by_the_next_one() -> None:
    assert runs.claim("t", run_id=str(uuid4()), seconds=-1, lag_seconds=None)
    second = str(uuid4())
    assert runs.claim("t", run_id=second, seconds=60, lag_seconds=None)
    row = TaskRun.objects.get(pk="t")
    assert (row.runs, row.failures, row.failures_in_row, row.last_error) == (2, 1, 1, runs.LOST)
    runs.succeed(run_id=second)
    assert TaskRun.objects.get(pk="t").failures_in_row == 0


@pytest.mark.parametrize(
    ("constraint", "fields"),
    [
        ("taskrun_lease_has_a_run", {"run_id": uuid4()}),
        ("taskrun_lease_has_a_run", {"leased_until": timezone.now()}),
        ("taskrun_failures_within_runs", {"failures": 2}),
        ("taskrun_failures_within_runs", {"failures_in_row": 1}),
    ],
)
def test_the_database_refuses_a_row_that_contradicts_itself(constraint: str, fields: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        ran(**fields)


def test_a_standstill_is_told_as_long_as_it_lasts(caplog: pytest.LogCaptureFixture) -> None:
    assert watch.standstill() == watch.Standstill(since=None)
    last = ran(ago=timedelta(minutes=3))
    assert watch.standstill() == watch.Standstill(since=last.began_at)
    with caplog.at_level(logging.ERROR):
        watch.look()
    assert "no task begins" in caplog.text
    caplog.clear()
    ran("accounts.deliver_webhooks")
    watch.look()
    assert watch.standstill() is None
    assert not caplog.text


def test_the_page_of_tasks_says_what_ran_what_did_not_and_that_nothing_does() -> None:
    browser = admin_browser()
    path = "/admin/config/taskrun/"
    ran(ago=timedelta(minutes=3), failures=1, failures_in_row=1, last_error="ValueError: broken")
    page = browser.get(path).content.decode()
    assert "No task has begun since" in page
    assert "ValueError: broken" in page
    assert "proxy.roll_up_usage" in page.partition("not run yet")[2]
    ran("accounts.deliver_webhooks")
    page = browser.get(path).content.decode()
    assert "No task has begun since" not in page
    assert browser.get(f"{path}{SWEEP}/change/").status_code == 200
    assert browser.get(f"{path}add/").status_code == 403
