"""The public status page: how well each model has answered, for anybody to see."""

from datetime import datetime

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import get_language
from django.views.decorators.http import require_safe

from proxy.dashboard.status import shown
from proxy.usage.health import report
from proxy.usage.health.report import MIN_CALLS, Report

# By language: of when the report is, and its models as they are written. Of many models that is most of the time.
_written: dict[str | None, tuple[datetime, SafeString]] = {}


@require_safe
def status(request: HttpRequest) -> HttpResponse:
    found = report.current()
    context = {
        "report": found,
        "summary": shown.summary(found.state),
        "states": _states(found),
        "min_calls": MIN_CALLS,
    }
    return render(request, "proxy/status.html", context)


def _states(found: Report) -> SafeString:
    language = get_language()
    kept = _written.get(language)
    if kept is None or kept[0] != found.made_at:
        written = render_to_string("proxy/status_models.html", {"models": shown.models(found)})
        kept = _written[language] = found.made_at, written
    return kept[1]
