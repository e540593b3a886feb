"""Streams that last: readers who do not read, upstreams that trickle, answers larger than memory should be."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psutil
import pytest
from pytest_django import DjangoDbBlocker

from proxy.usage.models import UsageRecord
from tests.fake_upstream import STREAM, FakeUpstream, as_asked, chunk, stream_events
from tests.live import WebProcess, eventually, web_process
from tests.proxy.api.conftest import CREDIT, HELLO, LONG_MODEL, MODEL, Caller

TRICKLE: list[bytes | float] = [0.2, b": still thinking\n\n"] * 100
BIG = chunk({"content": "x" * 60_000})


@pytest.fixture(scope="module")
def hasty(web: WebProcess, django_db_blocker: DjangoDbBlocker) -> Iterator[WebProcess]:
    """A web process with little patience."""
    env = {
        "CLIENT_WRITE_TIMEOUT_SECONDS": "1",
        "UPSTREAM_IDLE_TIMEOUT_SECONDS": "1",
        "UPSTREAM_STREAM_TIMEOUT_SECONDS": "3",
    }
    with django_db_blocker.unblock(), web_process(env=env) as process:
        yield process


@pytest.fixture
def there(make_caller: Callable[..., Caller], hasty: WebProcess) -> Caller:
    caller = make_caller()
    return replace(caller, web=hasty)


def slow_reader(caller: Caller, model: str = LONG_MODEL) -> socket.socket:
    """A client that has asked for a stream and takes little of it at a time."""
    body = json.dumps({"model": model, "messages": HELLO, "stream": True}).encode()
    lines = ["POST /v1/chat/completions HTTP/1.1", "Host: x", f"Authorization: Bearer {caller.key}"]
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(20)
    raw.connect(("127.0.0.1", caller.web.port))
    raw.sendall("\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body)
    return raw


def read_to_the_end(raw: socket.socket) -> bytes:
    received = b""
    try:
        while part := raw.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received


def test_a_reader_who_stops_is_cut_off_with_what_it_has_not_read(
    there: Caller, upstream: FakeUpstream
) -> None:
    upstream.script = stream_events(*[BIG] * 2000)
    with slow_reader(there) as raw:
        eventually(UsageRecord.objects.filter(key_id=there.key_id).exists)
        assert upstream.hung_up.wait(5)
        eventually(lambda: port_is_let_go(there.web, raw.getsockname()[1]))
        received = read_to_the_end(raw)  # ends: nobody waits for this reader any more
    assert not received.endswith(b"0\r\n\r\n")
    usage = there.usage()
    assert (usage.outcome, usage.billed_by) == ("client_left", "estimate")
    assert usage.cost_micro > 0
    assert there.balance() == (CREDIT - usage.cost_micro, 0)


def port_is_let_go(web: WebProcess, port: int) -> bool:
    connections = psutil.Process(web.process.pid).net_connections("tcp")
    return all(one.raddr.port != port for one in connections if one.raddr)


def test_a_reader_too_slow_for_the_whole_call_has_left_and_pays(
    there: Caller, upstream: FakeUpstream
) -> None:
    """It takes each write in time, and yet would be reading for ever."""
    upstream.script = stream_events(*[chunk({"content": "x" * 60_000})] * 400)
    with slow_reader(there) as raw:
        records = UsageRecord.objects.filter(key_id=there.key_id)
        deadline = time.monotonic() + 10
        while not records.exists() and time.monotonic() < deadline:
            raw.recv(2048)
            time.sleep(0.01)  # the slowness itself
    usage = there.usage()
    assert (usage.outcome, usage.billed_by) == ("client_left", "estimate")
    assert usage.cost_micro > 0


def test_a_trickle_is_no_silence(there: Caller, upstream: FakeUpstream) -> None:
    """Each byte of an event comes in time, the whole event takes longer than the patience between two pieces."""
    slow = STREAM[1]
    pieces = [slow[start : start + len(slow) // 6 + 1] for start in range(0, len(slow), len(slow) // 6 + 1)]
    upstream.script = stream_events(
        STREAM[0], *[part for piece in pieces for part in (0.25, piece)], *STREAM[2:]
    )
    assert there.ask(stream=True).content == as_asked(*STREAM[:4], STREAM[5], model=MODEL)
    assert there.usage().outcome == "completed"


def test_a_trickle_without_end_is_ended(there: Caller, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(STREAM[0], *TRICKLE)
    answer = there.ask(stream=True)
    *_comments, error, done, rest = answer.content.split(b"\n\n")
    assert json.loads(error.removeprefix(b"data: "))["error"]["code"] == "upstream_error"
    assert (done, rest) == (b"data: [DONE]", b"")
    assert there.balance() == (CREDIT, 0)


def test_a_long_stream_does_not_pile_up(make_caller: Any, upstream: FakeUpstream) -> None:
    """100 MB pass through; the process never holds more than a little of them."""
    caller = make_caller()
    process = psutil.Process(caller.web.process.pid)
    upstream.script = stream_events(*[BIG] * 1_700, *STREAM[3:])
    before = peak = process.memory_info().rss
    passed = 0
    body = {"model": LONG_MODEL, "messages": HELLO, "stream": True}
    with caller.http as http, http.stream("POST", "/chat/completions", json=body) as response:
        for number, part in enumerate(response.iter_raw()):
            passed += len(part)
            if number % 100 == 0:
                peak = max(peak, process.memory_info().rss)
    assert passed > 100_000_000
    assert peak - before < 30_000_000
    assert caller.usage().outcome == "completed"
