"""Answers to requests for embeddings: which are one, what they report, and that vectors pass as they came."""

from typing import Any

import orjson
import pytest

from proxy.api.embeddings.answer import EmbeddingsAnswer, read_answer
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.prices.pricing import Usage
from proxy.metering.bill import Bill
from proxy.metering.endpoint import BadAnswer

USAGE = {"prompt_tokens": 5, "total_tokens": 5}
BILL = Bill(Usage(5, 0), PriceQuote(2_000_000, 0), 10_000_000)


def read(inputs: int = 1, **members: Any) -> EmbeddingsAnswer:
    data = [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}]
    body = {"object": "list", "data": data, "model": "up", "usage": USAGE, **members}
    return read_answer(orjson.dumps(body), model="m", inputs=inputs)


def usage(said: Any) -> Usage | None:
    report = read(usage=said).report
    return None if report is None else report.usage


def test_vectors_pass_as_they_came_and_the_name_is_the_one_asked_for() -> None:
    vector = b"[0.10000000000000000001, 1e-400,\n -0.0]"
    body = b'{"data":[{"embedding":%b,"index":0}],"model":"up","usage":{"total_tokens":5}}' % vector
    answer = read_answer(body, model="m", inputs=1).for_customer(BILL)
    assert vector in answer
    assert b'"model":"m"' in answer
    assert orjson.loads(answer)["usage"] == {
        "prompt_tokens": 5,
        "total_tokens": 5,
        "cost_toman": 1.0,
        "cost_details": {"input": {"quantity": 5, "toman": 1.0}},
    }


def test_base64_is_a_vector_too() -> None:
    packed = [{"index": 0, "embedding": "AAAAPw=="}]
    assert orjson.loads(read(data=packed).for_customer(BILL))["data"] == packed


@pytest.mark.parametrize(
    ("said", "tokens"),
    [
        (USAGE, 5),
        ({"total_tokens": 5}, 5),
        ({"prompt_tokens": 5}, 5),
        ({"prompt_tokens": None, "total_tokens": 5}, 5),
        ({"input_tokens": 5}, 5),
        ({"prompt_tokens": 5, "completion_tokens": 0, "total_tokens": 5}, 5),
        ({"prompt_tokens": 5, "completion_tokens": None, "total_tokens": 9}, 5),
        ({"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}, 5),
    ],
)
def test_what_went_in_is_all_that_is_used(said: dict[str, Any], tokens: int) -> None:
    assert usage(said) == Usage(tokens, 0)


@pytest.mark.parametrize("said", [None, {}, [], {"total_tokens": "many"}, {"prompt_tokens": -1}])
def test_a_usage_that_cannot_be_read_is_none(said: Any) -> None:
    assert usage(said) is None


def test_what_the_operator_pays_is_for_nobody() -> None:
    answer = read(usage={**USAGE, "cost": 0.1}, cost=0.1, meta={"price": 1, "a": 2})
    told = orjson.loads(answer.for_customer(BILL))
    assert "cost" not in told
    assert "cost" not in told["usage"]
    assert told["meta"] == {"a": 2}
    assert answer.report is not None
    assert answer.report.upstream_cost_nanodollars == 10**8


@pytest.mark.parametrize(
    "members",
    [
        {"data": []},
        {"data": None},
        {"data": {}},
        {"data": [{}]},
        {"data": [{"embedding": None}]},
        {"data": [{"embedding": []}]},
        {"data": [{"embedding": ""}]},
        {"inputs": 2},
        {"error": {"message": "no"}},
    ],
)
def test_an_answer_without_a_vector_for_each_input_is_none(members: dict[str, Any]) -> None:
    with pytest.raises(BadAnswer):
        read(**members)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"null", b'{"model":"up"}', b"<html>", b'{"data":' + b"[" * 100_000]
)
def test_what_is_no_answer_at_all_is_none_either(body: bytes) -> None:
    with pytest.raises(BadAnswer):
        read_answer(body, model="m", inputs=1)


def test_an_error_is_told_in_its_own_words() -> None:
    with pytest.raises(BadAnswer) as caught:
        read_answer(b'{"error":{"message":"too long","type":"invalid_request_error"}}', model="m", inputs=1)
    assert caught.value.status == 400
