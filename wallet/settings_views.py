"""The small forms of the wallet page: a promo code, and the alert when money runs low."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounts.shared import signed_in
from accounts.shared.formats import number_text
from accounts.shared.redirects import local_path
from wallet import alerts, wording
from wallet.credits import promos
from wallet.credits.forms import PromoForm
from wallet.forms import AlertForm
from wallet.ledger import writer
from wallet.ledger.models import Wallet
from wallet.money import micro_from_toman


@require_POST
@login_required
def redeem(request: HttpRequest) -> HttpResponse:
    form = PromoForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Enter a promo code."))
        return redirect("wallet:home")
    try:
        amount_micro = promos.redeem(user_id=signed_in.user_id(request), typed=form.cleaned_data["code"])
    except promos.TooManyTries as error:
        messages.error(request, _too_many(error))
    except promos.UnknownCode:
        messages.error(request, _("There is no such promo code. Please check how it is written."))
    except promos.AlreadyRedeemed:
        messages.error(request, _("You have already used this promo code."))
    except promos.Expired:
        messages.error(request, _("This promo code has expired."))
    except promos.UsedUp:
        messages.error(request, _("This promo code has been used up by others."))
    except writer.UnknownWallet:
        messages.error(request, _("This account has no wallet."))
    except writer.WalletFrozen:
        messages.error(
            request,
            _("Your wallet is being checked and cannot be credited right now. Please try again later."),
        )
    else:
        added = {"amount": wording.toman(amount_micro)}
        messages.success(request, _("%(amount)s has been added to your wallet.") % added)
    return redirect("wallet:home")


@require_POST
@login_required
def choose_alert(request: HttpRequest) -> HttpResponse:
    """From the wallet's page and from the settings, and back to where it came from."""
    back = redirect(local_path(request.POST.get("next"), default=reverse("wallet:home")))
    form = AlertForm(request.POST)
    if not form.is_valid():
        messages.error(request, " ".join(str(error) for error in form.errors["threshold"]))
        return back
    toman = form.cleaned_data["threshold"]
    try:
        alerts.choose(
            user_id=signed_in.user_id(request), threshold_micro=micro_from_toman(toman) if toman else None
        )
    except Wallet.DoesNotExist:
        messages.error(request, _("This account has no wallet."))
        return back
    if toman:
        limit = {"amount": wording.toman(micro_from_toman(toman))}
        messages.success(request, _("You will be told once when less than %(amount)s is available.") % limit)
    else:
        messages.success(request, _("You will get no messages about your balance."))
    return back


def _too_many(error: promos.TooManyTries) -> str:
    minutes = -(-error.wait_seconds // 60)
    text = ngettext(
        "You have tried too many promo codes. Please try again in %(count)s minute.",
        "You have tried too many promo codes. Please try again in %(count)s minutes.",
        minutes,
    )
    return text % {"count": number_text(minutes, language=get_language())}
