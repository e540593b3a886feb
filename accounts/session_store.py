"""Django's sessions in the database, each with its user, browser and last use as columns (settings.SESSION_ENGINE)."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from django.contrib.auth import SESSION_KEY as USER_ID
from django.contrib.sessions.backends import db
from django.utils import timezone

if TYPE_CHECKING:  # settings name this module before models can be imported
    from accounts.models import Session

SEEN_EVERY = timedelta(minutes=5)  # a row is not written anew for every page
BROWSER, SIGNED_IN_AT = "browser", "signed_in_at"


class SessionStore(db.SessionStore):
    @classmethod
    def get_model_class(cls) -> "type[Session]":
        from accounts.models import Session

        return Session

    def load(self) -> dict[str, Any]:
        session: Session | None = self._get_session_from_db()  # type: ignore[attr-defined]
        if session is None:
            return {}
        now = timezone.now()
        if session.user_id is not None and session.last_seen_at < now - SEEN_EVERY:
            self.get_model_class().objects.filter(pk=session.pk).update(last_seen_at=now)
        return self.decode(session.session_data)

    def create_model_instance(self, data: dict[str, Any]) -> "Session":
        now = timezone.now()
        if USER_ID in data:
            data.setdefault(SIGNED_IN_AT, now.timestamp())
        instance = cast("Session", super().create_model_instance(data))
        if USER_ID in data:
            instance.user_id = int(data[USER_ID])
            instance.signed_in_at = datetime.fromtimestamp(data[SIGNED_IN_AT], UTC)
            browser = data.get(BROWSER, {})
            instance.user_agent = browser.get("user_agent", "")
            instance.address = browser.get("address")
        instance.last_seen_at = now
        return instance
