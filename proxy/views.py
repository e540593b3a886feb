"""Pages of one's own usage: the overview and the usage page."""

from datetime import datetime

import jdatetime
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import get_language
from django.views.decorators.http import require_safe

from accounts import formats
from proxy import overview as overviews
from proxy import usage as usages
from proxy.chart import Chart, chart

DEFAULT_PERIOD = "30d"


@require_safe
@login_required
def overview(request: HttpRequest) -> HttpResponse:
    now = timezone.now()
    shown = overviews.of(user_id=_user_id(request), now=now, month_start=_month_start(now))
    return render(request, "proxy/overview.html", {"overview": shown})


@require_safe
@login_required
def usage(request: HttpRequest) -> HttpResponse:
    period = request.GET.get("period", DEFAULT_PERIOD)
    if period not in usages.PERIODS:
        period = DEFAULT_PERIOD
    cursor = request.GET.get("before")
    used = usages.over(user_id=_user_id(request), period=period, now=timezone.now())
    by, _count = usages.PERIODS[period]
    return render(
        request,
        "proxy/usage.html",
        {
            "period": period,
            "by_hour": by == "hour",
            "usage": used,
            "used_slices": [each for each in reversed(used.slices) if each.figures.requests],
            "requests_chart": _chart(used, "requests", by),
            "cost_chart": _chart(used, "cost_micro", by),
            "log": usages.log(user_id=_user_id(request), cursor=cursor),
            "is_first_page": cursor is None,
        },
    )


def _chart(used: usages.Usage, field: str, by: str) -> Chart:
    write = formats.datetime_text if by == "hour" else formats.date_text
    language = get_language()
    return chart(
        [(write(each.starts_at, language=language), getattr(each.figures, field)) for each in used.slices]
    )


def _month_start(now: datetime) -> datetime:
    """The first midnight of this month, of the calendar that the page is written in."""
    local = timezone.localtime(now)
    if formats.is_persian(get_language()):
        first = jdatetime.date.fromgregorian(date=local.date()).replace(day=1).togregorian()
    else:
        first = local.date().replace(day=1)
    return usages.day_start(local.replace(year=first.year, month=first.month, day=first.day))


def _user_id(request: HttpRequest) -> int:
    assert request.user.pk is not None, "login_required stands before every view here"
    return int(request.user.pk)
