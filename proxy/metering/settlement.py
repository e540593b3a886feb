"""One metered request between its hold and its settlement: what it costs and how it ended are decided here, once."""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
from django.conf import settings
from prometheus_client import Counter

from keys.lookup import KeyIdentity
from proxy.catalogue.learning import LEAP_MAX, Learning
from proxy.catalogue.prices import pricing, upstream_price
from proxy.catalogue.prices.by_piece import Used
from proxy.catalogue.prices.pricing import NO_UNITS, Units, Usage, cost_micro
from proxy.catalogue.served import ServedModel, ServedRoute
from proxy.idempotency.answers import Recording
from proxy.idempotency.claims import Claim
from proxy.limits import bounds
from proxy.limits.limiter import Limiter
from proxy.metering import figures, reported_usage
from proxy.metering.bill import Bill
from proxy.metering.endpoint import MeteredRequest, Size
from proxy.metering.known_prefixes import KnownPrefixes
from proxy.metering.reported_usage import Report
from proxy.usage import quantities
from proxy.usage.models import UsageRecord
from proxy.usage.origins import UNKNOWN, Origin
from proxy.wire.traces import Trace
from wallet.ledger.holds import BudgetReached, HoldGone, Holds, LedgerUnavailable, NotCovered, WalletFrozen

logger = logging.getLogger("hamiran.requests")

UNCOVERED = Counter(
    "hamiran_uncovered_micro",
    "What was used beyond holds: the operator's loss, micro-Rial",
    ["upstream"],
)
CUT = Counter(
    "hamiran_output_cut",
    "Streams that were ended because upstream went on beyond what was held",
    ["upstream"],
)
CONTRADICTIONS = Counter(
    "hamiran_usage_contradictions",
    "Reports of usage that contradicted themselves, and were billed by what of them could be true",
    ["upstream"],
)

Outcome = UsageRecord.Outcome
BilledBy = UsageRecord.BilledBy
FAILURES = {Outcome.UPSTREAM_FAILED, Outcome.INTERRUPTED}
NOTHING = Used(Usage(0, 0))
VOID_WAIT_SECONDS = 3
RENEWALS = 3  # in the life of a hold
SLICE_MARGIN = 4  # the part of a slice that is held ahead of what is relayed
ABSURD = 2  # a report of so many times what could be used is no figure to lock a key out for


class AlreadySettled(Exception):
    """A request is settled once; what was decided first stands."""


