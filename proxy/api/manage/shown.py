"""A key as the management API shows it."""

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import orjson

from keys.lifecycle import CreatedKey
from keys.reading import State
from proxy.errors import APIError
from proxy.own_keys import OwnKey
from wallet.money import MICRO_PER_TOMAN, toman_from_micro

STATES = {
    "active": State.WORKING,
    "replaced": State.REPLACED,
    "expired": State.EXPIRED,
    "revoked": State.REVOKED,
}
NAMES = {state: name for name, state in STATES.items()}


def key(own: OwnKey) -> dict[str, Any]:
    key, cap = own.key, own.cap
    return {
        "object": "api_key",
        "id": key.key_id,
        "name": key.name,
        "hint": f"hm-…{key.last_four}",
        "state": NAMES[key.state],
        "created_at": moment(key.created_at),
        "last_used_at": moment(key.last_used_at),
        "expires_at": moment(key.rules.expires_at),
        "revoked_at": moment(key.revoked_at),
        "allowed_models": list(key.rules.allowed_models),
        "allowed_networks": list(key.rules.allowed_networks),
        "rpm": key.rules.rpm,
        "tpm": key.rules.tpm,
        "concurrency": key.rules.concurrency,
        "project_id": key.project_id,
        "cap_toman": None if cap is None else toman_from_micro(cap.limit_micro),
        "cap_period": None if cap is None else cap.period.value,
        "resets_at": None if cap is None else moment(cap.resets_at),
        "spent_toman": None if cap is None else cap.spent_micro / MICRO_PER_TOMAN,
        "replaces": key.replaces,
        "replaced_by": key.replaced_by,
        "etag": etag(own),
    }


def with_secret(own: OwnKey, created: CreatedKey) -> dict[str, Any]:
    return {**key(own), "secret": created.secret}


def etag(own: OwnKey) -> str:
    """The version of what somebody may change: a key that is used and spends keeps it."""
    key = own.key
    version = [
        key.name,
        *(moment(at) for at in (key.rules.expires_at, key.revoked_at)),
        key.rules.allowed_models,
        key.rules.allowed_networks,
        *(key.rules.rpm, key.rules.tpm, key.rules.concurrency),
        None if own.cap is None else (own.cap.limit_micro, own.cap.period),
        key.replaced_by,
    ]
    return f'"{sha256(orjson.dumps([key.key_id, *version])).hexdigest()[:32]}"'


def check_version(own: OwnKey, if_match: str) -> None:
    """Whether the key is one of those that `If-Match` names (RFC 9110, 13.1.1). Raises APIError precondition_failed.

    A proxy that compresses answers makes their ETags weak, so the weak one of the same version is taken for it.
    """
    named = {name.strip().removeprefix("W/") for name in if_match.split(",")}
    if if_match.strip() and not named & {"*", etag(own)}:
        raise APIError("precondition_failed")


def moment(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
