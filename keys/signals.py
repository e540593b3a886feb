"""What webhooks are told of keys, with what happens to them. Keys of the playground come and go untold."""

from accounts.signals import outbox
from accounts.signals.events import Event
from keys.models import APIKey


def created(key: APIKey) -> None:
    """Needs the transaction that makes the key."""
    expires_at = None if key.expires_at is None else key.expires_at.isoformat()
    data = {**_of(key), "expires_at": expires_at, "replaces": key.replaces_id}
    outbox.emit(user_id=key.user_id, event=Event.KEY_CREATED, data=data, dedup=str(key.pk))


def revoked(key: APIKey, *, replaced_by: int | None = None) -> None:
    """Needs the transaction that revokes the key."""
    data = {**_of(key), "replaced_by": replaced_by}
    outbox.emit(user_id=key.user_id, event=Event.KEY_REVOKED, data=data, dedup=str(key.pk))


def _of(key: APIKey) -> dict[str, object]:
    return {"key_id": key.pk, "name": key.name, "hint": f"hm-…{key.last_four}"}
