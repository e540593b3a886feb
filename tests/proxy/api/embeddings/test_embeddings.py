"""POST /v1/embeddings, as the official client and its wallet see it."""

import base64
import struct
from collections.abc import Callable
from typing import Any

import openai
import pytest

from tests.fake_upstream import FakeUpstream, respond
from tests.proxy.api.conftest import CREDIT, EMBEDDING_MODEL, INPUT_PRICE, Caller

VECTOR = [0.5, -1.25, 3.0]
PACKED = base64.b64encode(struct.pack("<3f", *VECTOR)).decode()
USAGE = {"prompt_tokens": 12, "total_tokens": 12}


def vectors(*embeddings: Any, usage: dict[str, Any] | None = USAGE) -> Any:
    data = [{"object": "embedding", "index": i, "embedding": each} for i, each in enumerate(embeddings)]
    body = {"object": "list", "data": data, "model": "up"}
    return respond(200, body if usage is None else {**body, "usage": usage})


def test_the_clients_default_is_base64_which_passes(
    sdk: openai.OpenAI, caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = vectors(PACKED, PACKED)
    answer = sdk.embeddings.create(model=EMBEDDING_MODEL, input=["one", "two"], dimensions=3, user="u")
    assert [one.embedding for one in answer.data] == [VECTOR, VECTOR]
    assert (answer.model, answer.usage.prompt_tokens) == (EMBEDDING_MODEL, 12)
    assert answer.usage.model_dump()["cost_toman"] == 12 * INPUT_PRICE / 10**7
    (sent,) = upstream.requests
    assert sent == {
        "model": "up-model",
        "input": ["one", "two"],
        "dimensions": 3,
        "user": "u",
        "encoding_format": "base64",
    }
    record = caller.usage()
    assert (record.endpoint, record.billed_by, record.stream) == ("embeddings", "usage", False)
    assert (record.prompt_tokens, record.completion_tokens) == (12, 0)
    assert caller.balance() == (CREDIT - 12 * INPUT_PRICE, 0)


def test_floats_pass_and_so_do_ids(sdk: openai.OpenAI, upstream: FakeUpstream) -> None:
    upstream.script = vectors(VECTOR, VECTOR)
    ids = [[1, 2], [3]]
    answer = sdk.embeddings.create(model=EMBEDDING_MODEL, input=ids, encoding_format="float")
    assert answer.data[1].embedding == VECTOR
    assert upstream.requests[0]["input"] == ids


def test_an_upstream_that_does_not_know_base64_is_understood_by_the_client(
    sdk: openai.OpenAI, upstream: FakeUpstream
) -> None:
    upstream.script = vectors(VECTOR)
    assert sdk.embeddings.create(model=EMBEDDING_MODEL, input="one").data[0].embedding == VECTOR


def test_without_usage_the_input_is_billed_by_an_estimate(
    sdk: openai.OpenAI, caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = vectors(VECTOR, usage=None)
    sdk.embeddings.create(model=EMBEDDING_MODEL, input=[7] * 50)
    record = caller.usage()
    assert (record.billed_by, record.prompt_tokens, record.completion_tokens) == ("estimate", 50, 0)
    assert caller.balance() == (CREDIT - record.cost_micro, 0)


def test_ids_are_held_by_their_count(make_caller: Callable[..., Caller], upstream: FakeUpstream) -> None:
    upstream.script = vectors(VECTOR)
    ids = list(range(100_000, 101_000))  # 7 bytes each in JSON
    with make_caller(credit_micro=2_000 * INPUT_PRICE).sdk as rich:
        assert rich.embeddings.create(model=EMBEDDING_MODEL, input=ids).data
    with (
        make_caller(credit_micro=1_000 * INPUT_PRICE).sdk as poor,
        pytest.raises(openai.APIStatusError) as caught,
    ):
        poor.embeddings.create(model=EMBEDDING_MODEL, input=ids)
    assert (caught.value.status_code, caught.value.code) == (402, "insufficient_balance")


def test_fewer_vectors_than_inputs_cost_nothing(
    sdk: openai.OpenAI, caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = vectors(VECTOR)
    with pytest.raises(openai.InternalServerError) as caught:
        sdk.embeddings.create(model=EMBEDDING_MODEL, input=["one", "two"])
    assert caught.value.code == "upstream_error"
    assert caller.balance() == (CREDIT, 0)


def test_upstreams_refusal_is_passed_on(sdk: openai.OpenAI, caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = respond(400, {"error": {"message": "Too many dimensions.", "param": "dimensions"}})
    with pytest.raises(openai.BadRequestError, match=r"Too many dimensions\."):
        sdk.embeddings.create(model=EMBEDDING_MODEL, input="one", dimensions=10**6)
    assert caller.balance() == (CREDIT, 0)


@pytest.mark.parametrize("wrong", [[], ["a", 1], [""] * 2_049, [[[1]]]])
def test_a_wrong_input_is_named(sdk: openai.OpenAI, wrong: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.embeddings.create(model=EMBEDDING_MODEL, input=wrong)
    assert (caught.value.code, caught.value.param) == ("invalid_value", "input")


def test_what_a_limit_counts_is_what_went_in(
    make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    upstream.script = vectors(VECTOR)
    caller = make_caller(tpm=30)
    with caller.http as http:
        for remaining in ("29", "17"):
            answer = http.post("/embeddings", json={"model": EMBEDDING_MODEL, "input": "word"})
            assert (answer.status_code, answer.headers["x-ratelimit-remaining-tokens"]) == (200, remaining)
