"""A key may come in Authorization or in x-api-key, on every path."""

from collections.abc import Callable

import httpx
import pytest

from keys import lifecycle
from keys.secret import generate
from tests.proxy.api.conftest import HELLO, MODEL, Caller

Headers = list[tuple[str, str]]


def get(caller: Caller, headers: Headers) -> httpx.Response:
    return httpx.get(f"{caller.web.url}/v1/models", headers=headers)


@pytest.mark.parametrize(
    "headers",
    [
        lambda key: [("x-api-key", key)],
        lambda key: [("X-API-Key", key)],
        lambda key: [("authorization", f"Bearer {key}"), ("x-api-key", key)],
        lambda key: [("authorization", "Bearer sk-ant-something-else"), ("x-api-key", key)],
        lambda key: [("authorization", f"Bearer {key}"), ("x-api-key", "sk-ant-something-else")],
        lambda key: [("authorization", "Basic aGFtOmlyYW4="), ("x-api-key", key)],
        lambda key: [("authorization", f"Bearer {key}"), ("x-api-key", "")],
    ],
)
def test_of_what_is_sent_the_key_counts(caller: Caller, headers: Callable[[str], Headers]) -> None:
    assert get(caller, headers(caller.key)).status_code == 200


def test_two_keys_or_a_header_twice_are_refused(caller: Caller) -> None:
    other = lifecycle.create(user_id=caller.wallet.pk, name="other").secret
    for headers in (
        [("authorization", f"Bearer {caller.key}"), ("x-api-key", other)],
        [("authorization", f"Bearer {caller.key}"), ("authorization", f"Bearer {caller.key}")],
        [("x-api-key", caller.key), ("x-api-key", caller.key)],
    ):
        answer = get(caller, headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert "more than one API key" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([], "missing_api_key"),
        ([("x-api-key", "")], "missing_api_key"),
        ([("authorization", "Basic aGFtOmlyYW4=")], "missing_api_key"),
        ([("x-api-key", "sk-ant-something")], "invalid_api_key"),
        ([("x-api-key", generate())], "invalid_api_key"),
        ([("authorization", "Bearer sk-one"), ("x-api-key", "sk-two")], "invalid_api_key"),
    ],
)
def test_without_a_key_that_works_nobody_tries_again(caller: Caller, headers: Headers, code: str) -> None:
    answer = get(caller, headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, code)
    assert answer.headers["x-should-retry"] == "false"


def test_a_key_in_x_api_key_pays_for_a_chat(caller: Caller) -> None:
    body = {"model": MODEL, "messages": HELLO}
    answer = httpx.post(f"{caller.web.url}/v1/chat/completions", json=body, headers={"x-api-key": caller.key})
    assert answer.status_code == 200
    assert caller.usage().cost_micro > 0
