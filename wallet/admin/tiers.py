"""Tiers in the admin, with what they give in Toman. A sign-up credit above the limit waits for a second admin."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import default_tier
from accounts.approval_admin import AskAndDecideAdmin, admin_id
from accounts.models import Tier
from accounts.shared.fields import TomanField
from wallet.admin.read_only import ReadOnlyAdmin, toman
from wallet.credits import sign_up_credit
from wallet.credits.models import SignUpCreditChange, SignUpCreditDay
from wallet.money import micro_from_toman, toman_from_micro


class TierForm(forms.ModelForm):  # type: ignore[type-arg]
    sign_up_credit = TomanField(label=_("Sign-up credit in Toman"), required=False)
    min_lifetime_topup = TomanField(
        label=_("Given from this lifetime top-up on, in Toman"),
        required=False,
        help_text=_("Empty: given by an admin only, and never taken away by the system."),
    )
    # Not the model's own field: choosing this tier takes the tick from another, which the database has to see first.
    is_default = forms.BooleanField(label=_("Tier for new accounts"), required=False)

    class Meta:
        model = Tier
        # Every other column is an admin's to set.
        exclude = ("sign_up_credit_micro", "min_lifetime_topup_micro", "is_default")  # noqa: DJ006

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        tier, limit = self.instance, micro_from_toman(settings.SIGN_UP_CREDIT_MAX_TOMAN)
        self.fields["sign_up_credit"].help_text = _("Above %(limit)s a second admin decides.") % {
            "limit": toman(limit)
        }
        self.initial["sign_up_credit"] = toman_from_micro(tier.sign_up_credit_micro)
        if tier.min_lifetime_topup_micro is not None:
            self.initial["min_lifetime_topup"] = toman_from_micro(tier.min_lifetime_topup_micro)
        self.initial["is_default"] = tier.is_default

    def clean_is_default(self) -> bool:
        chosen: bool = self.cleaned_data["is_default"]
        if self.instance.is_default and not chosen:
            raise ValidationError(
                _(
                    "There is always one tier for new accounts. Tick another one instead, and this one loses its tick."
                )
            )
        return chosen

    def clean_sign_up_credit(self) -> int:
        amount: int = self.cleaned_data["sign_up_credit"] or 0
        if self._needs_second(amount) and sign_up_credit.is_waiting(self.instance):
            raise ValidationError(_("A change of this tier's sign-up credit is already waiting."))
        return amount

    def clean_min_lifetime_topup(self) -> int | None:
        amount: int | None = self.cleaned_data["min_lifetime_topup"]
        others = Tier.objects.exclude(pk=self.instance.pk)
        if amount is not None and others.filter(min_lifetime_topup_micro=micro_from_toman(amount)).exists():
            raise ValidationError(_("Another tier is given from this amount on."))
        return amount

    def clean(self) -> dict[str, Any]:
        """What one admin may set is set; `waiting_micro` is what another has to approve."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        self.waiting_micro: int | None = None
        # Amounts that were stored finer than a Toman stay as they are where nobody changed them.
        if "sign_up_credit" in data and data["sign_up_credit"] != self.initial["sign_up_credit"]:
            amount_micro = micro_from_toman(data["sign_up_credit"])
            if self._needs_second(data["sign_up_credit"]):
                self.waiting_micro = amount_micro
            else:
                self.instance.sign_up_credit_micro = amount_micro
        if "min_lifetime_topup" in data and data["min_lifetime_topup"] != self.initial.get(
            "min_lifetime_topup"
        ):
            topup = data["min_lifetime_topup"]
            self.instance.min_lifetime_topup_micro = None if topup is None else micro_from_toman(topup)
        return data

    def _needs_second(self, amount: int) -> bool:
        return sign_up_credit.needs_second(tier=self.instance, amount_micro=micro_from_toman(amount))


@admin.register(Tier)
class TierAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = TierForm
    list_display = (
        "name",
        "rpm",
        "tpm",
        "concurrency",
        "account_factor",
        "credit",
        "from_topup",
        "is_default",
    )

    def has_delete_permission(self, request: HttpRequest, obj: Tier | None = None) -> bool:
        # One that users still have is protected by the database; the default one is needed by the next sign-in.
        return super().has_delete_permission(request, obj) and not (obj and obj.is_default)

    def save_model(self, request: HttpRequest, obj: Tier, form: TierForm, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if form.cleaned_data["is_default"] and not obj.is_default:
            default_tier.choose(tier_id=obj.pk)
        if form.waiting_micro is not None:
            sign_up_credit.request(tier=obj, amount_micro=form.waiting_micro, admin_id=admin_id(request))
            said = gettext("The sign-up credit of %(amount)s waits for the approval of a second admin.")
            self.message_user(request, said % {"amount": toman(form.waiting_micro)}, messages.WARNING)

    @admin.display(description=_("sign-up credit"))
    def credit(self, tier: Tier) -> str:
        return toman(tier.sign_up_credit_micro)

    @admin.display(description=_("given from a lifetime top-up of"))
    def from_topup(self, tier: Tier) -> str:
        return toman(tier.min_lifetime_topup_micro)


@admin.register(SignUpCreditChange)
class SignUpCreditChangeAdmin(AskAndDecideAdmin):
    """Asked for on a tier's page."""

    approve_permission = "wallet.approve_adjustment"
    list_display = seen = (
        "created_at",
        "tier",
        "present",
        "amount",
        "state",
        "requested_by",
        "approved_by",
        "decided_at",
    )
    list_filter = ("state",)
    list_select_related = ("tier", "requested_by", "approved_by")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def approve_row(self, pk: int, *, admin_id: int) -> None:
        sign_up_credit.approve(change_id=pk, admin_id=admin_id)

    def reject_row(self, pk: int) -> None:
        sign_up_credit.reject(change_id=pk)

    @admin.display(description=_("gives now"))
    def present(self, change: SignUpCreditChange) -> str:
        return toman(change.tier.sign_up_credit_micro)

    @admin.display(description=_("amount"))
    def amount(self, change: SignUpCreditChange) -> str:
        return toman(change.amount_micro)


@admin.register(SignUpCreditDay)
class SignUpCreditDayAdmin(ReadOnlyAdmin):
    list_display = ("day", "given", "refused")
    fields = readonly_fields = list_display

    @admin.display(description=_("given"))
    def given(self, day: SignUpCreditDay) -> str:
        return toman(day.given_micro)
