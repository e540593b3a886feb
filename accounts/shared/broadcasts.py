"""Messages on one Valkey channel to every process that follows it. None is kept: a process that is away misses it."""

import asyncio
import logging
from collections.abc import Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

RECONNECT_MIN_SECONDS, RECONNECT_MAX_SECONDS = 0.1, 5.0


async def follow(
    client: Redis, channel: str, *, on_start: Callable[[], None], on_message: Callable[[str], None]
) -> None:
    """Hears a channel for ever, coming back with growing pauses while Valkey is away.

    `on_start` is called at each confirmation of the subscription, the client library's own silent reconnects
    included: messages may have been missed before it. A ValueError of `on_message` starts anew.
    """
    pause_seconds = RECONNECT_MIN_SECONDS
    while True:
        try:
            async with client.pubsub() as pubsub:
                await pubsub.subscribe(channel)
                async for message in pubsub.listen():
                    if message["type"] == "subscribe":
                        on_start()
                        pause_seconds = RECONNECT_MIN_SECONDS
                    else:
                        on_message(_text(message["data"]))
        except (RedisError, OSError, ValueError):
            logger.warning("%s is not heard", channel, exc_info=True)
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(pause_seconds * 2, RECONNECT_MAX_SECONDS)


def _text(data: bytes | str) -> str:
    return data if isinstance(data, str) else data.decode("ascii")
