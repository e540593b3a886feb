from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from proxy.usage import by_key, rollups
from proxy.usage.by_key import KeyUsage
from tests.factories import UserFactory
from tests.proxy.factories import UsageRecordFactory

pytestmark = pytest.mark.django_db
START = datetime(2026, 11, 1, tzinfo=ZoneInfo("Asia/Tehran")).astimezone(UTC)


@pytest.mark.parametrize("rolls_up", [False, True])
def test_sums_are_whole_whether_usage_is_rolled_up_or_not(rolls_up: bool) -> None:
    user, other = UserFactory.create().pk, UserFactory.create().pk
    for hours in (-1, 0, 1, 30, 31, 24 * 22 + 11):
        UsageRecordFactory.create(user_id=user, key_id=user, created_at=START + timedelta(hours=hours))
    UsageRecordFactory.create(user_id=user, key_id=user + 10**6, created_at=START + timedelta(days=2))
    UsageRecordFactory.create(user_id=other, key_id=other, created_at=START + timedelta(days=2))
    if rolls_up:
        rollups.roll_up()
        UsageRecordFactory.create(user_id=user, key_id=user, created_at=START + timedelta(days=22, hours=12))
    requests = 6 if rolls_up else 5
    assert by_key.since(user_id=user, start=START) == {
        user: KeyUsage(requests, requests * 30_000),
        user + 10**6: KeyUsage(1, 30_000),
    }
