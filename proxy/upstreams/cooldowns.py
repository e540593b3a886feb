"""Models of upstreams that refuse the operator: they have had enough (429), or his key, account or name for the model
is wrong. Left alone for as long as they asked, or a moment, then tried by one call first.

Not the breaker's business: the upstream is well, its other models may be within their limits, and a call that is
refused costs so little that each process learns of it by itself.
"""

import time
from collections.abc import Callable

from proxy.catalogue.served import ServedRoute

REST_SECONDS, REST_MAX_SECONDS = 5.0, 60.0
TRY_SECONDS = 5.0  # after which another call tries, where the first one has told nothing yet


class Rests:
    """Of one web process. `clock` gives seconds that only grow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[tuple[int, str], float] = {}

    def admits(self, route: ServedRoute) -> bool:
        """Whether a call may go there. Of those that ask once a rest is over, the first one goes ahead alone."""
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
        asked = REST_SECONDS if seconds is None else min(seconds, REST_MAX_SECONDS)
        self._until[_key(route)] = self._clock() + asked

    def end(self, route: ServedRoute) -> None:
        self._until.pop(_key(route), None)


def _key(route: ServedRoute) -> tuple[int, str]:
    return route.upstream_id, route.upstream_model
