"""A request leaves nothing to the garbage collector: what it used is free once it has ended, not minutes later."""

import json
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import httpx
import pytest
from pytest_django import DjangoDbBlocker

from proxy.idempotency import keeping
from tests.fake_upstream import (
    STREAM,
    TEXT_STREAM,
    FakeUpstream,
    answer_texts,
    respond,
    stream_events,
)
from tests.live import WebProcess, at_once, eventually, web_process
from tests.proxy.api.conftest import (
    DEAD_MODEL,
    DRAINED_MODEL,
    EMBEDDING_MODEL,
    HELLO,
    MODEL,
    MODERATION_MODEL,
    TEXT_MODEL,
    Caller,
)
from wallet.ledger.models import Hold

REQUESTS = 100
SILENT_SECONDS = 1


@pytest.fixture(scope="module")
def collected(web: WebProcess, django_db_blocker: DjangoDbBlocker) -> Iterator[WebProcess]:
    """A web process that collects only when it is told to; beside the run's own, which made what is on sale."""
    with django_db_blocker.unblock(), web_process(module="tests.collected_web") as process:
        yield process


@pytest.fixture(scope="module")
def impatient(web: WebProcess, django_db_blocker: DjangoDbBlocker) -> Iterator[WebProcess]:
    """Gives up an upstream after a second, which on a busy machine is soon for one that only is slow."""
    patience = {
        "UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS": str(SILENT_SECONDS),
        "UPSTREAM_IDLE_TIMEOUT_SECONDS": str(SILENT_SECONDS),
    }
    with django_db_blocker.unblock(), web_process(env=patience, module="tests.collected_web") as process:
        yield process


def collect(web: WebProcess) -> dict[str, Any]:
    before = web.log.count('"logger":"collected"')
    web.process.send_signal(signal.SIGUSR2)
    eventually(lambda: web.log.count('"logger":"collected"') > before)
    last = [line for line in web.log.splitlines() if '"logger":"collected"' in line][-1]
    found: dict[str, Any] = json.loads(json.loads(last)["message"])
    return found


def asking(caller: Caller, **fields: Any) -> Callable[[httpx.Client], int]:
    return posting(caller, "chat/completions", {"model": MODEL, "messages": HELLO, **fields})


def posting(caller: Caller, path: str, body: dict[str, Any]) -> Callable[[httpx.Client], int]:
    headers = {"Authorization": f"Bearer {caller.key}"}
    return lambda http: http.post(f"/v1/{path}", json=body, headers=headers).status_code


