"""The form of a new price: one that is far off the last, or nothing, has to be ticked as meant."""

from typing import Any

from django import forms
from django.contrib import admin
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _

from accounts.formats import figure_text, number_text
from proxy import offers, price_rules
from proxy.catalogue import quote
from proxy.models import LanguageModel, Price
from proxy.price_rules import Jump
from proxy.pricing import PriceQuote
from wallet.money import micro_from_rial, toman_text

COMPONENTS = {
    "input_rial_per_million": _("input"),
    "output_rial_per_million": _("output"),
    "cached_input_rial_per_million": _("cached input"),
}


class PriceForm(forms.ModelForm):  # type: ignore[type-arg]
    confirm_jump = forms.BooleanField(
        label=_("Yes, this price is meant"), required=False, widget=forms.HiddenInput
    )
    confirm_free = forms.BooleanField(
        label=_("Yes, this is to be free"), required=False, widget=forms.HiddenInput
    )

    class Meta:
        model = Price
        fields = (
            "model",
            "valid_from",
            "input_rial_per_million",
            "output_rial_per_million",
            "cached_input_rial_per_million",
        )

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        price = None if self.instance.pk else _quote(data)
        if price is None:
            return data  # stored already, or wrong in a way that its field says
        if jumps := price_rules.jumps(self._last(data), price):
            self._ask("confirm_jump", jump_text(jumps))
        if free := price_rules.free(price):
            self._ask("confirm_free", free_text(free))
        return data

    def _ask(self, tick: str, question: str) -> None:
        self.fields[tick].widget = forms.CheckboxInput()
        if not self.cleaned_data.get(tick):
            self.add_error(tick, question)

    def _last(self, data: dict[str, Any]) -> PriceQuote | None:
        """The price that this one comes after."""
        model = data.get("model")
        model_id = model.pk if isinstance(model, LanguageModel) else self.instance.model_id
        if model_id is None or not data.get("valid_from"):
            return None
        last = offers.current_price(model=LanguageModel(pk=model_id), now=data["valid_from"])
        last = last or Price.objects.filter(model_id=model_id).order_by("valid_from").first()
        return None if last is None else quote(last)


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
        "That is five times off the last price or more, per million tokens: %(changes)s. Tick here if it is meant."
    ) % {"changes": changes}


def free_text(free: list[str]) -> str:
    names = gettext(", ").join(str(COMPONENTS[name]) for name in free)
    return gettext("Nothing would be charged for %(components)s. Tick here if it is meant.") % {
        "components": names
    }


class TomanPrices:
    """For admins: the prices of a row in Toman, beside the Rial that are stored."""

    @admin.display(description=_("in Toman"))
    def in_toman(self, price: Price) -> str:
        if price.input_rial_per_million is None:
            return "-"  # the empty row of a form
        amounts = (price.input_rial_per_million, price.output_rial_per_million)
        return " / ".join(_toman(rial) for rial in amounts)


def _toman(rial: int) -> str:
    return figure_text(toman_text(micro_from_rial(rial)), language=get_language())


def _both_units(rial: int) -> str:
    return gettext("%(rial)s Rial (%(toman)s Toman)") % {
        "rial": number_text(rial, language=get_language()),
        "toman": _toman(rial),
    }


def _quote(data: dict[str, Any]) -> PriceQuote | None:
    if any(data.get(f"{name}_rial_per_million") is None for name in ("input", "output")):
        return None
    try:
        return PriceQuote(**{name: data.get(name) for name in COMPONENTS})  # type: ignore[arg-type]
    except ValueError:
        return None  # the model's constraints say it better
