"""The bots that the settings set up, and what is known of each."""

import logging
from datetime import timedelta

from django.conf import settings
from django.db.models import Q
from django.utils import timezone
from django.utils.crypto import salted_hmac

from accounts.channel_models import BotState, ChannelName
from accounts.channels.bot_api import Bot
from accounts.shared.channel import NeedsOperator, SendError

logger = logging.getLogger(__name__)

LINKS = {
    ChannelName.TELEGRAM: "https://t.me/{username}?start={token}",
    ChannelName.BALE: "https://ble.ir/{username}?start={token}",
}
ASKED_EVERY = timedelta(hours=1)


def configured() -> list[ChannelName]:
    """The messengers whose bot has a token."""
    return [channel for channel in LINKS if _token(channel)]


def bot(channel: ChannelName) -> Bot | None:
    """None: the settings give it no token."""
    token = _token(channel)
    if not token:
        return None
    if channel == ChannelName.TELEGRAM:
        return Bot(base_url=settings.TELEGRAM_BASE_URL, token=token, proxy=settings.TELEGRAM_PROXY)
    return Bot(base_url=settings.BALE_BASE_URL, token=token)


def username(channel: ChannelName) -> str:
    """The bot's name in links; empty as long as it is not known that the bot works."""
    state = BotState.objects.filter(pk=channel, fingerprint=_fingerprint(channel), problem="").first()
    return state.username if state is not None else ""


def link(channel: ChannelName, *, username: str, token: str) -> str:
    """The address that opens the bot, which is then told the token."""
    return LINKS[channel].format(username=username, token=token)


def known(channel: ChannelName) -> BotState:
    """What is known of a bot, begun anew for another token."""
    fingerprint = _fingerprint(channel)
    state, _made = BotState.objects.get_or_create(pk=channel, defaults={"fingerprint": fingerprint})
    if state.fingerprint != fingerprint:
        BotState.objects.filter(pk=channel).exclude(fingerprint=fingerprint).update(
            fingerprint=fingerprint, username="", problem="", asked_at=None, offset=0, paused_until=None
        )
        state.refresh_from_db()
    return state


def introduce(channel: ChannelName, bot: Bot) -> None:
    """Asks a bot for its name, from time to time. Raises SendError."""
    state = known(channel)
    if state.asked_at is None or state.asked_at < timezone.now() - ASKED_EVERY or state.problem:
        name = bot.username()[:64]
        BotState.objects.filter(pk=channel).update(username=name, asked_at=timezone.now())


def note_success(channel: ChannelName) -> None:
    BotState.objects.filter(pk=channel).exclude(problem="").update(problem="")


def note_problem(channel: ChannelName, error: SendError) -> None:
    """Keeps what is wrong with a bot, and logs it once: until something else is wrong, or nothing."""
    kind = type(error).__name__
    if BotState.objects.filter(pk=channel).exclude(problem=kind).update(problem=kind):
        logger.log(
            logging.ERROR if isinstance(error, NeedsOperator) else logging.WARNING,
            "bot not working",
            extra={"channel": str(channel), "error": kind, "reason": str(error)},
        )


def claim(channel: ChannelName, column: str, *, seconds: float) -> bool:
    """Has a bot to itself for some time, or returns False: nobody else reads (or sends) until `release` or the end."""
    now = timezone.now()
    return bool(
        BotState.objects.filter(
            Q(**{f"{column}__isnull": True}) | Q(**{f"{column}__lt": now}), pk=channel
        ).update(**{column: now + timedelta(seconds=seconds)})
    )


def release(channel: ChannelName, column: str) -> None:
    BotState.objects.filter(pk=channel).update(**{column: None})


def pause(channel: ChannelName, *, seconds: int) -> None:
    """Nothing is sent by this bot for so long: its messenger said so."""
    BotState.objects.filter(pk=channel).update(paused_until=timezone.now() + timedelta(seconds=seconds))


def _token(channel: ChannelName) -> str:
    return settings.TELEGRAM_BOT_TOKEN if channel == ChannelName.TELEGRAM else settings.BALE_BOT_TOKEN


def _fingerprint(channel: ChannelName) -> str:
    return salted_hmac("accounts.channels.bots", _token(channel), algorithm="sha256").hexdigest()
