"""The sign-in that a browser has begun, kept in its session between the two pages."""

import uuid
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib import import_module
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from accounts.challenges import Issued

SESSION_NAME = "sign_in"


@dataclass(frozen=True, slots=True)
class Pending:
    """`destination` is the local path to go to at the end; `resend_at` and `expires_at` are POSIX seconds."""

    mobile: str
    destination: str
    challenge: str
    browser_secret: str
    resend_at: float
    expires_at: float

    @property
    def challenge_id(self) -> uuid.UUID:
        return uuid.UUID(self.challenge)

    def resend_in_seconds(self, *, now: datetime) -> int:
        return max(0, round(self.resend_at - now.timestamp()))


def begin(request: HttpRequest, *, mobile: str, destination: str, issued: Issued) -> None:
    pending = Pending(
        mobile=mobile,
        destination=destination,
        challenge=str(issued.id),
        browser_secret=issued.browser_secret,
        resend_at=issued.resend_at.timestamp(),
        expires_at=issued.expires_at.timestamp(),
    )
    request.session[SESSION_NAME] = asdict(pending)


def read(request: HttpRequest) -> Pending | None:
    return _read(request.session)


def written_meanwhile(request: HttpRequest) -> Pending | None:
    """What a request at the same time, such as the first half of a double click, has written into this session."""
    engine = import_module(settings.SESSION_ENGINE)
    return _read(engine.SessionStore(request.session.session_key))


def end(request: HttpRequest) -> None:
    request.session.pop(SESSION_NAME, None)


def _read(session: Any) -> Pending | None:
    values = session.get(SESSION_NAME)
    return None if values is None else Pending(**values)
