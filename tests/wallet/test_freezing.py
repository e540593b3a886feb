"""A wallet whose books contradict themselves: nothing moves, somebody is told, and an admin lifts it."""

import logging

import pytest
from django.db import connection, transaction

from tests.factories import WalletFactory
from tests.wallet.ledger.test_holds import balances, in_one_process, placing
from wallet import freezing, integrity
from wallet.credits import gifts
from wallet.ledger import holds, writer
from wallet.ledger.holds import HoldGone, Holds, WalletFrozen
from wallet.ledger.models import Wallet


def break_held(wallet: Wallet, held_micro: int) -> None:
    """As no code of ours can: `held` no longer is the sum of the holds."""
    Wallet.objects.filter(pk=wallet.pk).update(held_micro=held_micro)


def test_a_settlement_that_the_books_refuse_freezes_the_wallet(
    committed_db: None, caplog: pytest.LogCaptureFixture
) -> None:
    wallet, other = WalletFactory.create(credit_micro=1000), WalletFactory.create(credit_micro=1000)

    ask, neighbour = placing(wallet, 400), placing(other, 400)

    async def place(opened: Holds) -> None:
        await opened.place(**ask)
        await opened.place(**neighbour)

    async def settle(opened: Holds) -> None:
        with pytest.raises(Exception, match="wallet_held_not_negative"):
            await opened.settle(hold_id=ask["hold_id"], wallet_id=wallet.pk, cost_micro=150)
        await opened.settle(hold_id=neighbour["hold_id"], wallet_id=other.pk, cost_micro=150)
        with pytest.raises(WalletFrozen):
            await opened.place(**placing(wallet, 1))
        with pytest.raises(HoldGone):
            await opened.settle(hold_id=ask["hold_id"], wallet_id=wallet.pk, cost_micro=1)

    in_one_process(place)
    break_held(wallet, 100)  # settling would bring it below zero
    in_one_process(settle)
    assert balances(wallet) == (1000, 100)
    assert "wallet_held_not_negative" in wallet.frozen_because
    assert balances(other) == (850, 0)
    assert any(record.levelno == logging.CRITICAL for record in caplog.records)
    with pytest.raises(writer.WalletFrozen), transaction.atomic():
        gifts.give(wallet_id=wallet.pk, amount_micro=5)
    with connection.cursor() as cursor:  # mended by hand; the sweeper then finds its hold again
        cursor.execute("UPDATE wallet_wallet SET held_micro = 400 WHERE user_id = %s", [wallet.pk])
        cursor.execute(
            "UPDATE wallet_hold SET created_at = now() - interval '1 hour', expires_at = now() WHERE wallet_id = %s",
            [wallet.pk],
        )
    holds.sweep_expired()
    assert balances(wallet) == (1000, 400)
    freezing.unfreeze(wallet_id=wallet.pk)
    holds.sweep_expired()
    assert balances(wallet) == (1000, 0)


def test_the_regular_check_freezes_the_wallets_it_names(committed_db: None) -> None:
    sound, broken = WalletFactory.create(credit_micro=1000), WalletFactory.create(credit_micro=1000)
    break_held(broken, 7)
    try:
        assert freezing.freeze_broken(integrity.CHECKS) >= 1
        broken.refresh_from_db()
        sound.refresh_from_db()
        assert broken.frozen_because.startswith("check_ledger: a wallet's held amount")
        assert sound.frozen_at is None
    finally:
        break_held(broken, 0)
        freezing.unfreeze(wallet_id=broken.pk)


@pytest.mark.django_db
def test_every_wallet_that_a_check_names_is_found_however_many() -> None:
    everybody = "SELECT user_id AS wallet_id FROM wallet_wallet, generate_series(1, 100)"
    wallet = WalletFactory.create()
    found = [named for _invariant, named in integrity.wallets_of([("all", everybody)])]
    assert found.count(wallet.pk) == 100
