"""What an account has used of the day, from roll-ups and records alike: what the daily limits begin from."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.shared.formats import TEHRAN
from proxy.limits.day import Use
from proxy.usage import rollups, today
from proxy.usage.models import UsageRecord
from tests.proxy.factories import UsageRecordFactory

pytestmark = pytest.mark.django_db

NOW = timezone.now()
MIDNIGHT = NOW.astimezone(TEHRAN).replace(hour=0, minute=0, second=0, microsecond=0)


def record(at: datetime, **fields: Any) -> UsageRecord:
    usual = {"user_id": 7, "key_id": 1, "model": "a", "created_at": at, "total_ms": 10}
    made: UsageRecord = UsageRecordFactory.create(**usual | fields)
    return made


def tokens(record: UsageRecord) -> int:
    return record.prompt_tokens + record.completion_tokens


def test_a_day_is_told_by_key_and_model_whether_it_is_rolled_up_or_not() -> None:
    records = [
        record(max(MIDNIGHT, NOW - timedelta(hours=hours)) + timedelta(seconds=1), key_id=key, model=model)
        for hours, key, model in ((4, 1, "a"), (3, 1, "b"), (2, 2, "a"), (0, 1, "a"))
    ]
    record(NOW, user_id=8, key_id=9)
    for _ in range(2):
        found = today.read(user_id=7, at=NOW)
        assert found.of(None) == Use(4, sum(map(tokens, records)))
        assert found.of(1) == Use(3, sum(tokens(one) for one in records if one.key_id == 1))
        assert found.of(2, "b") == Use(0, 0)
        assert found.of(1, "b").requests == 1
        rollups.roll_up()


def test_a_request_belongs_to_the_day_on_which_it_began() -> None:
    record(MIDNIGHT - timedelta(seconds=1))
    record(MIDNIGHT + timedelta(seconds=1), total_ms=5_000)
    assert today.read(user_id=7, at=NOW).of(None) == Use(0, 0)
    record(MIDNIGHT + timedelta(seconds=1), total_ms=500)
    assert today.read(user_id=7, at=NOW).of(None).requests == 1


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=-1), timedelta(days=400)])
def test_where_the_other_clock_is_far_off_the_databases_day_counts(jump: timedelta) -> None:
    record(NOW)
    record(MIDNIGHT - timedelta(hours=3))
    assert today.read(user_id=7, at=NOW + jump).of(None).requests == 1
