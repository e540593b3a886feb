"""A process that freezes between a lock and its COMMIT must not take everybody's requests along."""

import asyncio
import threading
import time

from django.db import DatabaseError, connections, transaction

from tests.factories import WalletFactory
from tests.wallet.ledger.test_holds import open_holds, placing
from wallet.ledger.models import Wallet


def test_the_database_ends_a_transaction_that_stalls_on_a_wallet(committed_db: None) -> None:
    locked, innocent = WalletFactory.create(credit_micro=100), WalletFactory.create(credit_micro=100)
    holding, ended = threading.Event(), threading.Event()
    errors: list[Exception] = []

    def stall() -> None:
        try:
            with transaction.atomic():
                Wallet.objects.select_for_update(no_key=True).get(pk=locked.pk)
                holding.set()
                ended.wait(30)
        except DatabaseError as error:
            errors.append(error)
        finally:
            connections.close_all()

    async def ask_for_both() -> float:
        async with open_holds() as holds:
            began = time.monotonic()
            await asyncio.gather(holds.place(**placing(locked, 5)), holds.place(**placing(innocent, 5)))
            return time.monotonic() - began

    thread = threading.Thread(target=stall)
    thread.start()
    assert holding.wait(10)
    try:
        waited_seconds = asyncio.run(ask_for_both())
    finally:
        ended.set()
        thread.join()
    assert waited_seconds < 15  # well before a batch itself gives up
    assert errors
