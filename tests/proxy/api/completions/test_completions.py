"""POST /v1/completions: whole and streamed, as the official client and its wallet see it."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from tests.fake_upstream import TEXT_STREAM, FakeUpstream, answer_texts, as_asked, stream_events, text_chunk
from tests.proxy.api.conftest import CREDIT, INPUT_PRICE, MODEL, OUTPUT_PRICE, SLICE, TEXT_MODEL, Caller

COST = 12 * INPUT_PRICE + 9 * OUTPUT_PRICE
DONE = b"data: [DONE]\n\n"


def ask(caller: Caller, **fields: Any) -> httpx.Response:
    with caller.http as http:
        return http.post("/completions", json={"model": TEXT_MODEL, "prompt": "Hello!", **fields})


def events(response: httpx.Response) -> list[Any]:
    *parts, done, rest = response.content.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    return [json.loads(part.removeprefix(b"data: ")) for part in parts]


def test_a_whole_completion_comes_as_the_client_knows_it(
    sdk: openai.OpenAI, caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = answer_texts("Hello!")
    answer = sdk.completions.create(model=TEXT_MODEL, prompt="Hello!", suffix="s", logprobs=2, user="u")
    assert (answer.object, answer.model, answer.choices[0].text) == ("text_completion", TEXT_MODEL, "Hello!")
    assert answer.usage is not None
    assert answer.usage.total_tokens == 21
    assert answer.usage.model_dump()["cost_toman"] == COST / 10**7
    assert upstream.requests == [
        {"model": "up-model", "prompt": "Hello!", "suffix": "s", "logprobs": 2, "user": "u", "max_tokens": 16}
    ]
    record = caller.usage()
    assert (record.endpoint, record.outcome, record.billed_by) == ("completions", "completed", "usage")
    assert caller.balance() == (CREDIT - COST, 0)


def test_a_stream_passes_byte_for_byte_but_for_the_models_name(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(*TEXT_STREAM)
    answer = ask(caller, stream=True)
    assert answer.content == as_asked(*TEXT_STREAM[:3], TEXT_STREAM[4], model=TEXT_MODEL)
    assert upstream.requests[0]["stream_options"] == {"include_usage": True}
    assert caller.balance() == (CREDIT - COST, 0)


def test_a_streams_usage_comes_last_with_its_cost_where_it_was_asked_for(
    sdk: openai.OpenAI, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(*TEXT_STREAM)
    stream = sdk.completions.create(
        model=TEXT_MODEL, prompt="Hello!", stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks) == "Hello!"
    assert {chunk.usage for chunk in chunks} == {None}
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.model_dump()["cost_toman"] == COST / 10**7


def test_several_prompts_are_held_for_and_answered_each(
    make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    upstream.script = answer_texts("a", "b", "c", "d", usage={"prompt_tokens": 4, "completion_tokens": 8})
    asked: dict[str, Any] = {"prompt": ["one", "two"], "n": 2, "max_tokens": 100}
    poor = make_caller(credit_micro=399 * OUTPUT_PRICE)
    refused = ask(poor, **asked).json()["error"]
    assert (refused["code"], upstream.requests) == ("insufficient_balance", [])
    assert refused["max_tokens_that_fit"] < 100
    rich = make_caller(credit_micro=CREDIT)
    assert [choice["text"] for choice in ask(rich, **asked).json()["choices"]] == ["a", "b", "c", "d"]
    assert upstream.requests[0]["prompt"] == ["one", "two"]
    assert rich.balance() == (CREDIT - 4 * INPUT_PRICE - 8 * OUTPUT_PRICE, 0)


def test_each_choice_of_a_stream_has_to_end(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(text_chunk("a", "b"), text_chunk("", finish="stop"), cut=True)
    assert events(ask(caller, stream=True, n=2))[-1]["error"]["code"] == "upstream_error"
    assert caller.balance() == (CREDIT, 0)


def test_an_event_of_nothing_is_no_answer_and_no_failure(caller: Caller, upstream: FakeUpstream) -> None:
    """llama.cpp begins a stream of several answers with one."""
    upstream.script = stream_events(b"data: null\n\n", *TEXT_STREAM)
    answer = ask(caller, stream=True)
    assert answer.content == as_asked(*TEXT_STREAM[:3], TEXT_STREAM[4], model=TEXT_MODEL)
    upstream.script = stream_events(b"data: null\n\n", DONE)
    assert ask(caller, stream=True).status_code == 502
    assert caller.balance() == (CREDIT - COST, 0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_repeated_is_paid_as_a_prompt_alone(
    caller: Caller, upstream: FakeUpstream, stream: bool
) -> None:
    prompt = "Once upon a time there was a cat. " * 30
    usage = {"prompt_tokens": 240, "completion_tokens": 2, "total_tokens": 242}
    parts = [text_chunk(prompt), text_chunk("And so"), text_chunk("", finish="stop", usage=usage), DONE]
    upstream.script = stream_events(*parts) if stream else answer_texts(prompt + "And so", usage=usage)
    answer = ask(caller, prompt=prompt, echo=True, max_tokens=2, stream=stream)
    said = events(answer) if stream else [answer.json()]
    assert "".join(choice["text"] for one in said for choice in one["choices"]) == prompt + "And so"
    assert (upstream.requests[0]["echo"], caller.usage().billed_by) == (True, "usage")
    assert caller.balance() == (CREDIT - 240 * INPUT_PRICE - 2 * OUTPUT_PRICE, 0)


def test_scores_alone_are_asked_for_with_no_output(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = answer_texts(
        "Hello!", usage={"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}
    )
    assert ask(caller, max_tokens=0, echo=True, logprobs=1).status_code == 200
    assert upstream.requests[0]["max_tokens"] == 0
    assert caller.balance() == (CREDIT - 3 * INPUT_PRICE, 0)


def test_what_was_not_asked_for_is_not_relayed_beyond_the_hold(
    caller: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(*[text_chunk("word ")] * 50, text_chunk("", finish="length"), DONE)
    answer = events(ask(caller, stream=True, max_tokens=10))
    assert "".join(choice["text"] for one in answer for choice in one["choices"]) == "word " * 10
    assert answer[-1]["choices"] == [{"index": 0, "text": "", "logprobs": None, "finish_reason": "length"}]


def test_a_long_answer_is_held_for_slice_by_slice(caller: Caller, upstream: FakeUpstream) -> None:
    usage = {"prompt_tokens": 2, "completion_tokens": 300, "total_tokens": 302}
    end = text_chunk("", finish="stop", usage=usage)
    upstream.script = stream_events(*[text_chunk("0123456789")] * (3 * SLICE // 10), end, DONE)
    answer = events(ask(caller, stream=True, max_tokens=900))
    assert sum(len(choice["text"]) for one in answer for choice in one["choices"]) == 3 * SLICE
    assert caller.balance() == (CREDIT - 2 * INPUT_PRICE - 300 * OUTPUT_PRICE, 0)


def test_without_usage_the_texts_are_billed_by_an_estimate(caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = answer_texts("a word or two", usage=None)
    ask(caller, prompt=[1, 2, 3])
    record = caller.usage()
    assert (record.billed_by, record.prompt_tokens, record.completion_tokens) == ("estimate", 3, 4)


def test_a_model_of_chats_is_not_found_here_nor_one_of_texts_there(
    sdk: openai.OpenAI, caller: Caller
) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        sdk.completions.create(model=MODEL, prompt="Hello!")
    assert caught.value.code == "model_not_found"
    assert f"/v1/completions. Models there: {TEXT_MODEL}" in caught.value.message
    assert (
        TEXT_MODEL not in caller.ask(model=TEXT_MODEL).json()["error"]["message"].partition("Models there")[2]
    )


@pytest.mark.parametrize("wrong", [{"prompt": None}, {"prompt": []}, {"prompt": ["a", 1]}])
def test_a_wrong_prompt_is_named(caller: Caller, wrong: dict[str, Any]) -> None:
    error = ask(caller, **wrong).json()["error"]
    assert (error["code"], error["param"]) == ("invalid_value", "prompt")


def test_a_prompt_beyond_the_context_is_refused_by_its_name(caller: Caller) -> None:
    error = ask(caller, prompt=[[1], [1] * 100_001]).json()["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "prompt")
