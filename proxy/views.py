"""The overview: the page that a person sees first."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import get_language
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts import formats
from proxy import overview as overviews


@require_safe
@login_required
@never_cache
def overview(request: HttpRequest) -> HttpResponse:
    now = timezone.now()
    assert request.user.pk is not None, "login_required stands before"
    month_start = formats.month_start(timezone.localdate(now), language=get_language())
    shown = overviews.of(user_id=int(request.user.pk), now=now, month_start=month_start)
    return render(request, "proxy/overview.html", {"overview": shown})
