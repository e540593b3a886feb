"""What the management API changes: of a body what carries it out, in the transaction that keeps its answer too."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

from keys import lifecycle
from keys.actors import Actor
from keys.rules import KeyRules
from proxy import own_keys
from proxy.api.manage import asked, shown
from proxy.api.manage.repeats import Answer
from proxy.api.manage.view import Change
from proxy.errors import APIError
from proxy.http.parsing import Fields
from proxy.own_keys import OwnKey
from wallet.ledger.periods import Period


def creation(body: Fields) -> Change:
    """Raises APIError invalid_value."""
    wanted = asked.read(body, is_new=True)
    project_id = wanted.pop("project_id", None)
    if "name" not in wanted:
        raise APIError("invalid_value", param="name", message='The "name" field is required.')

    def create(user_id: int, by: Actor) -> Answer:
        name, cap_micro, period, rules = _parts(wanted, KeyRules())
        asked.check_models(rules.allowed_models, set(own_keys.models_to_allow()))
        created = own_keys.create(
            user_id=user_id,
            name=name,
            rules=rules,
            cap_micro=cap_micro,
            cap_period=period or Period.FOREVER,
            creation_token=uuid4(),
            by=by,
            project_id=project_id,
        )
        own = own_keys.one(user_id=user_id, key_id=created.key_id)
        return Answer(shown.with_secret(own, created), status=201)

    return create


def amendment(key_id: int, if_match: str, body: Fields) -> Change:
    """Raises APIError invalid_value."""
    wanted = asked.read(body)

    def change(user_id: int, by: Actor) -> Answer:
        own = _locked(user_id, key_id, if_match)
        name, cap_micro, period, rules = _parts(
            {"name": own.key.name, "cap_micro": own.cap and own.cap.limit_micro, **wanted}, own.key.rules
        )
        known = {*own_keys.models_to_allow(), *own.key.rules.allowed_models}
        asked.check_models(rules.allowed_models, known)
        own_keys.change(
            user_id=user_id,
            key_id=key_id,
            name=name,
            rules=rules,
            cap_micro=cap_micro,
            cap_period=period,
            by=by,
        )
        return Answer(shown.key(own_keys.one(user_id=user_id, key_id=key_id)))

    return change


def rotation(key_id: int, if_match: str, body: Fields) -> Change:
    """Raises APIError invalid_value."""
    grace = asked.grace(body)

    def rotate(user_id: int, by: Actor) -> Answer:
        _locked(user_id, key_id, if_match)
        created = lifecycle.rotate(user_id=user_id, key_id=key_id, grace=grace, creation_token=uuid4(), by=by)
        own = own_keys.one(user_id=user_id, key_id=created.key_id)
        return Answer(shown.with_secret(own, created), status=201)

    return rotate


def revocation(key_id: int, if_match: str, body: Fields) -> Change:
    """Raises APIError invalid_value."""
    asked.check_names(body, set())

    def revoke(user_id: int, by: Actor) -> Answer:
        _locked(user_id, key_id, if_match)
        lifecycle.revoke(user_id=user_id, key_id=key_id, by=by)
        return Answer(shown.key(own_keys.one(user_id=user_id, key_id=key_id)))

    return revoke


def _locked(user_id: int, key_id: int, if_match: str) -> OwnKey:
    """A key that nobody else changes until the transaction ends. Raises UnknownKey, APIError precondition_failed."""
    lifecycle.lock_owner(user_id=user_id)
    own = own_keys.one(user_id=user_id, key_id=key_id)
    shown.check_version(own, if_match)
    return own


def _parts(wanted: dict[str, Any], rules: KeyRules) -> tuple[str, int | None, Period | None, KeyRules]:
    """Name, cap with its period (None: as it is) and rules; those that are not asked for stay as they are.

    Raises APIError invalid_value.
    """
    new = dict(wanted)
    name, cap_micro, period = new.pop("name"), new.pop("cap_micro", None), new.pop("cap_period", None)
    if period is not None and cap_micro is None:
        raise APIError(
            "invalid_value", param="cap_period", message='"cap_period" is of a cap: give "cap_toman" with it.'
        )
    return name, cap_micro, period, replace(rules, **new)
