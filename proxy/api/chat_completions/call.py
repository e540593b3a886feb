"""A chat completion from its parsed body to a settled answer: look up, limit, hold, relay, capture."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from django.conf import settings

from keys.lookup import KeyIdentity
from proxy.api.chat_completions import answers
from proxy.api.chat_completions.answer_stream import AnswerStream
from proxy.api.chat_completions.request import CompletionRequest, read_request, required_model
from proxy.catalogue import pricing
from proxy.catalogue.learning import Expected
from proxy.catalogue.models import Upstream
from proxy.catalogue.request_fields import AUDIO, FILE, IMAGE, TOOLS
from proxy.catalogue.served import ServedModel, ServedRoute
from proxy.catalogue.tokens import OUTPUT_FLOOR_TOKENS
from proxy.errors import APIError, busy, unavailable, upstream_error
from proxy.http.parsing import Payload
from proxy.http.request import CLIENT_LEFT
from proxy.http.responses import COST_HEADER
from proxy.metering.admission import find_model
from proxy.metering.endpoint import BadAnswer
from proxy.metering.relay import Relay
from proxy.metering.settlement import Metered, Outcome
from proxy.upstreams.calls import AllFull, UpstreamCall, UpstreamFailed, UpstreamRefusal, judged, read_all
from wallet.ledger.holds import BudgetReached, LedgerUnavailable, NotCovered, WalletFrozen

if TYPE_CHECKING:
    from proxy.runtime import Runtime

# Of nearly every text; what is denser has to say its own cap near the end of a context.
BYTES_PER_TOKEN_MIN = 3
INPUT_WORDS = {IMAGE: "images", AUDIO: "sound", FILE: "files", TOOLS: "tools"}

CLIENT_CLOSED = 499  # nginx's number, for the record: nobody was there to read a status


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of which model, at the price of this moment."""

    ask: CompletionRequest
    model: ServedModel

    @property
    def ends_with_its_client(self) -> bool:
        """Whether nobody wants the answer any more, nor is billed for it upstream, once the client has left.

        Whole answers are finished and paid for in any case.
        """
        cancel = Upstream.OnDisconnect.CANCEL
        return self.ask.stream and all(route.on_disconnect == cancel for route in self.model.routes)


def take(runtime: "Runtime", payload: Payload, *, key: KeyIdentity) -> Order:
    """Raises APIError for what cannot be asked of any model, or of this one, or with this key."""
    model_id = required_model(payload)
    model = find_model(runtime, model_id, key=key)
    ask = read_request(payload, model=model_id)
    for kind, param in ask.inputs.items():
        if kind not in model.takes:
            raise APIError(
                "input_not_supported",
                param=param,
                message=f"The model {model_id} does not take {INPUT_WORDS[kind]}.",
            )
    if ask.cannot_fit(model.longest_prompt_tokens):
        raise APIError("context_length_exceeded", param="messages")
    return Order(ask, model)


async def create(
    runtime: "Runtime",
    order: Order,
    *,
    key: KeyIdentity,
    request_id: uuid.UUID,
    headers: dict[str, str],
) -> bytes | Relay:
    """The body of a whole answer, paid for; or a relay whose first event has arrived, to be delivered.

    For a request that its key's limits have let in, which ends here or with the relay. Fills `headers` with a whole
    answer's cost. Raises APIError; no hold is left open then.
    """
    ask, model = order.ask, order.model
    expected = Expected(model, ask.prompt, _output_limit(ask, model), ask.n)
    metered = Metered(
        holds=runtime.holds,
        limiter=runtime.limiter,
        request_id=request_id,
        key=key,
        model=model,
        route=model.routes[0],
        stream=ask.stream,
        prompt_estimate=ask.prompt.estimate,
    )
    try:
        output_limit = await _hold(metered, ask, expected.output_limit)
    except BaseException:
        await metered.release_limits(0)
        raise
    metered.observe = partial(runtime.learning.observe, replace(expected, output_limit=output_limit))

    def body_for(route: ServedRoute) -> bytes:
        return ask.upstream_body(
            upstream_model=route.upstream_model, output_limit=output_limit, rules=route.quirks
        )

    try:
        return await _call(runtime, metered, ask, body_for, headers)
    except UpstreamRefusal as error:
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
    except asyncio.CancelledError as stopped:
        left = stopped.args == (CLIENT_LEFT,)
        outcome = Outcome.CLIENT_LEFT if left else Outcome.INTERRUPTED
        await metered.void(outcome=outcome, status=CLIENT_CLOSED if left else 500)
        raise
    except BaseException:
        await metered.void(outcome=Outcome.INTERRUPTED, status=500)
        raise


