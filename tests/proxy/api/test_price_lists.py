"""A request at a price list of more than three components: what is held, charged, kept, and computed anew."""

import pytest

from proxy.catalogue.prices import price_shape
from proxy.catalogue.prices.models import Price
from proxy.catalogue.prices.pricing import Usage, cost_micro
from proxy.catalogue.served import quote
from proxy.usage import integrity as usage_integrity
from tests.fake_upstream import FakeUpstream, answer_whole, respond
from tests.proxy.api.conftest import (
    CACHED_PRICE,
    CREDIT,
    INPUT_PRICE,
    MODEL,
    OUTPUT_PRICE,
    WHOLE_LIST,
    WHOLE_LIST_MODEL,
    Caller,
)
from wallet import integrity
from wallet.money import MICRO_PER_RIAL

LIST = price_shape.read(INPUT_PRICE, OUTPUT_PRICE, CACHED_PRICE, WHOLE_LIST)
REQUEST = 7 * MICRO_PER_RIAL


@pytest.mark.parametrize(
    ("prompt", "cost", "rates"),
    [
        (50, 50 * INPUT_PRICE + 9 * OUTPUT_PRICE + REQUEST, (INPUT_PRICE, OUTPUT_PRICE)),
        (51, 51 * 5_000 + 9 * 9_000 + REQUEST, (5_000, 9_000)),
    ],
)
def test_a_request_is_charged_by_the_tier_of_its_prompt_and_per_request(
    caller: Caller, upstream: FakeUpstream, prompt: int, cost: int, rates: tuple[int, int]
) -> None:
    upstream.script = answer_whole(usage={"prompt_tokens": prompt, "completion_tokens": 9})
    answer = caller.ask(model=WHOLE_LIST_MODEL, messages=[{"role": "user", "content": "word " * 40}])
    assert answer.json()["usage"]["cost_toman"] == cost / (10 * MICRO_PER_RIAL)
    record = caller.usage()
    assert record.cost_micro == cost == cost_micro(Usage(prompt, 9), LIST)
    assert (record.input_rial_per_million, record.output_rial_per_million) == rates
    assert record.quantities == {"request": 1}
    assert caller.balance() == (CREDIT - cost, 0)
    price = Price.objects.get(pk=record.price_list_id or 0)
    assert (price.model.model_id, quote(price)) == (WHOLE_LIST_MODEL, LIST)
    assert not [
        found for found in integrity.run([usage_integrity.EVERY_COST]) if str(record.pk) in found.detail
    ]


def test_a_failed_request_costs_nothing_though_each_has_a_price(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = respond(400, {"error": {"message": "no", "code": "bad"}})
    assert caller.ask(model=WHOLE_LIST_MODEL).status_code >= 400
    assert caller.balance() == (CREDIT, 0)
    assert (caller.usage().cost_micro, caller.usage().quantities) == (0, None)


def test_a_plain_request_keeps_its_list_and_nothing_more(caller: Caller) -> None:
    caller.ask()
    record = caller.usage()
    assert record.quantities is None
    assert Price.objects.get(pk=record.price_list_id or 0).model.model_id == MODEL


def test_a_record_keeps_what_the_request_cost_the_operator(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = answer_whole(usage={"prompt_tokens": 5, "completion_tokens": 9})
    caller.ask(model=WHOLE_LIST_MODEL)
    record = caller.usage()
    assert record.upstream_cost_nanodollars == 5 * 2_500 + 9 * 10_000
    assert record.upstream_cost_micro is None
