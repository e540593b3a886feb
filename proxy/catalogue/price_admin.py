"""Prices in the admin, in Toman. One outside the bounds waits for a second admin."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.approval_admin import AskAndDecideAdmin, admin_id
from proxy.catalogue import offers, price_changes, rates
from proxy.catalogue.price_form import PriceForm, PriceFormSet, ShownPrices
from proxy.catalogue.prices import dollar_basis
from proxy.catalogue.prices.models import Price, PriceChange
from proxy.catalogue.prices.price_wording import price_text
from proxy.catalogue.served import quote


class AddOnly:
    """Rows that are evidence: they can be added and read, and not changed."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class PriceInline(AddOnly, ShownPrices, admin.TabularInline):  # type: ignore[type-arg]
    model = Price
    form = PriceForm
    formset = PriceFormSet
    fields = (
        "valid_from",
        "input_toman",
        "output_toman",
        "cached_input_toman",
        "further_prices",
        "confirm_jump",
        "confirm_free",
    )
    readonly_fields = ("further_prices",)
    extra = 0
    ordering = ("-valid_from",)


@admin.register(PriceChange)
class PriceChangeAdmin(ShownPrices, AskAndDecideAdmin):
    """Asked for where prices are added."""

    approve_permission = "proxy.approve_pricechange"
    list_display = seen = (
        "created_at",
        "model",
        "valid_from",
        "present",
        "input_toman",
        "output_toman",
        "cached_input_toman",
        "further_prices",
        "in_dollars",
        "state",
        "requested_by",
        "approved_by",
        "decided_at",
    )
    list_filter = ("state",)
    list_select_related = ("model", "requested_by", "approved_by")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def approve_row(self, pk: int, *, admin_id: int) -> None:
        price_changes.approve(change_id=pk, admin_id=admin_id)

    def reject_row(self, pk: int) -> None:
        price_changes.reject(change_id=pk)

    def own_refusal(self, error: Exception, row: PriceChange) -> str | None:
        if isinstance(error, price_changes.MomentTaken):
            return gettext("Another price of this model begins at the same moment.")
        if isinstance(error, rates.RateChanged):
            return gettext("The exchange rate has changed since. Reject this, and enter the price anew.")
        return None

    @admin.display(description=_("price now"))
    def present(self, change: PriceChange) -> str:
        price = offers.current_price(model=change.model, now=timezone.now())
        return "-" if price is None else price_text(quote(price))


def let_wait(page: "ModelAdmin[Any]", request: HttpRequest, price: Price) -> None:
    """Asks for a price that one admin may not set alone."""
    price_changes.request(
        model_id=price.model_id,
        price=quote(price),
        valid_from=price.valid_from,
        admin_id=admin_id(request),
        basis=dollar_basis.read(price.dollar_basis),
    )
    said = gettext("The price of %(model)s waits for the approval of a second admin: %(price)s.")
    page.message_user(
        request, said % {"model": price.model, "price": price_text(quote(price))}, messages.WARNING
    )
