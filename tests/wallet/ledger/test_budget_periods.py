"""Budgets that begin anew, and holds that count towards two of them: examples, races, then a state machine."""

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
from tests.wallet.ledger.test_budgets import set_limit_apart, spent_and_held, within
from tests.wallet.ledger.test_group_commit import conninfo
from tests.wallet.ledger.test_holds import balances, in_one_process, open_holds, placing, raising
from tests.wallet.test_database_rules import refused_by
from wallet import integrity
from wallet.ledger import budgets, holds, periods
from wallet.ledger.budgets import BudgetReport, open_budget, set_limit
from wallet.ledger.holds import BudgetReached, HoldGone, Holds, NotCovered
from wallet.ledger.models import Budget, Hold, Wallet
from wallet.ledger.periods import Period

END = "UPDATE wallet_budget SET ends_at = clock_timestamp() WHERE id = ANY (%s) AND ends_at IS NOT NULL"


def end_period(*budget_ids: int) -> None:
    """As if time had passed: the period ends in this moment."""
    with connection.cursor() as cursor:
        cursor.execute(END, [list(budget_ids)])


async def end_period_apart(*budget_ids: int) -> None:
    def end() -> None:
        try:
            end_period(*budget_ids)
        finally:
            connection.close()

    await asyncio.to_thread(end)


def report(wallet: Wallet, budget_id: int) -> BudgetReport:
    return budgets.reports(wallet_id=wallet.pk, budget_ids=[budget_id])[budget_id]


def counted(wallet: Wallet, budget_id: int) -> tuple[int, int]:
    found = report(wallet, budget_id)
    return found.spent_micro, found.held_micro


def within_both(
    wallet: Wallet, budget_id: int | None, shared_id: int | None, amount: int, minimum: int | None = None
) -> dict[str, Any]:
    return {**placing(wallet, amount, minimum), "budget_id": budget_id, "shared_budget_id": shared_id}


@pytest.mark.parametrize("period", [Period.DAY, Period.WEEK, Period.MONTH])
def test_a_budget_begins_anew_with_the_first_hold_after_its_period(
    committed_db: None, period: Period
) -> None:
    wallet = WalletFactory.create(credit_micro=1000)
    budget = open_budget(wallet_id=wallet.pk, limit_micro=100, period=period)

    async def work(opened: Holds) -> None:
        first = within(wallet, budget, 100)
        await opened.place(**first)
        await opened.settle(hold_id=first["hold_id"], wallet_id=wallet.pk, cost_micro=100)
        with pytest.raises(BudgetReached) as refused:
            await opened.place(**within(wallet, budget, 1))
        assert refused.value.ends_at == periods.bounds(period, timezone.now())[1]
        assert not refused.value.is_shared
        await end_period_apart(budget)
        assert await opened.place(**within(wallet, budget, 500, minimum=1)) == 100

    in_one_process(work)
    found = report(wallet, budget)
    assert (found.spent_micro, found.held_micro, found.remaining_micro) == (0, 100, 0)
    assert found.resets_at == periods.bounds(period, timezone.now())[1]
    assert spent_and_held(budget) == (100, 100)  # in all


def test_a_report_after_the_end_of_a_period_needs_no_hold(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=1000)
    budget = open_budget(wallet_id=wallet.pk, limit_micro=100, period=Period.DAY)

    async def work(opened: Holds) -> None:
        await opened.place(**(ask := within(wallet, budget, 60)))
        await opened.settle(hold_id=ask["hold_id"], wallet_id=wallet.pk, cost_micro=60)

    in_one_process(work)
    assert report(wallet, budget).remaining_micro == 40
    tomorrow = periods.bounds(Period.DAY, timezone.now())[1]
    [found] = budgets.reports(wallet_id=wallet.pk, budget_ids=[budget], now=tomorrow).values()
    assert (found.remaining_micro, found.starts_at) == (100, tomorrow)


