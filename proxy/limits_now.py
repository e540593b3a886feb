"""How full the windows of keys are at this moment, read from Valkey for people and changing nothing there."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry

from proxy.limits import window_keys
from proxy.valkey import CLUSTER_SCHEMES

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 0.25  # a page waits for it
# Entries that have left the window may still lie in the logs, until the next request of the key tidies up.
NOW = """
local now = redis.call('TIME'); now = now[1] * 1000 + math.floor(now[2] / 1000)
local edge = now - 60000
local used = tonumber(redis.call('GET', KEYS[3]) or '0')
for _, entry in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', edge)) do
    used = used - tonumber(string.match(entry, ':(%-?%d+)$'))
end
return {redis.call('ZCOUNT', KEYS[1], '(' .. edge, '+inf'), math.max(used, 0),
    redis.call('ZCOUNT', KEYS[4], '(' .. now, '+inf')}
"""


class LimitsUnknown(Exception):
    """Valkey does not answer."""


@dataclass(frozen=True, slots=True)
class Window:
    """What a key has used of the last 60 seconds, and how many of its requests run now (where these are limited)."""

    requests: int
    tokens: int
    running: int


def read(key_ids: Sequence[int]) -> dict[int, Window]:
    """The windows of some keys. Raises LimitsUnknown within about half a second."""
    if not key_ids:
        return {}
    try:
        pipeline: Any = _client(settings.LIMITS_URL).pipeline(transaction=False)
        for key_id in key_ids:
            keys = window_keys(key_id)
            pipeline.execute_command("EVAL", NOW, len(keys), *keys)  # a Cluster's pipeline has no eval()
        replies = pipeline.execute()
    except (RedisError, RedisClusterException, OSError) as error:
        logger.warning("limits not read", extra={"error": str(error) or repr(error)})
        raise LimitsUnknown from error
    return {key_id: Window(*reply) for key_id, reply in zip(key_ids, replies, strict=True)}


@cache
def _client(url: str) -> redis.Redis | RedisCluster:
    timeouts = {"socket_connect_timeout": TIMEOUT_SECONDS, "socket_timeout": TIMEOUT_SECONDS}
    scheme, _colon, rest = url.partition("://")
    if scheme in CLUSTER_SCHEMES:
        once_more = Retry(NoBackoff(), 1)  # with the slots read anew: they may have moved
        return RedisCluster.from_url(f"{CLUSTER_SCHEMES[scheme]}://{rest}", retry=once_more, **timeouts)
    return redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **timeouts)
