"""Loses a service under load, twice, and brings it back from its WAL_ARCHIVE: `make rehearse-restore`.

First its disk dies: everything is killed, its folder is gone, and all that was acknowledged has to be there again.
Then a table is dropped, and the moment before has to come back. Exit status 1 where anything is missing.
"""

import asyncio
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg

from bench.contenders import ROOT
from config import embedded

if TYPE_CHECKING:
    from tests.chaos.people import People
    from tests.config.service import Service

LOAD_SECONDS = float(os.environ.get("RESTORE_SECONDS", "20"))
CLIENTS = 6
PAYMENTS = "SELECT id::text FROM wallet_topup WHERE status = 'credited'"
CHARGES = "SELECT id::text FROM proxy_usagerecord"
BEHIND = "SELECT coalesce(extract(epoch FROM max(flush_lag)), 0)::float8 FROM pg_stat_replication"


@dataclass(frozen=True)
class Acknowledged:
    """Ids of what others than its writer have seen committed."""

    payments: set[str]
    charges: set[str]

    def __str__(self) -> str:
        return f"{len(self.payments)} payments and {len(self.charges)} requests"

    def missing_in(self, other: "Acknowledged") -> int:
        return len(self.payments - other.payments) + len(self.charges - other.charges)


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="hamiran-restore-"))
    folder.chmod(0o755)
    for name in ("DATABASE_URL", "REDIS_URL", "HAMIRAN_MODE"):
        os.environ.pop(name, None)
    os.environ.update(
        DJANGO_SETTINGS_MODULE="config.settings", HAMIRAN_VAR=str(folder / "first"), LOG_LEVEL="WARNING",
        TOPUP_DAILY_MAX_TOMAN="1000000000", TOPUP_STARTS_PER_HOUR="1000000",
    )  # fmt: skip
    import django

    django.setup()
    try:
        lost = asyncio.run(rehearse(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(
        f"{lost} LOST"
        if lost
        else "Twice, everything that was acknowledged is there, and the ledger is sound."
    )
    return 1 if lost else 0


async def rehearse(folder: Path) -> int:
    """How much was lost."""
    from tests.chaos import people
    from tests.chaos.stack import with_orm
    from tests.chaos.upstream import BookingUpstream
    from tests.config.service import started
    from tests.factories import UserFactory
    from tests.live import free_port

    first, second, third = (folder / name for name in ("first", "second", "third"))
    upstream = BookingUpstream(free_port())
    await upstream.start()
    with started(first, WAL_ARCHIVE=str(folder / "archive")) as service:
        shutil.copytree(first / "secrets", folder / "secrets")
        UserFactory.reset_sequence(1000)  # type: ignore[no-untyped-call]  # the first number is the demo account's
        everybody = await with_orm(people.settle_in, upstream.url)
        async with under_load(service, everybody):
            back_up(service, folder / "archive")
            await look_how_far_behind(first)
            known = acknowledged(first)
            kill(service)
    shutil.rmtree(first)
    print(f"Killed, and its folder is gone. Acknowledged were {known}.", flush=True)
    with_secrets(second, folder)
    bring_back(second, folder / "archive")
    with embedded.postgres_running(second):
        lost = known.missing_in(acknowledged(second))

    with started(second, WAL_ARCHIVE=str(folder / "archive-2")) as service:
        async with under_load(service, everybody):
            back_up(service, folder / "archive-2")
            await asyncio.sleep(LOAD_SECONDS / 2)
            known, moment = acknowledged(second), datetime.now(UTC)
            await asyncio.sleep(1)
            with psycopg.connect(embedded.database_url(second)) as database:
                database.execute("DROP TABLE wallet_topup CASCADE")
            await asyncio.sleep(1)
            kill(service)
    print(f"The table of top-ups was dropped. Acknowledged were {known} a second before.", flush=True)
    with_secrets(third, folder)
    bring_back(third, folder / "archive-2", "--until", moment.isoformat())
    with embedded.postgres_running(third):
        lost += known.missing_in(acknowledged(third))
    await upstream.close()
    return lost


@contextlib.asynccontextmanager
async def under_load(service: "Service", everybody: "People") -> AsyncIterator[None]:
    """Calls whole and streamed, and top-ups, until the block ends, whatever becomes of the service meanwhile."""
    from tests.chaos.load import Load

    load = Load([f"http://127.0.0.1:{service.port}"], everybody, random.Random(7), CLIENTS)
    running = asyncio.create_task(load.run())
    await asyncio.sleep(2)
    yield
    load.stop.set()
    await running


def back_up(service: "Service", archive: Path) -> None:
    began = time.monotonic()
    made = manage(service.var_dir, "backup", "--base", WAL_ARCHIVE=str(archive))
    print(
        f"A base backup under load: {made['bytes'] / 1e6:.0f} MB in {time.monotonic() - began:.1f} s",
        flush=True,
    )


async def look_how_far_behind(var_dir: Path) -> None:
    until, worst = time.monotonic() + LOAD_SECONDS, 0.0
    with psycopg.connect(embedded.database_url(var_dir), autocommit=True) as database:
        while time.monotonic() < until:
            worst = max(worst, *(row[0] for row in database.execute(BEHIND)))
            await asyncio.sleep(0.05)
    print(f"For {LOAD_SECONDS:.0f} s the archive was at most {worst * 1000:.0f} ms behind.", flush=True)


def acknowledged(var_dir: Path) -> Acknowledged:
    with psycopg.connect(embedded.database_url(var_dir)) as database:
        return Acknowledged(*({row[0] for row in database.execute(sql)} for sql in (PAYMENTS, CHARGES)))


def kill(service: "Service") -> None:
    """All of it at once, as when the power goes."""
    family = psutil.Process(service.process.pid).children(recursive=True)
    for process in (service.process, *family):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, 20)


def with_secrets(var_dir: Path, folder: Path) -> None:
    """A fresh data folder with the secrets, which are kept in another place than backups."""
    var_dir.mkdir()
    shutil.copytree(folder / "secrets", var_dir / "secrets")


def bring_back(var_dir: Path, archive: Path, *until: str) -> None:
    began = time.monotonic()
    said = manage(var_dir, "restore", str(archive), *until)
    assert said["ok"], said
    assert not said["missing"], said
    print(f"Restored and checked in {time.monotonic() - began:.1f} s.", flush=True)


def manage(var_dir: Path, *arguments: str, **given: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments, "--json"],
        cwd=ROOT, env={**os.environ, **given, "HAMIRAN_VAR": str(var_dir)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"manage.py {arguments[0]}:\n{done.stdout}{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    sys.exit(main())
