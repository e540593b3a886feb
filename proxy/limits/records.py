"""What accounts have used of the day, by the records: asked for what Valkey or this process does not know."""

import asyncio
import time
from collections import OrderedDict

from proxy.limits import day
from proxy.limits.admission import Extent

ASK_SECONDS, KEPT_SECONDS, KEPT_MAX = 5, 5.0, 10_000


class Records:
    """What accounts have used of the day, as the records say: of many that ask at once for one account, one reads."""

    def __init__(self, recorded: day.Recorded) -> None:
        self._recorded = recorded
        self._reading: dict[int, tuple[int, asyncio.Task[day.AccountDay]]] = {}
        self._read: OrderedDict[int, tuple[float, day.AccountDay]] = OrderedDict()

    async def read(self, user_id: int, now_ms: int) -> tuple[int, day.AccountDay]:
        """As they are now; with the time, by the clock of who asks, since when that is so."""
        if user_id not in self._reading:
            task = asyncio.create_task(self._ask(user_id, now_ms))
            self._reading[user_id] = now_ms, task
            task.add_done_callback(lambda done: self._keep(user_id, done))
        since_ms, task = self._reading[user_id]
        return since_ms, await asyncio.shield(task)

    async def lately(self, user_id: int) -> day.AccountDay:
        """As they were KEPT_SECONDS ago at most."""
        until, found = self._read.get(user_id, (0.0, None))
        if found is not None and time.monotonic() < until:
            return found
        _since, read = await self.read(user_id, int(time.time() * 1000))
        return read

    async def _ask(self, user_id: int, now_ms: int) -> day.AccountDay:
        async with asyncio.timeout(ASK_SECONDS):
            return await self._recorded(user_id, day.moment(now_ms))

    def _keep(self, user_id: int, done: "asyncio.Task[day.AccountDay]") -> None:
        del self._reading[user_id]
        if not done.cancelled() and done.exception() is None:
            self._read[user_id] = (time.monotonic() + KEPT_SECONDS, done.result())
            self._read.move_to_end(user_id)
            if len(self._read) > KEPT_MAX:
                self._read.popitem(last=False)


def uses(found: day.AccountDay, key_id: int, counted: Extent) -> tuple[day.Use, ...]:
    """For the windows of a request, in their order."""
    plain = (found.of(key_id), found.of(None))
    return (
        (*plain, found.of(key_id, counted.model), found.of(None, counted.model)) if counted.model else plain
    )
