"""A request is settled once: what is decided first stands, and nobody's later word is taken for it."""

import asyncio
import uuid
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest

from keys.lookup import KeyIdentity
from proxy.api.chat_completions.request import read_request
from proxy.catalogue.prices.price_quote import PriceQuote
from proxy.catalogue.prices.pricing import Usage
from proxy.catalogue.tokens import TextSize
from proxy.http.parsing import read_payload
from proxy.metering import settlement
from proxy.metering.reported_usage import Report
from proxy.metering.settlement import AlreadySettled, Metered, Outcome
from tests.proxy.factories import served_model, served_route
from wallet.ledger.holds import LedgerUnavailable

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
    """Gives back any place; `counted` are the tokens of each request that ended."""

    def __init__(self) -> None:
        self.counted: list[int] = []

    def finish(self, *, tokens: int, **_: Any) -> "asyncio.Future[None]":
        self.counted.append(tokens)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


class RefusingHolds(SlowHolds):
    """Cannot write down what costs anything, or (`also_voids`) anything at all."""

    def __init__(self, error: Exception, *, also_voids: bool = False) -> None:
        super().__init__()
        self._error, self._also_voids = error, also_voids

    async def settle(self, *, cost_micro: int, **_: Any) -> None:
        if cost_micro or self._also_voids:
            raise self._error
        self.settled.append(cost_micro)


def metered(holds: SlowHolds, *, limits: NoLimits | None = None, **fields: Any) -> Metered:
    known: dict[str, Any] = {"held_micro": 10**9}
    return Metered(
        holds=cast(Any, holds),
        limiter=cast(Any, limits or NoLimits()),
        learning=cast(Any, SimpleNamespace(observe=lambda *_: None)),
        request_id=uuid.uuid4(),
        key=KEY,
        request=read_request(read_payload(HELLO), model="m"),
        model=served_model(price=PriceQuote(1_000, 3_000)),
        route=served_route(1),
        **(known | fields),
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


async def test_what_the_database_refuses_to_write_down_is_paid_by_nobody() -> None:
    holds = RefusingHolds(psycopg.errors.CheckViolation("usage_cost_is_tokens_times_price"))
    with pytest.raises(psycopg.errors.CheckViolation):
        await metered(holds).capture(REPORT, size=TextSize(), final=True, outcome=Outcome.COMPLETED)
    assert holds.settled == [0]


async def test_a_void_does_not_wait_for_a_database_that_is_away_and_goes_on_by_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(settlement, "VOID_WAIT_SECONDS", 0)
    holds = SlowHolds()
    request = metered(holds)
    await request.void(outcome=Outcome.UPSTREAM_FAILED, status=502)
    assert holds.settled == []
    assert "void still waiting for the database" in caplog.text
    holds.may_settle.set()
    monkeypatch.setattr(settlement, "VOID_WAIT_SECONDS", 30)
    await request.void(outcome=Outcome.INTERRUPTED, status=503)
    assert holds.settled == [0]


async def test_a_void_that_cannot_even_be_queued_is_left_to_the_sweeper(
    caplog: pytest.LogCaptureFixture,
) -> None:
    holds = RefusingHolds(LedgerUnavailable("stopped"), also_voids=True)
    await metered(holds).void(outcome=Outcome.UPSTREAM_FAILED, status=502)
    assert "the sweeper will do it" in caplog.text


async def test_nothing_beyond_the_hold_is_debited_and_the_rest_is_told_to_the_operator(
    caplog: pytest.LogCaptureFixture,
) -> None:
    holds = SlowHolds()
    holds.may_settle.set()
    bill = await metered(holds, held_micro=7_000).capture(
        REPORT, size=TextSize(), final=True, outcome=Outcome.COMPLETED
    )
    assert (bill.cost_micro, holds.settled) == (7_000, [7_000])
    [beyond] = [record for record in caplog.records if record.message == "usage beyond the hold"]
    assert vars(beyond)["uncovered_micro"] == 5 * 1_000 + 2 * 3_000 - 7_000


async def test_a_client_that_left_counts_with_its_whole_prompt_whatever_is_billed() -> None:
    holds, limits = SlowHolds(), NoLimits()
    holds.may_settle.set()
    request = metered(holds, limits=limits)
    nothing = Report(Usage(0, 0), {})
    await request.capture(nothing, size=TextSize(), final=True, outcome=Outcome.CLIENT_LEFT)
    assert limits.counted == [request.request.prompt_estimate]


@pytest.mark.parametrize(("reported", "counted"), [(40, 40), (60, 60), (61, 30), (10**9, 30)])
async def test_an_absurd_report_locks_no_key_out(reported: int, counted: int) -> None:
    limits = NoLimits()
    request = metered(SlowHolds(), limits=limits, prompt_bound=20, output_limit=10)
    await request.release_limits(reported)
    assert limits.counted == [counted]
