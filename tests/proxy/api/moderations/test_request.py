"""What is read of a request for moderation, what an upstream gets of it, and what is an answer."""

from typing import Any

import orjson
import pytest

from proxy.api.moderations.answer import read_answer
from proxy.api.moderations.request import ModerationsRequest, read_request
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.prices.pricing import Usage
from proxy.errors import APIError
from proxy.http.parsing import read_payload
from proxy.metering.bill import Bill
from proxy.metering.endpoint import BadAnswer
from tests.proxy.factories import served_route

IMAGE = {"type": "image_url", "image_url": {"url": "https://x.test/y.png"}}
TEXT = {"type": "text", "text": "Hello"}


def read(value: Any, **fields: Any) -> ModerationsRequest:
    return read_request(read_payload(orjson.dumps({"input": value, **fields})), model="m")


def sent(asked: ModerationsRequest) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(asked.body_for(served_route(1, upstream_model="up"), output_limit=0))
    return body


@pytest.mark.parametrize("value", ["Hello", ["one", "two"], [TEXT, IMAGE]])
def test_every_form_of_input_passes_with_the_models_name_there(value: Any) -> None:
    assert sent(read(value, user="u", stream=True)) == {"input": value, "user": "u", "model": "up"}


def test_images_are_an_input_that_a_model_may_not_take() -> None:
    assert read([TEXT, IMAGE, IMAGE]).inputs == {"image": "input[1]"}
    assert read(["a", "b"]).inputs == {}
    assert read([{"type": "text", "text": "a", "image_url": {"url": "data:,"}}]).inputs == {
        "image": "input[0]"
    }


def test_no_token_of_it_is_held_counted_or_billed() -> None:
    asked = read("a" * 10_000)
    assert (asked.prompt_estimate, asked.output_limit) == (0, 0)
    assert asked.cannot_fit(100)
    assert not asked.cannot_fit(1_000)


@pytest.mark.parametrize("wrong", [None, [], {}, 5, [1], [{}], [{"text": "no type"}], ["a"] * 2_049])
def test_what_is_no_input_is_named(wrong: Any) -> None:
    with pytest.raises(APIError) as caught:
        read(wrong)
    assert (caught.value.code, caught.value.param) == ("invalid_value", "input")


def test_an_answer_passes_with_the_name_that_was_asked_for() -> None:
    body = (
        b'{"id":"modr-1","model":"up","results":[{"flagged":false,"category_scores":{"hate":1e-7}}],"cost":5}'
    )
    answer = read_answer(body, model="m")
    assert answer.report is None
    assert answer.for_customer(Bill(Usage(0, 0), PriceQuote(0, 0), 0)) == (
        b'{"id":"modr-1","model":"m","results":[{"flagged":false,"category_scores":{"hate":1e-7}}]}'
    )


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"results":[]}', b'{"results":null}', b'{"error":{"message":"no"},"results":[{}]}'],
)
def test_an_answer_without_results_is_none(body: bytes) -> None:
    with pytest.raises(BadAnswer):
        read_answer(body, model="m")