@pytest.mark.parametrize("ahead", ["budget", "shared"])
def test_a_budget_goes_on_where_the_other_one_of_a_hold_has_begun_its_next_period(
    committed_db: None, ahead: str
) -> None:
    """A hold whose statement began before midnight, and got its locks after it; or the clock was set back."""
    wallet = WalletFactory.create(credit_micro=1000)
    budget, shared = (open_budget(wallet_id=wallet.pk, limit_micro=100, period=Period.DAY) for _ in range(2))
    begun = {"budget": budget, "shared": shared}[ahead]
    midnight, end = periods.bounds(Period.DAY, periods.bounds(Period.DAY, timezone.now())[1])
    Budget.objects.filter(pk=begun).update(starts_at=midnight, ends_at=end)
    ask = within_both(wallet, budget, shared, 60)

    async def work(opened: Holds) -> None:
        assert await opened.place(**ask) == 60

    in_one_process(work)
    assert Hold.objects.get(pk=ask["hold_id"]).created_at == midnight
    for each in Budget.objects.filter(pk__in=[budget, shared]):
        assert (each.starts_at, each.ends_at, each.held_micro, each.held_before_micro) == (
            midnight,
            end,
            60,
            0,
        )


def test_a_hold_counts_in_the_period_in_which_it_was_placed(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=1000)
    budget = open_budget(wallet_id=wallet.pk, limit_micro=100, period=Period.DAY)

    async def work(opened: Holds) -> None:
        old, new = within(wallet, budget, 60), within(wallet, budget, 100)
        await opened.place(**old)
        await end_period_apart(budget)
        assert (
            await opened.extend(**raising(wallet, old["hold_id"], 60, 10)) == 70
        )  # nobody has seen the end yet
        assert await opened.place(**new) == 100
        assert await opened.extend(**raising(wallet, old["hold_id"], 70, 20)) == 90
        with pytest.raises(BudgetReached) as refused:
            await opened.extend(**raising(wallet, old["hold_id"], 90, 11))
        assert refused.value.available_micro == 10
        await opened.settle(hold_id=old["hold_id"], wallet_id=wallet.pk, cost_micro=80)
        with pytest.raises(BudgetReached):
            await opened.place(**within(wallet, budget, 1))
        await opened.settle(hold_id=new["hold_id"], wallet_id=wallet.pk, cost_micro=30)
        assert await opened.place(**within(wallet, budget, 500, minimum=1)) == 70

    in_one_process(work)
    assert counted(wallet, budget) == (30, 70)
    row = Budget.objects.get(pk=budget)
    assert (row.spent_micro, row.previous_spent_micro, row.held_before_micro) == (110, 80, 0)
    assert balances(wallet) == (890, 70)


def test_another_period_begins_anew_and_the_same_one_goes_on(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=1000)
    budget = open_budget(wallet_id=wallet.pk, limit_micro=100)

    async def work(opened: Holds) -> None:
        open_one, captured = within(wallet, budget, 30), within(wallet, budget, 70)
        await opened.place(**open_one)
        await opened.place(**captured)
        await opened.settle(hold_id=captured["hold_id"], wallet_id=wallet.pk, cost_micro=70)
        change: dict[str, Any] = {"wallet_id": wallet.pk, "budget_id": budget, "limit_micro": 50}
        await asyncio.to_thread(set_limit_apart, **change, period=Period.FOREVER)
        with pytest.raises(BudgetReached):
            await opened.place(**within(wallet, budget, 1))
        await asyncio.to_thread(set_limit_apart, **change, period=Period.MONTH)
        assert await opened.place(**within(wallet, budget, 500, minimum=1)) == 50
        await opened.settle(hold_id=open_one["hold_id"], wallet_id=wallet.pk, cost_micro=30)

    in_one_process(work)
    assert counted(wallet, budget) == (0, 50)


