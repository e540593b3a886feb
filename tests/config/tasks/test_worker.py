"""A real worker: what hangs, dies or fails is ended and noted, and the next run does its work."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from config.celery import app
from config.models import TaskRun
from config.tasks import runs
from tests.live import eventually

pytestmark = pytest.mark.slow
NAME, QUEUE = "test.misbehave", "test-worker"


@dataclass
class Worker:
    script: Path
    log: Path

    def run(self, how: str, **options: Any) -> None:
        self.script.write_text(how)
        app.send_task(NAME, queue=QUEUE, **options)

    def row(self) -> TaskRun:
        return TaskRun.objects.get(pk=NAME)

    def runs(self) -> int:
        return sum(TaskRun.objects.filter(pk=NAME, run_id=None).values_list("runs", flat=True))

    def ignored(self) -> int:
        """How many messages were taken for which nothing was run."""
        return self.log.read_text().count("ended: IGNORED")

    def run_to_the_end(self, how: str) -> TaskRun:
        before = self.runs()
        self.run(how)
        eventually(lambda: self.runs() > before, seconds=30)
        return self.row()


@pytest.fixture(scope="module")
def started(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("worker")
    worker = Worker(script=folder / "script", log=folder / "log")
    worker.script.touch()
    with django_db_blocker.unblock(), worker.log.open("wb") as log:
        settings = connection.settings_dict
        TaskRun.objects.filter(pk=NAME).delete()
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "tests.config.tasks.worker_app", "worker", "--concurrency", "2",
             "-Q", QUEUE, "--without-gossip", "--without-mingle"],
            env={
                **os.environ,
                "DATABASE_URL": f"postgresql://{settings['USER']}@/{settings['NAME']}?host={settings['HOST']}",
                "MISBEHAVE": str(worker.script),
            },
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield worker
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture
def worker(started: Worker, committed_db: None) -> Worker:
    return started


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("sleep", "SoftTimeLimitExceeded"),
        ("sleep in SQL", "SoftTimeLimitExceeded"),
        ("go on in spite of it", "TimeLimitExceeded"),
        ("die", ("TimeLimitExceeded", "WorkerLostError")),  # whichever is noticed first
    ],
)
def test_what_does_not_end_is_ended_and_the_next_run_works(
    worker: Worker, how: str, error: str | tuple[str, str]
) -> None:
    ended = worker.run_to_the_end(how)
    assert ended.last_error.startswith(error)
    assert ended.failures_in_row == 1
    assert ended.seconds is not None
    assert ended.seconds < 20
    with connection.cursor() as cursor:
        asleep = (
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(60)' AND state = 'active'"
        )

        def is_over() -> bool:
            cursor.execute(asleep)
            return bool(cursor.fetchone() == (0,))

        eventually(is_over)
    well = worker.run_to_the_end("well")
    assert well.failures_in_row == 0
    assert well.succeeded_at == well.ended_at
    assert well.lag_seconds is not None


def test_what_fails_says_why_without_secrets_or_rows(worker: Worker) -> None:
    ended = worker.run_to_the_end("err")
    assert ended.last_error == "ValueError: a key hm-…"
    assert ended.failed_at == ended.ended_at


def test_what_may_be_over_in_a_moment_is_tried_again(worker: Worker) -> None:
    before = worker.runs()
    worker.run("lose the database once")
    eventually(lambda: worker.runs() == before + 2, seconds=30)
    assert worker.row().failures_in_row == 0
    assert "OperationalError" in worker.row().last_error


def test_it_is_not_tried_again_after_the_next_run_of_the_schedule(worker: Worker) -> None:
    before = worker.runs()
    worker.run("lose the database once", expires=datetime.now(UTC) + timedelta(seconds=1.9))
    eventually(lambda: worker.runs() == before + 1, seconds=30)
    assert worker.row().failures_in_row == 1
    assert worker.run_to_the_end("well").runs == before + 2


def test_what_another_worker_runs_is_not_run_beside_it(worker: Worker) -> None:
    before, ignored = worker.runs(), worker.ignored()
    elsewhere = str(uuid.uuid4())
    assert runs.claim(NAME, run_id=elsewhere, seconds=60, lag_seconds=None)
    for _ in range(3):
        worker.run("well")
    eventually(lambda: worker.ignored() == ignored + 3, seconds=30)
    assert str(worker.row().run_id) == elsewhere
    runs.succeed(run_id=elsewhere)
    assert worker.run_to_the_end("well").runs == before + 2


def test_info_lines_reach_the_log_of_the_worker(worker: Worker) -> None:
    worker.run_to_the_end("well")
    line = '"level":"INFO","logger":"test","message":"did what it should"'
    eventually(lambda: line in worker.log.read_text())
    assert '"logger":"celery.worker.strategy"' not in worker.log.read_text()
