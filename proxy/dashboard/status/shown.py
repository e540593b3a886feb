"""How the status page words the report."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import get_language
from django.utils.translation import gettext as _

from accounts.shared import formats
from proxy.usage import wording as usage_wording
from proxy.usage.health.report import Figures, Mark, ModelReport, Report, State
from proxy.usage.latency import Latency

BADGES = {State.UP: "good", State.DEGRADED: "warn", State.DOWN: "bad", State.UNKNOWN: ""}


@dataclass(frozen=True, slots=True)
class ShownState:
    name: State
    label: str

    @property
    def badge(self) -> str:
        return BADGES[self.name]


@dataclass(frozen=True, slots=True)
class ShownFigures:
    """Of one period; empty texts where there is nothing to say."""

    period: str
    answered: str
    first_byte: str
    whole: str


@dataclass(frozen=True, slots=True)
class Strip:
    """`marks` are a state and what a pointer is told; `summary` is for those who cannot see them."""

    title: str
    summary: str
    marks: list[tuple[State, str]]


@dataclass(frozen=True, slots=True)
class ShownModel:
    model_id: str
    state: ShownState
    figures: list[ShownFigures]
    strips: list[Strip]

    @property
    def has_figures(self) -> bool:
        return any(figures.answered for figures in self.figures)


def state(found: State) -> ShownState:
    labels = {
        State.UP: _("working"),
        State.DEGRADED: _("failing in part"),
        State.DOWN: _("not answering"),
        State.UNKNOWN: _("too few calls to say"),
    }
    return ShownState(found, labels[found])


def summary(found: State) -> str:
    """One sentence about all models together."""
    sentences = {
        State.UP: _("All models are answering."),
        State.DEGRADED: _("Some calls are failing."),
        State.DOWN: _("The models are not answering."),
        State.UNKNOWN: _("There have been too few calls in the last hour to say."),
    }
    return sentences[found]


def models(report: Report) -> list[ShownModel]:
    hours = _starts(report, "hour")
    days = _starts(report, "day")
    return [_model(model, hours, days) for model in report.models]


def _starts(report: Report, by: str) -> list[str]:
    """The names of the strip's hours or days: the same for all models."""
    if not report.models:
        return []
    marks = report.models[0].hours if by == "hour" else report.models[0].days
    return [usage_wording.start(mark.starts_at, by=by) for mark in marks]


def _model(model: ModelReport, hours: Sequence[str], days: Sequence[str]) -> ShownModel:
    return ShownModel(
        model_id=model.model_id,
        state=state(model.state),
        figures=[
            _figures(_("last hour"), model.last_hour),
            _figures(_("last 24 hours"), model.last_day),
            _figures(_("last 30 days"), model.last_month),
        ],
        strips=[
            _strip(_("Last 24 hours"), model.hours, hours),
            _strip(_("Last 30 days"), model.days, days),
        ],
    )


def _figures(period: str, figures: Figures) -> ShownFigures:
    return ShownFigures(
        period=period,
        answered=_percent(figures.per_mille),
        first_byte=_times(figures.first_byte),
        whole=_times(figures.whole),
    )


def _times(latency: Latency | None) -> str:
    if latency is None:
        return ""
    return _("%(p50)s; 95 of 100 within %(p95)s") % {
        "p50": usage_wording.duration(latency.p50_ms),
        "p95": usage_wording.duration(latency.p95_ms),
    }


def _strip(title: str, marks: list[Mark], names: Sequence[str]) -> Strip:
    found = [mark.state for mark in marks]
    counts = {
        "up": found.count(State.UP),
        "bad": found.count(State.DEGRADED) + found.count(State.DOWN),
        "unknown": found.count(State.UNKNOWN),
    }
    told = _("%(title)s: %(up)s without much failing, %(bad)s with failures, %(unknown)s without figures") % {
        "title": title,
        **{name: usage_wording.number(count) for name, count in counts.items()},
    }
    return Strip(
        title=title,
        summary=told,
        marks=[(mark.state, _told(mark, name)) for mark, name in zip(marks, names, strict=True)],
    )


def _told(mark: Mark, name: str) -> str:
    answered = _percent(mark.per_mille)
    return f"{name}: {answered or state(mark.state).label}"


def _percent(per_mille: int | None) -> str:
    return "" if per_mille is None else formats.percent_text(per_mille * 10, language=get_language())
