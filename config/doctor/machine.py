"""What the service stands on: its folder, its settings, its engines and processes."""

import resource
import shutil
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import redis
from django.conf import settings
from django.core import checks
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from accounts.shared import replica
from config.celery import app
from config.doctor.findings import Found, Level, ok

TIMEOUT_SECONDS = 5
DISK_MIN_BYTES = 1 << 30
CLOCKS_APART_SECONDS = 5
CERTIFICATE_MIN = timedelta(days=14)
POSTGRESQL_MIN = 140000


def data_folder() -> Found:
    folder = settings.VAR_DIR
    probe = folder / ".doctor"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        yield (
            Level.PROBLEM,
            f"{folder} cannot be written: {error}",
            "Choose a folder of your own: HAMIRAN_VAR=…",
        )
        return
    free = shutil.disk_usage(folder).free
    if free < DISK_MIN_BYTES:
        yield (
            Level.PROBLEM,
            f"only {free >> 20} MiB are left on the disk of {folder}",
            "Make room: a full disk stops every payment and every call.",
        )
    else:
        yield ok(f"{folder}, {free >> 30} GiB free")


def configuration() -> Found:
    if settings.SANDBOX:
        yield ok("sandbox: codes are shown on the page, and payments are play money")
        return
    messages = checks.run_checks(include_deployment_checks=True)
    for message in messages:
        level = Level.PROBLEM if message.is_serious() else Level.WARNING
        yield level, message.msg, message.hint or "See the settings table of deploy/README.md."
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * settings.IN_FLIGHT_MAX + 200
    if hard != resource.RLIM_INFINITY and hard < needed:
        yield (
            Level.WARNING,
            f"a process may open {hard} files, but {settings.IN_FLIGHT_MAX} running calls take {needed}",
            "Raise the limit (LimitNOFILE= of the unit), or lower IN_FLIGHT_MAX.",
        )
    if not messages:
        yield ok("production; nothing is missing")


def postgresql() -> Found:
    start = "Start the service with `make run`, or check DATABASE_URL."
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT current_setting('server_version_num')::int, current_setting('server_version'),"
                " current_setting('fsync'), current_setting('full_page_writes'), pg_is_in_recovery(),"
                " current_setting('max_connections')::int, current_setting('server_encoding'),"
                " extract(epoch FROM clock_timestamp())::float8"
            )
            number, version, fsync, full_pages, replica, connections, encoding, clock = cursor.fetchone()
    except Exception as error:
        yield Level.PROBLEM, f"does not answer: {str(error).strip().splitlines()[0]}", start
        return
    apart = abs(time.time() - clock)
    if number < POSTGRESQL_MIN:
        yield (
            Level.PROBLEM,
            f"version {version} is too old",
            "Use PostgreSQL 14 or newer; 18 is what is tested.",
        )
    if replica:
        yield (
            Level.PROBLEM,
            "this is a replica, which takes no payments",
            "Let DATABASE_URL name the primary.",
        )
    for name, value in (("fsync", fsync), ("full_page_writes", full_pages)):
        if value != "on":
            yield (
                Level.PROBLEM,
                f"{name} is {value}: a crash loses money",
                f"Set {name} = on in postgresql.conf.",
            )
    if encoding != "UTF8":
        yield Level.PROBLEM, f"the database's encoding is {encoding}", "Make it anew with the encoding UTF8."
    if connections < 20 + 12 * settings.WEB_PROCESSES:
        yield (
            Level.WARNING,
            f"max_connections is {connections}, for {settings.WEB_PROCESSES} web processes",
            f"Raise it to {20 + 12 * settings.WEB_PROCESSES}, or put PgBouncer in front.",
        )
    if apart > CLOCKS_APART_SECONDS:
        yield (
            Level.PROBLEM,
            f"its clock and this machine's are {apart:.0f} s apart",
            "Keep both in time (chrony, systemd-timesyncd): prices, expiries and periods go by them.",
        )
    executor = MigrationExecutor(connection)
    if pending := executor.migration_plan(executor.loader.graph.leaf_nodes()):
        yield (
            Level.PROBLEM,
            f"{len(pending)} migrations are not applied",
            "Run `manage.py migrate`, or start the service, which does.",
        )
    else:
        yield ok(f"version {version}, {connections} connections, all migrations applied")


