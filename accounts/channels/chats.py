"""People's chats with the bots: invited on the settings page, connected by the first who follows the link, ended."""

import hashlib
import secrets
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.channel_models import BotChat, BotInvitation, ChannelName

LIFETIME = timedelta(minutes=10)
KEPT = timedelta(days=1)  # so that whoever follows a link late is told why it does nothing


class Invalid(Exception):
    """There is no such invitation, or its time is over."""


class Used(Exception):
    """Another chat was connected by this invitation."""


class Taken(Exception):
    """The chat gets the messages of another account."""


def invite(*, user_id: int, channel: ChannelName, language: str) -> str:
    """The token of a link by which the user's next chat is connected; an earlier one is void. Opens a transaction."""
    token = secrets.token_urlsafe(24)
    with transaction.atomic():
        BotInvitation.objects.filter(user_id=user_id, channel=channel, used_at=None).delete()
        BotInvitation.objects.create(
            digest=_digest(token),
            user_id=user_id,
            channel=channel,
            language=language,
            expires_at=timezone.now() + LIFETIME,
        )
    return token


def are_awaited(channel: ChannelName) -> bool:
    """Whether somebody may be about to follow a link."""
    return BotInvitation.objects.filter(channel=channel, used_at=None, expires_at__gt=timezone.now()).exists()


def accept(*, channel: ChannelName, chat_id: int, token: str) -> BotChat:
    """Connects a chat with the account that the token's link was made for. Opens a transaction.

    Told twice of the same, it does nothing more. Raises Invalid, Used, Taken.
    """
    now = timezone.now()
    with transaction.atomic():
        invitation = (
            BotInvitation.objects.select_for_update()
            .filter(digest=_digest(token), channel=channel, user__is_active=True)
            .first()
        )
        if invitation is None:
            raise Invalid
        there = BotChat.objects.filter(channel=channel, chat_id=chat_id).first()
        if invitation.used_at is not None:
            if there is not None and there.user_id == invitation.user_id:
                return there
            raise Used
        if invitation.expires_at <= now:
            raise Invalid
        if there is not None and there.user_id != invitation.user_id:
            raise Taken
        chat = _connect(invitation, chat_id)
        invitation.used_at = now
        invitation.save(update_fields=["used_at"])
    return chat


def _connect(invitation: BotInvitation, chat_id: int) -> BotChat:
    try:
        with transaction.atomic():
            chat, _made = BotChat.objects.update_or_create(
                user_id=invitation.user_id,
                channel=invitation.channel,
                defaults={
                    "chat_id": chat_id,
                    "is_chosen": True,
                    "language": invitation.language,
                    "connected_at": timezone.now(),
                    "lost_at": None,
                },
            )
    except IntegrityError:  # another account's, since a moment ago
        raise Taken from None
    return chat


def disconnect(*, user_id: int, channel: ChannelName) -> bool:
    """Ends a user's chat; False: there was none."""
    return _end(user_id=user_id, channel=channel)


def disconnect_all(*, user_id: int) -> None:
    """Ends all of a user's chats, and what they could be connected by: the account is in other hands."""
    _end(user_id=user_id)
    BotInvitation.objects.filter(user_id=user_id, used_at=None).delete()


def disconnect_chat(*, channel: ChannelName, chat_id: int) -> bool:
    """Likewise, from the chat's side."""
    return _end(channel=channel, chat_id=chat_id)


def lose(*, user_id: int, channel: ChannelName) -> None:
    """Notes that a person has blocked the bot."""
    _end(user_id=user_id, channel=channel, lost_at=timezone.now())


def language(*, channel: ChannelName, chat_id: int) -> str | None:
    return BotChat.objects.filter(channel=channel, chat_id=chat_id).values_list("language", flat=True).first()


def purge() -> None:
    """Removes invitations that mean nothing any more."""
    BotInvitation.objects.filter(expires_at__lt=timezone.now() - KEPT).delete()


def _end(*, lost_at: object = None, **chat: object) -> bool:
    found = BotChat.objects.filter(chat_id__isnull=False).filter(**chat)
    return bool(found.update(chat_id=None, lost_at=lost_at))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()
