"""The Celery application: `celery -A config worker`."""

import gc
import os
import time
from typing import Any

from celery import Celery
from celery.signals import (
    beat_init,
    before_task_publish,
    setup_logging,
    task_failure,
    worker_init,
    worker_process_init,
    worker_ready,
)

from config import leash
from config.tasks import figures, periodic

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("hamiran", task_cls="config.tasks.periodic:PeriodicTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
figures.connect()
task_failure.connect(periodic.has_failed, weak=False)


@setup_logging.connect(weak=False)
def leave_logging(**given: Any) -> None:
    """Celery sets none up where somebody listens: it would raise the level to that of its command line, WARNING."""


@worker_init.connect(weak=False)
def end_its_processes_with_it(**given: Any) -> None:
    """Those of a worker that is killed while it starts them would wait for ever: each holds open what others read."""
    worker = os.getpid()

    @worker_process_init.connect(weak=False)
    def end_with_the_worker(**given: Any) -> None:
        leash.bind(worker)


@worker_init.connect(weak=False)
def share_what_is_loaded(**given: Any) -> None:
    """With its processes, which the collector would copy page by page by looking through it."""
    gc.collect()
    gc.freeze()


@before_task_publish.connect(weak=False)
def stamp(headers: dict[str, Any], **given: Any) -> None:
    """For the lag that `config.tasks.periodic` notes."""
    headers["sent_at"] = time.time()


@worker_ready.connect(weak=False)
@beat_init.connect(weak=False)
def watch_tasks(**given: Any) -> None:
    from config.tasks import watch  # its model needs Django to be set up

    watch.begin()
