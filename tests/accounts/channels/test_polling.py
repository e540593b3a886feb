"""Chats are connected and ended by what people write to the bots."""

import logging
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from accounts import tasks
from accounts.channel_models import BotChat, BotInvitation, BotState, ChannelName
from accounts.channels import bots, chats, polling
from accounts.models import User
from tests.accounts.channels.servers import BotServer
from tests.factories import UserFactory

CHAT, OTHER_CHAT = 987654321, 123456789


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call a run: nobody waits in a test for what a person writes next."""
    monkeypatch.setattr(polling, "SECONDS_PER_RUN", 0)


@pytest.fixture
def user(db: None) -> User:
    return UserFactory.create(mobile="+989121234567")


def invite(user: User, channel: ChannelName, language: str = "en") -> str:
    return chats.invite(user_id=user.pk, channel=channel, language=language)


def chat_of(user: User, channel: ChannelName) -> int | None:
    return BotChat.objects.filter(user=user, channel=channel).values_list("chat_id", flat=True).first()


def test_start_with_an_invitation_connects_the_chat_and_says_so(
    user: User, server: BotServer, channel: ChannelName
) -> None:
    server.write(CHAT, f"/start {invite(user, channel)}")
    polling.poll(channel)
    assert chat_of(user, channel) == CHAT
    assert server.told(CHAT) == [
        "Connected. Messages for the account 0912***4567 come here from now on. /stop ends it."
    ]
    polling.poll(channel)
    assert len(server.sent) == 1
    assert server.offsets == [0, 501]


def test_the_answer_is_in_the_language_of_the_page(
    user: User, server: BotServer, channel: ChannelName
) -> None:
    server.write(CHAT, f"/start {invite(user, channel, 'fa')}")
    polling.poll(channel)
    assert "۰۹۱۲***۴۵۶۷" in server.told(CHAT)[0]


def test_stop_ends_it_and_another_invitation_begins_it_again(
    user: User, server: BotServer, channel: ChannelName
) -> None:
    server.write(CHAT, f"/start {invite(user, channel)}")
    server.write(CHAT, "/stop")
    server.write(CHAT, "/stop@hamiran_bot now", **{"from": {"language_code": "en"}})
    polling.poll(channel)
    assert chat_of(user, channel) is None
    assert [text.partition(".")[0] for text in server.told(CHAT)[1:]] == [
        "Disconnected", "This chat is not connected to any account",
    ]  # fmt: skip
    server.write(CHAT, f"/start {invite(user, channel)}")
    polling.poll(channel)
    assert chat_of(user, channel) == CHAT


def test_a_link_works_once_and_for_ten_minutes(user: User, server: BotServer, channel: ChannelName) -> None:
    token = invite(user, channel)
    server.write(CHAT, f"/start {token}")
    server.write(OTHER_CHAT, f"/start {token}")
    polling.poll(channel)
    assert chat_of(user, channel) == CHAT
    other = UserFactory.create()
    late = invite(other, channel)
    BotInvitation.objects.filter(used_at=None).update(expires_at=timezone.now())
    server.write(OTHER_CHAT, f"/start {late}", **{"from": {"language_code": "en-GB"}})
    server.write(OTHER_CHAT, "/start nothing-like-it", **{"from": {"language_code": "en"}})
    polling.poll(channel)
    assert chat_of(other, channel) is None
    told = server.told(OTHER_CHAT)
    assert told[0] != told[1]  # used by another; over
    assert told[1] == told[2]
    assert told[1].startswith("This link is no longer valid.")
    assert "/settings/#notices" in told[1]


def test_a_newer_link_makes_the_older_void(user: User, server: BotServer, channel: ChannelName) -> None:
    first, second = invite(user, channel), invite(user, channel)
    server.write(OTHER_CHAT, f"/start {first}")
    server.write(CHAT, f"/start {second}")
    polling.poll(channel)
    assert chat_of(user, channel) == CHAT


def test_an_invitation_is_for_one_messenger(user: User, telegram: BotServer, bale: BotServer) -> None:
    telegram.write(CHAT, f"/start {invite(user, ChannelName.BALE)}")
    polling.poll(ChannelName.TELEGRAM)
    assert not BotChat.objects.exists()


def test_a_chat_has_one_account(user: User, server: BotServer, channel: ChannelName) -> None:
    other = UserFactory.create()
    server.write(CHAT, f"/start {invite(user, channel)}")
    server.write(CHAT, f"/start {invite(other, channel)}")
    polling.poll(channel)
    assert (chat_of(user, channel), chat_of(other, channel)) == (CHAT, None)
    assert server.told(CHAT)[1].startswith("This chat gets the messages of another account.")


def test_an_account_that_was_closed_meanwhile_is_not_connected(
    user: User, server: BotServer, channel: ChannelName
) -> None:
    token = invite(user, channel)
    User.objects.filter(pk=user.pk).update(is_active=False)
    server.write(CHAT, f"/start {token}")
    polling.poll(channel)
    assert not BotChat.objects.exists()


def test_strangers_are_told_where_to_begin_and_small_talk_is_not_answered(
    db: None, server: BotServer, channel: ChannelName
) -> None:
    for text in ("/start", "hello", "", "/help", "سلام", "/stop"):
        server.write(CHAT, text, **{"from": {"language_code": "en"}})
    polling.poll(channel)
    start, stop = server.told(CHAT)
    assert start.startswith("To get messages here, sign in to Hamiran")
    assert stop == "This chat is not connected to any account."


def test_what_is_told_twice_changes_nothing_the_second_time(
    user: User, server: BotServer, channel: ChannelName
) -> None:
    server.forgets_offsets = True
    server.write(CHAT, f"/start {invite(user, channel)}")
    for _ in range(3):
        polling.poll(channel)
    assert chat_of(user, channel) == CHAT
    assert set(server.told(CHAT)) == {server.told(CHAT)[0]}


def test_a_process_that_dies_before_it_notes_what_it_read_reads_it_again(
    user: User, server: BotServer, channel: ChannelName, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.write(CHAT, f"/start {invite(user, channel)}")
    polling.poll(channel)
    BotState.objects.update(offset=0, polled_until=timezone.now() - timedelta(seconds=1))
    polling.poll(channel)
    assert chat_of(user, channel) == CHAT
    assert len(set(server.told(CHAT))) == 1


def test_one_that_cannot_be_dealt_with_does_not_keep_those_behind_it(
    user: User,
    server: BotServer,
    channel: ChannelName,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    accept = chats.accept

    def fails_once(**said: Any) -> BotChat:
        if said["token"] == "bad":
            raise RuntimeError
        return accept(**said)

    monkeypatch.setattr(chats, "accept", fails_once)
    server.write(OTHER_CHAT, "/start bad")
    server.write(CHAT, f"/start {invite(user, channel)}")
    polling.poll(channel)
    assert chat_of(user, channel) == CHAT
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_an_answer_that_does_not_get_through_changes_nothing(
    user: User, server: BotServer, channel: ChannelName
) -> None:
    server.refused_calls["sendMessage"] = server.blocked
    server.write(CHAT, f"/start {invite(user, channel)}")
    polling.poll(channel)
    assert chat_of(user, channel) == CHAT


def test_as_long_as_somebody_is_about_to_connect_the_messenger_is_asked_to_wait(
    user: User, server: BotServer, channel: ChannelName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "SECONDS_PER_RUN", 45)
    monkeypatch.setattr(polling, "PAUSE_SECONDS", 0)
    clock = iter(range(0, 1000, 5))
    monkeypatch.setattr(polling, "monotonic", lambda: next(clock))
    polling.poll(channel)
    assert server.waits == [0]
    invite(user, channel)
    polling.poll(channel)
    assert set(server.waits[1:-1]) == {20}
    assert server.waits[-1] == 0
    assert len(server.waits) < 8


def test_two_processes_do_not_read_at_once(committed_db: None, telegram: BotServer) -> None:
    channel = ChannelName.TELEGRAM
    polling.poll(channel)
    assert bots.claim(channel, "polled_until", seconds=60)

    def poll_once() -> None:
        polling.poll(channel)
        connections.close_all()

    thread = threading.Thread(target=poll_once)
    thread.start()
    thread.join()
    assert len(telegram.offsets) == 1
    bots.release(channel, "polled_until")
    polling.poll(channel)
    assert len(telegram.offsets) == 2


@pytest.mark.parametrize(
    ("call", "refusal", "problem"),
    [
        ("getMe", "wrong_token", "KeyRefused"),
        ("getUpdates", (409, "Conflict: can't use getUpdates method while webhook is active"), "Conflict"),
    ],
)
def test_what_the_operator_has_to_mend_is_logged_once_and_the_bot_is_not_offered(
    db: None,
    server: BotServer,
    channel: ChannelName,
    caplog: pytest.LogCaptureFixture,
    call: str,
    refusal: Any,
    problem: str,
) -> None:
    polling.poll(channel)
    assert bots.username(channel) == "hamiran_bot"
    BotState.objects.update(asked_at=None)
    server.refused_calls[call] = getattr(server, refusal) if isinstance(refusal, str) else refusal
    for _ in range(3):
        polling.poll(channel)
    assert [
        (record.levelno, vars(record)["error"])
        for record in caplog.records
        if record.message == "bot not working"
    ] == [(logging.ERROR, problem)]
    assert bots.username(channel) == ""
    server.refused_calls.clear()
    polling.poll(channel)
    assert bots.username(channel) == "hamiran_bot"


def test_one_that_says_slow_down_is_asked_again_by_the_next_run(
    db: None, server: BotServer, channel: ChannelName, caplog: pytest.LogCaptureFixture
) -> None:
    polling.poll(channel)
    server.refused_calls["getUpdates"] = server.too_fast
    polling.poll(channel)
    assert (caplog.records, bots.username(channel)) == ([], "hamiran_bot")


def test_another_token_is_another_bot(
    user: User, server: BotServer, channel: ChannelName, settings: Any
) -> None:
    server.write(CHAT, "/start")
    polling.poll(channel)
    server.token = "99:another"
    setattr(settings, f"{channel.upper()}_BOT_TOKEN", server.token)
    assert bots.username(channel) == ""
    polling.poll(channel)
    assert server.offsets == [0, 0]
    assert bots.username(channel) == "hamiran_bot"


def test_without_a_token_nobody_is_asked(
    db: None, server: BotServer, channel: ChannelName, settings: Any
) -> None:
    setattr(settings, f"{channel.upper()}_BOT_TOKEN", "")
    tasks.poll_bot(channel)
    assert (server.calls, bots.configured()) == ([], [])


def test_invitations_are_forgotten_after_a_day(user: User) -> None:
    invite(user, ChannelName.BALE)
    tasks.purge_notices()
    assert BotInvitation.objects.count() == 1
    BotInvitation.objects.update(expires_at=timezone.now() - timedelta(days=2))
    tasks.purge_notices()
    assert BotInvitation.objects.count() == 0


def test_an_account_in_other_hands_has_no_chats_and_no_open_links(
    user: User, server: BotServer, channel: ChannelName
) -> None:
    server.write(CHAT, f"/start {invite(user, channel)}")
    polling.poll(channel)
    token = invite(user, channel)
    chats.disconnect_all(user_id=user.pk)
    server.write(OTHER_CHAT, f"/start {token}")
    polling.poll(channel)
    assert chat_of(user, channel) is None
