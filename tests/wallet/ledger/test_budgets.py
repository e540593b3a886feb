"""Budgets on a real PostgreSQL: the examples, races, then a state machine against two budgets in plain Python."""

import asyncio
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.factories import WalletFactory
from tests.wallet.ledger.test_group_commit import conninfo
from tests.wallet.ledger.test_holds import balances, in_one_process, open_holds, placing, raising
from tests.wallet.test_database_rules import refused_by
from wallet import integrity
from wallet.ledger import budgets, holds
from wallet.ledger.budgets import open_budget, set_limit
from wallet.ledger.holds import BudgetReached, HoldGone, Holds, NotCovered
from wallet.ledger.models import Budget, Hold, Wallet


def spent_and_held(budget_id: int) -> tuple[int, int]:
    row = Budget.objects.get(pk=budget_id)
    return row.spent_micro, row.held_micro


def within(wallet: Wallet, budget_id: int | None, amount: int, minimum: int | None = None) -> dict[str, Any]:
    return {**placing(wallet, amount, minimum), "budget_id": budget_id}


def set_limit_apart(**change: Any) -> None:
    """In a thread, whose connection nobody else would close."""
    try:
        set_limit(**change)
    finally:
        connection.close()


def test_a_budget_covers_what_its_holds_are_raised_by(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=1000)
    budget = open_budget(wallet_id=wallet.pk, limit_micro=500)

    async def work(opened: Holds) -> None:
        first, second = within(wallet, budget, 300), within(wallet, budget, 100)
        await opened.place(**first)
        await opened.place(**second)
        with pytest.raises(BudgetReached) as refused:
            await opened.extend(**raising(wallet, first["hold_id"], 300, 101))
        assert refused.value.available_micro == 100
        assert await opened.extend(**raising(wallet, first["hold_id"], 300, 101, 1)) == 400
        await opened.settle(hold_id=first["hold_id"], wallet_id=wallet.pk, cost_micro=350)
        for _ in range(2):
            assert await opened.extend(**raising(wallet, second["hold_id"], 100, 50)) == 150

    in_one_process(work)
    assert balances(wallet) == (650, 150)
    assert spent_and_held(budget) == (350, 150)


def test_a_capture_is_spent_of_the_budget_and_the_rest_is_given_back(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=1000)
    budget = open_budget(wallet_id=wallet.pk, limit_micro=500)

    async def work(opened: Holds) -> None:
        captured, voided = within(wallet, budget, 300), within(wallet, budget, 200)
        assert await opened.place(**captured) == 300
        assert await opened.place(**voided) == 200
        with pytest.raises(BudgetReached):
            await opened.place(**within(wallet, budget, 1))
        assert await opened.place(**within(wallet, None, 100)) == 100  # other keys are not held up
        for _ in range(2):
            await opened.settle(hold_id=captured["hold_id"], wallet_id=wallet.pk, cost_micro=120)
        await opened.settle(hold_id=voided["hold_id"], wallet_id=wallet.pk, cost_micro=0)

    in_one_process(work)
    assert balances(wallet) == (880, 100)
    assert spent_and_held(budget) == (120, 0)


def test_what_is_held_is_what_wallet_and_budget_both_cover(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=100)
    small = open_budget(wallet_id=wallet.pk, limit_micro=30)
    large = open_budget(wallet_id=wallet.pk, limit_micro=10_000)

    async def work(opened: Holds) -> None:
        assert await opened.place(**within(wallet, small, 50, minimum=10)) == 30
        assert await opened.place(**within(wallet, large, 500, minimum=10)) == 70
        with pytest.raises(NotCovered):  # both lack it: topping up is what helps
            await opened.place(**within(wallet, small, 5))

    in_one_process(work)


def test_a_limit_is_raised_and_lowered_at_any_time(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=1000)
    budget = open_budget(wallet_id=wallet.pk, limit_micro=100)

    async def work(opened: Holds) -> None:
        first = within(wallet, budget, 100)
        await opened.place(**first)
        await opened.settle(hold_id=first["hold_id"], wallet_id=wallet.pk, cost_micro=100)
        await asyncio.to_thread(set_limit_apart, wallet_id=wallet.pk, budget_id=budget, limit_micro=150)
        assert await opened.place(**within(wallet, budget, 500, minimum=1)) == 50
        await asyncio.to_thread(set_limit_apart, wallet_id=wallet.pk, budget_id=budget, limit_micro=20)
        with pytest.raises(BudgetReached):
            await opened.place(**within(wallet, budget, 500, minimum=1))
        assert await opened.place(**within(wallet, budget, 0)) == 0  # what is free costs no budget

    in_one_process(work)


