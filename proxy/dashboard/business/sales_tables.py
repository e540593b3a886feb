"""What was billed, what it costs and how it ended: in sum, by model, by upstream, by customer, by day."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from accounts import phone
from accounts.models import User
from accounts.shared import formats
from accounts.shared.downloads import harmless
from proxy.catalogue.models import Upstream
from proxy.dashboard.business import links
from proxy.dashboard.business.payments import Payments
from proxy.dashboard.business.sight import Sight
from proxy.dashboard.business.spans import Span
from proxy.dashboard.business.tables import Cell, Rows, Table, count, money, percent, rows_of, words
from proxy.usage import wording as usage_wording
from proxy.usage.models import UsageRecord
from proxy.usage.sales import reading
from proxy.usage.sales.reading import Figures, Ranked

Outcome = UsageRecord.Outcome
Named = Callable[[Any], Cell]


def summary(
    spans: Sequence[Span], payments: Payments, days: Sequence[Figures], *, until: datetime, sight: Sight
) -> Table:
    """A row per figure, a column per span. `payments` and `days` are those of the longest span, day by day."""
    figures = {span.name: reading.total(days[-len(span.days.starts) :]) for span in spans}
    taken = {span.name: payments.since(span.since) for span in spans}
    rows: list[list[Cell]] = []

    def row(title: str, cell: Callable[[Span, Figures], Cell]) -> None:
        rows.append([words(title), *(cell(span, figures[span.name]) for span in spans)])

    if sight.payments:
        row(
            _("Money taken, Toman"),
            lambda span, _found: money(taken[span.name].amount_micro, links.topups_credited(span.since)),
        )
        row(
            _("VAT paid on top of it, Toman"),
            lambda span, _found: money(taken[span.name].vat_micro, links.topups_credited(span.since)),
        )
        row(
            _("Top-ups credited"),
            lambda span, _found: count(taken[span.name].count, links.topups_credited(span.since)),
        )
    if sight.sales:
        row(
            _("Usage billed, Toman"),
            lambda span, found: money(found.billed_micro, links.usage(span.since, until)),
        )
        row(
            _("Upstream cost, Toman"),
            lambda span, found: money(_cost(found), links.usage(span.since, until)),
        )
        row(
            _("Margin, Toman"),
            lambda span, found: money(found.margin_micro, links.usage(span.since, until)),
        )
        row(
            _("Margin, of what was billed"),
            lambda span, found: percent(found.margin_basis_points, links.usage(span.since, until)),
        )
        row(
            _("Cost known, of what was billed"),
            lambda span, found: _known(found, links.without_cost(span.since, until)),
        )
    if sight.requests:
        row(_("Requests"), lambda span, found: count(found.requests, links.usage(span.since, until)))
        row(
            _("Failed requests"),
            lambda span, found: count(found.failed, links.failed(span.since, until), is_bad=True),
        )
    return Table("summary", _("Figures"), ["", *(span.title for span in spans)], rows)


def by_model(span: Span, found: Ranked, *, until: datetime, sight: Sight) -> Table:
    """With the model's own page behind its name."""
    return _split(
        "models",
        _("By model"),
        _("Model"),
        "model",
        span,
        found=found,
        until=until,
        sight=sight,
        named=lambda model: words(model, rows_of("proxy.languagemodel", q=model)),
    )


def by_upstream(span: Span, *, until: datetime, sight: Sight, limit: int | None) -> Table:
    names = dict(Upstream.objects.values_list("pk", "name"))

    def named(upstream_id: int) -> Cell:
        name = names.get(upstream_id)
        is_open = sight.upstreams and name is not None
        return words(
            name or f"#{upstream_id}",
            reverse("admin:proxy_upstream_change", args=[upstream_id]) if is_open else "",
        )

    return _split(
        "upstreams",
        _("By upstream"),
        _("Upstream"),
        "upstream_id",
        span,
        found=reading.by("upstream_id", span.days, limit=limit),
        until=until,
        sight=sight,
        named=named,
    )


def by_customer(span: Span, *, until: datetime, sight: Sight, limit: int | None) -> Table:
    found = reading.by("user_id", span.days, limit=limit)
    shown = [user_id for user_id, _figures in found.rows]
    mobiles = dict(User.objects.filter(pk__in=shown).values_list("pk", "mobile"))
    return _split(
        "customers",
        _("By customer"),
        _("Customer"),
        "user_id",
        span,
        found=found,
        until=until,
        sight=sight,
        named=lambda user_id: Cell(
            formats.digits_text(_mobile(mobiles, user_id), language=get_language()),
            harmless(_mobile(mobiles, user_id)),
            reverse("admin:accounts_user_change", args=[user_id]) if user_id in mobiles else "",
        ),
    )


