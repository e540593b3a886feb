"""A request is settled once: what is decided first stands, and nobody's later word is taken for it."""

import asyncio
import uuid
from types import SimpleNamespace
from typing import Any, cast

import pytest

from keys.lookup import KeyIdentity
from proxy.api.chat_completions.request import read_request
from proxy.catalogue.pricing import PriceQuote, Usage
from proxy.catalogue.tokens import TextSize
from proxy.http.parsing import read_payload
from proxy.metering.reported_usage import Report
from proxy.metering.settlement import AlreadySettled, Metered, Outcome
from tests.proxy.factories import served_model, served_route

KEY = KeyIdentity(1, 1, 1, "free", 1, 1, None, 1, 1, None, 5)
HELLO = b'{"model":"m","messages":[{"role":"user","content":"Hello"}]}'
REPORT = Report(Usage(5, 2), {})


class SlowHolds:
    """Books what is settled, once `may_settle` is set."""

    def __init__(self) -> None:
        self.settled: list[int] = []
        self.may_settle = asyncio.Event()

    async def settle(self, *, cost_micro: int, **_: Any) -> None:
        await self.may_settle.wait()
        self.settled.append(cost_micro)


class NoLimits:
    def finish(self, **_: Any) -> "asyncio.Future[None]":
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


def metered(holds: SlowHolds) -> Metered:
    return Metered(
        holds=cast(Any, holds),
        limiter=cast(Any, NoLimits()),
        learning=cast(Any, SimpleNamespace(observe=lambda *_: None)),
        request_id=uuid.uuid4(),
        key=KEY,
        request=read_request(read_payload(HELLO), model="m"),
        model=served_model(price=PriceQuote(1_000, 3_000)),
        route=served_route(1),
        held_micro=10**9,
    )


async def test_a_capture_after_a_void_is_refused() -> None:
    holds = SlowHolds()
    holds.may_settle.set()
    request = metered(holds)
    await request.void(outcome=Outcome.INTERRUPTED, status=500)
    with pytest.raises(AlreadySettled):
        await request.capture(REPORT, size=TextSize(), final=True, outcome=Outcome.COMPLETED)
    assert holds.settled == [0]


async def test_a_second_capture_is_refused() -> None:
    holds = SlowHolds()
    holds.may_settle.set()
    request = metered(holds)
    bill = await request.capture(REPORT, size=TextSize(), final=True, outcome=Outcome.COMPLETED)
    with pytest.raises(AlreadySettled):
        await request.capture(REPORT, size=TextSize(), final=True, outcome=Outcome.COMPLETED)
    assert holds.settled == [bill.cost_micro]


async def test_a_void_after_a_cancelled_capture_waits_for_it_and_changes_nothing() -> None:
    holds = SlowHolds()
    request = metered(holds)
    capturing = asyncio.create_task(
        request.capture(REPORT, size=TextSize(), final=True, outcome=Outcome.COMPLETED)
    )
    await asyncio.sleep(0)
    capturing.cancel()
    await asyncio.wait({capturing})
    voiding = asyncio.create_task(request.void(outcome=Outcome.INTERRUPTED, status=500))
    await asyncio.sleep(0)
    assert holds.settled == []
    holds.may_settle.set()
    await voiding
    assert holds.settled == [5 * 1_000 + 2 * 3_000]
