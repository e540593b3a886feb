"""The public status page: how well each model has answered, for anybody to see."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from proxy.dashboard.status import shown
from proxy.usage.health import report
from proxy.usage.health.report import MIN_CALLS


@require_safe
def status(request: HttpRequest) -> HttpResponse:
    found = report.current()
    context = {
        "report": found,
        "state": shown.state(found.state),
        "summary": shown.summary(found.state),
        "models": shown.models(found),
        "min_calls": MIN_CALLS,
    }
    return render(request, "proxy/status.html", context)
