"""What the settings page shows of a user's channels."""

from dataclasses import dataclass
from datetime import datetime

from accounts.channel_models import BotChat, ChannelName
from accounts.channels import bots, notices


@dataclass(frozen=True, slots=True)
class ShownChannel:
    """`is_offered`: a chat can be connected now. `lost_at`: the person has blocked the bot since."""

    name: ChannelName
    is_ready: bool
    is_chosen: bool
    is_offered: bool = False
    connected_at: datetime | None = None
    lost_at: datetime | None = None

    @property
    def is_a_bot(self) -> bool:
        return self.name != ChannelName.SMS


def channels(*, user_id: int) -> list[ShownChannel]:
    """SMS first. Empty where there is nothing to choose from."""
    configured = bots.configured()
    if not configured:
        return []
    chosen = notices.chosen(user_id)
    chats = {chat.channel: chat for chat in BotChat.objects.filter(user_id=user_id, channel__in=configured)}
    shown = [ShownChannel(ChannelName.SMS, is_ready=True, is_chosen=ChannelName.SMS in chosen)]
    for name in configured:
        chat = chats.get(name)
        is_ready = chat is not None and chat.chat_id is not None
        shown.append(
            ShownChannel(
                name,
                is_ready=is_ready,
                is_chosen=name in chosen,
                is_offered=not is_ready and bool(bots.username(name)),
                connected_at=chat.connected_at if chat is not None and is_ready else None,
                lost_at=chat.lost_at if chat is not None else None,
            )
        )
    return shown
