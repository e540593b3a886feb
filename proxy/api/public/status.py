"""GET /public/status.json: how well each model has answered, as the calls of all customers saw it."""

from typing import Any

from proxy.api.public.kept import Document, Kept, from_database
from proxy.api.public.view import PublicView
from proxy.catalogue.public_list import moment
from proxy.http.request import APIRequest
from proxy.usage.health import report
from proxy.usage.health.report import Figures, Mark, ModelReport
from proxy.usage.latency import Latency

MADE_ANEW_SECONDS = 15.0
DEFINITION = (
    "answered_percent is the share of calls that were answered as asked, among those that were answered or failed. "
    "A call failed with a status of 5xx, with the upstream's 429, or where a stream's client left after a minute "
    "without a word. Requests that the model refused, that money, limits or rules did not let through, and calls that "
    "their client left count as neither. null: fewer than "
    f"{report.MIN_CALLS} calls, too few to say."
)


class PublicStatus(PublicView):
    async def document(self, request: APIRequest) -> Document:
        return await _kept.get(None)


async def _status(_name: None) -> dict[str, Any]:
    return _told(await from_database(report.current))


def _told(found: report.Report) -> dict[str, Any]:
    return {
        "object": "status",
        "state": found.state,
        "made_at": moment(found.made_at),
        "since": found.since and moment(found.since),
        "counted_until": found.counted_until and moment(found.counted_until),
        "is_behind": found.is_behind,
        "definition": DEFINITION,
        "data": [_model(model) for model in found.models],
    }


def _model(model: ModelReport) -> dict[str, Any]:
    return {
        "id": model.model_id,
        "state": model.state,
        "last_hour": _figures(model.last_hour),
        "last_day": _figures(model.last_day),
        "last_month": _figures(model.last_month),
        "hours": [_mark(mark) for mark in model.hours],
        "days": [_mark(mark) for mark in model.days],
    }


def _figures(figures: Figures) -> dict[str, Any]:
    return {
        "state": figures.state,
        "answered_percent": _percent(figures.per_mille),
        "first_byte_ms": _latency(figures.first_byte),
        "whole_answer_ms": _latency(figures.whole),
    }


def _mark(mark: Mark) -> dict[str, Any]:
    return {
        "starts_at": moment(mark.starts_at),
        "state": mark.state,
        "answered_percent": _percent(mark.per_mille),
    }


def _latency(latency: Latency | None) -> dict[str, int] | None:
    return None if latency is None else {"p50": latency.p50_ms, "p95": latency.p95_ms}


def _percent(per_mille: int | None) -> float | None:
    return None if per_mille is None else per_mille / 10


_kept = Kept(_status, seconds=MADE_ANEW_SECONDS)
