"""The sandbox gateway's payment page: stands where a bank's page stands, and exists in the sandbox alone."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from wallet.payments.gateways import sandbox


@require_http_methods(["GET", "POST"])
@never_cache
def payment(request: HttpRequest, authority: str) -> HttpResponse:
    """Shows the payment (GET); pays or cancels it and sends the payer back to the shop (POST)."""
    if not settings.SANDBOX:
        raise Http404
    try:
        if request.method == "POST":
            page = sandbox.decide(authority, pays=request.POST.get("choice") == "pay")
        else:
            page = sandbox.page(authority)
    except sandbox.UnknownPayment:
        raise Http404 from None
    if request.method == "POST":
        return redirect(page.return_url)
    return render(request, "wallet/sandbox_payment.html", {"payment": page})