def test_the_budget_of_another_wallet_or_of_none_covers_nothing(committed_db: None) -> None:
    wallet, other = WalletFactory.create(credit_micro=1000), WalletFactory.create(credit_micro=1000)
    theirs = open_budget(wallet_id=other.pk, limit_micro=500)

    async def work(opened: Holds) -> None:
        for budget in (theirs, 2**40):
            with pytest.raises(BudgetReached):
                await opened.place(**within(wallet, budget, 1))

    in_one_process(work)
    with pytest.raises(budgets.UnknownBudget):
        set_limit(wallet_id=wallet.pk, budget_id=theirs, limit_micro=1)
    assert budgets.reports(wallet_id=wallet.pk, budget_ids=[theirs]) == {}
    assert spent_and_held(theirs) == (0, 0)


def test_two_hundred_at_once_on_a_budget_that_covers_fifty(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=10_000)
    budget, other = (open_budget(wallet_id=wallet.pk, limit_micro=50 * 7) for _ in range(2))

    async def two_processes() -> list[Any]:
        async with open_holds() as one, open_holds() as other_process:
            processes = (one, other_process)

            async def call(n: int) -> Any:
                ask = within(wallet, (budget, budget, other, None)[n % 4], 7)
                await processes[n % 2].place(**ask)
                if n % 8 < 2:  # some are captured while others still ask
                    await processes[(n + 1) % 2].settle(
                        hold_id=ask["hold_id"], wallet_id=wallet.pk, cost_micro=7
                    )

            return await asyncio.gather(*(call(n) for n in range(400)), return_exceptions=True)

    results = asyncio.run(two_processes())
    assert {type(result) for result in results} == {type(None), BudgetReached}
    assert [results[n::4].count(None) for n in range(4)][2:] == [50, 100]
    assert sum(results[n::4].count(None) for n in range(2)) == 50
    spent, held = spent_and_held(budget)
    assert spent + held == 50 * 7
    assert spent_and_held(other) == (0, 50 * 7)
    assert balances(wallet)[1] == held + 50 * 7 + 100 * 7


def test_limits_that_change_during_a_race_are_never_passed(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=100_000)
    budget = open_budget(wallet_id=wallet.pk, limit_micro=0)

    async def race() -> list[Any]:
        async with open_holds() as one, open_holds() as other:

            async def ask(n: int) -> Any:
                return await (one, other)[n % 2].place(**within(wallet, budget, 7))

            async def raise_limit() -> None:
                for limit in range(0, 701, 70):
                    await asyncio.to_thread(
                        set_limit_apart, wallet_id=wallet.pk, budget_id=budget, limit_micro=limit
                    )

            asked = asyncio.gather(*(ask(n) for n in range(300)), return_exceptions=True)
            await raise_limit()
            return await asked

    results = asyncio.run(race())
    assert spent_and_held(budget) == (0, 7 * results.count(7))
    assert results.count(7) <= 100


def test_the_sweeper_gives_back_what_a_dead_process_held_of_a_budget(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=100)
    budget = open_budget(wallet_id=wallet.pk, limit_micro=50)
    ask = within(wallet, budget, 40)
    in_one_process(lambda opened: opened.place(**ask))
    assert spent_and_held(budget) == (0, 40)
    past = timezone.now() - timedelta(hours=1)
    Hold.objects.filter(pk=ask["hold_id"]).update(created_at=past, expires_at=past + timedelta(minutes=1))
    assert holds.sweep_expired() >= 1
    assert spent_and_held(budget) == (0, 0)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"limit_micro": -1}, "budget_limit_not_negative"),
        ({"spent_micro": -1}, "budget_spent_not_negative"),
        ({"held_micro": -1}, "budget_held_not_negative"),
    ],
)
def test_a_budget_never_goes_below_zero(change: dict[str, int], rule: str) -> None:
    budget = open_budget(wallet_id=WalletFactory.create().pk, limit_micro=5)
    assert refused_by(lambda: Budget.objects.filter(pk=budget).update(**change)) == rule


@pytest.mark.django_db
def test_a_budget_belongs_to_a_wallet() -> None:
    def open_for_nobody() -> None:
        open_budget(wallet_id=2**40, limit_micro=5)
        connection.check_constraints()

    assert "wallet_budget_wallet_id" in str(refused_by(open_for_nobody))


@pytest.mark.django_db
def test_a_report_says_what_is_left() -> None:
    wallet = WalletFactory.create()
    budget = open_budget(wallet_id=wallet.pk, limit_micro=50)
    Budget.objects.filter(pk=budget).update(spent_micro=20, held_micro=10)
    report = budgets.reports(wallet_id=wallet.pk, budget_ids=[budget])[budget]
    assert (report.remaining_micro, report.is_reached) == (20, False)
    set_limit(wallet_id=wallet.pk, budget_id=budget, limit_micro=10)
    report = budgets.reports(wallet_id=wallet.pk, budget_ids=[budget])[budget]
    assert (report.remaining_micro, report.is_reached) == (0, True)


# --- any order of anything ----------------------------------------------------------------------------------------


@dataclass
class ExpectedBudget:
    limit: int
    spent: int = 0
    held: dict[uuid.UUID, int] = field(default_factory=dict)

    @property
    def left(self) -> int:
        return max(0, self.limit - self.spent - sum(self.held.values()))


WHICH = st.integers(0, 10_000)
BUDGETS = st.sampled_from([None, 0, 1])


