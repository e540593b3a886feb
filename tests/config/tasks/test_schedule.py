"""Every task is in the schedule, bounded in time, and forgotten by the queue when its next run is due."""

from typing import Any

import pytest
from celery import current_app
from django.conf import settings

import config.celery  # noqa: F401 - the application that beat and worker load
from config.tasks import watch
from config.tasks.periodic import PeriodicTask

ENTRIES: dict[str, dict[str, Any]] = settings.CELERY_BEAT_SCHEDULE
LONGEST_LIMIT_SECONDS = 3600


def tasks() -> dict[str, Any]:
    current_app.loader.import_default_modules()
    return {
        name: task for name, task in current_app.tasks.items() if not name.startswith(("celery.", "test."))
    }


def test_the_schedule_sends_each_task_and_no_other() -> None:
    assert {entry["task"] for entry in ENTRIES.values()} == set(tasks())


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES.keys())
def test_each_entry_expires_with_its_period_and_comes_often_enough_for_a_beat_without_a_memory(
    entry: dict[str, Any],
) -> None:
    assert entry["options"] == {"expires": min(entry["schedule"], 3600)}
    # A beat that has lost its file begins to count anew: what comes once a day would wait for a day without a restart.
    assert 5 <= entry["schedule"] <= 6 * 3600


@pytest.mark.parametrize("name", sorted(tasks()))
def test_each_task_has_a_limit_of_its_own_and_runs_one_at_a_time(name: str) -> None:
    task = tasks()[name]
    assert isinstance(task, PeriodicTask)
    assert "soft_time_limit" in vars(type(task)), "say in @shared_task how long a run may take"
    assert 0 < task.soft_time_limit < task.time_limit <= LONGEST_LIMIT_SECONDS + 10


def test_each_entry_has_a_row_of_its_own() -> None:
    assert len(watch.scheduled()) == len(ENTRIES)
