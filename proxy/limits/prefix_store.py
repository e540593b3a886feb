"""Tokens by keyed hash in Valkey, kept for an hour: asked and told in the pipelines of the limits.

Nothing here is needed: without Valkey nothing is found, and nothing is kept.
"""

import asyncio
import time
from collections.abc import Sequence

from proxy.limits.limiter import Limiter
from proxy.limits.valkey import Script

KEPT_SECONDS = 3_600

FIND = Script("return redis.call('MGET', unpack(KEYS))")
# ARGV: tokens, seconds.
KEEP = Script("redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) return 1")

Found = list[bytes | None]


class PrefixStore:
    """Of one web process. Names are hexadecimal; each account has its own."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._doubted_until: dict[tuple[str, int], float] = {}  # by model and upstream

    def find(self, user_id: int, names: Sequence[str]) -> "asyncio.Future[Found] | None":
        """The tokens of each name in the order of the names; None while Valkey is away. May fail with Unavailable."""
        if self._limiter.is_away:
            return None
        return self._limiter.scripts.submit(FIND, [_key(user_id, name) for name in names], ())

    def keep(self, user_id: int, name: str, tokens: int) -> None:
        if not self._limiter.is_away:
            self._limiter.scripts.submit(KEEP, [_key(user_id, name)], (tokens, KEPT_SECONDS))

    def doubt(self, model_id: str, upstream_id: int) -> None:
        """What this upstream counts of this model bounds nothing until all that is kept now is gone."""
        self._doubted_until[model_id, upstream_id] = time.monotonic() + KEPT_SECONDS

    def is_doubted(self, model_id: str, upstream_id: int) -> bool:
        return time.monotonic() < self._doubted_until.get((model_id, upstream_id), 0.0)


def _key(user_id: int, name: str) -> str:
    """In the slot of the account's windows."""
    return f"hamiran:{{user {user_id}}}:prefix:{name}"
