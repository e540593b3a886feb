"""The limits as clients meet them, and without Valkey."""

import os
import signal
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import redis

from config import embedded
from tests.fake_upstream import STREAM, FakeUpstream, answer_whole, chunk, stream_events
from tests.live import eventually, web_process
from tests.proxy.api.conftest import HELLO, MODEL

RATE_HEADERS = {
    f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")
}


def test_every_answer_says_where_the_key_stands(make_caller: Any, upstream: FakeUpstream) -> None:
    caller = make_caller(rpm=10, tpm=20_000)
    first = caller.ask()
    assert set(first.headers) >= RATE_HEADERS
    assert first.headers["x-ratelimit-limit-requests"] == "10"
    assert first.headers["x-ratelimit-remaining-requests"] == "9"
    assert first.headers["x-ratelimit-limit-tokens"] == "20000"
    assert first.headers["x-ratelimit-reset-requests"].endswith("s")
    upstream.script = stream_events(*STREAM)
    second = caller.ask(stream=True)
    assert second.headers["x-ratelimit-remaining-requests"] == "8"
    # The first one's true 21 tokens count, and an estimate of the second's prompt.
    assert 19_900 < int(second.headers["x-ratelimit-remaining-tokens"]) < 20_000 - 21


def test_tokens_are_corrected_to_what_was_used(make_caller: Any, upstream: FakeUpstream) -> None:
    caller = make_caller(tpm=2_000)
    upstream.script = answer_whole(
        usage={"prompt_tokens": 100, "completion_tokens": 1_899, "total_tokens": 1_999}
    )
    assert caller.ask(max_tokens=1_899).status_code == 200
    refused = caller.ask()
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert int(refused.headers["x-ratelimit-remaining-tokens"]) <= 10


def test_a_failed_request_uses_no_tokens(make_caller: Any, upstream: FakeUpstream) -> None:
    caller = make_caller(tpm=1_000)
    upstream.script = stream_events(b"garbage")
    for _ in range(3):
        failed = caller.ask(stream=True)
        assert failed.status_code == 502
    assert int(failed.headers["x-ratelimit-remaining-tokens"]) > 900


def test_a_request_larger_than_the_limit_is_refused_in_a_way_that_no_sdk_tries_again(
    make_caller: Any,
) -> None:
    caller = make_caller(tpm=100)
    response = caller.ask(messages=[{"role": "user", "content": "x" * 1000}])
    assert (response.status_code, response.json()["error"]["code"]) == (413, "request_exceeds_limit")
    assert "retry-after" not in response.headers
    assert response.headers["x-ratelimit-remaining-requests"] != "0"


def test_the_limit_of_requests_at_once_frees_its_places(make_caller: Any, upstream: FakeUpstream) -> None:
    caller = make_caller(concurrency=1)
    asked = threading.Event()
    upstream.script = stream_events(chunk({"content": "a"}), asked, chunk({}, finish="stop"))
    body = {"model": MODEL, "messages": HELLO, "stream": True}
    with caller.http as http, http.stream("POST", "/chat/completions", json=body) as running:
        parts = running.iter_raw()
        next(parts)
        assert caller.ask().status_code == 429
        asked.set()
        b"".join(parts)
    upstream.script = answer_whole()
    assert [caller.ask().status_code for _ in range(5)] == [200] * 5  # one after the other is no concurrency


def test_a_place_whose_end_valkey_missed_is_freed_when_it_is_back(
    make_caller: Any, upstream: FakeUpstream
) -> None:
    """Valkey stands still for a while, as on a machine that swaps; the request that ended meanwhile ends after it."""
    caller = make_caller(concurrency=1)
    socket_path = embedded.socket_dir(Path(os.environ["HAMIRAN_VAR"])) / "valkey.sock"
    with redis.Redis.from_url(f"unix://{socket_path}") as client:
        info: Any = client.info("server")
    upstream.script = stream_events(chunk({"content": "a"}), 0.3, chunk({}, finish="stop"))
    body = {"model": MODEL, "messages": HELLO, "stream": True}
    with caller.http as http, http.stream("POST", "/chat/completions", json=body) as running:
        parts = running.iter_raw()
        next(parts)
        os.kill(info["process_id"], signal.SIGSTOP)
        try:
            b"".join(parts)
        finally:
            os.kill(info["process_id"], signal.SIGCONT)
    upstream.script = answer_whole()
    eventually(lambda: [caller.ask().status_code for _ in range(2)] == [200, 200])


def test_without_valkey_requests_are_served_under_limits_of_the_process(
    make_caller: Any, tmp_path: Path
) -> None:
    """A Valkey of its own is started, killed and started again under one web process."""
    caller = make_caller(rpm=3)
    sockets = embedded.socket_dir(tmp_path)

    def start() -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(embedded.prepare_valkey(tmp_path), stdout=subprocess.DEVNULL)
        embedded.wait_for_redis(embedded.redis_url(tmp_path))
        return process

    valkey = start()
    try:
        with web_process(env={"REDIS_URL": f"unix://{sockets}/valkey.sock"}) as web:
            here = replace(caller, web=web)
            assert here.ask().status_code == 200
            valkey.send_signal(signal.SIGKILL)
            valkey.wait()
            os.unlink(sockets / "valkey.sock")
            assert [here.ask().status_code for _ in range(4)] == [200, 200, 200, 429]
            ready = httpx.get(f"{web.url}/readyz")
            assert ready.json()["checks"]["valkey"] == "unreachable"
            assert ready.status_code == 200  # a process that serves stays in the load balancer
            assert "valkey away: limits are kept per process" in web.log
            valkey = start()
            eventually(lambda: here.ask().status_code == 200)  # its new window is empty
            assert "valkey back: limits are shared again" in web.log
    finally:
        valkey.kill()
        valkey.wait()
