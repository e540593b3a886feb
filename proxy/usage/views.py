"""Pages of one's own usage: figures over a period, the request log, one request."""

from typing import Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from accounts.shared import replica, signed_in
from accounts.shared.downloads import csv_response
from proxy.catalogue.prices.price_wording import component_text
from proxy.usage import by_end_user, charged, figures, pictures
from proxy.usage import end_users_csv as csv_of_end_users
from proxy.usage import log as usage_log
from proxy.usage import log_csv as usage_csv
from proxy.usage.forms import LogForm, UsageForm
from proxy.usage.models import UsageRecord
from proxy.usage.periods import Period
from wallet.money import micro_from_rial
from wallet.statements import reports

END_USERS_SHOWN = 50

Form = TypeVar("Form", bound=UsageForm)


@require_safe
@login_required
@never_cache
@replica.read
def usage(request: HttpRequest) -> HttpResponse:
    form = _form(request, UsageForm)
    if not form.is_valid():
        return _refused(request, "proxy/usage.html", form)
    period = form.chosen_period()
    used = figures.over(**_asked(request, form, period))
    context = {
        "period": period,
        "by_hour": period.by == "hour",
        "usage": used,
        "used_slices": [each for each in reversed(used.slices) if each.figures.requests],
        "pictures": pictures.draw(used, period=period) if used.total.requests else [],
    }
    return _page(request, "proxy/usage.html", form, context)


@require_safe
@login_required
@never_cache
@replica.read
def end_users(request: HttpRequest) -> HttpResponse:
    """A page of its own: an account can have so many that all other figures would wait for their sums."""
    form = _form(request, UsageForm)
    if not form.is_valid():
        return _refused(request, "proxy/end_users.html", form)
    period = form.chosen_period()
    counted = by_end_user.shares(**_asked(request, form, period), size=END_USERS_SHOWN)
    context = {"period": period, "end_users": list(counted) if period.of_whole_days else []}
    return _page(request, "proxy/end_users.html", form, context)


@require_safe
@login_required
@never_cache
@replica.read
def log(request: HttpRequest) -> HttpResponse:
    form = _form(request, LogForm)
    if not form.is_valid():
        return _refused(request, "proxy/log.html", form)
    cursor = request.GET.get("before")
    context = {
        "period": form.chosen_period(),
        "log": usage_log.page(
            user_id=signed_in.user_id(request),
            wanted=form.wanted(user_id=signed_in.user_id(request)),
            cursor=cursor,
        ),
        "is_first_page": not cursor,
    }
    return _page(request, "proxy/log.html", form, context)


@require_safe
@login_required
@never_cache
def log_csv(request: HttpRequest) -> HttpResponseBase:
    """The filtered log as a file of any length."""
    form = _form(request, LogForm)
    if not form.is_valid():
        return _refused(request, "proxy/log.html", form)
    chunks = usage_csv.chunks(
        user_id=signed_in.user_id(request),
        wanted=form.wanted(user_id=signed_in.user_id(request)),
        wording=_wording(),
    )
    return csv_response(chunks, filename=f"requests-{timezone.localdate()}.csv")


@require_safe
@login_required
@never_cache
def end_users_csv(request: HttpRequest) -> HttpResponseBase:
    """What each end user used in the days of a period, as a file."""
    form = _form(request, UsageForm)
    if not form.is_valid():
        return _refused(request, "proxy/end_users.html", form)
    header = (
        _("End user"),
        _("Requests"),
        _("Errors"),
        _("Tokens in"),
        _("Of these, cached"),
        _("Tokens out"),
        _("Cost (Toman)"),
        _("Cost (micro-Rial)"),
    )
    chunks = csv_of_end_users.chunks(_asked(request, form, form.chosen_period()), header=header)
    return csv_response(chunks, filename=f"end-users-{timezone.localdate()}.csv")


@require_safe
@login_required
@never_cache
def one_request(request: HttpRequest, request_id: str) -> HttpResponse:
    """By the id that the client saw as `x-request-id`."""
    user_id = signed_in.user_id(request)
    try:
        logged = usage_log.one(user_id=user_id, request_id=UUID(request_id))
    except (ValueError, UsageRecord.DoesNotExist):
        raise Http404 from None
    record = logged.record
    context = {
        "logged": logged,
        "record": record,
        "parts": _parts(record),
        "uncovered_micro": -record.uncovered_micro,
        "booking": reports.booking(user_id=user_id, transaction_id=record.id),
    }
    return render(request, "proxy/request.html", context)


def _asked(request: HttpRequest, form: UsageForm, period: Period) -> dict[str, Any]:
    return {
        "user_id": signed_in.user_id(request),
        "period": period,
        "key_id": form.key_id(),
        "model": form.model_id(),
        "endpoint": form.endpoint_name(),
    }


def _form(request: HttpRequest, kind: type[Form]) -> Form:
    return kind(request.GET, now=timezone.now(), keys=figures.key_names(signed_in.user_id(request)))


def _page(request: HttpRequest, template: str, form: UsageForm, context: dict[str, Any]) -> HttpResponse:
    used = figures.used(user_id=signed_in.user_id(request), period=context["period"])
    form.offer_models([each.model for each in used])
    chosen = {name: request.GET[name] for name in form.fields if request.GET.get(name)}
    common = {name: value for name, value in chosen.items() if name in UsageForm.base_fields}
    return render(
        request,
        template,
        {"form": form, "query": urlencode(chosen), "common_query": urlencode(common), **context},
    )


def _refused(request: HttpRequest, template: str, form: UsageForm) -> HttpResponse:
    form.offer_models([])
    # htmx shows successful answers only; the form itself, with its errors, stays as it is.
    is_part = "HX-Request" in request.headers
    response = render(request, template, {"form": form, "is_part": is_part}, status=200 if is_part else 400)
    response["HX-Push-Url"] = "false"
    return response


def _parts(record: UsageRecord) -> list[tuple[str, int, int, int]]:
    """The parts of a cost: (name, quantity, price per million or for one, their price), prices in micro-Rial."""
    usual = {"input": _("Tokens in"), "cached_input": _("Tokens in, cached"), "output": _("Tokens out")}
    return [
        (
            usual.get(item.component) or component_text(item.component),
            item.quantity,
            micro_from_rial(item.rial),
            item.cost_micro,
        )
        for item in charged.items(record)
    ]


def _wording() -> usage_csv.Wording:
    return usage_csv.Wording(
        header=(
            _("Time"),
            _("Jalali date"),
            _("Request id"),
            _("Key"),
            _("Key ends in"),
            _("Model"),
            _("Endpoint"),
            _("Streamed"),
            _("Tokens in"),
            _("Of these, cached"),
            _("Tokens out"),
            _("Cost (Toman)"),
            _("Cost (micro-Rial)"),
            _("Outcome"),
            _("Billed by"),
            _("HTTP status"),
            _("First byte (ms)"),
            _("Duration (ms)"),
            _("Your request id"),
            _("End user"),
        ),
        outcomes={each.value: str(each.label) for each in UsageRecord.Outcome},
        billed_by={each.value: str(each.label) for each in UsageRecord.BilledBy},
    )
