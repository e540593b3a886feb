"""The bound of a prompt that begins as one did whose tokens an upstream has counted.

Each turn of a conversation sends all turns before it again, and a bound from bytes is some four times the truth. So
what an upstream reports for a long prompt is kept for an hour (proxy/limits/prefix_store.py), under a keyed hash of all
that the prompt was made of, without its text or its length. A later request of the same account and model, for the same
upstream, is bounded by the tokens of the longest such prefix and the bound of the messages after it; where another
upstream has to step in, what its bound is above that is held before it is asked. A template may
write as much anew for those as for any request: its share is in that bound, beside the bytes of each message's JSON.

Losing what is kept costs precision, never money. A count above such a bound raises the alarm that others raise, and is
the last one for an hour that this model's counts at this upstream are believed.
"""

import asyncio
import hashlib
import hmac
import logging
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from django.conf import settings

from proxy.catalogue.learning import EXCEEDED
from proxy.catalogue.served import ServedModel, ServedRoute
from proxy.limits.prefix_store import Found, PrefixStore
from proxy.limits.valkey import Unavailable
from proxy.metering.endpoint import Conversation, MeteredRequest

if TYPE_CHECKING:
    from proxy.runtime import Runtime

logger = logging.getLogger(__name__)

# A shorter prompt is held some 12,000 tokens too high at most, as much as a few answers: not worth a look-up. Most
# chats are shorter, and every coding agent's first request but aider's is longer (30 to 87 kB).
WORTH_BYTES = 16 * 1024
# How many messages a turn may add, for the turn before it to be found: an answer, and results of calls made at once.
LAST = 32
NAME_BYTES = 16


@dataclass(slots=True)
class KnownPrefixes:
    """What is known of one request's prompt. `names`: for each route of its model, under which names the tokens up to
    each of its last messages stand, the whole prompt's last."""

    store: PrefixStore
    user_id: int
    request: MeteredRequest
    conversation: Conversation
    model: ServedModel
    names: list[list[str]]
    found: "asyncio.Future[Found]"
    plain: int = 0
    bounds: list[int] = field(default_factory=list)  # by route

    async def bound(self) -> int:
        """Never below the truth, in tokens, at the routes that are asked first; at others see `bound_at`."""
        routes, each = self.model.routes, len(self.names[0])
        self.plain = self.request.prompt_bound(self.model)
        try:
            found = await self.found
        except Unavailable as error:
            error.with_traceback(None)  # whose frames hold this object
            found = [None] * (each * len(routes))
        self.bounds = [self._bound_by(found[start : start + each]) for start in range(0, len(found), each)]
        first = routes[0].priority
        return max(bound for route, bound in zip(routes, self.bounds, strict=True) if route.priority == first)

    def bound_at(self, route: ServedRoute) -> int:
        return self.bounds[self.model.routes.index(route)]

    def _bound_by(self, found: Found) -> int:
        """By the longest prefix of which one upstream's count was found."""
        for shorter, tokens in enumerate(reversed(found)):
            if tokens is not None:
                length = self.conversation.length - shorter
                return min(int(tokens) + self.conversation.bound_after(length, self.model), self.plain)
        return self.plain

    def counted(self, route: ServedRoute, tokens: int) -> None:
        """Keeps what an upstream reported for this prompt."""
        self.store.keep(self.user_id, self.names[self.model.routes.index(route)][-1], tokens)
        bound = self.bound_at(route)
        if tokens <= bound or bound >= self.plain:  # the plain bound has an alarm of its own
            return
        self.store.doubt(self.model.model_id, route.upstream_id)
        EXCEEDED.labels(self.model.model_id, "known_prefix").inc()
        logger.error(
            "an upstream counted more than a prefix that it had counted before allows",
            extra={
                "model": self.model.model_id,
                "upstream": route.upstream_name,
                "bound": bound,
                "tokens": tokens,
            },
        )


def look_up(
    runtime: "Runtime", request: MeteredRequest, model: ServedModel, *, user_id: int
) -> KnownPrefixes | None:
    """Asks what is known; what is asked of Valkey in the same moment goes with it. None where that is nothing."""
    conversation, store = request.conversation, runtime.prefixes
    if conversation is None or any(
        store.is_doubted(model.model_id, route.upstream_id) for route in model.routes
    ):
        return None
    keyed = hmac.new(_secret(next(iter(settings.PEPPERS.values()))), digestmod=hashlib.sha256)
    keyed.update(f"{user_id}:{len(model.model_id)}:{model.model_id}:{request.endpoint}:".encode())
    hashes = conversation.hashes(keyed, last=LAST)
    names = [[_name(each, route) for each in hashes] for route in model.routes]
    found = store.find(user_id, [name for each in names for name in each])
    return (
        None if found is None else KnownPrefixes(store, user_id, request, conversation, model, names, found)
    )


@lru_cache(maxsize=4)
def _secret(pepper: bytes) -> bytes:
    return hmac.digest(pepper, b"known prefixes", "sha256")


def _name(prefix: bytes, route: ServedRoute) -> str:
    """`prefix` is secret, being a keyed hash, so this is one, too."""
    served = f"{route.upstream_id}:{route.upstream_model}:{route.base_url}".encode()
    return hmac.digest(prefix, served, "sha256")[:NAME_BYTES].hex()
