"""What people read of price lists: the names of components and tiers, and prices in both units."""

from collections.abc import Iterable

from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _

from accounts.shared.formats import figure_text, number_text, percent_text
from proxy.catalogue.prices.dollar_basis import DollarBasis
from proxy.catalogue.prices.price_entry import dollars_text
from proxy.catalogue.prices.price_quote import PER_PIECE, PLAIN, Place, PriceQuote
from proxy.catalogue.prices.price_rules import Jump
from wallet.money import micro_from_rial
from wallet.wording import toman

NAMES = {
    "input": _("input"),
    "output": _("output"),
    "cached_input": _("cached input"),
    "cache_write_5m": _("cache write, 5 minutes"),
    "cache_write_1h": _("cache write, 1 hour"),
    "reasoning": _("reasoning"),
    "input_audio": _("audio input"),
    "output_audio": _("audio output"),
    "input_image": _("image input"),
    "output_image": _("image output"),
    "character": _("characters"),
    "image": _("image"),
    "audio_second": _("second of audio"),
    "page": _("page"),
    "request": _("request"),
}


def place_text(place: Place) -> str:
    name = image_text(place) if place.size or place.quality else str(NAMES[place.component])
    if place.above_tokens:
        above = number_text(place.above_tokens, language=get_language())
        name = gettext("%(component)s above %(tokens)s tokens") % {"component": name, "tokens": above}
    return name


def image_text(place: Place) -> str:
    """An image of a size or quality."""
    kind = " ".join(part for part in (place.size, place.quality) if part)
    return gettext("%(component)s (%(kind)s)") % {"component": NAMES[place.component], "kind": kind}


def component_text(component: str) -> str:
    """A component by itself, as one line of a table of prices per million."""
    name = str(NAMES[component])
    return gettext("%(component)s, each") % {"component": name} if component in PER_PIECE else name


def both_units(rial: int) -> str:
    return gettext("%(toman)s (%(rial)s Rial)") % {
        "toman": toman(micro_from_rial(rial)),
        "rial": number_text(rial, language=get_language()),
    }


def price_text(price: PriceQuote) -> str:
    """All of a price list."""
    first = (Place("input"), Place("output"), Place("cached_input"))
    return _listed({place: price.at(place) for place in first} | price.prices)


def further_text(price: PriceQuote) -> str:
    """What a list has beyond input, output and cached input."""
    return _listed(
        {
            place: rial
            for place, rial in price.prices.items()
            if place.above_tokens or place.component not in PLAIN
        }
    )


def basis_text(basis: DollarBasis) -> str:
    """What a list in dollars was made of."""
    language = get_language()
    first, second = (
        figure_text(dollars_text(micro), language=language)
        for micro in (basis.dollars.input_rial_per_million, basis.dollars.output_rial_per_million)
    )
    return gettext("input %(input)s and output %(output)s US dollars, plus %(markup)s, at %(rate)s Rial") % {
        "input": first,
        "output": second,
        "markup": percent_text(basis.markup_basis_points, language=language),
        "rate": number_text(basis.rial_per_dollar, language=language),
    }


def jump_text(jumps: list[Jump]) -> str:
    changes = gettext("; ").join(
        gettext("%(component)s was %(before)s and would be %(after)s")
        % {
            "component": place_text(jump.place),
            "before": both_units(jump.before),
            "after": both_units(jump.after),
        }
        for jump in jumps
    )
    return gettext(
        "This is at least five times the last price, or a fifth of it or less: %(changes)s. "
        "Tick here if that is intended."
    ) % {"changes": changes}


def free_text(free: Iterable[Place]) -> str:
    names = gettext(", ").join(place_text(place) for place in free)
    return gettext("Nothing would be charged for %(components)s. Tick here if that is intended.") % {
        "components": names
    }


def _listed(prices: dict[Place, int]) -> str:
    return gettext("; ").join(f"{place_text(place)} {both_units(rial)}" for place, rial in prices.items())
