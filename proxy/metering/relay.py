"""A streamed answer from upstream to client, and its settlement before the last bytes leave.

Upstream's bytes are pushed through to the client within the event loop's call that brings them: no task wakes for a
chunk. The task wakes when the client has to be waited for, and at the end.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from django.conf import settings

from proxy.catalogue.models import Upstream
from proxy.deadline import Deadline
from proxy.errors import APIError, failed
from proxy.metering.bill import Bill
from proxy.metering.endpoint import BadAnswer, StreamedAnswer
from proxy.metering.settlement import Metered, Outcome
from proxy.metering.slices import Slices
from proxy.upstreams.calls import UpstreamCall, UpstreamFailed, UpstreamRefusal, drop_tracebacks, judged

KEEP_ALIVE_WAIT_SECONDS = 1.0
USAGE_WAIT_SECONDS = 3.0
LAST_WORDS_SECONDS = 1.0
# A reader who has held a write up for so long can have made upstream give up: what breaks then is its own doing.
HELD_UP_SECONDS = 0.5
COMMENTS_KEPT_BYTES = 64 * 1024


class Client(Protocol):
    """The reader at the other end. Nothing is written to one that left, or reads too slowly: such are `gone`.

    `on_gone` is called once, at the moment it is noticed. `by` is the event loop's time. `push` writes at once; once
    the client `is_full`, nothing more should be pushed before it has `drained`.
    """

    gone: bool
    on_gone: Callable[[], None] | None

    @property
    def is_full(self) -> bool: ...

    def push(self, data: bytes) -> None: ...

    async def drained(self, *, by: float = math.inf) -> None: ...

    async def write(self, data: bytes, *, by: float = math.inf, last: bool = False) -> None: ...

    def break_off(self) -> None: ...


class Relay:
    """Owns an upstream's response from its headers on. `deliver`, called once, settles whatever happens.

    The first event, by `first_by`, is the first one of a choice. `on_failure` is called when upstream fails after
    that. `feed` and `end` are for the response (proxy.wire.response.Sink).
    """

    def __init__(
        self,
        metered: Metered,
        response: UpstreamCall,
        answer: StreamedAnswer,
        *,
        deadline: float,
        first_by: float,
        on_failure: Callable[[], None],
    ) -> None:
        self._metered = metered
        self._deadline = deadline
        self._response = response
        self._answer = answer
        self._on_failure = on_failure
        self._first_by = min(first_by, deadline)
        self._first = b""
        self._loop = asyncio.get_running_loop()
        self._idle_seconds = settings.UPSTREAM_IDLE_TIMEOUT_SECONDS
        self._content_seconds = settings.UPSTREAM_CONTENT_TIMEOUT_SECONDS
        self._content_by = math.inf
        self._said = 0
        self._patience = Deadline(self._silent)
        self._signs = Deadline(self._sign)
        self._silence = ""
        self._held_up = False
        self._client: Client | None = None
        self._woken: asyncio.Future[None] | None = None
        self._is_paused = self._is_over = self._has_ended = False
        self._error: Exception | None = None  # that ended it
        self._ended_by: OSError | None = None
        self._refused: APIError | None = None  # why no more is held
        self._slices = Slices(metered, answer)
        self._recording = metered.recording
        self._last: bytes | None = None

    async def open(self) -> None:
        """Waits for the first event, so that a failure before it still has a status.

        Comments are none, but are kept for the client. Raises UpstreamFailed, UpstreamRefusal.
        """
        answer = self._answer
        try:
            while not (answer.begun or answer.done or answer.waits_for):
                first = await self._read(self._first_by)
                if answer.begun or len(self._first) + len(first) <= COMMENTS_KEPT_BYTES:
                    self._first += first
        except BaseException:
            self._close()
            raise
        self._metered.mark_first_byte()

    def upstream_header(self, name: bytes) -> str:
        """A header of upstream's answer; empty where there is none."""
        return self._response.content.headers.get(name, b"").decode("latin-1")

    async def deliver(self, client: Client) -> None:
        client.on_gone = self._client_gone
        try:
            await self._relay(client)
        except asyncio.CancelledError:
            # The money first, here and below: a client that has stopped reading holds up what is written to it.
            await self.abandon("stopped")
            await self._say(client, APIError("service_unavailable"))
            raise
        except Exception as error:
            said = failed(error, request_id=self._metered.request_id)
            await self.abandon("failed")
            await self._say(client, said)
        finally:
            self._close()
            client.on_gone = self._client = None

    async def _relay(self, client: Client) -> None:
        try:
            await self._pump(client)
            await _whatever_happens(self._finish(client))
        except (UpstreamFailed, UpstreamRefusal) as error:
            await self._fail(client, error)

    async def _say(self, client: Client, error: APIError) -> None:
        """The last event of a stream that fails here, where the server may be about to go."""
        await self._tell(client, error, by=self._loop.time() + LAST_WORDS_SECONDS)

    async def _tell(self, client: Client, error: APIError, *, by: float = math.inf) -> None:
        if (said := self._answer.failed(error)) is None:
            client.break_off()
        else:
            await client.write(said, by=by, last=True)

    async def abandon(self, reason: str) -> None:
        """Gives up without blame on either side: nothing is charged."""
        self._close()
        await self._metered.void(outcome=Outcome.INTERRUPTED, status=503, reason=reason)

    async def _pump(self, client: Client) -> None:
        """Relays until nothing more is to come. Raises UpstreamFailed, UpstreamRefusal."""
        answer = self._answer
        self._content_by = self._loop.time() + self._content_seconds
        self._signs.start(self._loop.time() + settings.STREAM_PING_SECONDS)
        self._client = client
        self._relayed(client, self._first)
        await self._drain(client)
        if client.gone and self._cancels():
            return
        self._go_on()
        self._response.content.consume(self)
        try:
            while not self._is_over:
                if self._slices.are_short:
                    await self._extend()
                elif self._is_paused:
                    await self._drain(client)
                    self._is_paused = False
                    self._go_on()
                    self._response.content.resume()
                else:
                    await self._wait()
            if self._error is not None:
                raise self._error
        except UpstreamFailed:
            left = client.gone and self._recording is None
            if left or not self._has_had_its_time():
                raise
            answer.cut()
            if not answer.is_cut:
                raise
        finally:
            self._signs.stop()
            self._error = None  # it holds this frame

    async def _wait(self) -> None:
        self._woken = self._loop.create_future()
        try:
            await self._woken
        finally:
            self._woken = None

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def _drain(self, client: Client) -> None:
        begun = self._loop.time()
        # Past the deadline here, it is the reader who is slow: it has left, and pays.
        await client.drained(by=self._deadline)
        waited = self._loop.time() - begun
        if waited > HELD_UP_SECONDS:
            self._held_up = True
            self._content_by += waited

    # --- from upstream --------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        if self._is_over:
            return
        try:
            relayed = self._answer.feed(data)
        except Exception as error:  # raised again in `_pump`
            self._stop(error)
        else:
            self._push(relayed)

    def end(self, error: OSError | None) -> None:
        self._has_ended, self._ended_by = True, error
        if self._is_over or (self._answer.waits_for and not self._is_unread):
            self._wake()
        else:
            self._conclude()

    def _conclude(self) -> None:
        error, self._ended_by = self._ended_by, None
        if error is not None:
            self._broken(error)
            return
        try:
            relayed = self._answer.end()
        except Exception as failure:  # raised again in `_pump`
            self._stop(failure)
        else:
            self._push(relayed)

    def _push(self, relayed: bytes) -> None:
        answer, client = self._answer, self._client
        assert client is not None
        if relayed and not (answer.failure and not answer.said_something):
            self._relayed(client, relayed)
        if client.is_full or answer.waits_for:
            self._is_paused = True
            self._patience.stop()
            self._response.content.pause()
            self._wake()
        else:
            self._go_on()
            if self._slices.are_short:
                self._wake()

    def _relayed(self, client: Client, data: bytes) -> None:
        client.push(data)
        if self._recording is not None:
            self._recording.add(data)

    def _go_on(self) -> None:
        """Waits for more, unless there is none."""
        answer = self._answer
        if answer.failure:
            self._stop(self._judged(answer.failure))
        elif answer.done:
            self._stop()
        elif not (self._is_over or answer.waits_for):
            now = self._loop.time()
            if self._said != answer.said_something:
                self._said = answer.said_something
                self._content_by = now + self._content_seconds
            self._patience.start(min(now + self._idle_seconds, self._content_by, self._deadline))

    def _broken(self, error: OSError) -> None:
        if self._silence and self._answer.finished:  # it did not break: it neither ends nor says more
            self._answer.stop()
            self._stop()
        else:
            failed = UpstreamFailed(self._silence or type(error).__name__, passing=not self._silence)
            failed.__cause__ = error.with_traceback(None)
            self._stop(failed)

    def _stop(self, error: Exception | None = None) -> None:
        """What ends it first counts."""
        if not self._is_over:
            self._is_over, self._error = True, error
            self._patience.stop()
            self._wake()

    @property
    def _is_unread(self) -> bool:
        return self._client is not None and self._client.gone

    async def _extend(self) -> None:
        """Has more held, ahead of what is relayed. An answer that waits for what is not covered ends here."""
        try:
            released = await self._slices.extend(lambda: self._is_over)
        except APIError as error:
            self._refused = error
            self._answer.cut()
            self._stop()
            return
        if self._is_over:
            return
        self._push(released)
        if self._has_ended and not (self._is_over or self._answer.waits_for):
            self._conclude()

    def _has_had_its_time(self) -> bool:
        """Whether an answer that has begun did not fail, but has used up the time that it may take."""
        answer = self._answer
        return bool(answer.size.estimate) and not answer.failure and self._loop.time() >= self._deadline

    # --- the end --------------------------------------------------------------------------------------------------

    async def _finish(self, client: Client) -> None:
        if client.gone:
            await self._bill(Outcome.CLIENT_LEFT, last=self._tail)
            return
        bill = await self._bill(Outcome.COMPLETED, last=self._tail)
        await client.write(self._tail(bill), last=True)
        if not self._answer.is_cut:
            await self._keep_connection()

    def _tail(self, bill: Bill) -> bytes:
        if self._last is None:  # made once: the answer is closed by it
            self._last = self._answer.tail(bill, refused=self._refused)
        return self._last

    async def _fail(self, client: Client, error: UpstreamFailed | UpstreamRefusal) -> None:
        answer = self._answer
        failed_at_once = answer.failure is not None and not answer.said_something
        if client.gone and not failed_at_once and self._recording is None:
            # What upstream made until the client left, or until it failed after that.
            await self._bill(Outcome.CLIENT_LEFT)
            return
        broke_off = answer.broke_off or not (answer.failure or self._silence)
        if self._held_up and broke_off and answer.size.estimate:
            await self._bill(Outcome.CLIENT_LEFT)
        elif isinstance(error, UpstreamRefusal):
            await self._metered.void(outcome=Outcome.REFUSED, status=error.status)
        else:
            if not error.operators:
                self._on_failure()
            reason = str(error) or "took too long"
            await self._metered.void(outcome=Outcome.UPSTREAM_FAILED, status=502, reason=reason)
        if isinstance(error, UpstreamRefusal):
            error.name_prompt(self._metered.request.prompt_field)
        told = error if isinstance(error, UpstreamRefusal) else APIError("upstream_error")
        await self._tell(client, told)

    async def _bill(self, outcome: Outcome, *, last: Callable[[Bill], bytes] | None = None) -> Bill:
        answer = self._answer
        if answer.is_cut:
            self._close()
            if self._refused is None and self._loop.time() < self._deadline:
                self._metered.alarm_output_beyond_hold()
        return await self._metered.capture(
            answer.report, size=answer.size, final=answer.is_final, outcome=outcome, last=last
        )

    async def _read(self, by: float) -> bytes:
        """Events to relay, maybe none yet, before anybody consumes them. Raises UpstreamFailed, UpstreamRefusal."""
        answer = self._answer
        if answer.failure:
            raise self._judged(answer.failure)
        self._patience.start(by)
        try:
            chunk = await self._response.content.readany()
        except OSError as error:
            drop_tracebacks(error)
            raise UpstreamFailed(self._silence or type(error).__name__, passing=not self._silence) from error
        finally:
            self._patience.stop()
        relayed = answer.feed(chunk) if chunk else answer.end()
        # A mere role is not worth a 200 before a failure that came with it.
        if answer.failure and not (relayed and answer.said_something):
            raise self._judged(answer.failure)
        return relayed

    def _judged(self, bad: BadAnswer) -> UpstreamFailed | UpstreamRefusal:
        if bad.status is None:
            return UpstreamFailed(str(bad))
        return judged(bad.status, bad.error, self._metered.route)

    def _sign(self) -> None:
        """Shows the client that it is not forgotten, unless an event has come a short while ago."""
        now, client = self._loop.time(), self._client
        due = self._content_by - self._content_seconds + settings.STREAM_PING_SECONDS
        if now >= due and client is not None:
            if not (self._is_over or client.is_full):
                client.push(self._answer.alive())
            due = now + settings.STREAM_PING_SECONDS
        self._signs.start(due)

    def _silent(self) -> None:
        self._silence = "silent for too long"
        self._response.close()  # wakes the reader

    def _close(self) -> None:
        self._patience.close()
        self._signs.close()
        self._response.close()

    def _cancels(self) -> bool:
        """Whether this upstream is told to stop, and then stops billing, when the client leaves.

        Not once the text is complete: the usage that is about to come says better than an estimate what to bill. Nor
        where the answer is kept: the repeat wants all of it.
        """
        if self._recording is not None:
            return False
        on_disconnect = self._metered.route.on_disconnect
        return on_disconnect == Upstream.OnDisconnect.CANCEL and not self._answer.finished

    def _client_gone(self) -> None:
        if self._cancels():
            self._response.close()  # wakes the reader
        elif self._answer.finished:
            self._deadline = min(self._deadline, self._loop.time() + USAGE_WAIT_SECONDS)
            self._patience.start(self._deadline)

    async def _keep_connection(self) -> None:
        """Waits for the few bytes after `[DONE]`, so that the connection can serve the next request."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KEEP_ALIVE_WAIT_SECONDS):
                while not self._has_ended:
                    await self._wait()


async def _whatever_happens(finish: Coroutine[Any, Any, None]) -> None:
    """Carries `finish` out even if the caller is cancelled meanwhile: what is paid for is also delivered."""
    task = asyncio.create_task(finish)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
