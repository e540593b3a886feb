"""Child processes started in stages, started again when they die, renewed on request, stopped in the opposite order."""

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


class NotReadyError(Exception):
    """A child that was to take another's place did not become ready; the message ends with its last log lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """What to run and how to end it: `stop` asks, and after `grace_seconds` (or at once, in a hurry) `force` makes it.

    `argv` brings its own leash when `leashed`, because an engine's has to stand behind its change of user. It
    inherits the file descriptors `fds`. `on_end` is told the number of each of its processes that has ended. One that
    is not vital may die as often as it likes; it is then tried again once a minute.
    """

    name: str
    argv: Sequence[str]
    leashed: bool = False
    stop: signal.Signals = signal.SIGTERM
    force: signal.Signals = signal.SIGKILL
    grace_seconds: float = 10
    fds: tuple[int, ...] = ()
    on_end: Callable[[int], None] | None = None
    is_vital: bool = True


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
        self._reload = asyncio.Event()

    async def run(
        self,
        start: Callable[[], Awaitable[None]],
        *,
        reload: Callable[[], Awaitable[None]],
        on_stop: Callable[[], None],
    ) -> None:
        """Returns when a signal asked for the end and every child is gone. SIGUSR1 calls `reload`.

        `on_stop` is called at the end, before the first child is stopped.

        Raises KeepsDyingError, or what `start` raised.
        """
        self._listen()
        starting = asyncio.ensure_future(start())
        reloading = asyncio.create_task(self._reload_when_asked(starting, reload))
        try:
            await asyncio.wait({starting, self._over}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
            await self._over
        finally:
            if not self._over.done():
                self._over.cancel()
            starting.cancel()
            reloading.cancel()
            await asyncio.gather(starting, reloading, self._over, return_exceptions=True)
            on_stop()
            for stage in reversed(self._stages):
                await asyncio.gather(*(keeper.end() for keeper in stage))

    def start(self, *children: Child) -> None:
        """Starts one stage. Stages are stopped last first; the children of one stage are stopped together."""
        self._stages.append([self._keep(child) for child in children])

    async def replace(self, name: str, *, ready_seconds: float) -> None:
        """Puts a new process in the place of each child of that name, one after another, with no gap between.

        The new one gets `--ready-fd N` and writes to it when it can do the old one's work, which is stopped then.
        Raises NotReadyError; whoever has not been replaced then goes on.
        """
        for stage, old in self._named(name):
            reader, writer = os.pipe()
            try:
                new = self._keep(old.child, ready_fd=writer)
                stage.append(new)
                ready = await _is_written(reader, seconds=ready_seconds)
            finally:
                os.close(reader)
            last = old if ready else new
            await last.end()
            stage.remove(last)
            if not ready:
                raise NotReadyError(f"The new {name} did not become ready. {new.last_words()}")

    async def restart(self, name: str) -> None:
        """Stops each child of that name and starts it again."""
        for stage, old in self._named(name):
            await old.end()
            stage[stage.index(old)] = self._keep(old.child)

    def _named(self, name: str) -> list[tuple[list["_Keeper"], "_Keeper"]]:
        return [(stage, keeper) for stage in self._stages for keeper in stage if keeper.child.name == name]

    def _keep(self, child: Child, *, ready_fd: int | None = None) -> "_Keeper":
        keeper = _Keeper(child, self._logs / f"{child.name}.log", self._say, self._hurry, ready_fd)
        keeper.task.add_done_callback(self._child_given_up)
        return keeper

    async def _reload_when_asked(
        self, starting: "asyncio.Future[None]", reload: Callable[[], Awaitable[None]]
    ) -> None:
        await asyncio.wait({starting})
        while True:
            await self._reload.wait()
            self._reload.clear()  # asked again meanwhile, it is done again
            try:
                await reload()
            except Exception as error:  # what has not been renewed goes on
                self._say(f"Not reloaded. {error}")

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # started under nohup
            loop.add_signal_handler(number, self._asked_to_stop)
        loop.add_signal_handler(signal.SIGUSR1, self._reload.set)

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
    """Keeps one child running until `end`. Its first process is told of `ready_fd`, which is closed here."""

    def __init__(
        self,
        child: Child,
        log: Path,
        say: Callable[[str], None],
        hurry: asyncio.Event,
        ready_fd: int | None,
    ) -> None:
        self.child = child
        self._log, self._say, self._hurry = log, say, hurry
        self._process: asyncio.subprocess.Process | None = None
        self._ending: asyncio.Task[None] | None = None
        rotate(log)
        self.task = asyncio.create_task(self._keep(ready_fd))

    async def _keep(self, ready_fd: int | None) -> None:
        deaths: list[float] = []
        while self._ending is None:
            how = await self._live(ready_fd)
            ready_fd = None
            if self._ending is not None:
                return
            now = time.monotonic()
            deaths = [*(at for at in deaths if now - at < DEATHS_WINDOW_SECONDS), now]
            keeps_dying = len(deaths) >= DEATHS_MAX
            if keeps_dying and self.child.is_vital:
                raise KeepsDyingError(self._obituary(deaths, how))
            when = " in a minute" if keeps_dying else ""
            self._say(f"{self.child.name} ended ({how}); starting it again{when}. Its log: {self._log}")
            await asyncio.sleep(DEATHS_WINDOW_SECONDS if keeps_dying else 0.1 * 2 ** len(deaths))

    async def _live(self, ready_fd: int | None) -> str:
        """Runs one process to its end and returns how it ended; one that cannot start has ended, too."""
        try:
            self._process = await self._spawn(ready_fd)
        except OSError as error:  # no memory, process or descriptor is left for it now; there may be soon
            return f"not started: {error}"
        how = ending(await self._process.wait())
        if self.child.on_end is not None:
            self.child.on_end(self._process.pid)
        return how

    async def _spawn(self, ready_fd: int | None) -> asyncio.subprocess.Process:
        argv, fds = list(self.child.argv), self.child.fds
        if ready_fd is not None:
            argv, fds = [*argv, "--ready-fd", str(ready_fd)], (*fds, ready_fd)
        if not self.child.leashed:
            argv = leash.argv(argv)
        try:
            with self._log.open("ab") as log:
                # A session of its own, so that Ctrl-C reaches the supervisor alone and the order of the end is ours.
                return await asyncio.create_subprocess_exec(
                    *argv, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                    pass_fds=fds,
                )  # fmt: skip
        finally:
            if ready_fd is not None:
                os.close(ready_fd)

    async def end(self) -> None:
        """Stops the child, forcing it when its grace is over or the operator is in a hurry."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)  # a reload that is given up leaves it to the stop to wait on

    async def _end(self) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            waiting = asyncio.create_task(process.wait())
            hurry = asyncio.create_task(self._hurry.wait())
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(self.child.stop)
            await asyncio.wait(
                {waiting, hurry}, timeout=self.child.grace_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            for number, seconds in ((self.child.force, HURRIED_SECONDS), (signal.SIGKILL, None)):
                if not waiting.done():
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, number)
                    await asyncio.wait({waiting}, timeout=seconds)
            hurry.cancel()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def _obituary(self, deaths: list[float], how: str) -> str:
        seconds = max(1, round(deaths[-1] - deaths[0]))
        return (
            f"{self.child.name} died {len(deaths)} times in {seconds} s (the last time: {how}). "
            f"{self.last_words()}"
        )

    def last_words(self) -> str:
        try:
            lines = "\n".join(f"  {line}" for line in last_lines(self._log))
        except OSError as error:
            return f"Its log cannot be read: {error}"
        return f"The last lines of {self._log}:\n{lines}"


async def _is_written(fd: int, *, seconds: float) -> bool:
    """Whether something is written to the pipe in that time, before its last writer closes it."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(fd, readable.set)
    try:
        async with asyncio.timeout(seconds):
            await readable.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(fd)
    return bool(os.read(fd, 1))


def ending(code: int) -> str:
    """How a process ended, for people: `status 3` or `SIGKILL`."""
    return signal.Signals(-code).name if code < 0 else f"status {code}"


def last_lines(log: Path) -> list[str]:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 16_384))
        return file.read().decode(errors="replace").splitlines()[-LAST_LINES:]


def rotate(log: Path) -> None:
    """Moves a log that has grown large aside, in place of the one before."""
    if log.exists() and log.stat().st_size > LOG_MAX_BYTES:
        log.replace(log.with_suffix(".log.1"))
