"""Whether a request may run: which model it may use, whether it can fit, and the hold that covers its worst case."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings

from keys.lookup import KeyIdentity
from proxy.catalogue import pricing
from proxy.catalogue.models import Upstream
from proxy.catalogue.request_fields import AUDIO, FILE, IMAGE, TOOLS
from proxy.catalogue.served import CatalogueCache, ServedModel
from proxy.catalogue.tokens import OUTPUT_FLOOR_TOKENS
from proxy.errors import APIError, unavailable
from proxy.metering.endpoint import MeteredRequest
from proxy.metering.settlement import Metered
from wallet.ledger.holds import BudgetReached, LedgerUnavailable, NotCovered, WalletFrozen

if TYPE_CHECKING:
    from proxy.runtime import Runtime

INPUT_WORDS = {IMAGE: "images", AUDIO: "sound", FILE: "files", TOOLS: "tools"}


@dataclass(frozen=True, slots=True)
class PricedRequest:
    """A request, and its model with the price of this moment."""

    request: MeteredRequest
    model: ServedModel

    @property
    def ends_with_its_client(self) -> bool:
        """Whether nobody wants the answer any more, nor is billed for it upstream, once the client has left.

        Whole answers are finished and paid for in any case.
        """
        cancel = Upstream.OnDisconnect.CANCEL
        return self.request.stream and all(route.on_disconnect == cancel for route in self.model.routes)


def find_model(runtime: "Runtime", model_id: str, *, key: KeyIdentity) -> ServedModel:
    """Raises APIError model_not_found, model_not_allowed."""
    model = on_sale(runtime).get(model_id)
    if model is None:
        raise APIError("model_not_found", param="model")
    if not key.may_use(model_id):
        raise APIError("model_not_allowed", param="model")
    return model


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
    """Holds the worst case. The cap to send is then the one asked for, or what the money covers if that is less.

    Raises APIError insufficient_balance, key_limit_reached, wallet_frozen, service_unavailable.
    """
    request, model = metered.request, metered.model
    prompt, answers = request.prompt_bound(model), request.answers
    asked = _output_limit(request, model)
    output = max(asked, model.learned_output_tokens or 0)
    floor = asked if request.output_limit is not None else min(OUTPUT_FLOOR_TOKENS, asked)
    if not request.stream:
        # A stream is stopped at what is held; a whole answer of an upstream that overran caps cannot be.
        floor = max(floor, model.learned_output_tokens or 0)
    try:
        metered.held_micro = await metered.holds.place(
            hold_id=metered.request_id,
            wallet_id=metered.key.wallet_id,
            amount_micro=pricing.worst_case_micro(prompt, output * answers, model.price),
            minimum_micro=pricing.worst_case_micro(prompt, floor * answers, model.price),
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
    affordable = pricing.affordable_output_tokens(metered.held_micro, prompt, model.price)
    if affordable is not None:
        output = min(output, affordable // answers)
    metered.output_limit = min(asked, output)
    metered.prompt_bound, metered.output_bound = prompt, output * answers


def _output_limit(request: MeteredRequest, model: ServedModel) -> int:
    """The cap on each answer: the client's, or the endpoint's."""
    if request.output_limit is not None:
        return min(request.output_limit, model.longest_prompt_tokens)
    return request.default_output_limit(model)
