"""Holds on a real PostgreSQL. A state machine beside these examples: test_holds_model.py."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from tests.factories import WalletFactory
from tests.wallet.ledger.test_group_commit import conninfo
from wallet.credits import gifts
from wallet.ledger import extend_sql, holds, writer
from wallet.ledger.budgets import open_budget
from wallet.ledger.group_commit import GroupCommit
from wallet.ledger.holds import HoldGone, Holds, LedgerUnavailable, NotCovered, WalletFrozen
from wallet.ledger.models import Budget, Hold, JournalEntry, Wallet


@asynccontextmanager
async def open_holds() -> AsyncIterator[Holds]:
    opened = Holds(conninfo=conninfo())
    opened.start()
    try:
        yield opened
    finally:
        await opened.close(timeout_seconds=5)


def in_one_process(work: Any) -> Any:
    """Runs `work(holds)` in an event loop with queues of its own."""

    async def run() -> Any:
        async with open_holds() as opened:
            return await work(opened)

    return asyncio.run(run())


def balances(wallet: Wallet) -> tuple[int, int]:
    wallet.refresh_from_db()
    return wallet.posted_micro, wallet.held_micro


def placing(wallet: Wallet, amount: int, minimum: int | None = None) -> dict[str, Any]:
    return {
        "hold_id": uuid.uuid4(), "wallet_id": wallet.pk, "amount_micro": amount,
        "minimum_micro": amount if minimum is None else minimum, "seconds": 600,
    }  # fmt: skip


def raising(
    wallet: Wallet, hold_id: uuid.UUID, held: int, more: int, minimum: int | None = None
) -> dict[str, Any]:
    return {
        "hold_id": hold_id, "wallet_id": wallet.pk, "held_micro": held, "amount_micro": held + more,
        "minimum_micro": held + (more if minimum is None else minimum), "seconds": 60,
    }  # fmt: skip


def test_while_settlements_are_late_nothing_is_held(
    committed_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet = WalletFactory.create(credit_micro=1_000)

    async def story(opened: Holds) -> None:
        monkeypatch.setattr(GroupCommit, "oldest_seconds", holds.SETTLEMENT_LATE_SECONDS)
        assert not opened.settlements_are_late
        monkeypatch.setattr(GroupCommit, "oldest_seconds", holds.SETTLEMENT_LATE_SECONDS + 0.1)
        assert opened.settlements_are_late
        with pytest.raises(LedgerUnavailable):
            await opened.extend(**raising(wallet, uuid.uuid4(), 0, 100))
        with pytest.raises(LedgerUnavailable) as refused:
            await opened.place(**placing(wallet, 100))
        assert not refused.value.in_doubt  # it was never sent, so there is nothing to take back

    in_one_process(story)
    assert balances(wallet) == (1_000, 0)


def test_a_hold_is_captured_once_however_often_it_is_asked(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=1000)

    async def work(opened: Holds) -> None:
        ask = placing(wallet, 400)
        assert await opened.place(**ask) == 400
        for _ in range(3):
            await opened.settle(hold_id=ask["hold_id"], wallet_id=wallet.pk, cost_micro=150)

    in_one_process(work)
    assert balances(wallet) == (850, 0)
    entry = wallet.entries.get(kind="completion")
    assert (entry.amount_micro, entry.balance_micro) == (-150, 850)
    assert (
        JournalEntry.objects.get(transaction_id=entry.transaction_id, account="revenue").amount_micro == 150
    )


def test_a_voided_hold_leaves_no_trace_in_the_journal(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=1000)

    async def work(opened: Holds) -> None:
        ask = placing(wallet, 400)
        await opened.place(**ask)
        await opened.settle(hold_id=ask["hold_id"], wallet_id=wallet.pk, cost_micro=0)
        with pytest.raises(HoldGone):  # a late capture finds nothing to capture from
            await opened.settle(hold_id=ask["hold_id"], wallet_id=wallet.pk, cost_micro=10)

    in_one_process(work)
    assert balances(wallet) == (1000, 0)
    assert wallet.entries.count() == 1


def test_what_is_left_is_held_down_to_the_minimum(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=1000)

    async def work(opened: Holds) -> None:
        assert await opened.place(**placing(wallet, 700)) == 700
        assert await opened.place(**placing(wallet, 700, minimum=100)) == 300
        with pytest.raises(NotCovered):
            await opened.place(**placing(wallet, 1))

    in_one_process(work)
    assert balances(wallet) == (1000, 1000)


def test_a_large_neighbour_in_the_batch_does_not_starve_small_ones(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=100)

    async def work(opened: Holds) -> list[Any]:
        asks = [10, 5000, 20, 90, 30, 5000, 40]  # 90 does not fit after 10 + 20; 30 and 40 do
        return await asyncio.gather(
            *(opened.place(**placing(wallet, amount)) for amount in asks), return_exceptions=True
        )

    results = in_one_process(work)
    assert [result if isinstance(result, int) else None for result in results] == [
        10,
        None,
        20,
        None,
        30,
        None,
        40,
    ]
    assert balances(wallet) == (100, 100)


def test_two_hundred_at_once_on_a_wallet_that_covers_fifty(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=50 * 7)

    async def two_processes() -> list[Any]:
        async with open_holds() as one, open_holds() as other:
            return await asyncio.gather(
                *((one, other)[n % 2].place(**placing(wallet, 7)) for n in range(200)), return_exceptions=True
            )

    results = asyncio.run(two_processes())
    assert results.count(7) == 50
    assert sum(isinstance(result, NotCovered) for result in results) == 150
    assert balances(wallet) == (350, 350)


def test_nobody_captures_more_than_was_held(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=1000)

    async def work(opened: Holds) -> None:
        ask = placing(wallet, 400)
        await opened.place(**ask)
        with pytest.raises(HoldGone):
            await opened.settle(hold_id=ask["hold_id"], wallet_id=wallet.pk, cost_micro=401)

    in_one_process(work)
    assert balances(wallet) == (1000, 400)


def test_a_wallet_that_does_not_exist_covers_nothing(committed_db: None) -> None:
    async def work(opened: Holds) -> None:
        with pytest.raises(NotCovered):
            await opened.place(
                hold_id=uuid.uuid4(), wallet_id=2**40, amount_micro=1, minimum_micro=1, seconds=60
            )
        with pytest.raises(NotCovered):  # not even a free model
            await opened.place(
                hold_id=uuid.uuid4(), wallet_id=2**40, amount_micro=0, minimum_micro=0, seconds=60
            )

    in_one_process(work)


def test_a_caller_cancelled_while_placing_leaves_no_hold(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=1000)

    async def work(opened: Holds) -> None:
        caller = asyncio.create_task(opened.place(**placing(wallet, 400)))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller

    in_one_process(work)
    assert balances(wallet) == (1000, 0)


@pytest.mark.django_db
def test_posting_twice_for_one_cause_is_refused() -> None:
    wallet = WalletFactory.create()
    cause = uuid.uuid4()

    def post() -> int:
        with transaction.atomic():
            return writer.post(
                transaction_id=cause, kind=JournalEntry.Kind.TOPUP, wallet_id=wallet.pk, amount_micro=50,
                counter_account=JournalEntry.Account.GATEWAY,
            )  # fmt: skip

    assert post() == 50
    with pytest.raises(IntegrityError, match="journal_booked_once"):
        post()
    assert balances(wallet) == (50, 0)


@pytest.mark.django_db
def test_a_debit_never_touches_what_is_held() -> None:
    wallet = WalletFactory.create(credit_micro=100)
    Wallet.objects.filter(pk=wallet.pk).update(held_micro=60)
    with pytest.raises(writer.NotCovered):
        writer.post(
            transaction_id=uuid.uuid4(), kind=JournalEntry.Kind.OPERATOR_CREDIT, wallet_id=wallet.pk,
            amount_micro=-41, counter_account=JournalEntry.Account.CORRECTION,
        )  # fmt: skip
    with pytest.raises(writer.UnknownWallet):
        gifts.give(wallet_id=2**40, amount_micro=1)


def test_a_hold_that_is_renewed_or_raised_lives_on_and_none_becomes_shorter(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=1_000)

    async def story(opened: Holds) -> None:
        await opened.place(**(ask := placing(wallet, 100)) | {"seconds": 1})
        hold = Hold.objects.filter(pk=ask["hold_id"])
        expiries = [await hold.aget()]

        async def after(change: Any) -> None:
            await change
            expiries.append(await hold.aget())

        of_it = {"hold_id": ask["hold_id"], "wallet_id": wallet.pk}
        await after(opened.renew(**of_it, seconds=100))
        await after(opened.renew(**of_it, seconds=1))
        await after(opened.extend(**raising(wallet, ask["hold_id"], 100, 50) | {"seconds": 900}))
        first, renewed, kept, raised = [one.expires_at for one in expiries]
        assert first < renewed == kept < raised
        assert [one.amount_micro for one in expiries] == [100, 100, 100, 150]
        await opened.settle(**of_it, cost_micro=0)
        with pytest.raises(HoldGone):
            await opened.renew(**of_it, seconds=100)

    in_one_process(story)
    assert balances(wallet) == (1_000, 0)


def test_a_hold_of_a_frozen_wallet_is_renewed_and_not_raised(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=1_000)

    async def story(opened: Holds) -> None:
        await opened.place(**(ask := placing(wallet, 100)) | {"seconds": 1})
        await Wallet.objects.filter(pk=wallet.pk).aupdate(frozen_at=timezone.now())
        await opened.renew(hold_id=ask["hold_id"], wallet_id=wallet.pk, seconds=100)
        with pytest.raises(WalletFrozen):
            await opened.extend(**raising(wallet, ask["hold_id"], 100, 50))
        hold = await Hold.objects.aget(pk=ask["hold_id"])
        assert hold.expires_at - hold.created_at > timedelta(seconds=90)
        assert hold.amount_micro == 100

    in_one_process(story)


def test_a_hold_that_is_gone_is_not_raised(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=1_000)
    other = WalletFactory.create(credit_micro=1_000)

    async def story(opened: Holds) -> None:
        with pytest.raises(HoldGone):
            await opened.extend(**raising(wallet, uuid.uuid4(), 0, 100))
        await opened.place(**(ask := placing(wallet, 100)))
        with pytest.raises(HoldGone):  # nor by another wallet
            await opened.extend(**raising(other, ask["hold_id"], 100, 100))
        with pytest.raises(NotCovered) as refused:
            await opened.extend(**raising(wallet, ask["hold_id"], 100, 901))
        assert refused.value.available_micro == 900
        assert await opened.extend(**raising(wallet, ask["hold_id"], 100, 901, 1)) == 1_000

    in_one_process(story)
    assert balances(wallet) == (1_000, 1_000)


async def until_somebody_waits(other: psycopg.AsyncConnection[Any]) -> None:
    """For a lock of `other`'s."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
    async with await psycopg.AsyncConnection.connect(conninfo(), autocommit=True) as watching:
        for _ in range(1_000):
            row = await (await watching.execute(waiting, [other.info.backend_pid])).fetchone()
            if row != (0,):
                return
            await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")


