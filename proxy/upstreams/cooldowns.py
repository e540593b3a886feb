"""Models that their upstream refuses to the operator: there have been too many requests (429), or the operator's key,
account or name for the model is wrong. Such a model is left alone for as long as the upstream asked, or a moment;
then one call tries it before the others.

This is no matter for a breaker: the upstream is well, and its other models may be within their limits. A refused call
costs so little that each process finds out by itself; where 429s go on, the model rests for all (`rests`).
"""

import time
from collections.abc import Callable

from proxy.catalogue.served import ServedRoute

COOLDOWN_SECONDS, COOLDOWN_MAX_SECONDS = 5.0, 60.0
TRY_SECONDS = 5.0  # after which another call may try, if the one that tries has not ended


class Cooldowns:
    """Those of one web process. `clock` gives seconds that only grow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[tuple[int, str], float] = {}

    def admits(self, route: ServedRoute) -> bool:
        """Whether a call may go there. When a cooldown is over, the first call to ask goes ahead alone."""
        until = self._until.get(_key(route))
        if until is None:
            return True
        now = self._clock()
        if now < until:
            return False
        self._until[_key(route)] = now + TRY_SECONDS
        return True

    def begin(self, route: ServedRoute, *, seconds: float | None) -> None:
        """`seconds`: what the upstream asked for, if anything."""
        lasting = COOLDOWN_SECONDS if seconds is None else min(seconds, COOLDOWN_MAX_SECONDS)
        self._until[_key(route)] = self._clock() + lasting

    def end(self, route: ServedRoute) -> None:
        self._until.pop(_key(route), None)


def _key(route: ServedRoute) -> tuple[int, str]:
    return route.upstream_id, route.upstream_model
