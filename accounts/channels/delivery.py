"""Notices leave here, each claimed before it is sent: a worker that dies in between loses one, and none goes out twice.

What a channel certainly did not take is tried again, later each time. What a bot refuses for good, or has not taken
after PATIENCE, leaves by SMS instead.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic, sleep

from django.db import connection, transaction
from django.utils import timezone
from prometheus_client import Counter

from accounts.channel_models import BotChat, BotState, ChannelName, Notice
from accounts.channels import bots, chats
from accounts.models import User
from accounts.shared.channel import (
    Channel,
    NeedsOperator,
    NoAnswer,
    RecipientRefused,
    SendError,
    TooFast,
    Unreachable,
)
from accounts.sms import sending

logger = logging.getLogger(__name__)

NOTICES = Counter(
    "hamiran_notices", "Messages to people, and what became of each try", ["channel", "outcome"]
)

PER_RUN = 500
SECONDS_PER_RUN = 45  # the next run goes on
LONGEST_SEND_SECONDS = 45
SECONDS_BETWEEN = 0.04  # bots may write 30 messages per second
PATIENCE = timedelta(minutes=10)
RETRY_SECONDS, RETRY_MAX_SECONDS = 60, 3600
CLAIM = """
WITH due AS (
    SELECT id FROM accounts_notice
    WHERE channel = %s AND due_at <= clock_timestamp() ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE accounts_notice n SET outcome = 'sending', due_at = NULL, tries = n.tries + 1 FROM due WHERE n.id = due.id
RETURNING n.id
"""
HAND_OVER = """
WITH late AS (
    SELECT id, user_id, event, dedup, text FROM accounts_notice
    WHERE channel = %(channel)s AND due_at IS NOT NULL AND created_at < %(before)s FOR UPDATE SKIP LOCKED
), failed AS (
    UPDATE accounts_notice n SET outcome = 'failed', due_at = NULL, text = '' FROM late WHERE n.id = late.id
)
INSERT INTO accounts_notice (user_id, channel, event, dedup, text, outcome, created_at, due_at, tries)
SELECT user_id, 'sms', event, dedup, text, 'waiting', %(now)s, %(now)s, 0 FROM late ON CONFLICT DO NOTHING
"""
Outcome = Notice.Outcome


class BySMS:
    """SMS as a channel, within the budget of all."""

    def send_text(self, *, to: str, text: str) -> None:
        sending.send_text(mobile=to, text=text)


def deliver(channel: ChannelName) -> int:
    """Sends what is due by one channel and returns how many went out. Belongs outside transactions.

    A run ends early when nobody can be sent to, and after SECONDS_PER_RUN when the provider is slow.
    """
    if channel == ChannelName.SMS:
        try:
            sending.provider()
        except sending.NotConfigured:
            return 0
        return _deliver(channel, BySMS())
    with connection.cursor() as cursor:
        now = timezone.now()
        cursor.execute(HAND_OVER, {"channel": channel, "before": now - PATIENCE, "now": now})
    bot = bots.bot(channel)
    if bot is None:
        return 0
    with _to_itself(channel) as is_ours:
        return _deliver(channel, bot, seconds_between=SECONDS_BETWEEN) if is_ours else 0


@contextmanager
def _to_itself(channel: ChannelName) -> Iterator[bool]:
    is_paused = BotState.objects.filter(pk=channel, paused_until__gt=timezone.now()).exists()
    is_ours = not is_paused and bots.claim(
        channel, "sent_until", seconds=SECONDS_PER_RUN + LONGEST_SEND_SECONDS
    )
    try:
        yield is_ours
    finally:
        if is_ours:
            bots.release(channel, "sent_until")


def _deliver(channel: ChannelName, sender: Channel, *, seconds_between: float = 0) -> int:
    sent, handled, end = 0, 0, monotonic() + SECONDS_PER_RUN
    while handled < PER_RUN and monotonic() < end and (notice := _claim(channel)):
        handled += 1
        recipient = _recipient(notice)
        if recipient is None:
            _end(notice, Outcome.FAILED)
            continue
        if seconds_between and handled > 1:
            sleep(seconds_between)
        try:
            sender.send_text(to=recipient, text=notice.text)
        except SendError as error:
            if not _is_over_it(notice, error):
                break
        else:
            _end(notice, Outcome.SENT)
            sent += 1
    return sent


def _is_over_it(notice: Notice, error: SendError) -> bool:
    """Keeps, ends or hands over what was not sent; returns whether others can be sent to."""
    is_for_all = isinstance(error, NoAnswer | NeedsOperator | Unreachable | TooFast | sending.OverBudget)
    level = logging.ERROR if isinstance(error, NeedsOperator | sending.OverBudget) else logging.WARNING
    logger.log(
        level,
        "notice not sent",
        extra={**_told(notice), "error": type(error).__name__, "reason": str(error)},
    )
    if isinstance(error, NoAnswer):
        _end(notice, Outcome.UNKNOWN)  # it may have arrived, and none goes out twice by the same channel
    elif isinstance(error, RecipientRefused):
        return _refused(notice)
    elif isinstance(error, TooFast):
        bots.pause(ChannelName(notice.channel), seconds=error.retry_after_seconds)
        _put_back(notice, seconds=error.retry_after_seconds)
    else:
        if isinstance(error, NeedsOperator) and notice.channel != ChannelName.SMS:
            bots.note_problem(ChannelName(notice.channel), error)
        _put_back(notice, seconds=min(RETRY_SECONDS * 2 ** min(notice.tries - 1, 10), RETRY_MAX_SECONDS))
    return not is_for_all


def _refused(notice: Notice) -> bool:
    """Ends the chat of a person who has blocked the bot, unless it is the bot that is refused."""
    channel = ChannelName(notice.channel)
    bot = bots.bot(channel)
    if bot is not None:
        try:
            bot.username()
        except SendError as error:
            bots.note_problem(channel, error)
            _put_back(notice, seconds=RETRY_SECONDS)
            return False
        chats.lose(user_id=notice.user_id, channel=channel)
    _end(notice, Outcome.FAILED)
    return True


def _claim(channel: ChannelName) -> Notice | None:
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, [channel])
        row = cursor.fetchone()
    return Notice.objects.get(pk=row[0]) if row else None


def _recipient(notice: Notice) -> str | None:
    """None: the account is closed, or the chat has ended."""
    user = User.objects.filter(pk=notice.user_id, is_active=True).first()
    if user is None or notice.channel == ChannelName.SMS:
        return user.mobile if user is not None else None
    chat = BotChat.objects.filter(user=user, channel=notice.channel, chat_id__isnull=False).first()
    return str(chat.chat_id) if chat is not None else None


def _put_back(notice: Notice, *, seconds: int) -> None:
    NOTICES.labels(notice.channel, "retried").inc()
    Notice.objects.filter(pk=notice.pk, outcome=Outcome.SENDING).update(
        outcome=Outcome.WAITING, due_at=timezone.now() + timedelta(seconds=seconds)
    )


def _end(notice: Notice, outcome: Notice.Outcome) -> None:
    """Opens a transaction."""
    with transaction.atomic():
        Notice.objects.filter(pk=notice.pk).update(outcome=outcome, due_at=None, text="")
        if outcome != Outcome.SENT and notice.channel != ChannelName.SMS:
            Notice.objects.bulk_create(
                [
                    Notice(
                        user_id=notice.user_id,
                        channel=ChannelName.SMS,
                        event=notice.event,
                        dedup=notice.dedup,
                        text=notice.text,
                        due_at=timezone.now(),
                    )
                ],
                ignore_conflicts=True,
            )
    NOTICES.labels(notice.channel, str(outcome)).inc()
    logger.info("notice", extra={**_told(notice), "outcome": str(outcome)})


def _told(notice: Notice) -> dict[str, object]:
    return {
        "notice": notice.pk,
        "user_id": notice.user_id,
        "channel": notice.channel,
        "event": notice.event,
        "tries": notice.tries,
    }
