"""The form of a whole price list: every component, tiers by the length of the prompt, images by size and quality."""

import re
from collections.abc import Callable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from accounts.shared.digits import ascii_digits
from accounts.shared.fields import IGNORED, LTR
from accounts.shared.formats import percent_figure
from proxy.catalogue import rates
from proxy.catalogue.price_form import FIELDS, PriceForm, TomanPriceField
from proxy.catalogue.prices import dollar_basis, price_entry, price_shape
from proxy.catalogue.prices.dollar_basis import MARKUP_MAX_BASIS_POINTS, DollarBasis
from proxy.catalogue.prices.price_quote import (
    ABOVE_TOKENS_MAX,
    COMPONENTS,
    IMAGES_MAX,
    PER_PIECE,
    TIERS_MAX,
    ImagePrice,
    PriceQuote,
)
from proxy.catalogue.prices.price_wording import NAMES
from wallet.money import RIAL_PER_TOMAN

SHOWN_TIERS = 2  # the others open when they are wanted
TIERS, IMAGES = range(1, TIERS_MAX + 1), range(1, IMAGES_MAX + 1)


def field_name(component: str, tier: int | None = None) -> str:
    return f"{component}_toman" if tier is None else f"tier{tier}_{component}_toman"


OWN = {component: field_name(component) for component in COMPONENTS}
BY_TIER = {tier: {component: field_name(component, tier) for component in COMPONENTS} for tier in TIERS}


class TokensField(forms.CharField):
    """A whole number of tokens, in the digits of any keyboard; empty is allowed."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.TextInput(attrs={"inputmode": "numeric", **LTR})
        super().__init__(max_length=40, required=False, widget=widget, **kwargs)

    def clean(self, value: Any) -> int | None:
        digits = IGNORED.sub("", ascii_digits(super().clean(value)))
        if not digits:
            return None
        if not re.fullmatch("[0-9]{1,12}", digits) or not 0 < int(digits) <= ABOVE_TOKENS_MAX:
            raise ValidationError(_("Enter a whole number of tokens, for example 200,000."))
        return int(digits)


def _fields() -> dict[str, forms.Field]:
    declared: dict[str, forms.Field] = {}
    for component in COMPONENTS:
        if component not in FIELDS:
            declared[OWN[component]] = TomanPriceField(label=NAMES[component], required=False)
    for tier, names in BY_TIER.items():
        declared[f"tier{tier}_above"] = TokensField(label=_("prompts above so many tokens"))
        for component, name in names.items():
            declared[name] = TomanPriceField(label=NAMES[component], required=False)
    for number in IMAGES:
        for part, label in (("size", _("size")), ("quality", _("quality"))):
            declared[f"image{number}_{part}"] = forms.CharField(
                label=label, required=False, max_length=40, widget=forms.TextInput(attrs=LTR)
            )
        declared[f"image{number}_toman"] = TomanPriceField(label=NAMES["image"], required=False)
    return declared


FurtherFields: Any = type("FurtherFields", (forms.Form,), _fields())


class PriceListForm(PriceForm, FurtherFields):  # type: ignore[misc]  # a class that was made of data
    """With `_preview` among what was sent, nothing is stored: `is_valid` is then False, without an error."""

    def is_valid(self) -> bool:
        return super().is_valid() and not self.is_preview

    @property
    def is_preview(self) -> bool:
        return "_preview" in self.data

    def read(self, data: dict[str, Any], *, last: PriceQuote | None) -> PriceQuote | None:
        every_field = {name: component for component, name in OWN.items()}
        for names in BY_TIER.values():
            every_field |= {name: component for component, name in names.items()}
        every_field |= {f"image{number}_toman": "image" for number in IMAGES}
        self.refuse_beyond(data, every_field)
        tiers, images = self._tiers(data), self._images(data)
        if self.errors:
            return None
        return price_shape.of_components(_given(data, OWN), tiers, images=images)

    def _tiers(self, data: dict[str, Any]) -> dict[int, dict[str, int]]:
        tiers: dict[int, dict[str, int]] = {}
        for tier, names in BY_TIER.items():
            field, prices = f"tier{tier}_above", _given(data, names)
            above = data.get(field)
            if above is None:
                if prices and field not in self.errors:
                    self.add_error(field, _("Above how many tokens do these prices hold?"))
            elif not prices:
                self.add_error(field, _("This tier has no price."))
            elif tiers and above <= max(tiers):
                self.add_error(field, _("A tier must begin above the one before it."))
            else:
                tiers[above] = prices
        return tiers

    def _images(self, data: dict[str, Any]) -> tuple[ImagePrice, ...]:
        images: dict[tuple[str, str], ImagePrice] = {}
        for number in IMAGES:
            kind = (data.get(f"image{number}_size") or "", data.get(f"image{number}_quality") or "")
            field = f"image{number}_toman"
            rial = data.get(field)
            if rial is None and any(kind) and field not in self.errors:
                self.add_error(field, _("Enter what such an image costs."))
            elif rial is not None and not any(kind):
                self.add_error(field, _("Enter the size or the quality that this price is for."))
            elif rial is not None and kind in images:
                self.add_error(field, _("Images of this size and quality have a price already."))
            elif rial is not None:
                images[kind] = ImagePrice(rial, *kind)
        return tuple(images.values())


class DollarPriceField(forms.CharField):
    """An amount in US dollars, with six decimal digits at most, as an int of micro-dollars."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            max_length=40, widget=forms.TextInput(attrs={"inputmode": "decimal", **LTR}), **kwargs
        )

    def clean(self, value: Any) -> int | None:
        given = super().clean(value)
        try:
            return price_entry.micro_dollars(given) if given else None
        except price_entry.BadAmount:
            raise ValidationError(
                _(
                    "Enter the price in US dollars, with at most six decimal digits, for example 2.5 or 0.000125."
                )
            ) from None


