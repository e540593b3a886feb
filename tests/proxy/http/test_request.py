"""Work for a client: ended when it leaves, and never lost when the server stops in the moment in which it is done."""

import asyncio
from typing import Any

import pytest

from proxy.http.request import APIRequest, ClientDisconnected


class Client:
    """Stays until `left` is set."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}


def request_of(client: Client) -> APIRequest:
    scope = {"type": "http", "method": "POST", "path": "/v1/x", "headers": [], "hamiran.abort": lambda: None}
    return APIRequest(scope, client.receive)


async def test_work_is_told_and_cancelled_when_its_client_leaves() -> None:
    client, told = Client(), []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    client.left.set()
    with pytest.raises(ClientDisconnected):
        await request_of(client).while_connected(work(), on_left=lambda: told.append("left"))
    assert told == ["left", "cancelled"]


async def test_work_that_a_stop_cancels_is_not_told_that_its_client_left() -> None:
    told: list[str] = []
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    serving = asyncio.create_task(
        request_of(Client()).while_connected(work(), on_left=lambda: told.append("left"))
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
        has.append(await request_of(Client()).while_connected(work(), on_left=lambda: None))
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
