from collections.abc import Callable
from typing import Any

import httpx
import pytest

from proxy.api.messages.count_tokens import PER_MINUTE
from proxy.usage.models import UsageRecord
from tests.fake_upstream import FakeUpstream, respond
from tests.proxy.api.conftest import CREDIT, HELLO, MODEL
from tests.proxy.api.messages.conftest import NATIVE_MODEL, Messenger

COUNT = "/count_tokens"
TOOL = {"name": "go", "input_schema": {"type": "object"}}


def test_an_upstream_that_can_count_is_asked(messenger: Messenger, upstream: FakeUpstream) -> None:
    upstream.script = respond(200, {"input_tokens": 42})
    answer = messenger.post(
        COUNT, model=NATIVE_MODEL, max_tokens=..., tools=[TOOL], headers={"anthropic-beta": "a-1"}
    )
    assert (answer.status_code, answer.json()) == (200, {"input_tokens": 42})
    assert "x-hamiran-estimated" not in answer.headers
    assert upstream.requests[0].keys() == {"model", "messages", "tools"}
    assert upstream.requests[0]["model"] == "up-model"
    assert upstream.headers[0]["anthropic-beta"] == "a-1"


def test_where_nobody_can_count_it_is_estimated(messenger: Messenger, upstream: FakeUpstream) -> None:
    answer = messenger.post(COUNT, model=MODEL, max_tokens=...)
    assert answer.json()["input_tokens"] > 0
    assert answer.headers["x-hamiran-estimated"] == "true"
    assert upstream.requests == []


@pytest.mark.parametrize("status", [404, 429, 500])
def test_where_upstream_does_not_count_it_is_estimated(
    messenger: Messenger, upstream: FakeUpstream, status: int
) -> None:
    upstream.script = respond(status, {"error": {"message": "no"}})
    answer = messenger.post(COUNT, model=NATIVE_MODEL)
    assert (answer.status_code, answer.headers["x-hamiran-estimated"]) == (200, "true")
    for nothing in ({"tokens": 5}, {"input_tokens": -1}, {"input_tokens": 2**70}):
        upstream.script = respond(200, nothing)
        assert messenger.post(COUNT, model=NATIVE_MODEL).headers["x-hamiran-estimated"] == "true"


def test_a_request_that_upstream_refuses_is_refused(messenger: Messenger, upstream: FakeUpstream) -> None:
    upstream.script = respond(400, {"error": {"type": "invalid_request_error", "message": "No such block."}})
    answer = messenger.post(COUNT, model=NATIVE_MODEL)
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, "No such block.")


def test_it_costs_nothing_and_takes_nothing_of_the_keys_limits(
    make_messenger: Callable[..., Messenger],
) -> None:
    messenger = make_messenger(rpm=1, tpm=1_000)
    for _ in range(35):
        assert messenger.post(COUNT, max_tokens=...).status_code == 200
    assert messenger.caller.balance() == (CREDIT, 0)
    assert not UsageRecord.objects.filter(key_id=messenger.caller.key_id).exists()
    assert messenger.post(max_tokens=5).status_code == 200


def test_it_has_a_limit_of_its_own(messenger: Messenger) -> None:
    url = f"{messenger.caller.web.url}/v1/messages{COUNT}"
    with httpx.Client(headers={"x-api-key": messenger.caller.key}, timeout=30) as http:
        answers = [http.post(url, json={"model": MODEL, "messages": HELLO}) for _ in range(PER_MINUTE + 1)]
    assert {answer.status_code for answer in answers[:-1]} == {200}
    refused = answers[-1]
    assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert messenger.post().status_code == 200


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model": "unheard-of"}, "model_not_found"),
        ({"messages": []}, "messages_required"),
        ({"messages": [{"role": "user"}]}, "invalid_messages"),
    ],
)
def test_what_cannot_be_asked_cannot_be_counted(
    messenger: Messenger, fields: dict[str, Any], code: str
) -> None:
    assert messenger.post(COUNT, **fields).json()["error"]["code"] == code
