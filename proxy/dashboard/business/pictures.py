"""The pictures of the admin's front page, drawn as those of the usage page are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date

from django.utils.translation import get_language_bidi
from django.utils.translation import gettext as _

from accounts.channel_models import MessageCount
from accounts.message_counts import day_of
from proxy.dashboard.business.payments import Payments
from proxy.usage import chart
from proxy.usage import wording as usage_wording
from proxy.usage.periods import Period
from proxy.usage.pictures import Picture, picture
from proxy.usage.sales.reading import Figures
from wallet.wording import toman

CodeOutcome = MessageCount.CodeOutcome


def money_taken(period: Period, payments: Payments) -> Picture:
    amounts = [payments.at(start).amount_micro for start in period.starts]
    drawn = chart.bars([amounts], rtl=get_language_bidi())
    return picture(
        "taken",
        _("Money taken"),
        drawn,
        looks=[("a", "")],
        starts=_starts(period),
        told=[toman(amount) for amount in amounts],
        peak=toman(drawn.peak),
    )


def margin(period: Period, figures: Sequence[Figures]) -> Picture:
    """What was billed, in three parts: what of it upstreams got, what remains, what has no known cost."""
    covered = [min(each.cost_micro, each.costed_micro) for each in figures]
    parts = [
        ("soft", _("upstream cost"), covered),
        (
            "a",
            _("margin"),
            [each.costed_micro - paid for each, paid in zip(figures, covered, strict=True)],
        ),
        ("bad", _("loss"), [each.cost_micro - paid for each, paid in zip(figures, covered, strict=True)]),
        ("b", _("cost unknown"), [each.billed_micro - each.costed_micro for each in figures]),
    ]
    parts = [part for part in parts if any(part[2])] or parts[:2]
    drawn = chart.bars([values for _look, _name, values in parts], rtl=get_language_bidi())
    told = [
        " · ".join(f"{name} {toman(values[number])}" for _look, name, values in parts)
        for number in range(len(figures))
    ]
    return picture(
        "margin",
        _("Usage billed"),
        drawn,
        looks=[(look, name) for look, name, _values in parts],
        starts=_starts(period),
        told=told,
        peak=toman(drawn.peak),
    )


def requests(period: Period, figures: Sequence[Figures]) -> Picture:
    drawn = chart.bars(
        [[each.requests - each.failed for each in figures], [each.failed for each in figures]],
        rtl=get_language_bidi(),
    )
    told = [
        _("%(requests)s requests, %(errors)s of them failed")
        % {"requests": usage_wording.number(each.requests), "errors": usage_wording.number(each.failed)}
        for each in figures
    ]
    return picture(
        "requests",
        _("Requests"),
        drawn,
        looks=[("a", _("answered")), ("bad", _("failed"))],
        starts=_starts(period),
        told=told,
        peak=usage_wording.number(drawn.peak),
    )


def codes(period: Period, days: Mapping[date, Counter[str]]) -> Picture:
    """Of days alone: codes are not counted by hour."""
    found = [days.get(day_of(start), Counter()) for start in period.starts]
    looks = {CodeOutcome.ANSWERED: "a", CodeOutcome.UNANSWERED: "soft", CodeOutcome.NOT_SENT: "bad"}
    drawn = chart.bars([[each[outcome] for each in found] for outcome in looks], rtl=get_language_bidi())
    told = [
        " · ".join(f"{outcome.label} {usage_wording.number(each[outcome])}" for outcome in looks)
        for each in found
    ]
    return picture(
        "codes",
        _("One-time codes"),
        drawn,
        looks=[(look, str(outcome.label)) for outcome, look in looks.items()],
        starts=_starts(period),
        told=told,
        peak=usage_wording.number(drawn.peak),
    )


def _starts(period: Period) -> list[str]:
    return [usage_wording.start(start, by=period.by) for start in period.starts]
