"""Who may approve what an admin asked for: another admin, unless the right to approve is too new."""

from datetime import datetime, timedelta

from django.utils import timezone

from accounts.models import User

# Long enough for the other admins, who are told by SMS, to notice one who should not be an admin.
SETTLING_HOURS = 48
SETTLING = timedelta(hours=SETTLING_HOURS)


class AlreadyDecided(Exception):
    """It was approved or rejected before, or never needed to be."""


class NeedsSecondAdmin(Exception):
    """The admin who asked for it cannot approve it."""


class TooNew(Exception):
    """This admin was given rights, a password or an authenticator a short time ago, and may approve from `since`."""

    def __init__(self, since: datetime) -> None:
        super().__init__(since)
        self.since = since


def check(*, requested_by_id: int | None, admin_id: int) -> None:
    """Raises NeedsSecondAdmin, TooNew."""
    if requested_by_id == admin_id:
        raise NeedsSecondAdmin(admin_id)
    empowered_at = User.objects.values_list("empowered_at", flat=True).get(pk=admin_id)
    if empowered_at is not None and empowered_at + SETTLING > timezone.now():
        raise TooNew(empowered_at + SETTLING)
