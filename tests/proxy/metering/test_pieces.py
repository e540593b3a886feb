"""Whatever a list prices, a wallet has and an answer shows: what is held for pieces covers what is paid."""

import uuid
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar, cast

from hypothesis import given
from hypothesis import strategies as st

from proxy.catalogue.prices import upstream_price
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.prices.pricing import NO_UNITS, Units, Usage, cost_micro
from proxy.catalogue.prices.upstream_price import UpstreamPrice
from proxy.metering.reported_usage import Report
from proxy.metering.settlement import Metered, Outcome
from proxy.usage import quantities
from tests.proxy.catalogue.test_pricing import units, whole_lists
from tests.proxy.factories import served_model, served_route
from tests.proxy.metering.test_settlement import KEY, NoLimits
from tests.proxy.metering.test_slices import Wallet, refusal

PROMPT_BOUND, OUTPUT_BOUND = 90, 500
lists = st.builds(PriceQuote, st.integers(0, 100), st.integers(0, 100)) | whole_lists()


@dataclass
class PiecesRequest:
    """As much of a MeteredRequest as admission and settlement look at."""

    units: Units
    stream: bool = False
    endpoint: ClassVar = "pieces"
    answers: ClassVar = 1
    output_limit: ClassVar = None
    prompt_estimate: ClassVar = 40

    def prompt_bound(self, _model: object) -> int:
        return PROMPT_BOUND

    def default_output_limit(self, _model: object) -> int:
        return OUTPUT_BOUND

    def protocol_for(self, _route: object) -> SimpleNamespace:
        return SimpleNamespace(name="pieces")

    def is_reported_by(self, _route: object) -> bool:
        return True

    def exceeded(self, *_: object, **__: object) -> dict[str, int]:
        return {}


@dataclass
class Made:
    """The size of an answer of pieces, of which `units` shows some, all, or too many."""

    units: Units | None
    estimate: ClassVar = 30
    at_least: ClassVar = 0
    at_most: ClassVar = 10**9


class Recording(Wallet):
    """A wallet that keeps the record of what it settled."""

    record: dict[str, Any]

    async def settle(self, *, record: dict[str, Any], **settled: Any) -> None:  # type: ignore[override]
        self.record = record
        await super().settle(**settled)


def asked(
    wallet: Wallet, price: PriceQuote, units: Units, *, theirs: PriceQuote, stream: bool = False
) -> Metered:
    route = served_route(1, upstream_price=UpstreamPrice(upstream_price.RIAL, theirs))
    return Metered(
        holds=cast(Any, wallet),
        limiter=cast(Any, NoLimits()),
        learning=cast(Any, SimpleNamespace(observe=lambda *_: None)),
        request_id=uuid.uuid4(),
        key=KEY,
        request=cast(Any, PiecesRequest(units, stream)),
        model=served_model(price=price, price_list_id=1, routes=(route,), output_slice_tokens=10),
        route=route,
    )


usages = st.builds(
    Usage, st.integers(1, PROMPT_BOUND), st.integers(0, OUTPUT_BOUND), st.integers(0, PROMPT_BOUND)
)


@given(
    price=lists, theirs=lists, credit=st.integers(0, 10**15) | st.integers(0, 2**62), asked_for=units,
    made=st.none() | units, reported=st.none() | usages, stream=st.booleans(), final=st.booleans(),
)  # fmt: skip
async def test_what_is_held_covers_what_is_paid_and_the_record_says_how_it_came_about(
    price: PriceQuote, theirs: PriceQuote, credit: int, asked_for: Units, made: Units | None, reported: Usage | None,
    stream: bool, final: bool,
) -> None:  # fmt: skip
    wallet = Recording(credit, 0)
    metered = asked(wallet, price, asked_for, theirs=theirs, stream=stream)
    if await refusal(metered) is not None:
        assert wallet.available_micro == credit
        return
    report = None if reported is None else Report(reported, {})
    bill = await metered.capture(report, size=Made(made), final=final, outcome=Outcome.COMPLETED)
    record = wallet.record
    assert record["uncovered_micro"] == 0
    assert wallet.available_micro == credit - wallet.paid_micro
    usage, pieces = quantities.read(
        prompt_tokens=record["prompt_tokens"],
        cached_tokens=record["cached_tokens"],
        completion_tokens=record["completion_tokens"],
        further=record.get("quantities"),
    )
    assert bill.cost_micro == wallet.paid_micro == cost_micro(usage, price, pieces)
    details = bill.cost_details()
    assert round(sum(one["toman"] for one in details.values()), 3) == round(bill.cost_toman, 3)
    assert record["upstream_cost_micro"] >= 0


async def test_the_operator_pays_by_the_upstreams_list_whatever_the_customer_pays_by() -> None:
    wallet = Recording(10**12, 0)
    metered = asked(
        wallet, PriceQuote(0, 0, further={"image": 500}), Units(images=2), theirs=PriceQuote(5, 40)
    )
    assert await refusal(metered) is None
    assert wallet.held_micro == 2 * 500 * 10**6
    await metered.capture(Report(Usage(50, 400), {}), size=Made(None), final=True, outcome=Outcome.COMPLETED)
    record = wallet.record
    assert wallet.paid_micro == 2 * 500 * 10**6
    assert (record["billed_by"], record["quantities"], record["prompt_tokens"]) == (
        "counted",
        {"image": 2},
        0,
    )
    assert record["upstream_cost_micro"] == 50 * 5 + 400 * 40


async def test_a_stream_of_pieces_is_not_held_for_in_slices() -> None:
    wallet = Recording(10**12, 0)
    metered = asked(wallet, PriceQuote(5, 40), NO_UNITS, theirs=PriceQuote(0, 0), stream=True)
    assert await refusal(metered) is None
    assert wallet.held_micro == PROMPT_BOUND * 5 + OUTPUT_BOUND * 40
    assert metered.allowed_output is None
