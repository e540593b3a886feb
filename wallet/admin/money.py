"""Money for admins: all of it can be seen, and only the gateway and the texts of coming invoices changed.

Amounts are shown in Toman.
"""

from typing import Any

from auditlog.registry import auditlog
from django import forms
from django.conf import settings
from django.contrib import admin
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.shared.formats import percent_text
from wallet import freezing
from wallet.admin.read_only import ReadOnlyAdmin, toman
from wallet.ledger.models import Budget, Hold, JournalEntry, Wallet
from wallet.payments import gateways, topups
from wallet.payments.forms import PARTICULARS, ParticularsForm
from wallet.payments.invoice_models import Invoice, SellerDetails, VATRate
from wallet.payments.models import GatewayChoice, TopUp

auditlog.register(GatewayChoice)


@admin.register(Wallet)
class WalletAdmin(ReadOnlyAdmin):
    list_display = ("user", "posted", "held", "available", "opened_at", "frozen_at", "frozen_because")
    list_select_related = ("user",)
    list_filter = (("frozen_at", admin.EmptyFieldListFilter),)
    search_fields = ("user__mobile",)
    fields = readonly_fields = list_display
    actions = ("unfreeze",)

    @admin.action(
        description=_("Lift the freeze, once the cause is found and fixed"), permissions=["unfreeze"]
    )
    def unfreeze(self, request: HttpRequest, wallets: QuerySet[Wallet]) -> None:
        for wallet in wallets.exclude(frozen_at=None):
            with transaction.atomic():
                freezing.unfreeze(wallet_id=wallet.pk)
                audit.note(wallet, what="frozen because", before=wallet.frozen_because)

    def has_unfreeze_permission(self, request: HttpRequest) -> bool:
        return request.user.is_superuser

    @admin.display(description=_("posted"))
    def posted(self, wallet: Wallet) -> str:
        return toman(wallet.posted_micro)

    @admin.display(description=_("held"))
    def held(self, wallet: Wallet) -> str:
        return toman(wallet.held_micro)

    @admin.display(description=_("available"))
    def available(self, wallet: Wallet) -> str:
        return toman(wallet.available_micro)


@admin.register(Budget)
class BudgetAdmin(ReadOnlyAdmin):
    """What caps keys; the wallet's owner sets and raises it on the key's page."""

    list_display = ("id", "owner", "limit", "period", "spent", "held", "ends_at")
    list_select_related = ("wallet__user",)
    search_fields = ("wallet__user__mobile", "=id")
    fields = readonly_fields = (
        *list_display,
        "starts_at",
        "opened_at",
        "spent_before",
        "held_before",
        "previous_spent",
    )

    @admin.display(description=_("limit"))
    def limit(self, budget: Budget) -> str:
        return toman(budget.limit_micro)

    @admin.display(description=_("spent"))
    def spent(self, budget: Budget) -> str:
        return toman(budget.spent_micro)

    @admin.display(description=_("held"))
    def held(self, budget: Budget) -> str:
        return toman(budget.held_micro)

    @admin.display(description=_("spent before"))
    def spent_before(self, budget: Budget) -> str:
        return toman(budget.spent_before_micro)

    @admin.display(description=_("held before"))
    def held_before(self, budget: Budget) -> str:
        return toman(budget.held_before_micro)

    @admin.display(description=_("spent in the previous period"))
    def previous_spent(self, budget: Budget) -> str:
        return toman(budget.previous_spent_micro)


@admin.register(Hold)
class HoldAdmin(ReadOnlyAdmin):
    list_display = ("id", "owner", "amount", "created_at", "expires_at")
    list_select_related = ("wallet__user",)
    search_fields = ("wallet__user__mobile", "=id")
    ordering = ("expires_at",)
    fields = readonly_fields = ("id", "owner", "amount", "created_at", "expires_at")


@admin.register(JournalEntry)
class JournalEntryAdmin(ReadOnlyAdmin):
    list_display = ("id", "created_at", "kind", "account", "owner", "amount", "balance", "transaction_id")
    list_filter = ("kind", "account")
    list_select_related = ("wallet__user",)
    search_fields = ("wallet__user__mobile", "=transaction_id")
    ordering = ("-id",)
    fields = readonly_fields = (
        "transaction_id",
        "created_at",
        "kind",
        "account",
        "owner",
        "amount",
        "balance",
    )

    @admin.display(description=_("balance"))
    def balance(self, entry: JournalEntry) -> str:
        return toman(entry.balance_micro)


