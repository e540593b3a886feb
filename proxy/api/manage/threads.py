"""What the management API does in the database: transactions of the apps' own functions, in a few threads."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connection

from proxy.errors import busy

THREADS = 2  # and so many connections of each process
WAITING_MAX = 64

Result = TypeVar("Result")

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="manage")
_waiting = 0


async def run(work: Callable[[], Result]) -> Result:
    """What `work` returns. It is carried out to the end even if nobody waits any more. Raises APIError when busy."""
    global _waiting  # noqa: PLW0603 - of this process
    if _waiting >= WAITING_MAX:
        raise busy()
    _waiting += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(_threads, _alone, work)
    finally:
        _waiting -= 1


def _alone(work: Callable[[], Result]) -> Result:
    try:
        return work()
    finally:
        connection.close()  # in a pool's thread nobody else would ever do so
