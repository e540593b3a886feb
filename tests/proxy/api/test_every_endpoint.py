"""What is true of every endpoint that answers in text, in its own protocol and translated: one harness for all."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from pytest_django import DjangoDbBlocker

from proxy.idempotency import keeping
from proxy.usage.models import UsageRecord
from tests.dialects import CHAT, COMPLETION_TOKENS, COMPLETIONS, MESSAGES, PROMPT_TOKENS, RESPONSES, Dialect
from tests.fake_upstream import FakeUpstream, respond, stream_events
from tests.live import WebProcess, at_once, eventually
from tests.proxy.api.conftest import CREDIT, INPUT_PRICE, OUTPUT_PRICE, Caller, add_model, take_off_sale
from wallet.ledger.models import Hold

TEXTS = ("Hel", "lo", "!")
TEXT = "".join(TEXTS)
COST = PROMPT_TOKENS * INPUT_PRICE + COMPLETION_TOKENS * OUTPUT_PRICE
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LIMIT = 500


@dataclass(frozen=True, slots=True)
class Pair:
    """How a client asks, and what its upstream speaks."""

    client: Dialect
    upstream: Dialect

    def __str__(self) -> str:
        return f"{self.client.endpoint}-over-{self.upstream.endpoint}"

    @property
    def model(self) -> str:
        return f"speaks-{self.upstream.endpoint}"

    def post(self, http: httpx.Client, *, stream: bool, limit: int = LIMIT) -> httpx.Response:
        return http.post(self.client.path, json=self.body(stream=stream, limit=limit))

    def body(self, *, stream: bool, limit: int = LIMIT) -> dict[str, Any]:
        return self.client.body(self.model, "Hello!", limit=limit, stream=stream)


PAIRS = (
    Pair(CHAT, CHAT),
    Pair(COMPLETIONS, COMPLETIONS),
    Pair(MESSAGES, MESSAGES),
    Pair(MESSAGES, CHAT),
    Pair(RESPONSES, RESPONSES),
    Pair(RESPONSES, CHAT),
)


@pytest.fixture(scope="module")
def on_sale(web: WebProcess, upstream: FakeUpstream, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    endpoints: dict[str, list[str]] = {}
    for pair in PAIRS:
        endpoints.setdefault(pair.upstream.endpoint, []).append(pair.client.endpoint)
    with django_db_blocker.unblock():
        for protocol, served in endpoints.items():
            add_model(
                f"speaks-{protocol}",
                upstream.url,
                endpoints=served,
                protocols=[protocol],
                max_output_tokens=10_000,
            )
        yield
        take_off_sale(*(f"speaks-{protocol}" for protocol in endpoints))


@pytest.fixture(params=PAIRS, ids=str)
def pair(request: pytest.FixtureRequest, on_sale: None, caller: Caller) -> Pair:
    pair: Pair = request.param
    with caller.http as http:
        eventually(lambda: any(model["id"] == pair.model for model in http.get("/models").json()["data"]))
    return pair


def test_a_whole_answer_arrives_and_is_paid(pair: Pair, caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = respond(200, pair.upstream.whole(TEXT))
    with caller.http as http:
        answer = pair.post(http, stream=False)
    assert answer.status_code == 200, answer.text
    assert pair.client.text_of(answer.json()) == TEXT
    assert answer.json()["model"] == pair.model
    assert answer.json()["usage"]["cost_toman"] == COST / 10**7
    record = caller.usage()
    assert (record.endpoint, record.cost_micro, record.billed_by) == (pair.client.endpoint, COST, "usage")


def test_a_stream_arrives_and_is_paid(pair: Pair, caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = stream_events(*pair.upstream.stream(TEXTS))
    with caller.http as http:
        answer = pair.post(http, stream=True)
    assert answer.status_code == 200, answer.text
    heard = pair.client.heard(answer.content)
    assert (heard.text, heard.ended, heard.error) == (TEXT, True, None)
    assert b'"up"' not in answer.content
    record = caller.usage()
    assert (record.endpoint, record.cost_micro, record.billed_by) == (pair.client.endpoint, COST, "usage")


@pytest.mark.parametrize("stream", [False, True])
def test_a_repeat_is_not_charged_again_and_is_the_same_to_the_byte_where_it_was_kept(
    pair: Pair, caller: Caller, upstream: FakeUpstream, stream: bool
) -> None:
    upstream.script = (
        stream_events(*pair.upstream.stream(TEXTS)) if stream else respond(200, pair.upstream.whole(TEXT))
    )
    keeping.keep(user_id=caller.wallet.pk, hours=1)

    def post(http: httpx.Client) -> httpx.Response:
        body = pair.body(stream=stream)
        return http.post(pair.client.path, json=body, headers={"Idempotency-Key": "once"})

    with caller.http as http:
        first, kept = post(http), post(http)
        keeping.stop(user_id=caller.wallet.pk)
        not_kept = post(http)
    assert first.status_code == 200, first.text
    assert (kept.status_code, kept.content) == (200, first.content)
    assert kept.headers["content-type"] == first.headers["content-type"]
    assert (kept.headers["idempotent-replayed"], "idempotent-replayed" in first.headers) == ("true", False)
    error = not_kept.json()["error"]
    assert (not_kept.status_code, error["code"]) == (409, "idempotency_replayed")
    assert (error["request_id"], error["cost_toman"]) == (first.headers["x-request-id"], COST / 10**7)
    assert not_kept.headers["x-should-retry"] == "false"
    assert len(upstream.requests) == 1
    assert caller.balance() == (CREDIT - COST, 0)


def test_nothing_beyond_the_cap_is_sent_on(pair: Pair, caller: Caller, upstream: FakeUpstream) -> None:
    upstream.script = respond(200, pair.upstream.whole(TEXT))
    with caller.http as http:
        assert pair.post(http, stream=False, limit=7).status_code == 200
    [asked] = upstream.requests
    caps = {name: value for name, value in asked.items() if "max" in name}
    assert set(caps.values()) == {7}
    assert asked["model"] == "up-model"


def test_an_empty_wallet_is_told_and_upstream_is_not_asked(
    pair: Pair, make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    poor = make_caller(credit_micro=1)
    with poor.http as http:
        answer = pair.post(http, stream=True)
    error = answer.json()["error"]
    assert answer.status_code in {402, 429}
    assert "Insufficient wallet balance" in error["message"]
    assert answer.headers.get("x-should-retry") == "false" or answer.status_code == 402
    assert upstream.requests == []


# --- what breaks -------------------------------------------------------------------------------------------------


def cutting(raw: bytes) -> Callable[[dict[str, Any], asyncio.StreamWriter], Any]:
    """Sends as many bytes as the cap of the request says, and breaks the connection."""

    async def script(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        cut = request.get("max_tokens") or request["max_output_tokens"]
        writer.write(raw[:cut])
        await writer.drain()
        if cut % 2 and cut < len(raw):  # not even in order
            writer.transport.abort()
        raise ConnectionResetError

    return script


def chunked(events: list[bytes]) -> bytes:
    return HEAD + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in events) + b"0\r\n\r\n"


def break_a_stream_at(cuts: list[int], pair: Pair, caller: Caller) -> None:
    def ask(http: httpx.Client, cut: int) -> httpx.Response:
        return pair.post(http, stream=True, limit=cut)

    answers = at_once(ask, cuts, threads=8, http=lambda: caller.http)
    paid = 0
    for cut, answer in zip(cuts, answers, strict=True):
        if answer.status_code != 200:
            assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_error"), cut
            continue
        heard = pair.client.heard(answer.content)
        assert TEXT.startswith(heard.text)
        assert heard.ended == (heard.error is None), (cut, answer.content)
        assert heard.error in {None, pair.client.broken}
        assert not heard.ended or heard.text == TEXT
        paid += heard.ended
    assert caller.balance() == (CREDIT - paid * COST, 0)
    records = UsageRecord.objects.filter(key_id=caller.key_id)
    assert records.filter(outcome="completed", cost_micro=COST).count() == paid
    assert records.filter(outcome="upstream_failed", cost_micro=0).count() == len(cuts) - paid
    assert paid >= 1  # the last cut of all is none


def test_a_stream_may_break_at_any_byte(pair: Pair, caller: Caller, upstream: FakeUpstream) -> None:
    raw = chunked(pair.upstream.stream(TEXTS))
    upstream.script = cutting(raw)
    # All bytes of the end, where an answer becomes whole, and every eleventh of the others.
    break_a_stream_at([*range(1, len(raw) - 60, 11), *range(len(raw) - 60, len(raw) + 1)], pair, caller)


@pytest.mark.proof
def test_a_stream_may_break_at_every_byte(pair: Pair, caller: Caller, upstream: FakeUpstream) -> None:
    raw = chunked(pair.upstream.stream(TEXTS))
    upstream.script = cutting(raw)
    break_a_stream_at(list(range(1, len(raw) + 1)), pair, caller)


def test_a_whole_answer_may_break_at_any_byte(pair: Pair, caller: Caller, upstream: FakeUpstream) -> None:
    body = json.dumps(pair.upstream.whole(TEXT)).encode()
    raw = b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )
    upstream.script = cutting(raw)

    def ask(http: httpx.Client, cut: int) -> int:
        return pair.post(http, stream=False, limit=cut).status_code

    cuts = [*range(1, len(raw), 7), len(raw)]
    statuses = at_once(ask, cuts, threads=8, http=lambda: caller.http)
    assert statuses == [502] * (len(cuts) - 1) + [200]
    assert caller.balance() == (CREDIT - COST, 0)


def test_a_client_may_leave_at_every_event(pair: Pair, caller: Caller, upstream: FakeUpstream) -> None:
    events = pair.upstream.stream(TEXTS)
    upstream.script = stream_events(*[part for event in events for part in (event, 0.01)])
    with caller.http as http:
        told = pair.post(http, stream=True).content.count(b"\n\n")

    def leave(http: httpx.Client, after: int) -> int:
        with http.stream("POST", pair.client.path, json=pair.body(stream=True)) as answer:
            assert answer.status_code == 200
            read = b""
            for part in answer.iter_raw():
                read += part
                if read.count(b"\n\n") >= after:
                    break
        return len(read)

    at_once(leave, range(1, told + 1), threads=8, http=lambda: caller.http)
    eventually(lambda: not Hold.objects.filter(wallet=caller.wallet).exists())
    records = UsageRecord.objects.filter(key_id=caller.key_id)
    assert records.count() == told + 1
    assert set(records.values_list("outcome", flat=True)) <= {"completed", "client_left"}
    assert all(0 < record.cost_micro <= 3 * COST for record in records)
    assert caller.balance() == (CREDIT - sum(record.cost_micro for record in records), 0)
