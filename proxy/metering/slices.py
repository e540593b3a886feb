"""What is held for a streamed answer slice by slice, and when more has to be."""

import asyncio
import math
from collections.abc import Callable

from proxy.errors import APIError
from proxy.metering import admission
from proxy.metering.endpoint import StreamedAnswer
from proxy.metering.settlement import SLICE_MARGIN, Metered
from wallet.ledger.holds import LedgerUnavailable

LEDGER_WAIT_SECONDS = 15.0  # for more to be held, of an answer that waits for it
LEDGER_AGAIN_SECONDS = 0.25


class Slices:
    """Lets an answer use what is held for it, from the beginning on."""

    def __init__(self, metered: Metered, answer: StreamedAnswer) -> None:
        self._metered, self._answer = metered, answer
        self._extend_at = math.inf
        self._allow()

    @property
    def are_short(self) -> bool:
        """Whether to `extend`: the answer waits for more, or soon will."""
        return self._answer.size.at_most > self._extend_at or bool(self._answer.waits_for)

    async def extend(self, is_over: Callable[[], bool]) -> bytes:
        """Has more held, unless the answer has ended before it is; returns what may now be relayed.

        Raises APIError insufficient_balance, key_limit_reached, wallet_frozen, TimeoutError and HoldGone, where the
        answer waits. Where it does not, what is held already may still be relayed.
        """
        try:
            async with asyncio.timeout(LEDGER_WAIT_SECONDS):
                await self._hold_more(is_over)
        except (APIError, TimeoutError):
            self._extend_at = math.inf
            if self._answer.waits_for:
                raise
            return b""
        return self._allow()

    async def _hold_more(self, is_over: Callable[[], bool]) -> None:
        answer = self._answer
        while not is_over():
            try:
                await admission.extend(self._metered, needed=answer.waits_for or answer.size.at_most)
            except LedgerUnavailable:
                await asyncio.sleep(LEDGER_AGAIN_SECONDS)
            else:
                return

    def _allow(self) -> bytes:
        allowed = self._metered.allowed_output
        if allowed is None:
            self._extend_at = math.inf
        else:
            self._extend_at = allowed - self._metered.slice_tokens // SLICE_MARGIN
        return self._answer.allow(allowed)
