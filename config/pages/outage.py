"""Which failures mean that PostgreSQL is away, so that a page can say so instead of crashing."""

from django.db import InterfaceError, OperationalError

from accounts.shared.database_session import DEMOTED

# Classes of SQLSTATE: connection, too many of them, stopped or starting by an operator.
AWAY = ("08", "53", "57")


def is_outage(error: BaseException | None) -> bool:
    """Whether PostgreSQL could not be reached, went away in the middle, or gave its place to another.

    A deadlock, for one, is no outage.
    """
    if isinstance(error, InterfaceError) or isinstance(getattr(error, "__cause__", None), DEMOTED):
        return True
    if not isinstance(error, OperationalError):
        return False
    sqlstate = getattr(error.__cause__, "sqlstate", None)  # none where no server answered at all
    return sqlstate is None or sqlstate[:2] in AWAY
