"""Each task of the schedule does its work once: run twice, or by two workers at once, it changes nothing more."""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from celery import current_app
from django.apps import apps
from django.conf import settings
from django.db import connection
from django.utils import timezone

import config.celery  # noqa: F401 - the application that beat and worker load
from accounts.channel_models import Notice
from accounts.channels import notices
from tests.factories import WalletFactory
from tests.proxy.factories import APIKeyFactory, UsageRecordFactory
from wallet import integrity
from wallet.credits.models import WalletAlert
from wallet.ledger.models import Hold, Wallet

ENTRIES: dict[str, dict[str, Any]] = settings.CELERY_BEAT_SCHEDULE
# They say how far a task has come, which is further each time.
PROGRESS = {"config_taskrun", "proxy_healthprogress", "proxy_salesprogress"}
# In a database that other tests have left books in, they would freeze wallets.
OF_ALL_BOOKS = {"config.prove_books", "proxy.verify_ledger"}


@pytest.fixture(autouse=True)
def tasks() -> None:
    current_app.loader.import_default_modules()


def something_to_do() -> None:
    now = timezone.now()
    wallet = WalletFactory.create(credit_micro=1_000_000)
    key = APIKeyFactory.create(user=wallet.user)
    Hold.objects.create(
        id=uuid4(), wallet=wallet, amount_micro=10, created_at=now - timedelta(hours=1),
        expires_at=now - timedelta(minutes=1),
    )  # fmt: skip
    Wallet.objects.filter(pk=wallet.pk).update(held_micro=10)
    for hours in (30, 3, 2, 2, 0):
        UsageRecordFactory.create(
            created_at=now - timedelta(hours=hours), user_id=wallet.pk, key_id=key.pk, cost_micro=0,
            billed_by="nothing", end_user=b"a", end_user_hint="a",
        )  # fmt: skip
    WalletAlert.objects.create(wallet=wallet, threshold_micro=2_000_000)
    notices.notify(user_id=wallet.pk, event="a test", dedup="once", text="hello")
    Notice.objects.filter(user_id=wallet.pk).update(created_at=now - timedelta(minutes=1))


def work(entry: dict[str, Any]) -> None:
    current_app.tasks[entry["task"]](*entry.get("args", ()))


def rows() -> dict[str, list[str]]:
    """Without their numbers: what is counted anew gets others."""
    found: dict[str, list[str]] = {}
    with connection.cursor() as cursor:
        for label in ("accounts", "keys", "wallet", "proxy"):
            for model in apps.get_app_config(label).get_models():
                table = model._meta.db_table
                if table not in PROGRESS:
                    cursor.execute(f"SELECT md5((to_jsonb(t) - 'id')::text) FROM \"{table}\" t ORDER BY 1")
                    found[table] = [row for (row,) in cursor.fetchall()]
    return found


@pytest.mark.django_db
@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES.keys())
def test_run_twice_it_does_the_same_as_once(entry: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrity, "snapshot", nullcontext)  # this test is in a transaction already
    something_to_do()
    work(entry)
    once = rows()
    work(entry)
    assert rows() == once


def in_thread(run: Callable[[], None], errors: list[Exception]) -> threading.Thread:
    def body() -> None:
        try:
            run()
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=body)
    thread.start()
    return thread


@pytest.mark.proof
@pytest.mark.usefixtures("committed_db")
@pytest.mark.parametrize(
    "entry",
    [entry for entry in ENTRIES.values() if entry["task"] not in OF_ALL_BOOKS],
    ids=[name for name, entry in ENTRIES.items() if entry["task"] not in OF_ALL_BOOKS],
)
def test_run_by_two_at_once_it_leaves_nothing_to_do_and_nothing_done_twice(entry: dict[str, Any]) -> None:
    something_to_do()
    errors: list[Exception] = []
    for thread in [in_thread(lambda: work(entry), errors) for _ in range(2)]:
        thread.join()
    assert errors == []
    after = rows()
    work(entry)
    assert rows() == after
