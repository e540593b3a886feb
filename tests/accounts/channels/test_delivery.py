"""Notices leave by the bots, and by SMS where a bot fails."""

import logging
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from accounts import tasks
from accounts.channel_models import BotChat, BotState, ChannelName, Notice
from accounts.channels import bots, delivery, notices, polling
from accounts.models import User
from accounts.sms import sending
from accounts.sms.interface import NumberRefused
from config.logging import JSONFormatter
from tests.accounts.channels.servers import BotServer
from tests.factories import UserFactory

Outcome = Notice.Outcome
SMS = ChannelName.SMS


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "SECONDS_PER_RUN", 0)
    monkeypatch.setattr(delivery, "SECONDS_BETWEEN", 0.001)


@pytest.fixture
def introduced(db: None, server: BotServer, channel: ChannelName) -> None:
    polling.poll(channel)
    server.calls.clear()


@pytest.fixture
def chat(introduced: None, channel: ChannelName) -> BotChat:
    """Of somebody who wants no SMS."""
    return connected(channel)


def connected(channel: ChannelName) -> BotChat:
    user = UserFactory.create(gets_sms=False)
    return BotChat.objects.create(user=user, channel=channel, chat_id=10**9 + user.pk, language="fa")


def notify(chat: BotChat, text: str = "low") -> None:
    notices.notify(user_id=chat.user_id, event="balance.low", dedup=text, text=text)


def outcomes(chat: BotChat) -> dict[str, str]:
    return dict(Notice.objects.filter(user_id=chat.user_id).values_list("channel", "outcome"))


def later() -> None:
    Notice.objects.filter(due_at__isnull=False).update(due_at=timezone.now())
    BotState.objects.update(paused_until=None)


def test_it_goes_to_the_chat_and_its_text_is_forgotten(
    chat: BotChat, server: BotServer, channel: ChannelName
) -> None:
    notify(chat, "موجودی کیف پول شما کم است")
    tasks.send_notices(channel)
    tasks.send_notices(channel)
    assert server.sent == [(chat.chat_id, "موجودی کیف پول شما کم است")]
    assert outcomes(chat) == {channel: Outcome.SENT}
    assert not Notice.objects.exclude(text="").exists()


def test_who_chose_several_gets_it_by_each(
    chat: BotChat, server: BotServer, channel: ChannelName, capsys: pytest.CaptureFixture[str]
) -> None:
    User.objects.filter(pk=chat.user_id).update(gets_sms=True)
    notify(chat)
    for each in (channel, SMS):
        delivery.deliver(each)
    assert outcomes(chat) == {channel: Outcome.SENT, SMS: Outcome.SENT}
    assert capsys.readouterr().out.count("SMS to") == len(server.sent) == 1


