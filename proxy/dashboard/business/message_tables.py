"""How one-time codes and messages fared, by day and outcome."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date

from django.utils.translation import gettext as _

from accounts.channel_models import ChannelName, MessageCount, Notice
from accounts.message_counts import day_of
from proxy.dashboard.business import links
from proxy.dashboard.business.sight import Sight
from proxy.dashboard.business.spans import Span
from proxy.dashboard.business.tables import Cell, Table, count, percent, words

Kind, CodeOutcome = MessageCount.Kind, MessageCount.CodeOutcome
# Of rows by day, channel and outcome.
Counts = Mapping[tuple[date, str, str, str], int]
BAD = {CodeOutcome.NOT_SENT, Notice.Outcome.FAILED}


def counts(span: Span) -> Counts:
    """Of the longest span, from which the others are summed."""
    rows = MessageCount.objects.filter(day__gte=day_of(span.since))
    return {(row.day, row.kind, row.channel, row.outcome): row.messages for row in rows}


def messages(spans: Sequence[Span], found: Counts, *, sight: Sight) -> Table:
    """A row per kind, channel and outcome, a column per span."""
    seen = {Kind.CODE: sight.codes, Kind.NOTICE: sight.notices}
    kinds = {(kind, channel) for _day, kind, channel, _outcome in found if seen[Kind(kind)]}
    rows = []
    for kind, channel in sorted(kinds):
        rows += _rows(spans, found, kind, channel)
    return Table(
        "messages",
        _("One-time codes and messages"),
        [_("Message"), _("Outcome"), *(span.title for span in spans)],
        rows,
        empty=_("Nothing was sent in these days."),
    )


def by_day(span: Span, found: Counts) -> Mapping[date, Counter[str]]:
    """Codes alone: how many of each day ended how."""
    days: dict[date, Counter[str]] = {}
    for (day, kind, _channel, outcome), number in found.items():
        if kind == Kind.CODE and day >= day_of(span.since):
            days.setdefault(day, Counter())[outcome] += number
    return days


def _rows(spans: Sequence[Span], found: Counts, kind: str, channel: str) -> list[list[Cell]]:
    outcomes = CodeOutcome if kind == Kind.CODE else Notice.Outcome
    title = _("One-time codes") if kind == Kind.CODE else _("Messages by %s") % ChannelName(channel).label
    of_it = [(day, of[2], number) for (day, *of), number in found.items() if of[:2] == [kind, channel]]
    numbers: Counter[tuple[str, str]] = Counter()
    for span in spans:
        first = day_of(span.since)
        for day, ended, number in of_it:
            numbers[span.name, ended] += number if day >= first else 0
    rows = []
    for outcome in outcomes:
        if any(numbers[span.name, outcome.value] for span in spans):
            cells = [
                count(
                    numbers[span.name, outcome.value],
                    _link(span, kind, channel, outcome.value),
                    is_bad=outcome in BAD,
                )
                for span in spans
            ]
            rows.append([words(title), words(str(outcome.label)), *cells])
    if kind == Kind.CODE:
        shares = []
        for span in spans:
            of_span = {outcome: numbers[span.name, outcome.value] for outcome in CodeOutcome}
            every = sum(of_span.values())
            share = of_span[CodeOutcome.ANSWERED] * 10_000 // every if every else None
            shares.append(percent(share, links.codes(span.since)))
        rows.append([words(title), words(_("entered, of all")), *shares])
    return rows


def _link(span: Span, kind: str, channel: str, outcome: str) -> str:
    if kind == Kind.CODE:
        return links.codes(span.since, ended=outcome)
    return links.notices(span.since, channel=channel, outcome=outcome)
