"""What a client says of a key: its fields, each read within the bounds that the key pages set too."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.utils import timezone

from keys import networks, rules
from keys.rules import COUNT_MAX, GRACE_MAX, GRACE_USUAL, LAST_EXPIRY, MODELS_MAX, NETWORKS_MAX
from proxy.api import fields
from proxy.errors import APIError
from proxy.http.parsing import Fields
from wallet.ledger.periods import Period
from wallet.money import TOMAN_MAX, micro_from_toman

SHOWN_MAX = 100
ID_END = 2**63

_read_text = msgspec.json.Decoder(str).decode
_read_text_or_null = msgspec.json.Decoder(str | None).decode
_read_texts = msgspec.json.Decoder(list[str]).decode
_read_number = msgspec.json.Decoder(int | float | None).decode
_read_moment = msgspec.json.Decoder(datetime | None).decode


def read(body: Fields, *, is_new: bool = False) -> dict[str, Any]:
    """The fields that a body names, by the names that keys have them under: `cap_micro` for `cap_toman`.

    A new key can be one of a project, and stays so. Raises APIError invalid_value, with the field as its param.
    """
    readers = {**READERS, "project_id": _project} if is_new else READERS
    check_names(body, readers)
    asked = {name: readers[name](body, name) for name in body}
    if "cap_toman" in asked:
        cap = asked.pop("cap_toman")
        asked["cap_micro"] = None if cap is None else micro_from_toman(cap)
    return asked


def grace(body: Fields) -> timedelta:
    """How long a key that is replaced still works. Raises APIError invalid_value."""
    check_names(body, {"grace_seconds"})
    most = int(GRACE_MAX.total_seconds())
    seconds = fields.whole_number(body, "grace_seconds", most, minimum=0)
    return GRACE_USUAL if seconds is None else timedelta(seconds=seconds)


def check_names(body: Fields, known: Mapping[str, Any] | set[str]) -> None:
    """Raises APIError invalid_value for a field that is not known: it would be lost without a word."""
    for name in body:
        if name not in known:
            shown = name[:SHOWN_MAX]
            message = f'There is no field "{shown}". The fields are {", ".join(sorted(known))}.'
            raise APIError("invalid_value", param=shown, message=message)


def check_models(chosen: tuple[str, ...], known: set[str]) -> None:
    """Raises APIError invalid_value."""
    for model_id in chosen:
        if model_id not in known:
            shown = model_id[:SHOWN_MAX]
            message = f'The "allowed_models" field names "{shown}", which is none of the models on sale.'
            raise APIError("invalid_value", param="allowed_models", message=message)


def _name(body: Fields, name: str) -> str:
    wanted = f"a text of 1 to {rules.NAME_MAX_LENGTH} characters in one line"
    text: str = fields.read(body, name, _read_text, wanted)
    try:
        return rules.clean_name(text)
    except ValueError:
        raise fields.invalid(name, wanted) from None


def _count(body: Fields, name: str) -> int | None:
    return _whole(body, name, COUNT_MAX)


def _cap(body: Fields, name: str) -> int | None:
    return _whole(body, name, TOMAN_MAX)


def _period(body: Fields, name: str) -> Period | None:
    wanted = f"one of {', '.join(Period)}, or null"
    text: str | None = fields.read(body, name, _read_text_or_null, wanted)
    try:
        return None if text is None else Period(text)
    except ValueError:
        raise fields.invalid(name, wanted) from None


def _project(body: Fields, name: str) -> int | None:
    wanted = "the id of an open project of this account, or null"
    value: int | float | None = fields.read(body, name, _read_number, wanted)
    if value is None:
        return None
    if not 1 <= value < ID_END or value != int(value):
        raise fields.invalid(name, wanted)
    return int(value)


def _whole(body: Fields, name: str, maximum: int) -> int | None:
    wanted = f"a whole number from 1 to {maximum:,}, or null"
    value: int | float | None = fields.read(body, name, _read_number, wanted)
    if value is None:
        return None
    if not 1 <= value <= maximum or value != int(value):
        raise fields.invalid(name, wanted)
    return int(value)


def _moment(body: Fields, name: str) -> datetime | None:
    wanted = (
        'a time to come before the year 2200, with its offset, such as "2027-03-21T00:00:00+03:30", or null'
    )
    moment: datetime | None = fields.read(body, name, _read_moment, wanted)
    if moment is None:
        return None
    if moment.tzinfo is None or not timezone.now() < moment < LAST_EXPIRY:
        raise fields.invalid(name, wanted)
    return moment


def _models(body: Fields, name: str) -> tuple[str, ...]:
    wanted = f"a list of at most {MODELS_MAX} ids of models, empty for all"
    chosen: list[str] = fields.read(body, name, _read_texts, wanted)
    if len(chosen) > MODELS_MAX:
        raise fields.invalid(name, wanted)
    return tuple(dict.fromkeys(chosen))


def _networks(body: Fields, name: str) -> tuple[str, ...]:
    wanted = f'a list of at most {NETWORKS_MAX} networks such as "203.0.113.0/24" or "2001:db8::/32", empty for any'
    given: list[str] = fields.read(body, name, _read_texts, wanted)
    try:
        found = tuple(dict.fromkeys(str(networks.parse(text)) for text in given))
    except ValueError:
        raise fields.invalid(name, wanted) from None
    if len(given) > NETWORKS_MAX:
        raise fields.invalid(name, wanted)
    return found


READERS: dict[str, Callable[[Fields, str], Any]] = {
    "name": _name,
    "cap_toman": _cap,
    "cap_period": _period,
    "expires_at": _moment,
    "allowed_models": _models,
    "allowed_networks": _networks,
    "rpm": _count,
    "tpm": _count,
    "concurrency": _count,
}
