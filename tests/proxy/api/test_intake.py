"""A key's large bodies, refused requests and absurd structures do not cost the others anything."""

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fake_upstream import FakeUpstream
from tests.live import eventually
from tests.proxy.api.conftest import HELLO, MODEL, Caller

LARGE = 100_000  # bytes: more than a small body has, less than a token limit would mind as base64


def body(padding: int, **fields: Any) -> bytes:
    return json.dumps({"model": MODEL, "messages": HELLO, "user": "x" * padding, **fields}).encode()


def picture(length: int) -> bytes:
    """A body whose length is no text's: it makes few tokens."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * length}}
    return body(0, messages=[{"role": "user", "content": [image]}])


def post(caller: Caller, content: Any) -> httpx.Response:
    with caller.http as http:
        return http.post("/chat/completions", content=content)


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


@contextlib.contextmanager
def uploading(caller: Caller, length: int = LARGE) -> Iterator[socket.socket]:
    """A client that has announced a body and sent one byte of it."""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {caller.key}\r\n"
        f"Content-Length: {length}\r\n\r\n{{"
    )
    with socket.create_connection(("127.0.0.1", caller.web.port), timeout=10) as raw:
        raw.sendall(head.encode())
        yield raw


def test_a_large_body_takes_its_place_before_it_is_read(make_caller: Any) -> None:
    caller = make_caller(concurrency=1)

    def is_in_the_way() -> bool:
        with uploading(caller):
            # Else this call was there first, and the body was refused.
            return bool(caller.ask().status_code == 429)

    eventually(is_in_the_way)
    eventually(lambda: caller.ask().status_code == 200)  # it has left, and its place is free


def test_a_large_body_beyond_the_limit_is_refused_unread(make_caller: Any) -> None:
    caller = make_caller(rpm=1)
    assert caller.ask().status_code == 200
    for _ in range(5):
        with uploading(caller, 1_900_000) as raw:
            answer = raw.recv(10_000)
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert b"x-ratelimit-remaining-requests: 0" in answer  # by RPM: what was not read takes no bytes


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_large_request_counts_once_with_its_tokens(
    make_caller: Any, upstream: FakeUpstream, is_chunked: bool
) -> None:
    caller = make_caller(rpm=10, tpm=1_000_000)
    content = body(0, messages=[{"role": "user", "content": "x" * 200_000}])
    first = post(caller, iter([content[:70_000], content[70_000:]]) if is_chunked else content)
    assert first.status_code == 200
    assert first.headers["x-ratelimit-remaining-requests"] == "9"
    assert int(first.headers["x-ratelimit-remaining-tokens"]) < 1_000_000 - 40_000
    assert len(upstream.requests) == 1
    second = caller.ask()
    assert second.headers["x-ratelimit-remaining-requests"] == "8"
    # Corrected to the true ones.
    assert int(second.headers["x-ratelimit-remaining-tokens"]) > 1_000_000 - 1_000


def test_a_large_request_whose_tokens_are_refused_is_not_counted(make_caller: Any) -> None:
    caller = make_caller(rpm=3, tpm=1_000, concurrency=1)
    for _ in range(5):
        refused = post(caller, body(0, messages=[{"role": "user", "content": "x" * 200_000}]))
        assert code(refused) == (413, "request_exceeds_limit")
    assert caller.ask().headers["x-ratelimit-remaining-requests"] == "2"


def test_a_large_request_that_makes_no_sense_keeps_its_place_and_frees_it_for_others(
    make_caller: Any,
) -> None:
    caller = make_caller(rpm=3, concurrency=1)
    assert code(post(caller, b"[" * LARGE)) == (400, "invalid_json")
    assert code(post(caller, body(LARGE, model="nothing"))) == (404, "model_not_found")
    assert caller.ask().headers["x-ratelimit-remaining-requests"] == "0"


def test_the_bytes_of_large_bodies_are_limited(make_caller: Any) -> None:
    caller, other = make_caller(rpm=1, tpm=100_000), make_caller()  # at least one of the largest a minute
    assert post(caller, picture(1_200_000)).status_code == 200
    refused = post(caller, picture(1_200_000))
    assert code(refused) == (429, "rate_limit_exceeded")
    assert refused.json()["error"]["message"] == "Rate limit exceeded. Please retry after a minute."
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert "x-ratelimit-limit-requests" not in refused.headers  # it was refused by its bytes
    assert post(other, picture(1_200_000)).status_code == 200


def test_bytes_of_a_body_without_a_length_are_limited_as_they_come(make_caller: Any) -> None:
    caller = make_caller(rpm=1, tpm=100_000)
    assert post(caller, iter([picture(1_200_000)])).status_code == 200
    refused = post(caller, iter([picture(1_200_000)]))
    assert refused.status_code == 429


def test_refused_requests_have_a_budget_of_their_own(make_caller: Any, upstream: FakeUpstream) -> None:
    caller, other = make_caller(rpm=7), make_caller(rpm=7)
    with caller.http as http:
        for _ in range(50):
            assert http.post("/chat/completions", content=b"{").status_code == 400
            assert http.get("/models/nothing").status_code == 404
        for _ in range(3):  # and these are not counted, or whoever polls would stay out for ever
            refused = http.post("/chat/completions", json={"model": MODEL, "messages": HELLO})
            assert code(refused) == (429, "rate_limit_exceeded")
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            assert http.get("/models").status_code == 429
    assert upstream.requests == []
    assert other.ask().status_code == 200


def test_who_is_answered_or_was_counted_uses_nothing_of_that_budget(make_caller: Any) -> None:
    caller = make_caller(rpm=400, credit_micro=0)
    with caller.http as http:
        for _ in range(110):
            assert http.post("/chat/completions", json={"model": MODEL, "messages": HELLO}).status_code == 402
            assert http.get("/models").status_code == 200
    assert caller.ask().status_code == 402


@pytest.mark.parametrize(
    ("extra", "refused"),
    [
        (b"[]," * 600_000 + b"1", (413, "request_too_large")),
        (b'"",' * 630_000 + b"1", (200, "")),
        (b"[" * 200 + b"]" * 200, (400, "invalid_json")),
    ],
    ids=["containers", "strings", "depth"],
)
def test_structures_are_bounded(caller: Caller, extra: bytes, refused: tuple[int, str]) -> None:
    answer = post(caller, body(0)[:-1] + b',"x":[' + extra + b"]}")
    assert answer.status_code == refused[0]
    if refused[1]:
        assert code(answer) == refused


def test_code_in_a_prompt_is_not_taken_for_structure(caller: Caller) -> None:
    content = 'f({"a": [{"b": "\\\\"}]})' * 30_000
    assert caller.ask(messages=[{"role": "user", "content": content}]).status_code == 200
