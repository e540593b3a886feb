"""The form of a new price, in Toman: one that is far from the last, or zero, has to be confirmed by a tick."""

import re
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _

from accounts.shared.fields import DIGITS_MAX, IGNORED, LTR
from accounts.shared.formats import number_text
from proxy.catalogue import offers, price_changes, price_rules
from proxy.catalogue.models import LanguageModel, PerMillion, Price
from proxy.catalogue.price_quote import PriceQuote
from proxy.catalogue.price_rules import Jump
from proxy.catalogue.served import quote
from wallet.money import RIAL_PER_TOMAN, micro_from_rial, micro_from_toman
from wallet.wording import toman

COMPONENTS = {
    "input_rial_per_million": _("input"),
    "output_rial_per_million": _("output"),
    "cached_input_rial_per_million": _("cached input"),
}
COLUMNS = {
    "input_toman": "input_rial_per_million",
    "output_toman": "output_rial_per_million",
    "cached_input_toman": "cached_input_rial_per_million",
}
INPUT, OUTPUT = _("input, Toman per million tokens"), _("output, Toman per million tokens")
CACHED_INPUT = _("cached input, Toman per million tokens")
AMOUNT = re.compile(rf"(?P<toman>\d{{1,{DIGITS_MAX}}})(?:[.٫/](?P<tenth>\d))?")
DECIMAL_COMMA = re.compile(r"[,٬،]\s*\d{1,2}\s*$")  # without its comma it would be ten times as much


class TomanPriceField(forms.CharField):
    """An amount in Toman, with one decimal digit at most, as an int of Rial; the digits of any keyboard."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.TextInput(attrs={"inputmode": "decimal", **LTR})
        super().__init__(max_length=40, widget=widget, **kwargs)

    def clean(self, value: Any) -> int | None:
        given = super().clean(value)
        if not given:
            return None  # a field that may be empty
        match = AMOUNT.fullmatch(IGNORED.sub("", given))
        if match is None or DECIMAL_COMMA.search(given):
            raise ValidationError(
                _("Enter the price in Toman, with at most one decimal digit, for example 30,000 or 12.5.")
            )
        return int(match["toman"]) * RIAL_PER_TOMAN + int(match["tenth"] or 0)


class PriceForm(forms.ModelForm):  # type: ignore[type-arg]
    """`waits`: a second admin has to approve the price, so it is not to be stored."""

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
        if self.instance.pk or not data.keys() >= COLUMNS.keys():
            return data  # stored already, or wrong in a way that its field says
        for name, column in COLUMNS.items():
            setattr(self.instance, column, data[name])
        try:
            # Django itself asks no rule about columns that the form has no field for.
            self.instance.validate_constraints(exclude={"model", "valid_from"})
        except ValidationError as error:
            self.add_error(None, error)
            return data
        price = quote(self.instance)
        if jumps := price_rules.jumps(self._last(data), price):
            self._ask("confirm_jump", jump_text(jumps))
        if free := price_rules.free(price):
            self._ask("confirm_free", free_text(free))
        self.waits = price_changes.needs_second(price)
        if self.waits and price_changes.is_waiting(self._model_id(data)):
            self.add_error(None, _("A price of this model is already waiting for a second admin."))
        return data

    def save(self, commit: bool = True) -> Price:
        price: Price = super().save(commit and not self.waits)
        return price

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


def jump_text(jumps: list[Jump]) -> str:
    changes = gettext("; ").join(
        gettext("%(component)s was %(before)s and would be %(after)s")
        % {
            "component": COMPONENTS[jump.component],
            "before": _both_units(jump.before),
            "after": _both_units(jump.after),
        }
        for jump in jumps
    )
    return gettext(
        "This is at least five times the last price, or a fifth of it or less, per million tokens: %(changes)s. "
        "Tick here if that is intended."
    ) % {"changes": changes}


def free_text(free: list[str]) -> str:
    names = gettext(", ").join(str(COMPONENTS[name]) for name in free)
    return gettext("Nothing would be charged for %(components)s. Tick here if that is intended.") % {
        "components": names
    }


def price_text(price: PriceQuote) -> str:
    """All of a price, per million tokens."""
    return gettext("; ").join(
        f"{name} {_both_units(getattr(price, component))}" for component, name in COMPONENTS.items()
    )


class ShownPrices:
    """For admins: the prices of a row, under the names of the form's fields."""

    @admin.display(description=INPUT, ordering="input_rial_per_million")
    def input_toman(self, row: PerMillion) -> str:
        return _both_units(row.input_rial_per_million)

    @admin.display(description=OUTPUT, ordering="output_rial_per_million")
    def output_toman(self, row: PerMillion) -> str:
        return _both_units(row.output_rial_per_million)

    @admin.display(description=CACHED_INPUT, ordering="cached_input_rial_per_million")
    def cached_input_toman(self, row: PerMillion) -> str:
        return _both_units(row.cached_input_rial_per_million)


def _both_units(rial: int | None) -> str:
    if rial is None:
        return "-"
    return gettext("%(toman)s (%(rial)s Rial)") % {
        "toman": toman(micro_from_rial(rial)),
        "rial": number_text(rial, language=get_language()),
    }
