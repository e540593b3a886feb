"""Everything that talks to PostgreSQL, through PgBouncer in transaction mode: no state may live in a session."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from django.db import connection
from django.db.utils import ConnectionHandler

from accounts.shared import database_session
from config import embedded
from tests.factories import WalletFactory
from tests.live import ROOT, eventually, web_process
from tests.proxy.api.conftest import HELLO, MODEL
from wallet.ledger.holds import Holds

pytestmark = pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="pgbouncer is not installed")

PORT = 6432
SERVER_SESSIONS = 3  # fewer than clients, so that they are handed around
INI = """
[databases]
* = host={server} user={user} pool_size={sessions}
[pgbouncer]
pool_mode = transaction
auth_type = any
listen_port = {port}
unix_socket_dir = {folder}
max_client_conn = 200
"""


@pytest.fixture
def pooled_url(committed_db: None) -> Iterator[str]:
    """The test database, by way of a PgBouncer."""
    settings = connection.settings_dict
    with tempfile.TemporaryDirectory(prefix="pgb-") as name:
        folder = Path(name)
        ini = INI.format(
            server=settings["HOST"], user=settings["USER"], sessions=SERVER_SESSIONS, port=PORT, folder=folder
        )
        (folder / "pgbouncer.ini").write_text(ini)
        # It refuses to be root, and PostgreSQL's socket may be root's own.
        disguise = ["unshare", "--user", "--map-user=65534", "--map-group=65534"] if os.geteuid() == 0 else []
        with (folder / "log").open("wb") as log:
            pooler = subprocess.Popen(
                [*disguise, "pgbouncer", str(folder / "pgbouncer.ini")], stdout=log, stderr=log
            )
        url = f"postgresql://{settings['USER']}@/{settings['NAME']}?host={folder}&port={PORT}"

        def answers() -> bool:
            try:
                psycopg.connect(url).close()
            except psycopg.OperationalError:
                return False
            return True

        try:
            eventually(answers)
            yield url
        finally:
            pooler.terminate()
            pooler.wait(10)


def test_holds_of_several_processes_share_a_few_sessions(pooled_url: str) -> None:
    wallet = WalletFactory.create(credit_micro=10**6)
    asyncio.run(_place_and_settle(pooled_url, wallet.pk))
    wallet.refresh_from_db()
    assert (wallet.posted_micro, wallet.held_micro) == (10**6 - 400 * 60, 0)


async def _place_and_settle(conninfo: str, wallet_id: int) -> None:
    """400 captures of 60 by four doors at once."""
    doors = [Holds(conninfo=conninfo) for _ in range(4)]

    async def one(door: Holds) -> None:
        hold_id = uuid.uuid4()
        await door.place(
            hold_id=hold_id, wallet_id=wallet_id, amount_micro=100, minimum_micro=100, seconds=600
        )
        await door.settle(hold_id=hold_id, wallet_id=wallet_id, cost_micro=60)

    for door in doors:
        door.start()
    for _ in range(20):
        await asyncio.gather(*(one(door) for door in doors * 5))
    for door in doors:
        await door.close(timeout_seconds=5)


def test_each_transaction_of_django_is_told_its_settings(
    pooled_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        database_session, "TELL_TRANSACTION", "SET LOCAL idle_in_transaction_session_timeout = '7s'"
    )
    pooled = ConnectionHandler({"default": embedded.django_database(pooled_url)})["default"]
    try:
        pooled.set_autocommit(False)
        with pooled.cursor() as cursor:
            cursor.execute("SHOW idle_in_transaction_session_timeout")
            assert cursor.fetchone() == ("7s",)
        pooled.rollback()
    finally:
        pooled.close()


def test_the_web_process_and_the_ledgers_check_work_through_it(pooled_url: str, make_caller: Any) -> None:
    caller = make_caller()
    with web_process(env={"DATABASE_URL": pooled_url}) as web, ThreadPoolExecutor(10) as pool:

        def ask(_number: int) -> int:
            body = {"model": MODEL, "messages": HELLO}
            headers = {"Authorization": f"Bearer {caller.key}"}
            return httpx.post(f"{web.url}/v1/chat/completions", json=body, headers=headers).status_code

        assert set(pool.map(ask, range(60))) == {200}
        assert "ERROR" not in web.log
    env = {**os.environ, "DATABASE_URL": pooled_url}
    checked = subprocess.run(
        [sys.executable, "manage.py", "check_ledger"],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    # Other tests leave broken books in this database; here it is enough that they were read.
    assert not checked.stderr
    assert checked.stdout.startswith(("The ledger is sound", "Broken: "))
