"""What the database refuses of claims and kept answers, whoever writes it; and what time takes away."""

import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from proxy.idempotency import keeping
from proxy.idempotency.models import AnswerKeeping, IdempotentRequest, KeptAnswer
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db


def claim(**fields: Any) -> IdempotentRequest:
    now = timezone.now()
    row: dict[str, Any] = {
        "user_id": 1,
        "key_digest": bytes(32),
        "body_digest": bytes(32),
        "request_id": uuid.uuid4(),
        "claimed_at": now,
        "alive_until": now,
    }
    return IdempotentRequest.objects.create(**{**row, **fields})


def kept(*, at: datetime, until: datetime) -> KeptAnswer:
    return KeptAnswer.objects.create(
        request_id=uuid.uuid4(), user_id=1, kept_at=at, expires_at=until, size=1, content=b""
    )


def test_an_account_claims_a_key_once() -> None:
    claim()
    claim(user_id=2)
    with pytest.raises(IntegrityError, match="idempotency_key_once"), transaction.atomic():
        claim()


@pytest.mark.parametrize(
    ("name", "rule"),
    [("key_digest", "idempotency_key_is_digest"), ("body_digest", "idempotency_body_is_digest")],
)
def test_only_digests_are_stored(name: str, rule: str) -> None:
    with pytest.raises(IntegrityError, match=rule), transaction.atomic():
        claim(**{name: b"the prompt itself"})


@pytest.mark.parametrize("hours", [0, 25])
def test_answers_are_kept_for_one_to_twenty_four_hours(hours: int) -> None:
    with pytest.raises(IntegrityError, match="answer_keeping_hours"), transaction.atomic():
        AnswerKeeping.objects.create(user=UserFactory.create(), hours=hours)


@pytest.mark.parametrize("hours", [0, 24.1])
def test_no_answer_is_kept_longer_than_a_day(hours: float) -> None:
    now = timezone.now()
    with pytest.raises(IntegrityError, match="kept_answer_at_most_a_day"), transaction.atomic():
        kept(at=now, until=now + timedelta(hours=hours))


def test_what_is_past_its_time_is_purged() -> None:
    now = timezone.now()
    old, young = now - timedelta(hours=24, seconds=1), now - timedelta(hours=23)
    for number in range(3):
        claim(user_id=number, claimed_at=old)
        kept(at=old, until=old + timedelta(hours=1))
    remaining = claim(user_id=9, claimed_at=young), kept(at=young, until=young + timedelta(hours=24))
    assert keeping.purge() == 6
    assert [IdempotentRequest.objects.get(), KeptAnswer.objects.get()] == list(remaining)
    assert keeping.purge() == 0
