"""Who does something on these pages, as the log of changes keeps it."""

from django.http import HttpRequest

from accounts import sessions
from accounts.shared import signed_in
from keys.actors import Actor, Kind


def person(request: HttpRequest) -> Actor:
    """Whoever is signed in here."""
    return Actor(
        Kind.DASHBOARD,
        user_id=signed_in.user_id(request),
        session=sessions.id_of(request.session.session_key),
        address=sessions.address_of(request),
    )
