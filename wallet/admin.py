"""Money for admins: everything to see, nothing to change but the gateway. Amounts are shown in Toman."""

import contextlib
from typing import Any

from auditlog.registry import auditlog
from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _

from accounts import phone
from accounts.formats import figure_text
from wallet import freezing, gateways
from wallet.models import GatewayChoice, Hold, JournalEntry, TopUp, Wallet
from wallet.money import toman_text

auditlog.register(GatewayChoice)


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    show_full_result_count = False  # counting a journal of millions of rows would be most of a page's time

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Model], search_term: str
    ) -> tuple[QuerySet[Model], bool]:
        with contextlib.suppress(phone.InvalidMobile):  # 0912… as people write it; stored is +98912…
            search_term = phone.normalise(search_term)
        return super().get_search_results(request, queryset, search_term)

    @admin.display(description=_("amount"))
    def amount(self, row: Hold | JournalEntry | TopUp) -> str:
        return toman(row.amount_micro)

    @admin.display(description=_("user"))
    def owner(self, row: Hold | JournalEntry) -> str:
        return "-" if row.wallet is None else str(row.wallet.user)


def toman(micro: int | None) -> str:
    """An amount in micro-Rial as Toman, with the unit."""
    if micro is None:
        return "-"
    return gettext("%(amount)s Toman") % {"amount": figure_text(toman_text(micro), language=get_language())}


@admin.register(Wallet)
class WalletAdmin(ReadOnlyAdmin):
    list_display = ("user", "posted", "held", "available", "opened_at", "frozen_at", "frozen_because")
    list_select_related = ("user",)
    list_filter = (("frozen_at", admin.EmptyFieldListFilter),)
    search_fields = ("user__mobile",)
    fields = readonly_fields = list_display
    actions = ("unfreeze",)

    @admin.action(
        description=_("Lift the freeze, after the cause is found and mended"), permissions=["unfreeze"]
    )
    def unfreeze(self, request: HttpRequest, wallets: QuerySet[Wallet]) -> None:
        for wallet in wallets.exclude(frozen_at=None):
            freezing.unfreeze(wallet_id=wallet.pk)
            self.log_change(request, wallet, f"unfrozen; it was frozen because: {wallet.frozen_because}")

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
