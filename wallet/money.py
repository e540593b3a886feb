"""Money as whole micro-Rial (10⁻⁶ IRR). Pure: no Django, no floats.

1 Toman = 10 Rial = 10,000,000 micro-Rial. A price in Rial per 1,000,000 tokens is the same number in micro-Rial
per token, so a cost is an exact sum of products.
"""

MICRO_PER_RIAL = 1_000_000
RIAL_PER_TOMAN = 10
MICRO_PER_TOMAN = MICRO_PER_RIAL * RIAL_PER_TOMAN
TOMAN_MAX = (
    10**11 - 1
)  # that people and programs can name: 10^18 micro-Rial, which the database's integers hold


def micro_from_toman(toman: int) -> int:
    return toman * MICRO_PER_TOMAN


def toman_from_micro(micro: int) -> int:
    """Whole Toman, cut."""
    return micro // MICRO_PER_TOMAN


def micro_from_rial(rial: int) -> int:
    return rial * MICRO_PER_RIAL


def rial_from_micro(micro: int) -> int:
    """An amount that is whole Rial, as gateways count."""
    rial, rest = divmod(micro, MICRO_PER_RIAL)
    assert rest == 0, "what is paid in is whole Rial"
    return rial


def toman_text(micro: int, *, digits: int = 2) -> str:
    """The amount in Toman for people, in ASCII digits: grouped, cut (never rounded up) to `digits` decimals.

    An amount too small for that keeps its first two digits that count, so that a cost is never shown as free.

    >>> toman_text(12_345_678_900_000), toman_text(-5_000_000), toman_text(42_100)
    ('1,234,567.89', '-0.5', '0.0042')
    """
    sign = "-" if micro < 0 else ""
    whole, rest = divmod(abs(micro), MICRO_PER_TOMAN)
    fraction = f"{rest:07d}"
    keep = digits
    if not whole and rest and not fraction[:digits].strip("0"):
        keep = len(fraction) - len(fraction.lstrip("0")) + 2
    fraction = fraction[:keep].rstrip("0")
    return f"{sign}{whole:,}" + (f".{fraction}" if fraction else "")


def toman_figure(micro: int) -> str:
    """The amount in Toman for programs: exact, not grouped.

    >>> toman_figure(12_345_678_900_000), toman_figure(-42_100), toman_figure(0)
    ('1234567.89', '-0.00421', '0')
    """
    whole, rest = divmod(abs(micro), MICRO_PER_TOMAN)
    fraction = f"{rest:07d}".rstrip("0")
    return ("-" if micro < 0 else "") + str(whole) + (f".{fraction}" if fraction else "")
