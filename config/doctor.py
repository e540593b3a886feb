"""What an installation lacks, part by part, and what to do about it: what `manage.py doctor` says.

Nothing is changed, no message is sent, and nothing is asked of an upstream but a connection.
"""

import resource
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import httpx
import redis
from django.conf import settings
from django.core import checks
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from accounts.admin_models import Authenticator
from accounts.channel_models import BotState
from accounts.channels import bots
from accounts.sms import sending
from config import embedded
from config.celery import app
from proxy.catalogue import served
from proxy.catalogue.models import LanguageModel, Upstream
from proxy.catalogue.secrets import Undecryptable, decrypt
from wallet.ledger.models import Hold, Wallet
from wallet.payments import gateways
from wallet.payments.invoice_models import SellerDetails

TIMEOUT_SECONDS = 5
DISK_MIN_BYTES = 1 << 30
CLOCKS_APART_SECONDS = 5
HOLDS_LATE = timedelta(minutes=2)
BACKUP_MAX_AGE = timedelta(hours=26)
CERTIFICATE_MIN = timedelta(days=14)
POSTGRESQL_MIN = 140000


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one part; `advice` is empty where all is well."""

    part: str
    level: Level
    said: str
    advice: str = ""


Findings = Iterator[Finding]


def examine() -> list[Finding]:
    """All findings, in the order in which they are best mended. Talks to engines, to this service and to peers."""
    found = [*_of("data folder", _data_folder), *_of("settings", _settings)]
    database = list(_of("PostgreSQL", _postgresql))
    found += [*database, *_of("Valkey", _valkey), *_of("web", _web), *_of("Celery", _celery)]
    if any(finding.level is Level.PROBLEM for finding in database):
        return found  # what follows is read from there
    for part, check in (
        ("holds", _holds),
        ("wallets", _wallets),
        ("models", _models),
        ("upstreams", _upstreams),
        ("SMS", _sms),
        ("bots", _bots),
        ("payments", _payments),
        ("admins", _admins),
        ("backups", _backups),
    ):
        found += _of(part, check)
    return found


def _of(part: str, check: Callable[[], Iterator[tuple[Level, str, str]]]) -> Findings:
    """A check that breaks down is itself a finding: the others are still made."""
    try:
        for level, said, advice in check():
            yield Finding(part, level, said, advice)
    except Exception as error:
        yield Finding(
            part, Level.PROBLEM, f"could not be examined: {error!r}", "Mend this first, then run it again."
        )


def _ok(said: str) -> tuple[Level, str, str]:
    return Level.OK, said, ""


def _data_folder() -> Iterator[tuple[Level, str, str]]:
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
        yield _ok(f"{folder}, {free >> 30} GiB free")


def _settings() -> Iterator[tuple[Level, str, str]]:
    if settings.SANDBOX:
        yield _ok("sandbox: codes are shown on the page, and payments are play money")
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
        yield _ok("production; nothing is missing")


def _postgresql() -> Iterator[tuple[Level, str, str]]:
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
        yield _ok(f"version {version}, {connections} connections, all migrations applied")


def _valkey() -> Iterator[tuple[Level, str, str]]:
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
    yield _ok(f"version {version}")


def _web() -> Iterator[tuple[Level, str, str]]:
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
        yield _ok(f"ready at port {settings.PORT}")
    if not settings.SANDBOX:
        yield from _front_door()


def _front_door() -> Iterator[tuple[Level, str, str]]:
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
        yield _ok(f"{settings.BASE_URL} answers")


def _celery() -> Iterator[tuple[Level, str, str]]:
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
        yield _ok(f"{len(replies)} worker" + ("s answer" if len(replies) > 1 else " answers"))


def _holds() -> Iterator[tuple[Level, str, str]]:
    late = Hold.objects.filter(expires_at__lt=timezone.now() - HOLDS_LATE, wallet__frozen_at=None).count()
    if late:
        yield (
            Level.PROBLEM,
            f"{late} holds have expired and were not swept",
            "Worker or beat stand still: see var/logs/worker.log and var/logs/beat.log.",
        )
    else:
        yield _ok(f"{Hold.objects.count()} open, none is late")


def _wallets() -> Iterator[tuple[Level, str, str]]:
    frozen = Wallet.objects.filter(frozen_at__isnull=False).count()
    if frozen:
        yield (
            Level.PROBLEM,
            f"{frozen} are frozen",
            "`manage.py check_ledger` says why; see Wallets in the admin.",
        )
    else:
        yield _ok("none is frozen")


def _models() -> Iterator[tuple[Level, str, str]]:
    on_sale = served.load(timezone.now())
    missing = LanguageModel.objects.filter(is_active=True).exclude(model_id__in=on_sale)
    for model_id in missing.values_list("model_id", flat=True)[:20]:
        yield (
            Level.WARNING,
            f"{model_id} is not on sale, though it is active",
            "It needs a price that holds now and a route to an active upstream (Models in the admin).",
        )
    if not on_sale:
        yield Level.PROBLEM, "nothing is on sale", "Put a model on sale: `manage.py add_model`, or the admin."
    else:
        yield _ok(f"{len(on_sale)} on sale")


def _upstreams() -> Iterator[tuple[Level, str, str]]:
    for upstream in Upstream.objects.filter(is_active=True).order_by("name"):
        parts = urlsplit(upstream.base_url)
        try:
            decrypt(upstream.api_key_encrypted)
        except Undecryptable:
            yield (
                Level.PROBLEM,
                f"the key of {upstream.name} cannot be read",
                "Bring back the FIELD_KEYS that it was stored under, or enter the key again.",
            )
            continue
        try:
            port = parts.port or (443 if parts.scheme == "https" else 80)
            with socket.create_connection((parts.hostname or "", port), TIMEOUT_SECONDS) as plain:
                if parts.scheme == "https":
                    context = ssl.create_default_context()
                    context.wrap_socket(plain, server_hostname=parts.hostname).close()
        except OSError as error:
            yield (
                Level.PROBLEM,
                f"{upstream.name} ({parts.netloc}) cannot be reached: {error}",
                "Check its address, and what may leave this network.",
            )
        else:
            yield _ok(f"{upstream.name} ({parts.netloc}) can be reached")


def _sms() -> Iterator[tuple[Level, str, str]]:
    try:
        provider = sending.provider()
    except sending.NotConfigured:
        yield (
            Level.WARNING,
            "no provider: nobody can sign in to the pages",
            "Set SMS_PROVIDER and what it needs.",
        )
    else:
        yield _ok(type(provider).__name__)


def _bots() -> Iterator[tuple[Level, str, str]]:
    for channel in bots.configured():
        state = BotState.objects.filter(pk=channel).first()
        if state is None or (not state.username and not state.problem):
            yield (
                Level.WARNING,
                f"{channel}: not asked yet",
                "The Celery worker asks it within half a minute of its start.",
            )
        elif state.problem:
            advice = {
                "KeyRefused": "The messenger does not know the token: look at it, and restart the service.",
                "Conflict": "A webhook is set for this bot, or another installation reads its messages: end that.",
            }.get(state.problem, "See whether its address, or the proxy on the way there, can be reached.")
            yield Level.WARNING, f"{channel}: {state.problem}", advice
        else:
            yield _ok(f"{channel}: @{state.username} works")


def _payments() -> Iterator[tuple[Level, str, str]]:
    gateway = gateways.configured()
    if gateway is None:
        yield Level.WARNING, "no gateway: nobody can pay", "Set PAYMENT_GATEWAY and what it needs."
    else:
        yield _ok(gateway.name)
    if not SellerDetails.objects.exclude(name="").exists():
        level = Level.OK if settings.SANDBOX else Level.WARNING
        yield (
            level,
            "invoices name no seller",
            "Fill in “Seller on invoices” in the admin before the first payment.",
        )


def _admins() -> Iterator[tuple[Level, str, str]]:
    able = Authenticator.objects.filter(confirmed=True, user__is_staff=True, user__is_active=True)
    number = able.values("user_id").distinct().count()
    if number < 2:
        level = Level.OK if settings.SANDBOX else Level.WARNING
        yield (
            level,
            "there is no admin" if not number else "there is one admin, and whoever asks cannot approve",
            "Make admins with `manage.py create_admin --mobile 0912…`.",
        )
    else:
        yield _ok(f"{number}, each with an authenticator")


def _backups() -> Iterator[tuple[Level, str, str]]:
    if embedded.database_url(settings.VAR_DIR) != settings.DATABASE_URL:
        yield _ok("this PostgreSQL is yours, and so is its archive")
        return
    dumps = list((settings.VAR_DIR / "backups").glob("hamiran-*.dump"))
    level = Level.OK if settings.SANDBOX else Level.WARNING
    if not dumps:
        yield level, "there is none in var/backups", "`make backup`, each hour, onto another machine."
        return
    newest = max(dump.stat().st_mtime for dump in dumps)
    age = timedelta(seconds=time.time() - newest)
    if age > BACKUP_MAX_AGE:
        yield level, f"the newest is {age.days} days old", "`make backup`, each hour, onto another machine."
    else:
        yield _ok(f"the newest is {age.total_seconds() / 3600:.0f} hours old")
