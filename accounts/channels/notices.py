"""Messages to people about what happens to their accounts, by the channels that each has chosen.

A notice is written down with what it tells of, in the same transaction; `accounts.channels.delivery` sends it.
"""

from collections.abc import Collection, Iterable
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from accounts.channel_models import BotChat, ChannelName, Notice
from accounts.channels import bots
from accounts.models import User
from accounts.sms import sending

KEPT = timedelta(days=100)  # longer than any occurrence can be told again
WORTH_SENDING = timedelta(days=3)


def notify(*, user_id: int, event: str, dedup: str, text: str) -> int:
    """Leaves `text` to be sent by each channel that the user has chosen; returns how many there are.

    At most once per channel for an occurrence: `dedup` names it among those of `event`. Belongs in the transaction
    that notes the occurrence. Raises User.DoesNotExist.
    """
    now = timezone.now()
    channels = chosen(user_id)
    Notice.objects.bulk_create(
        [
            Notice(
                user_id=user_id,
                channel=channel,
                event=event,
                dedup=dedup,
                text=text,
                created_at=now,
                due_at=now,
            )
            for channel in channels
        ],
        ignore_conflicts=True,
    )
    return len(channels)


def withdraw(*, user_ids: Collection[int], event: str) -> set[int]:
    """Sends nothing more about an event that is over; returns the users who have therefore heard nothing of it.

    Needs a transaction.
    """
    waiting = Notice.objects.select_for_update().filter(
        user_id__in=user_ids, event=event, outcome=Notice.Outcome.WAITING
    )
    found = {(notice.user_id, notice.dedup) for notice in waiting.order_by("pk")}
    waiting.update(outcome=Notice.Outcome.WITHDRAWN, due_at=None, text="")
    left = Notice.objects.filter(
        user_id__in={user_id for user_id, _dedup in found},
        event=event,
        dedup__in={dedup for _id, dedup in found},
    ).exclude(outcome__in=[Notice.Outcome.WITHDRAWN, Notice.Outcome.FAILED])
    return {user_id for user_id, _dedup in found} - set(left.values_list("user_id", flat=True))


def are_possible() -> bool:
    """Whether any channel is set up."""
    try:
        sending.provider()
    except sending.NotConfigured:
        return bool(bots.configured())
    return True


def chosen(user_id: int) -> list[ChannelName]:
    """The channels that a user gets messages by: SMS wherever no other is left. Raises User.DoesNotExist."""
    gets_sms: bool = User.objects.values_list("gets_sms", flat=True).get(pk=user_id)
    chats = BotChat.objects.filter(
        user_id=user_id, chat_id__isnull=False, is_chosen=True, channel__in=bots.configured()
    ).order_by("channel")
    channels = [ChannelName(channel) for channel in chats.values_list("channel", flat=True)]
    return [ChannelName.SMS, *channels] if gets_sms or not channels else channels


def choose(*, user_id: int, channels: Iterable[ChannelName]) -> None:
    """Sets by which channels a user gets messages. Opens a transaction."""
    wanted = set(channels)
    with transaction.atomic():
        User.objects.filter(pk=user_id).update(gets_sms=ChannelName.SMS in wanted)
        for chat in BotChat.objects.select_for_update().filter(user_id=user_id).order_by("pk"):
            chat.is_chosen = chat.channel in wanted
            chat.save(update_fields=["is_chosen"])


def purge() -> int:
    """Gives up what is too old to be worth sending and forgets what is older; returns how many it gave up."""
    now = timezone.now()
    given_up = Notice.objects.filter(
        outcome__in=[Notice.Outcome.WAITING, Notice.Outcome.SENDING], created_at__lt=now - WORTH_SENDING
    ).update(outcome=Notice.Outcome.FAILED, due_at=None, text="")
    Notice.objects.filter(created_at__lt=now - KEPT).delete()
    return given_up
