"""What people write to the bots is read and answered: /start with an invitation connects a chat, /stop ends it.

The bots are asked, so that nothing has to reach this service from outside. Where a process dies between an answer of
the messenger and the note of what has been read, the same is read again, and changes nothing the second time.
"""

import logging
from time import monotonic, sleep

from django.conf import settings
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _

from accounts import phone
from accounts.channel_models import BotState, ChannelName
from accounts.channels import bots, chats
from accounts.channels.bot_api import Bot, Update
from accounts.shared import formats
from accounts.shared.channel import SendError, TooFast

logger = logging.getLogger(__name__)

SECONDS_PER_RUN = 45
WAIT_SECONDS = 20  # for what is written next, as long as somebody is about to connect a chat
PAUSE_SECONDS = 2
LONGEST_CALL_SECONDS = 45


def poll(channel: ChannelName) -> None:
    """Reads and answers what has been written to one bot. Talks to it, so it belongs outside transactions.

    Returns at once while another process does the same.
    """
    bot = bots.bot(channel)
    if bot is None:
        return
    bots.known(channel)
    if not bots.claim(channel, "polled_until", seconds=SECONDS_PER_RUN + LONGEST_CALL_SECONDS):
        return
    try:
        bots.introduce(channel, bot)
        _read(channel, bot)
    except TooFast:
        pass  # the next run is soon enough
    except SendError as error:
        bots.note_problem(channel, error)
    finally:
        bots.release(channel, "polled_until")


def _read(channel: ChannelName, bot: Bot) -> None:
    end = monotonic() + SECONDS_PER_RUN
    while True:
        asked_at = monotonic()
        offset = BotState.objects.values_list("offset", flat=True).get(pk=channel)
        is_awaited = asked_at < end - WAIT_SECONDS and chats.are_awaited(channel)
        updates = bot.updates(offset=offset, wait_seconds=WAIT_SECONDS if is_awaited else 0)
        bots.note_success(channel)
        for update in updates:
            _take(channel, bot, update)
        # A messenger that tells the same again has not been told what was read; the next run tells it anew.
        if monotonic() > end or not (updates or is_awaited) or (updates and updates[-1].update_id < offset):
            return
        if not updates:  # it may not know how to wait
            sleep(max(0.0, PAUSE_SECONDS - (monotonic() - asked_at)))


def _take(channel: ChannelName, bot: Bot, update: Update) -> None:
    """One that cannot be dealt with must not keep those behind it."""
    answer = ""
    try:
        answer = _answer(channel, update)
    except Exception:
        logger.exception("message to a bot not read", extra={"channel": str(channel)})
    BotState.objects.filter(pk=channel).update(offset=update.update_id + 1)
    if not answer:
        return
    try:
        bot.send_text(to=str(update.chat_id), text=answer)
    except SendError as error:
        logger.warning(
            "answer of a bot not sent",
            extra={"channel": str(channel), "error": type(error).__name__, "reason": str(error)},
        )


def _answer(channel: ChannelName, update: Update) -> str:
    """Empty: nothing is said to what is no command."""
    command, _space, argument = update.text.strip().partition(" ")
    command = command.partition("@")[0].lower()
    told = chats.language(channel=channel, chat_id=update.chat_id) or _guessed(update.language)
    with translation.override(told):
        if command == "/stop":
            return _stopped(channel, update.chat_id)
        if command == "/start":
            return _started(channel, update.chat_id, argument.strip())
    return ""


def _stopped(channel: ChannelName, chat_id: int) -> str:
    if chats.disconnect_chat(channel=channel, chat_id=chat_id):
        return _("Disconnected. Nothing more is sent here; what you need to know comes by SMS.")
    return _("This chat is not connected to any account.")


def _started(channel: ChannelName, chat_id: int, token: str) -> str:
    again = {"address": f"{settings.BASE_URL}{reverse('accounts:settings')}#notices"}
    if not token:
        return (
            _("To get messages here, sign in to Hamiran and press “Connect” in the settings: %(address)s")
            % again
        )
    try:
        chat = chats.accept(channel=channel, chat_id=chat_id, token=token)
    except chats.Used:
        return _("This link has been used. Press “Connect” in the settings for another: %(address)s") % again
    except chats.Invalid:
        return (
            _("This link is no longer valid. Press “Connect” in the settings for another: %(address)s")
            % again
        )
    except chats.Taken:
        return _(
            "This chat gets the messages of another account. Send /stop first, then press “Connect” again."
        )
    with translation.override(chat.language):
        mobile = formats.digits_text(phone.masked(chat.user.mobile), language=chat.language)
        return _("Connected. Messages for the account %(mobile)s come here from now on. /stop ends it.") % {
            "mobile": mobile
        }


def _guessed(language: str) -> str:
    """By the language of a stranger's app, else that of all messages."""
    return "en" if language.lower().startswith("en") else settings.LANGUAGE_CODE
