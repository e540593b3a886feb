"""The whole cluster on loopback addresses of this machine, until Ctrl-C: `make cluster`.

PORT (8000) is where it answers, CLUSTER_VAR (var/cluster) where everything lies, PATRONI_PYTHON the Python that has
Patroni.
"""

import asyncio
import contextlib
import http.client
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from config import data_folder, embedded, leash
from config.supervisor import Child, KeepsDyingError, Supervisor
from deploy.cluster import inventory, limits_cluster, render, services
from deploy.cluster.inventory import Inventory, InventoryError, Machine
from deploy.cluster.services import Service

ROOT = Path(__file__).resolve().parent.parent.parent
VAR = Path(os.environ.get("CLUSTER_VAR", ROOT / "var" / "cluster")).resolve()
PATRONI = Path(os.environ.get("PATRONI_PYTHON", VAR / "patroni" / "bin" / "python"))
T = TypeVar("T")
PORT = int(os.environ.get("PORT", "8000"))
READY_SECONDS = 90
STOP_SECONDS = 30


class NotUp(Exception):
    """The cluster cannot be started; the message says why."""


def prepare(source: Path, var: Path, **instead: object) -> tuple[Inventory, dict[str, str]]:
    """Writes the files of an inventory whose machines are all this one, below `var`; returns it and its passwords."""
    made = inventory.read(
        source,
        data=str(var / "{name}"),
        files=str(var / "{name}"),
        postgres_bin=str(embedded.postgres_binaries()),
        **instead,
    )
    secrets = inventory.passwords(var)
    render.write(made, secrets, var)
    for machine in made.webs:
        Path(made.data_of(machine), "hamiran").mkdir(mode=0o700, exist_ok=True)
    return made, secrets


async def serve(made: Inventory, secrets: dict[str, str], tools: services.Tools) -> None:
    logs = VAR / "logs"
    logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    supervisor = Supervisor(logs=logs, say=_say)

    async def start() -> None:
        began = time.monotonic()
        databases = [(each, services.of_database(made, each, tools)) for each in made.databases]
        doors = [(each, services.of_web(made, each, tools)) for each in made.webs]
        supervisor.start(*_children([(each, of[:-1]) for each, of in databases]))
        await _step("Valkey Cluster", lambda: retry(limits_cluster.form, made, secrets["valkey_password"]))
        supervisor.start(*_children([(each, of[-1:]) for each, of in databases]))
        supervisor.start(*_children(doors))
        door = f"postgresql://hamiran:{secrets['hamiran_password']}@{made.webs[0].local}:6432/hamiran"
        await _step(
            "PostgreSQL, with a second machine",
            lambda: embedded.wait_for_postgres(door, own=False, timeout_seconds=READY_SECONDS),
        )
        await _step("Tables", lambda: manage(made, made.webs[0], "migrate", "--noinput", "--verbosity", "0"))
        for web in made.webs:
            await _step(
                f"Static files of {web.name}",
                lambda web=web: manage(made, web, "collectstatic", "--noinput", "--verbosity", "0"),  # type: ignore[misc]
            )
        await _step("Catalogue", lambda: manage(made, made.webs[0], "load_catalogue"))
        supervisor.start(*_children([(each, services.of_product(made, each)) for each in made.webs]))
        supervisor.start(*_children([(made.front, services.of_front(made, tools))]))
        await _step("Web processes and workers", lambda: _wait_until_ready(made))
        key = await _step("Demo key", lambda: manage(made, made.webs[0], "demo_key"))
        _say(
            f"\nReady in {time.monotonic() - began:.0f} s: http://{made.front.address}:{made.front_port}\n{key.strip()}"
        )
        patronictl = f"{PATRONI.parent / 'patronictl'} -c {VAR / made.databases[0].name / 'patroni.yml'} list"
        _say(f"Who is the primary: {patronictl}\nCtrl-C stops everything; what it holds stays in {VAR}.")

    async def reload() -> None:
        raise NotUp("The cluster on loopback addresses does not reload: stop it and start it again.")

    await supervisor.run(start, reload=reload, on_stop=lambda: None)


def _children(parts: Sequence[tuple[Machine, list[Service]]]) -> list[Child]:
    return [
        Child(
            name=f"{machine.name}-{service.name}",
            argv=[
                *(services.NOT_ROOT if service.refuses_root and os.geteuid() == 0 else []),
                *leash.argv(
                    ["env", *(f"{name}={value}" for name, value in service.env.items()), *service.argv]
                ),
            ],
            leashed=True,
            grace_seconds=STOP_SECONDS,
        )
        for machine, of in parts
        for service in of
    ]


def manage(made: Inventory, machine: Machine, *words: str) -> str:
    """`manage.py …` as on that machine; returns what it wrote. Raises NotUp."""
    env = {**os.environ, **services.product_env(made, machine)}
    done = subprocess.run(
        [sys.executable, "manage.py", *words], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotUp(f"manage.py {words[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _wait_until_ready(made: Inventory) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            asking = http.client.HTTPConnection(made.front.address, made.front_port, timeout=5)
            asking.request("GET", "/readyz")
            if asking.getresponse().status == 200:
                return
        if time.monotonic() > deadline:
            raise NotUp(f"No web process became ready within {READY_SECONDS} s; see {VAR / 'logs'}.")
        time.sleep(0.2)


def retry(form: Callable[[Inventory, str], None], made: Inventory, password: str) -> None:
    """Until its servers have started."""
    import redis

    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            return form(made, password)
        except redis.RedisError as error:
            if time.monotonic() > deadline:
                raise NotUp(f"Valkey did not come up: {error}") from error
            time.sleep(0.2)


async def _step(name: str, work: Callable[[], T]) -> T:
    began = time.monotonic()
    result = await asyncio.to_thread(work)
    _say(f"  {name}: {time.monotonic() - began:.1f} s")
    return result


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    VAR.mkdir(mode=0o755, parents=True, exist_ok=True)
    try:
        tools = services.find_tools(PATRONI)
        with data_folder.held(VAR):
            made, secrets = prepare(Path(__file__).with_name("loopback.toml"), VAR, front_port=PORT)
            asyncio.run(serve(made, secrets, tools))
    except (
        InventoryError, services.ToolsMissing, NotUp, limits_cluster.NotFormed, KeepsDyingError,
        embedded.EngineError, data_folder.Unavailable,
    ) as error:  # fmt: skip
        _say(f"\n{error}")
        return 1
    _say("Stopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
