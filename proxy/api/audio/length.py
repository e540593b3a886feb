"""How long a sound is that a client has sent, measured by a program of its own (proxy/api/audio/measure.py)."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from weakref import WeakValueDictionary

from proxy.errors import APIError, busy

PROGRAM = Path(__file__).with_name("measure.py")
WAIT_SECONDS = 30.0
AT_ONCE = 2
FORMATS = "flac, mp3, mp4, m4a, ogg, wav and webm, and AAC"
# What the program needs to find Python and its modules; nothing of the operator's secrets.
KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")


@dataclass(slots=True)
class _Turns:
    """A few at a time, so that sound does not take the processors from everything else, and one per account, so that
    slow files of one customer do not hold up all others."""

    all: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    accounts: WeakValueDictionary[int, asyncio.Lock] = field(default_factory=WeakValueDictionary)


_running: dict[asyncio.AbstractEventLoop, _Turns] = {}


async def measure(file: IO[bytes], *, param: str, user_id: int) -> int:
    """Whole seconds, rounded up. Raises APIError invalid_value for what cannot be measured, service_unavailable."""
    file.seek(0)
    async with _turn(user_id):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", str(PROGRAM),
            stdin=file, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env={name: os.environ[name] for name in KEPT if name in os.environ},
        )  # fmt: skip
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                said, _errors = await process.communicate()
        except TimeoutError:
            said = b""
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
    if process.returncode == 0 and said.strip().isdigit():
        return int(said)
    raise APIError(
        "invalid_value",
        param=param,
        message=f"No sound could be measured in this file, so it cannot be billed. These formats can be: {FORMATS}.",
    )


@contextlib.asynccontextmanager
async def _turn(user_id: int) -> AsyncIterator[None]:
    turns = _running.setdefault(asyncio.get_running_loop(), _Turns())
    own = turns.accounts.setdefault(user_id, asyncio.Lock())
    async with contextlib.AsyncExitStack() as held:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await held.enter_async_context(own)
                await held.enter_async_context(turns.all)
        except TimeoutError:
            raise busy() from None
        yield
