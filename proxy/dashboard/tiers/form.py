"""The form of a tier: money in Toman, and a rule that is saved only once an admin has seen who would move."""

from copy import copy
from functools import partial
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.models import Tier
from accounts.shared.fields import TomanField
from wallet import tiers
from wallet.admin.read_only import toman
from wallet.credits import sign_up_credit
from wallet.money import micro_from_toman, toman_from_micro

CONFIRMED = "confirmed_rule"


class TierForm(forms.ModelForm):  # type: ignore[type-arg]
    sign_up_credit = TomanField(label=_("Sign-up credit in Toman"), required=False)
    min_lifetime_topup = TomanField(
        label=_("Given from this lifetime top-up on, in Toman"),
        required=False,
        help_text=_("Empty: given by an admin only, and never taken away by the system."),
    )
    # Not the model's own field: choosing this tier takes the tick from another, which the database has to see first.
    is_default = forms.BooleanField(label=_("Tier for new accounts"), required=False)

    moves: list[tiers.Move] | None = None

    class Meta:
        model = Tier
        # Every other column is an admin's to set.
        exclude = ("sign_up_credit_micro", "min_lifetime_topup_micro", "is_default")  # noqa: DJ006

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rule_before = rule(self.instance)
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
        if {"min_lifetime_topup", "min_account_age_days"} <= data.keys() and self._others_rule(data):
            self.add_error("min_lifetime_topup", _("Another tier is given from this amount and this age on."))
        return data

    def _others_rule(self, data: dict[str, Any]) -> bool:
        topup_micro = self.instance.min_lifetime_topup_micro
        same = Tier.objects.filter(
            min_lifetime_topup_micro=topup_micro, min_account_age_days=data["min_account_age_days"]
        )
        return topup_micro is not None and same.exclude(pk=self.instance.pk).exists()

    def _post_clean(self) -> None:
        """A rule that changes is saved once an admin has seen who would move: `moves` are what they are shown."""
        super()._post_clean()  # type: ignore[misc]
        tier = self.instance
        self.has_new_rule = rule(tier) not in ("", self._rule_before)
        if not self.errors and self.has_new_rule and self.data.get(CONFIRMED) != rule(tier):
            self.moves = tiers.moves_after(partial(_write_rule, tier))
            self.add_error(None, _("Nothing has been saved yet. Look at who would move, then save again."))

    def _needs_second(self, amount: int) -> bool:
        return sign_up_credit.needs_second(tier=self.instance, amount_micro=micro_from_toman(amount))


def rule(tier: Tier) -> str:
    """The rule by which a tier is earned, for a form to name; empty: by none."""
    if tier.min_lifetime_topup_micro is None:
        return ""
    return f"{tier.min_lifetime_topup_micro}:{tier.min_account_age_days}"


def _write_rule(tier: Tier) -> None:
    """Of a tier that may be new. Past its `save`: what is only looked at leaves no trace, in the row or beside it."""
    if tier.pk is None:
        made = copy(tier)
        made.is_default = False
        Tier.objects.bulk_create([made])
    else:
        Tier.objects.filter(pk=tier.pk).update(
            min_lifetime_topup_micro=tier.min_lifetime_topup_micro,
            min_account_age_days=tier.min_account_age_days,
        )
