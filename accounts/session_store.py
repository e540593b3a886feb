"""Django's sessions in the database, each with its user, browser and last use as columns (settings.SESSION_ENGINE).

The table holds digests of session keys, so that whoever reads it can sign in as nobody. A session key has 165 random
bits, which no search finds: a plain hash does.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from django.contrib.auth import SESSION_KEY as USER_ID
from django.contrib.sessions.backends import db
from django.utils import timezone

if TYPE_CHECKING:  # settings name this module before models can be imported
    from accounts.models import Session

SEEN_EVERY = timedelta(minutes=5)  # so that not every page writes the row
BROWSER, SIGNED_IN_AT = "browser", "signed_in_at"


def digest(session_key: str) -> str:
    """What is stored of a session key."""
    return hashlib.sha256(session_key.encode()).hexdigest()


class SessionStore(db.SessionStore):
    """Django's pages are served by threads, so that the asynchronous half of the parent is never used here."""

    @classmethod
    def get_model_class(cls) -> "type[Session]":
        from accounts.models import Session

        return Session

    def load(self) -> dict[str, Any]:
        now = timezone.now()
        key = self.session_key
        rows = self.get_model_class().objects
        session = key and rows.filter(pk=digest(key), expire_date__gt=now).first()
        if not session:
            self._session_key = None  # a key that this site did not issue names no new session
            return {}
        if session.user_id is not None and session.last_seen_at < now - SEEN_EVERY:
            self.get_model_class().objects.filter(pk=session.pk).update(last_seen_at=now)
        return self.decode(session.session_data)

    def exists(self, session_key: str) -> bool:
        return super().exists(digest(session_key))

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key is not None:
            super().delete(digest(key))

    def create_model_instance(self, data: dict[str, Any]) -> "Session":
        now = timezone.now()
        if USER_ID in data:
            data.setdefault(SIGNED_IN_AT, now.timestamp())
        instance = cast("Session", super().create_model_instance(data))
        instance.session_key = digest(instance.session_key)
        if USER_ID in data:
            instance.user_id = int(data[USER_ID])
            instance.signed_in_at = datetime.fromtimestamp(data[SIGNED_IN_AT], UTC)
            browser = data.get(BROWSER, {})
            instance.user_agent = browser.get("user_agent", "")
            instance.address = browser.get("address")
        instance.last_seen_at = now
        return instance
