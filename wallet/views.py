"""A person's wallet: balance, top-ups and their outcome, statement."""

import math
from uuid import UUID

from csp.decorators import csp_update
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from accounts.shared import signed_in
from accounts.shared.formats import number_text
from wallet import alerts
from wallet.credits.forms import PromoForm
from wallet.forms import AlertForm
from wallet.money import MICRO_PER_TOMAN, micro_from_toman, toman_from_micro
from wallet.payments import gateways, invoices, topups
from wallet.payments.forms import TopUpForm
from wallet.payments.gateways.interface import PaymentGateway
from wallet.statements import lines as statements
from wallet.statements import reports

PRESETS_TOMAN = (50_000, 100_000, 200_000, 500_000)
ROWS_ON_HOME = 10


@require_GET
@login_required
@never_cache
def home(request: HttpRequest) -> HttpResponse:
    return _home(request, TopUpForm())


@require_GET
@login_required
@never_cache
def review_topup(request: HttpRequest) -> HttpResponse:
    """What an amount costs with VAT, before the user pays it."""
    form = TopUpForm(request.GET)
    if not form.is_valid():
        return _home(request, form, status=400)
    toman = form.cleaned_data["amount"]
    try:
        quote = topups.quote(amount_micro=micro_from_toman(toman))
    except topups.AmountOutOfRange:
        return _out_of_range(request, form)
    page = render(request, "wallet/review_topup.html", {"quote": quote, "amount": toman})
    return _leading_to_payment(request, page, gateways.configured())


@require_POST
@login_required
def start_topup(request: HttpRequest) -> HttpResponse:
    """Sends the payer to the gateway."""
    form = TopUpForm(request.POST)
    if not form.is_valid():
        return _home(request, form, status=400)
    try:
        address = topups.start(
            user_id=signed_in.user_id(request),
            amount_micro=micro_from_toman(form.cleaned_data["amount"]),
            callback_url=lambda topup_id: request.build_absolute_uri(
                reverse("wallet:topup_return", args=[topup_id])
            ),
        )
    except topups.AmountOutOfRange:
        return _out_of_range(request, form)
    except (topups.DailyLimitReached, topups.TooManyStarted) as error:
        return _beyond_a_limit(request, form, error)
    except (topups.PaymentsNotConfigured, topups.NoWallet):
        return _home(request, form, status=409)
    except topups.GatewayUnavailable:
        form.add_error(
            None,
            _(
                "The payment gateway is not answering. Nothing was charged; please try again in a few minutes."
            ),
        )
        return _home(request, form, status=502)
    return redirect(address)


def _beyond_a_limit(
    request: HttpRequest, form: TopUpForm, error: topups.DailyLimitReached | topups.TooManyStarted
) -> HttpResponse:
    if isinstance(error, topups.DailyLimitReached):
        left = number_text(toman_from_micro(error.remaining_micro), language=get_language())
        form.add_error(
            "amount",
            _(
                "This would take you past the most you can pay in one day. You can still pay %(left)s Toman today."
            )
            % {"left": left},
        )
        return _home(request, form, status=400)
    minutes = max(1, math.ceil((error.retry_at - timezone.now()).total_seconds() / 60))
    form.add_error(
        None,
        ngettext(
            "You started several payments within an hour and completed none of the last ones. "
            "Complete one that is still open at your bank, or start a new one in %(minutes)s minute.",
            "You started several payments within an hour and completed none of the last ones. "
            "Complete one that is still open at your bank, or start a new one in %(minutes)s minutes.",
            minutes,
        )
        % {"minutes": number_text(minutes, language=get_language())},
    )
    return _home(request, form, status=429)


@require_GET
@never_cache
def topup_return(request: HttpRequest, topup_id: UUID) -> HttpResponse:
    """Where the gateway sends the payer's browser. Needs no session, and believes nothing of the address."""
    try:
        topups.come_back(topup_id=topup_id, query=request.GET.dict())
    except topups.UnknownTopUp:
        raise Http404 from None
    return redirect("wallet:topup", topup_id)


@require_GET
@login_required
@never_cache
def topup(request: HttpRequest, topup_id: UUID) -> HttpResponse:
    """What became of a top-up. It only reads, so it may be loaded any number of times."""
    try:
        found = topups.get(user_id=signed_in.user_id(request), topup_id=topup_id)
    except topups.UnknownTopUp:
        raise Http404 from None
    return render(request, "wallet/topup.html", {"topup": found, "balance": _balance(request)})


@require_POST
@login_required
def check_topup(request: HttpRequest, topup_id: UUID) -> HttpResponse:
    """The payer asks us to ask the gateway."""
    try:
        topups.check(user_id=signed_in.user_id(request), topup_id=topup_id)
    except topups.UnknownTopUp:
        raise Http404 from None
    return redirect("wallet:topup", topup_id)


def _out_of_range(request: HttpRequest, form: TopUpForm) -> HttpResponse:
    limits = {
        "minimum": number_text(settings.TOPUP_MIN_TOMAN, language=get_language()),
        "maximum": number_text(settings.TOPUP_MAX_TOMAN, language=get_language()),
    }
    form.add_error("amount", _("The amount must be between %(minimum)s and %(maximum)s Toman.") % limits)
    return _home(request, form, status=400)


def _home(request: HttpRequest, form: TopUpForm, *, status: int = 200) -> HttpResponse:
    user_id = signed_in.user_id(request)
    gateway = gateways.configured()
    allowed = range(settings.TOPUP_MIN_TOMAN, settings.TOPUP_MAX_TOMAN + 1)
    context = {
        "balance": _balance(request),
        "form": form,
        "takes_payments": gateway is not None,
        "presets": [(toman, micro_from_toman(toman)) for toman in PRESETS_TOMAN if toman in allowed],
        "minimum_micro": micro_from_toman(settings.TOPUP_MIN_TOMAN),
        "maximum_micro": micro_from_toman(settings.TOPUP_MAX_TOMAN),
        "topups": topups.recent(user_id),
        "invoices": invoices.page(user_id=user_id, size=ROWS_ON_HOME // 2).invoices,
        "page": statements.page(user_id=user_id, size=ROWS_ON_HOME),
        "promo_form": PromoForm(auto_id="promo_%s"),
        "alert_form": AlertForm(initial={"threshold": _chosen_threshold(user_id)}, auto_id="alert_%s"),
    }
    return render(request, "wallet/home.html", context, status=status)


def _leading_to_payment(
    request: HttpRequest, page: HttpResponse, gateway: PaymentGateway | None
) -> HttpResponse:
    """A page with a form that `start_topup` answers: browsers hold the whole way to the bank against its policy."""
    if gateway:
        csp_update({"form-action": list(gateway.form_targets)})(lambda _request: page)(request)
    return page


def _chosen_threshold(user_id: int) -> str:
    micro = alerts.threshold_micro(user_id)
    return "" if micro is None else number_text(micro // MICRO_PER_TOMAN, language=get_language())


def _balance(request: HttpRequest) -> reports.Balance | None:
    try:
        return reports.balance(user_id=signed_in.user_id(request))
    except reports.UnknownWallet:
        return None  # an admin's account, for one