def _output_limit(ask: CompletionRequest, model: ServedModel) -> int:
    """The cap on each choice. Without one of the client's it leaves room for the prompt: engines refuse a cap that
    would not fit into the context behind it."""
    if ask.output_limit is not None:
        return min(ask.output_limit, model.longest_prompt_tokens)
    room = model.longest_prompt_tokens - ask.prompt.text_bytes // BYTES_PER_TOKEN_MIN
    return min(model.max_output_tokens, max(room, OUTPUT_FLOOR_TOKENS))


async def _hold(metered: Metered, ask: CompletionRequest, output_limit: int) -> int:
    """Holds the worst case. Returns the cap to send: the one asked for, or what the money covers if that is less."""
    model, price = metered.model, metered.model.price
    prompt = ask.prompt.bound(
        rates=model.rates,
        media_part_tokens=model.media_part_tokens,
        context_tokens=model.longest_prompt_tokens,
        trust_context=model.learned_context_tokens is None,
    )
    output = max(output_limit, model.learned_output_tokens or 0)
    floor = output_limit if ask.output_limit is not None else min(OUTPUT_FLOOR_TOKENS, output_limit)
    if (
        not ask.stream
    ):  # a stream is stopped at what is held; a whole answer of an upstream that overran caps is not
        floor = max(floor, model.learned_output_tokens or 0)
    try:
        metered.held_micro = await metered.holds.place(
            hold_id=metered.request_id,
            wallet_id=metered.key.wallet_id,
            amount_micro=pricing.worst_case_micro(prompt, output * ask.n, price),
            minimum_micro=pricing.worst_case_micro(prompt, floor * ask.n, price),
            seconds=settings.HOLD_SECONDS,
            budget_id=metered.key.budget_id,
        )
    except NotCovered:
        raise APIError("insufficient_balance") from None
    except BudgetReached:
        raise APIError("key_limit_reached") from None
    except WalletFrozen:
        raise APIError("wallet_frozen") from None
    except LedgerUnavailable as error:
        raise unavailable() from error
    affordable = pricing.affordable_output_tokens(metered.held_micro, prompt, price)
    if affordable is not None:
        output = min(output, affordable // ask.n)
    output_limit = min(output_limit, output)
    metered.prompt_bound, metered.output_bound = prompt, output * ask.n
    metered.output_cap = output_limit * ask.n
    return output_limit


async def _call(
    runtime: "Runtime",
    metered: Metered,
    ask: CompletionRequest,
    body_for: Callable[[ServedRoute], bytes],
    headers: dict[str, str],
) -> bytes | Relay:
    deadline = asyncio.get_running_loop().time() + settings.UPSTREAM_TOTAL_TIMEOUT_SECONDS

    async def attempt(route: ServedRoute) -> answers.WholeAnswer | Relay:
        metered.route = route
        metered.believes_usage = ask.n == 1 or not route.quirks.reports_one_choice
        first_by = asyncio.get_running_loop().time() + settings.UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS
        response = await runtime.upstreams.send(route, body_for(route), stream=ask.stream, deadline=deadline)
        if not ask.stream:
            return await _whole(response, route, deadline)
        answer = AnswerStream(
            include_usage=ask.include_usage,
            model=ask.model,
            choices=ask.n,
            mends=route.quirks.repairs_answers,
            output_bound=metered.output_bound,
        )
        broke_off = partial(runtime.breakers.broke_off, route)
        relay = Relay(metered, response, answer, deadline=deadline, first_by=first_by, on_failure=broke_off)
        await relay.open()
        return relay

    answer = await runtime.router.call(metered.model.routes, attempt, deadline=deadline)
    if isinstance(answer, Relay):
        return answer
    metered.mark_first_byte()
    bill = await metered.capture(answer.report, size=answer.size, final=True, outcome=Outcome.COMPLETED)
    headers[COST_HEADER] = f"{bill.cost_toman:.7f}".rstrip("0").rstrip(".")
    return answer.for_customer(model=ask.model, billed=bill.usage, cost_toman=bill.cost_toman)


async def _whole(response: UpstreamCall, route: ServedRoute, deadline: float) -> answers.WholeAnswer:
    try:
        body = await read_all(response, deadline=deadline)
    finally:
        response.release()
    try:
        return answers.whole_answer(body, mends=route.quirks.repairs_answers)
    except BadAnswer as error:
        if error.status is not None:
            raise judged(error.status, error.error, route) from error
        raise UpstreamFailed(str(error)) from error