def test_a_hold_is_placed_of_money_that_came_while_its_wallet_was_waited_for(committed_db: None) -> None:
    """A constraint is checked on the row as it was when the statement began, if that is what new values are made of."""
    wallet = WalletFactory.create(credit_micro=10)

    async def story(opened: Holds) -> None:
        async with await psycopg.AsyncConnection.connect(conninfo()) as topping_up:
            raised = "UPDATE wallet_wallet SET posted_micro = posted_micro + 90 WHERE user_id = %s"
            await topping_up.execute(raised, [wallet.pk])
            placed = asyncio.create_task(opened.place(**placing(wallet, 100)))
            await until_somebody_waits(topping_up)
            await topping_up.commit()
            assert await placed == 100

    in_one_process(story)
    assert balances(wallet) == (100, 100)


@pytest.mark.parametrize("cost", [0, 30, 100])
def test_a_hold_that_is_raised_while_its_wallet_is_waited_for_is_freed_whole(
    committed_db: None, cost: int
) -> None:
    wallet = WalletFactory.create(credit_micro=1_000)
    budget = open_budget(wallet_id=wallet.pk, limit_micro=1_000)

    async def story(opened: Holds) -> None:
        ask = {**placing(wallet, 100), "budget_id": budget}
        await opened.place(**ask)
        async with await psycopg.AsyncConnection.connect(conninfo()) as extending:
            items = [
                {
                    "n": 0,
                    "id": str(ask["hold_id"]),
                    "wallet_id": wallet.pk,
                    "to_micro": 700,
                    "minimum_micro": 700,
                    "seconds": 60,
                }
            ]
            rows = await extending.execute(extend_sql.WITH_BUDGETS, {"items": json.dumps(items)})
            assert (await rows.fetchall())[0][1] == 700
            settle = opened.settle(hold_id=ask["hold_id"], wallet_id=wallet.pk, cost_micro=cost)
            settled = asyncio.create_task(settle)
            await until_somebody_waits(extending)
            await extending.commit()
            await settled

    in_one_process(story)
    assert balances(wallet) == (1_000 - cost, 0)
    row = Budget.objects.get(pk=budget)
    assert (row.spent_micro, row.held_micro) == (cost, 0)


