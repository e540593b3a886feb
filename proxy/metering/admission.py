"""Whether a request may run: which model it may use, whether it can fit, and the hold that covers its worst case."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings

from accounts.shared.formats import TEHRAN
from keys.lookup import KeyIdentity
from proxy.catalogue.endpoints import ENDPOINTS
from proxy.catalogue.request_fields import AUDIO, FILE, IMAGE, TOOLS
from proxy.catalogue.served import CatalogueCache, ServedModel, ServedRoute
from proxy.catalogue.tokens import OUTPUT_FLOOR_TOKENS
from proxy.errors import ERRORS, APIError, unavailable
from proxy.metering.endpoint import MeteredRequest
from proxy.metering.settlement import Metered
from wallet.ledger.holds import BudgetReached, HoldGone, LedgerUnavailable, NotCovered, WalletFrozen
from wallet.money import MICRO_PER_TOMAN

if TYPE_CHECKING:
    from proxy.runtime import Runtime

MODELS_TOLD = 20  # in an error
REFUSALS = (NotCovered, BudgetReached, WalletFrozen)
INPUT_WORDS = {IMAGE: "images", AUDIO: "sound", FILE: "files", TOOLS: "tools"}


@dataclass(frozen=True, slots=True)
class PricedRequest:
    """A request, and its model with the price of this moment."""

    request: MeteredRequest
    model: ServedModel


def find_model(
    runtime: "Runtime", model_id: str, *, key: KeyIdentity, endpoint: str | None = None
) -> ServedModel:
    """The model with the routes that serve this endpoint. Raises APIError model_not_found, model_not_allowed."""
    model = on_sale(runtime).get(model_id)
    if model is None:
        raise APIError("model_not_found", param="model")
    if not key.may_use(model_id):
        raise APIError("model_not_allowed", param="model")
    if endpoint is None:
        return model
    if (there := model.at(endpoint)) is None:
        raise _not_there(runtime, model_id, key=key, endpoint=endpoint)
    return there


def _not_there(runtime: "Runtime", model_id: str, *, key: KeyIdentity, endpoint: str) -> APIError:
    path = ENDPOINTS[endpoint].path
    others = [
        model.model_id
        for model in runtime.catalogue.all()
        if endpoint in model.endpoints and key.may_use(model.model_id)
    ]
    there = f"Models there: {', '.join(others[:MODELS_TOLD])}." if others else "No model of this key is."
    return APIError(
        "model_not_found", param="model", message=f"The model {model_id} is not served at {path}. {there}"
    )


def on_sale(runtime: "Runtime") -> CatalogueCache:
    """The catalogue. Raises APIError until it has been read: before that, no model can be said not to exist."""
    if not runtime.catalogue.is_loaded:
        raise unavailable()
    return runtime.catalogue


def price(request: MeteredRequest, model: ServedModel) -> PricedRequest:
    """Raises APIError input_not_supported, context_length_exceeded for what this model cannot answer."""
    for kind, param in request.inputs.items():
        if kind not in model.takes:
            raise APIError(
                "input_not_supported",
                param=param,
                message=f"The model {request.model} does not take {INPUT_WORDS[kind]}.",
            )
    if request.cannot_fit(model.longest_prompt_tokens):
        raise APIError("context_length_exceeded", param=request.prompt_field)
    return PricedRequest(request, model)


async def hold(metered: Metered) -> None:
    """Holds the worst case, or of an answer in slices the first one; sets the cap to send.

    That is the one asked for, or what the money covers if that is less and no more will be held.
    Raises APIError insufficient_balance, key_limit_reached, wallet_frozen, service_unavailable.
    """
    request, model = metered.request, metered.model
    prefixes, answers = metered.prefixes, request.answers
    prompt = request.prompt_bound(model) if prefixes is None else await prefixes.bound()
    asked = _output_limit(request, model)
    longest = max(asked, model.learned_output_tokens or 0)
    floor = asked if request.output_limit is not None else min(OUTPUT_FLOOR_TOKENS, asked)
    if request.units is not None:
        floor = longest  # upstreams take no cap here
    elif not request.stream:
        # A stream is stopped at what is held; a whole answer of an upstream that overran caps cannot be.
        floor = max(floor, model.learned_output_tokens or 0)
    first = longest
    is_text_stream = request.stream and request.units is None
    if is_text_stream and model.output_slice_tokens is not None and model.stops_when_told:
        hidden = model.learned_hidden_tokens or 0
        first = min(longest, hidden + model.output_slice_tokens)
        if first < longest:
            floor = min(first, hidden + OUTPUT_FLOOR_TOKENS)
    metered.prompt_bound, metered.output_max = prompt, longest * answers
    minimum_micro = metered.worst_case_micro(floor * answers)
    try:
        metered.held_micro = await metered.holds.place(
            hold_id=metered.request_id,
            wallet_id=metered.key.wallet_id,
            amount_micro=metered.worst_case_micro(first * answers),
            minimum_micro=minimum_micro,
            seconds=settings.HOLD_SECONDS,
            budget_id=metered.key.budget_id,
            shared_budget_id=metered.key.project_budget_id,
        )
    except REFUSALS as error:
        raise _refused(metered, minimum_micro, error) from None
    if metered.trace is not None:
        metered.trace.event("hold", {"hamiran.held_micro": metered.held_micro})
    if request.stream:
        metered.keep_hold()
    metered.output_bound = min(_affordable(metered), first * answers)
    if first < longest:
        metered.output_limit = asked
    else:
        metered.output_max = metered.output_bound
        metered.output_limit = min(asked, metered.output_bound // answers)


async def hold_for(metered: Metered, route: ServedRoute) -> None:
    """Holds what the prompt may be more at this upstream than at those that are asked first, for the same output.

    Raises APIError insufficient_balance, key_limit_reached, wallet_frozen, service_unavailable.
    """
    if metered.prefixes is None or (bound := metered.prefixes.bound_at(route)) <= metered.prompt_bound:
        return
    metered.prompt_bound = bound
    amount_micro = metered.worst_case_micro(metered.output_bound)
    if amount_micro <= metered.held_micro:
        return
    try:
        await metered.raise_hold(amount_micro, minimum_micro=amount_micro)
    except REFUSALS as error:
        raise _refused(metered, amount_micro, error) from None
    except (LedgerUnavailable, HoldGone) as error:
        raise unavailable() from error


async def extend(metered: Metered, *, needed: int) -> None:
    """Holds a slice more than the `needed` tokens of output, of all answers together, or as much as the money covers.

    Raises APIError insufficient_balance, key_limit_reached, wallet_frozen where that is less than what is needed, or
    no more than before; LedgerUnavailable, HoldGone.
    """
    needed = min(max(metered.hidden_output + needed, metered.output_bound), metered.output_max)
    wanted = min(needed + metered.slice_tokens, metered.output_max)
    minimum_micro = max(metered.worst_case_micro(needed), metered.held_micro + 1)
    amount_micro = max(metered.worst_case_micro(wanted), minimum_micro)
    try:
        await metered.raise_hold(amount_micro, minimum_micro=minimum_micro)
    except REFUSALS as error:
        raise _refused(metered, minimum_micro, error) from None
    metered.output_bound = min(_affordable(metered), metered.output_max)


def _affordable(metered: Metered) -> int:
    """The tokens of output that the hold covers; all of them where they are free."""
    affordable = metered.affordable_output(metered.held_micro)
    return metered.output_max if affordable is None else affordable


def _refused(
    metered: Metered, minimum_micro: int, error: NotCovered | BudgetReached | WalletFrozen
) -> APIError:
    """Why no hold was to be had: what was needed, what there was (with what is held already), the cap that fits it."""
    if isinstance(error, WalletFrozen):
        return APIError("wallet_frozen")
    available_micro = metered.held_micro + error.available_micro
    fitting = metered.affordable_output(available_micro)
    facts: dict[str, Any] = {
        "required_toman": minimum_micro / MICRO_PER_TOMAN,
        "available_toman": available_micro / MICRO_PER_TOMAN,
        "max_tokens_that_fit": (fitting or 0) // metered.request.answers,
    }
    if isinstance(error, NotCovered):
        if metered.key.member_id is not None:  # what the project's owner has is no business of its members
            facts = {"required_toman": facts["required_toman"]}
        return APIError("insufficient_balance", facts=facts)
    return _cap_reached(error, facts)


def _cap_reached(error: BudgetReached, facts: dict[str, Any]) -> APIError:
    """No Retry-After where a cap begins anew: a client that waits for it would wait for weeks."""
    code = "project_limit_reached" if error.is_shared else "key_limit_reached"
    message = ERRORS[code][2]
    resets_at = None
    if error.ends_at is not None:
        resets_at = error.ends_at.astimezone(TEHRAN).isoformat()
        message = f"{message} It begins anew at {resets_at}."
    return APIError(
        code,
        message=message,
        headers={"x-should-retry": "false"},
        facts={**facts, "resets_at": resets_at},
    )


def _output_limit(request: MeteredRequest, model: ServedModel) -> int:
    """The cap on each answer: the client's, or the endpoint's."""
    if request.output_limit is not None:
        return min(request.output_limit, model.longest_prompt_tokens)
    return request.default_output_limit(model)