class MarkupField(forms.CharField):
    """Per cent with two decimal digits at most, as basis points."""

    def clean(self, value: Any) -> int:
        match = re.fullmatch(
            r"([0-9]{1,4})(?:\.([0-9]{1,2}))?", IGNORED.sub("", ascii_digits(super().clean(value)))
        )
        points = int(match[1]) * 100 + int((match[2] or "").ljust(2, "0")) if match else -1
        if not 0 <= points <= MARKUP_MAX_BASIS_POINTS:
            raise ValidationError(_("Enter per cent from 0 to 1,000, for example 10 or 7.5."))
        return points


class DollarListForm(PriceListForm):
    """A list in dollars; the rate of its moment makes it Rial, by which it is then judged like any other."""

    markup_percent = MarkupField(
        label=_("mark-up, per cent"), initial="0", max_length=10, widget=forms.TextInput(attrs=LTR)
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            if isinstance(field, TomanPriceField):
                component = name.removesuffix("_toman")
                self.fields[name] = DollarPriceField(
                    label=NAMES.get(component, field.label), required=field.required
                )

    def read(self, data: dict[str, Any], *, last: PriceQuote | None) -> PriceQuote | None:
        dollars, moment = super().read(data, last=last), data.get("valid_from")
        if dollars is None or moment is None or "markup_percent" not in data:
            return None
        rate = rates.rate_at(moment)
        if rate is None:
            self.add_error(None, _("No exchange rate holds at that moment. Add one first."))
            return None
        try:
            basis = DollarBasis(dollars, data["markup_percent"], rate.rial_per_dollar, rate.valid_from)
            price = basis.in_rial()
            for later in rates.at_later_rates(basis, moment):
                later.in_rial()
        except ValueError:
            self.add_error(None, _("This price is beyond what the system can charge."))
            return None
        self.instance.dollar_basis = dollar_basis.stored(basis)
        return price


def _given(data: dict[str, Any], names: dict[str, str]) -> dict[str, int]:
    return {component: data[name] for component, name in names.items() if data.get(name) is not None}


def toman_text(rial: int) -> str:
    toman, tenth = divmod(rial, RIAL_PER_TOMAN)
    return f"{toman:,}.{tenth}" if tenth else f"{toman:,}"


def initial_in_dollars(basis: DollarBasis) -> dict[str, str]:
    percent = percent_figure(basis.markup_basis_points)
    return {**initial(basis.dollars, text=price_entry.dollars_text), "markup_percent": percent}


def initial(price: PriceQuote, *, text: Callable[[int], str] = toman_text) -> dict[str, str]:
    """What the form shows of a list that is to be changed."""
    shown = {OWN[component]: text(amount) for component, amount in price.own.items()}
    for number, tier in enumerate(price.tiers, start=1):
        shown[f"tier{number}_above"] = f"{tier.above_tokens:,}"
        shown |= {BY_TIER[number][component]: text(amount) for component, amount in tier.rial.items()}
    for number, image in enumerate(price.images, start=1):
        shown[f"image{number}_size"], shown[f"image{number}_quality"] = image.size, image.quality
        shown[f"image{number}_toman"] = text(image.rial)
    return shown


def fieldsets(*, in_dollars: bool) -> list[tuple[Any, dict[str, Any]]]:
    """The form as the admin lays it out."""
    per_million = [name for name in COMPONENTS if name not in PER_PIECE]
    each = [name for name in COMPONENTS if name in PER_PIECE]

    def rows(tier: int | None = None) -> list[tuple[str, ...]]:
        prompt, completion = per_million[:6], per_million[6:]
        lines = (prompt[:3], prompt[3:], completion, each)
        return [tuple(field_name(component, tier) for component in line) for line in lines]

    first = ["model", "valid_from", "confirm_jump", "confirm_free"]
    if in_dollars:
        first.insert(2, "markup_percent")
    hint = _("An empty field: the price of the tier below applies.")
    kinds = [tuple(f"image{number}_{part}" for part in ("size", "quality", "toman")) for number in IMAGES]
    return [
        (None, {"fields": first}),
        (
            _("US dollars per million") if in_dollars else _("Toman per million"),
            {
                "description": _(
                    "Without a price of its own, a part costs what the whole does: cached input, cache writes, audio "
                    "and image input cost what input costs; reasoning, audio and image output what output costs."
                ),
                "fields": rows()[:3],
            },
        ),
        (_("US dollars for one") if in_dollars else _("Toman for one"), {"fields": rows()[3:]}),
        *(
            (
                _("Long prompts %(number)s") % {"number": tier},
                {
                    "classes": ["collapse"] if tier > SHOWN_TIERS else [],
                    "description": hint,
                    "fields": [f"tier{tier}_above", *rows(tier)],
                },
            )
            for tier in TIERS
        ),
        (_("Images by size and quality"), {"classes": ["collapse"], "fields": kinds}),
    ]
