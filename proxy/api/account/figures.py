"""How amounts and moments are written in JSON. Pure."""

from datetime import UTC, datetime

import orjson

from wallet.money import toman_figure


def toman(micro: int) -> orjson.Fragment:
    """A JSON number with all of its digits, at most seven behind the point: never by way of a float."""
    return orjson.Fragment(toman_figure(micro).encode())


def toman_or_none(micro: int | None) -> orjson.Fragment | None:
    return None if micro is None else toman(micro)


def moment(at: datetime) -> str:
    """In UTC, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
