"""One metered request between its hold and its settlement: what it costs and how it ended are decided here, once."""

import asyncio
import logging
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import psycopg
from prometheus_client import Counter

from keys.lookup import KeyIdentity
from proxy import tokens
from proxy.catalogue import ServedModel, ServedRoute
from proxy.limits import Limiter
from proxy.models import UsageRecord
from proxy.pricing import Usage, cost_micro
from wallet.holds import Holds, LedgerUnavailable
from wallet.money import MICRO_PER_TOMAN

logger = logging.getLogger("hamiran.requests")

UNCOVERED = Counter(
    "hamiran_uncovered_micro", "What upstreams reported beyond holds: the operator's loss, micro-Rial"
)

Outcome = UsageRecord.Outcome
BilledBy = UsageRecord.BilledBy
NOTHING = Usage(0, 0)
VOID_WAIT_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Bill:
    """What was debited for which tokens."""

    usage: Usage
    cost_micro: int

    @property
    def cost_toman(self) -> float:
        """For clients, beside the exact entry in the statement: a JSON number has no more digits."""
        return self.cost_micro / MICRO_PER_TOMAN


@dataclass(slots=True)
class Metered:
    """Holds `held_micro` of a wallet until `capture` or `void` settles it; whichever comes first counts.

    Both survive the cancellation of their caller: a settlement that was begun is carried out. `route` is the one
    that serves, or was tried last.
    """

    holds: Holds
    limiter: Limiter
    request_id: uuid.UUID
    key: KeyIdentity
    model: ServedModel
    route: ServedRoute
    stream: bool
    prompt_estimate: int
    held_micro: int = 0
    started: float = field(default_factory=time.perf_counter)
    first_byte_ms: int | None = None
    _settlement: "asyncio.Task[None] | None" = None

    def mark_first_byte(self) -> None:
        self.first_byte_ms = self._elapsed_ms()

    async def capture(self, usage: Usage | None, *, text_bytes: int, deltas: int, outcome: Outcome) -> "Bill":
        """Debits what the tokens cost, never more than was held: by reported usage, else by an estimate of the text.

        Durable on return. Raises what `Holds.settle` raises: then the answer must not be delivered whole.
        """
        billed_by = BilledBy.USAGE
        if usage is None:
            billed_by = BilledBy.ESTIMATE
            usage = Usage(self.prompt_estimate, tokens.completion_estimate(text_bytes, deltas))
        await self._settle(usage, billed_by=billed_by, outcome=outcome, status=200)
        return Bill(usage, min(cost_micro(usage, self.model.price), self.held_micro))

    async def void(self, *, outcome: Outcome, status: int, reason: str = "") -> None:
        """Gives the money back: a failed request costs nothing.

        Nobody has to wait for that while the database is away: after VOID_WAIT_SECONDS it goes on by itself. A
        settlement that has failed already is not tried again here; its hold goes with its expiry at the latest.
        """
        if self._settlement is not None and self._settlement.done():
            return
        try:
            async with asyncio.timeout(VOID_WAIT_SECONDS):
                await self._settle(
                    NOTHING, billed_by=BilledBy.NOTHING, outcome=outcome, status=status, reason=reason
                )
        except LedgerUnavailable:
            logger.exception("void not queued, the sweeper will do it", extra={"request": self.request_id})
        except TimeoutError:
            logger.warning("void still waiting for the database", extra={"request": self.request_id})

    async def _settle(
        self, usage: Usage, *, billed_by: BilledBy, outcome: Outcome, status: int, reason: str = ""
    ) -> None:
        if self._settlement is None:
            self._settlement = asyncio.create_task(self._carry_out(usage, billed_by, outcome, status, reason))
        await asyncio.shield(self._settlement)

    async def _carry_out(
        self, usage: Usage, billed_by: BilledBy, outcome: Outcome, status: int, reason: str
    ) -> None:
        price = self.model.price
        full_micro = cost_micro(usage, price)
        captured_micro = min(full_micro, self.held_micro)
        record = {
            "key_id": self.key.key_id,
            "model": self.model.model_id,
            "upstream_id": self.route.upstream_id,
            "stream": self.stream,
            "outcome": outcome.value,
            "billed_by": billed_by.value,
            "status": status,
            "prompt_tokens": usage.prompt_tokens,
            "cached_tokens": usage.cached_tokens,
            "completion_tokens": usage.completion_tokens,
            "input_rial_per_million": price.input_rial_per_million,
            "output_rial_per_million": price.output_rial_per_million,
            "cached_input_rial_per_million": price.cached_input_rial_per_million,
            "uncovered_micro": full_micro - captured_micro,
            "first_byte_ms": self.first_byte_ms,
            "total_ms": self._elapsed_ms(),
        }
        if full_micro > captured_micro:
            UNCOVERED.inc(full_micro - captured_micro)
            logger.error(
                "usage beyond the hold",
                extra={"request": self.request_id, "uncovered_micro": record["uncovered_micro"]},
            )
        window = self.release_limits(usage.total_tokens)
        try:
            await self._resolve_hold(captured_micro, record)
            await window  # done by now: the next request of this key may ask another process
        finally:
            logger.info(
                "completion",
                extra={
                    "request": self.request_id.hex,
                    "cost_micro": captured_micro,
                    "reason": reason,
                    **record,
                },
            )

    def release_limits(self, tokens: int) -> "asyncio.Future[None]":
        return self.limiter.finish(
            user_id=self.key.user_id,
            key_id=self.key.key_id,
            request_id=self.request_id.hex,
            estimate=self.prompt_estimate,
            tokens=tokens,
        )

    async def _resolve_hold(self, cost_micro: int, record: dict[str, Any]) -> None:
        hold: dict[str, Any] = {"hold_id": self.request_id, "wallet_id": self.key.user_id}
        try:
            await self.holds.settle(**hold, cost_micro=cost_micro, record=record)
        except psycopg.Error:
            # The database refuses the settlement itself. Nobody pays for what cannot be recorded, nor waits for it.
            await self.holds.settle(**hold, cost_micro=0)
            raise

    def _elapsed_ms(self) -> int:
        return int((time.perf_counter() - self.started) * 1000)
