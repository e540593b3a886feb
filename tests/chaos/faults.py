"""What is done to the stack, drawn from a seed: kills, freezes, broken connections, and time that passes."""

import asyncio
import contextlib
import random
import signal
import time
from dataclasses import dataclass

import psutil
import psycopg

from tests.chaos.stack import Stack, with_orm
from wallet.ledger import holds

KILLED = {"web-0": 5, "web-1": 5, "worker": 4, "beat": 1, "postgres": 6, "one backend": 2, "valkey": 5}
FROZEN = {"web-0": 2, "web-1": 2, "worker": 1, "postgres": 2, "valkey": 2}
STOPPED = {"web-0": 2, "web-1": 2}  # in order, as a deployment does
CONNECTION = {"cut": 2, "stall": 2, "lose_replies": 4, "half_close": 2}
TIME_PASSES = 3

# As if everything that is open had been open for an hour.
AGE_HOLDS = """
UPDATE wallet_hold SET created_at = created_at - interval '1 hour', expires_at = now() - interval '1 second'
WHERE expires_at > now()
"""


@dataclass(frozen=True, slots=True)
class Fault:
    """`what` is done to `whom` after `pause_seconds` of peace, for `seconds`."""

    what: str
    whom: str
    pause_seconds: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.what} {self.whom}".strip()


@dataclass(frozen=True, slots=True)
class Disruption:
    """When a part was not itself, on the monotonic clock."""

    part: str
    began: float
    ended: float


def schedule(seed: int, rounds: int) -> list[Fault]:
    """The same for the same seed."""
    chosen = random.Random(seed)
    menu = [
        *((("kill", name), weight) for name, weight in KILLED.items()),
        *((("freeze", name), weight) for name, weight in FROZEN.items()),
        *((("stop", name), weight) for name, weight in STOPPED.items()),
        *(((what, str(number)), weight / 2) for what, weight in CONNECTION.items() for number in (0, 1)),
        (("time passes", ""), TIME_PASSES),
    ]
    drawn = chosen.choices([fault for fault, _ in menu], [weight for _, weight in menu], k=rounds)
    return [
        Fault(what, whom, round(chosen.uniform(0.05, 0.6), 3), round(chosen.uniform(0.02, 1.2), 3))
        for what, whom in drawn
    ]


async def inflict(stack: Stack, fault: Fault) -> Disruption:
    """Does it, waits its time, and puts everything back to work."""
    await asyncio.sleep(fault.pause_seconds)
    began = time.monotonic()
    if fault.what == "kill":
        await _kill(stack, fault)
    elif fault.what == "stop":
        await stack.parts[fault.whom].stop()
        await stack.parts[fault.whom].start()
    elif fault.what == "freeze":
        stack.parts[fault.whom].signal(signal.SIGSTOP)
        await asyncio.sleep(fault.seconds)
        stack.parts[fault.whom].signal(signal.SIGCONT)
    elif fault.what == "time passes":
        await _let_time_pass(stack)
    else:
        proxy = stack.proxies[int(fault.whom)]
        getattr(proxy, fault.what)()
        await asyncio.sleep(fault.seconds)
        proxy.heal()
    await stack.wait_until_ready()
    return Disruption(fault.whom, began, time.monotonic())


async def _kill(stack: Stack, fault: Fault) -> None:
    if fault.whom == "one backend":
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            backends = [
                process for process in stack.parts["postgres"].family()[1:]
                if "hamiran hamiran" in " ".join(process.cmdline())
            ]  # fmt: skip
            backends[int(fault.seconds * 1000) % len(backends)].kill()
        return
    part = stack.parts[fault.whom]
    await part.kill()
    await asyncio.sleep(fault.seconds)
    await part.start()


async def _let_time_pass(stack: Stack) -> None:
    """Holds of running requests expire under them, and the sweep that Celery would run finds them."""
    await age(stack.database_url, AGE_HOLDS)
    await with_orm(holds.sweep_expired)


async def age(conninfo: str, sql: str) -> int:
    """Runs `sql` and returns how many rows it touched."""
    async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as database:
        return (await database.execute(sql.encode())).rowcount
