"""A person's invoices: the list, the printable page, and what is to stand on the next ones."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from accounts.shared import signed_in
from accounts.shared.paging import cursor
from wallet.payments import invoices
from wallet.payments.forms import BuyerForm


@require_GET
@login_required
@never_cache
def listing(request: HttpRequest) -> HttpResponse:
    before = cursor(request)
    page = invoices.page(user_id=signed_in.user_id(request), before=before)
    return render(request, "wallet/invoices.html", {"page": page, "is_first": before is None})


@require_GET
@login_required
@never_cache
def invoice(request: HttpRequest, topup_id: UUID) -> HttpResponse:
    """One invoice, to be read and printed."""
    try:
        found = invoices.get(user_id=signed_in.user_id(request), topup_id=topup_id)
    except invoices.UnknownInvoice:
        raise Http404 from None
    return render(request, "wallet/invoice.html", {"invoice": found})


@require_http_methods(["GET", "POST"])
@login_required
@never_cache
def details(request: HttpRequest) -> HttpResponse:
    """The buyer's own particulars, for the invoices to come."""
    form = BuyerForm(request.POST or None, instance=invoices.buyer_details(signed_in.user_id(request)))
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, _("Saved. It appears on your invoices from now on."))
        return redirect("wallet:home")
    return render(request, "wallet/invoice_details.html", {"form": form}, status=400 if form.errors else 200)
