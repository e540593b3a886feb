"""What the audit log knows of admins beyond changes of rows: who signed in to the admin site or tried to, and what was
done with a row that no column tells of.
"""

from auditlog.models import LogEntry
from django.db.models import Model

from accounts.models import User
from accounts.shared.formats import WITHOUT_ISOLATES

HIDDEN = "••••"
SIGN_IN = "admin sign-in"


def hidden(_secret: str) -> str:
    """What the audit log shows of a secret: that it changed."""
    return HIDDEN


def write_plainly(instance: LogEntry, **_kwargs: object) -> None:
    """Before an entry is stored: a row's name without the marks by which Persian pages keep it from left to right."""
    instance.object_repr = instance.object_repr.translate(WITHOUT_ISOLATES)


def note(row: Model, *, what: str, before: str = "", after: str = "") -> None:
    """Writes one entry about what an admin did with `row` where no column that is logged tells of it.

    By whom and from where comes from the request that is under way.
    """
    LogEntry.objects.log_create(row, action=LogEntry.Action.UPDATE, changes={what: [before, after]})


def note_sign_in(*, user: User, address: str | None, succeeded: bool) -> None:
    """Writes one entry about the account. Numbers of non-admins leave none: django-axes counts those."""
    LogEntry.objects.log_create(
        user,
        action=LogEntry.Action.ACCESS,
        changes={SIGN_IN: ["", "succeeded" if succeeded else "refused"]},
        actor=user if succeeded else None,
        remote_addr=address,
    )
