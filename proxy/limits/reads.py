"""How often a key may read its account: apart from the limits of model calls, over any 60 seconds like these.

In Valkey, so that several processes count together; while that is away, by each process alone.
"""

from proxy.limits.intake import PerMinute
from proxy.limits.limiter import Limiter
from proxy.limits.scripts import read_log
from proxy.limits.valkey import Script

PER_MINUTE = 600

# ARGV: request, how many a minute. The answer: 0, or how many milliseconds to wait. What is refused is not counted.
COUNT = Script(
    """
local call, log = redis.call, KEYS[1]
local now = call('TIME'); now = now[1] * 1000 + math.floor(now[2] / 1000)
call('ZREMRANGEBYSCORE', log, '-inf', now - 60000)
if call('ZSCORE', log, ARGV[1]) then return 0 end
local over = call('ZCARD', log) - tonumber(ARGV[2])
if over >= 0 then return call('ZRANGE', log, over, over, 'WITHSCORES')[2] + 60000 - now end
call('ZADD', log, now, ARGV[1])
call('PEXPIRE', log, 60000)
return 0
"""
)


class Reads:
    """Of one web process."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._local = PerMinute()

    async def wait_seconds(self, *, user_id: int, key_id: int, request_id: str) -> float:
        """0 after one read was counted, else how long until the next one is."""
        wait_ms = await self._limiter.ask(COUNT, [read_log(user_id, key_id)], (request_id, PER_MINUTE))
        if wait_ms is not None:
            return float(wait_ms) / 1000
        wait = self._local.wait_seconds(key_id, 1, limit=PER_MINUTE)
        if not wait:
            self._local.add(key_id, 1)
        return wait