class BudgetMachine(RuleBasedStateMachine):
    """Authorise with either budget or none, alone and at once, capture, void, expire, change limits, in any order."""

    @initialize(credit=st.integers(1, 1000), limits=st.tuples(st.integers(0, 500), st.integers(0, 500)))
    def open(self, credit: int, limits: tuple[int, int]) -> None:
        self.loop = asyncio.new_event_loop()
        self.holds = Holds(conninfo=conninfo())
        self.loop.run_until_complete(self._start())
        self.wallet = WalletFactory.create(credit_micro=credit)
        self.ids = [open_budget(wallet_id=self.wallet.pk, limit_micro=limit) for limit in limits]
        self.expected = [ExpectedBudget(limit) for limit in limits]
        self.free = ExpectedBudget(0)  # what is held and spent without a budget
        self.credit = credit

    async def _start(self) -> None:
        self.holds.start()

    def _book(self, which: int | None) -> ExpectedBudget:
        return self.free if which is None else self.expected[which]

    def _available(self) -> int:
        books = [self.free, *self.expected]
        return self.credit - sum(book.spent + sum(book.held.values()) for book in books)

    def _ask(self, which: int | None, amount: int, minimum: int) -> dict[str, Any]:
        return within(self.wallet, None if which is None else self.ids[which], amount, minimum)

    @rule(which=BUDGETS, amount=st.integers(0, 300), cut=st.integers(0, 300))
    def authorise(self, which: int | None, amount: int, cut: int) -> None:
        ask = self._ask(which, amount, max(0, amount - cut))
        covered = min(amount, self._available())
        if covered < ask["minimum_micro"]:
            expected: type[Exception] | None = NotCovered
        else:
            if which is not None:
                covered = min(covered, self.expected[which].left)
            expected = BudgetReached if covered < ask["minimum_micro"] else None
        if expected:
            with pytest.raises(expected):
                self.loop.run_until_complete(self.holds.place(**ask))
        else:
            assert self.loop.run_until_complete(self.holds.place(**ask)) == covered
            self._book(which).held[ask["hold_id"]] = covered

    @rule(asked=st.lists(st.tuples(BUDGETS, st.integers(1, 200)), min_size=2, max_size=8))
    def authorise_at_once(self, asked: list[tuple[int | None, int]]) -> None:
        asks = [self._ask(which, amount, amount) for which, amount in asked]

        async def all_at_once() -> list[Any]:
            return await asyncio.gather(*(self.holds.place(**ask) for ask in asks), return_exceptions=True)

        results = self.loop.run_until_complete(all_at_once())
        for (which, amount), ask, result in zip(asked, asks, results, strict=True):
            if not isinstance(result, NotCovered | BudgetReached):
                assert result == amount
                self._book(which).held[ask["hold_id"]] = amount
        # Whoever was refused would not have fitted into what is left now.
        for (which, amount), result in zip(asked, results, strict=True):
            if isinstance(result, BudgetReached):
                assert which is not None
                assert amount > self.expected[which].left
            elif isinstance(result, NotCovered):
                assert amount > self._available()

    @precondition(lambda self: any(book.held for book in [self.free, *self.expected]))
    @rule(which=WHICH, part=st.integers(0, 10), expires=st.booleans())
    def resolve(self, which: int, part: int, expires: bool) -> None:
        held = [(book, *one) for book in [self.free, *self.expected] for one in book.held.items()]
        book, hold_id, amount = held[which % len(held)]
        cost = amount * part // 10
        if expires:
            past = timezone.now() - timedelta(hours=1)
            Hold.objects.filter(pk=hold_id).update(created_at=past, expires_at=timezone.now())
            holds.sweep_expired()
            cost = 0
        for _ in range(2):  # the second time does nothing
            try:
                self.loop.run_until_complete(
                    self.holds.settle(hold_id=hold_id, wallet_id=self.wallet.pk, cost_micro=cost)
                )
            except HoldGone:
                assert expires
        del book.held[hold_id]
        book.spent += cost

    @rule(which=st.sampled_from([0, 1]), limit=st.integers(0, 600))
    def change_limit(self, which: int, limit: int) -> None:
        set_limit(wallet_id=self.wallet.pk, budget_id=self.ids[which], limit_micro=limit)
        self.expected[which].limit = limit

    @invariant()
    def the_database_agrees(self) -> None:
        if not hasattr(self, "free"):
            return
        for budget_id, book in zip(self.ids, self.expected, strict=True):
            assert spent_and_held(budget_id) == (book.spent, sum(book.held.values()))
        posted, held = balances(self.wallet)
        assert posted - held == self._available()

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.run_until_complete(self.holds.close(timeout_seconds=5))
            self.loop.close()


def test_budgets_behave_as_their_model(committed_db: None) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        BudgetMachine,
        settings=settings(max_examples=20, stateful_step_count=25, suppress_health_check=list(HealthCheck)),
    )
    assert not [found for found in integrity.run(integrity.CHECKS) if "budget" in found.invariant]
