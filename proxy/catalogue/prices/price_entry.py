"""Prices as people type them: amounts in Toman, and the `COMPONENT=TOMAN[@ABOVE_TOKENS]` of `add_model`."""

import re
from collections.abc import Callable, Iterable

from accounts.shared.digits import ascii_digits
from accounts.shared.fields import IGNORED
from proxy.catalogue.prices import price_shape
from proxy.catalogue.prices.dollar_basis import MICRO_PER_DOLLAR
from proxy.catalogue.prices.price_quote import ABOVE_TOKENS_MAX, ImagePrice, Place, PriceQuote, check_rial
from wallet.money import RIAL_PER_TOMAN

AMOUNT = re.compile(r"(?P<toman>\d{1,40})(?:[.٫/](?P<tenth>\d))?")
DECIMAL_COMMA = re.compile(r"[,٬،]\s*\d{1,2}\s*$")  # without its comma it would be ten times as much
DOLLARS = re.compile(r"(?P<whole>\d{1,40})(?:[.٫/](?P<millionths>\d{1,6}))?")


class BadAmount(ValueError):
    """No amount as it should be typed."""


def rial(text: str) -> int:
    """Raises BadAmount."""
    match = AMOUNT.fullmatch(IGNORED.sub("", text))
    if match is None or DECIMAL_COMMA.search(text):
        raise BadAmount(text)
    return int(match["toman"]) * RIAL_PER_TOMAN + int(match["tenth"] or 0)


def micro_dollars(text: str) -> int:
    """Of an amount in US dollars with at most six decimal digits. Raises BadAmount."""
    match = DOLLARS.fullmatch(IGNORED.sub("", text))
    if match is None or DECIMAL_COMMA.search(text):
        raise BadAmount(text)
    return int(match["whole"]) * MICRO_PER_DOLLAR + int((match["millionths"] or "").ljust(6, "0"))


def whole_rial(text: str) -> int:
    """Raises BadAmount."""
    digits = IGNORED.sub("", ascii_digits(text))
    if not re.fullmatch("[0-9]{1,40}", digits):
        raise BadAmount(text)
    return int(digits)


def price_list(
    texts: Iterable[str], *, flags: dict[str, int], amount_of: Callable[[str], int] = rial
) -> PriceQuote:
    """The list that several `--price` give together; `flags` are Rial of components that were given otherwise.

    An image's size and quality follow its component: `image:1024x1024:hd=4000`. The tiers of a component are given
    from the lowest to the highest. Raises ValueError with a sentence.
    """
    own, tiers, images = dict(flags), dict[int, dict[str, int]](), list[ImagePrice]()
    for text in texts:
        component, size, quality, amount, above = _parts(text, amount_of)
        if size or quality:
            images.append(ImagePrice(amount, size, quality))
        elif above:
            earlier = [lower for lower, prices in tiers.items() if component in prices]
            if earlier and above <= max(earlier):
                raise ValueError(
                    f"--price {text}: a tier must begin above the one before it, and {component} has one above "
                    f"{max(earlier):,} tokens already."
                )
            tiers.setdefault(above, {})[component] = amount
        elif component in own:
            raise ValueError(f"--price {text}: the price of {component} is given twice.")
        else:
            own[component] = amount
    return price_shape.of_components(own, tiers, images=tuple(images))


def _parts(text: str, amount_of: Callable[[str], int]) -> tuple[str, str, str, int, int]:
    """Component, size, quality, Rial, and the tokens above which it holds (0: from the first on)."""
    name, equals, priced = text.partition("=")
    amount_text, at, above_text = priced.partition("@")
    if not equals:
        raise ValueError(f"--price must be COMPONENT=TOMAN or COMPONENT=TOMAN@ABOVE_TOKENS, not {text!r}.")
    component, _colon, kind = name.strip().partition(":")
    size, _colon, quality = kind.partition(":")
    try:
        amount = amount_of(amount_text)
    except BadAmount:
        raise ValueError(
            f"--price {text}: the price must be an amount of Toman with at most one decimal digit, such as 30,000 or "
            f"12.5, not {amount_text!r}."
        ) from None
    check_rial(component, amount)
    if (size or quality) and component != "image":
        raise ValueError(f"--price {text}: only image has prices by size and quality.")
    above = 0
    if at:
        digits = IGNORED.sub("", ascii_digits(above_text))
        above = int(digits) if re.fullmatch("[0-9]{1,12}", digits) else 0
        if not 0 < above <= ABOVE_TOKENS_MAX:
            raise ValueError(
                f"--price {text}: a tier begins above 1 to {ABOVE_TOKENS_MAX:,} tokens, not {above_text!r}."
            )
        if size or quality:
            raise ValueError(f"--price {text}: an image of a size or quality has one price for all tiers.")
    return component, size, quality, amount, above


def lines(price: PriceQuote, *, in_dollars: bool) -> str:
    """A list in micro-dollars or Rial as it is typed, one price per line."""
    return "\n".join(
        f"{place.component}{_kind(place)}={dollars_text(amount) if in_dollars else amount}"
        + (f"@{place.above_tokens}" if place.above_tokens else "")
        for place, amount in price.prices.items()
    )


def dollars_text(micro: int) -> str:
    whole, millionths = divmod(micro, MICRO_PER_DOLLAR)
    return f"{whole}.{millionths:06}".rstrip("0").rstrip(".")


def _kind(place: Place) -> str:
    return f":{place.size}:{place.quality}".rstrip(":") if place.size or place.quality else ""