def test_a_hold_is_what_both_budgets_cover(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=1000)
    own = open_budget(wallet_id=wallet.pk, limit_micro=100, period=Period.MONTH)
    shared = open_budget(wallet_id=wallet.pk, limit_micro=150, period=Period.WEEK)

    async def work(opened: Holds) -> None:
        first = within_both(wallet, own, shared, 100)
        assert await opened.place(**first) == 100
        with pytest.raises(BudgetReached) as refused:
            await opened.place(**within_both(wallet, own, shared, 1))
        assert not refused.value.is_shared
        assert await opened.place(**within_both(wallet, None, shared, 500, minimum=1)) == 50
        with pytest.raises(BudgetReached) as refused:
            await opened.place(**within_both(wallet, None, shared, 1))
        assert refused.value.is_shared
        assert refused.value.ends_at == periods.bounds(Period.WEEK, timezone.now())[1]
        await opened.settle(hold_id=first["hold_id"], wallet_id=wallet.pk, cost_micro=40)
        # Either's period ends by itself.
        await end_period_apart(shared)
        assert await opened.place(**within_both(wallet, own, shared, 500, minimum=1)) == 60

    in_one_process(work)
    assert (counted(wallet, own), counted(wallet, shared)) == ((40, 60), (0, 60))
    assert balances(wallet) == (960, 110)


def test_a_hold_with_a_budget_that_is_taken_for_one_without_is_left_alone(committed_db: None) -> None:
    """The quicker statements count no budget, so they must not find it."""
    wallet = WalletFactory.create(credit_micro=1000)
    budget = open_budget(wallet_id=wallet.pk, limit_micro=100)

    async def work(opened: Holds) -> None:
        for own, shared in ((budget, None), (None, budget)):
            ask = within_both(wallet, own, shared, 10)
            await opened.place(**ask)
            with pytest.raises(HoldGone):
                await opened.extend(**raising(wallet, ask["hold_id"], 10, 1), budgeted=False)
            settled = {"hold_id": ask["hold_id"], "wallet_id": wallet.pk, "cost_micro": 5}
            with pytest.raises(HoldGone):
                await opened.settle(**settled, budgeted=False)
            await opened.settle(**settled)
        plain = placing(wallet, 100)
        await opened.place(**plain)
        assert await opened.extend(**raising(wallet, plain["hold_id"], 100, 50), budgeted=False) == 150
        with pytest.raises(NotCovered):
            await opened.extend(**raising(wallet, plain["hold_id"], 150, 900), budgeted=False)
        for _ in range(2):
            await opened.settle(hold_id=plain["hold_id"], wallet_id=wallet.pk, cost_micro=90, budgeted=False)

    in_one_process(work)
    assert counted(wallet, budget) == (10, 0)
    assert balances(wallet) == (900, 0)


def test_two_hundred_at_once_while_the_period_turns(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=100_000)
    own = open_budget(wallet_id=wallet.pk, limit_micro=50 * 7, period=Period.DAY)
    shared = open_budget(wallet_id=wallet.pk, limit_micro=80 * 7, period=Period.MONTH)

    async def two_processes() -> list[Any]:
        async with open_holds() as one, open_holds() as other:

            async def call(n: int) -> str:
                opened, ask = (one, other)[n % 2], within_both(wallet, own if n % 3 else None, shared, 7)
                try:
                    await opened.place(**ask)
                except BudgetReached:
                    return "refused"
                await opened.settle(hold_id=ask["hold_id"], wallet_id=wallet.pk, cost_micro=7 if n % 4 else 0)
                return "paid" if n % 4 else "free"

            async def turn() -> None:
                for _ in range(3):
                    await end_period_apart(own, shared)
                    await asyncio.sleep(0)

            return await asyncio.gather(*(call(n) for n in range(200)), turn())

    outcomes = asyncio.run(two_processes())
    row = Budget.objects.get(pk=own)
    assert row.held_micro == row.held_before_micro == 0
    assert 0 <= row.spent_micro - row.spent_before_micro <= 50 * 7
    assert 0 <= row.previous_spent_micro <= 50 * 7
    assert Budget.objects.get(pk=shared).spent_micro == 7 * outcomes.count("paid")
    assert balances(wallet) == (100_000 - 7 * outcomes.count("paid"), 0)

    async def fill() -> list[Any]:
        async with open_holds() as opened:
            asks = (within(wallet, own, 7) for _ in range(60))
            return await asyncio.gather(*(opened.place(**ask) for ask in asks), return_exceptions=True)

    left = (50 * 7 - (row.spent_micro - row.spent_before_micro)) // 7
    if row.ends_at is not None and row.ends_at <= timezone.now():
        left = 50
    assert asyncio.run(fill()).count(7) == left  # nothing is refused that would fit