def replica_of_postgresql() -> Found:
    if not settings.REPLICA_URL:
        return
    meanwhile = "Pages are read from the primary meanwhile. Check REPLICA_URL, and the replica."
    try:
        _as_of, lag = replica.look()
    except (DatabaseError, replica.NoReplica) as error:
        yield Level.WARNING, f"cannot be used: {str(error).strip().splitlines()[0]}", meanwhile
        return
    if lag > settings.REPLICA_LAG_MAX_SECONDS:
        yield Level.WARNING, f"{lag:.0f} s behind", meanwhile
    else:
        yield ok(f"{lag:.0f} s behind")


def valkey() -> Found:
    client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=TIMEOUT_SECONDS)
    try:
        server: Any = client.info("server")
        memory: Any = client.info("memory")
    except (redis.RedisError, OSError) as error:
        yield (
            Level.WARNING,
            f"does not answer: {error}",
            "Calls are served, with limits counted by each process alone, but Celery stands still. Check REDIS_URL.",
        )
        return
    finally:
        client.close()
    policy = memory.get("maxmemory_policy", "noeviction")
    if memory.get("maxmemory") and policy != "noeviction":
        yield (
            Level.WARNING,
            f"it throws keys away when it is full (maxmemory-policy {policy})",
            "Set noeviction: Celery's queue and the limits live there.",
        )
    version = server.get("valkey_version") or server.get("redis_version")
    yield ok(f"version {version}")


def web() -> Found:
    headers = {"Host": urlsplit(settings.BASE_URL).netloc, "X-Forwarded-Proto": "https"}
    address = f"http://127.0.0.1:{settings.PORT}/readyz"
    try:
        answer = httpx.get(address, headers=headers, timeout=TIMEOUT_SECONDS)
    except httpx.HTTPError as error:
        yield (
            Level.PROBLEM,
            f"{address} does not answer: {error}",
            "Start the service, or give this command its PORT.",
        )
        return
    if answer.status_code != 200:
        yield Level.PROBLEM, f"not ready: {answer.text[:300]}", "The part that is not ok says what to mend."
    else:
        yield ok(f"ready at port {settings.PORT}")
    if not settings.SANDBOX:
        yield from front_door()


def front_door() -> Found:
    """What customers reach: the proxy in front, and its certificate."""
    parts = urlsplit(settings.BASE_URL)
    host, port = parts.hostname or "", parts.port or 443
    try:
        context = ssl.create_default_context()
        with (
            socket.create_connection((host, port), TIMEOUT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            until = ssl.cert_time_to_seconds(str((secured.getpeercert() or {})["notAfter"]))
        answer = httpx.get(f"{settings.BASE_URL}/healthz", timeout=TIMEOUT_SECONDS)
    except (OSError, httpx.HTTPError) as error:
        yield (
            Level.WARNING,
            f"{settings.BASE_URL} cannot be reached from here: {error}",
            "Check the TLS proxy (deploy/nginx.conf), its certificate and the name's address.",
        )
        return
    left = datetime.fromtimestamp(until, UTC) - datetime.now(UTC)
    if left < CERTIFICATE_MIN:
        yield Level.WARNING, f"its certificate ends in {left.days} days", "Renew it."
    if answer.status_code != 200:
        yield (
            Level.PROBLEM,
            f"{settings.BASE_URL}/healthz answers {answer.status_code}",
            "Let the proxy pass on every path, with Host and X-Forwarded-Proto.",
        )
    elif left >= CERTIFICATE_MIN:
        yield ok(f"{settings.BASE_URL} answers")


def celery() -> Found:
    try:
        replies = app.control.ping(timeout=2)
    except Exception as error:  # the broker's client raises its own
        yield Level.WARNING, f"cannot be asked: {error}", "See Valkey above."
        return
    if not replies:
        yield (
            Level.PROBLEM,
            "no worker answers",
            "Start one (`celery -A config worker`; `make run` does): without it no top-up is looked after.",
        )
    else:
        yield ok(f"{len(replies)} worker" + ("s answer" if len(replies) > 1 else " answers"))
