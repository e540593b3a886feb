"""What the bots' adapter makes of all that the two messengers may answer."""

import logging
import traceback
from typing import Any

import httpx
import pytest

from accounts.channels import bots
from accounts.channels.bot_api import Bot, Conflict
from accounts.shared import provider_call
from accounts.shared.channel import (
    KeyRefused,
    NeedsOperator,
    NoAnswer,
    RecipientRefused,
    SendError,
    TooFast,
    Unreachable,
)
from config.logging import JSONFormatter
from tests.accounts.channels.servers import BotServer, Telegram
from tests.live import free_port

CHAT, TEXT = 987654321, "موجودی کیف پول شما کم است"


@pytest.fixture
def bot(server: BotServer) -> Bot:
    return Bot(base_url=server.url, token=server.token)


def test_a_text_reaches_its_chat_as_it_is(bot: Bot, server: BotServer) -> None:
    bot.send_text(to=str(CHAT), text=f"{TEXT} <b>&amp; *_[")
    assert server.sent == [(CHAT, f"{TEXT} <b>&amp; *_[")]


def test_a_bot_tells_its_name(bot: Bot) -> None:
    assert bot.username() == "hamiran_bot"


def test_updates_are_read_from_where_they_were_left(bot: Bot, server: BotServer) -> None:
    server.write(CHAT, "/start abc")
    server.write(CHAT, "/stop")
    [last] = bot.updates(offset=501, wait_seconds=0)
    assert (last.update_id, last.chat_id, last.text, last.language) == (501, CHAT, "/stop", "fa")
    assert (server.offsets, server.waits) == ([501], [0])


def test_what_is_no_text_of_one_person_is_read_over(bot: Bot, server: BotServer) -> None:
    server.write(CHAT, "/stop", chat={"id": -100123, "type": "supergroup"})
    server.write(CHAT, "/stop", chat={"id": 2**70, "type": "private"})
    server.write(CHAT, "/stop", chat="none")
    server.write(CHAT, None)
    server.updates += [{"update_id": 600}, {"update_id": 2**80}, {"update_id": "601"}]
    updates = bot.updates(offset=0, wait_seconds=0)
    assert [(each.update_id, each.text) for each in updates] == [
        (500, ""), (501, ""), (502, ""), (503, ""), (600, ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ("blocked", RecipientRefused),
        ("chat_not_found", RecipientRefused),
        ("wrong_token", KeyRefused),
        ("too_fast", TooFast),
    ],
)
def test_refusals_have_types(bot: Bot, server: BotServer, case: str, kind: type[SendError]) -> None:
    server.refusal = getattr(server, case)
    with pytest.raises(SendError) as refused:
        bot.send_text(to=str(CHAT), text=TEXT)
    assert type(refused.value) is kind
    assert server.sent == []


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        ((404, "Not Found"), KeyRefused),
        ((403, "Forbidden: user is deactivated"), RecipientRefused),
        ((403, "Forbidden: bot can't initiate conversation with a user"), RecipientRefused),
        ((409, "Conflict: can't use getUpdates method while webhook is active"), Conflict),
        ((400, "Bad Request: message text is empty"), SendError),
        ((418, "something new"), SendError),
    ],
)
def test_so_have_those_that_only_telegram_is_known_to_give(
    telegram: BotServer, refusal: tuple[int, str], kind: type[SendError]
) -> None:
    telegram.refusal = refusal
    with pytest.raises(SendError) as refused:
        Bot(base_url=telegram.url, token=telegram.token).updates(offset=0, wait_seconds=0)
    assert type(refused.value) is kind


def test_how_long_to_wait_is_what_the_messenger_says(bot: Bot, server: BotServer) -> None:
    server.refusal = server.too_fast
    with pytest.raises(TooFast) as refused:
        bot.send_text(to=str(CHAT), text=TEXT)
    assert refused.value.retry_after_seconds == (31 if isinstance(server, Telegram) else 5)
    for said, seconds in ((10**9, 3600), (-1, 5), ("soon", 5), (True, 5)):
        server.refusal = (429, "Too Many Requests", {"retry_after": said})
        with pytest.raises(TooFast) as refused:
            bot.send_text(to=str(CHAT), text=TEXT)
        assert refused.value.retry_after_seconds == seconds


def test_a_front_that_answers_429_in_plain_words_has_sent_nothing(bot: Bot, server: BotServer) -> None:
    server.fault = "plain 429"
    with pytest.raises(TooFast):
        bot.send_text(to=str(CHAT), text=TEXT)


