"""How a web process ends, as its clients see it."""

import http.client
import json
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

from tests.fake_upstream import FakeUpstream, chunk, stream_events
from tests.live import WebProcess, eventually, web_process
from tests.proxy.api.conftest import CREDIT, HELLO, LONG_MODEL, MODEL, Caller

LONG = "60"


@contextmanager
def connected(web: WebProcess) -> Iterator[http.client.HTTPConnection]:
    """One connection, kept as long as the server wants. It is never opened anew behind a test's back."""
    with closing(http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)) as connection:
        connection.connect()
        connection.auto_open = 0
        yield connection


def get(connection: http.client.HTTPConnection, path: str) -> tuple[int, str | None, Any]:
    """Status, the Connection header, and the body."""
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.getheader("connection"), json.loads(answer.read())


def start_stream(connection: http.client.HTTPConnection, key: str) -> http.client.HTTPResponse:
    """A streamed completion of which the headers have come."""
    body = json.dumps({"model": MODEL, "messages": HELLO, "stream": True})
    connection.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {key}"})
    return connection.getresponse()


def refuses(web: WebProcess) -> bool:
    try:
        socket.create_connection(("127.0.0.1", web.port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_told_to_stop_it_is_not_ready_and_asks_its_clients_to_leave_but_serves_them(
    django_db_setup: None,
) -> None:
    with (
        web_process(env={"SHUTDOWN_DELAY_SECONDS": LONG}) as web,
        connected(web) as kept,
        connected(web) as other,
    ):
        assert get(kept, "/readyz")[:2] == (200, None)
        assert get(other, "/readyz")[:2] == (200, None)
        web.process.send_signal(signal.SIGTERM)

        def leaving() -> bool:
            with connected(web) as new:
                return get(new, "/healthz") == (200, "close", {"status": "ok"})

        eventually(leaving)
        stopping = {"ready": False, "checks": {"process": "stopping"}}
        assert get(kept, "/readyz") == (503, "close", stopping)
        assert get(other, "/v1/models")[:2] == (401, "close")
        with connected(web) as new:
            assert get(new, "/readyz") == (503, "close", stopping)
        web.process.send_signal(signal.SIGTERM)  # once more: the delay is over
        assert web.process.wait(20) == 0
        assert refuses(web)


def test_kept_connections_may_bring_one_more_request_and_idle_ones_do_not_hold_up_the_end(
    django_db_setup: None,
) -> None:
    with (
        web_process(env={"SHUTDOWN_GRACE_SECONDS": LONG}) as web,
        connected(web) as busy,
        connected(web) as idle,
        connected(web) as halfway,
    ):
        for connection in (busy, idle, halfway):
            assert get(connection, "/healthz") == (200, None, {"status": "ok"})
        halfway.sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        web.process.send_signal(signal.SIGTERM)
        eventually(lambda: refuses(web))
        assert get(busy, "/healthz") == (200, "close", {"status": "ok"})
        assert idle.sock.recv(1) == b""
        halfway.sock.sendall(b"\r\n")
        answer = halfway.sock.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"connection: close\r\n" in answer
        assert web.process.wait(20) == 0


def test_a_stream_that_ran_at_the_stop_ends_whole_and_its_connection_serves_once_more(
    make_caller: Any, upstream: FakeUpstream
) -> None:
    caller: Caller = make_caller()
    upstream.script = stream_events(chunk({"content": "a"}), 1.0, chunk({}, finish="stop"))
    with web_process(env={"SHUTDOWN_GRACE_SECONDS": LONG}) as web, connected(web) as connection:
        answer = start_stream(connection, caller.key)
        web.process.send_signal(signal.SIGTERM)
        eventually(lambda: refuses(web))
        assert answer.getheader("connection") is None
        assert answer.read().endswith(b"data: [DONE]\n\n")
        assert caller.usage().outcome == "completed"
        assert get(connection, "/healthz") == (200, "close", {"status": "ok"})
        assert web.process.wait(20) == 0


def test_a_second_signal_ends_the_waiting_but_settles_and_tells_everybody(
    make_caller: Any, upstream: FakeUpstream
) -> None:
    streaming, asking = make_caller(), make_caller()
    upstream.script = stream_events(chunk({"content": "a"}), 30.0)
    with (
        web_process(env={"SHUTDOWN_GRACE_SECONDS": LONG}) as web,
        connected(web) as connection,
        connected(web) as second,
        ThreadPoolExecutor(1) as pool,
    ):
        stream = start_stream(connection, streaming.key)
        body = json.dumps({"model": MODEL, "messages": HELLO})
        second.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {asking.key}"})
        whole = pool.submit(second.getresponse)
        eventually(lambda: len(upstream.requests) == 2)
        web.process.send_signal(signal.SIGTERM)
        eventually(lambda: refuses(web))
        assert streaming.balance()[1] > 0
        web.process.send_signal(signal.SIGINT)
        assert b'"code":"service_unavailable"' in stream.read()
        assert whole.result().status == 503
        assert web.process.wait(20) == 0
    for someone in (streaming, asking):
        assert someone.balance() == (CREDIT, 0)


def test_a_stop_settles_the_stream_of_a_client_that_has_stopped_reading(
    make_caller: Any, upstream: FakeUpstream
) -> None:
    caller = make_caller()
    upstream.script = stream_events(*[chunk({"content": "x" * 60_000})] * 400)
    body = json.dumps({"model": LONG_MODEL, "messages": HELLO, "stream": True}).encode()
    with web_process(env={"SHUTDOWN_GRACE_SECONDS": "1"}) as web, socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", web.port))
        request = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {caller.key}\r\n"
        raw.sendall(f"{request}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert raw.recv(100)
        web.process.send_signal(signal.SIGTERM)
        assert web.process.wait(40) == 0
    assert caller.balance() == (CREDIT, 0)
    assert caller.usage().outcome == "interrupted"


def test_told_to_stop_it_writes_down_every_request_that_it_has_answered(
    make_caller: Any, upstream: FakeUpstream
) -> None:
    caller = make_caller()
    with web_process() as web, closing(http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)) as kept:
        answered = []
        for _ in range(20):
            body = json.dumps({"model": MODEL, "messages": HELLO})
            kept.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {caller.key}"})
            answer = kept.getresponse()
            answer.read()
            answered.append(answer.getheader("x-request-id"))
        assert web.stop(signal.SIGTERM) == 0
        lines = [json.loads(text) for text in web.log.splitlines()]
    assert [line["request"] for line in lines if line["message"] == "completion"] == answered
