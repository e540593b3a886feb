"""The sandbox's account with a past: weeks of use, paid for through the ledger's own functions.

Every figure comes from one seed, so that pages and pictures look the same each time.
"""

import asyncio
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from psycopg.conninfo import make_conninfo

from accounts.models import User
from accounts.opening import open_account
from keys import lifecycle
from keys.rules import KeyRules
from proxy.catalogue import served, starter
from proxy.catalogue.endpoints import CHAT
from proxy.catalogue.prices.pricing import Usage, cost_micro
from proxy.catalogue.served import ServedModel
from proxy.sandbox import clock
from proxy.sandbox.clock import Clock
from proxy.sandbox.demo import NotSandbox
from proxy.usage import quantities, records, rollups
from proxy.usage.models import UsageRecord
from proxy.usage.sales import counting as sales
from wallet import alerts
from wallet.credits import gifts, promos
from wallet.credits.models import PromoCode
from wallet.ledger import budgets
from wallet.ledger.holds import BudgetReached, Holds, NotCovered
from wallet.money import micro_from_toman
from wallet.payments import gateways, topups
from wallet.payments.gateways import sandbox
from wallet.payments.invoice_models import BuyerDetails
from wallet.payments.models import TopUp
from wallet.statements.reports import balance

MOBILE = "+989120000001"
DAYS = 45
PROMO = "DEMO-WELCOME"
LOW_MICRO = micro_from_toman(15_000)
TOPUPS_TOMAN = (20_000, 30_000, 50_000)
# Requests in an hour of the day, against the busiest one; Thursday and Friday are the weekend.
HOURS = (1, 0, 0, 0, 0, 0, 1, 2, 5, 8, 10, 10, 9, 6, 7, 9, 10, 9, 7, 6, 6, 5, 4, 2)
WEEKEND = (3, 4)
Outcome, BilledBy = UsageRecord.Outcome, UsageRecord.BilledBy
ENDINGS = {  # how often, status, who bills
    Outcome.COMPLETED: (950, 200, BilledBy.USAGE),
    Outcome.CLIENT_LEFT: (20, 200, BilledBy.ESTIMATE),
    Outcome.UPSTREAM_FAILED: (15, 502, BilledBy.NOTHING),
    Outcome.REFUSED: (12, 400, BilledBy.NOTHING),
    Outcome.INTERRUPTED: (3, 502, BilledBy.NOTHING),
}


class NoPlayGateway(Exception):
    """New payments go to another gateway than the sandbox's own."""


class AlreadySeeded(Exception):
    """The account exists; what its ledger says is never taken back, so it stays as it is."""


class NothingOnSale(Exception):
    """No model is served, so that nothing can have been used."""


@dataclass(frozen=True, slots=True)
class Seeded:
    """What was made."""

    mobile: str
    requests: int
    topups: int
    keys: int
    since: datetime


@dataclass(frozen=True, slots=True)
class _Key:
    key_id: int
    budget_id: int | None
    weight: int


def seed(
    *, mobile: str = MOBILE, number: int = 1405, days: int = DAYS, now: datetime | None = None
) -> Seeded:
    """Makes an account that has been used for `days` until `now`, with `number` as the seed of all chance.

    Many transactions of its own, each of which leaves the books balanced. Raises NotSandbox, NoPlayGateway,
    AlreadySeeded, NothingOnSale.
    """
    if not settings.SANDBOX:
        raise NotSandbox
    gateway = gateways.configured()
    if gateway is None or gateway.name != sandbox.SandboxGateway.name:
        raise NoPlayGateway
    if User.objects.filter(mobile=mobile).exists():
        raise AlreadySeeded(mobile)
    now = now or timezone.now()
    if not served.load(now):
        starter.load()
    models = served.at(served.load(timezone.now()).values(), CHAT)
    if not models:
        raise NothingOnSale
    since = timezone.localtime(now - timedelta(days=days)).replace(hour=8, minute=0, second=0, microsecond=0)
    with clock.set_back(since) as set_clock:
        life = _Life(mobile, number, set_clock, models)
        life.live(since, now)
    rollups.roll_up(since=since)
    sales.rebuild(since=since)
    lifecycle.touch(life.last_used)
    return Seeded(mobile, life.requests, life.topups, len(life.keys) + 1, since)


