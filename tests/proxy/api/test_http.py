"""Plain HTTP as clients, proxies and nobody in particular send it, over a raw socket to a real web process."""

import json
import re
import shutil
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.errors import ERRORS
from proxy.usage.models import UsageRecord
from tests.fake_upstream import STREAM, FakeUpstream, answer_whole, stream_events
from tests.live import WebProcess, eventually
from tests.proxy.api.conftest import HELLO, MODEL, Caller

CHATS = b"/v1/chat/completions"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"


@contextmanager
def connected(web: WebProcess) -> Any:
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as connection:
        yield connection


def until_closed(connection: socket.socket) -> bytes:
    answer = b""
    while part := connection.recv(65536):
        answer += part
    return answer


def exchange(web: WebProcess, sent: bytes) -> bytes:
    """All that comes back before the server closes the connection."""
    with connected(web) as connection:
        connection.sendall(sent)
        return until_closed(connection)


def one_answer(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the one answer that came; anything else fails."""
    head, _blank, body = answer.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    if "content-length" in headers:
        assert len(body) == int(headers["content-length"]), "bytes follow the answer"
    return int(status_line.split()[1]), headers, body


def assert_refused(answer: bytes, code: str) -> None:
    status, headers, body = one_answer(answer)
    assert (status, headers["content-type"], headers["connection"]) == (
        ERRORS[code][0],
        "application/json",
        "close",
    )
    assert re.fullmatch("[0-9a-f]{32}", headers["x-request-id"])
    error = {"message": ERRORS[code][2], "type": ERRORS[code][1], "param": None, "code": code}
    told = json.loads(body)["error"]
    assert told == error | {name: told[name] for name in ("solution", "docs")}


def request_of(caller: Caller, *, headers: bytes = b"", version: bytes = b"1.1", **fields: Any) -> bytes:
    body = json.dumps({"model": MODEL, "messages": HELLO, **fields}).encode()
    return (
        b"POST %s HTTP/%s\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n%s\r\n%s"
        % (CHATS, version, caller.key.encode(), len(body), headers, body)
    )  # fmt: skip


# --- wishes to change the protocol ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wish",
    [
        H2C,
        b"Upgrade: h2c\r\nConnection: HTTP2-Settings, upgrade\r\nHTTP2-Settings: AAMAAABk\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\n",
        b"Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0, foo/2\r\n",
    ],
    ids=["java", "curl", "websocket", "other"],
)
@pytest.mark.parametrize("pieces", [False, True])
def test_a_wish_for_another_protocol_is_ignored_and_its_request_answered(
    caller: Caller, upstream: FakeUpstream, wish: bytes, pieces: bool
) -> None:
    sent = request_of(caller, headers=wish)
    with connected(caller.web) as connection:
        for start in range(0, len(sent), 37 if pieces else len(sent)):
            connection.sendall(sent[start : start + (37 if pieces else len(sent))])
        answer = b""
        while b"chat.completion" not in answer:
            answer += connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200")
        connection.sendall(HEALTH)  # the connection stays an ordinary one
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    assert len(upstream.requests) == 1
    assert upstream.requests[0]["messages"] == HELLO


def test_a_chunked_request_with_such_a_wish_is_read_whole(caller: Caller, upstream: FakeUpstream) -> None:
    body = json.dumps({"model": MODEL, "messages": HELLO}).encode()
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n%s\r\n"
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    with connected(caller.web) as connection:
        connection.sendall(head % (CHATS, caller.key.encode(), H2C) + chunks)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    assert [each["messages"] for each in upstream.requests] == [HELLO]


@pytest.mark.parametrize("length", [b"", b"Content-Length: 0\r\n", b"Content-Length: %d\r\n" % len(HEALTH)])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
def test_nothing_after_such_a_head_is_taken_for_another_request(
    web: WebProcess, method: bytes, length: bytes
) -> None:
    hidden = HEALTH * 2
    with connected(web) as connection:
        connection.sendall(method + b" /v1/models HTTP/1.1\r\nHost: x\r\n" + H2C + length + b"\r\n" + hidden)
        answer = until_closed(connection)
    assert one_answer(answer)[0] in {401, 405}
    assert b'"status"' not in answer


def test_a_tunnel_is_refused(web: WebProcess) -> None:
    assert_refused(exchange(web, b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n" + HEALTH), "bad_request")


JAVA = """
import java.net.URI;
import java.net.http.*;

public class Ask {
    public static void main(String[] given) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int i = 0; i < 3; i++) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(given[0] + "/v1/chat/completions"))
                .header("Authorization", "Bearer " + given[1])
                .POST(HttpRequest.BodyPublishers.ofString(given[2])).build();
            HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.body().contains("chat.completion"));
        }
    }
}
"""


@pytest.mark.skipif(shutil.which("java") is None, reason="NOT TRIED WITH JAVA'S OWN CLIENT: no JDK is here")
def test_javas_own_client_which_always_wishes_for_http_2(caller: Caller, tmp_path: Path) -> None:
    source = tmp_path / "Ask.java"
    source.write_text(JAVA)
    body = json.dumps({"model": MODEL, "messages": HELLO})
    small = ["-XX:TieredStopAtLevel=1", "-Xmx128m"]
    ran = subprocess.run(
        ["java", *small, str(source), caller.web.url, caller.key, body],
        check=False, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ran.stdout.splitlines() == ["200 true"] * 3, ran.stderr


@pytest.mark.skipif(shutil.which("curl") is None, reason="NOT TRIED WITH CURL: it is not here")
def test_curl_that_wishes_for_http_2(caller: Caller) -> None:
    body = json.dumps({"model": MODEL, "messages": HELLO})
    url = f"{caller.web.url}/v1/chat/completions"
    key = f"Authorization: Bearer {caller.key}"
    ran = subprocess.run(
        ["curl", "-sS", "--http2", "-w", " %{http_code}", "-H", key, "-d", body, url],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ran.stdout.endswith(" 200"), ran.stderr


# --- what cannot be read --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"get /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", "bad_request"),
        (b"FETCH /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", "bad_request"),
        (b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}" % CHATS, "bad_request"),
        (b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}" % CHATS, "bad_request"),
        (b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: -2\r\n\r\n{}" % CHATS, "bad_request"),
        (
            b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % CHATS,
            "bad_request",
        ),
        ("GET /v1/مدل HTTP/1.1\r\nHost: x\r\n\r\n".encode(), "bad_request"),
        (b"GET /v1/models HTTP/2.0\r\nHost: x\r\n\r\n", "bad_request"),
        (b"GET /v1/models HTTP/9.9\r\nHost: x\r\n\r\n", "bad_request"),
        (b"GET /v1/models\r\n\r\n", "bad_request"),
        (b"GET  HTTP/1.1\r\n\r\n", "bad_request"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "bad_request"),
        (b"GET /v1/models HTTP/1.1\r\nHost: x\r\nNo colon\r\n\r\n", "bad_request"),
        (b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n", "bad_request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "bad_request"),
        (b"\x00" * 100, "bad_request"),
        (b"GET /v1/models?q=%s HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 66_000), "headers_too_large"),
        (b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000, "headers_too_large"),
        (b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", "headers_too_large"),
    ],
    ids=[
        "lower case", "unknown method", "two lengths", "one length twice", "negative length", "length and chunks",
        "raw UTF-8", "HTTP/2.0", "HTTP/9.9", "HTTP/0.9", "no path", "HTTP/2 preface", "no colon", "NUL", "TLS", "NULs",
        "query", "header", "whole header",
    ],
)  # fmt: skip
def test_what_is_no_http_is_refused_as_json_with_an_id_and_closed(
    web: WebProcess, sent: bytes, code: str
) -> None:
    answer = exchange(web, sent)
    assert_refused(answer, code)
    assert one_answer(answer)[1]["x-request-id"] in web.log


@pytest.mark.parametrize("chunks", [b"xyz\r\n{}\r\n", b"-1\r\n", b"2\r\n{}garbage\r\n"])
def test_a_bad_chunk_is_refused_and_nothing_asked_for(
    caller: Caller, upstream: FakeUpstream, chunks: bytes
) -> None:
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert_refused(exchange(caller.web, head % (CHATS, caller.key.encode()) + chunks), "bad_request")
    assert upstream.requests == []


def test_a_bad_chunk_after_an_answer_that_did_not_wait_for_it_ends_the_connection(web: WebProcess) -> None:
    with connected(web) as connection:
        connection.sendall(
            b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n" % CHATS
        )
        answer = connection.recv(65536)
        connection.sendall(b"xyz\r\n")
        answer += until_closed(connection)
    assert one_answer(answer)[0] == 401


# --- what follows a request -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "extra", [b"}", b"XX", b"\x00", b'{"a":1}\r\n\r\n', b"get / HTTP/1.1\r\n\r\n", b"X" * 90_000]
)
@pytest.mark.parametrize("stream", [False, True])
def test_bytes_after_a_whole_request_do_not_touch_its_answer(
    caller: Caller, upstream: FakeUpstream, extra: bytes, stream: bool
) -> None:
    upstream.script = stream_events(0.1, *STREAM) if stream else answer_whole()
    with connected(caller.web) as connection:
        connection.sendall(request_of(caller, stream=stream))
        connection.sendall(extra)
        status, _headers, body = one_answer(until_closed(connection))
    assert status == 200
    assert body.count(b"HTTP/1.1") == 0
    if stream:
        assert body.endswith(b"0\r\n\r\n")
        assert b"data: [DONE]" in body
    else:
        assert json.loads(body)["object"] == "chat.completion"
    assert caller.usage().outcome == "completed"


def test_bytes_after_an_answer_are_refused_on_their_own(web: WebProcess) -> None:
    with connected(web) as connection:
        connection.sendall(HEALTH)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"nonsense\r\n\r\n")
        assert_refused(until_closed(connection), "bad_request")


def test_blank_lines_between_requests_are_nothing(web: WebProcess) -> None:
    with connected(web) as connection:
        for _ in range(2):
            connection.sendall(b"\r\n" + HEALTH + b"\r\n")
            answer = b""
            while not answer.endswith(b'{"status":"ok"}'):  # it may come in pieces
                answer += connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200")


def test_requests_sent_ahead_are_answered_in_order_and_garbage_behind_them_ends_it(caller: Caller) -> None:
    answer = exchange(caller.web, request_of(caller) + HEALTH + request_of(caller) + b"garbage")
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200"] * 3
    assert re.findall(rb'"status":"ok"|"chat.completion"', answer) == [
        b'"chat.completion"',
        b'"status":"ok"',
        b'"chat.completion"',
    ]


def test_a_request_that_breaks_off_behind_another_takes_nothing_from_it(
    caller: Caller, upstream: FakeUpstream
) -> None:
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"
    answer = exchange(caller.web, request_of(caller) + head % (CHATS, caller.key.encode()))
    status, _headers, body = one_answer(answer)
    assert (status, json.loads(body)["object"]) == (200, "chat.completion")
    assert len(upstream.requests) == 1


def test_a_client_that_leaves_is_noticed_although_it_has_sent_another_request_ahead(
    caller: Caller, upstream: FakeUpstream
) -> None:

    upstream.script = stream_events(*(part for each in STREAM[:1] * 1_000 for part in (each, 0.05)))
    with connected(caller.web) as connection:
        connection.sendall(request_of(caller, stream=True) + HEALTH)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    eventually(lambda: UsageRecord.objects.filter(key_id=caller.key_id, outcome="client_left").exists())


# --- HTTP/1.0 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [b"", b"Connection: keep-alive\r\n"])
def test_a_stream_to_an_http_1_0_client_has_no_chunks_and_ends_with_the_connection(
    caller: Caller, upstream: FakeUpstream, keep: bytes
) -> None:
    upstream.script = stream_events(*STREAM)
    status, headers, body = one_answer(
        exchange(caller.web, request_of(caller, version=b"1.0", headers=keep, stream=True))
    )
    assert status == 200
    assert "transfer-encoding" not in headers
    assert headers["connection"] == "close"
    assert body.startswith(b"data: ")
    assert body.endswith(b"data: [DONE]\n\n")


def test_a_whole_answer_to_an_http_1_0_client_has_its_length(caller: Caller) -> None:
    status, headers, body = one_answer(exchange(caller.web, request_of(caller, version=b"1.0")))
    assert (status, int(headers["content-length"])) == (200, len(body))


# --- addresses that lead nowhere ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/chat/completions", "/V1/chat/completions", "/api/v1/chat/completions", "/openai/v1/chat/completions",
        "/openai/deployments/gpt/chat/completions?api-version=2024-10-21", "/v1/v1/chat/completions", "/responses",
        "/completions", "/embeddings", "/some/where/chat/completions/", "/nowhere", "/v2/chat/completions", "/V1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_wrong_base_url_is_told_the_right_one(web: WebProcess, path: str, method: str) -> None:

    response = httpx.request(method, web.url + path, headers={"Accept": "application/json"})
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/json"
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-request-id"])
    error = response.json()["error"]
    assert (error["code"], error["type"]) == ("not_found", "invalid_request_error")
    assert error["message"].startswith(ERRORS["not_found"][2] + " ")
    assert re.search(r"http://[^ ]+/v1(?![\w/])", error["message"])


@pytest.mark.parametrize("endpoint", ["assistants", "threads/thread_1/runs", "batches", "files"])
def test_an_endpoint_that_is_not_served_names_the_one_that_is(web: WebProcess, endpoint: str) -> None:

    error = httpx.post(f"{web.url}/v1/{endpoint}", json={}).json()["error"]
    assert error["code"] == "not_found"
    assert error["message"].startswith(ERRORS["not_found"][2])
    assert "/v1/chat/completions" in error["message"]


def test_a_response_is_not_kept_to_be_fetched(web: WebProcess) -> None:
    for method in ("GET", "DELETE"):
        error = httpx.request(method, f"{web.url}/v1/responses/resp_1").json()["error"]
        assert (error["code"], "not stored" in error["message"]) == ("not_found", True)


def test_head_and_options_of_nothing(web: WebProcess) -> None:

    head = httpx.head(f"{web.url}/chat/completions")
    assert (head.status_code, head.content) == (404, b"")
    assert httpx.options(f"{web.url}/chat/completions").status_code == 404
