"""Which upstream a call goes to, and where it goes next if that one fails before the first byte.

Routes of the lowest priority share the traffic by weight, the others stand behind them in order. What belongs to one
conversation goes to the same one, whose cache holds its prompt. An upstream is passed over while it is full, cools down
after it refused the operator, rests, or has an open breaker. If that leaves none, one that neither is full nor rests is
called anyway, unless a healthy one is merely full: that one will have room a moment later. Where all that are left
rest, the client gets their 429 at once.
"""

import asyncio
import hashlib
import logging
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from prometheus_client import Counter

from proxy.catalogue.served import ServedRoute
from proxy.errors import TOO_MANY_REQUESTS
from proxy.upstreams.breakers import Breakers, Permit
from proxy.upstreams.calls import AllFull, UpstreamFailed, UpstreamRefusal, Upstreams
from proxy.upstreams.cooldowns import Cooldowns
from proxy.upstreams.rests import Rests

logger = logging.getLogger(__name__)

RETRIES = Counter("hamiran_upstream_retries", "Calls tried again at the same upstream", ["upstream"])
FAILOVERS = Counter(
    "hamiran_upstream_failovers", "Calls that went on to another upstream", ["failed_upstream"]
)
REFUSED_OPERATOR = Counter(
    "hamiran_upstream_refused_operator",
    "Calls refused for the operator's key, account or model name",
    ["upstream"],
)
BUDGET_EMPTY = Counter("hamiran_retry_budget_empty", "Failures that were final for want of a retry budget")

ATTEMPTS_MAX = 3
# Beyond the first ten, at most a tenth of the requests are tried again. Retries that are not needed are saved, up to
# a hundred, for the moment when an upstream goes away with all its calls.
BUDGET_START, BUDGET_SHARE, BUDGET_MAX = 10.0, 0.1, 100.0
BACKOFF_SECONDS = 0.2

Answer = TypeVar("Answer")


class RetryBudget:
    """Keeps an outage from being multiplied."""

    def __init__(self) -> None:
        self._tokens = BUDGET_START

    def earn(self) -> None:
        self._tokens = min(BUDGET_MAX, self._tokens + BUDGET_SHARE)

    def spend(self) -> bool:
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def in_order(
    routes: Sequence[ServedRoute], chance: random.Random, affinity: bytes = b""
) -> list[ServedRoute]:
    """By priority; among equals the first is one at random, by weight, and so is each that follows.

    With an `affinity` chance has no part in it: the same one gives the same order, whichever process is asked, and
    a route that comes or goes changes it only for those that it serves.
    """
    if len(routes) == 1:
        return list(routes)

    def waits(route: ServedRoute) -> float:
        lot = _lot(affinity, route) if affinity else 1 - chance.random()
        return -math.log(lot) / route.weight

    # Of waiting times that are exponential with a rate each, one is the shortest as often as its share of the rates.
    return sorted(routes, key=lambda route: (route.priority, waits(route)))


def _lot(affinity: bytes, route: ServedRoute) -> float:
    """Evenly above 0, up to 1."""
    drawn = hashlib.blake2b(b"%d:%b" % (route.upstream_id, affinity), digest_size=6).digest()
    return (int.from_bytes(drawn) + 1) / 2**48


