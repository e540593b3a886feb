"""Money for admins: everything to see, nothing to change but what the next invoices say. Amounts are in Toman."""

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from wallet import credit_admin  # noqa: F401 - Django finds an app's admins through this module
from wallet.forms import PARTICULARS, ParticularsForm
from wallet.invoice_models import Invoice, SellerDetails, VATRate
from wallet.models import Hold, JournalEntry, TopUp, Wallet
from wallet.read_only_admin import ReadOnlyAdmin, toman


@admin.register(Wallet)
class WalletAdmin(ReadOnlyAdmin):
    list_display = ("user", "posted", "held", "available", "opened_at")
    list_select_related = ("user",)
    search_fields = ("user__mobile",)
    fields = readonly_fields = ("user", "posted", "held", "available", "opened_at")

    @admin.display(description=_("posted"))
    def posted(self, wallet: Wallet) -> str:
        return toman(wallet.posted_micro)

    @admin.display(description=_("held"))
    def held(self, wallet: Wallet) -> str:
        return toman(wallet.held_micro)

    @admin.display(description=_("available"))
    def available(self, wallet: Wallet) -> str:
        return toman(wallet.available_micro)


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
        "created_at",
        "returned_at",
        "credited_at",
    )

    @admin.display(description=_("VAT"))
    def vat(self, topup: TopUp) -> str:
        return toman(topup.vat_micro)


@admin.register(Invoice)
class InvoiceAdmin(ReadOnlyAdmin):
    list_display = ("number", "buyer_mobile", "buyer_name", "net", "vat", "total", "issued_at")
    search_fields = ("=number", "buyer_mobile", "buyer_name", "=topup__id")
    readonly_fields = ("net", "vat", "total")
    exclude = ("net_micro", "vat_micro", "total_micro")

    @admin.display(description=_("net amount"))
    def net(self, invoice: Invoice) -> str:
        return toman(invoice.net_micro)

    @admin.display(description=_("VAT"))
    def vat(self, invoice: Invoice) -> str:
        return toman(invoice.vat_micro)

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
