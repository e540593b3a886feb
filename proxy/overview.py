"""What a developer sees first: the balance, today and this month, limits, what to do next, the last requests."""

from dataclasses import dataclass
from datetime import datetime

from accounts.models import Tier, User
from keys.models import APIKey
from proxy import usage
from proxy.models import LanguageModel
from wallet.reports import WalletReport, wallet_report

RECENT = 8


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
class Overview:
    wallet: WalletReport
    today: usage.Figures
    month: usage.Figures
    tier: Tier
    steps: Steps
    recent: list[usage.LoggedRequest]
    model_id: str | None


def of(*, user_id: int, now: datetime, month_start: datetime) -> Overview:
    """The overview of a user at `now`; `month_start` is a beginning of a day (`usage.day_start`)."""
    wallet = wallet_report(user_id=user_id)
    recent = usage.log(user_id=user_id, size=RECENT).requests
    return Overview(
        wallet=wallet,
        today=usage.since(user_id=user_id, start=usage.day_start(now)),
        month=usage.since(user_id=user_id, start=month_start),
        tier=User.objects.select_related("tier").get(pk=user_id).tier,
        steps=Steps(
            has_money=wallet.posted_micro > 0 or bool(recent),
            has_key=APIKey.objects.filter(user_id=user_id, kind=APIKey.Kind.STANDARD).exists(),
            has_called=bool(recent),
        ),
        recent=recent,
        model_id=LanguageModel.objects.filter(is_active=True).values_list("model_id", flat=True).first(),
    )
