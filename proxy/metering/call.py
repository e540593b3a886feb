"""A metered call that its key's limits have let in, to its settlement: hold, attempts, and what comes of them."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from django.conf import settings

from keys.lookup import KeyIdentity
from proxy.catalogue.served import ServedRoute
from proxy.errors import APIError, busy, unavailable, upstream_error
from proxy.idempotency.claims import Claim
from proxy.metering import admission
from proxy.metering.admission import PricedRequest
from proxy.metering.bill import Bill
from proxy.metering.endpoint import BadAnswer, StreamedAnswer, WholeAnswer
from proxy.metering.known_prefixes import KnownPrefixes
from proxy.metering.relay import Relay
from proxy.metering.settlement import Metered, Outcome
from proxy.upstreams.calls import AllFull, UpstreamCall, UpstreamFailed, UpstreamRefusal, judged, read_all
from proxy.usage.origins import Origin
from proxy.wire.traces import Trace
from wallet.ledger.holds import LedgerUnavailable

if TYPE_CHECKING:
    from proxy.runtime import Runtime

CLIENT_CLOSED = 499  # nginx's number, for the record: nobody was there to read a status


@dataclass(frozen=True, slots=True)
class PaidAnswer:
    """The body of a whole answer, and what was paid for it."""

    body: bytes
    cost_toman: float


class _Delivered:
    """A whole answer as it leaves, made once: what is kept of it is the same to the byte."""

    def __init__(self, answer: WholeAnswer) -> None:
        self._answer = answer
        self._body: bytes | None = None

    def body(self, bill: Bill) -> bytes:
        if self._body is None:
            self._body = self._answer.for_customer(bill)
        return self._body


class MeteredCall:
    """One call. `answer`, awaited once, ends it or leaves that to the relay that it returns."""

    def __init__(
        self,
        runtime: "Runtime",
        priced: PricedRequest,
        *,
        key: KeyIdentity,
        request_id: uuid.UUID,
        prefixes: KnownPrefixes | None,
        origin: Origin,
        claim: Claim | None = None,
        trace: Trace | None = None,
    ) -> None:
        self._runtime = runtime
        self._request = priced.request
        self._client_has_left = False
        self._deadline = 0.0
        self._metered = Metered(
            holds=runtime.holds,
            limiter=runtime.limiter,
            learning=runtime.learning,
            request_id=request_id,
            key=key,
            request=priced.request,
            model=priced.model,
            route=priced.model.routes[0],
            prefixes=prefixes,
            origin=origin,
            claim=claim,
            trace=trace,
        )

    @property
    def left_out(self) -> Sequence[str]:
        """What of the request the upstream that answered was not sent."""
        return self._request.left_out(self._metered.route)

    @property
    def ends_with_its_client(self) -> bool:
        """Whether nobody wants the answer any more, nor is billed for it upstream, once the client has left.

        Whole answers, and those that are kept for a repeat, are finished and paid for in any case.
        """
        return (
            self._request.stream and self._metered.model.stops_when_told and self._metered.recording is None
        )

    @property
    def says(self) -> StreamedAnswer:
        """What speaks to the client while there is no answer yet."""
        return self._request.read_stream(self._metered.route, output_bound=0)

    def client_left(self) -> None:
        """To be said before `answer` is cancelled because nobody waits for it any more."""
        self._client_has_left = True

    async def answer(self) -> PaidAnswer | Relay:
        """A whole answer, paid for; or a relay whose first event has arrived, to be delivered.

        Raises APIError; no hold is left open then.
        """
        metered = self._metered
        try:
            await admission.hold(metered)
        except LedgerUnavailable as error:
            await metered.not_held()
            raise unavailable() from error
        except BaseException:
            await metered.not_held()
            raise
        try:
            if metered.claim is not None:
                await metered.claim.take(metered.request_id)
            return await self._ask_upstreams()
        except UpstreamRefusal as error:
            error.name_prompt(self._request.prompt_field)
            await metered.void(outcome=Outcome.REFUSED, status=error.status)
            raise
        except UpstreamFailed as error:
            await metered.void(outcome=Outcome.UPSTREAM_FAILED, status=502, reason=str(error))
            raise upstream_error(error.retry_after_seconds, detail=str(error)) from error
        except AllFull as error:
            await metered.void(outcome=Outcome.INTERRUPTED, status=503, reason=str(error))
            raise busy() from error
        except LedgerUnavailable as error:
            raise unavailable() from error
        except APIError as error:  # no more could be held for another upstream
            await metered.void(outcome=Outcome.INTERRUPTED, status=error.status)
            raise
        except asyncio.CancelledError:
            left = self._client_has_left
            outcome = Outcome.CLIENT_LEFT if left else Outcome.INTERRUPTED
            await metered.void(outcome=outcome, status=CLIENT_CLOSED if left else 500)
            raise
        except BaseException:
            await metered.void(outcome=Outcome.INTERRUPTED, status=500)
            raise

    async def _ask_upstreams(self) -> PaidAnswer | Relay:
        metered, now = self._metered, asyncio.get_running_loop().time()
        self._deadline = now + (
            settings.UPSTREAM_STREAM_TIMEOUT_SECONDS
            if self._request.stream
            else settings.UPSTREAM_TOTAL_TIMEOUT_SECONDS
        )
        routes = metered.model.routes
        begins = self._request.affinity if len(routes) > 1 else b""
        answer = await self._runtime.router.call(
            routes,
            self._attempt,
            deadline=self._deadline,
            affinity=begins and b"%d:%b" % (metered.key.key_id, begins),
        )
        if isinstance(answer, Relay):
            return answer
        metered.mark_first_byte()
        delivered = _Delivered(answer)
        bill = await metered.capture(
            answer.report, size=answer.size, final=True, outcome=Outcome.COMPLETED, last=delivered.body
        )
        return PaidAnswer(delivered.body(bill), bill.cost_toman)

    async def _attempt(self, route: ServedRoute) -> WholeAnswer | Relay:
        request, metered, deadline = self._request, self._metered, self._deadline
        metered.route = route
        await admission.hold_for(metered, route)
        headers = request.upstream_headers(route)
        if metered.trace is not None:
            metered.trace.event("attempt", {"hamiran.upstream": route.upstream_name})
            if settings.TRACE_UPSTREAMS:
                headers = {**headers, "traceparent": metered.trace.parent}
        first_by = asyncio.get_running_loop().time() + settings.UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS
        response = await self._runtime.upstreams.send(
            route,
            request.protocol_for(route),
            request.body_for(route, output_limit=metered.output_limit),
            headers=headers,
            stream=request.stream,
            deadline=deadline,
        )
        if not request.stream:
            return await self._read_whole(response, route)
        relay = Relay(
            metered,
            response,
            request.read_stream(route, output_bound=metered.output_max),
            deadline=deadline,
            first_by=first_by,
            on_failure=partial(self._runtime.breakers.broke_off, route),
        )
        await relay.open()
        return relay

    async def _read_whole(self, response: UpstreamCall, route: ServedRoute) -> WholeAnswer:
        try:
            body = await read_all(response, deadline=self._deadline)
        finally:
            response.close()
        try:
            return self._request.read_whole(body, route)
        except BadAnswer as error:
            if error.status is not None:
                raise judged(error.status, error.error, route) from error
            raise UpstreamFailed(str(error)) from error
