"""Codes and notices are counted by day and outcome, and are what is left of them."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import challenges, message_counts, tasks
from accounts.channel_models import ChannelName, MessageCount, Notice
from accounts.models import Challenge
from tests.admin_browser import staff_browser
from tests.factories import UserFactory
from tests.wallet.test_database_rules import refused_by

pytestmark = pytest.mark.django_db
MIDNIGHT = datetime(2026, 11, 20, 20, 30, tzinfo=UTC)  # in Tehran: the day is the 21st
DAY = date(2026, 11, 21)


@pytest.fixture(autouse=True)
def nothing_sent() -> None:
    for model in (Challenge, Notice, MessageCount):
        model.objects.all().delete()


def code(at: datetime, **fields: Any) -> Challenge:
    made: Challenge = Challenge.objects.create(
        mobile="+989121112233",
        digest=b"d",
        pepper_version=1,
        browser_digest=b"b",
        address="10.0.0.1",
        created_at=at,
        expires_at=at + challenges.LIFETIME,
        **fields,
    )
    return made


def notice(at: datetime, outcome: str, *, channel: str = ChannelName.SMS) -> Notice:
    made: Notice = Notice.objects.create(
        user=UserFactory.create(),
        channel=channel,
        event="low_balance",
        dedup="1",
        outcome=outcome,
        created_at=at,
        text="words" if outcome in ("waiting", "sending") else "",
        due_at=at if outcome == "waiting" else None,
    )
    return made


def counted(kind: str) -> dict[tuple[date, str, str], int]:
    return {
        (row.day, row.channel, row.outcome): row.messages for row in MessageCount.objects.filter(kind=kind)
    }


def test_codes_are_counted_by_day_and_by_how_they_ended() -> None:
    code(MIDNIGHT - timedelta(seconds=1), consumed_at=MIDNIGHT)
    for minutes in range(3):
        code(MIDNIGHT + timedelta(minutes=minutes), consumed_at=MIDNIGHT + timedelta(minutes=minutes + 1))
    code(MIDNIGHT, voided_at=MIDNIGHT)  # the provider did not take it
    code(MIDNIGHT, voided_at=MIDNIGHT + timedelta(minutes=2))  # a second one came after it
    code(MIDNIGHT)
    message_counts.count()
    assert counted("code") == {
        (DAY - timedelta(days=1), "sms", "answered"): 1,
        (DAY, "sms", "answered"): 3,
        (DAY, "sms", "not_sent"): 1,
        (DAY, "sms", "unanswered"): 2,
    }


def test_a_code_whose_sms_is_not_taken_counts_as_not_sent() -> None:
    issued = challenges.issue(mobile="+989121112233", address="10.0.0.1", now=MIDNIGHT)
    challenges.void(challenge_id=issued.id, now=MIDNIGHT)
    message_counts.count()
    assert counted("code") == {(DAY, "sms", "not_sent"): 1}


def test_notices_are_counted_anew_until_they_are_over() -> None:
    waiting = notice(MIDNIGHT, "waiting")
    notice(MIDNIGHT, "sent", channel=ChannelName.BALE)
    message_counts.count()
    assert counted("notice") == {(DAY, "sms", "waiting"): 1, (DAY, "bale", "sent"): 1}
    Notice.objects.filter(pk=waiting.pk).update(outcome="failed", due_at=None, text="")
    notice(MIDNIGHT + timedelta(days=3), "sent")
    for _ in range(2):
        message_counts.count()
        assert counted("notice") == {
            (DAY, "sms", "failed"): 1,
            (DAY, "bale", "sent"): 1,
            (DAY + timedelta(days=3), "sms", "sent"): 1,
        }


def test_counts_stay_when_their_rows_have_gone_and_no_day_is_counted_in_part() -> None:
    now = MIDNIGHT + timedelta(days=2, hours=9)
    for hours in (1, 20, 30):
        code(MIDNIGHT + timedelta(hours=hours))
    challenges.purge(now=now)  # counts first
    assert Challenge.objects.count() == 3  # of the first day some are young enough to be counted by limits
    challenges.purge(now=now + timedelta(days=1))
    assert Challenge.objects.count() == 1
    message_counts.count()
    assert counted("code") == {
        (DAY, "sms", "unanswered"): 2,
        (DAY + timedelta(days=1), "sms", "unanswered"): 1,
    }


def test_the_task_counts() -> None:
    code(timezone.now())
    tasks.count_messages()
    assert sum(counted("code").values()) == 1


def test_bad_rows_are_refused() -> None:
    row = {"day": DAY, "channel": "sms", "messages": 1}
    MessageCount.objects.create(kind="code", outcome="answered", **row)
    twice = MessageCount(kind="code", outcome="answered", **row)
    assert refused_by(twice.save) == "messagecount_once"
    for kind, outcome in (("code", "sent"), ("notice", "answered")):
        assert (
            refused_by(MessageCount(kind=kind, outcome=outcome, **row).save) == "messagecount_outcome_of_kind"
        )


def test_support_finds_the_codes_of_a_number_by_how_they_ended() -> None:
    sent, other = code(MIDNIGHT, consumed_at=MIDNIGHT), code(MIDNIGHT)
    browser: Client = staff_browser("view_challenge")
    listed = browser.get("/admin/accounts/challenge/", {"q": "09121112233", "ended": "answered"})
    assert [row.pk for row in listed.context["cl"].result_list] == [sent.pk]
    page = browser.get(f"/admin/accounts/challenge/{other.pk}/change/").content.decode()
    assert "sent and not entered" in page
    assert "digest" not in page
