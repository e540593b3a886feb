"""A capture that was acknowledged is on a second machine, also where the first try of it stopped waiting for that."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from tests.factories import WalletFactory
from tests.wallet.ledger.test_group_commit import conninfo
from tests.wallet.ledger.test_holds import balances, in_one_process, placing
from wallet.ledger.holds import Holds
from wallet.ledger.models import JournalEntry

WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
Server = psycopg.AsyncConnection[Any]


@asynccontextmanager
async def administrator() -> AsyncIterator[Server]:
    """A connection whose own commits wait for nobody."""
    async with await psycopg.AsyncConnection.connect(conninfo(), autocommit=True) as made:
        await made.execute("SET synchronous_commit = local")
        try:
            yield made
        finally:
            await expect_standby(made, "")


async def expect_standby(server: Server, name: str) -> None:
    await server.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'".encode())
    await server.execute("SELECT pg_reload_conf()")


async def waiting(server: Server, *, but: int = 0) -> int:
    """The process that waits for a second machine, once there is one."""
    async with asyncio.timeout(10):
        while True:
            row = await (await server.execute(WAITING)).fetchone()
            if row is not None and row[0] != but:
                return int(row[0])
            await asyncio.sleep(0.02)


def test_a_repeat_waits_for_the_second_machine_as_the_first_try_did(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=1000)
    hold: uuid.UUID = (placed := placing(wallet, 100))["hold_id"]

    async def capture(holds: Holds) -> None:
        await holds.place(**placed)
        async with administrator() as server:
            await expect_standby(server, "nobody")
            capturing = asyncio.create_task(holds.settle(hold_id=hold, wallet_id=wallet.pk, cost_micro=60))
            first = await waiting(server)
            await server.execute("SELECT pg_cancel_backend(%s)", [first])
            # Now it is on this disk, and PostgreSQL has said that it is done; but it is on no other.
            await waiting(server, but=first)
            assert not capturing.done()
        async with asyncio.timeout(10):
            await capturing

    in_one_process(capture)
    entries = JournalEntry.objects.filter(transaction_id=hold, account="wallet")
    assert [entry.amount_micro for entry in entries] == [-60]
    assert balances(wallet) == (940, 0)
