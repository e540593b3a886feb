"""A response that is held for as it grows (how it breaks off: tests/proxy/api/test_every_endpoint.py)."""

import json
from typing import Any

import httpx
import pytest

from tests.fake_upstream import FakeUpstream, chunk, stream_events
from tests.proxy.api.conftest import (
    INPUT_PRICE,
    OUTPUT_PRICE,
    SLICED_MODEL,
    Caller,
)
from tests.proxy.api.responses.conftest import NATIVE_SLICED_MODEL, ask
from tests.proxy.api.responses.upstream import BODY, END, HEAD, chat_stream, delta

WAYS = pytest.mark.parametrize("native", [False, True], ids=["chat", "responses"])


def last(answer: httpx.Response) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(answer.content.rstrip().split(b"data: ")[-1])
    return event


@WAYS
def test_an_answer_in_slices_goes_on_as_more_is_held(
    caller: Caller, native_model: str, upstream: FakeUpstream, native: bool
) -> None:
    words = "0123456789" * 3
    if native:
        parts = [*HEAD, *BODY[:2], *(delta(words, number) for number in range(4, 40)), END]
    else:
        parts = chat_stream(*(chunk({"content": words}) for _ in range(36)))
    upstream.script = stream_events(*parts)
    answer = ask(caller, NATIVE_SLICED_MODEL if native else SLICED_MODEL, stream=True)
    assert answer.content.count(b'"delta":"0123') + answer.content.count(b'"delta": "0123') == 36
    assert last(answer)["type"] == "response.completed"


@WAYS
def test_a_wallet_that_runs_dry_ends_a_stream_with_what_it_paid_for(
    make_caller: Any, native_model: str, upstream: FakeUpstream, native: bool
) -> None:
    poor = make_caller(credit_micro=400 * OUTPUT_PRICE + 1_000 * INPUT_PRICE)
    words = "word after word, "
    if native:
        parts = [*HEAD, *BODY[:2], *(delta(words, number) for number in range(4, 900)), END]
    else:
        parts = chat_stream(*(chunk({"content": words}) for _ in range(900)))
    upstream.script = stream_events(*parts)
    said = last(ask(poor, NATIVE_SLICED_MODEL if native else SLICED_MODEL, stream=True))
    assert said["type"] in {"response.incomplete", "response.failed"}
    response = said["response"]
    if said["type"] == "response.failed":
        assert response["error"]["code"] == "insufficient_quota"
    assert response["usage"]["cost_toman"] > 0
    assert poor.balance()[0] >= 0
