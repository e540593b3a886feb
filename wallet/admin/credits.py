"""The admin's side of money without a payment: adjustments, with a second admin above a limit, and promo codes."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts import approvals, phone
from accounts.approval_admin import AskAndDecideAdmin, admin_id, may_touch, refusal, staff_only
from accounts.models import User
from accounts.shared.fields import LTR, TomanField
from wallet.admin.read_only import ReadOnlyAdmin, toman
from wallet.credits import adjustments, promos
from wallet.credits.models import Adjustment, PromoCode, PromoRedemption
from wallet.ledger import writer
from wallet.ledger.models import Wallet
from wallet.money import micro_from_toman


class AdjustmentForm(forms.ModelForm):  # type: ignore[type-arg]
    request: HttpRequest  # set by AskAndDecideAdmin
    mobile = forms.CharField(
        label=_("Mobile number"),
        max_length=phone.MAX_TYPED_LENGTH,
        widget=forms.TextInput(attrs={"inputmode": "tel", **LTR}),
    )
    amount = TomanField(
        label=_("Amount in Toman"),
        signed=True,
        help_text=_(
            "An amount below zero takes money from the wallet. A refund is always below zero, a gift never."
        ),
    )

    class Meta:
        model = Adjustment
        fields = ("mobile", "kind", "amount", "reason")

    def clean_mobile(self) -> str:
        """Also finds the wallet."""
        try:
            mobile = phone.normalise(self.cleaned_data["mobile"])
        except phone.InvalidMobile:
            raise forms.ValidationError(
                _("This is not an Iranian mobile number. Enter it like 09121234567.")
            ) from None
        wallet = Wallet.objects.select_related("user").filter(user__mobile=mobile).first()
        if wallet is None:
            raise forms.ValidationError(_("No wallet belongs to this number."))
        if not may_touch(self.request, wallet.user):
            raise forms.ValidationError(staff_only())
        self.instance.wallet = wallet
        return mobile

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        toman_amount, kind = data.get("amount"), data.get("kind")
        if toman_amount is None or "mobile" not in data:
            return data
        self.instance.amount_micro = amount_micro = micro_from_toman(toman_amount)
        if (
            not amount_micro
            or (kind == Adjustment.Kind.REFUND and amount_micro > 0)
            or (kind == Adjustment.Kind.GIFT and amount_micro < 0)
        ):
            self.add_error(
                "amount", _("A refund is below zero, a gift above it, and no amount is exactly zero.")
            )
        elif self.instance.wallet.available_micro + amount_micro < 0:
            self.add_error("amount", not_covered(self.instance.wallet))
        return data


def not_covered(wallet: Wallet) -> str:
    return gettext("Only %(amount)s is available in this wallet.") % {"amount": toman(wallet.available_micro)}


def frozen() -> str:
    return gettext("This wallet is frozen; nothing was booked.")


@admin.register(Adjustment)
class AdjustmentAdmin(AskAndDecideAdmin, ReadOnlyAdmin):
    """Asked for here and never edited; approved or rejected by the actions of the list."""

    list_display = ("created_at", "owner", "kind", "amount", "reason", "state", "requested_by", "approved_by")
    list_filter = ("state", "kind")
    list_select_related = ("wallet__user", "requested_by", "approved_by")
    search_fields = ("wallet__user__mobile", "=id")
    approve_permission = "wallet.approve_adjustment"
    ask_form = AdjustmentForm
    ask_fields = AdjustmentForm.Meta.fields
    seen = (
        "id",
        "owner",
        "kind",
        "amount",
        "reason",
        "state",
        "needs_approval",
        "requested_by",
        "approved_by",
        "created_at",
        "decided_at",
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("wallet.add_adjustment")

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except writer.NotCovered:  # spent since the form looked
            self.message_user(
                request,
                gettext("The wallet does not cover this any more; nothing was booked."),
                messages.ERROR,
            )
            return redirect(request.path)
        except writer.WalletFrozen:
            self.message_user(request, frozen(), messages.ERROR)
            return redirect(request.path)

    def save_model(self, request: HttpRequest, obj: Adjustment, form: Any, change: bool) -> None:
        obj.requested_by_id = admin_id(request)
        adjustments.request(adjustment=obj)
        if obj.state == Adjustment.State.PENDING:
            self.message_user(
                request, gettext("This amount waits for the approval of a second admin."), messages.WARNING
            )

    def approve_row(self, pk: UUID, *, admin_id: int) -> None:
        adjustments.approve(adjustment_id=pk, admin_id=admin_id)

    def reject_row(self, pk: UUID) -> None:
        adjustments.reject(adjustment_id=pk)

    def owner_of(self, row: Adjustment) -> User:
        return row.wallet.user

    def own_refusal(self, error: Exception, row: Adjustment) -> str | None:
        match error:
            case approvals.AlreadyDecided():
                return gettext("It has already been booked or rejected.")
            case writer.NotCovered():
                return not_covered(row.wallet)
            case writer.WalletFrozen():
                return frozen()
        return None

    def decided_text(self, count: int) -> str:
        text = ngettext("%(count)d adjustment was decided.", "%(count)d adjustments were decided.", count)
        return text % {"count": count}


class PromoCodeForm(forms.ModelForm):  # type: ignore[type-arg]
    amount = TomanField(label=_("Amount in Toman"))

    class Meta:
        model = PromoCode
        fields = ("code", "amount", "max_uses", "expires_at")

    def clean_code(self) -> str:
        return promos.normalised(self.cleaned_data["code"])

    def clean_amount(self) -> int:
        amount: int = self.cleaned_data["amount"]
        if not amount:
            raise forms.ValidationError(_("A code has to be worth something."))
        self.instance.amount_micro = micro_from_toman(amount)
        return amount


class PromoChangeForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = PromoCode
        fields = ("max_uses", "expires_at")

    def clean_max_uses(self) -> int | None:
        """Under the code's lock, which the admin site's transaction keeps, so that no use comes in between."""
        max_uses: int | None = self.cleaned_data["max_uses"]
        uses = PromoCode.objects.select_for_update(no_key=True).get(pk=self.instance.pk).uses
        if max_uses is not None and max_uses < uses:
            raise forms.ValidationError(
                _("It has been used %(uses)s times already; it cannot be less.") % {"uses": uses}
            )
        return max_uses


@admin.register(PromoCode)
class PromoCodeAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Code and amount are given once; how often and how long it may be used can be changed."""

    list_display = (
        "code",
        "amount",
        "uses",
        "max_uses",
        "expires_at",
        "usable",
        "requested_by",
        "approved_by",
    )
    list_select_related = ("requested_by", "approved_by")
    search_fields = ("code",)
    actions = ("approve",)
    fixed = ("code", "amount", "uses", "usable", "requested_by", "approved_by")

    def get_form(
        self, request: HttpRequest, obj: PromoCode | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        kwargs["form"] = PromoChangeForm if obj else PromoCodeForm
        return super().get_form(request, obj, change=change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: PromoCode | None = None) -> Any:
        return (*self.fixed, *PromoChangeForm.Meta.fields) if obj else PromoCodeForm.Meta.fields

    def get_readonly_fields(self, request: HttpRequest, obj: PromoCode | None = None) -> Any:
        return self.fixed if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: PromoCode | None = None) -> bool:
        return False  # it is made to expire instead; what it gave refers to it

    def has_approve_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("wallet.approve_adjustment")

    def save_model(self, request: HttpRequest, obj: PromoCode, form: Any, change: bool) -> None:
        (promos.change if change else promos.make)(promo=obj, admin_id=admin_id(request))
        if obj.waits:
            self.message_user(
                request, gettext("This code waits for the approval of a second admin."), messages.WARNING
            )

    @admin.action(description=_("Approve"), permissions=["approve"])
    def approve(self, request: HttpRequest, queryset: QuerySet[PromoCode]) -> None:
        for promo in queryset:
            level = messages.ERROR
            try:
                promos.approve(promo_code_id=promo.pk, admin_id=admin_id(request))
            except approvals.AlreadyDecided:
                outcome: str | None = gettext("It needs no approval.")
            except (approvals.NeedsSecondAdmin, approvals.TooNew) as error:
                outcome = refusal(error)
            else:
                outcome, level = gettext("It can be used now."), messages.SUCCESS
            self.message_user(request, f"{promo}: {outcome}", level)

    @admin.display(description=_("approved"), boolean=True)
    def usable(self, promo: PromoCode) -> bool:
        return not promo.waits

    @admin.display(description=_("amount"))
    def amount(self, promo: PromoCode) -> str:
        return toman(promo.amount_micro)


@admin.register(PromoRedemption)
class PromoRedemptionAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "owner", "promo_code", "amount")
    list_select_related = ("wallet__user", "promo_code")
    search_fields = ("wallet__user__mobile", "promo_code__code", "=id")
    fields = readonly_fields = ("id", "owner", "promo_code", "amount", "created_at")
