"""Which upstream a call goes to, and where it goes next if that one fails before the first byte.

Routes of the lowest priority share the traffic by weight, the others stand behind them in order. An upstream that
is full, that rests after it refused the operator or whose breaker is open is passed over. If that leaves none, one
that is not full is called anyway; but not for want of room at one that is well: whoever comes a moment later will
find it.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from prometheus_client import Counter

from proxy.catalogue.served import ServedRoute
from proxy.errors import TOO_MANY_REQUESTS
from proxy.upstreams.breakers import Breakers, Pass
from proxy.upstreams.calls import AllFull, UpstreamFailed, UpstreamRefusal, Upstreams
from proxy.upstreams.cooldowns import Rests

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
# Retries are a tenth of the requests at most, beyond the first ten; what is not used up saves up to a hundred, for
# the moment when an upstream takes all its calls with it.
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


def in_order(routes: Sequence[ServedRoute], chance: random.Random) -> list[ServedRoute]:
    """By priority; among equals the first is one at random, by weight, and so is each that follows."""
    if len(routes) == 1:
        return list(routes)
    # Of waiting times that are exponential with a rate each, one is the shortest as often as its share of the rates.
    return sorted(routes, key=lambda route: (route.priority, chance.expovariate(route.weight)))


class Router:
    """Routes the calls of one web process."""

    def __init__(self, *, upstreams: Upstreams, breakers: Breakers) -> None:
        self._upstreams = upstreams
        self._breakers = breakers
        self._rests = Rests()
        self._budget = RetryBudget()
        self._chance = random.Random()  # noqa: S311 - it shares traffic and guards nothing

    async def call(
        self,
        routes: Sequence[ServedRoute],
        attempt: Callable[[ServedRoute], Awaitable[Answer]],
        *,
        deadline: float,
    ) -> Answer:
        """What `attempt` returns for the first route that answers. Raises what the last one did, or AllFull.

        An `attempt` returns once the answer has begun, or raises UpstreamFailed, UpstreamRefusal. A connection that
        breaks after the request was sent may have left a generation running there, unbilled: each further attempt
        costs the operator one more at most, and the client nothing.
        """
        self._budget.earn()
        waiting = in_order(routes, self._chance)
        route, how = await self._first(waiting)
        tried: list[ServedRoute] = []
        while True:
            tried.append(route)
            waiting = [other for other in waiting if other is not route]
            try:
                return await self._try(attempt, route, how)
            except (UpstreamFailed, UpstreamRefusal) as error:
                again = isinstance(error, UpstreamFailed) and error.passing and tried.count(route) == 1
                if len(tried) == ATTEMPTS_MAX or is_final(error):
                    raise
                following = await self._next(route, waiting, deadline, again=again, free=is_unserved(error))
                if following is None:
                    raise
                logger.warning(
                    "upstream failed, another try",
                    extra={
                        "upstream": route.upstream_name,
                        "reason": error_reason(error),
                        "next_upstream": following[0].upstream_name,
                    },
                )
            route, how = following

    async def _try(
        self, attempt: Callable[[ServedRoute], Awaitable[Answer]], route: ServedRoute, how: Pass
    ) -> Answer:
        try:
            answer = await attempt(route)
        except (UpstreamFailed, UpstreamRefusal) as error:
            if is_unserved(error):
                self._breakers.dropped(route, how)
                self._rests.begin(route, seconds=error.retry_after_seconds)
                if isinstance(error, UpstreamFailed):
                    tell_operator(route, str(error))
            elif isinstance(error, UpstreamFailed):
                self._breakers.failed(route, how)
            else:  # the request's own fault: the upstream is well
                self._went_well(route, how)
            raise
        except BaseException:
            self._breakers.dropped(route, how)
            raise
        self._went_well(route, how)
        return answer

    def _went_well(self, route: ServedRoute, how: Pass) -> None:
        self._breakers.succeeded(route, how)
        self._rests.end(route)

    async def _first(self, waiting: list[ServedRoute]) -> tuple[ServedRoute, Pass]:
        chosen = await self._choose(waiting)
        if chosen is not None:
            return chosen
        full = [route for route in waiting if self._upstreams.is_full(route)]
        with_room = [route for route in waiting if route not in full]
        if not with_room or not all(self._breakers.is_open(route) for route in full):
            raise AllFull("every upstream is full")
        return self._breakers.least_bad(with_room), Pass.FORCED

    async def _choose(self, waiting: list[ServedRoute]) -> tuple[ServedRoute, Pass] | None:
        for route in waiting:
            if self._upstreams.is_full(route) or not self._rests.admits(route):
                continue
            if (how := await self._breakers.admit(route)) is not None:
                return route, how
        return None

    async def _next(
        self, failed: ServedRoute, waiting: list[ServedRoute], deadline: float, *, again: bool, free: bool
    ) -> tuple[ServedRoute, Pass] | None:
        """Where to try after a failure: another upstream at once, else the same one after a moment; None: nowhere.

        `free`: whatever the budget says.
        """
        seconds_left = deadline - asyncio.get_running_loop().time()
        if seconds_left <= 0:
            return None
        delay = self._chance.uniform(0, BACKOFF_SECONDS)
        again = again and delay < seconds_left and not self._breakers.is_open(failed)
        chosen = await self._choose(waiting)
        if chosen is None and not again:
            return None
        if not free and not self._budget.spend():
            BUDGET_EMPTY.inc()
            if chosen is not None:
                self._breakers.dropped(*chosen)
            return None
        if chosen is not None:
            FAILOVERS.labels(failed.upstream_name).inc()
            return chosen
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
    """Whether no upstream is to be asked after this: the answer had begun, or the request itself is at fault."""
    if isinstance(error, UpstreamFailed):
        return error.begun
    return error.status != TOO_MANY_REQUESTS


def is_unserved(error: UpstreamFailed | UpstreamRefusal) -> bool:
    """Whether a well upstream refuses the operator, for now or until something is mended. It has done no work then.

    The model there rests next, so that it is passed over; what one customer asks for never opens a breaker.
    """
    if isinstance(error, UpstreamFailed):
        return error.operators
    return error.status == TOO_MANY_REQUESTS