def test_two_hundred_at_once_on_two_budgets_of_which_the_smaller_holds(committed_db: None) -> None:
    wallet = WalletFactory.create(credit_micro=10_000)
    own = open_budget(wallet_id=wallet.pk, limit_micro=90 * 7)
    shared = open_budget(wallet_id=wallet.pk, limit_micro=50 * 7, period=Period.MONTH)

    async def two_processes() -> list[Any]:
        async with open_holds() as one, open_holds() as other:
            asks = (within_both(wallet, own, shared, 7) for _ in range(200))
            return await asyncio.gather(
                *((one, other)[n % 2].place(**ask) for n, ask in enumerate(asks)), return_exceptions=True
            )

    results = asyncio.run(two_processes())
    assert results.count(7) == 50
    assert all(error.is_shared for error in results if isinstance(error, BudgetReached))
    assert (counted(wallet, own), counted(wallet, shared)) == ((0, 350), (0, 350))


def test_what_the_version_before_counts_stays_in_order(committed_db: None) -> None:
    """Its processes know no periods: they change `spent` and `held` alone, while an update goes on."""
    wallet = WalletFactory.create(credit_micro=1000)
    budget = open_budget(wallet_id=wallet.pk, limit_micro=100, period=Period.DAY)
    ask = within(wallet, budget, 60)
    in_one_process(lambda opened: opened.place(**ask))
    end_period(budget)
    in_one_process(lambda opened: opened.place(**within(wallet, budget, 10)))
    # It voids the first hold, from before the period.
    Hold.objects.filter(pk=ask["hold_id"]).delete()
    Wallet.objects.filter(pk=wallet.pk).update(held_micro=10)
    Budget.objects.filter(pk=budget).update(held_micro=10)
    assert counted(wallet, budget) == (0, 0)
    assert [found for found in integrity.run(integrity.WARNINGS) if f"budget_id={budget}," in found.detail]
    end_period(budget)
    in_one_process(lambda opened: opened.place(**within(wallet, budget, 100)))
    assert counted(wallet, budget) == (0, 100)
    assert not [
        found for found in integrity.run(integrity.WARNINGS) if f"budget_id={budget}," in found.detail
    ]


NOW = timezone.now()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"period": "day"}, "budget_period_and_bounds"),
        ({"period": "year", "ends_at": NOW + timedelta(days=400)}, "budget_period_and_bounds"),
        ({"ends_at": NOW + timedelta(days=1)}, "budget_period_and_bounds"),
        ({"period": "day", "starts_at": NOW, "ends_at": NOW}, "budget_period_and_bounds"),
        ({"spent_before_micro": 1}, "budget_spent_since_not_negative"),
        ({"spent_before_micro": -1, "previous_spent_micro": -1}, "budget_previous_is_before"),
        ({"held_before_micro": -1}, "budget_held_before_not_negative"),
        ({"previous_spent_micro": 1}, "budget_previous_is_before"),
    ],
)
def test_the_database_refuses_figures_that_contradict_each_other(change: dict[str, Any], rule: str) -> None:
    budget = open_budget(wallet_id=WalletFactory.create().pk, limit_micro=5)
    assert refused_by(lambda: Budget.objects.filter(pk=budget).update(**change)) == rule


# --- any order of anything ----------------------------------------------------------------------------------------


@dataclass
class ExpectedBudget:
    limit: int
    period: Period
    spent: int = 0
    previous: int = 0
    is_over: bool = False
    held: dict[uuid.UUID, int] = field(default_factory=dict)
    held_before: dict[uuid.UUID, int] = field(default_factory=dict)

    @property
    def left(self) -> int:
        return max(0, self.limit - self.spent - sum(self.held.values()))

    def left_for(self, hold_id: uuid.UUID) -> int:
        if hold_id in self.held:
            return self.left
        return max(0, self.limit - self.previous - sum(self.held_before.values()))

    def raise_hold(self, hold_id: uuid.UUID, by: int) -> None:
        (self.held if hold_id in self.held else self.held_before)[hold_id] += by

    def resolve(self, hold_id: uuid.UUID, cost: int) -> None:
        if self.held.pop(hold_id, None) is not None:
            self.spent += cost
        else:
            self.held_before.pop(hold_id)
            self.previous += cost

    def begin_anew(self, *, previous: int) -> None:
        self.previous, self.spent, self.is_over = previous, 0, False
        self.held_before |= self.held
        self.held = {}


