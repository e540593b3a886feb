"""Roll-ups from before endpoints are taken over as far as all of them were chat; the rest is summed anew."""

from datetime import timedelta
from importlib import import_module

import pytest
from django.conf import settings
from django.db import connection

from proxy.usage import rollups
from proxy.usage.models import UsageRecord, UsageRollup
from tests.factories import UserFactory
from tests.proxy.usage.used import MIDNIGHT, record

pytestmark = pytest.mark.django_db

COPY = import_module("proxy.migrations.0027_rollups_by_endpoint").COPY
OLD = """
INSERT INTO proxy_usagerollup (period, starts_at, user_id, key_id, model, requests, errors, prompt_tokens,
    cached_tokens, completion_tokens, cost_micro, latency_buckets, latency_counts)
SELECT period, starts_at, user_id, key_id, model, sum(requests), sum(errors), sum(prompt_tokens),
    sum(cached_tokens), sum(completion_tokens), sum(cost_micro), '{}', '{}'
FROM proxy_rollup GROUP BY period, starts_at, user_id, key_id, model
"""


def sums() -> list[tuple[object, ...]]:
    names = ("period", "starts_at", "model", "endpoint", "requests", "prompt_tokens", "cost_micro")
    return list(UsageRollup.objects.order_by(*names[:4]).values_list(*names))


@pytest.mark.parametrize("others_from_hour", [None, 0, 30, 47])
def test_what_was_summed_stays_and_the_rest_is_summed_anew(others_from_hour: int | None) -> None:
    for model in (UsageRecord, UsageRollup):
        model.objects.all().delete()
    user = UserFactory.create()
    for hour in range(48):
        record(user, MIDNIGHT + timedelta(hours=hour), prompt_tokens=hour + 1)
        if others_from_hour is not None and hour >= others_from_hour:
            record(user, MIDNIGHT + timedelta(hours=hour, minutes=7), endpoint="messages")
    rollups.roll_up()
    whole = sums()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM proxy_usagerollup")
        cursor.execute(OLD)
        UsageRollup.objects.all().delete()
        cursor.execute(COPY, [settings.TIME_ZONE])
    taken_over = sums()
    assert set(taken_over) <= set(whole)
    assert len(taken_over) == {None: 48 + 2, 0: 0, 30: 30 + 1, 47: 47 + 1}[others_from_hour]
    rollups.roll_up()
    assert sums() == whole
