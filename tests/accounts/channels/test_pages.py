"""The settings' part about messages: choosing channels, connecting and ending chats."""

import re
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.channel_models import BotChat, BotInvitation, ChannelName
from accounts.channels import bots, notices, polling
from accounts.models import User
from tests.accounts.channels.servers import BotServer, Telegram
from tests.admin_browser import admin_browser
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db
CHAT = 987654321


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "SECONDS_PER_RUN", 0)


@pytest.fixture
def user() -> User:
    return UserFactory.create()


@pytest.fixture
def browser(client: Client, user: User) -> Client:
    client.force_login(user)
    client.cookies["hamiran_language"] = "en"
    return client


def settings_page(browser: Client) -> str:
    return browser.get("/settings/").text


def test_where_there_is_nothing_to_choose_nothing_is_asked(browser: Client) -> None:
    assert "Messages to you" not in settings_page(browser)
    assert browser.post("/settings/notices/telegram/connect/").status_code == 404


def test_a_bot_is_offered_once_it_is_known_to_work(
    browser: Client, server: BotServer, channel: ChannelName
) -> None:
    address = f"/settings/notices/{channel}/connect/"
    assert "Cannot be reached right now." in settings_page(browser)
    refused = browser.post(address, follow=True)
    assert "cannot be reached right now" in refused.text
    assert not BotInvitation.objects.exists()
    polling.poll(channel)
    assert address in settings_page(browser)


def test_a_chat_is_connected_by_the_link_on_the_page(
    browser: Client, user: User, server: BotServer, channel: ChannelName
) -> None:
    polling.poll(channel)
    page = browser.post(f"/settings/notices/{channel}/connect/").text
    host = "t.me" if isinstance(server, Telegram) else "ble.ir"
    [token] = set(re.findall(rf"https://{host}/hamiran_bot\?start=([A-Za-z0-9_-]{{20,64}})", page))
    asked = f"/settings/notices/{channel}/connected/"
    assert asked in page
    assert "HX-Redirect" not in browser.get(asked).headers
    server.write(CHAT, f"/start {token}")
    polling.poll(channel)
    assert browser.get(asked).headers["HX-Redirect"] == "/settings/#notices"
    shown = settings_page(browser)
    assert "is connected." in shown
    assert f"/settings/notices/{channel}/disconnect/" in shown
    assert notices.chosen(user.pk) == [ChannelName.SMS, channel]
    assert token not in str(BotInvitation.objects.values_list())


def test_channels_are_chosen_and_one_always_remains(
    browser: Client, user: User, server: BotServer, channel: ChannelName
) -> None:
    BotChat.objects.create(user=user, channel=channel, chat_id=CHAT, language="en")
    browser.post("/settings/notices/", {"channel": [channel]})
    assert notices.chosen(user.pk) == [channel]
    for none in ([], ["pigeon"], ["sms2"]):
        page = browser.post("/settings/notices/", {"channel": none}, follow=True).text
        assert "at least one" in page
    assert notices.chosen(user.pk) == [channel]
    browser.post("/settings/notices/", {"channel": ["sms"]})
    assert notices.chosen(user.pk) == [ChannelName.SMS]


def test_a_channel_that_is_not_connected_cannot_be_chosen(
    browser: Client, user: User, server: BotServer, channel: ChannelName
) -> None:
    assert "at least one" in browser.post("/settings/notices/", {"channel": [channel]}, follow=True).text
    assert notices.chosen(user.pk) == [ChannelName.SMS]


def test_a_chat_is_ended_on_the_page(
    browser: Client, user: User, server: BotServer, channel: ChannelName
) -> None:
    BotChat.objects.create(user=user, channel=channel, chat_id=CHAT, language="en")
    other = BotChat.objects.create(
        user=UserFactory.create(), channel=channel, chat_id=CHAT + 1, language="en"
    )
    page = browser.post(f"/settings/notices/{channel}/disconnect/", follow=True).text
    assert "is disconnected." in page
    assert BotChat.objects.filter(chat_id__isnull=False).get() == other


def test_who_blocked_the_bot_is_told_why_it_is_silent(
    browser: Client, user: User, server: BotServer, channel: ChannelName
) -> None:
    BotChat.objects.create(user=user, channel=channel, lost_at=timezone.now(), language="en")
    polling.poll(channel)
    page = settings_page(browser)
    assert "because the bot is blocked there" in page
    assert f"/settings/notices/{channel}/connect/" in page


def test_strangers_and_readers_change_nothing(
    client: Client, server: BotServer, channel: ChannelName
) -> None:
    for path in ("", f"{channel}/connect/", f"{channel}/disconnect/"):
        assert client.get(f"/settings/notices/{path}").status_code == 405
        assert client.post(f"/settings/notices/{path}").headers["Location"].startswith("/sign-in/")


def test_what_is_no_messenger_is_not_found(browser: Client, settings: Any, server: BotServer) -> None:
    for name in ("sms", "pigeon"):
        for verb in ("connect", "disconnect"):
            assert browser.post(f"/settings/notices/{name}/{verb}/").status_code == 404
    assert bots.configured()


def test_admins_see_chats_and_messages_but_neither_chat_ids_nor_words(user: User) -> None:
    BotChat.objects.create(user=user, channel=ChannelName.BALE, chat_id=CHAT, language="en")
    notices.notify(user_id=user.pk, event="balance.low", dedup="1", text="SECRET WORDS")
    browser = admin_browser()
    for path in (f"user/{user.pk}/change/", "notice/", "botstate/"):
        page = browser.get(f"/admin/accounts/{path}")
        assert page.status_code == 200
        assert str(CHAT) not in page.text
        assert "SECRET WORDS" not in page.text
    saved = browser.post(f"/admin/accounts/user/{user.pk}/change/", {"tier": user.tier_id, "is_active": "on"})
    assert saved.status_code == 302
    assert BotChat.objects.filter(chat_id=CHAT).exists()
