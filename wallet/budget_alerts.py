"""One notice per budget, period and mark (80 % of a limit, and all of it), to the owner of the wallet that pays.

The settlement that reaches a mark writes it down, so that none is lost and finding them costs nothing. Never more
than DAY_MAX messages a day for one person, whatever limits are set; webhooks hear of every mark.
"""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone, translation
from django.utils.module_loading import import_string
from django.utils.text import Truncator
from django.utils.translation import gettext as _

from accounts.channel_models import Notice
from accounts.channels import notices
from accounts.shared.formats import datetime_text
from accounts.signals import outbox
from accounts.signals.events import Event
from wallet.ledger.models import BudgetMark
from wallet.money import toman_figure
from wallet.wording import toman_in_sms

PER_RUN = 500
DAY_MAX = 10
NAME_SHOWN = 30  # of a key or project, in a message that is paid by its length
KEPT = timedelta(days=100)
EVENTS = {80: Event.BUDGET_80, 100: Event.BUDGET_REACHED}


def tell_due() -> int:
    """Tells of marks that were reached and returns of how many. Opens transactions; a repeat tells of none twice."""
    told = 0
    while told < PER_RUN and _told():
        told += 1
    return told


def forget() -> None:
    """Marks of periods that are long over; those of budgets without periods stay, so that none is told again."""
    BudgetMark.objects.filter(told_at__lt=timezone.now() - KEPT, budget__ends_at__isnull=False).delete()


def _told() -> bool:
    with transaction.atomic():
        mark = (
            BudgetMark.objects.select_for_update(of=("self",), skip_locked=True)
            .filter(told_at=None)
            .select_related("budget")
            .order_by("id")
            .first()
        )
        if mark is None:
            return False
        mark.told_at = timezone.now()
        mark.save(update_fields=["told_at"])
        budget, event = mark.budget, EVENTS[mark.percent]
        data = {
            **(holder := import_string(settings.BUDGET_HOLDER)(budget.pk)),
            "limit_toman": toman_figure(budget.limit_micro),
            "percent": mark.percent,
            "period": budget.period,
            "reached_at": mark.reached_at.isoformat(),
            "resets_at": budget.ends_at and budget.ends_at.isoformat(),
        }
        dedup = f"{budget.pk} {mark.starts_at.isoformat()} {mark.pk}"
        outbox.emit(user_id=budget.wallet_id, event=event, data=data, dedup=dedup)
        if notices.are_possible() and _heard_today(budget.wallet_id) < DAY_MAX:
            notices.notify(
                user_id=budget.wallet_id, event=event, dedup=dedup, text=_text(mark, holder.get("name", ""))
            )
    return True


def _heard_today(user_id: int) -> int:
    since = timezone.now() - timedelta(days=1)
    told = Notice.objects.filter(user_id=user_id, event__in=list(EVENTS.values()), created_at__gt=since)
    return told.values("dedup").distinct().count()


def _text(mark: BudgetMark, name: str) -> str:
    budget, language = mark.budget, settings.LANGUAGE_CODE
    with translation.override(language):
        said = {
            "name": Truncator(name).chars(NAME_SHOWN),
            "limit": toman_in_sms(budget.limit_micro),
            "address": f"{settings.BASE_URL}/keys/",
        }
        if mark.percent < 100:
            return _("Hamiran: 80%% of the cap of “%(name)s”, %(limit)s Toman, is spent. %(address)s") % said
        if budget.ends_at is None:
            return _("Hamiran: the cap of “%(name)s”, %(limit)s Toman, is used up. %(address)s") % said
        said["time"] = datetime_text(budget.ends_at, language=language)
        return (
            _("Hamiran: the cap of “%(name)s”, %(limit)s Toman, is used up until %(time)s. %(address)s")
            % said
        )