def leaving(
    web: WebProcess, caller: Caller, *, begun: bool = True, **fields: Any
) -> Callable[[httpx.Client], None]:
    """Asks, and resets the connection once the answer has begun, or (not `begun`) before."""
    body = json.dumps({"model": MODEL, "messages": HELLO, **fields}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {caller.key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )

    def leave(_http: httpx.Client) -> None:
        with socket.create_connection(("127.0.0.1", web.port), timeout=10) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(head.encode() + body)
            if begun:
                client.recv(64)

    return leave


ANSWERED: dict[str, tuple[int, Any, dict[str, Any]]] = {
    "whole": (200, None, {}),
    "long": (200, None, {"messages": [{"role": "user", "content": "long " * 4_000}]}),
    "streamed": (200, stream_events(*STREAM), {"stream": True}),
    "refused by upstream": (400, respond(400, {"error": {"message": "no"}}), {}),
    "a stream refused by upstream": (400, respond(400, {"error": {"message": "no"}}), {"stream": True}),
    "failed upstream": (502, respond(500, {"error": {"message": "no"}}), {}),
    "failed upstream, streamed": (502, respond(500, {"error": {"message": "no"}}), {"stream": True}),
    "nobody at upstream": (502, None, {"model": DEAD_MODEL}),
    "broken stream": (200, stream_events(*STREAM[:2], cut=True), {"stream": True}),
    "error in a stream": (
        200,
        stream_events(*STREAM[:2], b'data: {"error":{"message":"no"}}\n\n'),
        {"stream": True},
    ),
    "no usable answer": (502, respond(200, b"<html>"), {}),
    "malformed": (400, None, {"messages": 3}),
    "unknown model": (404, None, {"model": "nothing"}),
}


@pytest.mark.parametrize("kind", ANSWERED)
def test_an_answer_leaves_no_garbage(
    kind: str, collected: WebProcess, make_caller: Any, upstream: FakeUpstream
) -> None:
    status, script, fields = ANSWERED[kind]
    caller = make_caller(rpm=100_000, tpm=100_000_000)
    upstream.script = script or upstream.script
    assert_free(collected, asking(caller, **fields), status)


@pytest.mark.proof
@pytest.mark.parametrize(("sent", "status"), [(0, 502), (2, 200)])
def test_a_silent_upstream_leaves_no_garbage(
    sent: int, status: int, impatient: WebProcess, make_caller: Any, upstream: FakeUpstream
) -> None:
    caller = make_caller(rpm=100_000, tpm=100_000_000)
    upstream.script = stream_events(*STREAM[:sent], SILENT_SECONDS + 0.5)
    assert_free(impatient, asking(caller, stream=True), status)


ECHOED = {"model": TEXT_MODEL, "prompt": "Hel", "echo": True}
EMBEDDED = {"model": EMBEDDING_MODEL, "input": "Hello!"}
MODERATED = {"model": MODERATION_MODEL, "input": "Hello!"}


@pytest.mark.parametrize(
    ("path", "body", "script", "status"),
    [
        ("completions", ECHOED, answer_texts("Hello!"), 200),
        ("completions", {**ECHOED, "stream": True}, stream_events(*TEXT_STREAM), 200),
        ("completions", {**ECHOED, "stream": True}, stream_events(*TEXT_STREAM[:2], cut=True), 200),
        ("completions", {**ECHOED, "prompt": []}, None, 400),
        ("embeddings", EMBEDDED, respond(200, {"data": [{"embedding": [1.5]}]}), 200),
        ("embeddings", EMBEDDED, respond(200, {"data": []}), 502),
        ("moderations", MODERATED, respond(200, {"results": [{"flagged": False}]}), 200),
        ("moderations", {"input": "Hello!"}, None, 400),
    ],
)
def test_other_endpoints_leave_no_garbage(
    path: str,
    body: dict[str, Any],
    script: Any,
    status: int,
    collected: WebProcess,
    make_caller: Any,
    upstream: FakeUpstream,
) -> None:
    caller = make_caller(rpm=100_000, tpm=100_000_000)
    upstream.script = script or upstream.script
    assert_free(collected, posting(caller, path, body), status)


@pytest.mark.parametrize("keeps", [False, True], ids=["not kept", "kept"])
@pytest.mark.parametrize(
    "kind",
    [
        "whole",
        "streamed",
        *(
            pytest.param(kind, marks=pytest.mark.proof)
            for kind in ("broken stream", "failed upstream", "poor", "repeat")
        ),
    ],
)
def test_a_request_with_an_idempotency_key_leaves_no_garbage(
    kind: str, keeps: bool, collected: WebProcess, make_caller: Any, upstream: FakeUpstream
) -> None:
    poor = {"credit_micro": 1} if kind == "poor" else {}
    caller = make_caller(rpm=100_000, tpm=100_000_000, **poor)
    if keeps:
        keeping.keep(user_id=caller.wallet.pk, hours=1)
    status, script, fields = ANSWERED.get(kind, (402 if poor else 200 if keeps else 409, None, {}))
    upstream.script = script or upstream.script
    numbers = count()

    def ask(http: httpx.Client) -> int:
        key = "the same" if kind == "repeat" else str(next(numbers))
        headers = {"Authorization": f"Bearer {caller.key}", "Idempotency-Key": key}
        body = {"model": MODEL, "messages": HELLO, **fields}
        return http.post("/v1/chat/completions", json=body, headers=headers).status_code

    if kind == "repeat":
        with httpx.Client(base_url=collected.url) as http:
            assert ask(http) == 200
    assert_free(collected, ask, status)


def test_a_refusal_of_a_key_leaves_no_garbage(collected: WebProcess, make_caller: Any) -> None:
    caller = make_caller()
    caller.key = "hm-nonsense"
    assert_free(collected, asking(caller), 401)


def test_a_refusal_for_want_of_money_leaves_no_garbage(collected: WebProcess, make_caller: Any) -> None:
    caller = make_caller(credit_micro=1, rpm=100_000, tpm=100_000_000)
    assert_free(collected, asking(caller), 402)


def test_a_refusal_of_too_many_leaves_no_garbage(collected: WebProcess, make_caller: Any) -> None:
    caller = make_caller(rpm=1)
    with httpx.Client(base_url=collected.url) as http:
        asking(caller)(http)
    assert_free(collected, asking(caller), 429)


@pytest.mark.parametrize("model", [MODEL, DRAINED_MODEL])
@pytest.mark.parametrize("begun", [True, False])
def test_a_client_that_leaves_a_stream_leaves_no_garbage(
    model: str, begun: bool, collected: WebProcess, make_caller: Any, upstream: FakeUpstream
) -> None:
    caller = make_caller(rpm=100_000, tpm=100_000_000)
    upstream.script = stream_events(*STREAM[: 2 * begun], 0.1, *STREAM[2 * begun :])
    assert_free(collected, leaving(collected, caller, begun=begun, model=model, stream=True), None)


def test_a_client_that_leaves_a_whole_answer_leaves_no_garbage(
    collected: WebProcess, make_caller: Any, upstream: FakeUpstream
) -> None:
    caller = make_caller(rpm=100_000, tpm=100_000_000)
    assert_free(collected, leaving(collected, caller, begun=False), None)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/nothing", "/healthz"])
def test_other_paths_leave_no_garbage(path: str, collected: WebProcess, caller: Caller) -> None:
    headers = {"Authorization": f"Bearer {caller.key}"}
    with httpx.Client(base_url=collected.url, headers=headers) as http:
        status = http.get(path).status_code
    assert_free(collected, lambda http: http.get(path, headers=headers).status_code, status)


def assert_free(web: WebProcess, request: Callable[[httpx.Client], int | None], status: int | None) -> None:
    """A full collection after many requests of a kind finds less than one object for each."""
    others = set(Hold.objects.values_list("pk", flat=True))

    def client() -> httpx.Client:
        return httpx.Client(base_url=web.url, timeout=30)

    with client() as http:
        request(http)  # what is made once
    collect(web)
    statuses = at_once(lambda http, _: request(http), range(REQUESTS), threads=20, http=client)
    assert set(statuses) == {status}
    # Also of those whose clients did not wait for the end.
    eventually(lambda: not Hold.objects.exclude(pk__in=others).exists())
    found = collect(web)
    assert found["found"] <= REQUESTS, found
