"""Whatever a model costs, a wallet has and an upstream sends: nothing is relayed that is not held, nor captured."""

import asyncio
import json
import math
import uuid
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.api.chat_completions.request import read_request
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.prices.pricing import cost_micro, worst_case_micro
from proxy.errors import APIError
from proxy.http.parsing import read_payload
from proxy.metering import admission, slices
from proxy.metering.relay import Relay
from proxy.metering.settlement import Metered, Outcome
from proxy.upstreams.calls import UpstreamCall
from proxy.wire.response import BrokenOff, Response
from tests.fake_upstream import chunk
from tests.proxy.catalogue.test_pricing import whole_lists
from tests.proxy.factories import served_model, served_route
from tests.proxy.metering.test_settlement import KEY, NoLimits
from wallet.ledger.holds import LedgerUnavailable, NotCovered

DONE = b"data: [DONE]\n\n"


class Wallet:
    """The ledger's rules for one wallet and one hold. Every so many extensions find the database away."""

    def __init__(self, available_micro: int, away_every: int) -> None:
        self.available_micro, self.held_micro, self.paid_micro = available_micro, 0, 0
        self._away_every, self._asked = away_every, 0

    async def place(self, *, amount_micro: int, minimum_micro: int, **_: Any) -> int:
        return await self._hold(min(amount_micro, self.available_micro), minimum_micro)

    async def extend(self, *, amount_micro: int, minimum_micro: int, held_micro: int, **_: Any) -> int:
        assert held_micro <= self.held_micro
        self._asked += 1
        if self._away_every and self._asked % self._away_every == 0:
            raise LedgerUnavailable("away")
        return await self._hold(
            min(amount_micro, self.held_micro + self.available_micro), max(minimum_micro, self.held_micro)
        )

    async def _hold(self, to_micro: int, minimum_micro: int) -> int:
        await asyncio.sleep(0)
        if to_micro < minimum_micro:
            raise NotCovered(1, available_micro=self.available_micro)
        self.available_micro -= to_micro - self.held_micro
        self.held_micro = to_micro
        assert self.available_micro >= 0
        return to_micro

    async def settle(self, *, cost_micro: int, **_: Any) -> None:
        await asyncio.sleep(0)
        assert cost_micro <= self.held_micro
        self.available_micro += self.held_micro - cost_micro
        self.paid_micro, self.held_micro = cost_micro, 0


class Reader:
    """Takes all it is sent, and compares it with what is held then."""

    def __init__(self, check: Callable[[int], None]) -> None:
        self.gone, self.on_gone, self.is_full = False, None, False
        self.received = b""
        self._check = check

    def push(self, data: bytes) -> None:
        self.received += data
        self._check(sum(map(len, self.texts())))

    async def drained(self, *, by: float = math.inf) -> None:
        await asyncio.sleep(0)

    async def write(self, data: bytes, *, by: float = math.inf, last: bool = False) -> None:
        self.received += data

    def events(self) -> list[Any]:
        events = self.received.split(b"\n\n")
        return [json.loads(event[6:]) for event in events if event.startswith(b"data: {")]

    def texts(self) -> list[bytes]:
        return [
            (choice["delta"].get("content") or "").encode()
            for event in self.events()
            for choice in event.get("choices", ())
        ]


connection = SimpleNamespace(abort=lambda: None, pause_reading=lambda: None, resume_reading=lambda: None)
said = st.lists(st.text("aβ漢 ", max_size=60), max_size=30)
lists = st.builds(PriceQuote, st.integers(0, 100), st.integers(0, 100)) | whole_lists()


def asked(wallet: Wallet, price: PriceQuote, *, slice_tokens: int | None, stream: bool) -> Metered:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 500,
        "stream": stream,
    }
    model = served_model(price=price, output_slice_tokens=slice_tokens, routes=(served_route(1),))
    return Metered(
        holds=cast(Any, wallet),
        limiter=cast(Any, NoLimits()),
        learning=cast(Any, SimpleNamespace(observe=lambda *_: None)),
        request_id=uuid.uuid4(),
        key=KEY,
        request=read_request(read_payload(json.dumps(body).encode()), model="m"),
        model=model,
        route=model.routes[0],
    )