WHICH = st.integers(0, 10_000)
OWN = st.sampled_from([None, 0, 1])
SHARED = st.sampled_from([None, 2])
PERIODS = st.sampled_from(list(Period))


class PeriodsMachine(RuleBasedStateMachine):
    """Two budgets of keys and one that they share; each hold counts towards up to two. Periods end at any time."""

    @initialize(
        credit=st.integers(1, 1500),
        limits=st.tuples(*[st.integers(0, 500)] * 3),
        kinds=st.tuples(*[PERIODS] * 3),
    )
    def open(self, credit: int, limits: tuple[int, ...], kinds: tuple[Period, ...]) -> None:
        self.loop = asyncio.new_event_loop()
        self.holds = Holds(conninfo=conninfo())
        self.loop.run_until_complete(self._start())
        self.wallet = WalletFactory.create(credit_micro=credit)
        self.books = [ExpectedBudget(*each) for each in zip(limits, kinds, strict=True)]
        self.ids = [
            open_budget(wallet_id=self.wallet.pk, limit_micro=book.limit, period=book.period)
            for book in self.books
        ]
        self.open_holds: dict[uuid.UUID, tuple[int, list[ExpectedBudget]]] = {}
        self.credit = credit

    async def _start(self) -> None:
        self.holds.start()

    def _available(self) -> int:
        return self.credit - sum(amount for amount, _books in self.open_holds.values())

    def _id(self, which: int | None) -> int | None:
        return None if which is None else self.ids[which]

    @rule(own=OWN, shared=SHARED, amount=st.integers(0, 300), cut=st.integers(0, 300))
    def authorise(self, own: int | None, shared: int | None, amount: int, cut: int) -> None:
        minimum = max(0, amount - cut)
        ask = within_both(self.wallet, self._id(own), self._id(shared), amount, minimum)
        books = [self.books[which] for which in (own, shared) if which is not None]
        for book in books:
            if book.is_over:
                book.begin_anew(previous=book.spent)
        covered = min(amount, self._available())
        expected: type[Exception] | None = NotCovered if covered < minimum else None
        if expected is None:
            covered = min([covered, *(book.left for book in books)])
            expected = BudgetReached if covered < minimum else None
        if expected:
            with pytest.raises(expected):
                self.loop.run_until_complete(self.holds.place(**ask))
            return
        assert self.loop.run_until_complete(self.holds.place(**ask)) == covered
        self.open_holds[ask["hold_id"]] = covered, books
        for book in books:
            book.held[ask["hold_id"]] = covered

    @precondition(lambda self: self.open_holds)
    @rule(which=WHICH, more=st.integers(0, 300), cut=st.integers(0, 300))
    def extend(self, which: int, more: int, cut: int) -> None:
        hold_id, (held, books) = list(self.open_holds.items())[which % len(self.open_holds)]
        minimum = max(0, more - cut)
        offer = min(more, self._available())
        expected: type[Exception] | None = NotCovered if offer < minimum else None
        if expected is None:
            offer = min([offer, *(book.left_for(hold_id) for book in books)])
            expected = BudgetReached if offer < minimum else None
        ask = raising(self.wallet, hold_id, held, more, minimum)
        if expected:
            with pytest.raises(expected):
                self.loop.run_until_complete(self.holds.extend(**ask))
            return
        assert self.loop.run_until_complete(self.holds.extend(**ask)) == held + offer
        self.open_holds[hold_id] = held + offer, books
        for book in books:
            book.raise_hold(hold_id, offer)

    @rule(asked=st.lists(st.tuples(OWN, SHARED, st.integers(1, 200)), min_size=2, max_size=8))
    def authorise_at_once(self, asked: list[tuple[int | None, int | None, int]]) -> None:
        asks = [within_both(self.wallet, self._id(own), self._id(shared), n) for own, shared, n in asked]
        for which in {which for own, shared, _n in asked for which in (own, shared) if which is not None}:
            if self.books[which].is_over:
                self.books[which].begin_anew(previous=self.books[which].spent)

        async def all_at_once() -> list[Any]:
            return await asyncio.gather(*(self.holds.place(**ask) for ask in asks), return_exceptions=True)

        results = self.loop.run_until_complete(all_at_once())
        for (own, shared, amount), ask, result in zip(asked, asks, results, strict=True):
            if not isinstance(result, NotCovered | BudgetReached):
                assert result == amount
                books = [self.books[which] for which in (own, shared) if which is not None]
                self.open_holds[ask["hold_id"]] = amount, books
                for book in books:
                    book.held[ask["hold_id"]] = amount
        for (own, shared, amount), result in zip(asked, results, strict=True):
            if isinstance(result, BudgetReached):
                refusing = shared if result.is_shared else own
                assert refusing is not None
                assert amount > self.books[refusing].left
            elif isinstance(result, NotCovered):
                assert amount > self._available()

    @precondition(lambda self: self.open_holds)
    @rule(which=WHICH, part=st.integers(0, 10), expires=st.booleans())
    def resolve(self, which: int, part: int, expires: bool) -> None:
        hold_id, (amount, books) = list(self.open_holds.items())[which % len(self.open_holds)]
        cost = amount * part // 10
        if expires:
            past = timezone.now() - timedelta(microseconds=1)
            Hold.objects.filter(pk=hold_id).update(created_at=_shifted(hold_id), expires_at=past)
            holds.sweep_expired()
            cost = 0
        for _ in range(2):  # the second time does nothing
            try:
                self.loop.run_until_complete(
                    self.holds.settle(hold_id=hold_id, wallet_id=self.wallet.pk, cost_micro=cost)
                )
            except HoldGone:
                assert expires
        del self.open_holds[hold_id]
        self.credit -= cost
        for book in books:
            book.resolve(hold_id, cost)

    @rule(which=st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True))
    def periods_end(self, which: list[int]) -> None:
        end_period(*(self.ids[each] for each in which))
        for each in which:
            self.books[each].is_over = self.books[each].period is not Period.FOREVER

    @rule(which=st.integers(0, 2), limit=st.integers(0, 600), period=PERIODS)
    def change(self, which: int, limit: int, period: Period) -> None:
        set_limit(wallet_id=self.wallet.pk, budget_id=self.ids[which], limit_micro=limit, period=period)
        book = self.books[which]
        book.limit = limit
        if book.period is not period:
            book.period = period
            book.begin_anew(previous=0)

    @invariant()
    def the_database_agrees(self) -> None:
        if not hasattr(self, "credit"):
            return
        for budget_id, book in zip(self.ids, self.books, strict=True):
            row = Budget.objects.get(pk=budget_id)
            assert row.spent_micro - row.spent_before_micro == book.spent
            assert row.previous_spent_micro == book.previous
            assert row.held_before_micro == sum(book.held_before.values())
            assert row.held_micro - row.held_before_micro == sum(book.held.values())
        posted, held = balances(self.wallet)
        assert (posted, posted - held) == (self.credit, self._available())

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.run_until_complete(self.holds.close(timeout_seconds=5))
            self.loop.close()


def _shifted(hold_id: uuid.UUID) -> Any:
    """A hold's own time of placement: what decides where it counts stays as it is."""
    return Hold.objects.values_list("created_at", flat=True).get(pk=hold_id)


def _run(machine: type[RuleBasedStateMachine], examples: int) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=25, suppress_health_check=list(HealthCheck)
        ),
    )
    for checks in (integrity.CHECKS, integrity.WARNINGS):
        assert not [found for found in integrity.run(checks) if "budget" in found.invariant]


def test_periods_behave_as_their_model(committed_db: None) -> None:
    _run(PeriodsMachine, 8)


@pytest.mark.proof
@pytest.mark.timeout(1_200)
def test_periods_behave_as_their_model_at_length(committed_db: None) -> None:
    _run(PeriodsMachine, 300)
