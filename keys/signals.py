"""What webhooks are told of keys, with what happens to them, and of whose cap a budget is.

Keys of the playground come and go untold.
"""

from accounts.signals import outbox
from accounts.signals.events import Event
from keys.models import AdminKey, APIKey
from keys.project_models import Project


def created(key: APIKey | AdminKey) -> None:
    """Needs the transaction that makes the key."""
    data = {
        **_of(key),
        "expires_at": None if key.expires_at is None else key.expires_at.isoformat(),
        "replaces": key.replaces_id if isinstance(key, APIKey) else None,
    }
    outbox.emit(user_id=key.user_id, event=Event.KEY_CREATED, data=data, dedup=_named(key))


def revoked(key: APIKey | AdminKey, *, replaced_by: int | None = None) -> None:
    """Needs the transaction that revokes the key."""
    data = {**_of(key), "replaced_by": replaced_by}
    outbox.emit(user_id=key.user_id, event=Event.KEY_REVOKED, data=data, dedup=_named(key))


def holder_of(budget_id: int) -> dict[str, object]:
    """The key or the project whose cap this is, by its name; settings.BUDGET_HOLDER."""
    key = APIKey.objects.filter(budget_id=budget_id).order_by("-id").first()  # a replaced one shared it
    if key is not None:
        return _of(key)
    project = Project.objects.filter(budget_id=budget_id).first()
    return {} if project is None else {"project_id": project.pk, "kind": "project", "name": project.name}


def _of(key: APIKey | AdminKey) -> dict[str, object]:
    start = "hm-" if isinstance(key, APIKey) else "hm-admin-"
    return {"key_id": key.pk, "kind": _kind(key), "name": key.name, "hint": f"{start}…{key.last_four}"}


def _named(key: APIKey | AdminKey) -> str:
    return f"{_kind(key)} {key.pk}"


def _kind(key: APIKey | AdminKey) -> str:
    """The ids of the two kinds are apart."""
    return "api" if isinstance(key, APIKey) else "admin"
