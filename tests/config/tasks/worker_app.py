"""The Celery application with a task that does what a file says: what tests/config/tasks/test_worker.py runs."""

import os
import time
from pathlib import Path
from typing import Any

from celery.signals import task_postrun
from django.db import connection

from config.celery import app
from config.tasks import periodic

app.conf.task_default_queue = "test-worker"
periodic.KILL_SECONDS = 1
periodic.RETRY_SECONDS = 4.0  # so that a message may be two seconds under way and still not be tried again


@app.task(name="test.misbehave", soft_time_limit=1)
def misbehave() -> None:
    script = Path(os.environ["MISBEHAVE"])
    match script.read_text():
        case "sleep":
            time.sleep(60)
        case "sleep in SQL":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(60)")
        case "go on in spite of it":
            while True:
                try:
                    time.sleep(60)
                except Exception as error:  # as code does that must not stop for one bad row
                    print(error)
        case "die":
            os._exit(9)
        case "lose the database once":
            script.write_text("well")
            connection.ensure_connection()
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        case "err":
            raise ValueError("a key hm-0123456789abcdefghij\nand a second line")
        case _:
            app.log.get_default_logger("test").info("did what it should")


@task_postrun.connect
def tell_how_it_ended(state: str, **_given: Any) -> None:
    print(f"ended: {state}")  # which Celery does not log of what it ignores