class Router:
    """Routes the calls of one web process."""

    def __init__(self, *, upstreams: Upstreams, breakers: Breakers, rests: Rests) -> None:
        self._upstreams = upstreams
        self._breakers = breakers
        self._rests = rests
        self._cooldowns = Cooldowns()
        self._budget = RetryBudget()
        self._chance = random.Random()  # noqa: S311 - it shares traffic and guards nothing

    async def call(
        self,
        routes: Sequence[ServedRoute],
        attempt: Callable[[ServedRoute], Awaitable[Answer]],
        *,
        deadline: float,
        affinity: bytes = b"",
    ) -> Answer:
        """What `attempt` returns for the first route that answers. Raises what the last one did, AllFull, or the 429
        of routes that all rest.

        An `attempt` returns once the answer has begun, or raises UpstreamFailed, UpstreamRefusal. A connection that
        breaks after the request was sent may have left a generation running there, unbilled: each further attempt
        costs the operator one more at most, and the client nothing.
        """
        self._budget.earn()
        untried = in_order(routes, self._chance, affinity)
        permit = await self._first(untried)
        tried: list[ServedRoute] = []
        while True:
            route = permit.route
            tried.append(route)
            untried = [other for other in untried if other is not route]
            try:
                return await self._try(attempt, permit)
            except (UpstreamFailed, UpstreamRefusal) as error:
                again = isinstance(error, UpstreamFailed) and error.passing and tried.count(route) == 1
                if len(tried) == ATTEMPTS_MAX or is_final(error):
                    raise
                following = await self._next(route, untried, deadline, again=again, free=is_unserved(error))
                if following is None:
                    raise
                logger.warning(
                    "upstream failed, another try",
                    extra={
                        "upstream": route.upstream_name,
                        "reason": error_reason(error),
                        "next_upstream": following.route.upstream_name,
                    },
                )
            permit = following

    async def _try(self, attempt: Callable[[ServedRoute], Awaitable[Answer]], permit: Permit) -> Answer:
        """One attempt, by which `permit` is settled however it ends."""
        try:
            answer = await attempt(permit.route)
        except (UpstreamFailed, UpstreamRefusal) as error:
            if is_unserved(error):
                permit.dropped()
                self._leave_alone(permit.route, error)
                if isinstance(error, UpstreamFailed):
                    tell_operator(permit.route, str(error))
            elif isinstance(error, UpstreamFailed):
                permit.failed()
            else:  # the request's own fault: the upstream is well
                self._went_well(permit)
            raise
        except BaseException:
            permit.dropped()
            raise
        self._went_well(permit)
        return answer

    def _leave_alone(self, route: ServedRoute, error: UpstreamFailed | UpstreamRefusal) -> None:
        seconds = error.retry_after_seconds
        if isinstance(error, UpstreamRefusal) and self._rests.refused(route, seconds=seconds):
            self._cooldowns.end(route)  # it rests instead
        else:
            self._cooldowns.begin(route, seconds=seconds)

    def _went_well(self, permit: Permit) -> None:
        permit.succeeded()
        self._cooldowns.end(permit.route)
        self._rests.answered(permit.route)

    async def _first(self, untried: list[ServedRoute]) -> Permit:
        permit = await self._choose(untried)
        if permit is not None:
            return permit
        full = [route for route in untried if self._upstreams.is_full(route)]
        resting = [left for route in untried if (left := self._rests.seconds_left(route)) is not None]
        if resting and not full and len(resting) == len(untried):
            raise UpstreamRefusal(TOO_MANY_REQUESTS, {}, retry_after_seconds=max(1, math.ceil(min(resting))))
        with_room = [
            route for route in untried if route not in full and self._rests.seconds_left(route) is None
        ]
        if not with_room or not all(self._breakers.is_open(route) for route in full):
            raise AllFull("every upstream is full")
        return self._breakers.force(with_room)

    async def _choose(self, routes: list[ServedRoute]) -> Permit | None:
        for route in routes:
            if self._upstreams.is_full(route):
                continue
            if self._rests.seconds_left(route) is None:
                if not self._cooldowns.admits(route):
                    continue
            elif not await self._rests.admits(route):
                continue
            if (permit := await self._breakers.admit(route)) is not None:
                return permit
        return None

    async def _next(
        self, failed: ServedRoute, untried: list[ServedRoute], deadline: float, *, again: bool, free: bool
    ) -> Permit | None:
        """Where to try after a failure: another upstream at once, else the same one after a moment; None: nowhere.

        `free`: whatever the budget says.
        """
        seconds_left = deadline - asyncio.get_running_loop().time()
        if seconds_left <= 0:
            return None
        delay = self._chance.uniform(0, BACKOFF_SECONDS)
        again = again and delay < seconds_left and not self._breakers.is_open(failed)
        permit = await self._choose(untried)
        if permit is None and not again:
            return None
        if not free and not self._budget.spend():
            BUDGET_EMPTY.inc()
            if permit is not None:
                permit.dropped()
            return None
        if permit is not None:
            FAILOVERS.labels(failed.upstream_name).inc()
            return permit
        RETRIES.labels(failed.upstream_name).inc()
        await asyncio.sleep(delay)
        return await self._choose([failed])


def tell_operator(route: ServedRoute, reason: str) -> None:
    REFUSED_OPERATOR.labels(route.upstream_name).inc()
    logger.error("upstream refuses the operator", extra={"upstream": route.upstream_name, "reason": reason})


def error_reason(error: UpstreamFailed | UpstreamRefusal) -> str:
    """For the log; an upstream's own words may quote a prompt."""
    return str(error) if isinstance(error, UpstreamFailed) else f"status {error.status}"


def is_final(error: UpstreamFailed | UpstreamRefusal) -> bool:
    """Whether no other upstream is tried after this: the answer had begun, or the request itself is at fault."""
    if isinstance(error, UpstreamFailed):
        return error.begun
    return error.status != TOO_MANY_REQUESTS


def is_unserved(error: UpstreamFailed | UpstreamRefusal) -> bool:
    """Whether a healthy upstream refused the operator, for now or until something is mended; it has done no work then.

    The model then cools down at that upstream. What one customer asks for never opens a breaker.
    """
    if isinstance(error, UpstreamFailed):
        return error.operators
    return error.status == TOO_MANY_REQUESTS
