"""Who gets a notice by which channels, and that nobody gets it twice by one."""

import logging
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from accounts import tasks
from accounts.channel_models import BotChat, BotState, ChannelName, Notice
from accounts.channels import notices
from tests.factories import UserFactory
from tests.wallet.test_database_rules import refused_by

pytestmark = pytest.mark.django_db
SMS, TELEGRAM, BALE = ChannelName.SMS, ChannelName.TELEGRAM, ChannelName.BALE


@pytest.fixture(autouse=True)
def tokens(settings: Any) -> None:
    settings.TELEGRAM_BOT_TOKEN, settings.BALE_BOT_TOKEN = "1:telegram", "2:bale"


@pytest.fixture
def user_id() -> int:
    return int(UserFactory.create().pk)


def connect(user_id: int, channel: ChannelName, *, is_chosen: bool = True) -> BotChat:
    return BotChat.objects.create(
        user_id=user_id, channel=channel, chat_id=1000 + user_id, is_chosen=is_chosen, language="fa"
    )


def notify(user_id: int, dedup: str = "first") -> int:
    return notices.notify(user_id=user_id, event="balance.low", dedup=dedup, text="low")


def waiting(user_id: int) -> list[str]:
    found = Notice.objects.filter(user_id=user_id, outcome=Notice.Outcome.WAITING)
    return list(found.order_by("channel").values_list("channel", flat=True))


def test_who_has_chosen_nothing_gets_it_by_sms(user_id: int) -> None:
    assert notify(user_id) == 1
    assert waiting(user_id) == [SMS]


def test_it_goes_by_every_channel_that_was_chosen(user_id: int) -> None:
    connect(user_id, TELEGRAM)
    connect(user_id, BALE)
    assert notify(user_id) == 3
    notices.choose(user_id=user_id, channels=[BALE])
    assert notices.chosen(user_id) == [BALE]
    notices.choose(user_id=user_id, channels=[SMS, TELEGRAM])
    assert notices.chosen(user_id) == [SMS, TELEGRAM]


def test_sms_is_what_remains_when_nothing_else_does(user_id: int, settings: Any) -> None:
    chat = connect(user_id, TELEGRAM)
    notices.choose(user_id=user_id, channels=[TELEGRAM])
    assert notices.chosen(user_id) == [TELEGRAM]
    settings.TELEGRAM_BOT_TOKEN = ""
    assert notices.chosen(user_id) == [SMS]
    settings.TELEGRAM_BOT_TOKEN = "1:telegram"
    chat.chat_id, chat.lost_at = None, timezone.now()
    chat.save()
    assert notices.chosen(user_id) == [SMS]


def test_one_occurrence_is_told_once_and_the_next_again(user_id: int) -> None:
    for dedup in ("first", "first", "second"):
        notify(user_id, dedup)
    assert waiting(user_id) == [SMS, SMS]


def test_what_is_withdrawn_is_not_sent_and_who_heard_of_it_is_told_apart(user_id: int) -> None:
    other = int(UserFactory.create().pk)
    connect(other, TELEGRAM)
    notify(user_id)
    notify(other)
    Notice.objects.filter(user_id=other, channel=SMS).update(
        outcome=Notice.Outcome.SENT, due_at=None, text=""
    )
    assert notices.withdraw(user_ids=[user_id, other], event="balance.low") == {user_id}
    assert (waiting(user_id), waiting(other)) == ([], [])
    assert notices.withdraw(user_ids=[user_id, other], event="balance.low") == set()


def test_what_is_old_is_given_up_with_a_word_and_then_forgotten(
    user_id: int, caplog: pytest.LogCaptureFixture
) -> None:
    notify(user_id, "old")
    notify(user_id, "new")
    Notice.objects.filter(dedup="old").update(created_at=timezone.now() - timedelta(days=4))
    tasks.purge_notices()
    assert waiting(user_id) == [SMS]
    assert [record.levelno for record in caplog.records if record.message == "notices given up"] == [
        logging.ERROR
    ]
    Notice.objects.filter(dedup="old").update(created_at=timezone.now() - timedelta(days=101))
    tasks.purge_notices()
    assert list(Notice.objects.filter(user_id=user_id).values_list("dedup", flat=True)) == ["new"]


def test_bad_rows_are_refused(user_id: int) -> None:
    chat = connect(user_id, TELEGRAM)
    other = int(UserFactory.create().pk)
    rows = {
        "bot_state_of_a_bot": BotState(channel=SMS, fingerprint="f"),
        "bot_chat_of_a_bot": BotChat(user_id=user_id, channel=SMS, language="fa"),
        "bot_chat_one_per_user": BotChat(user_id=user_id, channel=TELEGRAM, language="fa"),
        "bot_chat_of_one_user": BotChat(user_id=other, channel=TELEGRAM, chat_id=chat.chat_id, language="fa"),
        "bot_chat_there_or_lost": BotChat(
            user_id=user_id, channel=BALE, chat_id=1, lost_at=timezone.now(), language="fa"
        ),
        "notice_waiting_is_due": Notice(user_id=user_id, channel=SMS, event="e", dedup="1", text="t"),
        "notice_text_until_over": Notice(
            user_id=user_id, channel=SMS, event="e", dedup="1", text="", due_at=timezone.now()
        ),
    }
    for name, row in rows.items():
        assert refused_by(partial(row.save, force_insert=True)) == name
    notify(user_id)
    twice = Notice(
        user_id=user_id, channel=SMS, event="balance.low", dedup="first", text="t", due_at=timezone.now()
    )
    assert refused_by(lambda: twice.save(force_insert=True)) == "notice_once_per_channel"