def failures(span: Span, models: Ranked, *, until: datetime, limit: int | None) -> Table:
    """How requests ended, by model; those without any that did not come whole are left out."""
    endings: dict[Outcome, Callable[[Figures], int]] = {
        Outcome.UPSTREAM_FAILED: lambda found: found.upstream_failed,
        Outcome.REFUSED: lambda found: found.refused,
        Outcome.INTERRUPTED: lambda found: found.interrupted,
        Outcome.CLIENT_LEFT: lambda found: found.client_left,
    }
    found = [(model, figures) for model, figures in models.rows if figures.failed + figures.client_left]
    found.sort(key=lambda each: (-each[1].failed, -each[1].client_left, each[0]))
    rows = [
        [
            words(model, rows_of("proxy.languagemodel", q=model)),
            count(figures.requests, links.usage(span.since, until, model__exact=model)),
            *(
                count(of(figures), links.usage(span.since, until, model__exact=model, outcome__exact=outcome))
                for outcome, of in endings.items()
            ),
            percent(
                figures.failed * 10_000 // figures.requests,
                links.failed(span.since, until, model__exact=model),
            ),
        ]
        for model, figures in found[:limit]
    ]
    return Table(
        "failures",
        _("Failures"),
        [_("Model"), _("Requests"), *[str(capfirst(outcome.label)) for outcome in endings], _("Failed")],
        rows,
        empty=_("Every request of these days was answered whole."),
        more=len(found) - len(rows),
    )


def by_day(
    span: Span, payments: Payments, slices: Sequence[Figures], *, until: datetime, sight: Sight
) -> Table:
    """What the pictures show, hour by hour for a single day."""
    rows = []
    ends = [*span.shown.starts[1:], span.shown.until]
    for start, end, figures in zip(span.shown.starts, ends, slices, strict=True):
        if start > until:
            break
        to = min(end, until)
        row = [Cell(usage_wording.start(start, by=span.shown.by), start.isoformat())]
        if sight.payments:
            row.append(money(payments.at(start).amount_micro, links.topups_credited(start)))
        if sight.sales:
            row += [
                money(figures.billed_micro, links.usage(start, to)),
                money(_cost(figures), links.usage(start, to)),
                money(figures.margin_micro, links.usage(start, to)),
            ]
        row += [
            count(figures.requests, links.usage(start, to)),
            count(figures.failed, links.failed(start, to), is_bad=True),
        ]
        rows.append(row)
    return Table(
        "days",
        _("By hour") if span.shown.by == "hour" else _("By day"),
        [
            _("Time"),
            *([_("Money taken, Toman")] if sight.payments else []),
            *(_money_columns()[:3] if sight.sales else []),
            _("Requests"),
            _("Failed"),
        ],
        rows,
    )


def _split(
    name: str,
    title: str,
    what: str,
    group: str,
    span: Span,
    *,
    found: Ranked,
    until: datetime,
    sight: Sight,
    named: Named,
) -> Table:
    """A row per model, upstream or customer, with the same figures of each."""

    def row(one: tuple[Any, Figures]) -> list[Cell]:
        key, figures = one
        of = {f"{group}__exact": key}
        every = links.usage(span.since, until, **of)
        cells = [
            named(key),
            count(figures.requests, every),
            count(figures.failed, links.failed(span.since, until, **of), is_bad=True),
        ]
        if sight.sales:
            cells += [
                money(figures.billed_micro, every),
                money(_cost(figures), every),
                money(figures.margin_micro, every),
                percent(figures.margin_basis_points, every),
                _known(figures, links.without_cost(span.since, until, **of)),
            ]
        return cells

    columns = [what, _("Requests"), _("Failed"), *(_money_columns() if sight.sales else [])]
    empty = _("Nothing was used in these days.")
    return Table(name, title, columns, Rows(found.rows, row), empty=empty, more=found.more)


def _mobile(mobiles: Mapping[int, str], user_id: int) -> str:
    """`09121234567`, or the id of an account that is not there."""
    return phone.local(mobiles[user_id]) if user_id in mobiles else f"#{user_id}"


def _money_columns() -> list[str]:
    return [
        _("Billed, Toman"),
        _("Upstream cost, Toman"),
        _("Margin, Toman"),
        _("Margin"),
        _("Cost known"),
    ]


def _cost(figures: Figures) -> int | None:
    return figures.cost_micro if figures.is_cost_known else None


def _known(figures: Figures, url: str) -> Cell:
    """Leads to what has no known cost, as long as there is any."""
    if not figures.billed_requests:
        return percent(None)
    complete = figures.is_cost_complete
    return percent(figures.costed_basis_points, "" if complete else url)
