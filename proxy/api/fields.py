"""Fields of a body that endpoints read alike: the model, flags, whole numbers."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from proxy.errors import APIError
from proxy.http.parsing import Fields, Payload

_read_flag = msgspec.json.Decoder(bool | None).decode
_read_options = msgspec.json.Decoder(Fields | None).decode
_read_number = msgspec.json.Decoder(int | float | None).decode
_read_text = msgspec.json.Decoder(str).decode


def model_of(payload: Payload) -> str:
    """The id of the model that a body names. Raises APIError model_required."""
    try:
        model = _read_text(payload.fields.get("model", b"null"))
    except msgspec.MsgspecError:
        model = ""
    if not model.strip():
        raise APIError("model_required", param="model")
    return model


def read(fields: Fields, name: str, decode: Callable[[msgspec.Raw], Any], wanted: str) -> Any:
    """A field's value, None where it is absent. Raises APIError invalid_value."""
    if (raw := fields.get(name)) is None:
        return None
    try:
        return decode(raw)
    except msgspec.MsgspecError:
        raise invalid(name, wanted) from None


def flag(fields: Fields, name: str) -> bool:
    return bool(read(fields, name, _read_flag, "a boolean"))


def options(fields: Fields, name: str) -> Fields:
    """An object's members, none where it is absent."""
    return read(fields, name, _read_options, "an object") or {}


def whole_number(fields: Fields, name: str, maximum: int, *, minimum: int = 1) -> int | None:
    wanted = f"a whole number from {minimum} to {maximum}"
    value = read(fields, name, _read_number, wanted)
    if value is None:
        return None
    if value != int(value) or not minimum <= value <= maximum:
        raise invalid(name, wanted)
    return int(value)


def number_in_query(query: Mapping[str, str], name: str, *, maximum: int, default: int) -> int:
    """A whole number from 1 on in the address. Raises APIError invalid_value."""
    text = query.get(name)
    if text is None:
        return default
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(maximum))
    if not (is_number and 1 <= int(text) <= maximum):
        raise invalid(name, f"a whole number from 1 to {maximum:,}")
    return int(text)


def invalid(name: str, wanted: str) -> APIError:
    return APIError("invalid_value", param=name, message=f'The "{name}" field must be {wanted}.')
