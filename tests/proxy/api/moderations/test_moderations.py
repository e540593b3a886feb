"""POST /v1/moderations, as the official client and its wallet see it."""

from collections.abc import Callable
from typing import Any

import openai
import pytest

from keys import lifecycle
from keys.rules import KeyRules
from tests.fake_upstream import FakeUpstream, respond
from tests.live import eventually
from tests.proxy.api.conftest import (
    CREDIT,
    MODEL,
    MODERATION_MODEL,
    OPEN_MODERATION_MODEL,
    REQUEST_PRICE,
    Caller,
)
from wallet.money import MICRO_PER_RIAL

COST = REQUEST_PRICE * MICRO_PER_RIAL
RESULT = {"flagged": True, "categories": {"hate": True}, "category_scores": {"hate": 0.9}}
USAGE = {"prompt_tokens": 50, "total_tokens": 50}
PARTS: Any = [
    {"type": "text", "text": "Hello!"},
    {"type": "image_url", "image_url": {"url": "https://x.test/y.png"}},
]


def results(count: int = 1, **more: Any) -> Any:
    return respond(200, {"id": "modr-1", "model": "up", "results": [RESULT] * count, **more})


@pytest.mark.parametrize("value", ["Hello! " * 1_000, ["one", "two"], PARTS])
def test_a_moderation_is_billed_by_the_request(caller: Caller, upstream: FakeUpstream, value: Any) -> None:
    upstream.script = results(2, usage=USAGE)
    with caller.http as http:
        answer = http.post("/moderations", json={"model": MODERATION_MODEL, "input": value})
    assert answer.json() == {
        "id": "modr-1",
        "model": MODERATION_MODEL,
        "results": [RESULT] * 2,
        "usage": USAGE,
    }
    assert float(answer.headers["x-hamiran-cost-toman"]) == COST / 10**7
    assert upstream.requests == [{"model": "up-model", "input": value}]
    record = caller.usage()
    assert (record.endpoint, record.prompt_tokens, record.completion_tokens) == ("moderations", 0, 0)
    assert (record.quantities, record.billed_by) == ({"request": 1}, "counted")
    assert caller.balance() == (CREDIT - COST, 0)


def test_it_is_free_where_requests_have_no_price(
    make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    upstream.script = results(usage=USAGE)
    caller = make_caller(credit_micro=1)
    with caller.sdk as sdk:
        assert sdk.moderations.create(model=OPEN_MODERATION_MODEL, input="Hello!").results
    assert caller.balance() == (1, 0)
    assert caller.usage().outcome == "completed"


def test_who_names_no_model_gets_the_only_one_there_is(
    sdk: openai.OpenAI, caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = results()
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.moderations.create(input="Hello!")
    assert caught.value.code == "model_required"
    rules = KeyRules(allowed_models=(MODEL, MODERATION_MODEL))
    lifecycle.change(user_id=caller.wallet.pk, key_id=caller.key_id, name="test", rules=rules)

    def is_answered() -> bool:
        try:
            return sdk.moderations.create(input="Hello!").model == MODERATION_MODEL
        except openai.BadRequestError:  # the change is on its way to the web process
            return False

    eventually(is_answered)
    assert upstream.requests[0]["model"] == "up-model"


@pytest.mark.parametrize("answer", [{"results": []}, {}, {"results": None}])
def test_an_answer_without_results_costs_nothing(
    sdk: openai.OpenAI, caller: Caller, upstream: FakeUpstream, answer: dict[str, Any]
) -> None:
    upstream.script = respond(200, answer)
    with pytest.raises(openai.InternalServerError):
        sdk.moderations.create(model=MODERATION_MODEL, input="Hello!")
    assert caller.balance() == (CREDIT, 0)


def test_it_is_not_asked_for_where_it_is_not_covered(
    make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    with make_caller(credit_micro=COST - 1).sdk as sdk, pytest.raises(openai.APIStatusError) as caught:
        sdk.moderations.create(model=MODERATION_MODEL, input="Hello!")
    assert (caught.value.status_code, upstream.requests) == (402, [])


def test_images_are_refused_for_a_model_that_takes_none(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.moderations.create(model=OPEN_MODERATION_MODEL, input=PARTS)
    assert (caught.value.code, caught.value.param) == ("input_not_supported", "input[1]")
