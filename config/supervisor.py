"""Child processes started in stages, started again when they die, and stopped in the opposite order."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from config import leash

DEATHS_MAX = 5
DEATHS_WINDOW_SECONDS = 60
LAST_LINES = 20
LOG_MAX_BYTES = 20 * 1024 * 1024
HURRIED_SECONDS = 5


class KeepsDyingError(Exception):
    """A child died too often in too short a time; the message ends with its last log lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """What to run and how to end it: `stop` asks, and after `grace_seconds` (or at once, in a hurry) `force` makes it.

    `argv` brings its own leash when `leashed`, because an engine's has to stand behind its change of user.
    """

    name: str
    argv: Sequence[str]
    leashed: bool = False
    stop: signal.Signals = signal.SIGTERM
    force: signal.Signals = signal.SIGKILL
    grace_seconds: float = 10


class Supervisor:
    """Runs one `start` coroutine, which starts children and waits for them to be ready, then keeps them running.

    Made inside the event loop that runs it.
    """

    def __init__(self, *, logs: Path, say: Callable[[str], None]) -> None:
        self._logs = logs
        self._say = say
        self._stages: list[list[_Keeper]] = []
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hurry = asyncio.Event()

    async def run(self, start: Callable[[], Awaitable[None]]) -> None:
        """Returns when a signal asked for the end and every child is gone.

        Raises KeepsDyingError, or what `start` raised.
        """
        self._listen()
        starting = asyncio.ensure_future(start())
        try:
            await asyncio.wait({starting, self._over}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
            await self._over
        finally:
            if not self._over.done():
                self._over.cancel()
            starting.cancel()
            await asyncio.gather(starting, self._over, return_exceptions=True)
            for stage in reversed(self._stages):
                await asyncio.gather(*(keeper.end() for keeper in stage))

    def start(self, *children: Child) -> None:
        """Starts one stage. Stages are stopped last first; the children of one stage are stopped together."""
        stage = [
            _Keeper(child, self._logs / f"{child.name}.log", self._say, self._hurry) for child in children
        ]
        self._stages.append(stage)
        for keeper in stage:
            keeper.task.add_done_callback(self._child_given_up)

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # started under nohup
            loop.add_signal_handler(number, self._asked_to_stop)

    def _asked_to_stop(self) -> None:
        if self._over.done():
            self._say("Stopping at once.")
            self._hurry.set()
        else:
            self._say("Stopping; open answers are let finish. Once more to hurry.")
            self._over.set_result(None)

    def _child_given_up(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) and not self._over.done():
            self._over.set_exception(error)


class _Keeper:
    """Keeps one child running until `end`."""

    def __init__(self, child: Child, log: Path, say: Callable[[str], None], hurry: asyncio.Event) -> None:
        self._child, self._log, self._say, self._hurry = child, log, say, hurry
        self._process: asyncio.subprocess.Process | None = None
        self._ending = False
        rotate(log)
        self.task = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        deaths: list[float] = []
        argv = self._child.argv if self._child.leashed else leash.argv(self._child.argv)
        while not self._ending:
            with self._log.open("ab") as log:
                # A session of its own, so that Ctrl-C reaches the supervisor alone and the order of the end is ours.
                self._process = await asyncio.create_subprocess_exec(
                    *argv, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            code = await self._process.wait()
            if self._ending:
                return
            now = time.monotonic()
            deaths = [*(at for at in deaths if now - at < DEATHS_WINDOW_SECONDS), now]
            if len(deaths) >= DEATHS_MAX:
                raise KeepsDyingError(self._obituary(deaths, code))
            self._say(f"{self._child.name} ended ({ending(code)}); starting it again. Its log: {self._log}")
            await asyncio.sleep(0.1 * 2 ** len(deaths))

    async def end(self) -> None:
        """Stops the child, forcing it when its grace is over or the operator is in a hurry."""
        self._ending = True
        process = self._process
        if process is not None and process.returncode is None:
            waiting = asyncio.create_task(process.wait())
            hurry = asyncio.create_task(self._hurry.wait())
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(self._child.stop)
            await asyncio.wait(
                {waiting, hurry}, timeout=self._child.grace_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            for number, seconds in ((self._child.force, HURRIED_SECONDS), (signal.SIGKILL, None)):
                if not waiting.done():
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, number)
                    await asyncio.wait({waiting}, timeout=seconds)
            hurry.cancel()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def _obituary(self, deaths: list[float], code: int) -> str:
        seconds = max(1, round(deaths[-1] - deaths[0]))
        lines = "\n".join(f"  {line}" for line in last_lines(self._log))
        return (
            f"{self._child.name} died {len(deaths)} times in {seconds} s (the last time: {ending(code)}). "
            f"The last lines of {self._log}:\n{lines}"
        )


def ending(code: int) -> str:
    """How a process ended, for people: `status 3` or `SIGKILL`."""
    return signal.Signals(-code).name if code < 0 else f"status {code}"


def last_lines(log: Path) -> list[str]:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 16_384))
        return file.read().decode(errors="replace").splitlines()[-LAST_LINES:]


def rotate(log: Path) -> None:
    """Puts a log that has grown large aside; the one before it goes."""
    if log.exists() and log.stat().st_size > LOG_MAX_BYTES:
        log.replace(log.with_suffix(".log.1"))
