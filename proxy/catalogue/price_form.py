"""The form of a new price, in Toman: one that is far from the last, or zero, has to be confirmed by a tick."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.shared.fields import LTR
from proxy.catalogue import offers, price_changes
from proxy.catalogue.models import LanguageModel
from proxy.catalogue.prices import dollar_basis, price_entry, price_rules, price_shape
from proxy.catalogue.prices.models import Price, PriceColumns
from proxy.catalogue.prices.price_quote import PriceQuote, rial_max
from proxy.catalogue.prices.price_wording import basis_text, both_units, free_text, further_text, jump_text
from proxy.catalogue.served import quote
from wallet.money import micro_from_toman
from wallet.wording import toman

FIELDS = {"input": "input_toman", "output": "output_toman", "cached_input": "cached_input_toman"}
INPUT, OUTPUT = _("input, Toman per million tokens"), _("output, Toman per million tokens")
CACHED_INPUT = _("cached input, Toman per million tokens")


class TomanPriceField(forms.CharField):
    """An amount in Toman, with one decimal digit at most, as an int of Rial; the digits of any keyboard."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.TextInput(attrs={"inputmode": "decimal", **LTR})
        super().__init__(max_length=40, widget=widget, **kwargs)

    def clean(self, value: Any) -> int | None:
        given = super().clean(value)
        if not given:
            return None  # a field that may be empty
        try:
            return price_entry.rial(given)
        except price_entry.BadAmount:
            raise ValidationError(
                _("Enter the price in Toman, with at most one decimal digit, for example 30,000 or 12.5.")
            ) from None


class PriceForm(forms.ModelForm):  # type: ignore[type-arg]
    """A price list of the three usual components.

    `price` is what was entered; `waits`: a second admin has to approve it, so it is not to be stored.
    """

    input_toman = TomanPriceField(label=INPUT)
    output_toman = TomanPriceField(label=OUTPUT)
    cached_input_toman = TomanPriceField(
        label=CACHED_INPUT, required=False, help_text=_("Empty: cached input costs what input costs.")
    )
    confirm_jump = forms.BooleanField(
        label=_("Yes, this price is intended"), required=False, widget=forms.HiddenInput
    )
    confirm_free = forms.BooleanField(
        label=_("Yes, this is meant to be free"), required=False, widget=forms.HiddenInput
    )
    price: PriceQuote | None = None
    waits = False

    class Meta:
        model = Price
        fields = ("model", "valid_from")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        bounds = _("Below %(min)s, above %(max)s or free: a second admin decides.") % {
            "min": toman(micro_from_toman(settings.PRICE_MIN_TOMAN)),
            "max": toman(micro_from_toman(settings.PRICE_MAX_TOMAN)),
        }
        for name in ("input_toman", "output_toman"):
            if name in self.fields:
                self.fields[name].help_text = bounds

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if self.instance.pk or not data.keys() >= set(FIELDS.values()):
            return data  # stored already, or wrong in a way that its field says
        last = self._last(data)
        price = self.price = self.read(data, last=last)
        if price is None:
            return data
        for name, value in price_shape.columns(price).items():
            setattr(self.instance, name, value)
        if jumps := price_rules.jumps(last, price):
            self._ask("confirm_jump", jump_text(jumps))
        if free := price_rules.free(last, price):
            self._ask("confirm_free", free_text(free))
        self.waits = price_changes.needs_second(price)
        if self.waits and price_changes.is_waiting(self._model_id(data)):
            self.add_error(None, _("A price of this model is already waiting for a second admin."))
        return data

    def save(self, commit: bool = True) -> Price:
        price: Price = super().save(commit and not self.waits)
        return price

    def read(self, data: dict[str, Any], *, last: PriceQuote | None) -> PriceQuote | None:
        """The list that was entered; None where a field or the form has an error now."""
        if last is not None and not last.is_plain:
            self.add_error(
                None, _("This model has more prices than these. Change the whole list, on its own page.")
            )
            return None
        self.refuse_beyond(data, {name: component for component, name in FIELDS.items()})
        if self.errors:
            return None
        return PriceQuote(*(data[name] for name in FIELDS.values()))

    def refuse_beyond(self, data: dict[str, Any], fields: dict[str, str]) -> None:
        """Errors on the fields whose component cannot have such a price."""
        for name, component in fields.items():
            if (rial := data.get(name)) is not None and rial > rial_max(component):
                self.add_error(name, _("This price is beyond what the system can charge."))

    def _ask(self, tick: str, question: str) -> None:
        self.fields[tick].widget = forms.CheckboxInput()
        if not self.cleaned_data.get(tick):
            self.add_error(tick, question)

    def _last(self, data: dict[str, Any]) -> PriceQuote | None:
        """The price that this one comes after."""
        model_id = self._model_id(data)
        if model_id is None or not data.get("valid_from"):
            return None
        last = offers.current_price(model=LanguageModel(pk=model_id), now=data["valid_from"])
        last = last or Price.objects.filter(model_id=model_id).order_by("valid_from").first()
        return None if last is None else quote(last)

    def _model_id(self, data: dict[str, Any]) -> int | None:
        model = data.get("model")
        return model.pk if isinstance(model, LanguageModel) else self.instance.model_id


class PriceFormSet(forms.BaseInlineFormSet):  # type: ignore[type-arg]
    def clean(self) -> None:
        super().clean()
        if len(self.waiting()) > 1:
            raise ValidationError(_("Only one price of a model can wait for a second admin at a time."))

    def save_new_objects(self, commit: bool = True) -> list[Price]:
        super().save_new_objects(commit)
        self.new_objects: list[Price] = [price for price in self.new_objects if price.pk]
        return self.new_objects

    def waiting(self) -> list[Price]:
        """What a second admin has to approve; not stored."""
        return [form.instance for form in self.forms if isinstance(form, PriceForm) and form.waits]


class ShownPrices:
    """For admins: the prices of a row, under the names of the form's fields."""

    @admin.display(description=INPUT, ordering="input_rial_per_million")
    def input_toman(self, row: PriceColumns) -> str:
        return both_units(row.input_rial_per_million)

    @admin.display(description=OUTPUT, ordering="output_rial_per_million")
    def output_toman(self, row: PriceColumns) -> str:
        return both_units(row.output_rial_per_million)

    @admin.display(description=CACHED_INPUT, ordering="cached_input_rial_per_million")
    def cached_input_toman(self, row: PriceColumns) -> str:
        cached = row.cached_input_rial_per_million
        return "-" if cached is None else both_units(cached)

    @admin.display(description=_("further prices"))
    def further_prices(self, row: PriceColumns) -> str:
        is_new = row.input_rial_per_million is None  # a row that is being entered
        return "-" if is_new else further_text(quote(row)) or "-"

    @admin.display(description=_("dollar basis"))
    def in_dollars(self, row: PriceColumns) -> str:
        basis = dollar_basis.read(row.dollar_basis)
        return "-" if basis is None else basis_text(basis)
