"""What is sold, who pays and who is told, as the database has it."""

import socket
import ssl
import time
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from django.utils import timezone

from accounts.admin_models import Authenticator
from accounts.channel_models import BotState
from accounts.channels import bots
from accounts.sms import sending
from config import embedded, wal_archive
from config.doctor.findings import Found, Level, ok
from proxy.catalogue import served
from proxy.catalogue.models import LanguageModel, Upstream
from proxy.catalogue.secrets import Undecryptable, decrypt
from proxy.usage import partitions
from wallet.ledger.holds import SWEEP_LATE_SECONDS
from wallet.ledger.models import Hold, Wallet
from wallet.payments import gateways
from wallet.payments.invoice_models import SellerDetails

TIMEOUT_SECONDS = 5
MONTHS_MIN_AHEAD = timedelta(days=32)
BACKUP_MAX_AGE = timedelta(hours=26)
BASE_MAX_AGE = timedelta(days=8)


def holds() -> Found:
    due = timezone.now() - timedelta(seconds=SWEEP_LATE_SECONDS)
    late = Hold.objects.filter(expires_at__lt=due, wallet__frozen_at=None).count()
    if late:
        yield (
            Level.PROBLEM,
            f"{late} holds have expired and were not swept",
            "Worker or beat stand still: see var/logs/worker.log and var/logs/beat.log.",
        )
    else:
        yield ok(f"{Hold.objects.count()} open, none is late")


def wallets() -> Found:
    frozen = Wallet.objects.filter(frozen_at__isnull=False).count()
    if frozen:
        yield (
            Level.PROBLEM,
            f"{frozen} are frozen",
            "`manage.py check_ledger` says why; see Wallets in the admin.",
        )
    else:
        yield ok("none is frozen")


def usage() -> Found:
    now = timezone.now()
    if held := partitions.in_default():
        yield (
            Level.PROBLEM,
            f"{held} usage records are in no month",
            "`manage.py usage_partitions move` makes their months and moves them there.",
        )
    elif (made := partitions.made_until(now)) < now + MONTHS_MIN_AHEAD:
        yield (
            Level.WARNING,
            f"there are partitions up to {made:%Y-%m-%d} only",
            "The worker makes them, where it runs; so does `manage.py usage_partitions make`.",
        )
    else:
        yield ok(f"partitions up to {made:%Y-%m-%d}")


def models() -> Found:
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
        yield ok(f"{len(on_sale)} on sale")


def upstreams() -> Found:
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
            yield ok(f"{upstream.name} ({parts.netloc}) can be reached")


def sms() -> Found:
    try:
        provider = sending.provider()
    except sending.NotConfigured:
        yield (
            Level.WARNING,
            "no provider: nobody can sign in to the pages",
            "Set SMS_PROVIDER and what it needs.",
        )
    else:
        yield ok(type(provider).__name__)


def messengers() -> Found:
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
            yield ok(f"{channel}: @{state.username} works")


def payments() -> Found:
    gateway = gateways.configured()
    if gateway is None:
        yield Level.WARNING, "no gateway: nobody can pay", "Set PAYMENT_GATEWAY and what it needs."
    else:
        yield ok(gateway.name)
    if not SellerDetails.objects.exclude(name="").exists():
        level = Level.OK if settings.SANDBOX else Level.WARNING
        yield (
            level,
            "invoices name no seller",
            "Fill in “Seller on invoices” in the admin before the first payment.",
        )


def admins() -> Found:
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
        yield ok(f"{number}, each with an authenticator")


def backups() -> Found:
    if embedded.database_url(settings.VAR_DIR) != settings.DATABASE_URL:
        yield ok("this PostgreSQL is yours, and so is its archive")
        return
    level = Level.OK if settings.SANDBOX else Level.WARNING
    if settings.WAL_ARCHIVE is not None:
        yield from _archive(settings.WAL_ARCHIVE)
        return
    dumps = list((settings.VAR_DIR / "backups").glob("hamiran-*.dump"))
    if not dumps:
        yield level, "there is none in var/backups", "`make backup`, each hour, onto another machine."
        return
    newest = max(dump.stat().st_mtime for dump in dumps)
    age = timedelta(seconds=time.time() - newest)
    if age > BACKUP_MAX_AGE:
        yield level, f"the newest is {age.days} days old", "`make backup`, each hour, onto another machine."
    else:
        yield ok(f"the newest is {age.total_seconds() / 3600:.0f} hours old")


def _archive(archive: Path) -> Found:
    make = "`manage.py backup --base --keep 2`, once a week."
    if not wal_archive.is_received():
        yield (
            Level.PROBLEM,
            f"the changes of the database do not reach {archive}",
            "See var/logs/receiver.log. A service that was started without WAL_ARCHIVE has to be started anew.",
        )
    if (newest := wal_archive.newest_base(archive)) is None:
        yield Level.PROBLEM, f"{archive} holds no base backup, so nothing can be restored from it", make
        return
    age = timezone.now() - wal_archive.base_time(newest)
    if age > BASE_MAX_AGE:
        yield Level.WARNING, f"the newest base backup is {age.days} days old: to restore takes long", make
    else:
        yield ok(f"any moment since {newest.name} (UTC) can be restored")