@dataclass(slots=True)
class Metered:
    """Holds `held_micro` of a wallet until `capture` or `void` settles it; whichever comes first counts.

    Both survive the cancellation of their caller: a settlement that was begun is carried out. `route` is the one
    that serves, or was tried last. `prompt_bound` and `output_bound`, of all answers together, are what is held for;
    `output_max` is as far as the latter may grow, slice by slice; `output_limit` is the cap that is sent, of each
    answer.
    """

    holds: Holds
    limiter: Limiter
    learning: Learning
    request_id: uuid.UUID
    key: KeyIdentity
    request: MeteredRequest
    model: ServedModel
    route: ServedRoute
    prefixes: KnownPrefixes | None = None
    origin: Origin = UNKNOWN
    claim: Claim | None = None  # on its Idempotency-Key
    trace: Trace | None = None
    held_micro: int = 0
    prompt_bound: int = 0
    output_bound: int = 0
    output_max: int = 0
    output_limit: int = 0
    started: float = field(default_factory=time.perf_counter)
    first_byte_ms: int | None = None
    _settlement: "asyncio.Task[None] | None" = None
    _renewal: asyncio.TimerHandle | None = None
    _renewing: "asyncio.Task[None] | None" = None

    @property
    def recording(self) -> Recording | None:
        """Of its answer, where that is kept for a repeat: it is then finished whoever still reads it."""
        return None if self.claim is None else self.claim.recording

    @property
    def units(self) -> Units:
        """The pieces that are held for."""
        return self.request.units or NO_UNITS

    def worst_case_micro(self, output: int) -> int:
        """What has to be held for so many tokens of output, of all answers together."""
        return pricing.worst_case_micro(self.prompt_bound, output, self.model.price, self.units)

    def affordable_output(self, amount_micro: int) -> int | None:
        """See pricing.affordable_output_tokens."""
        return pricing.affordable_output_tokens(amount_micro, self.prompt_bound, self.model.price, self.units)

    @property
    def slice_tokens(self) -> int:
        """What is held more at a time, of all answers together."""
        return (self.model.output_slice_tokens or 0) * self.request.answers

    @property
    def hidden_output(self) -> int:
        """What the answers may have been billed for without showing it, as far as is known."""
        return (self.model.learned_hidden_tokens or 0) * self.request.answers

    @property
    def allowed_output(self) -> int | None:
        """The output, as it can be seen, that the hold covers; None where all that may come is covered."""
        if self.output_bound >= self.output_max:
            return None
        return max(self.output_bound - self.hidden_output, 0)

    async def raise_hold(self, amount_micro: int, *, minimum_micro: int) -> None:
        """Raises what `Holds.extend` does; what is held then counts from here on."""
        self.held_micro = await self.holds.extend(
            hold_id=self.request_id,
            wallet_id=self.key.wallet_id,
            held_micro=self.held_micro,
            amount_micro=amount_micro,
            minimum_micro=minimum_micro,
            seconds=settings.HOLD_SECONDS,
            budgeted=self.key.is_budgeted,
        )

    def keep_hold(self) -> None:
        """Renews it until it is settled: a stream may last longer than what a dead process leaves behind."""
        loop = asyncio.get_running_loop()
        self._renewal = loop.call_later(settings.HOLD_SECONDS / RENEWALS, self._renew)

    def _renew(self) -> None:
        self._renewing = asyncio.create_task(self._renewed())

    async def _renewed(self) -> None:
        try:
            await self.holds.renew(
                hold_id=self.request_id,
                wallet_id=self.key.wallet_id,
                seconds=settings.HOLD_SECONDS,
                budgeted=self.key.is_budgeted,
            )
        except HoldGone:  # its settlement says what follows
            return
        except LedgerUnavailable:
            logger.warning("hold not renewed", extra={"request": self.request_id})
        if self._settlement is None:
            self.keep_hold()

    def mark_first_byte(self) -> None:
        self.first_byte_ms = self._elapsed_ms()
        if self.trace is not None:
            self.trace.event("first_token")

    async def capture(
        self,
        report: Report | None,
        *,
        size: Size,
        final: bool,
        outcome: Outcome,
        last: Callable[[Bill], bytes] | None = None,
    ) -> Bill:
        """Debits what was used, never more than was held: by reported usage, else by pieces or an estimate of the text.

        `final`: the report is upstream's last word. `last`: the last bytes of the answer, which make it one to keep,
        if it is kept; None where it will not be whole. Durable on return. Raises what `Holds.settle` raises: then the
        answer must not be delivered whole. Raises AlreadySettled where a settlement was begun before.
        """
        if self._settlement is not None:
            raise AlreadySettled(self.request_id)
        request = self.request
        reported = report.usage if report is not None and request.is_reported_by(self.route) else None
        usage = reported_usage.believed(
            reported,
            (request.prompt_estimate, size.estimate),
            at_least=size.at_least,
            at_most=self._believable,
            final=final,
        )
        used = Used(usage, usage == reported, request.units, size.units)
        price = self.model.price
        charged, units = used.charged_by(price)
        billed_by = BilledBy.ESTIMATE
        if usage == reported:
            billed_by = BilledBy.USAGE
            if report is not None and report.contradiction is not None:
                billed_by = BilledBy.REPAIRED
                self._tell_contradiction(report.contradiction)
            elif self.prefixes is not None and final:
                self.prefixes.counted(self.route, usage.prompt_tokens)
            self.learning.observe(
                self.model.model_id,
                request.exceeded(usage, model=self.model, output_limit=self.output_limit)
                | self._hidden(usage.completion_tokens - size.at_most),
            )
        if charged is not usage:
            billed_by = BilledBy.COUNTED
        await self._settle(
            used,
            billed_by=billed_by,
            outcome=outcome,
            status=200,
            last=last,
            upstream_cost_nanodollars=report.upstream_cost_nanodollars if report is not None else None,
        )
        return Bill(charged, price, min(cost_micro(charged, price, units), self.held_micro), units)

    @property
    def _believable(self) -> tuple[int, int]:
        """Prompt and completion tokens beyond which a report is a mistake."""
        longest = self.model.longest_prompt_tokens
        return (
            LEAP_MAX * max(self.prompt_bound, longest),
            LEAP_MAX * max(self.output_max, longest * self.request.answers),
        )

    def _tell_contradiction(self, contradiction: str) -> None:
        CONTRADICTIONS.labels(self.route.upstream_name).inc()
        logger.warning(
            "reported usage contradicts itself",
            extra={
                "request": self.request_id,
                "model": self.model.model_id,
                "upstream": self.route.upstream_name,
                "contradiction": contradiction,
            },
        )

    def _hidden(self, hidden_tokens: int) -> dict[str, int]:
        """What a report shows to have been made unseen, where a slice's margin does not cover it."""
        slice_tokens = self.model.output_slice_tokens
        each = min(-(-hidden_tokens // self.request.answers), self.model.longest_prompt_tokens)
        if slice_tokens is None or each <= max(
            slice_tokens // SLICE_MARGIN, self.model.learned_hidden_tokens or 0
        ):
            return {}
        return {"learned_hidden_tokens": each}

    def alarm_output_beyond_hold(self) -> None:
        """Tells the operator of an upstream that made more than it was asked for; what was relayed is paid."""
        CUT.labels(self.route.upstream_name).inc()
        logger.error(
            "output beyond the hold, stream ended",
            extra={
                "request": self.request_id,
                "key_id": self.key.key_id,
                "model": self.model.model_id,
                "upstream": self.route.upstream_name,
                "output_bound": self.output_bound,
            },
        )

    async def void(self, *, outcome: Outcome, status: int, reason: str = "") -> None:
        """Gives the money back: a failed request costs nothing. Where a settlement was begun before, that one counts.

        Nobody has to wait for it while the database is away: after VOID_WAIT_SECONDS it goes on by itself. A
        settlement that has failed already is not tried again here; its hold goes with its expiry at the latest.
        """
        begun = self._settlement
        if begun is not None and begun.done():
            return
        try:
            async with asyncio.timeout(VOID_WAIT_SECONDS):
                if begun is not None:
                    await asyncio.shield(begun)
                else:
                    await self._settle(
                        NOTHING, billed_by=BilledBy.NOTHING, outcome=outcome, status=status, reason=reason
                    )
        except LedgerUnavailable:
            logger.exception("void not queued, the sweeper will do it", extra={"request": self.request_id})
        except TimeoutError:
            logger.warning("void still waiting for the database", extra={"request": self.request_id})

    async def _settle(self, used: Used, **ended: Any) -> None:
        """Begins the only settlement there is. `ended`: see `_carry_out`."""
        assert self._settlement is None
        if self._renewal is not None:
            self._renewal.cancel()
            self._renewal = None
        self._settlement = asyncio.create_task(self._carry_out(used, **ended))
        await asyncio.shield(self._settlement)

    async def _carry_out(
        self,
        used: Used,
        *,
        billed_by: BilledBy,
        outcome: Outcome,
        status: int,
        reason: str = "",
        last: Callable[[Bill], bytes] | None = None,
        upstream_cost_nanodollars: int | None = None,
    ) -> None:
        price, is_billed = self.model.price, billed_by is not BilledBy.NOTHING
        usage, units = used.charged_by(price)
        full_micro = cost_micro(usage, price, units) if is_billed else 0
        if full_micro > self.held_micro and self.output_bound < self.output_max:
            await self._hold_unseen(full_micro)
        captured_micro = min(full_micro, self.held_micro)
        record = {
            "user_id": self.key.user_id,
            "key_id": self.key.key_id,
            "project_id": self.key.project_id,
            "endpoint": self.request.endpoint,
            "model": self.model.model_id,
            "upstream_id": self.route.upstream_id,
            "stream": self.request.stream,
            "outcome": outcome.value,
            "billed_by": billed_by.value,
            "status": status,
            "prompt_tokens": usage.prompt_tokens,
            "cached_tokens": usage.cached_tokens,
            "completion_tokens": usage.completion_tokens,
            **quantities.columns(
                usage, price, price_list_id=self.model.price_list_id, is_billed=is_billed, units=units
            ),
            "uncovered_micro": full_micro - captured_micro,
            "first_byte_ms": self.first_byte_ms,
            "total_ms": self._elapsed_ms(),
            **upstream_price.cost_columns(
                self.route.upstream_price if is_billed else None,
                used,
                reported_nanodollars=upstream_cost_nanodollars,
            ),
        }
        if full_micro > captured_micro:
            UNCOVERED.labels(self.route.upstream_name).inc(full_micro - captured_micro)
            logger.error(
                "usage beyond the hold",
                extra={
                    "request": self.request_id,
                    "key_id": self.key.key_id,
                    "upstream": self.route.upstream_name,
                    "uncovered_micro": record["uncovered_micro"],
                },
            )
        tokens = used.tokens.total_tokens
        if outcome is Outcome.CLIENT_LEFT:  # upstream may have read all of it, whatever is billed
            tokens = max(tokens, self.request.prompt_estimate)
        window = self.release_limits(tokens)
        try:
            if last is not None and self.recording is not None:
                await self.recording.keep(self.request_id, last(Bill(usage, price, captured_micro, units)))
            await self._resolve_hold(captured_micro, record | self.origin.columns())
            await window  # done by now: the next request of this key may ask another process
            figures.count(record, cost_micro=captured_micro)
        finally:
            if self.claim is not None:
                self.claim.end()
            if self.trace is not None:
                self.trace.settled(
                    record,
                    provider=self.route.quirks.provider,
                    upstream=self.route.upstream_name,
                    upstream_model=self.route.upstream_model,
                    max_tokens=self.output_limit or None,
                    cost_micro=captured_micro,
                    is_failure=outcome in FAILURES,
                )
            logger.info(
                "completion",
                extra={
                    "request": self.request_id.hex,
                    "cost_micro": captured_micro,
                    "protocol": self.request.protocol_for(self.route).name,
                    "reason": reason,
                    **record,
                },
            )

    async def _hold_unseen(self, full_micro: int) -> None:
        """Of an answer in slices: what was made and not shown is held for now, as far as the money goes."""
        longest_micro = self.worst_case_micro(self.output_max)
        amount_micro = max(min(full_micro, longest_micro), self.held_micro)
        try:
            await self.raise_hold(amount_micro, minimum_micro=self.held_micro)
        except (NotCovered, BudgetReached, WalletFrozen, HoldGone, LedgerUnavailable) as error:
            logger.warning(
                "what was not shown is not covered", extra={"request": self.request_id, "error": repr(error)}
            )

    async def not_held(self) -> None:
        """Ends a request that no hold was placed for: it cost nothing, and its Idempotency-Key was not taken."""
        if self.claim is not None:
            self.claim.end()
        await self.release_limits(0)

    def release_limits(self, tokens: int) -> "asyncio.Future[None]":
        """Gives the place back and counts what was used; where an upstream reports absurdly much, what was asked."""
        bound = self.prompt_bound + self.output_limit * self.request.answers
        if bound and tokens > ABSURD * bound:
            tokens = bound
        return self.limiter.finish(
            user_id=self.key.user_id,
            key_id=self.key.key_id,
            request_id=self.request_id.hex,
            estimate=self.request.prompt_estimate,
            tokens=tokens,
            counted=bounds.counted(self.key, self.model.model_id),
        )

    async def _resolve_hold(self, cost_micro: int, record: dict[str, Any]) -> None:
        hold: dict[str, Any] = {
            "hold_id": self.request_id,
            "wallet_id": self.key.wallet_id,
            "budgeted": self.key.is_budgeted,
        }
        try:
            await self.holds.settle(**hold, cost_micro=cost_micro, record=record)
        except psycopg.Error:
            # The database refuses the settlement itself. Nobody pays for what cannot be recorded, nor waits for it.
            await self.holds.settle(**hold, cost_micro=0)
            raise

    def _elapsed_ms(self) -> int:
        return int((time.perf_counter() - self.started) * 1000)
