"""Streams and answers read without a web process."""

import json
from typing import Any

import msgspec
import orjson

from proxy.api.responses.request import ResponsesRequest, read_request
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.prices.pricing import Usage
from proxy.catalogue.served import ServedRoute
from proxy.http.parsing import read_payload
from proxy.metering.bill import Bill
from proxy.metering.endpoint import StreamedAnswer
from tests.proxy.api.responses.conftest import events_of
from tests.proxy.factories import served_route

BILL = Bill(Usage(12, 9, 4), PriceQuote(1_000, 3_000), 39_000)
CHAT = served_route(1)
NATIVE = served_route(2, protocols=frozenset({"responses"}))


def read(**fields: Any) -> ResponsesRequest:
    body = orjson.dumps({"model": "m", "input": "Hello!", **fields})
    return read_request(read_payload(body), model="m")


def sent(request: ResponsesRequest, route: ServedRoute = CHAT) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(request.body_for(route, output_limit=9))
    return decoded


def streamed(answer: StreamedAnswer, *chunks: bytes) -> bytes:
    """All that a client gets of a stream that is paid for."""
    relayed = b"".join(answer.feed(chunk) for chunk in chunks)
    if not answer.done:
        relayed += answer.end()
    assert answer.failure is None, answer.failure
    return relayed + answer.tail(BILL)


def events(*chunks: bytes, route: ServedRoute = CHAT, **fields: Any) -> list[dict[str, Any]]:
    answer = read(stream=True, **fields).read_stream(route, output_bound=0)
    found = events_of(streamed(answer, *chunks))
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


def whole(message: dict[str, Any], *, finish: str = "stop", **fields: Any) -> dict[str, Any]:
    body = {"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": finish}]}
    answer = read(**fields).read_whole(orjson.dumps(body), CHAT)
    said: dict[str, Any] = json.loads(answer.for_customer(BILL))
    return said
