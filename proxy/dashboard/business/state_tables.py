"""What stands still or waits right now: payments, holds, wallets, upstreams."""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Min, QuerySet, Sum
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from accounts.shared import formats
from proxy.catalogue.models import Upstream
from proxy.dashboard.business.sight import Sight
from proxy.dashboard.business.tables import UNKNOWN, Cell, Table, count, money, rows_of, words
from proxy.upstreams import published, resting
from proxy.upstreams.published import Opening
from proxy.upstreams.resting import Resting
from wallet.ledger.holds import SWEEP_LATE_SECONDS
from wallet.ledger.models import Hold, Wallet
from wallet.payments.models import TopUp

# By then the payer's browser or the reconciler has asked the gateway several times.
VERIFIED_WITHIN = timedelta(minutes=10)


def waiting(*, now: datetime, sight: Sight) -> Table:
    rows: list[list[Cell]] = []
    if sight.topups:
        unverified = now - VERIFIED_WITHIN
        rows += [
            _row(
                _("Top-ups under review"),
                TopUp.objects.filter(status=TopUp.Status.REVIEW),
                "amount_micro",
                "created_at",
                rows_of("wallet.topup", status__exact=TopUp.Status.REVIEW),
                is_bad=True,
            ),
            _row(
                _("Top-ups paid and not verified for more than ten minutes"),
                TopUp.objects.filter(
                    status__in=[TopUp.Status.RETURNED, TopUp.Status.VERIFYING], created_at__lt=unverified
                ),
                "amount_micro",
                "created_at",
                rows_of(
                    "wallet.topup",
                    status__in=f"{TopUp.Status.RETURNED},{TopUp.Status.VERIFYING}",
                    created_at__lt=unverified.isoformat(),
                ),
                is_bad=True,
            ),
        ]
    if sight.holds:
        late = now - timedelta(seconds=SWEEP_LATE_SECONDS)
        rows += [
            _row(
                _("Holds of running requests"),
                Hold.objects.all(),
                "amount_micro",
                "created_at",
                rows_of("wallet.hold"),
            ),
            _row(
                _("Holds that nobody has swept in time"),
                Hold.objects.filter(expires_at__lt=late),
                "amount_micro",
                "created_at",
                rows_of("wallet.hold", expires_at__lt=late.isoformat()),
                is_bad=True,
            ),
        ]
    if sight.wallets:
        rows.append(
            _row(
                _("Wallets that are frozen"),
                Wallet.objects.filter(frozen_at__isnull=False),
                "posted_micro",
                "frozen_at",
                rows_of("wallet.wallet", frozen_at__isempty="0"),
                is_bad=True,
            )
        )
    return Table(
        "waiting", _("Right now"), [_("What"), _("Number"), _("Amount, Toman"), _("Oldest from")], rows
    )


def upstreams(*, now: datetime) -> Table:
    """Every active upstream, whether its breaker lets calls through, and which of its models rest after 429s."""
    active = list(Upstream.objects.filter(is_active=True).order_by("name").values_list("pk", "name"))
    open_ones: dict[int, Opening] | None
    rests: list[Resting] = []
    try:
        open_ones, notes = published.openings(pk for pk, _name in active), []
        rests = resting.listing()
    except (published.Unknown, resting.Unknown):
        open_ones = None
        notes = [_("Valkey does not answer, so each process judges upstreams by itself.")]
    rows = [
        [
            words(name, reverse("admin:proxy_upstream_change", args=[pk])),
            UNKNOWN if open_ones is None else _state(open_ones.get(pk), now),
            _rests([rest for rest in rests if rest.upstream_id == pk]),
        ]
        for pk, name in active
    ]
    return Table(
        "upstreams-now",
        _("Upstreams right now"),
        [_("Upstream"), _("State"), _("Models at rest")],
        rows,
        notes=notes,
        empty=_("There is no active upstream, so nothing can be asked."),
    )


def _row(
    title: str,
    found: QuerySet[Any],
    amount: str,
    since: str,
    url: str,
    *,
    is_bad: bool = False,
) -> list[Cell]:
    sums = found.order_by().aggregate(number=Count("pk"), amount=Sum(amount, default=0), oldest=Min(since))
    oldest = sums["oldest"]
    return [
        words(title),
        count(sums["number"], url, is_bad=is_bad),
        money(int(sums["amount"]), url if sums["number"] else ""),
        UNKNOWN if oldest is None else _moment(oldest),
    ]


def _state(opening: Opening | None, now: datetime) -> Cell:
    if opening is None:
        return words(_("in use"))
    if not opening.remaining:
        return Cell(_("failed, and the next call tries it"), "half-open", is_bad=True)
    until = _moment(now + opening.remaining)
    return Cell(_("left alone until %s") % until.text, f"open until {until.raw}", is_bad=True)


def _rests(found: list[Resting]) -> Cell:
    if not found:
        return UNKNOWN
    shown = [f"{rest.upstream_model} ({_moment(rest.until).text})" for rest in found]
    return Cell(" · ".join(shown), " ".join(rest.upstream_model for rest in found), is_bad=True)


def _moment(moment: datetime) -> Cell:
    return Cell(formats.datetime_text(moment, language=get_language()), moment.isoformat())