@pytest.mark.parametrize(
    "fault", ["lost reply", "HTML", "cut", "a list", "empty", "ok is one", "no result", "500", "502"]
)
def test_an_answer_that_cannot_be_read_leaves_it_open_whether_it_was_sent(
    bot: Bot, server: BotServer, fault: str
) -> None:
    server.fault = fault
    with pytest.raises(NoAnswer):
        bot.send_text(to=str(CHAT), text=TEXT)
    with pytest.raises(NoAnswer):
        bot.updates(offset=0, wait_seconds=0)
    assert server.calls == ["sendMessage", "getUpdates"]  # nothing is tried twice


def test_a_messenger_that_hangs_is_left(bot: Bot, server: BotServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_call, "TIMEOUT", httpx.Timeout(0.1))
    server.fault = "hangs"
    with pytest.raises(NoAnswer, match="ReadTimeout"):
        bot.send_text(to=str(CHAT), text=TEXT)


def test_one_that_is_asked_to_wait_may_take_so_much_longer(
    bot: Bot, server: BotServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def stream(method: str, url: str, **options: Any) -> None:
        asked.update(options)
        raise httpx.ReadTimeout("late")

    monkeypatch.setattr(httpx, "stream", stream)
    with pytest.raises(NoAnswer):
        bot.updates(offset=0, wait_seconds=20)
    assert (asked["timeout"].connect, asked["timeout"].read) == (5, 30)
    assert asked["json"]["timeout"] == 20


def test_one_that_is_not_there_has_sent_nothing(bot: Bot) -> None:
    gone = Bot(base_url=f"http://127.0.0.1:{free_port()}", token=bot.token)
    with pytest.raises(Unreachable):
        gone.send_text(to=str(CHAT), text=TEXT)


def test_telegram_is_asked_through_the_proxy_and_bale_is_not(
    telegram: BotServer, bale: BotServer, settings: Any
) -> None:
    """The proxy here is Telegram's server itself, which sees the whole address of an unencrypted call."""
    settings.TELEGRAM_BASE_URL, settings.TELEGRAM_PROXY = "http://telegram.invalid", telegram.url
    names = [bot.username() for channel in bots.configured() if (bot := bots.bot(channel))]
    assert names == ["hamiran_bot"] * 2
    assert telegram.paths == [f"http://telegram.invalid/bot{telegram.token}/getMe"]
    assert bale.paths == [f"/bot{bale.token}/getMe"]


def test_a_proxy_that_is_not_there_has_sent_nothing(telegram: BotServer) -> None:
    away = Bot(base_url=telegram.url, token=telegram.token, proxy=f"http://u:p@127.0.0.1:{free_port()}")
    with pytest.raises(Unreachable):
        away.send_text(to=str(CHAT), text=TEXT)
    assert telegram.calls == []


def test_what_only_the_operator_can_mend_is_told_apart() -> None:
    kinds = (KeyRefused, Conflict, RecipientRefused, TooFast, NoAnswer, Unreachable)
    assert [issubclass(kind, NeedsOperator) for kind in kinds] == [True] * 2 + [False] * 4


@pytest.mark.parametrize(
    "case", ["", "blocked", "wrong_token", "too_fast", "500", "HTML", "lost reply", "hangs", "gone"]
)
def test_neither_token_nor_chat_nor_text_gets_into_a_log_an_error_or_a_repr(
    server: BotServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(provider_call, "TIMEOUT", httpx.Timeout(0.2))
    url, proxy = server.url, "http://user:ProxyPassword@127.0.0.1:1"
    if case in {"blocked", "wrong_token", "too_fast"}:
        server.refusal = getattr(server, case)
    elif case == "gone":
        url = f"http://127.0.0.1:{free_port()}"
    else:
        server.fault = case
    bot = Bot(base_url=url, token=server.token)
    told = [repr(bot), str(bot), repr(Bot(base_url=url, token=server.token, proxy=proxy))]
    try:
        bot.send_text(to=str(CHAT), text=TEXT)
    except SendError as error:
        logging.getLogger("accounts").exception("it failed")
        told += [*traceback.format_exception(error), repr(error), str(vars(error))]
    else:
        assert case == ""
    told += [JSONFormatter().format(record) + str(vars(record)) for record in caplog.records]
    for secret in (server.token, server.token.partition(":")[2], str(CHAT), TEXT, "ProxyPassword"):
        assert secret not in "\n".join(told)