@pytest.mark.parametrize("refusal", ["blocked", "chat_not_found"])
def test_who_blocked_the_bot_is_disconnected_and_gets_an_sms(
    chat: BotChat, server: BotServer, channel: ChannelName, refusal: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = connected(channel)
    server.refused[chat.chat_id or 0] = getattr(server, refusal)
    notify(chat)
    notify(other)
    delivery.deliver(channel)
    chat.refresh_from_db()
    assert (chat.chat_id, chat.lost_at is not None) == (None, True)
    assert outcomes(chat) == {channel: Outcome.FAILED, SMS: Outcome.WAITING}
    assert server.told(other.chat_id or 0) == ["low"]
    delivery.deliver(SMS)
    assert capsys.readouterr().out.count("SMS to") == 1
    assert notices.chosen(chat.user_id) == [SMS]


def test_a_bot_that_is_itself_refused_disconnects_nobody(
    chat: BotChat, server: BotServer, channel: ChannelName
) -> None:
    server.refusal = (403, "Forbidden")
    notify(chat)
    delivery.deliver(channel)
    chat.refresh_from_db()
    assert chat.chat_id is not None
    assert outcomes(chat) == {channel: Outcome.WAITING}


def test_what_a_bot_has_not_taken_in_ten_minutes_leaves_by_sms(
    chat: BotChat, server: BotServer, channel: ChannelName, settings: Any
) -> None:
    server.refusal = server.wrong_token
    notify(chat)
    for _ in range(3):
        delivery.deliver(channel)
        later()
    assert outcomes(chat) == {channel: Outcome.WAITING}
    Notice.objects.update(created_at=timezone.now() - delivery.PATIENCE)
    delivery.deliver(channel)
    assert outcomes(chat) == {channel: Outcome.FAILED, SMS: Outcome.WAITING}


def test_so_does_what_waits_for_a_bot_whose_token_was_taken_away(
    chat: BotChat, channel: ChannelName, settings: Any
) -> None:
    notify(chat)
    setattr(settings, f"{channel.upper()}_BOT_TOKEN", "")
    Notice.objects.update(created_at=timezone.now() - delivery.PATIENCE)
    delivery.deliver(channel)
    assert outcomes(chat) == {channel: Outcome.FAILED, SMS: Outcome.WAITING}


def test_who_ended_the_chat_meanwhile_gets_an_sms(
    chat: BotChat, server: BotServer, channel: ChannelName
) -> None:
    notify(chat)
    BotChat.objects.update(chat_id=None)
    delivery.deliver(channel)
    assert (outcomes(chat), server.sent) == ({channel: Outcome.FAILED, SMS: Outcome.WAITING}, [])


def test_who_was_shut_out_gets_nothing(
    chat: BotChat, server: BotServer, channel: ChannelName, capsys: pytest.CaptureFixture[str]
) -> None:
    notify(chat)
    User.objects.filter(pk=chat.user_id).update(is_active=False)
    for each in (channel, SMS):
        delivery.deliver(each)
    assert (server.sent, capsys.readouterr().out) == ([], "")


@pytest.mark.parametrize("fault", ["lost reply", "500", "HTML", "ok is one"])
def test_what_may_have_arrived_is_not_sent_again_by_the_bot_but_by_sms(
    chat: BotChat, server: BotServer, channel: ChannelName, fault: str
) -> None:
    server.fault, server.faulty = fault, {"sendMessage"}
    notify(chat)
    for _ in range(3):
        delivery.deliver(channel)
        later()
    assert server.calls.count("sendMessage") == 1
    assert outcomes(chat) == {channel: Outcome.UNKNOWN, SMS: Outcome.WAITING}


def test_a_bot_that_is_told_to_slow_down_waits_as_long_as_it_is_told(
    chat: BotChat, server: BotServer, channel: ChannelName
) -> None:
    others = [connected(channel) for _ in range(3)]
    for each in (chat, *others):
        notify(each)
    server.refusal = server.too_fast
    delivery.deliver(channel)
    delivery.deliver(channel)
    assert server.calls == ["sendMessage"]
    server.refusal = None
    delivery.deliver(channel)
    assert server.sent == []  # not yet
    pause = BotState.objects.get(pk=channel).paused_until
    assert pause is not None
    assert pause > timezone.now() + timedelta(seconds=2)
    later()
    delivery.deliver(channel)
    assert sorted(to for to, _text in server.sent) == sorted(each.chat_id or 0 for each in (chat, *others))


def test_a_bot_sends_less_than_thirty_messages_a_second(
    chat: BotChat, server: BotServer, channel: ChannelName, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(delivery, "SECONDS_BETWEEN", 0.04)
    monkeypatch.setattr(delivery, "sleep", slept.append)
    for text in ("1", "2", "3"):
        notify(chat, text)
    assert delivery.deliver(channel) == 3
    assert slept == [0.04, 0.04]


def test_a_refusal_of_one_message_keeps_no_other(
    chat: BotChat, server: BotServer, channel: ChannelName
) -> None:
    other = connected(channel)
    server.refused[chat.chat_id or 0] = (400, "Bad Request: message is too odd")
    notify(chat)
    notify(other)
    delivery.deliver(channel)
    assert (outcomes(chat), outcomes(other)) == ({channel: Outcome.WAITING}, {channel: Outcome.SENT})
    server.refused.clear()
    later()
    delivery.deliver(channel)
    assert outcomes(chat) == {channel: Outcome.SENT}


def test_runs_at_once_send_one(committed_db: None, telegram: BotServer) -> None:
    channel = ChannelName.TELEGRAM
    polling.poll(channel)
    chat = connected(channel)
    notify(chat)
    barrier = threading.Barrier(6)

    def run_once() -> None:
        barrier.wait()
        try:
            delivery.deliver(channel)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run_once) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    delivery.deliver(channel)
    assert telegram.told(chat.chat_id or 0) == ["low"]
    BotChat.objects.all().delete()


def test_a_worker_that_dies_while_it_sends_loses_one_and_sends_none_twice(
    chat: BotChat, server: BotServer, channel: ChannelName, monkeypatch: pytest.MonkeyPatch
) -> None:
    notify(chat)
    assert delivery._claim(channel) is not None
    later()
    delivery.deliver(channel)
    assert (server.sent, outcomes(chat)) == ([], {channel: Outcome.SENDING})


def test_no_line_of_the_log_names_a_chat_a_number_a_text_or_a_token(
    chat: BotChat, server: BotServer, channel: ChannelName, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    notify(chat, "SECRET TEXT")
    delivery.deliver(channel)
    for refusal in (server.blocked, server.wrong_token, server.too_fast, (400, "odd")):
        notify(connected(channel), f"SECRET TEXT {refusal}")
        server.refusal = refusal
        delivery.deliver(channel)
        later()
        server.refusal = None
        polling.poll(channel)
    lines = "\n".join(JSONFormatter().format(record) for record in caplog.records)
    assert '"message":"notice"' in lines
    numbers = list(User.objects.values_list("mobile", flat=True))
    for secret in (server.token, server.token.partition(":")[2], "SECRET TEXT", str(chat.chat_id), *numbers):
        assert secret not in lines


def test_sms_goes_on_where_no_provider_is_set_up_later(chat: BotChat, settings: Any) -> None:
    User.objects.filter(pk=chat.user_id).update(gets_sms=True)
    notify(chat)
    settings.SMS_PROVIDER = "none"
    assert delivery.deliver(SMS) == 0
    settings.SMS_PROVIDER = "console"
    assert delivery.deliver(SMS) == 1


def test_a_number_that_the_provider_refuses_is_not_tried_again(
    chat: BotChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    User.objects.filter(pk=chat.user_id).update(gets_sms=True)
    asked = []

    def refuse(*, mobile: str, text: str) -> None:
        asked.append(mobile)
        raise NumberRefused("on the black list")

    monkeypatch.setattr(sending, "send_text", refuse)
    notify(chat)
    for _ in range(2):
        delivery.deliver(SMS)
        later()
    assert len(asked) == 1
    assert outcomes(chat)[SMS] == Outcome.FAILED
    assert bots.configured()
