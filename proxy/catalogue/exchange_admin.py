"""Exchange rates in the admin: what a new one changes is shown before it is published."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _

from accounts.shared.fields import LTR
from accounts.shared.formats import number_text
from proxy.catalogue import exchange, rates
from proxy.catalogue.price_admin import AddOnly
from proxy.catalogue.prices import price_entry, price_rules
from proxy.catalogue.prices.dollar_basis import RIAL_PER_DOLLAR_MAX
from proxy.catalogue.prices.models import ExchangeRate


class RateField(forms.CharField):
    """Whole Rial, at least one, in the digits of any keyboard."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            max_length=40, widget=forms.TextInput(attrs={"inputmode": "numeric", **LTR}), **kwargs
        )

    def clean(self, value: Any) -> int:
        try:
            rial = price_entry.whole_rial(super().clean(value))
        except price_entry.BadAmount:
            rial = 0
        if not 0 < rial <= RIAL_PER_DOLLAR_MAX:
            raise ValidationError(_("Enter whole Rial per dollar, at least 1, for example 1,200,000."))
        return rial


class ExchangeRateForm(forms.ModelForm):  # type: ignore[type-arg]
    """Valid once `seen` names the rate and the moment whose changes were shown; until then it has no error either."""

    rial_per_dollar = RateField(label=_("Rial per US dollar"))
    confirm_jump = forms.BooleanField(
        label=_("Yes, this rate is intended"), required=False, widget=forms.HiddenInput
    )
    seen = forms.CharField(required=False, widget=forms.HiddenInput)
    changes: "list[exchange.Change] | None" = None

    class Meta:
        model = ExchangeRate
        fields = ("rial_per_dollar", "valid_from")

    def is_valid(self) -> bool:
        return super().is_valid() and self.changes is None

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        rate, moment = data.get("rial_per_dollar"), data.get("valid_from")
        if rate is None or moment is None:
            return data
        last = rates.rate_at(max(moment, timezone.now()))
        if last is not None and price_rules.is_jump(last.rial_per_dollar, rate):
            self._ask_of_jump(last)
        try:
            changes = exchange.changes(rial_per_dollar=rate, valid_from=max(moment, timezone.now()))
        except exchange.NotTheNewest:
            self.add_error("valid_from", _("A rate that begins at this moment or later exists already."))
            return data
        except exchange.BeyondBounds as error:
            said = gettext(
                "At this rate, these models would need a second admin or could not be charged: %(models)s."
            )
            self.add_error(None, said % {"models": gettext(", ").join(error.models)})
            return data
        shown = f"{rate} {moment.isoformat()}"
        if not self.errors and data.get("seen") != shown:
            self.changes = changes
            self.data = {**self.data.dict(), "seen": shown}  # type: ignore[attr-defined]  # a QueryDict
        return data

    def _ask_of_jump(self, last: ExchangeRate) -> None:
        self.fields["confirm_jump"].widget = forms.CheckboxInput()
        if not self.cleaned_data.get("confirm_jump"):
            said = gettext(
                "The previous rate is %(rate)s Rial; this one is at least five times higher or lower. Tick here if "
                "that is intended."
            )
            before = number_text(last.rial_per_dollar, language=get_language())
            self.add_error("confirm_jump", said % {"rate": before})


@admin.register(ExchangeRate)
class ExchangeRateAdmin(AddOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    form = ExchangeRateForm
    list_display = ("valid_from", "rate", "created_at")

    def get_fieldsets(self, request: HttpRequest, obj: ExchangeRate | None = None) -> Any:
        fields = ("rial_per_dollar", "valid_from")
        return [(None, {"fields": (*fields, "confirm_jump", "seen") if obj is None else fields})]

    @admin.display(description=_("Rial per US dollar"), ordering="rial_per_dollar")
    def rate(self, row: ExchangeRate) -> str:
        return number_text(row.rial_per_dollar, language=get_language())

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        form = context["adminform"].form
        if isinstance(form, ExchangeRateForm) and not form.errors:
            context["changes"] = form.changes
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: ExchangeRate, form: Any, change: bool) -> None:
        published = exchange.publish(rial_per_dollar=obj.rial_per_dollar, valid_from=obj.valid_from)
        obj.pk, obj.valid_from = published.pk, published.valid_from
