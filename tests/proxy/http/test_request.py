"""Work for a client: ended when it leaves, and never lost when the server stops in the moment in which it is done."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from proxy.http.request import APIRequest
from proxy.wire.exchange import ClientLeft, Exchange


def exchange() -> Exchange:
    scope = {"type": "http", "method": "POST", "path": "/v1/x", "headers": []}
    transport, flow = cast(Any, SimpleNamespace()), cast(Any, SimpleNamespace())
    return Exchange(
        scope, transport=transport, flow=flow, default_headers=[], has_chunks=True, expects_continue=False,
        keep_alive=True, on_response=lambda: None,
    )  # fmt: skip


def leave(of: Exchange) -> None:
    """As the protocol says it of a connection that is lost."""
    of.disconnected = True
    of.message_event.set()


async def test_work_is_told_and_cancelled_when_its_client_leaves() -> None:
    client, told = exchange(), []
    begun = asyncio.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    serving = asyncio.create_task(
        APIRequest(client).while_connected(work(), on_left=lambda: told.append("left"), seconds=60)
    )
    await begun.wait()
    leave(client)
    with pytest.raises(ClientLeft):
        await serving
    assert told == ["left", "cancelled"]


async def test_work_for_a_client_that_has_left_before_is_not_begun() -> None:
    client, told = exchange(), []
    leave(client)

    async def work() -> None:
        told.append("begun")

    with pytest.raises(ClientLeft):
        await APIRequest(client).while_connected(work(), on_left=lambda: told.append("left"), seconds=60)
    assert told == ["left"]


async def test_work_that_a_stop_cancels_is_not_told_that_its_client_left() -> None:
    told: list[str] = []
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    serving = asyncio.create_task(
        APIRequest(exchange()).while_connected(work(), on_left=lambda: told.append("left"), seconds=60)
    )
    await begun.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert told == []


async def test_a_result_of_the_very_moment_of_a_stop_reaches_the_caller_who_is_cancelled_at_the_next_step() -> (
    None
):
    may_end, has = asyncio.Event(), []

    async def work() -> str:
        await may_end.wait()
        return "a relay with a hold behind it"

    async def serve() -> None:
        has.append(await APIRequest(exchange()).while_connected(work(), on_left=lambda: None, seconds=60))
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            has.append("cancelled")
            raise

    serving = asyncio.create_task(serve())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    may_end.set()
    await asyncio.sleep(0)  # the work ends in this step, and its caller has not been told yet
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert has == ["a relay with a hold behind it", "cancelled"]
