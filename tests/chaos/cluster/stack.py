"""The cluster of deploy/cluster on machines of namespaces, whose parts can be killed, frozen and cut off one by one."""

import asyncio
import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from config import embedded, leash
from deploy.cluster import limits_cluster, run, services
from deploy.cluster.inventory import Inventory, Machine
from deploy.cluster.services import Service
from tests.chaos.cluster.machines import Box, lay_network
from tests.chaos.stack import NotReady, Part
from tests.live import ROOT

WELL_SECONDS = 90
LASTING_SECONDS = 2  # Patroni names a synchronous standby anew a moment after etcd has come back
ADDRESSES = {
    "databases": {f"db{n}": f"10.77.0.1{n}" for n in (1, 2, 3)},
    "webs": {f"web{n}": f"10.77.0.2{n}" for n in (1, 2)},
    "network": "10.77.0.0/24",
    "one_machine": False,
}
# Each web machine by an address of this one: the sandbox answers to no other.
DOORS = "defaults\n    mode tcp\n    timeout connect 3s\n    timeout client 90s\n    timeout server 90s\n"
DOOR = "listen {name}\n    bind 127.0.0.1:{port}\n    server {name} {address}:8000\n"
DOOR_PORT = 9001


def prepare(var_dir: Path) -> tuple[Inventory, dict[str, str]]:
    return run.prepare(ROOT / "deploy" / "cluster" / "loopback.toml", var_dir, **ADDRESSES)


def database_url(made: Inventory, secrets: dict[str, str]) -> str:
    """Straight to whichever machine has the primary."""
    hosts = ",".join(each.address for each in made.databases)
    return (
        f"postgresql://hamiran:{secrets['hamiran_password']}@{hosts}/hamiran?target_session_attrs=read-write"
    )


@dataclass
class ClusterStack:
    """`parts` are by `machine/service`; `urls` are those of the two web processes, `front` that of both."""

    var_dir: Path
    made: Inventory
    secrets: dict[str, str]
    tools: services.Tools
    http: aiohttp.ClientSession
    boxes: dict[str, Box] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{DOOR_PORT + n}" for n in range(len(self.made.webs))]

    @property
    def front(self) -> str:
        return f"http://{self.made.front.address}:{self.made.front_port}"

    @property
    def database_url(self) -> str:
        return database_url(self.made, self.secrets)

    async def start_engines(self) -> None:
        (self.var_dir / "logs").mkdir(exist_ok=True)
        lay_network()
        for machine in (*self.made.databases, *self.made.webs):
            self.boxes[machine.name] = Box(machine.name, machine.address)
            self.boxes[machine.name].power_on()
        for machine in self.made.databases:
            for service in services.of_database(self.made, machine, self.tools):
                self._add(machine, service)
        for machine in self.made.webs:
            for service in services.of_web(self.made, machine, self.tools):
                self._add(machine, service)
        for part in self.parts.values():
            await part.start()
        await asyncio.to_thread(run.retry, limits_cluster.form, self.made, self.secrets["valkey_password"])
        await asyncio.to_thread(embedded.wait_for_postgres, self.database_url, own=False, timeout_seconds=90)

    async def start_service(self) -> None:
        for machine in self.made.webs:
            env = {**os.environ, **services.product_env(self.made, machine)}
            await asyncio.to_thread(
                subprocess.run, [*services.PYTHON[:1], "manage.py", "collectstatic", "--noinput", "-v0"],
                cwd=ROOT, env=env, check=True,
            )  # fmt: skip
            for service in services.of_product(self.made, machine):
                self._add(machine, service)
        doors = self.var_dir / "doors.cfg"
        doors.write_text(
            DOORS + "".join(
                DOOR.format(name=each.name, port=DOOR_PORT + n, address=each.address)
                for n, each in enumerate(self.made.webs)
            )
        )  # fmt: skip
        [front] = services.of_front(self.made, self.tools)
        for name, argv in (("front", front.argv), ("doors", [self.tools.haproxy, "-db", "-f", str(doors)])):
            self.parts[name] = self._part(name, lambda argv=argv: leash.argv(argv))  # type: ignore[misc]
        for part in self.parts.values():
            if part.process is None:
                await part.start()
        await self.wait_until_ready()

    async def start_machine(self, name: str) -> None:
        """Power comes back, and with it all that ran there."""
        self.boxes[name].power_on()
        for part in self.of(name):
            await part.start()

    def power_off(self, name: str) -> None:
        doors = []
        for part in self.of(name):
            part.wanted = False
            if part.process is not None:
                doors.append(part.process)
        self.boxes[name].power_off(doors)

    def of(self, machine: str) -> list[Part]:
        return [part for name, part in self.parts.items() if name.startswith(f"{machine}/")]

    async def wait_until_ready(self) -> None:
        """Until nothing has been missing for LASTING_SECONDS: a primary, two replicas that follow it, one of which is
        the synchronous one, Valkey whole, both web processes ready.
        """
        well_since = time.monotonic()
        deadline = well_since + WELL_SECONDS
        missing: list[str] = ["all"]
        while missing or time.monotonic() - well_since < LASTING_SECONDS:
            for part in self.parts.values():
                if part.died_by_itself:
                    part.deaths += 1
                    await part.start()
            missing = await self.missing()
            if missing:
                well_since = time.monotonic()
            else:
                await asyncio.to_thread(limits_cluster.spread, self.made, self.secrets["valkey_password"])
            if time.monotonic() > deadline:
                raise NotReady(f"{', '.join(missing)} did not come back; logs are in {self.var_dir / 'logs'}")
            await asyncio.sleep(0.2)

    async def missing(self) -> list[str]:
        members = await self.members()
        found = [] if sum(each["role"] == "leader" for each in members) == 1 else ["a primary"]
        if sum(each["state"] == "streaming" for each in members) != len(self.made.databases) - 1:
            found.append("replicas")
        if "sync_standby" not in {each["role"] for each in members}:
            found.append("a second machine for commits")
        if not await asyncio.to_thread(limits_cluster.is_well, self.made, self.secrets["valkey_password"]):
            found.append("Valkey")
        for url in (*self.urls, self.front):
            if not await self.answers(f"{url}/readyz"):
                found.append(url)
        return found

    async def members(self) -> list[dict[str, Any]]:
        """What Patroni knows of its cluster, from the first that answers."""
        for machine in self.made.databases:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError):
                request = self.http.get(
                    f"http://{machine.address}:8008/cluster", timeout=aiohttp.ClientTimeout(total=2)
                )
                async with request as response:
                    return list(json.loads(await response.read())["members"])
        return []

    async def primary(self) -> str | None:
        """The machine whose Patroni says that it has the primary."""
        for machine in self.made.databases:
            if await self.answers(f"http://{machine.address}:8008/primary"):
                return machine.name
        return None

    async def answers(self, url: str) -> bool:
        try:
            async with self.http.get(url, timeout=aiohttp.ClientTimeout(total=3)) as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def stop(self) -> None:
        for name in ("front", "doors"):
            if name in self.parts and self.parts[name].process is not None:
                await self.parts[name].kill()
        for name in self.boxes:
            self.power_off(name)

    def _add(self, machine: Machine, service: Service) -> None:
        name = f"{machine.name}/{service.name}"
        self.parts[name] = self._part(name, lambda: self.boxes[machine.name].inside(service))

    def _part(self, name: str, argv: Callable[[], list[str]]) -> Part:
        log = self.var_dir / "logs" / f"{name.replace('/', '-')}.log"
        return Part(name, argv, _always, dict(os.environ), log)


async def _always() -> bool:
    return True
