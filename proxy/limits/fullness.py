"""How full the limits of an account and its keys are at this moment: for people, read from Valkey and not changed."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry

from proxy.limits.admission import Window
from proxy.limits.scripts import NOW, window_keys
from proxy.limits.valkey import CLUSTER_SCHEMES

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 0.25  # a page waits for it


class LimitsUnknown(Exception):
    """Valkey does not answer."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Those of all keys of an account together, and of each key that was asked for."""

    account: Window
    keys: dict[int, Window]


def read(*, user_id: int, key_ids: Sequence[int]) -> Windows:
    """The windows of an account and of some of its keys. Raises LimitsUnknown within about half a second."""
    names = [name for key_id in (None, *key_ids) for name in window_keys(user_id, key_id)]
    try:
        account, *keys = _client(settings.LIMITS_URL).eval(NOW.source, len(names), *names)
    except (RedisError, RedisClusterException, OSError) as error:
        logger.warning("limits not read", extra={"error": str(error) or repr(error)})
        raise LimitsUnknown from error
    return Windows(
        Window(*account), {key_id: Window(*key) for key_id, key in zip(key_ids, keys, strict=True)}
    )


@cache
def _client(url: str) -> redis.Redis | RedisCluster:
    timeouts = {"socket_connect_timeout": TIMEOUT_SECONDS, "socket_timeout": TIMEOUT_SECONDS}
    scheme, _colon, rest = url.partition("://")
    if scheme in CLUSTER_SCHEMES:
        once_more = Retry(NoBackoff(), 1)  # with the slots read anew: they may have moved
        return RedisCluster.from_url(f"{CLUSTER_SCHEMES[scheme]}://{rest}", retry=once_more, **timeouts)
    return redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **timeouts)
