"""The pictures of the usage page: requests, tokens, cost and latency over a period, each with words for those who
cannot see it."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from django.utils.safestring import SafeString
from django.utils.translation import get_language_bidi
from django.utils.translation import gettext as _

from proxy.usage import chart
from proxy.usage import wording as usage_wording
from proxy.usage.chart import Chart
from proxy.usage.figures import NONE, PeriodUsage, Slice
from proxy.usage.periods import Period
from wallet.wording import toman

LOOKS = ("a", "b", "soft")


@dataclass(frozen=True, slots=True)
class Series:
    """One of the stacked bars or lines: `look` names its colour in usage.css."""

    look: str
    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Picture:
    """`slots` are left edges with what a pointer is told there; `first` and `last` name the ends of the axis."""

    id: str
    title: str
    description: str
    peak: str
    first: str
    last: str
    chart: Chart
    series: list[Series]
    slots: list[tuple[int, str]]

    @property
    def drawn_slots(self) -> SafeString:
        """Not drawn by a template, whose loop takes several times as long: a page has hundreds."""
        path = '<path class="picture__slot" d="M{} 0h10v200h-10z"><title>{}</title></path>'
        return SafeString("\n".join(path.format(left, escape(told)) for left, told in self.slots))


def draw(used: PeriodUsage, *, period: Period) -> list[Picture]:
    """Pictures of a period in which something was used."""
    starts = [usage_wording.start(each.starts_at, by=period.by) for each in used.slices]
    pictures = [_requests(used.slices, starts), _cost(used.slices, starts), _tokens(used.slices, starts)]
    if len(used.by_endpoint) > 1:
        pictures.append(_endpoints(used, starts))
    return [*pictures, _latency(used.slices, starts)] if used.latency else pictures


def _requests(slices: list[Slice], starts: list[str]) -> Picture:
    figures = [each.figures for each in slices]
    drawn = chart.bars(
        [[each.requests - each.errors for each in figures], [each.errors for each in figures]],
        rtl=get_language_bidi(),
    )
    told = [
        _("%(requests)s requests, %(errors)s of them failed")
        % {"requests": usage_wording.number(each.requests), "errors": usage_wording.number(each.errors)}
        for each in figures
    ]
    looks = [("a", _("answered")), ("bad", _("failed"))]
    return picture(
        "requests",
        _("Requests"),
        drawn,
        looks=looks,
        starts=starts,
        told=told,
        peak=usage_wording.number(drawn.peak),
    )


def _cost(slices: list[Slice], starts: list[str]) -> Picture:
    costs = [each.figures.cost_micro for each in slices]
    drawn = chart.bars([costs], rtl=get_language_bidi())
    told = [toman(cost) for cost in costs]
    return picture(
        "cost",
        _("Cost"),
        drawn,
        looks=[("a", "")],
        starts=starts,
        told=told,
        peak=toman(drawn.peak),
    )


def _tokens(slices: list[Slice], starts: list[str]) -> Picture:
    figures = [each.figures for each in slices]
    drawn = chart.bars(
        [
            [each.prompt_tokens - each.cached_tokens for each in figures],
            [each.cached_tokens for each in figures],
            [each.completion_tokens for each in figures],
        ],
        rtl=get_language_bidi(),
    )
    told = [
        _("%(prompt)s tokens in, %(cached)s of them cached; %(completion)s out")
        % {
            "prompt": usage_wording.number(each.prompt_tokens),
            "cached": usage_wording.number(each.cached_tokens),
            "completion": usage_wording.number(each.completion_tokens),
        }
        for each in figures
    ]
    looks = [("a", _("Tokens in")), ("soft", _("Tokens in, cached")), ("b", _("Tokens out"))]
    return picture(
        "tokens",
        _("Tokens"),
        drawn,
        looks=looks,
        starts=starts,
        told=told,
        peak=usage_wording.number(drawn.peak),
    )


def _endpoints(used: PeriodUsage, starts: list[str]) -> Picture:
    """The cost of the dearest endpoints, and of all others together."""
    names = list(used.by_endpoint)
    parts = [[name] for name in names] if len(names) <= len(LOOKS) else [[names[0]], [names[1]], names[2:]]
    costs = [
        [sum(each.by_endpoint.get(name, NONE).cost_micro for name in part) for each in used.slices]
        for part in parts
    ]
    drawn = chart.bars(costs, rtl=get_language_bidi())
    titles = [part[0] if len(part) == 1 else _("others") for part in parts]
    told = [
        " · ".join(f"{title} {toman(cost)}" for title, cost in zip(titles, of_slice, strict=True))
        for of_slice in zip(*costs, strict=True)
    ]
    return picture(
        "endpoints",
        _("Cost by endpoint"),
        drawn,
        looks=list(zip(LOOKS, titles, strict=False)),
        starts=starts,
        told=told,
        peak=toman(drawn.peak),
    )


def _latency(slices: list[Slice], starts: list[str]) -> Picture:
    found = [each.latency for each in slices]
    drawn = chart.lines(
        [
            [each.p50_ms if each else None for each in found],
            [each.p95_ms if each else None for each in found],
        ],
        rtl=get_language_bidi(),
    )
    told = [
        _("half within %(p50)s, 95 of 100 within %(p95)s")
        % {"p50": usage_wording.duration(each.p50_ms), "p95": usage_wording.duration(each.p95_ms)}
        if each
        else _("no answer")
        for each in found
    ]
    looks = [("line", _("half of the answers (p50)")), ("line-b", _("95 of 100 (p95)"))]
    return picture(
        "latency",
        _("Time to a whole answer"),
        drawn,
        looks=looks,
        starts=starts,
        told=told,
        peak=usage_wording.duration(drawn.peak),
    )


def picture(
    picture_id: str,
    title: str,
    drawn: Chart,
    *,
    looks: Sequence[tuple[str, str]],
    starts: list[str],
    told: list[str],
    peak: str,
) -> Picture:
    """`looks` are colour and name of each series, `told` what a pointer is told of each slot."""
    if get_language_bidi():
        description = _("From %(first)s on the right to %(last)s on the left. Highest: %(peak)s.")
    else:
        description = _("From %(first)s on the left to %(last)s on the right. Highest: %(peak)s.")
    return Picture(
        id=picture_id,
        title=title,
        description=description % {"first": starts[0], "last": starts[-1], "peak": peak},
        peak=peak,
        first=starts[0],
        last=starts[-1],
        chart=drawn,
        series=[Series(look, name, path) for (look, name), path in zip(looks, drawn.paths, strict=True)],
        slots=[
            (left, f"{start}: {text}") for left, start, text in zip(drawn.slots, starts, told, strict=True)
        ],
    )
