"""What a developer sees first: the balance, today and this month, limits, what to do next, the last requests."""

from dataclasses import dataclass
from datetime import date, datetime

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import get_language
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.models import Tier, User
from accounts.shared import formats, signed_in
from accounts.shared.gauge import Gauge
from keys import allowances, overrides
from keys.allowances import Allowance
from keys.models import APIKey
from proxy.catalogue.models import LanguageModel
from proxy.dashboard.docs import examples
from proxy.limits import bounds, fullness
from proxy.limits.admission import Limits, Window
from proxy.limits.day import AccountDay, Use
from proxy.usage import figures, periods, today
from proxy.usage import log as usage_log
from wallet import alerts
from wallet.statements import reports

RECENT = 8
FULLEST = 3
LOW_DAYS = 3


@dataclass(frozen=True, slots=True)
class Steps:
    """What a new account has done of what leads to a first answer."""

    has_money: bool
    has_key: bool
    has_called: bool

    @property
    def are_done(self) -> bool:
        return self.has_money and self.has_key and self.has_called


@dataclass(frozen=True, slots=True)
class UsedLimits:
    """What was used of the limits of a key, or of all keys together (`key` is None).

    `running`, `requests_today` and `tokens_today` are None without a limit.
    """

    key: figures.KeyLabel | None
    requests: Gauge
    tokens: Gauge
    running: Gauge | None
    requests_today: Gauge | None
    tokens_today: Gauge | None

    @property
    def percent(self) -> int:
        """Of the fullest one: it is what refuses the next request."""
        gauges = (self.requests, self.tokens, self.running, self.requests_today, self.tokens_today)
        return max(each.percent for each in gauges if each)


@dataclass(frozen=True, slots=True)
class Overview:
    """`fullest` are the keys that are nearest to a limit, and after them all keys together; None: it is not known now.

    `days_left` is how many days the balance lasts at this month's pace, where that is few; None: long enough, or
    nothing was spent.
    """

    wallet: reports.Balance
    today: figures.Figures
    month: figures.Figures
    days_left: int | None
    is_below_alert: bool
    tier: Tier
    has_exception: bool
    working_keys: int
    fullest: list[UsedLimits] | None
    steps: Steps
    recent: list[usage_log.LoggedRequest]
    example: str | None


def load(*, user_id: int, now: datetime, month_start: date) -> Overview:
    """The overview of a user at `now`; `month_start` is the first day of the month, by whatever calendar."""
    wallet = reports.balance(user_id=user_id)
    days = periods.of_days_by_day(month_start, timezone.localdate(now))
    month = figures.over(user_id=user_id, period=days)
    recent = usage_log.newest(user_id=user_id, size=RECENT)
    tier = User.objects.select_related("tier").get(pk=user_id).tier
    keys = APIKey.objects.filter(user_id=user_id, kind=APIKey.Kind.STANDARD)
    working = keys.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None).in_bulk()
    allowed = allowances.of_keys(user_id=user_id)
    threshold_micro = alerts.threshold_micro(user_id)
    return Overview(
        wallet=wallet,
        today=month.slices[-1].figures,
        month=month.total,
        days_left=_days_left(wallet.available_micro, month.total.cost_micro, days=len(month.slices)),
        is_below_alert=threshold_micro is not None and wallet.posted_micro < threshold_micro,
        tier=tier,
        working_keys=len(working),
        has_exception=overrides.holds_for(user_id=user_id, now=now),
        fullest=_fullest(user_id, working, allowed, now),
        steps=Steps(
            has_money=wallet.posted_micro > 0 or bool(recent),
            has_key=keys.exists(),
            has_called=bool(recent),
        ),
        recent=recent,
        example=_example(),
    )


def _example() -> str | None:
    """A first call, from a terminal; None while no model is on sale."""
    model_id = LanguageModel.objects.filter(is_active=True).values_list("model_id", flat=True).first()
    return model_id and examples.CURL.written(base_url=settings.BASE_URL, model_id=model_id).first


def _days_left(available_micro: int, spent_micro: int, *, days: int) -> int | None:
    if spent_micro == 0:
        return None
    left = available_micro * days // spent_micro
    return left if left < LOW_DAYS else None


def _fullest(
    user_id: int, keys: dict[int, APIKey], allowed: dict[int, Allowance], now: datetime
) -> list[UsedLimits] | None:
    if not keys:
        return []
    try:
        windows = fullness.read(user_id=user_id, key_ids=list(keys))
    except fullness.LimitsUnknown:
        return None
    measured = {key_id: bounds.of_allowance(allowed[key_id]) for key_id in keys if key_id in allowed}
    is_daily = any(each.is_daily for of_one in measured.values() for each in of_one)
    day = today.read(user_id=user_id, at=now) if is_daily else AccountDay()
    found = [
        (
            key,
            _used(
                figures.KeyLabel(key.name, key.last_four),
                windows.keys[key_id],
                measured[key_id][0],
                day.of(key_id),
            ),
        )
        for key_id, key in keys.items()
        if key_id in measured
    ]
    found.sort(key=lambda each: (-each[1].percent, -each[1].tokens.used, each[0].name, each[0].last_four))
    if not found:
        return []
    # Of an exception for one key, which raises the bound of that one's requests, the others see nothing.
    together = min((ceiling for _own, ceiling in measured.values()), key=lambda each: (each.rpm, each.tpm))
    return [
        *(limits for _key, limits in found[:FULLEST]),
        _used(None, windows.account, together, day.of(None)),
    ]


def _used(key: figures.KeyLabel | None, window: Window, limits: Limits, day: Use) -> UsedLimits:
    return UsedLimits(
        key=key,
        requests=Gauge(window.requests, limits.rpm),
        tokens=Gauge(window.tokens, limits.tpm),
        running=Gauge(window.running, limits.concurrency) if limits.concurrency else None,
        requests_today=Gauge(day.requests, limits.rpd) if limits.rpd else None,
        tokens_today=Gauge(day.tokens, limits.tpd) if limits.tpd else None,
    )


@require_safe
@login_required
@never_cache
def overview(request: HttpRequest) -> HttpResponse:
    now = timezone.now()
    month_start = formats.month_start(timezone.localdate(now), language=get_language())
    shown = load(user_id=signed_in.user_id(request), now=now, month_start=month_start)
    return render(request, "proxy/overview.html", {"overview": shown})