@pytest.mark.parametrize(
    ("change", "back"),
    [
        ("wallet_hold ALTER amount_micro TYPE numeric", "wallet_hold ALTER amount_micro TYPE bigint"),
        ("wallet_wallet ALTER posted_micro TYPE numeric", "wallet_wallet ALTER posted_micro TYPE bigint"),
        ("wallet_hold ADD COLUMN later int NOT NULL DEFAULT 1", "wallet_hold DROP COLUMN later"),
    ],
)
def test_a_migration_under_running_holds_stops_none(committed_db: None, change: str, back: str) -> None:
    wallet = WalletFactory.create(credit_micro=1_000)

    def alter(what: str) -> None:
        with psycopg.connect(conninfo(), autocommit=True) as database:
            database.execute(f"ALTER TABLE {what}".encode())

    async def work(holds: Holds) -> None:
        async def spend() -> None:
            asked = placing(wallet, 10)
            assert await holds.place(**asked) == 10
            await holds.settle(hold_id=asked["hold_id"], wallet_id=wallet.pk, cost_micro=4)

        await spend()  # the statements are prepared
        await asyncio.to_thread(alter, change)
        try:
            await spend()
        finally:
            await asyncio.to_thread(alter, back)
        await spend()

    in_one_process(work)
    assert balances(wallet) == (1_000 - 3 * 4, 0)