class _Life:
    """What one customer does, moment by moment."""

    def __init__(self, mobile: str, number: int, set_clock: Clock, models: list[ServedModel]) -> None:
        self.clock, self.models = set_clock, models
        self.chance = random.Random(number)  # noqa: S311 - plausible, not secret
        self.ids = random.Random(f"{number} {mobile}")  # noqa: S311 - two accounts of one seed share no id
        self.user = open_account(mobile=mobile)
        self.keys: list[_Key] = []
        self.last_used: dict[int, datetime] = {}
        self.requests = self.topups = 0

    def live(self, since: datetime, now: datetime) -> None:
        self._begin(now)
        holds = Holds(
            conninfo=make_conninfo(
                settings.DATABASE_URL, options=f"{clock.options()} -c synchronous_commit=off"
            ),
            record_sql=records.record_sql(),
        )
        with asyncio.Runner() as runner:
            runner.run(_start(holds))
            for at in self._moments(since, now):
                self.clock.set(at)
                if balance(user_id=self.user.pk).available_micro < LOW_MICRO:
                    self._top_up(pays=True)
                runner.run(self._request(holds, at, now))
            runner.run(holds.close(timeout_seconds=3))
        self.clock.set(now - timedelta(minutes=40))
        self._top_up(pays=False)

    def _begin(self, now: datetime) -> None:
        """The first morning: details for invoices, a promo code, a payment, keys."""
        user_id = self.user.pk
        BuyerDetails.objects.create(
            user_id=user_id,
            name="فروشگاه اینترنتی کاج",
            address="تهران، خیابان انقلاب، پلاک ۱۲",
            postal_code="1314675331",
        )
        PromoCode.objects.get_or_create(
            code=PROMO,
            defaults={"amount_micro": micro_from_toman(5_000), "expires_at": now + timedelta(days=3650)},
        )
        promos.redeem(user_id=user_id, typed=PROMO)
        self._top_up(pays=True)
        with transaction.atomic():
            gifts.give(wallet_id=user_id, amount_micro=micro_from_toman(5_000))
        alerts.choose(user_id=user_id, threshold_micro=LOW_MICRO // 2)
        self._key("فروشگاه کتاب", KeyRules(rpm=60), weight=6, cap_micro=micro_from_toman(250_000))
        self._key("telegram-bot", KeyRules(expires_at=now + timedelta(days=90)), weight=3)
        self._key("پشتیبانی مشتریان", KeyRules(allowed_models=(self.models[0].model_id,)), weight=1)
        old = lifecycle.create(user_id=user_id, name="آزمایش اولیه")
        lifecycle.revoke(user_id=user_id, key_id=old.key_id)

    def _key(self, name: str, rules: KeyRules, *, weight: int, cap_micro: int | None = None) -> None:
        with transaction.atomic():
            budget_id = None
            if cap_micro is not None:
                budget_id = budgets.open_budget(wallet_id=self.user.pk, limit_micro=cap_micro)
            made = lifecycle.create(
                user_id=self.user.pk, name=name, rules=replace(rules, budget_id=budget_id)
            )
        self.keys.append(_Key(made.key_id, budget_id, weight))

    def _top_up(self, *, pays: bool) -> None:
        """As on the pages: to the play gateway and back."""
        amount_micro = micro_from_toman(self.chance.choice(TOPUPS_TOMAN))
        topups.start(
            user_id=self.user.pk,
            amount_micro=amount_micro,
            callback_url=lambda pk: f"{settings.BASE_URL}/back/{pk}/",
        )
        started = TopUp.objects.filter(user_id=self.user.pk).latest("created_at")
        sandbox.decide(str(started.authority), pays=pays)
        topups.come_back(topup_id=started.pk, query={"Authority": str(started.authority)})
        self.topups += 1

    def _moments(self, since: datetime, now: datetime) -> Iterator[datetime]:
        """When requests end: more by day than by night, less at weekends, and more from week to week."""
        whole = timedelta(days=1) * ((now - since) // timedelta(days=1) + 1)
        hour = since + timedelta(hours=2)
        while hour < now:
            growth = 0.5 + (hour - since) / whole
            busy = HOURS[timezone.localtime(hour).hour] * growth
            if hour.weekday() in WEEKEND:
                busy *= 0.3
            count = int(busy * self.chance.uniform(0.2, 0.6) + self.chance.random())
            seconds = sorted(self.chance.uniform(0, 3600) for _ in range(count))
            yield from (at for each in seconds if (at := hour + timedelta(seconds=each)) < now)
            hour += timedelta(hours=1)

    async def _request(self, holds: Holds, at: datetime, now: datetime) -> None:
        record, budget_id = self._record(at)
        held_micro = 2 * record.cost_micro
        try:
            await holds.place(
                hold_id=record.pk,
                wallet_id=self.user.pk,
                amount_micro=held_micro,
                minimum_micro=held_micro,
                # By the clock of everybody else, too: a sweeper must not take it.
                seconds=int((now - at).total_seconds()) + settings.HOLD_SECONDS,
                budget_id=budget_id,
            )
        except (NotCovered, BudgetReached):
            return  # as it would be refused
        await holds.settle(
            hold_id=record.pk,
            wallet_id=self.user.pk,
            cost_micro=record.cost_micro,
            record={
                field.attname: getattr(record, field.attname)
                for field in UsageRecord._meta.concrete_fields
                if field.attname not in records.SETTLED_COLUMNS
            },
        )
        self.requests += 1
        self.last_used[record.key_id] = at

    def _record(self, at: datetime) -> tuple[UsageRecord, int | None]:
        chance = self.chance
        [key] = chance.choices(self.keys, [key.weight for key in self.keys])
        [outcome] = chance.choices(list(ENDINGS), [often for often, _status, _by in ENDINGS.values()])
        _often, status, billed_by = ENDINGS[outcome]
        model = self.models[0] if key is self.keys[-1] else chance.choice(self.models)
        prompt = min(int(chance.lognormvariate(6.6, 0.8)) + 20, model.context_tokens // 2)
        completion = min(int(chance.lognormvariate(5.4, 0.8)) + 5, model.max_output_tokens)
        is_billed = billed_by != BilledBy.NOTHING
        cached = chance.choice((0, 0, 0, prompt // 2))
        usage = Usage(prompt, completion, cached) if is_billed else Usage(0, 0)
        first_byte_ms = int(chance.lognormvariate(5.9, 0.35))
        return UsageRecord(
            id=_uuid7(at, self.ids),
            user_id=self.user.pk,
            key_id=key.key_id,
            model=model.model_id,
            upstream_id=model.routes[0].upstream_id,
            stream=chance.random() < 0.7,
            outcome=outcome,
            billed_by=billed_by,
            status=status,
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=usage.cached_tokens,
            completion_tokens=usage.completion_tokens,
            **quantities.columns(usage, model.price, price_list_id=model.price_list_id, is_billed=is_billed),
            cost_micro=cost_micro(usage, model.price) if is_billed else 0,
            first_byte_ms=first_byte_ms if is_billed else None,
            total_ms=first_byte_ms + completion * chance.randint(3, 7),
        ), key.budget_id


async def _start(holds: Holds) -> None:
    holds.start()  # on the loop that runs


def _uuid7(at: datetime, ids: random.Random) -> uuid.UUID:
    """A time-ordered id, as requests have them (RFC 9562), of the clock and the seed alone."""
    milliseconds, variant = int(at.timestamp() * 1000), 0b10
    low = variant << 62 | ids.getrandbits(62)
    return uuid.UUID(int=milliseconds << 80 | 7 << 76 | ids.getrandbits(12) << 64 | low)
