"""Both bots on loopback, and settings that lead there."""

from collections.abc import Iterator
from typing import Any

import pytest

from accounts.channel_models import ChannelName
from tests.accounts.channels.servers import Bale, BotServer, Telegram, running


@pytest.fixture
def telegram(settings: Any) -> Iterator[BotServer]:
    with running(Telegram) as server:
        settings.TELEGRAM_BASE_URL, settings.TELEGRAM_BOT_TOKEN = server.url, server.token
        yield server


@pytest.fixture
def bale(settings: Any) -> Iterator[BotServer]:
    with running(Bale) as server:
        settings.BALE_BASE_URL, settings.BALE_BOT_TOKEN = server.url, server.token
        yield server


@pytest.fixture(params=["telegram", "bale"])
def server(request: pytest.FixtureRequest) -> BotServer:
    """Each of them in turn."""
    found: BotServer = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def channel(server: BotServer) -> ChannelName:
    return ChannelName.TELEGRAM if isinstance(server, Telegram) else ChannelName.BALE
