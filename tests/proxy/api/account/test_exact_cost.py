"""What a request cost is known by its id at once: as the ledger has it, and as the last event said."""

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.dialects import CHAT, COMPLETIONS, MESSAGES, RESPONSES, Dialect
from tests.fake_upstream import FakeUpstream
from tests.live import at_once, eventually
from tests.proxy.api.conftest import MODEL, TEXT_MODEL, Caller
from wallet.ledger.models import JournalEntry

UPSTREAMS: dict[str, Dialect] = {"chat": CHAT, "completions": COMPLETIONS}
CLIENTS = ((CHAT, CHAT), (MESSAGES, CHAT), (RESPONSES, CHAT), (COMPLETIONS, COMPLETIONS))
TEXTS = ("Hel", "lo", "!")
ASKED = re.compile(r"do (?P<protocol>\w+) (?P<how>\w+) (?P<number>\d+)")
COST = re.compile(rb'"cost_toman":([0-9.e-]+)')
WHOLE, STREAMED, CUT, LEFT, FAILED, REFUSED = "whole", "streamed", "cut", "left", "failed", "refused"
WAYS = (WHOLE, STREAMED, STREAMED, STREAMED, CUT, LEFT, FAILED, REFUSED)
HEAD = b"HTTP/1.1 %d X\r\ncontent-type: %b\r\n"


async def as_asked(request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
    """The upstream does what the prompt says; the numbers of tokens differ from request to request."""
    asked = ASKED.search(json.dumps(request))
    assert asked is not None, request
    dialect, how, number = UPSTREAMS[asked["protocol"]], asked["how"], int(asked["number"])
    counted = {"prompt": 12 + number % 13, "completion": 9 + number % 29}
    if how in {FAILED, REFUSED, WHOLE}:
        status = {FAILED: 500, REFUSED: 400, WHOLE: 200}[how]
        body = json.dumps(
            dialect.whole("".join(TEXTS), **counted) if how == WHOLE else {"error": {"message": "no"}}
        )
        writer.write(HEAD % (status, b"application/json") + b"content-length: %d\r\n\r\n" % len(body))
        writer.write(body.encode())
        return
    writer.write(HEAD % (200, b"text/event-stream") + b"transfer-encoding: chunked\r\n\r\n")
    for place, event in enumerate(dialect.stream(TEXTS, **counted)):
        writer.write(b"%x\r\n%b\r\n" % (len(event), event))
        await writer.drain()
        if how == CUT and place == number % 3:
            raise ConnectionResetError
        if how == LEFT:
            await asyncio.sleep(0.05)
    writer.write(b"0\r\n\r\n")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as it was answered and as it was found right after its last byte."""

    how: str
    status: int
    request_id: str
    said: Decimal | None
    found: dict[str, Any]


def ask(caller: Caller, http: httpx.Client, number: int) -> Asked:
    client, upstream = CLIENTS[number % len(CLIENTS)]
    how = WAYS[number // len(CLIENTS) % len(WAYS)]
    stream = how in {STREAMED, CUT, LEFT}
    model = MODEL if upstream is CHAT else TEXT_MODEL
    body = client.body(model, f"do {upstream.endpoint} {how} {number}", limit=500, stream=stream)
    if stream and client.endpoint in {"chat", "completions"}:
        body["stream_options"] = {"include_usage": True}
    headers = {"Authorization": f"Bearer {caller.key}"}
    with http.stream("POST", f"{caller.web.url}/v1{client.path}", json=body, headers=headers) as answer:
        read = b""
        for part in answer.iter_raw():
            read += part
            if how == LEFT and b"Hel" in read:
                break
    request_id = answer.headers["x-request-id"]

    def find() -> dict[str, Any]:
        told = http.get(f"{caller.web.url}/v1/requests/{request_id}", headers=headers)
        assert told.status_code == 200, (how, client.endpoint, read, told.text)
        found: dict[str, Any] = json.loads(told.content, parse_float=Decimal)
        return found

    if how == LEFT:  # nobody was there for a last byte
        eventually(lambda: find()["status"] != "in_progress")
    costs = COST.findall(read)
    said = Decimal(costs[-1].decode()) if costs and how != LEFT else None
    return Asked(how, answer.status_code, request_id, said, find())


def check(asked: list[Asked], callers: list[Caller]) -> None:
    in_journal = dict(
        JournalEntry.objects.filter(
            wallet__in=[caller.wallet for caller in callers], kind="completion"
        ).values_list("transaction_id", "amount_micro")
    )
    booked = {request_id.hex: -amount for request_id, amount in in_journal.items()}
    for one in asked:
        found = one.found
        assert found["id"] == one.request_id
        assert found["cost_micro"] == booked.pop(one.request_id, 0), one
        assert found["cost_toman"] == found["cost_micro"] / Decimal(10**7)
        if one.how in {WHOLE, STREAMED}:
            assert (one.status, found["status"]) == (200, "completed"), one
            assert one.said == found["cost_toman"] > 0, one
        elif one.how == LEFT:
            assert found["status"] in {"client_left", "completed"}, one
        else:
            assert (
                found["status"]
                == {CUT: "upstream_failed", FAILED: "upstream_failed", REFUSED: "refused"}[one.how]
            )
            assert (one.said, found["cost_micro"]) == (None, 0), one
    assert booked == {}


def ask_all(callers: list[Caller], count: int, *, threads: int) -> list[Asked]:
    return at_once(
        lambda http, number: ask(callers[number % len(callers)], http, number),
        range(count),
        threads=threads,
        http=lambda: httpx.Client(timeout=60),
    )


def test_what_each_request_cost_is_known_at_once(
    make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    callers = [make_caller()]
    upstream.script = as_asked
    check(ask_all(callers, 3 * len(CLIENTS) * len(WAYS), threads=8), callers)


@pytest.mark.proof
@pytest.mark.timeout(1_200)
def test_what_each_of_10_000_requests_cost_is_known_at_once(
    make_caller: Callable[..., Caller], upstream: FakeUpstream
) -> None:
    callers = [make_caller() for _ in range(29)]  # each has its own limit of reads, and meets every way
    upstream.script = as_asked
    check(ask_all(callers, 10_000, threads=24), callers)
