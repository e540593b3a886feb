"""A stream whose upstream has said nothing yet: it begins with signs of life, so that its client goes on waiting."""

import asyncio
from collections.abc import Callable

from django.conf import settings

from proxy.errors import APIError, failed
from proxy.metering.call import PaidAnswer
from proxy.metering.endpoint import StreamedAnswer
from proxy.metering.relay import LAST_WORDS_SECONDS, Client, Relay
from proxy.upstreams.calls import drop_tracebacks


class AwaitedRelay:
    """Until `answering` has a relay, what is to come is not known; then that relay delivers.

    A failure before can have no status any more: it is the last event. `says` knows how both look. `on_left`: called
    when the client leaves meanwhile; None where the answer is wanted all the same.
    """

    def __init__(
        self,
        answering: "asyncio.Task[PaidAnswer | Relay]",
        says: StreamedAnswer,
        *,
        on_left: Callable[[], None] | None,
        request_id: object,
    ) -> None:
        self._answering, self._says = answering, says
        self._on_left, self._request_id = on_left, request_id

    async def deliver(self, client: Client) -> None:
        client.on_gone = self._client_gone
        if client.gone:
            self._client_gone()
        try:
            relay = await self._relay(client)
        finally:
            client.on_gone = None
        if relay is not None:
            await relay.deliver(client)

    async def _relay(self, client: Client) -> Relay | None:
        """None where there is none, which the client has been told."""
        answering = self._answering
        try:
            while not answering.done():
                if not client.is_full:
                    client.push(self._says.alive())
                await asyncio.wait({answering}, timeout=settings.STREAM_PING_SECONDS)
        except asyncio.CancelledError:
            await self.abandon("stopped")
            await self._say(client, APIError("service_unavailable"))
            raise
        if answering.cancelled():  # because the client left
            return None
        try:
            return _relay_of(answering)
        except Exception as error:
            told = error if isinstance(error, APIError) else failed(error, request_id=self._request_id)
            drop_tracebacks(error)
            await self._say(client, told)
        return None

    async def _say(self, client: Client, error: APIError) -> None:
        said = self._says.failed(error)
        assert said is not None  # as it could give signs of life
        by = asyncio.get_running_loop().time() + LAST_WORDS_SECONDS
        await client.write(said, by=by, last=True)

    async def abandon(self, reason: str) -> None:
        """Gives up without blame on either side: nothing is charged."""
        self._answering.cancel()
        await asyncio.wait({self._answering})
        if not self._answering.cancelled() and self._answering.exception() is None:
            await _relay_of(self._answering).abandon(reason)

    def _client_gone(self) -> None:
        if self._on_left is not None and not self._answering.done():
            self._on_left()
            self._answering.cancel()


def _relay_of(answering: "asyncio.Task[PaidAnswer | Relay]") -> Relay:
    relay = answering.result()
    assert isinstance(relay, Relay)  # a stream was asked for
    return relay
