"""Tells every web process that a key was revoked or changed: its digest, in hexadecimal, on one Valkey channel."""

import logging

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

logger = logging.getLogger(__name__)

CHANNEL = "hamiran:keys:revoked"
TIMEOUT_SECONDS = 1


def announce(digest: bytes) -> None:
    """Publishes a key's digest, so that it is looked up anew. Without Valkey, only warns: caches expire in seconds."""
    client = redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        client.publish(CHANNEL, digest.hex())
    except RedisError:
        logger.warning("revocation not announced, Valkey is away", exc_info=True)
    finally:
        client.close()
