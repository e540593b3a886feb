"""What a person fills in about keys and projects alike: a name, and a cap with its period."""

import uuid
from typing import Any

from django import forms
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from accounts.shared import formats
from accounts.shared.fields import TomanField
from keys import rules
from wallet.ledger.budgets import BudgetReport
from wallet.ledger.periods import Period
from wallet.money import micro_from_toman, toman_from_micro

PERIODS = [
    (Period.FOREVER.value, _("for all time")),
    (Period.DAY.value, _("for each day")),
    (Period.WEEK.value, _("for each week")),
    (Period.MONTH.value, _("for each month")),
]


class CappedForm(forms.Form):
    """`name` and `cap` are those it has now."""

    name = forms.CharField(
        label=_("Name"),
        max_length=rules.NAME_MAX_LENGTH,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    cap = TomanField(label=_("Spending cap in Toman"), required=False)
    cap_period = forms.ChoiceField(
        label=_("The cap is"),
        required=False,
        choices=PERIODS,
        help_text=_(
            "Days, weeks (from Saturday) and Jalali months begin at midnight in Tehran. With another choice, "
            "the cap is counted anew from that moment."
        ),
    )
    # Differs each time the form is shown, so that the same form sent twice is recognised.
    token = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)
    name_help: Any  # lazy texts, which each subclass has
    cap_help: Any

    def __init__(
        self,
        data: Any = None,
        *,
        name: str = "",
        cap: BudgetReport | None = None,
        initial: dict[str, Any] | None = None,
    ) -> None:
        of_cap = {
            "cap": figure(None if cap is None else toman_from_micro(cap.limit_micro)),
            "cap_period": (Period.FOREVER if cap is None else cap.period).value,
        }
        super().__init__(data, initial={"name": name, **of_cap, **(initial or {})})
        self.fields["name"].help_text = self.name_help
        self.fields["cap"].help_text = self.cap_help

    def clean_name(self) -> str:
        try:
            return rules.clean_name(self.cleaned_data["name"])
        except ValueError:
            raise forms.ValidationError(_("A name is one line of text.")) from None

    def clean_cap(self) -> int | None:
        cap: int | None = self.cleaned_data["cap"]
        if cap == 0:
            raise forms.ValidationError(_("A cap is at least 1 Toman. Leave it empty for no cap."))
        return cap

    def cap_micro(self) -> int | None:
        cap = self.cleaned_data["cap"]
        return None if cap is None else micro_from_toman(cap)

    def wanted_period(self) -> Period:
        return Period(self.cleaned_data["cap_period"] or self.initial["cap_period"])


def figure(number: int | None) -> str | None:
    return None if number is None else formats.number_text(number, language=get_language())