async def refusal(metered: Metered) -> APIError | None:
    """Why nothing can be held; None where it is."""
    try:
        await admission.hold(metered)
    except APIError as error:
        return error
    return None


@settings(max_examples=150)
@given(
    price=lists, credit=st.integers(0, 60_000) | st.integers(0, 2**62), slice_tokens=st.integers(1, 80), said=said,
    completion=st.none() | st.integers(0, 500), breaks=st.booleans(), pieces=st.integers(1, 5),
    away_every=st.sampled_from([0, 0, 2, 3]),
)  # fmt: skip
async def test_nothing_is_relayed_beyond_what_is_held_and_all_of_it_is_paid(
    price: PriceQuote, credit: int, slice_tokens: int, said: list[str], completion: int | None, breaks: bool,
    pieces: int, away_every: int,
) -> None:  # fmt: skip
    wallet = Wallet(credit, away_every)
    metered = asked(wallet, price, slice_tokens=slice_tokens, stream=True)

    def check(relayed_bytes: int) -> None:
        tokens = min(relayed_bytes, metered.output_max)
        assert worst_case_micro(metered.prompt_bound, tokens, price) <= wallet.held_micro

    if (refused := await refusal(metered)) is not None:
        assert refused.code == "insufficient_balance"
        assert refused.facts["required_toman"] > refused.facts["available_toman"]
        assert wallet.available_micro == credit
        return
    response = Response(200, {}, cast(Any, connection))
    answer = metered.request.read_stream(metered.route, output_bound=metered.output_max)
    loop = asyncio.get_running_loop()
    relay = Relay(
        metered, UpstreamCall(response, 1, Counter()), answer,
        deadline=loop.time() + 60, first_by=loop.time() + 60, on_failure=lambda: None,
    )  # fmt: skip
    events = [chunk({"content": text}) for text in ["", *said]]
    usage = {"prompt_tokens": 5, "completion_tokens": completion, "total_tokens": 5 + (completion or 0)}
    events.append(chunk({}, finish="stop", **({} if completion is None else {"usage": usage})))
    if not breaks:
        events.append(DONE)
    reader = Reader(check)

    async def send() -> None:
        for first in range(0, len(events), pieces):
            if not response.has_ended:
                response.feed(b"".join(events[first : first + pieces]))
            await asyncio.sleep(0)
        if not response.has_ended:
            response.end(BrokenOff("closed") if breaks else None)

    sending = asyncio.create_task(send())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "LEDGER_AGAIN_SECONDS", 0)
        await relay.open()
        await relay.deliver(cast(Any, reader))
    await sending
    assert (wallet.held_micro, wallet.available_micro + wallet.paid_micro) == (0, credit)
    last = reader.events()[-1]
    text = b"".join(reader.texts()).decode()
    assert "".join(said).startswith(text)
    if code := last.get("error", {}).get("code"):
        assert code in {"insufficient_balance", "upstream_error"}
        assert code == "insufficient_balance" or not wallet.paid_micro
    else:
        assert text == "".join(said)
        assert reader.received.endswith(DONE)
    # Price lists of nothing apart: what was relayed and did not fail is paid.
    if last.get("error", {}).get("code") != "upstream_error" and price.output_rial_per_million and text:
        assert wallet.paid_micro > 0


@given(price=lists, credit=st.integers(0, 2**62), prompt=st.integers(1, 9), completion=st.integers(0, 500))
async def test_a_whole_answer_within_its_bounds_costs_no_more_than_was_held(
    price: PriceQuote, credit: int, prompt: int, completion: int
) -> None:
    wallet = Wallet(credit, 0)
    metered = asked(wallet, price, slice_tokens=20, stream=False)
    if await refusal(metered) is not None:
        return
    body = {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        },
    }
    answer = metered.request.read_whole(json.dumps(body).encode(), metered.route)
    bill = await metered.capture(answer.report, size=answer.size, final=True, outcome=Outcome.COMPLETED)
    assert bill.cost_micro == cost_micro(bill.usage, price) == wallet.paid_micro
    assert wallet.available_micro == credit - wallet.paid_micro
