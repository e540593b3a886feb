"""The admin's front page, put together for whoever looks at it: figures, pictures and tables of one span of days."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from django.contrib.auth.models import AnonymousUser
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.shared import formats
from proxy.dashboard.business import (
    links,
    message_tables,
    payments,
    pictures,
    sales_tables,
    sight,
    spans,
    state_tables,
)
from proxy.dashboard.business.payments import Payments
from proxy.dashboard.business.spans import Span
from proxy.dashboard.business.tables import Table
from proxy.usage.periods import Period
from proxy.usage.pictures import Picture
from proxy.usage.sales import reading
from proxy.usage.sales.reading import Figures, Ranked

BEHIND = timedelta(minutes=5)  # of a task that runs every minute
ROWS_SHOWN = 10
# In their order on the page.
NOW = ("waiting", "upstreams-now")
OF_SPAN = ("models", "upstreams", "customers", "failures", "messages")


@dataclass(frozen=True, slots=True)
class Front:
    """`warnings` say what has to be known before the figures are believed; `is_empty`: nothing has been used yet."""

    span: Span
    spans: list[Span]
    summary: Table
    now: list[Table]
    pictures: list[Picture]
    tables: list[Table]
    counted_until: datetime | None
    warnings: list[str]
    without_cost: str
    is_empty: bool


def front(user: User | AnonymousUser, span_name: str, *, now: datetime) -> Front:
    """`span_name`: one of spans.DAYS."""
    data = Data(user, spans.span(span_name, now=now), now)
    offered, span, seen = data.tables(limit=ROWS_SHOWN), data.span, data.sight
    total = reading.total(data.figures)
    is_lacking = seen.sales and not total.is_cost_complete
    return Front(
        span=span,
        spans=data.spans,
        summary=offered["summary"](),
        now=[offered[name]() for name in NOW if name in offered],
        pictures=_pictures(data),
        tables=[offered[name]() for name in OF_SPAN if name in offered],
        counted_until=data.counted_until,
        warnings=_warnings(total, data.counted_until, now=now, is_lacking=is_lacking),
        without_cost=links.without_cost(span.since, data.until) if is_lacking else "",
        is_empty=not (total.requests or reading.has_any()),
    )


class Data:
    """What the parts of the page are made of, read once and when it is needed."""

    def __init__(self, user: User | AnonymousUser, span: Span, now: datetime) -> None:
        self.span, self.now, self.sight = span, now, sight.of(user)
        self.spans = spans.all_of_them(now=now)
        self.counted_until = reading.counted_until()
        self.until = self.counted_until or now

    @cached_property
    def figures(self) -> list[Figures]:
        """Of the span, as pictures cut it."""
        shown = self.span.shown
        return reading.slices(shown) if shown.by == "hour" else self.days[-len(shown.starts) :]

    @cached_property
    def days(self) -> list[Figures]:
        """Of the longest span."""
        return reading.slices(self.spans[-1].days)

    @cached_property
    def models(self) -> Ranked:
        """All of the span's."""
        return reading.by("model", self.span.days)

    @cached_property
    def payments(self) -> Payments:
        """Of the span, as pictures cut it, and of days before it."""
        is_by_hour = self.span.shown.by == "hour"
        return self._payments(self.span.shown) if is_by_hour else self.payments_by_day

    @cached_property
    def payments_by_day(self) -> Payments:
        """Of the longest span."""
        return self._payments(self.spans[-1].days)

    def _payments(self, period: Period) -> Payments:
        return payments.over(period) if self.sight.payments else Payments({})

    @cached_property
    def messages(self) -> message_tables.Counts:
        return message_tables.counts(self.spans[-1])

    def tables(self, *, limit: int | None = None) -> dict[str, Callable[[], Table]]:
        """What a person may see, by name, each made when it is called. `limit`: the most rows of long ones."""
        seen, span, until = self.sight, self.span, self.until
        offered: dict[str, tuple[bool, Callable[[], Table]]] = {
            "summary": (True, self._summary),
            "waiting": (
                seen.topups or seen.holds or seen.wallets,
                lambda: state_tables.waiting(now=self.now, sight=seen),
            ),
            "upstreams-now": (seen.upstreams, lambda: state_tables.upstreams(now=self.now)),
            "models": (
                seen.requests,
                lambda: sales_tables.by_model(span, self.models.first(limit), until=until, sight=seen),
            ),
            "upstreams": (
                seen.requests and seen.sales,
                lambda: sales_tables.by_upstream(span, until=until, sight=seen, limit=limit),
            ),
            "customers": (
                seen.requests and seen.customers,
                lambda: sales_tables.by_customer(span, until=until, sight=seen, limit=limit),
            ),
            "failures": (
                seen.requests,
                lambda: sales_tables.failures(span, self.models, until=until, limit=limit),
            ),
            "messages": (
                seen.codes or seen.notices,
                lambda: message_tables.messages(self.spans, self.messages, sight=seen),
            ),
            "days": (
                seen.requests,
                lambda: sales_tables.by_day(span, self.payments, self.figures, until=until, sight=seen),
            ),
        }
        return {name: make for name, (is_seen, make) in offered.items() if is_seen}

    def _summary(self) -> Table:
        return sales_tables.summary(
            self.spans, self.payments_by_day, self.days, until=self.until, sight=self.sight
        )


def _pictures(data: Data) -> list[Picture]:
    drawn, seen, shown = [], data.sight, data.span.shown
    if data.payments.since(data.span.since).count:
        drawn.append(pictures.money_taken(shown, data.payments))
    if any(each.requests for each in data.figures):
        if seen.sales:
            drawn.append(pictures.margin(shown, data.figures))
        if seen.requests:
            drawn.append(pictures.requests(shown, data.figures))
    if seen.codes and shown.by == "day":
        codes = message_tables.by_day(data.span, data.messages)
        if codes:
            drawn.append(pictures.codes(shown, codes))
    return drawn


def _warnings(
    total: Figures, counted_until: datetime | None, *, now: datetime, is_lacking: bool
) -> list[str]:
    said = []
    if counted_until is not None and counted_until < now - BEHIND:
        said.append(
            _("What was used after %s is not counted yet: see whether worker and beat run.")
            % formats.datetime_text(counted_until, language=get_language())
        )
    if is_lacking:
        language = get_language()
        said.append(
            _(
                "Upstream cost is known for %(share)s of the usage billed in these days (%(costed)s of %(billed)s "
                "requests). Cost and margin are of that part alone."
            )
            % {
                "share": formats.percent_text(total.costed_basis_points, language=language),
                "costed": formats.number_text(total.costed_requests, language=language),
                "billed": formats.number_text(total.billed_requests, language=language),
            }
        )
    return said
