"""What every task of Celery is here: one run at a time, bounded in time, tried again where that may help, and noted.

A run that has reached its task's `soft_time_limit` gets an exception, in Python and in SQL alike. One that goes on in
spite of it is killed KILL_SECONDS later by the pool, and PostgreSQL gives up what it still did for it within a second.

What may be over in a moment (an engine or a provider that is away, a deadlock) is tried again, later each time, until
the run's message expires: then the next run of the schedule is the next try.
"""

import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import redis
from celery import Task
from celery.exceptions import Ignore
from django.db import InterfaceError, OperationalError, connection
from psycopg.errors import QueryCanceled

from accounts.shared import database_session
from config.tasks import runs

logger = logging.getLogger(__name__)

KILL_SECONDS = 10  # for what a run does between its exception and its end
LEASE_SECONDS = 10  # beyond that
RETRY_SECONDS, RETRY_MAX_SECONDS, RETRIES_MAX = 2.0, 600.0, 10
NOTE_TRIES, NOTE_SECONDS = 9, 1.0  # within KILL_SECONDS
TRANSIENT = (
    OperationalError,
    InterfaceError,
    redis.ConnectionError,
    redis.TimeoutError,
    httpx.TransportError,
    ConnectionError,
    TimeoutError,
)


class PeriodicTask(Task):  # type: ignore[type-arg]  # not generic at run time
    abstract = True
    max_retries = RETRIES_MAX
    # Each task has its own; this one is for tasks that somebody forgot.
    soft_time_limit: int = 60

    @property
    def time_limit(self) -> int:  # type: ignore[override]  # a plain attribute of the parent's
        return self.soft_time_limit + KILL_SECONDS

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.request.called_directly:  # by a command or a test, which ends by itself
            return super().__call__(*args, **kwargs)
        try:
            self._claim(args)
            return self.run(*args, **kwargs)
        except TRANSIENT as error:
            if isinstance(error.__cause__, QueryCanceled):
                raise  # it has had its time
            self._again(error)

    def _claim(self, args: Sequence[Any]) -> None:
        """Raises Ignore where another run has the task."""
        database_session.bound_statements(seconds=self.soft_time_limit)
        name = " ".join((self.name, *map(str, args)))
        lease_seconds = self.time_limit + LEASE_SECONDS
        run_id = str(self.request.id)
        if not runs.claim(name, run_id=run_id, seconds=lease_seconds, lag_seconds=self._lag_seconds()):
            raise Ignore("another run has it")

    def _lag_seconds(self) -> float | None:
        """Since the message was sent; None for a message that was to wait. Clocks may differ a little."""
        sent_at = getattr(self.request, "sent_at", None)
        return None if sent_at is None or self.request.retries else max(0.0, time.time() - sent_at)

    def _again(self, error: Exception) -> None:
        """Raises Retry, or the error itself where the next run of the schedule comes first."""
        wait = min(RETRY_SECONDS * 2**self.request.retries, RETRY_MAX_SECONDS) * random.uniform(0.5, 1)  # noqa: S311
        expires: Any = self.request.expires
        if isinstance(expires, str):
            expires = datetime.fromisoformat(expires)
        if expires is not None and datetime.now(UTC) + timedelta(seconds=wait) >= expires:
            raise error
        raise self.retry(exc=error, countdown=wait)

    def on_success(self, retval: Any, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        _note(lambda: runs.succeed(run_id=task_id))

    def on_retry(
        self, exc: Exception, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any], einfo: Any
    ) -> None:
        has_failed(task_id=task_id, exception=exc)


def has_failed(*, task_id: str, exception: BaseException, **given: Any) -> None:
    """Celery's signal says so: in the run's process, or in the main one where that died or was killed."""
    _note(lambda: runs.fail(run_id=task_id, error=exception))


def _note(write: Callable[[], None]) -> None:
    """On a new connection, since the run may have left the old one in the middle of something."""
    for tries_left in reversed(range(NOTE_TRIES)):
        connection.close()
        try:
            write()
        except Exception:  # the lease ends by itself, and the next run counts what this one could not
            if not tries_left:
                logger.warning("end of a task not noted", exc_info=True)
                return
            time.sleep(NOTE_SECONDS)  # a server that was killed is back in a moment
        else:
            return
        finally:
            connection.close()