@admin.register(TopUp)
class TopUpAdmin(ReadOnlyAdmin):
    list_display = ("id", "user", "amount", "status", "gateway", "ref_id", "created_at", "credited_at")
    list_filter = ("status", "gateway")
    list_select_related = ("user",)
    search_fields = ("user__mobile", "=id", "=authority", "=ref_id")
    fields = readonly_fields = (
        "id",
        "user",
        "amount",
        "vat",
        "status",
        "gateway",
        "authority",
        "ref_id",
        "card_pan",
        "created_at",
        "returned_at",
        "claimed_at",
        "credited_at",
    )

    actions = ("ask_again",)

    @admin.action(description=_("Ask the gateway again about those under review"), permissions=["ask_again"])
    def ask_again(self, request: HttpRequest, chosen: QuerySet[TopUp]) -> None:
        for topup in chosen.filter(status=TopUp.Status.REVIEW):
            topups.ask_again(topup_id=topup.pk)
            topup.refresh_from_db()
            audit.note(topup, what="asked the gateway again", before=TopUp.Status.REVIEW, after=topup.status)

    def has_ask_again_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("wallet.change_topup")

    @admin.display(description=_("VAT"))
    def vat(self, topup: TopUp) -> str:
        return toman(topup.vat_micro)


@admin.register(Invoice)
class InvoiceAdmin(ReadOnlyAdmin):
    list_display = ("number", "buyer_mobile", "buyer_name", "net", "vat", "total", "issued_at")
    search_fields = ("=number", "buyer_mobile", "buyer_name", "=topup__id")
    readonly_fields = ("net", "vat_rate", "vat", "total")
    exclude = ("net_micro", "vat_basis_points", "vat_micro", "total_micro")

    @admin.display(description=_("net amount"))
    def net(self, invoice: Invoice) -> str:
        return toman(invoice.net_micro)

    @admin.display(description=_("VAT"))
    def vat(self, invoice: Invoice) -> str:
        return toman(invoice.vat_micro)

    @admin.display(description=_("VAT rate"))
    def vat_rate(self, invoice: Invoice) -> str:
        return percent_text(invoice.vat_basis_points, language=get_language())

    @admin.display(description=_("total"))
    def total(self, invoice: Invoice) -> str:
        return toman(invoice.total_micro)


@admin.register(VATRate)
class VATRateAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rates are added and never changed, for invoices were written with them."""

    list_display = ("__str__", "valid_from")

    def has_change_permission(self, request: HttpRequest, obj: VATRate | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: VATRate | None = None) -> bool:
        return False


class SellerForm(ParticularsForm):
    class Meta:
        model = SellerDetails
        fields = PARTICULARS


@admin.register(SellerDetails)
class SellerDetailsAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = SellerForm
    list_display = ("__str__", "economic_code", "national_id")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: SellerDetails | None = None) -> bool:
        return False


class GatewayChoiceForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    gateway = forms.ChoiceField(label=_("gateway of new payments"), required=False)

    class Meta:
        model = GatewayChoice
        fields = ("gateway",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["gateway"]
        assert isinstance(field, forms.ChoiceField)
        field.help_text = GatewayChoice._meta.get_field("gateway").help_text
        field.choices = [
            (
                "",
                _("as the settings say: %(gateway)s") % {"gateway": gateway_label(settings.PAYMENT_GATEWAY)},
            ),
            *((name, gateway_label(name)) for name in [*gateways.available(), gateways.NONE]),
        ]


@admin.register(GatewayChoice)
class GatewayChoiceAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    form = GatewayChoiceForm
    list_display = ("chosen",)

    @admin.display(description=_("gateway of new payments"))
    def chosen(self, choice: GatewayChoice) -> str:
        return gateway_label(choice.gateway or settings.PAYMENT_GATEWAY)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and not GatewayChoice.objects.exists()

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def gateway_label(name: str) -> str:
    labels = {
        "sandbox": _("Sandbox"),
        "zarinpal": _("Zarinpal"),
        "zibal": _("Zibal"),
        gateways.NONE: _("no payments"),
    }
    return str(labels.get(name, name))
