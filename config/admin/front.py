"""The admin's front page, each of its tables on a page of its own, and the same as CSV."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.contrib.admin import site
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from config.tasks import table as task_table
from config.tasks import watch
from proxy.dashboard.business import page, spans
from proxy.dashboard.business.page import Data
from proxy.dashboard.business.tables import Table

ROWS_PER_PAGE = 100


def context(request: HttpRequest) -> dict[str, Any]:
    """What the index is shown with beside Django's own list of models."""
    front = page.front(request.user, _span_name(request), now=timezone.now())
    if not task_table.is_seen_by(request.user):
        return {"front": front}
    tasks = task_table.tasks(now=timezone.now(), limit=page.ROWS_SHOWN)
    return {"front": replace(front, tables=[*front.tables, tasks]), "standstill": watch.standstill()}


def table(request: HttpRequest, name: str) -> HttpResponse:
    found = _table(request, name)
    rows = Paginator(found.rows, ROWS_PER_PAGE).get_page(request.GET.get("p"))
    shown = {
        **site.each_context(request),
        "title": found.title,
        "table": replace(found, rows=list(rows)),
        "page": rows,
        "span": spans.span(_span_name(request), now=timezone.now()),
    }
    return render(request, "admin/figures.html", shown)


def table_csv(request: HttpRequest, name: str) -> HttpResponse:
    found = _table(request, name)
    return HttpResponse(
        b"".join(found.csv()),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="hamiran-{name}-{_span_name(request)}.csv"'},
    )


def _table(request: HttpRequest, name: str) -> Table:
    """Raises Http404 where there is no such table, or none for this person."""
    data = Data(request.user, spans.span(_span_name(request), now=timezone.now()), timezone.now())
    made: dict[str, Callable[[], Table]] = data.tables()
    if task_table.is_seen_by(request.user):
        made["tasks"] = lambda: task_table.tasks(now=data.now, limit=None)
    if name not in made:
        raise Http404(name)
    return made[name]()


def _span_name(request: HttpRequest) -> str:
    name = request.GET.get("period", "")
    return name if name in spans.DAYS else spans.DEFAULT
