"""Somebody's usage at moments of a day in Tehran."""

from datetime import UTC, datetime, timedelta
from typing import Any

from accounts.models import User
from proxy.usage.models import UsageRecord
from proxy.usage.origins import end_user
from tests.proxy.factories import UsageRecordFactory

MIDNIGHT = datetime(2026, 11, 20, 20, 30, tzinfo=UTC)  # in Tehran
NOW = MIDNIGHT + timedelta(hours=15, minutes=40)


def record(user: User, at: datetime, **fields: Any) -> UsageRecord:
    made: UsageRecord = UsageRecordFactory.create(user_id=user.pk, created_at=at, **fields)
    return made


def spread(user: User, count: int = 40) -> list[UsageRecord]:
    """Requests of two keys, three models and two endpoints, ninety minutes apart, back from NOW; each seventh failed.

    Each fourth is for an end user, of whom there are two.
    """
    users = [named for name in ("ali", "sara") if (named := end_user(name, user_id=user.pk))]
    return [
        record(
            user,
            NOW - timedelta(minutes=90 * back),
            prompt_tokens=back + 3,
            cached_tokens=back % 3,
            total_ms=50 * (back + 1),
            outcome="upstream_failed" if back % 7 == 0 else "client_left" if back % 11 == 0 else "completed",
            key_id=user.pk * 10 + back % 2,
            model=f"model-{back % 3}",
            endpoint="messages" if back % 5 < 2 else "chat",
            end_user=None if back % 4 else users[back % 8 // 4].digest,
            end_user_hint="" if back % 4 else users[back % 8 // 4].hint,
            client_request_id=f"job-{back % 6}" if back % 2 else "",
        )
        for back in range(count)
    ]
