"""The browsers in which a user is signed in: told apart, listed, ended."""

import ipaddress
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.contrib.auth import login, logout
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.module_loading import import_string

from accounts import user_agents
from accounts.models import Session, User
from accounts.session_store import BROWSER, SessionStore, digest
from accounts.user_agents import Browser

BACKEND = "django.contrib.auth.backends.ModelBackend"


class UnknownSession(Exception):
    """The user has no such session, or no longer."""


@dataclass(frozen=True, slots=True)
class ListedSession:
    """`id` names the session on pages."""

    id: str
    browser: Browser
    address: str | None
    signed_in_at: datetime
    last_seen_at: datetime
    is_current: bool


def sign_in(request: HttpRequest, user: User) -> None:
    """Signs a user in here, in this browser, under a new session key."""
    login(request, user, backend=BACKEND)
    note_browser(request)


def sign_out(request: HttpRequest) -> None:
    """Signs this browser out. Opens a transaction."""
    user_id = request.user.pk
    with transaction.atomic():
        logout(request)
        if user_id is not None:
            _tell_of_end(user_id)


def note_browser(request: HttpRequest) -> None:
    """Notes the address and the browser of a session that has just been signed in."""
    request.session[BROWSER] = {
        "user_agent": request.headers.get("User-Agent", "").replace("\0", "")[:300],
        "address": address_of(request),
    }


def address_of(request: HttpRequest) -> str | None:
    try:
        return str(ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")))
    except ValueError:  # a Unix socket has none
        return None


def id_of(session_key: str | None) -> str:
    """What pages and logs call a session by its key; empty where there is none."""
    return _id(digest(session_key)) if session_key else ""


def listing(*, user_id: int, current_key: str | None) -> list[ListedSession]:
    """A user's sessions, the present one first, then by last use."""
    current = current_key and digest(current_key)
    listed = [
        ListedSession(
            id=_id(session.session_key),
            browser=user_agents.read(session.user_agent),
            address=session.address,
            signed_in_at=session.signed_in_at,
            last_seen_at=session.last_seen_at,
            is_current=session.session_key == current,
        )
        for session in _living(user_id).order_by("-last_seen_at")
        if session.signed_in_at is not None
    ]
    return sorted(listed, key=lambda each: not each.is_current)


def end(*, user_id: int, session_id: str) -> None:
    """Signs one browser out: its next page asks for the number again. Opens a transaction. Raises UnknownSession."""
    with transaction.atomic():
        for session in _living(user_id):
            if _id(session.session_key) == session_id:
                session.delete()
                _tell_of_end(user_id)
                return
    raise UnknownSession(session_id)


def end_others(*, user_id: int, current_key: str | None) -> int:
    """Signs every other browser out and returns how many there were. Opens a transaction."""
    with transaction.atomic():
        others = Session.objects.filter(user_id=user_id)
        if current_key is not None:
            others = others.exclude(pk=digest(current_key))
        ended, _by_model = others.delete()
        _tell_of_end(user_id)
    return ended


def end_all(*, user_id: int) -> None:
    """Signs a user out everywhere. Opens a transaction."""
    end_others(user_id=user_id, current_key=None)


def purge() -> None:
    """Removes what has expired."""
    SessionStore.clear_expired()


def _living(user_id: int) -> QuerySet[Session]:
    return Session.objects.filter(user_id=user_id, expire_date__gt=timezone.now())


def _tell_of_end(user_id: int) -> None:
    for path in settings.SESSIONS_ENDED:
        import_string(path)(user_id=user_id)


def _id(stored_key: str) -> str:
    return salted_hmac("accounts.sessions", stored_key, algorithm="sha256").hexdigest()[:32]
