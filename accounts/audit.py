"""What the audit log knows of admins beyond changes of rows: who signed in to the admin site, and who tried to."""

from auditlog.models import LogEntry

from accounts.models import User

HIDDEN = "••••"
SIGN_IN = "admin sign-in"


def hidden(_secret: str) -> str:
    """What the audit log shows of a secret: that it changed."""
    return HIDDEN


def note_sign_in(*, user: User, address: str | None, succeeded: bool) -> None:
    """Writes one entry about the account. Numbers of non-admins leave none: django-axes counts those."""
    LogEntry.objects.log_create(
        user,
        action=LogEntry.Action.ACCESS,
        changes={SIGN_IN: ["", "succeeded" if succeeded else "refused"]},
        actor=user if succeeded else None,
        remote_addr=address,
    )
