"""What is done to the cluster, drawn from a seed, each until the service is back without what was lost."""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
import psutil

from tests.chaos.cluster.stack import ClusterStack
from tests.chaos.faults import Disruption

# How often each is drawn, of a hundred.
MENU = {
    "kill the primary's PostgreSQL": 16,
    "power off the primary's machine": 12,
    "cut the primary off from everybody": 9,
    "cut the primary off from the other databases": 7,
    "freeze the primary's machine": 6,
    "freeze the primary's Patroni": 4,
    "switch over": 12,
    "power off the second machine": 6,
    "power off a web machine": 6,
    "kill a web process": 5,
    "kill a Valkey node": 6,
    "kill the queue": 2,
    "kill etcd's leader": 6,
    "freeze all of etcd": 2,
    "kill a pooler": 1,
}
# After these another machine becomes the primary.
DEATHS = frozenset(
    {
        "kill the primary's PostgreSQL", "power off the primary's machine", "cut the primary off from everybody",
        "cut the primary off from the other databases", "freeze the primary's machine",
        "freeze the primary's Patroni", "switch over",
    }
)  # fmt: skip
OTHERS_SECONDS = 4.0  # what is not a death lasts so long
TAKEN_OVER_SECONDS = 30
AFTERWARDS_SECONDS = 1.5  # under the new primary, while the old one is still away


@dataclass(frozen=True, slots=True)
class Round:
    """`disruptions` are of web processes, in the verdict's words; `limits_apart`: whether Valkey was touched."""

    what: str
    began: float
    ended: float
    taken_over_seconds: float | None = None
    disruptions: list[Disruption] = field(default_factory=list)
    limits_apart: bool = False


def schedule(seed: int, rounds: int) -> list[str]:
    """Every kind once, then as they are drawn; the same for the same seed."""
    chosen = random.Random(seed)
    first = list(MENU)
    chosen.shuffle(first)
    return (first + chosen.choices(list(MENU), list(MENU.values()), k=rounds))[:rounds]


async def inflict(stack: ClusterStack, what: str, chosen: random.Random) -> Round:
    """Does it, waits until the service is back, puts everything in order and waits until nothing is missing."""
    while (primary := await stack.primary()) is None:  # noqa: ASYNC110 - asked over the network
        await asyncio.sleep(0.2)
    began = time.monotonic()
    disrupted: list[int] = []
    if what in DEATHS:
        heal = await _at_the_primary(stack, what, primary)
        taken_over = await _taken_over(stack, primary, began)
        await asyncio.sleep(AFTERWARDS_SECONDS)
        await heal()
    else:
        taken_over = None
        heal = await _elsewhere(stack, what, primary, chosen, disrupted)
        await asyncio.sleep(OTHERS_SECONDS)
        await heal()
    await stack.wait_until_ready()
    ended = time.monotonic()
    return Round(
        what, began, ended, taken_over,
        [Disruption(f"web-{number}", began, ended) for number in disrupted],
        limits_apart="machine" in what or "Valkey" in what or "cut the primary" in what,
    )  # fmt: skip


Heal = Callable[[], Awaitable[None]]


async def _at_the_primary(stack: ClusterStack, what: str, primary: str) -> Heal:
    box = stack.boxes[primary]
    if what == "kill the primary's PostgreSQL":
        for process in [each for each in box.processes() if _is_postgres(each)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        return _nothing
    if what == "power off the primary's machine":
        stack.power_off(primary)
        return lambda: stack.start_machine(primary)
    if what == "cut the primary off from everybody":
        box.pull_cable()
        return _plug_in(box.plug_in)
    if what == "cut the primary off from the other databases":
        for machine in stack.made.databases:
            if machine.name != primary:
                box.talk_past(machine.address)
        return _plug_in(box.plug_in)
    if what == "freeze the primary's machine":
        box.signal(signal.SIGSTOP)
        return _plug_in(lambda: box.signal(signal.SIGCONT))
    if what == "freeze the primary's Patroni":
        patroni = stack.parts[f"{primary}/patroni"]
        patroni.signal(signal.SIGSTOP)
        return _plug_in(lambda: patroni.signal(signal.SIGCONT))
    await _switch_over(stack, primary)
    return _nothing


async def _elsewhere(
    stack: ClusterStack, what: str, primary: str, chosen: random.Random, disrupted: list[int]
) -> Heal:
    number = chosen.randrange(len(stack.made.webs))
    web = stack.made.webs[number].name
    if what == "power off the second machine":
        members = await stack.members()
        [second] = [each["name"] for each in members if each["role"] == "sync_standby"]
        stack.power_off(second)
        return lambda: stack.start_machine(second)
    if what == "power off a web machine":
        disrupted.append(number)
        stack.power_off(web)
        return lambda: stack.start_machine(web)
    if what == "freeze all of etcd":
        parts = [stack.parts[f"{machine.name}/etcd"] for machine in stack.made.databases]
        for part in parts:
            part.signal(signal.SIGSTOP)

        async def thaw() -> None:
            await asyncio.sleep(stack.made.lease_seconds)
            for part in parts:
                part.signal(signal.SIGCONT)

        return thaw
    if what == "kill a web process":
        disrupted.append(number)
        name = f"{web}/web"
    elif what == "kill a Valkey node":
        name = f"{chosen.choice(stack.made.databases).name}/valkey-{chosen.choice('ab')}"
    elif what == "kill the queue":
        name = f"{web}/valkey-queue"
    elif what == "kill a pooler":
        name = f"{web}/pgbouncer"
    else:
        name = f"{await _etcd_leader(stack)}/etcd"
    await stack.parts[name].kill()
    return stack.parts[name].start


async def _taken_over(stack: ClusterStack, old: str, began: float) -> float:
    """How long until another machine says that it has the primary."""
    while time.monotonic() - began < TAKEN_OVER_SECONDS:
        for machine in stack.made.databases:
            if machine.name != old and await stack.answers(f"http://{machine.address}:8008/primary"):
                return time.monotonic() - began
        await asyncio.sleep(0.1)
    return TAKEN_OVER_SECONDS


async def _switch_over(stack: ClusterStack, primary: str) -> None:
    url = f"http://{stack.boxes[primary].address}:8008/switchover"
    auth = aiohttp.BasicAuth("hamiran", stack.secrets["patroni_password"])
    async with stack.http.post(url, json={"leader": primary}, auth=auth) as response:
        assert response.status in {200, 202}, await response.text()


async def _etcd_leader(stack: ClusterStack) -> str:
    for machine in stack.made.databases:
        async with stack.http.post(
            f"http://{machine.address}:2379/v3/maintenance/status", json={}
        ) as response:
            status = await response.json()
            if status["leader"] == status["header"]["member_id"]:
                return machine.name
    return stack.made.databases[0].name


def _is_postgres(process: psutil.Process) -> bool:
    try:
        return bool(process.name() == "postgres")
    except psutil.Error:
        return False


def _plug_in(act: Callable[[], None]) -> Heal:
    async def heal() -> None:
        act()

    return heal


async def _nothing() -> None:
    return None
