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
from keys.models import APIKey
from proxy.catalogue.models import LanguageModel
from proxy.dashboard.docs import examples
from proxy.limits import fullness
from proxy.limits.local_window import Window
from proxy.usage import figures, periods
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

    `running` is None without a limit on requests at once.
    """

    key: figures.KeyLabel | None
    requests: Gauge
    tokens: Gauge
    running: Gauge | None

    @property
    def percent(self) -> int:
        """Of the fullest one: it is what refuses the next request."""
        return max(each.percent for each in (self.requests, self.tokens, self.running) if each)


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
    threshold_micro = alerts.threshold_micro(user_id)
    return Overview(
        wallet=wallet,
        today=month.slices[-1].figures,
        month=month.total,
        days_left=_days_left(wallet.available_micro, month.total.cost_micro, days=len(month.slices)),
        is_below_alert=threshold_micro is not None and wallet.posted_micro < threshold_micro,
        tier=tier,
        working_keys=len(working),
        fullest=_fullest(user_id, working, tier),
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


def _fullest(user_id: int, keys: dict[int, APIKey], tier: Tier) -> list[UsedLimits] | None:
    if not keys:
        return []
    try:
        windows = fullness.read(user_id=user_id, key_ids=list(keys))
    except fullness.LimitsUnknown:
        return None
    found = [(keys[key_id], _of_key(keys[key_id], window, tier)) for key_id, window in windows.keys.items()]
    found.sort(key=lambda each: (-each[1].percent, -each[1].tokens.used, each[0].name, each[0].last_four))
    return [*(limits for _key, limits in found[:FULLEST]), _of_account(windows.account, tier)]


def _of_key(key: APIKey, window: Window, tier: Tier) -> UsedLimits:
    """Of the key's own limits and the tier's, the lower ones hold."""
    at_once = [limit for limit in (key.concurrency, tier.concurrency) if limit]
    return UsedLimits(
        key=figures.KeyLabel(key.name, key.last_four),
        requests=Gauge(window.requests, min(key.rpm or tier.rpm, tier.rpm)),
        tokens=Gauge(window.tokens, min(key.tpm or tier.tpm, tier.tpm)),
        running=Gauge(window.running, min(at_once)) if at_once else None,
    )


def _of_account(window: Window, tier: Tier) -> UsedLimits:
    factor, at_once = tier.account_factor, tier.concurrency
    return UsedLimits(
        key=None,
        requests=Gauge(window.requests, tier.rpm * factor),
        tokens=Gauge(window.tokens, tier.tpm * factor),
        running=Gauge(window.running, at_once * factor) if at_once else None,
    )


@require_safe
@login_required
@never_cache
def overview(request: HttpRequest) -> HttpResponse:
    now = timezone.now()
    month_start = formats.month_start(timezone.localdate(now), language=get_language())
    shown = load(user_id=signed_in.user_id(request), now=now, month_start=month_start)
    return render(request, "proxy/overview.html", {"overview": shown})
