"""The ledger of holds against a model of the wallet in plain Python, on a real PostgreSQL."""

import asyncio
import uuid
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pytest_django import DjangoDbBlocker

from tests.factories import WalletFactory
from tests.wallet.ledger.test_group_commit import conninfo
from tests.wallet.ledger.test_holds import balances, placing, raising
from wallet.credits import gifts
from wallet.ledger import holds, writer
from wallet.ledger.holds import HoldGone, Holds, NotCovered
from wallet.ledger.models import Hold, JournalEntry

T = TypeVar("T")


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
        holds.sweep_expired()  # also of what killed processes of other tests held
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
