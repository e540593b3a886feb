"""What /metrics says: what the processes of this machine have counted, and the state that the engines hold.

Where PROMETHEUS_MULTIPROC_DIR names a folder, each process counts into a file there, and any of them speaks for all.
"""

import os
import threading
import time
from collections.abc import Iterator
from functools import cache

import prometheus_client
import redis
from django.conf import settings
from django.db import connection
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from proxy.usage import partitions
from wallet.ledger.holds import SWEEP_LATE_SECONDS

STATE_SECONDS = 60  # so old it may be: it counts rows of whole tables
BROKER_TIMEOUT_SECONDS = 2
CELERY_QUEUE = "celery"

STATE = {
    "hamiran_holds_open": ("Holds of running requests", "SELECT count(*) FROM wallet_hold"),
    "hamiran_holds_expired": (
        "Expired holds that nobody has swept in time",
        f"SELECT count(*) FROM wallet_hold WHERE expires_at < now() - interval '{SWEEP_LATE_SECONDS} seconds'",  # noqa: S608 - a number of ours
    ),
    "hamiran_wallets_frozen": (
        "Wallets whose books contradict themselves",
        "SELECT count(*) FROM wallet_wallet WHERE frozen_at IS NOT NULL",
    ),
    "hamiran_topups_under_review": (
        "Payments that an admin has to look at",
        "SELECT count(*) FROM wallet_topup WHERE status = 'review'",
    ),
    "hamiran_topups_waiting": (
        "Payments whose payer has come back and that are not settled yet",
        "SELECT count(*) FROM wallet_topup WHERE status IN ('returned', 'verifying')",
    ),
    "hamiran_archive_away": (
        "1 where there is an archive of all changes (WAL_ARCHIVE) that receives none",
        "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'archive' AND NOT active",
    ),
    "hamiran_rollup_age_seconds": (
        "Since the end of the newest hour that is summed",
        "SELECT coalesce(extract(epoch FROM now() - max(starts_at) - interval '1 hour'), 0)"
        " FROM proxy_rollup WHERE period = 'hour'",
    ),
    "hamiran_usage_records_in_default": (
        "Usage records that no month has taken",
        partitions.HELD_BY_DEFAULT,
    ),
    "hamiran_usage_months_ahead": (
        "Months after the present one that usage records can land in",
        partitions.AHEAD,
    ),
}


class State(Collector):
    """Figures that are read from PostgreSQL and the queue when somebody asks, at most once in STATE_SECONDS."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read_at = -float(STATE_SECONDS)
        self._values: dict[str, tuple[str, float]] = {}

    def describe(self) -> list[GaugeMetricFamily]:
        return []  # nothing is read before somebody asks

    def collect(self) -> Iterator[GaugeMetricFamily]:
        with self._lock:
            if time.monotonic() - self._read_at >= STATE_SECONDS:
                self._values = {**_database(), **_queue()}
                self._read_at = time.monotonic()
            values = self._values
        for name, (said, value) in values.items():
            yield GaugeMetricFamily(name, said, value=value)


def _database() -> dict[str, tuple[str, float]]:
    found = {}
    try:
        with connection.cursor() as cursor:
            for name, (said, sql) in STATE.items():
                cursor.execute(sql)
                found[name] = (said, float(cursor.fetchone()[0]))
        up = 1.0
    except Exception:  # that it is away is what this figure is for
        up = 0.0
    finally:
        connection.close()
    found["hamiran_postgresql_up"] = ("1 where PostgreSQL answers", up)
    return found


def _queue() -> dict[str, tuple[str, float]]:
    client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=BROKER_TIMEOUT_SECONDS)
    try:
        waiting, up = float(client.llen(CELERY_QUEUE)), 1.0
    except (redis.RedisError, OSError):
        waiting, up = float("nan"), 0.0
    finally:
        client.close()
    return {
        "hamiran_queue_waiting": ("Tasks that wait for a worker", waiting),
        "hamiran_valkey_up": ("1 where Valkey answers", up),
    }


def text() -> bytes:
    """In Prometheus's text format. Talks to the engines."""
    return prometheus_client.generate_latest(_registry())


@cache
def _registry() -> prometheus_client.CollectorRegistry:
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = prometheus_client.CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    else:
        registry = prometheus_client.REGISTRY
    registry.register(State())
    return registry
