"""What one key may make this process read and refuse per minute, and which large body is parsed next.

Each process counts for itself, since it guards its own time and memory.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field

MINUTE_SECONDS = 60.0
# Bodies up to here are bounded by RPM alone; larger ones are counted before they are read.
SMALL_BODY_BYTES = 64 * 1024
LARGE_BODY_BYTES = 1024 * 1024
# No tokenizer makes less than one token of this many bytes of text; for media, each request brings a megabyte.
BYTES_PER_TOKEN = 16
MEDIA_BYTES_PER_REQUEST = 1024 * 1024
MIN_REFUSALS = 100
ANY_TIME = nullcontext()


@dataclass(slots=True)
class _Minute:
    entries: deque[tuple[float, int]] = field(default_factory=deque)  # (at, amount), oldest first
    total: int = 0


class PerMinute:
    """Amounts by key over any 60 seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._minutes: OrderedDict[int, _Minute] = OrderedDict()  # least recently added to first

    def __len__(self) -> int:
        return len(self._minutes)

    def wait_seconds(self, key_id: int, amount: int, *, limit: int) -> float:
        """0 if `amount` fits, else how long until it does (for one above the limit: until the window is empty)."""
        minute = self._minutes.get(key_id)
        if minute is None:
            return 0.0
        now = self._clock()
        self._forget(minute, now)
        over, wait = minute.total + amount - limit, 0.0
        for at, taken in minute.entries:
            if over <= 0:
                break
            over -= taken
            wait = at + MINUTE_SECONDS - now
        return wait

    def add(self, key_id: int, amount: int) -> None:
        now = self._clock()
        minute = self._minutes.setdefault(key_id, _Minute())
        self._forget(minute, now)
        minute.entries.append((now, amount))
        minute.total += amount
        self._minutes.move_to_end(key_id)
        while (oldest := next(iter(self._minutes))) != key_id:
            entries = self._minutes[oldest].entries
            if entries and entries[-1][0] > now - MINUTE_SECONDS:
                break
            del self._minutes[oldest]

    def take_back(self, key_id: int, amount: int) -> None:
        """Undoes an `add` of a moment ago."""
        minute = self._minutes.get(key_id, _Minute())
        for number in reversed(range(len(minute.entries))):
            if minute.entries[number][1] == amount:
                del minute.entries[number]
                minute.total -= amount
                return

    def _forget(self, minute: _Minute, now: float) -> None:
        while minute.entries and minute.entries[0][0] <= now - MINUTE_SECONDS:
            minute.total -= minute.entries.popleft()[1]


class Intake:
    """What one process takes in; one per event loop."""

    def __init__(self) -> None:
        self.bytes = PerMinute()
        self.refusals = PerMinute()
        self.counts = PerMinute()  # prompts whose tokens were counted
        self._turn = asyncio.Lock()
        self._next_turn_at = 0.0

    def turn(self, body_bytes: int) -> AbstractAsyncContextManager[None]:
        """Large bodies one at a time, each followed by a pause as long as it took, in which other requests run."""
        return ANY_TIME if body_bytes <= LARGE_BODY_BYTES else self._one_at_a_time()

    @asynccontextmanager
    async def _one_at_a_time(self) -> AsyncIterator[None]:
        async with self._turn:
            await asyncio.sleep(self._next_turn_at - time.monotonic())
            began = time.monotonic()
            try:
                yield
            finally:
                now = time.monotonic()
                self._next_turn_at = now + (now - began)


def max_refusals(rpm: int) -> int:
    """How many requests of a key may be refused per minute before it is refused unread.

    Never below RPM, so that a client that waits as it is told never meets it.
    """
    return max(MIN_REFUSALS, rpm)


def max_bytes(*, rpm: int, tpm: int, body_max_bytes: int) -> int:
    """How many bytes of larger bodies a key may send per minute; one body of the largest size always passes."""
    return max(body_max_bytes, BYTES_PER_TOKEN * tpm, MEDIA_BYTES_PER_REQUEST * rpm)
