"""Pages from a real streaming replica say as of when; behind, away or promoted, it is not read."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection, connections
from django.test import Client, override_settings
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from accounts.shared import replica
from config import embedded
from config.doctor.findings import Level
from config.doctor.machine import replica_of_postgresql
from tests.factories import WalletFactory
from tests.live import eventually
from tests.proxy.factories import UsageRecordFactory
from wallet.ledger.models import JournalEntry, Wallet

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Looked:
    """A page of an account, and the moment that it says to show (None: now)."""

    user_id: int
    text: str
    as_of: datetime | None


class Replica:
    """Copied from the test run's own PostgreSQL, as `pg_basebackup` does it."""

    def __init__(self, folder: Path) -> None:
        source = Path(os.environ["HAMIRAN_VAR"]) / "postgres"
        primary = connection.settings_dict
        data = folder / "postgres"
        conninfo = f"host={primary['HOST']} user={primary['USER']} dbname=postgres"
        with psycopg.connect(conninfo, autocommit=True) as session:
            session.execute("SELECT pg_create_physical_replication_slot('pages', true)")
            session.execute("SELECT pg_backup_start('replica', true)")
            shutil.copytree(
                source, data, ignore=shutil.ignore_patterns("postmaster.*", "pg_wal", "pg_replslot")
            )
            for empty in ("pg_wal/archive_status", "pg_wal/summaries", "pg_replslot"):
                (data / empty).mkdir(parents=True)
            [[label]] = session.execute("SELECT labelfile FROM pg_backup_stop()").fetchall()
        (data / "backup_label").write_text(label)
        (data / "standby.signal").touch()
        with (data / "postgresql.auto.conf").open("a") as conf:
            conf.write(f"primary_conninfo = '{conninfo}'\nprimary_slot_name = 'pages'\n")
        owner = source.stat()
        for each in [folder, data, *data.rglob("*")]:
            os.chown(each, owner.st_uid, owner.st_gid)
        data.chmod(0o700)
        self.folder, self.url = folder, embedded.database_url(folder)
        self.start()

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(embedded.prepare_postgres(self.folder), stdout=log, stderr=log)
        embedded.wait_for_postgres(self.url, own=False)

    def ask(self, sql: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as session:
            session.execute(sql)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def copy(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Replica]:
    """One for all tests of this module, the last of which is its end."""
    with django_db_blocker.unblock():
        found = Replica(tmp_path_factory.mktemp("replica"))
        yield found
        found.kill()
        eventually(_slot_is_free)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_drop_replication_slot('pages')")


def _slot_is_free() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'pages'")
        return bool(cursor.fetchone()[0])


@pytest.fixture
def look(
    committed_db: None, copy: Replica, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Looked]]:
    """A page of somebody with some credit, read from the replica where it may be."""
    monkeypatch.setattr(replica, "_watch", replica._Watch())
    monkeypatch.setattr(replica, "AWAY_SECONDS", 0.05)
    database = embedded.django_database(copy.url) | {"NAME": connection.settings_dict["NAME"]}
    connections.databases["replica"] = connections.databases["default"] | database
    user = WalletFactory.create(credit_micro=10**9).user
    client = Client()
    client.force_login(user)
    client.cookies["hamiran_language"] = "en"

    def page(address: str) -> Looked:
        response = client.get(address)
        assert response.status_code == 200
        return Looked(user.pk, response.content.decode(), getattr(response.wsgi_request, "as_of", None))

    router = ["accounts.shared.replica.Router"]
    with override_settings(REPLICA_URL=copy.url, REPLICA_LAG_MAX_SECONDS=3600, DATABASE_ROUTERS=router):
        yield page
    connections["replica"].close()
    del connections["replica"], connections.databases["replica"]


PAGES = ("/usage/", "/usage/requests/", "/wallet/statement/")


@pytest.mark.parametrize("address", PAGES)
def test_pages_of_a_replica_that_keeps_up_say_as_of_when(look: Callable[[str], Looked], address: str) -> None:
    began = timezone.now()
    record = UsageRecordFactory.create(user_id=look(address).user_id, created_at=began, model="brand-new")
    eventually(lambda: (look(address).as_of or began) > began)
    found = look(address)
    assert found.as_of is not None
    assert "As of" in found.text
    assert f"{timezone.localtime(found.as_of):%H:%M:%S}" in found.text
    if "statement" not in address:
        assert record.model in found.text  # what is older than the page says is on it


def test_a_replica_that_stands_still_says_so_until_it_is_too_far_behind(
    copy: Replica, look: Callable[[str], Looked], settings: Any
) -> None:
    eventually(lambda: look("/usage/").as_of)
    copy.ask("SELECT pg_wal_replay_pause()")
    user_id = look("/usage/").user_id
    record = UsageRecordFactory.create(user_id=user_id, created_at=timezone.now(), model="brand-new")
    behind = look("/usage/requests/")
    assert behind.as_of is not None
    assert behind.as_of < record.created_at, "what was seen of it a moment before says nothing of now"
    assert "brand-new" not in behind.text
    # What is there to spend is asked of the primary.
    Wallet.objects.filter(pk=user_id).update(posted_micro=7_654_321 * 10**7)
    assert "7,654,321" in look("/wallet/").text
    Wallet.objects.filter(pk=user_id).update(posted_micro=10**9)
    settings.REPLICA_LAG_MAX_SECONDS = 0
    eventually(lambda: look("/usage/requests/").as_of is None)
    found = look("/usage/requests/")
    assert "brand-new" in found.text
    assert "As of" not in found.text
    copy.ask("SELECT pg_wal_replay_resume()")


def test_what_belongs_to_a_row_of_the_replica_is_the_primarys(look: Callable[[str], Looked]) -> None:
    entries = JournalEntry.objects.using("replica").filter(wallet_id=look("/usage/").user_id)
    eventually(entries.exists)
    [entry] = entries
    assert entry.wallet is not None
    assert entry.wallet._state.db == "default"


def test_without_its_replica_a_page_comes_from_the_primary(
    copy: Replica, look: Callable[[str], Looked]
) -> None:
    eventually(lambda: look("/usage/").as_of)
    copy.kill()
    for address in PAGES:
        assert look(address).as_of is None
    copy.start()
    eventually(lambda: look("/usage/").as_of)


def test_the_doctor_says_how_the_replica_is(
    copy: Replica, look: Callable[[str], Looked], settings: Any
) -> None:
    [(level, said, _advice)] = replica_of_postgresql()
    assert (level, said) == (Level.OK, "0 s behind")
    settings.REPLICA_LAG_MAX_SECONDS = -1
    [(level, _said, advice)] = replica_of_postgresql()
    assert (level, "REPLICA_URL" in advice) == (Level.WARNING, True)


def test_a_replica_that_was_promoted_is_not_read(copy: Replica, look: Callable[[str], Looked]) -> None:
    eventually(lambda: look("/usage/").as_of)
    copy.ask("SELECT pg_promote()")
    eventually(lambda: look("/usage/").as_of is None)
    [(level, said, _advice)] = replica_of_postgresql()
    assert (level, said) == (Level.WARNING, "cannot be used: it is no replica")
