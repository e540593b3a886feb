"""Holds on a real PostgreSQL: the examples, then a state machine against a model of the wallet in plain Python."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import psycopg
import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pytest_django import DjangoDbBlocker

from tests.factories import WalletFactory
from tests.wallet.ledger.test_group_commit import conninfo
from wallet.credits import gifts
from wallet.ledger import holds, writer
from wallet.ledger.budgets import open_budget
from wallet.ledger.extend_sql import EXTEND
from wallet.ledger.group_commit import GroupCommit
from wallet.ledger.holds import HoldGone, Holds, LedgerUnavailable, NotCovered
from wallet.ledger.models import Budget, Hold, JournalEntry, Wallet

T = TypeVar("T")


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
        "minimum_micro": held + (more if minimum is None else minimum),
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
                }
            ]
            rows = await extending.execute(EXTEND, {"items": json.dumps(items)})
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


@dataclass
class Expected:
    """The wallet in plain Python."""

    posted: int
    holds: dict[uuid.UUID, int]

    @property
    def held(self) -> int:
        return sum(self.holds.values())


# What is drawn must not depend on what PostgreSQL answered, or no failure could be replayed.
WHICH = st.integers(0, 10_000)


def pick(holds_by_id: dict[uuid.UUID, int], which: int) -> tuple[uuid.UUID, int]:
    return list(holds_by_id.items())[which % len(holds_by_id)]


class WalletMachine(RuleBasedStateMachine):
    """Authorise, capture, void, expire, top up, refund, repeat and mix them; PostgreSQL must agree with `Expected`."""

    blocker: DjangoDbBlocker
    amounts = st.integers(0, 300)

    @initialize(credit=st.integers(1, 1000))
    def open(self, credit: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.holds = Holds(conninfo=conninfo())
        self.loop.run_until_complete(self._start())
        self.wallet = WalletFactory.create(credit_micro=credit)
        self.expected = Expected(credit, {})
        self.resolved: dict[uuid.UUID, int] = {}

    async def _start(self) -> None:
        self.holds.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @rule(amount=amounts, cut=st.integers(0, 300))
    def authorise(self, amount: int, cut: int) -> None:
        ask = placing(self.wallet, amount, max(0, amount - cut))
        left = self.expected.posted - self.expected.held
        if min(amount, left) >= ask["minimum_micro"]:
            assert self.run(self.holds.place(**ask)) == min(amount, left)
            self.expected.holds[ask["hold_id"]] = min(amount, left)
        else:
            with pytest.raises(NotCovered):
                self.run(self.holds.place(**ask))

    @rule(amounts=st.lists(st.integers(1, 200), min_size=2, max_size=8))
    def authorise_at_once(self, amounts: list[int]) -> None:
        asks = [placing(self.wallet, amount) for amount in amounts]

        async def all_at_once() -> list[Any]:
            return await asyncio.gather(*(self.holds.place(**ask) for ask in asks), return_exceptions=True)

        for ask, result in zip(asks, self.run(all_at_once()), strict=True):
            if not isinstance(result, NotCovered):
                assert result == ask["amount_micro"]
                self.expected.holds[ask["hold_id"]] = result
        # Whoever was refused would not have fitted into what is left now.
        left = self.expected.posted - self.expected.held
        refused = [ask for ask in asks if ask["hold_id"] not in self.expected.holds]
        assert all(ask["amount_micro"] > left for ask in refused)

    @precondition(lambda self: self.expected.holds)
    @rule(which=WHICH, more=amounts, cut=st.integers(0, 300), times=st.integers(1, 3))
    def extend(self, which: int, more: int, cut: int, times: int) -> None:
        """However often it is asked for, a hold is raised to the same amount."""
        hold_id, held = pick(self.expected.holds, which)
        ask = raising(self.wallet, hold_id, held, more, max(0, more - cut))

        can = min(more, self.expected.posted - self.expected.held)
        for _ in range(times):
            if can >= ask["minimum_micro"] - held:
                assert self.run(self.holds.extend(**ask)) == held + can
                self.expected.holds[hold_id] = held + can
            else:
                with pytest.raises(NotCovered):
                    self.run(self.holds.extend(**ask))

    @precondition(lambda self: self.expected.holds)
    @rule(which=WHICH, more=amounts, amount=amounts)
    def extend_beside_another_hold(self, which: int, more: int, amount: int) -> None:
        hold_id, held = pick(self.expected.holds, which)
        raised, placed = (raising(self.wallet, hold_id, held, more), placing(self.wallet, amount))

        async def at_once() -> list[Any]:
            both = (self.holds.place(**placed), self.holds.extend(**raised))
            return list(await asyncio.gather(*both, return_exceptions=True))

        new, old = self.run(at_once())
        if not isinstance(new, NotCovered):
            self.expected.holds[placed["hold_id"]] = new
        if not isinstance(old, NotCovered):
            self.expected.holds[hold_id] = old
        left = self.expected.posted - self.expected.held
        assert not isinstance(new, NotCovered) or amount > left
        assert not isinstance(old, NotCovered) or more > left

    @precondition(lambda self: self.expected.holds)
    @rule(which=WHICH, more=amounts, part=st.integers(0, 10))
    def extend_while_it_is_captured(self, which: int, more: int, part: int) -> None:
        hold_id, held = pick(self.expected.holds, which)
        cost = held * part // 10

        async def at_once() -> list[Any]:
            raised = self.holds.extend(**raising(self.wallet, hold_id, held, more))
            settled = self.holds.settle(hold_id=hold_id, wallet_id=self.wallet.pk, cost_micro=cost)
            return list(await asyncio.gather(raised, settled, return_exceptions=True))

        raised, settled = self.run(at_once())
        assert settled is None
        assert raised == held + more or isinstance(raised, NotCovered | HoldGone)
        del self.expected.holds[hold_id]
        self.expected.posted -= cost
        self.resolved[hold_id] = cost

    @precondition(lambda self: self.expected.holds)
    @rule(which=WHICH, part=st.integers(0, 10), times=st.integers(1, 3))
    def capture(self, which: int, part: int, times: int) -> None:
        hold_id, amount = pick(self.expected.holds, which)
        cost = amount * part // 10

        async def repeatedly() -> None:
            settle = self.holds.settle(hold_id=hold_id, wallet_id=self.wallet.pk, cost_micro=cost)
            again = [
                self.holds.settle(hold_id=hold_id, wallet_id=self.wallet.pk, cost_micro=cost)
                for _ in range(times - 1)
            ]
            await asyncio.gather(settle, *again)

        self.run(repeatedly())
        del self.expected.holds[hold_id]
        self.expected.posted -= cost
        self.resolved[hold_id] = cost

    @precondition(lambda self: self.expected.holds)
    @rule(which=WHICH)
    def void(self, which: int) -> None:
        hold_id, _amount = pick(self.expected.holds, which)
        self.run(self.holds.settle(hold_id=hold_id, wallet_id=self.wallet.pk, cost_micro=0))
        del self.expected.holds[hold_id]
        self.resolved[hold_id] = 0

    @precondition(lambda self: self.resolved)
    @rule(which=WHICH)
    def resolve_again(self, which: int) -> None:
        hold_id, cost = pick(self.resolved, which)
        settle = self.holds.settle(hold_id=hold_id, wallet_id=self.wallet.pk, cost_micro=5)
        if cost:
            self.run(settle)
        else:
            with pytest.raises(HoldGone):
                self.run(settle)

    @precondition(lambda self: self.expected.holds)
    @rule(which=WHICH)
    def expire(self, which: int) -> None:
        hold_id, _amount = pick(self.expected.holds, which)
        hour = timedelta(hours=1)
        Hold.objects.filter(pk=hold_id).update(created_at=timezone.now() - hour, expires_at=timezone.now())
        assert holds.sweep_expired() == 1
        del self.expected.holds[hold_id]
        self.resolved[hold_id] = 0

    @rule(amount=st.integers(1, 500))
    def credit(self, amount: int) -> None:
        with transaction.atomic():
            gifts.give(wallet_id=self.wallet.pk, amount_micro=amount)
        self.expected.posted += amount

    @rule(amount=st.integers(1, 500), times=st.integers(1, 3))
    def top_up(self, amount: int, times: int) -> None:
        """The gateway's reply may come more than once; the same payment is booked once."""
        cause = uuid.uuid4()
        for attempt in range(times):
            if attempt == 0:
                self._post(cause, JournalEntry.Kind.OPERATOR_CREDIT, amount)
            else:
                with pytest.raises(IntegrityError, match="journal_booked_once"):
                    self._post(cause, JournalEntry.Kind.OPERATOR_CREDIT, amount)
        self.expected.posted += amount

    @rule(amount=st.integers(1, 500))
    def refund(self, amount: int) -> None:
        if amount <= self.expected.posted - self.expected.held:
            self._post(uuid.uuid4(), JournalEntry.Kind.OPERATOR_CREDIT, -amount)
            self.expected.posted -= amount
        else:
            with pytest.raises(writer.NotCovered):
                self._post(uuid.uuid4(), JournalEntry.Kind.OPERATOR_CREDIT, -amount)

    def _post(self, cause: uuid.UUID, kind: JournalEntry.Kind, amount: int) -> None:
        with transaction.atomic():
            writer.post(
                transaction_id=cause, kind=kind, wallet_id=self.wallet.pk, amount_micro=amount,
                counter_account=JournalEntry.Account.CORRECTION,
            )  # fmt: skip

    @invariant()
    def the_database_agrees(self) -> None:
        if not hasattr(self, "wallet"):
            return
        assert balances(self.wallet) == (self.expected.posted, self.expected.held)
        assert dict(self.wallet.holds.values_list("id", "amount_micro")) == self.expected.holds
        running = 0
        for amount, balance in self.wallet.entries.order_by("id").values_list(
            "amount_micro", "balance_micro"
        ):
            running += amount
            assert balance == running
        assert running == self.expected.posted

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.run(self.holds.close(timeout_seconds=5))
            self.loop.close()


def test_the_wallet_behaves_as_its_model(committed_db: None) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        WalletMachine,
        settings=settings(max_examples=30, stateful_step_count=25, suppress_health_check=list(HealthCheck)),
    )


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
